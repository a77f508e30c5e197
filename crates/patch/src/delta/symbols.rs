//! Symbols of four bits by adaptive frequencies, and bytes made of them: quicker than bit by bit.
//!
//! Source: F. Giesen, "Models for adaptive arithmetic coding" (2015): cumulative frequencies that all move towards those of
//! a symbol that came for sure.

use cabac::{SYMBOLS, Starts, SymbolCoder};

/// How far frequencies move at each update, as a shift: far at first, then less.
const RATES: [u16; 24] = [1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4, 5, 5, 5, 5, 5, 5, 5, 5, 5];
/// Of the least share that a symbol keeps, and of all shares.
const SHARES: i16 = i16::MAX;

/// Where all shares would begin if a symbol came for sure; each of the others keeps a share of 1.
const AIMS: [Starts; SYMBOLS] = {
    let mut aims = [[0; SYMBOLS]; SYMBOLS];
    let mut symbol = 0;
    while symbol < SYMBOLS {
        let mut other = 0;
        while other < SYMBOLS {
            aims[symbol][other] = other as i16 + if other > symbol { SHARES - SYMBOLS as i16 + 1 } else { 0 };
            other += 1;
        }
        symbol += 1;
    }
    aims
};

/// Frequencies of one context: where each symbol's share begins. The first begins at 0; how many symbols were learned stands
/// in its place, below 0, so that a context is half a line of cache.
#[derive(Clone, Copy)]
#[repr(align(32))]
pub(super) struct Frequencies(Starts);

impl Frequencies {
    /// All symbols alike.
    pub(super) const EVEN: Self = {
        let mut starts = [0; SYMBOLS];
        let mut symbol = 1;
        while symbol < SYMBOLS {
            starts[symbol] = symbol as i16 * (SHARES / SYMBOLS as i16 + 1);
            symbol += 1;
        }
        Self(starts)
    };

    /// Codes a symbol below 16; when decoding it is not looked at.
    #[inline]
    pub(super) fn code<C: SymbolCoder>(&mut self, coder: &mut C, symbol: usize) -> usize {
        let found = coder.symbol(symbol, &self.0);
        self.learn(found);
        found
    }

    #[inline]
    fn learn(&mut self, symbol: usize) {
        let count = self.learned();
        let rate = RATES[count];
        // Nothing wraps, and without checks it is done many at once.
        for (start, aim) in self.0.iter_mut().zip(AIMS[symbol]) {
            *start = start.wrapping_add(aim.wrapping_sub(*start) >> rate);
        }
        self.0[0] = -((count + 1).min(RATES.len() - 1) as i16);
    }

    /// How many symbols were learned, below the number of [`RATES`].
    #[inline]
    fn learned(&self) -> usize {
        usize::from(self.0[0].unsigned_abs())
    }
}

/// By what each of two contexts has learned.
const SHARE_OF_THE_WEAKER: [[i16; RATES.len()]; RATES.len()] = {
    let mut shares = [[0; RATES.len()]; RATES.len()];
    let mut weak = 0;
    while weak < RATES.len() {
        let mut strong = weak;
        while strong < RATES.len() {
            shares[weak][strong] = (65535 * (weak + 1) / (weak + strong + 2)) as i16;
            strong += 1;
        }
        weak += 1;
    }
    shares
};

/// Codes a symbol by two contexts, which weigh the more the more they have learned.
#[inline]
fn code_by_two<C: SymbolCoder>(coder: &mut C, symbol: usize, one: &mut Frequencies, other: &mut Frequencies) -> usize {
    let (weak, strong) = if one.0[0] > other.0[0] { (&*one, &*other) } else { (&*other, &*one) };
    // At most 1/2, in 1/65536.
    let share = SHARE_OF_THE_WEAKER[weak.learned()][strong.learned()];
    let mut starts = strong.0;
    for (start, &other) in starts.iter_mut().zip(&weak.0) {
        let apart = other.wrapping_sub(*start);
        *start = start.wrapping_add((i32::from(apart).wrapping_mul(i32::from(share)) >> 16) as i16);
    }
    let found = coder.symbol(symbol, &starts);
    one.learn(found);
    other.learn(found);
    found
}

/// Bytes, by two contexts of a byte each.
pub(super) struct ByteModel {
    high: [Vec<Frequencies>; 2],
    low: [Vec<Frequencies>; 2],
}

impl ByteModel {
    pub(super) fn new() -> Self {
        let table = |nibbles: usize| std::array::from_fn(|_| vec![Frequencies::EVEN; 256 * nibbles]);
        Self { high: table(1), low: table(16) }
    }

    /// Codes a byte; when decoding it is not looked at.
    #[inline]
    pub(super) fn code<C: SymbolCoder>(&mut self, coder: &mut C, contexts: [u8; 2], byte: u8) -> u8 {
        let [first, second] = contexts.map(usize::from);
        let [one, other] = &mut self.high;
        let high = code_by_two(coder, usize::from(byte >> 4), &mut one[first], &mut other[second]);
        let [one, other] = &mut self.low;
        let (one, other) = (&mut one[first * 16 + high], &mut other[second * 16 + high]);
        let low = code_by_two(coder, usize::from(byte & 15), one, other);
        (high << 4 | low) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cabac::{AnsDecoder, AnsEncoder};

    #[test]
    fn bytes_and_symbols_come_back() {
        let list: Vec<u32> = (0..3000u32).map(|n| n.wrapping_mul(2_654_435_761) >> (n % 30)).collect();
        fn run<C: SymbolCoder>(coder: &mut C, list: &[u32]) {
            let (mut bytes, mut symbols) = (ByteModel::new(), Frequencies::EVEN);
            for (index, &number) in list.iter().enumerate() {
                let given = if C::ENCODES { number } else { 0 };
                let contexts = [number as u8 & 7, index as u8];
                assert_eq!(bytes.code(coder, contexts, (given >> 3) as u8), (number >> 3) as u8);
                assert_eq!(symbols.code(coder, (given % 16) as usize), (number % 16) as usize);
            }
        }
        let mut encoder = AnsEncoder::new();
        run(&mut encoder, &list);
        let coded = encoder.finish();
        let mut decoder = AnsDecoder::new(&coded);
        run(&mut decoder, &list);
        assert!(decoder.is_at_end());
    }

    #[test]
    fn shares_stay_above_nothing_whatever_comes() {
        let mut frequencies = Frequencies::EVEN;
        for n in 0..100_000usize {
            frequencies.learn(if n < 50_000 { 0 } else { n * n % 7 * (n / 1000 % 3) });
            assert!(frequencies.0[1] > 0 && frequencies.0[1..].is_sorted_by(|a, b| a < b), "after {n}");
            assert!(frequencies.0[15] > 0 && frequencies.0[0] <= 0);
        }
    }
}
