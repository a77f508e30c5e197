//! Arithmetic coding: a bit and its probability in, bytes out, and back.
//!
//! Carry-less with 64-bit bounds, so that a probability of 1/65536 keeps its worth. Source: G. N. N. Martin, "Range
//! encoding" (1979), in the binary form of M. Mahoney's paq coders. Models are written once, over [`Coder`]: encoding
//! returns the bit that it was given, decoding the bit that it found.

/// The one who writes or reads bits.
pub trait Coder {
    /// Whether bits are written.
    const ENCODES: bool;

    /// Codes a bit whose probability of being 1 is `one` / 65536, 1 to 65535. When decoding, `bit` is not looked at.
    fn code(&mut self, bit: bool, one: u16) -> bool;

    /// Whether more was read than there is: nothing that comes now was written. Never so when writing.
    fn is_past_end(&self) -> bool {
        false
    }
}

/// One who writes or reads symbols and plain bits as well.
pub trait SymbolCoder: Coder {
    /// Codes one of [`SYMBOLS`]. `starts` says where each one's share of 32768 begins, each above the one before. The first
    /// begins at 0, also where `starts` says less. When decoding, `symbol` is not looked at.
    fn symbol(&mut self, symbol: usize, starts: &Starts) -> usize;

    /// Codes `count` bits of even chance, at most 16. When decoding, `value` is not looked at.
    fn bits(&mut self, value: u64, count: u32) -> u64;
}

/// Symbols that are coded at once.
pub const SYMBOLS: usize = 16;

/// Where the share of each symbol begins, of 2^[`SHARE_BITS`].
pub type Starts = [i16; SYMBOLS];

pub(crate) const SHARE_BITS: u32 = 15;

/// Between what the message lies, both ends within.
#[derive(Debug)]
struct Bounds {
    low: u64,
    high: u64,
}

impl Bounds {
    const ALL: Self = Self { low: 0, high: u64::MAX };

    #[inline]
    fn distance(&self) -> u64 {
        self.high - self.low
    }

    /// The last place of a bit that is 1.
    #[inline]
    fn middle(&self, one: u16) -> u64 {
        self.low + (self.distance() >> 16) * u64::from(one)
    }

    #[inline]
    fn take_bit(&mut self, bit: bool, middle: u64) {
        if bit {
            self.high = middle;
        } else {
            self.low = middle + 1;
        }
    }

    /// The first byte, once it is certain; the others move up.
    #[inline]
    fn settled(&mut self) -> Option<u8> {
        if (self.low ^ self.high) >> 56 != 0 {
            return None;
        }
        let byte = (self.high >> 56) as u8;
        self.low <<= 8;
        self.high = self.high << 8 | 0xff;
        Some(byte)
    }
}

/// Writes bits.
#[derive(Debug)]
pub struct Encoder {
    bounds: Bounds,
    out: Vec<u8>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder {
    /// Nothing written yet.
    pub fn new() -> Self {
        Self { bounds: Bounds::ALL, out: Vec::new() }
    }

    /// Bytes written so far.
    pub fn bytes(&self) -> usize {
        self.out.len()
    }

    /// The bytes. One more tells where between the bounds the message ends; what a reader finds behind is zeros.
    pub fn finish(mut self) -> Vec<u8> {
        self.out.push((self.bounds.low >> 56) as u8 + 1);
        self.out
    }

    #[inline]
    fn shift(&mut self) {
        while let Some(byte) = self.bounds.settled() {
            self.out.push(byte);
        }
    }
}

impl Coder for Encoder {
    const ENCODES: bool = true;

    #[inline]
    fn code(&mut self, bit: bool, one: u16) -> bool {
        self.bounds.take_bit(bit, self.bounds.middle(one));
        self.shift();
        bit
    }
}

/// Reads bits. Behind the end stand zeros, without end: [`Decoder::is_at_end`] tells whether a message was whole.
#[derive(Debug)]
pub struct Decoder<B> {
    bounds: Bounds,
    value: u64,
    bytes: B,
    position: usize,
}

impl<B: AsRef<[u8]>> Decoder<B> {
    /// Over a message.
    pub fn new(bytes: B) -> Self {
        let mut decoder = Self { bounds: Bounds::ALL, value: 0, bytes, position: 0 };
        for _ in 0..8 {
            decoder.next_byte();
        }
        decoder
    }

    /// Whether what was read took all bytes and no more.
    pub fn is_at_end(&self) -> bool {
        self.position == self.bytes.as_ref().len() + 7
    }

    #[inline]
    fn shift(&mut self) {
        while self.bounds.settled().is_some() {
            self.next_byte();
        }
    }

    #[inline]
    fn next_byte(&mut self) {
        self.value = self.value << 8 | u64::from(self.bytes.as_ref().get(self.position).copied().unwrap_or(0));
        self.position += 1;
    }
}

impl<B: AsRef<[u8]>> Coder for Decoder<B> {
    const ENCODES: bool = false;

    #[inline]
    fn code(&mut self, _: bool, one: u16) -> bool {
        let middle = self.bounds.middle(one);
        let bit = self.value <= middle;
        self.bounds.take_bit(bit, middle);
        self.shift();
        bit
    }

    fn is_past_end(&self) -> bool {
        self.position > self.bytes.as_ref().len() + 7
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_back_at_any_probability_and_the_end_is_known() {
        for count in [0, 1, 2, 7, 100, 5000] {
            let bits: Vec<(bool, u16)> = (0..count as u32)
                .map(|n| {
                    let mixed = n.wrapping_mul(2_654_435_761) ^ n.rotate_left(7);
                    (mixed >> 9 & 3 == 0, [1, 300, 32768, 65535][(mixed >> 20 & 3) as usize])
                })
                .collect();
            let mut encoder = Encoder::new();
            for &(bit, one) in &bits {
                assert_eq!(encoder.code(bit, one), bit);
            }
            let bytes = encoder.finish();
            let mut decoder = Decoder::new(&bytes);
            for &(bit, one) in &bits {
                assert!(!decoder.is_past_end());
                assert_eq!(decoder.code(false, one), bit);
            }
            assert!(decoder.is_at_end());
        }
    }
}
