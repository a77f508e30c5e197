//! Asymmetric numeral systems: symbols, bits and plain bits in, bytes out, and back. Decoding needs no division. Two
//! states take turns, so that the processor updates one while it looks up the symbol of the other.
//!
//! A decoder reads a message from its first symbol on, so an encoder makes it from its last symbol back: [`AnsEncoder`]
//! keeps everything until [`AnsEncoder::finish`], six bytes for each symbol. Source: J. Duda, "Asymmetric numeral
//! systems" (2013); F. Giesen, "Interleaved entropy coders" (2014).
//!
//! Layout of a message: the two states, 8 bytes each, then words of 4 bytes in the order in which a decoder reads them;
//! all little-endian. A message without symbols has no bytes.

use crate::coder::{Coder, SHARE_BITS, SYMBOLS, Starts, SymbolCoder};

/// Least value of a state; the largest is 2^32 times as much. An encoder begins with this value, and a decoder ends
/// with it.
const STATE_MIN: u64 = 1 << 31;
const STATES: usize = 2;
const WORD_BITS: u32 = 32;
const HEAD_BYTES: usize = STATES * size_of::<u64>();

/// The share of a symbol, of the 2^`bits` places that all symbols have together.
#[derive(Clone, Copy, Debug)]
struct Share {
    start: u16,
    size: u16,
    bits: u8,
}

impl Share {
    /// The share of a bit, where `one` of 65536 places stand for a 1.
    #[inline]
    fn of_bit(bit: bool, one: u16) -> Self {
        if bit {
            Self { start: 0, size: one, bits: 16 }
        } else {
            Self { start: one, size: one.wrapping_neg(), bits: 16 }
        }
    }

    #[inline]
    fn of_symbol(symbol: usize, starts: &Starts) -> Self {
        let start = starts[symbol].max(0) as u16;
        let end = starts.get(symbol + 1).map_or(1 << SHARE_BITS, |&end| end as u16);
        Self { start, size: end.wrapping_sub(start), bits: SHARE_BITS as u8 }
    }

    #[inline]
    fn of_bits(value: u64, count: u32) -> Self {
        Self { start: value as u16, size: 1, bits: count as u8 }
    }
}

/// Writes bits and symbols; the bytes come at the end.
#[derive(Debug, Default)]
pub struct AnsEncoder {
    shares: Vec<Share>,
}

impl AnsEncoder {
    /// An encoder that has written nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The message.
    pub fn finish(self) -> Vec<u8> {
        if self.shares.is_empty() {
            return Vec::new();
        }
        let mut states = [STATE_MIN; STATES];
        let mut words = Vec::new();
        for (index, share) in self.shares.iter().enumerate().rev() {
            let state = &mut states[index % STATES];
            let size = u64::from(share.size);
            if *state >> (2 * WORD_BITS - 1 - u32::from(share.bits)) >= size {
                words.push(*state as u32);
                *state >>= WORD_BITS;
            }
            *state = (*state / size) << share.bits | (*state % size + u64::from(share.start));
        }
        let head = states.into_iter().flat_map(u64::to_le_bytes);
        head.chain(words.into_iter().rev().flat_map(u32::to_le_bytes)).collect()
    }
}

impl Coder for AnsEncoder {
    const ENCODES: bool = true;

    #[inline]
    fn code(&mut self, bit: bool, one: u16) -> bool {
        self.shares.push(Share::of_bit(bit, one));
        bit
    }
}

impl SymbolCoder for AnsEncoder {
    #[inline]
    fn symbol(&mut self, symbol: usize, starts: &Starts) -> usize {
        self.shares.push(Share::of_symbol(symbol, starts));
        symbol
    }

    #[inline]
    fn bits(&mut self, value: u64, count: u32) -> u64 {
        self.shares.push(Share::of_bits(value, count));
        value
    }
}

/// Reads bits and symbols. Zeros follow the end of the message: [`AnsDecoder::is_at_end`] tells whether the message was
/// whole.
#[derive(Debug)]
pub struct AnsDecoder<'a> {
    /// The state whose turn it is stands first.
    states: [u64; STATES],
    words: &'a [u8],
    is_past_end: bool,
}

impl<'a> AnsDecoder<'a> {
    /// A decoder of a message. A message that is shorter than its states counts as read past its end.
    pub fn new(message: &'a [u8]) -> Self {
        let Some((head, words)) = message.split_first_chunk::<HEAD_BYTES>() else {
            return Self { states: [STATE_MIN; STATES], words: &[], is_past_end: !message.is_empty() };
        };
        let (first, second) = head.split_at(size_of::<u64>());
        let state = |bytes: &[u8]| bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        Self { states: [state(first), state(second)], words, is_past_end: false }
    }

    /// Whether the symbols read so far take exactly the message.
    pub fn is_at_end(&self) -> bool {
        self.words.is_empty() && !self.is_past_end && self.states == [STATE_MIN; STATES]
    }

    /// The place of the next symbol, of 2^`bits` places.
    #[inline]
    fn place(&self, bits: u32) -> u64 {
        self.states[0] & ((1 << bits) - 1)
    }

