//! Symbols of four bits by adaptive frequencies, and bytes and numbers made of them: quicker than bit by bit.
//!
//! Source: F. Giesen, "Models for adaptive arithmetic coding" (2015): cumulative frequencies that all move towards those of
//! a symbol that came for sure.

use cabac::{Coder, SYMBOLS, Starts};

/// How far frequencies move at each update, as a shift: far at first, then less.
const RATES: [u16; 24] = [1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4, 5, 5, 5, 5, 5, 5, 5, 5, 5];
/// Of the least share that a symbol keeps, and of all shares.
const SHARES: u16 = 1 << 15;

/// Frequencies of one context: where each symbol's share begins. The first begins at 0, and how many symbols were learned
/// stands in its place, so that a context is half a line of cache.
#[derive(Clone, Copy)]
#[repr(align(32))]
pub(super) struct Frequencies(Starts);

impl Frequencies {
    /// All symbols alike.
    pub(super) const EVEN: Self = {
        let mut starts = [0; SYMBOLS];
        let mut symbol = 1;
        while symbol < SYMBOLS {
            starts[symbol] = symbol as u16 * (SHARES / SYMBOLS as u16);
            symbol += 1;
        }
        Self(starts)
    };

    /// Codes a symbol below 16; when decoding it is not looked at.
    #[inline]
    pub(super) fn code<C: Coder>(&mut self, coder: &mut C, symbol: usize) -> usize {
        let found = coder.symbol(symbol, &self.0);
        self.learn(found);
        found
    }

    #[inline]
    fn learn(&mut self, symbol: usize) {
        let count = usize::from(self.0[0]);
        let rate = RATES[count];
        // All are below 2^15: nothing wraps, and without checks it is done many at once.
        for (index, start) in self.0.iter_mut().enumerate() {
            // Each symbol keeps a share of 1.
            let aim = index as i16 + if index as i16 > symbol as i16 { (SHARES - SYMBOLS as u16) as i16 } else { 0 };
            let apart = aim.wrapping_sub(*start as i16);
            *start = start.wrapping_add_signed(apart >> rate);
        }
        self.0[0] = (count + 1).min(RATES.len() - 1) as u16;
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
fn code_by_two<C: Coder>(coder: &mut C, symbol: usize, one: &mut Frequencies, other: &mut Frequencies) -> usize {
    let (weak, strong) = if one.0[0] < other.0[0] { (&*one, &*other) } else { (&*other, &*one) };
    // At most 1/2, in 1/65536.
    let share = SHARE_OF_THE_WEAKER[usize::from(weak.0[0])][usize::from(strong.0[0])];
    let mut starts = strong.0;
    for (start, &other) in starts.iter_mut().zip(&weak.0) {
        let apart = (other as i16).wrapping_sub(*start as i16);
        *start = start.wrapping_add_signed((i32::from(apart).wrapping_mul(i32::from(share)) >> 16) as i16);
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
    pub(super) fn code<C: Coder>(&mut self, coder: &mut C, contexts: [u8; 2], byte: u8) -> u8 {
        let [first, second] = contexts.map(usize::from);
        let [one, other] = &mut self.high;
        let high = code_by_two(coder, usize::from(byte >> 4), &mut one[first], &mut other[second]);
        let [one, other] = &mut self.low;
        let (one, other) = (&mut one[first * 16 + high], &mut other[second * 16 + high]);
        let low = code_by_two(coder, usize::from(byte & 15), one, other);
        (high << 4 | low) as u8
    }
}

/// Numbers below 2^30 in some contexts, small ones cheapest.
pub(super) struct ShortNumbers {
    /// How long the number is, in bits; [`LONG`] and more by a second symbol.
    lengths: Vec<[Frequencies; 2]>,
    /// The bits behind the leading one, four of them at most.
    leading: Vec<[Frequencies; 30]>,
}

const LONG: usize = SYMBOLS - 1;
const LEADING_BITS: u32 = 4;
/// Largest number.
pub(super) const SHORT_NUMBER_MAX: u64 = (1 << 30) - 2;

impl ShortNumbers {
    pub(super) fn new(contexts: usize) -> Self {
        Self { lengths: vec![[Frequencies::EVEN; 2]; contexts], leading: vec![[Frequencies::EVEN; 30]; contexts] }
    }

    /// Codes a number, at most [`SHORT_NUMBER_MAX`]; when decoding it is not looked at.
    #[inline]
    pub(super) fn code<C: Coder>(&mut self, coder: &mut C, context: usize, number: u64) -> u64 {
        let raised = number.min(SHORT_NUMBER_MAX) + 1;
        let given = raised.ilog2() as usize;
        let [short, long] = &mut self.lengths[context];
        let mut length = short.code(coder, given.min(LONG));
        if length == LONG {
            length = (LONG + long.code(coder, given.saturating_sub(LONG))).min(29);
        }
        let bits = length as u32;
        let leading = bits.min(LEADING_BITS);
        let mut rest = bits - leading;
        let shown = raised >> rest & ((1 << leading) - 1);
        // Below all others, so that a short number's few bits are the few symbols that are learned.
        let found = if leading == 0 { 0 } else { self.leading[context][length].code(coder, shown as usize) as u64 };
        let mut value = 1 << leading | found & ((1 << leading) - 1);
        while rest > 0 {
            let count = rest.min(16);
            rest -= count;
            value = value << count | coder.bits(raised >> rest & ((1 << count) - 1), count);
        }
        value - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cabac::{Decoder, Encoder};

    #[test]
    fn numbers_bytes_and_symbols_come_back() {
        let list: Vec<u64> = (0..30)
            .flat_map(|bits| [(1u64 << bits) - 1, 1 << bits, (1 << bits) + 5].map(|n| n.min(SHORT_NUMBER_MAX)))
            .collect();
        let mut encoder = Encoder::new();
        let (mut numbers, mut bytes, mut symbols) = (ShortNumbers::new(2), ByteModel::new(), Frequencies::EVEN);
        for (index, &number) in list.iter().enumerate() {
            numbers.code(&mut encoder, index % 2, number);
            bytes.code(&mut encoder, [number as u8, index as u8], (number >> 3) as u8);
            symbols.code(&mut encoder, (number % 16) as usize);
        }
        let coded = encoder.finish();
        let mut decoder = Decoder::new(&coded);
        let (mut numbers, mut bytes, mut symbols) = (ShortNumbers::new(2), ByteModel::new(), Frequencies::EVEN);
        for (index, &number) in list.iter().enumerate() {
            assert_eq!(numbers.code(&mut decoder, index % 2, 0), number);
            assert_eq!(bytes.code(&mut decoder, [number as u8, index as u8], 0), (number >> 3) as u8);
            assert_eq!(symbols.code(&mut decoder, 0), (number % 16) as usize);
        }
        assert!(decoder.is_at_end());
    }

    #[test]
    fn shares_stay_above_nothing_whatever_comes() {
        let mut frequencies = Frequencies::EVEN;
        for n in 0..100_000usize {
            frequencies.learn(if n < 50_000 { 0 } else { n * n % 7 * (n / 1000 % 3) });
            assert!(frequencies.0[1] > 0 && frequencies.0[1..].is_sorted_by(|a, b| a < b), "after {n}");
            assert!(frequencies.0[15] < SHARES);
        }
    }
}
