//! Symbols of four bits by adaptive frequencies, and bytes and numbers made of them: quicker than bit by bit.
//!
//! Source: F. Giesen, "Models for adaptive arithmetic coding" (2015): cumulative frequencies that all move towards those of
//! a symbol that came for sure.

use cabac::{Coder, SYMBOLS, Starts};

/// How far frequencies move at each update, as a shift: far at first, then less.
const RATES: [u16; 24] = [1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4, 5, 5, 5, 5, 5, 5, 5, 5, 5];
/// Of the least share that a symbol keeps, and of all shares.
const SHARES: u16 = 1 << 15;

/// Frequencies of one context.
#[derive(Clone, Copy)]
pub(super) struct Frequencies {
    starts: Starts,
    count: u8,
}

impl Frequencies {
    /// All symbols alike.
    pub(super) const EVEN: Self = {
        let mut starts = [0; SYMBOLS];
        let mut symbol = 0;
        while symbol < SYMBOLS {
            starts[symbol] = symbol as u16 * (SHARES / SYMBOLS as u16);
            symbol += 1;
        }
        Self { starts, count: 0 }
    };

    /// Codes a symbol below 16; when decoding it is not looked at.
    #[inline]
    pub(super) fn code<C: Coder>(&mut self, coder: &mut C, symbol: usize) -> usize {
        let found = coder.symbol(symbol, &self.starts);
        self.learn(found);
        found
    }

    #[inline]
    fn learn(&mut self, symbol: usize) {
        let rate = RATES[usize::from(self.count)];
        self.count += u8::from(usize::from(self.count) + 1 < RATES.len());
        for (index, start) in self.starts.iter_mut().enumerate() {
            // Each symbol keeps a share of 1.
            let aim = index as u16 + if index > symbol { SHARES - SYMBOLS as u16 } else { 0 };
            *start = (*start as i16 + ((aim as i16 - *start as i16) >> rate)) as u16;
        }
    }
}

/// Codes a symbol by two contexts, which weigh the more the more they have learned.
#[inline]
fn code_by_two<C: Coder>(coder: &mut C, symbol: usize, one: &mut Frequencies, other: &mut Frequencies) -> usize {
    let (weight, against) = (u32::from(one.count) + 1, u32::from(other.count) + 1);
    let share = ((weight << 8) / (weight + against)) as i32;
    let mut starts = other.starts;
    for (start, &first) in starts.iter_mut().zip(&one.starts) {
        let (first, second) = (i32::from(first), i32::from(*start));
        *start = (second + (((first - second) * share) >> 8)) as u16;
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
            assert!(frequencies.starts[0] == 0 && frequencies.starts.is_sorted_by(|a, b| a < b), "after {n}");
            assert!(frequencies.starts[15] < SHARES);
        }
    }
}