    /// Hostile bytes can make any state, so the arithmetic wraps.
    #[inline]
    fn take(&mut self, share: Share) {
        let [state, other] = self.states;
        let bits = u32::from(share.bits);
        let within = self.place(bits).wrapping_sub(u64::from(share.start));
        let mut state = (state >> bits).wrapping_mul(u64::from(share.size)).wrapping_add(within);
        if state < STATE_MIN {
            state = state << WORD_BITS | u64::from(self.word());
        }
        self.states = [other, state];
    }

    #[inline]
    fn word(&mut self) -> u32 {
        let Some((word, rest)) = self.words.split_first_chunk() else {
            self.is_past_end = true;
            return 0;
        };
        self.words = rest;
        u32::from_le_bytes(*word)
    }
}

impl Coder for AnsDecoder<'_> {
    const ENCODES: bool = false;

    #[inline]
    fn code(&mut self, _: bool, one: u16) -> bool {
        let bit = self.place(16) < u64::from(one);
        self.take(Share::of_bit(bit, one));
        bit
    }

    fn is_past_end(&self) -> bool {
        self.is_past_end
    }
}

impl SymbolCoder for AnsDecoder<'_> {
    #[inline]
    fn symbol(&mut self, _: usize, starts: &Starts) -> usize {
        let place = self.place(SHARE_BITS) as i16;
        // Counts the shares that begin behind the place, as a negative number. Signs instead of comparisons, and no
        // overflow checks, so that the compiler does many at once.
        let behind = |start: i16| place.saturating_sub(start) >> 15;
        let last = SYMBOLS as i16 - 1;
        let symbol = starts.iter().fold(last, |symbol, &start| symbol.wrapping_add(behind(start))) as usize;
        self.take(Share::of_symbol(symbol, starts));
        symbol
    }

    #[inline]
    fn bits(&mut self, _: u64, count: u32) -> u64 {
        let value = self.place(count);
        self.take(Share::of_bits(value, count));
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The most even and the most uneven shares; the value in the first place is 0 or below.
    const EVEN: Starts = {
        let mut starts = [-77; SYMBOLS];
        let mut symbol = 1;
        while symbol < SYMBOLS {
            starts[symbol] = symbol as i16 * 2048;
            symbol += 1;
        }
        starts
    };
    const UNEVEN: Starts = [0, 1, 2, 3, 4, 5, 6, 7, 32760, 32761, 32762, 32763, 32764, 32765, 32766, 32767];

    fn run<C: SymbolCoder>(coder: &mut C, list: &[(u64, u64)]) {
        for &(kind, value) in list {
            let shown = if C::ENCODES { value } else { 0 };
            match kind {
                0 => assert_eq!(coder.symbol((shown % 16) as usize, &EVEN), (value % 16) as usize),
                1 => assert_eq!(coder.symbol((shown % 16) as usize, &UNEVEN), (value % 16) as usize),
                2 => assert_eq!(coder.bits(shown & 0xffff, 16), value & 0xffff),
                3 => assert_eq!(coder.bits(0, 0), 0),
                _ => assert_eq!(coder.code(shown & 1 == 1, [1, 300, 65535][(value % 3) as usize]), value & 1 == 1),
            }
        }
    }

    fn list(count: usize) -> Vec<(u64, u64)> {
        let mut random = 1u64;
        let mut next = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            random >> 33
        };
        (0..count).map(|_| (next() % 5, next())).collect()
    }

    #[test]
    fn written_symbols_come_back_and_the_end_is_known() {
        for count in [0, 1, 2, 3, 20_000] {
            let list = list(count);
            let mut encoder = AnsEncoder::new();
            run(&mut encoder, &list);
            let bytes = encoder.finish();
            let mut decoder = AnsDecoder::new(&bytes);
            run(&mut decoder, &list);
            assert!(decoder.is_at_end(), "{count}");
            // A longer or shorter message is not at its end.
            let longer = [&bytes[..], &[0]].concat();
            let mut decoder = AnsDecoder::new(&longer);
            run(&mut decoder, &list);
            assert!(!decoder.is_at_end());
            assert!(bytes.is_empty() || !AnsDecoder::new(&bytes[..bytes.len() - 1]).is_at_end());
        }
    }

    #[test]
    fn a_symbol_costs_what_its_share_says() {
        let mut encoder = AnsEncoder::new();
        for n in 0..10_000 {
            encoder.symbol(if n % 64 == 0 { 1 } else { 7 }, &UNEVEN);
        }
        // 157 symbols of 15 bits each, and the states.
        let bytes = encoder.finish().len();
        assert!((157 * 15 / 8..157 * 15 / 8 + 24).contains(&bytes), "{bytes}");
    }

    #[test]
    fn hostile_bytes_are_read_without_harm() {
        for seed in 0..200u8 {
            let bytes: Vec<u8> = (0..usize::from(seed)).map(|n| (n as u8).wrapping_mul(seed) ^ 0x7f).collect();
            let mut decoder = AnsDecoder::new(&bytes);
            for _ in 0..400 {
                assert!(decoder.symbol(0, &EVEN) < SYMBOLS && decoder.symbol(0, &UNEVEN) < SYMBOLS);
                assert!(decoder.bits(0, 9) < 512);
                decoder.code(false, 40_000);
            }
            assert!(decoder.is_past_end() && !decoder.is_at_end());
        }
    }
}
