//! Models of symbols of four bits, and of bytes as two symbols: faster than a model of single bits.
//!
//! A model holds cumulative frequencies. After each symbol all of them move towards the frequencies that make this
//! symbol certain. Source: F. Giesen, "Models for adaptive arithmetic coding" (2015).

use crate::coder::{SYMBOLS, Starts, SymbolCoder};

/// How far the frequencies move at each update, as a right shift: the first updates move them most.
const RATES: [u16; 24] = [1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4, 5, 5, 5, 5, 5, 5, 5, 5, 5];
/// The sum of all shares, less 1. The least share is 1.
const SHARES: i16 = i16::MAX;

/// For each symbol: where all shares begin if this symbol is certain and each other symbol keeps a share of 1.
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

/// Frequencies of one context: where each symbol's share begins. The first share begins at 0; its place holds the
/// number of symbols learned, as a negative number, so that a context takes half a line of cache.
#[derive(Clone, Copy)]
#[repr(align(32))]
pub struct Frequencies(Starts);

impl Frequencies {
    /// All symbols are equally likely.
    pub const EVEN: Self = {
        let mut starts = [0; SYMBOLS];
        let mut symbol = 1;
        while symbol < SYMBOLS {
            starts[symbol] = symbol as i16 * (SHARES / SYMBOLS as i16 + 1);
            symbol += 1;
        }
        Self(starts)
    };

    /// Codes a symbol below 16. A decoder ignores `symbol`.
    #[inline]
    pub fn code<C: SymbolCoder>(&mut self, coder: &mut C, symbol: usize) -> usize {
        let found = coder.symbol(symbol, &self.0);
        self.learn(found);
        found
    }

    #[inline]
    fn learn(&mut self, symbol: usize) {
        let count = self.learned();
        let rate = RATES[count];
        // Nothing wraps here; without overflow checks the compiler does many at once.
        for (start, aim) in self.0.iter_mut().zip(AIMS[symbol]) {
            *start = start.wrapping_add(aim.wrapping_sub(*start) >> rate);
        }
        self.0[0] = -((count + 1).min(RATES.len() - 1) as i16);
    }

    /// How many symbols this context has learned, below the number of [`RATES`].
    #[inline]
    fn learned(&self) -> usize {
        usize::from(self.0[0].unsigned_abs())
    }
}

/// The weight of the context that has learned less, by how much each of the two has learned; in 1/65536, at most 1/2.
const WEAKER_WEIGHTS: [[i16; RATES.len()]; RATES.len()] = {
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

/// Codes a symbol by a mean of two contexts. A context weighs more the more it has learned.
#[inline]
fn code_by_two<C: SymbolCoder>(coder: &mut C, symbol: usize, one: &mut Frequencies, other: &mut Frequencies) -> usize {
    let (weak, strong) = if one.0[0] > other.0[0] { (&*one, &*other) } else { (&*other, &*one) };
    let weight = WEAKER_WEIGHTS[weak.learned()][strong.learned()];
    let mut starts = strong.0;
    for (start, &other) in starts.iter_mut().zip(&weak.0) {
        let difference = other.wrapping_sub(*start);
        *start = start.wrapping_add((i32::from(difference).wrapping_mul(i32::from(weight)) >> 16) as i16);
    }
    let found = coder.symbol(symbol, &starts);
    one.learn(found);
    other.learn(found);
    found
}

/// A model of bytes, by two contexts of one byte each.
pub struct ByteModel {
    high: [Vec<Frequencies>; 2],
    low: [Vec<Frequencies>; 2],
}

impl Default for ByteModel {
    fn default() -> Self {
        Self::new()
    }
}

impl ByteModel {
    /// A model that has learned nothing.
    pub fn new() -> Self {
        let table = |nibbles: usize| std::array::from_fn(|_| vec![Frequencies::EVEN; 256 * nibbles]);
        Self { high: table(1), low: table(16) }
    }

    /// Codes a byte. A decoder ignores `byte`.
    #[inline]
    pub fn code<C: SymbolCoder>(&mut self, coder: &mut C, contexts: [u8; 2], byte: u8) -> u8 {
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
    use crate::{AnsDecoder, AnsEncoder};

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
    fn every_share_stays_above_zero() {
        let mut frequencies = Frequencies::EVEN;
        for n in 0..100_000usize {
            frequencies.learn(if n < 50_000 { 0 } else { n * n % 7 * (n / 1000 % 3) });
            assert!(frequencies.0[1] > 0 && frequencies.0[1..].is_sorted_by(|a, b| a < b), "after {n}");
            assert!(frequencies.0[15] > 0 && frequencies.0[0] <= 0);
        }
    }
}
