//! Whole numbers by symbols of adaptive frequencies: how long a number is, then its bits, the leading ones by frequencies
//! too. What is small or usual becomes cheap, nothing is impossible.

use super::symbols::Frequencies;
use cabac::{SYMBOLS, SymbolCoder};

/// Lengths that one symbol tells; what is longer takes a second one, and what is longer still six bits behind that.
const LONG: usize = SYMBOLS - 1;
/// Bits behind the first one that have frequencies.
const LEADING_BITS: u32 = 4;
/// Plain bits that the coder takes at once.
const PLAIN_BITS: u32 = 16;
/// Largest number.
pub(super) const NUMBER_MAX: u64 = u64::MAX >> 1;

/// Numbers of one kind in some contexts.
pub(super) struct Numbers {
    /// How many bits stand behind the first one.
    lengths: Vec<[Frequencies; 2]>,
    /// The leading ones of these, by their length.
    leading: Vec<[Frequencies; 64]>,
}

impl Numbers {
    pub(super) fn new(contexts: usize) -> Self {
        Self { lengths: vec![[Frequencies::EVEN; 2]; contexts], leading: vec![[Frequencies::EVEN; 64]; contexts] }
    }

    /// Codes a number, at most [`NUMBER_MAX`]; when decoding it is not looked at.
    #[inline]
    pub(super) fn code<C: SymbolCoder>(&mut self, coder: &mut C, context: usize, number: u64) -> u64 {
        let raised = number.min(NUMBER_MAX) + 1;
        let length = self.length(coder, context, raised.ilog2() as usize);
        let leading = (length as u32).min(LEADING_BITS);
        let mut rest = length as u32 - leading;
        let shown = raised >> rest & ((1 << leading) - 1);
        // Below all others, so that a short number's few bits are the few symbols that are learned.
        let found = if leading == 0 { 0 } else { self.leading[context][length].code(coder, shown as usize) as u64 };
        let mut value = 1 << leading | found & ((1 << leading) - 1);
        while rest > 0 {
            let count = rest.min(PLAIN_BITS);
            rest -= count;
            value = value << count | coder.bits(raised >> rest & ((1 << count) - 1), count);
        }
        (value - 1).min(NUMBER_MAX)
    }

    /// Codes a length, below 64.
    #[inline]
    fn length<C: SymbolCoder>(&mut self, coder: &mut C, context: usize, given: usize) -> usize {
        let [short, long] = &mut self.lengths[context];
        let mut length = short.code(coder, given.min(LONG));
        if length == LONG {
            length += long.code(coder, given.saturating_sub(LONG).min(LONG));
        }
        if length == 2 * LONG { coder.bits(given as u64, 6) as usize } else { length }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cabac::{AnsDecoder, AnsEncoder, Coder};

    #[test]
    fn numbers_come_back() {
        let list: Vec<u64> = (0..64).flat_map(|bits| [(1u64 << bits) - 1, 1 << bits, (1 << bits) + 5]).collect();
        let mut encoder = AnsEncoder::new();
        let mut numbers = Numbers::new(2);
        for (index, &number) in list.iter().enumerate() {
            numbers.code(&mut encoder, index % 2, number);
        }
        let coded = encoder.finish();
        let mut decoder = AnsDecoder::new(&coded);
        let mut numbers = Numbers::new(2);
        for (index, &number) in list.iter().enumerate() {
            assert_eq!(numbers.code(&mut decoder, index % 2, 0), number.min(NUMBER_MAX));
        }
        assert!(decoder.is_at_end());
    }

    #[test]
    fn bytes_that_nobody_wrote_are_numbers_too() {
        let bytes: Vec<u8> = (0..4000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let mut decoder = AnsDecoder::new(&bytes);
        let mut numbers = Numbers::new(1);
        while !decoder.is_past_end() {
            assert!(numbers.code(&mut decoder, 0, 0) <= NUMBER_MAX);
        }
    }
}
