//! A model of whole numbers: a symbol for the length of a number in bits, a symbol for its leading bits, and the other
//! bits as they are. Small and usual numbers become cheap; every number can be coded.

use crate::coder::{SYMBOLS, SymbolCoder};
use crate::symbols::Frequencies;

/// The first length that one symbol cannot tell. A longer number takes a second symbol, and six bits behind that from
/// twice this length on.
const LONG: usize = SYMBOLS - 1;
/// How many bits behind the first one have frequencies.
const LEADING_BITS: u32 = 4;
/// How many plain bits the coder takes at once.
const PLAIN_BITS: u32 = 16;
/// Largest number that can be coded.
pub const NUMBER_MAX: u64 = u64::MAX >> 1;

/// A model of numbers of one kind, in some contexts.
pub struct Numbers {
    /// The number of bits behind the first one.
    lengths: Vec<[Frequencies; 2]>,
    /// The leading bits, by the number of bits.
    leading: Vec<[Frequencies; 64]>,
}

impl Numbers {
    /// A model of so many contexts that has learned nothing.
    pub fn new(contexts: usize) -> Self {
        Self { lengths: vec![[Frequencies::EVEN; 2]; contexts], leading: vec![[Frequencies::EVEN; 64]; contexts] }
    }

    /// Codes a number, at most [`NUMBER_MAX`]. A decoder ignores `number`.
    #[inline]
    pub fn code<C: SymbolCoder>(&mut self, coder: &mut C, context: usize, number: u64) -> u64 {
        let raised = number.min(NUMBER_MAX) + 1;
        let length = self.length(coder, context, raised.ilog2() as usize);
        let leading = (length as u32).min(LEADING_BITS);
        let mut rest = length as u32 - leading;
        let shown = raised >> rest & ((1 << leading) - 1);
        // The leading bits are the low bits of the symbol, so that a short number uses few symbols.
        let found = if leading == 0 { 0 } else { self.leading[context][length].code(coder, shown as usize) as u64 };
        let mut value = 1 << leading | found & ((1 << leading) - 1);
        while rest > 0 {
            let count = rest.min(PLAIN_BITS);
            rest -= count;
            value = value << count | coder.bits(raised >> rest & ((1 << count) - 1), count);
        }
        (value - 1).min(NUMBER_MAX)
    }

    /// Codes a length below 64.
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
    use crate::{AnsDecoder, AnsEncoder, Coder};

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
    fn hostile_bytes_are_numbers_too() {
        let bytes: Vec<u8> = (0..4000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let mut decoder = AnsDecoder::new(&bytes);
        let mut numbers = Numbers::new(1);
        while !decoder.is_past_end() {
            assert!(numbers.code(&mut decoder, 0, 0) <= NUMBER_MAX);
        }
    }
}
