//! Whole numbers by adaptive bits: how long a number is, by a tree of chances, then its bits, the leading ones by
//! chances too. What is small or usual becomes cheap, nothing is impossible.

use super::mixer::{Chance, Scale};
use cabac::Coder;

/// Bits below the leading one that have chances of their own.
const MODELLED_BITS: u32 = 3;
/// Chances learn from so many bits alike.
const LIMIT: u32 = 60;

/// Numbers of one kind, of up to 63 bits, in some contexts.
pub(super) struct Numbers {
    lengths: Vec<[Chance; 64]>,
    leading: Vec<[[Chance; 1 << MODELLED_BITS]; 64]>,
    scale: Scale,
}

impl Numbers {
    pub(super) fn new(contexts: usize) -> Self {
        Self {
            lengths: vec![[Chance::EVEN; 64]; contexts],
            leading: vec![[[Chance::EVEN; 1 << MODELLED_BITS]; 64]; contexts],
            scale: Scale::get(),
        }
    }

    /// Codes `number`, below 2^63 - 1; when decoding it is not looked at.
    pub(super) fn code<C: Coder>(&mut self, coder: &mut C, context: usize, number: u64) -> u64 {
        let scale = self.scale;
        let raised = number.min(i64::MAX as u64 - 1) + 1;
        let given = raised.ilog2();
        let lengths = &mut self.lengths[context];
        let mut node = 1;
        for bit in (0..6).rev() {
            let chance = &mut lengths[node];
            let found = coder.code(given >> bit & 1 == 1, chance.one());
            chance.learn(found, LIMIT, scale);
            node = node * 2 + usize::from(found);
        }
        let length = (node - 64) as u32;
        let leading = &mut self.leading[context][length as usize];
        let mut value = 1u64;
        let mut node = 1;
        for bit in (0..length).rev() {
            let given = raised >> bit & 1 == 1;
            let found = if node < 1 << MODELLED_BITS {
                let chance = &mut leading[node];
                let found = coder.code(given, chance.one());
                chance.learn(found, LIMIT, scale);
                node = node * 2 + usize::from(found);
                found
            } else {
                coder.code(given, 1 << 15)
            };
            value = value << 1 | u64::from(found);
        }
        value - 1
    }
}

/// A small set of symbols, fewer than 8, in some contexts.
pub(super) struct Symbols {
    chances: Vec<[Chance; 8]>,
    scale: Scale,
}

impl Symbols {
    pub(super) fn new(contexts: usize) -> Self {
        Self { chances: vec![[Chance::EVEN; 8]; contexts], scale: Scale::get() }
    }

    /// Codes a symbol of three bits; when decoding it is not looked at.
    pub(super) fn code<C: Coder>(&mut self, coder: &mut C, context: usize, symbol: u8) -> u8 {
        let chances = &mut self.chances[context];
        let mut node = 1;
        for bit in (0..3).rev() {
            let chance = &mut chances[node];
            let found = coder.code(symbol >> bit & 1 == 1, chance.one());
            chance.learn(found, LIMIT, self.scale);
            node = node * 2 + usize::from(found);
        }
        (node - 8) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cabac::{Decoder, Encoder};

    #[test]
    fn numbers_and_symbols_come_back() {
        let list: Vec<u64> = (0..63).flat_map(|bits| [(1u64 << bits) - 1, 1 << bits, (1 << bits) + 5]).collect();
        let list: Vec<u64> = list.into_iter().filter(|&number| number < i64::MAX as u64 - 1).collect();
        let mut encoder = Encoder::new();
        let (mut numbers, mut symbols) = (Numbers::new(2), Symbols::new(1));
        for (index, &number) in list.iter().enumerate() {
            numbers.code(&mut encoder, index % 2, number);
            symbols.code(&mut encoder, 0, (number % 8) as u8);
        }
        let bytes = encoder.finish();
        let mut decoder = Decoder::new(&bytes);
        let (mut numbers, mut symbols) = (Numbers::new(2), Symbols::new(1));
        for (index, &number) in list.iter().enumerate() {
            assert_eq!(numbers.code(&mut decoder, index % 2, 0), number);
            assert_eq!(symbols.code(&mut decoder, 0, 0), (number % 8) as u8);
        }
        assert!(decoder.is_at_end());
    }
}
