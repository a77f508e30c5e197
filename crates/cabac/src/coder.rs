//! Binary arithmetic coding: a bit and its probability in, bytes out, and back.
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
}

/// Writes bits.
#[derive(Debug)]
pub struct Encoder {
    low: u64,
    high: u64,
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
        Self { low: 0, high: u64::MAX, out: Vec::new() }
    }

    /// Bytes written so far.
    pub fn bytes(&self) -> usize {
        self.out.len()
    }

    /// The bytes. One more tells where between the bounds the message ends; what a reader finds behind is zeros.
    pub fn finish(mut self) -> Vec<u8> {
        self.out.push((self.low >> 56) as u8 + 1);
        self.out
    }
}

impl Coder for Encoder {
    const ENCODES: bool = true;

    #[inline]
    fn code(&mut self, bit: bool, one: u16) -> bool {
        let middle = self.low + ((self.high - self.low) >> 16) * u64::from(one);
        if bit {
            self.high = middle;
        } else {
            self.low = middle + 1;
        }
        while (self.low ^ self.high) >> 56 == 0 {
            self.out.push((self.high >> 56) as u8);
            self.low <<= 8;
            self.high = self.high << 8 | 0xff;
        }
        bit
    }
}

/// Reads bits. Behind the end stand zeros, without end: [`Decoder::is_at_end`] tells whether a message was whole.
#[derive(Debug)]
pub struct Decoder<B> {
    low: u64,
    high: u64,
    value: u64,
    bytes: B,
    position: usize,
}

impl<B: AsRef<[u8]>> Decoder<B> {
    /// Over a message.
    pub fn new(bytes: B) -> Self {
        let mut decoder = Self { low: 0, high: u64::MAX, value: 0, bytes, position: 0 };
        for _ in 0..8 {
            decoder.shift();
        }
        decoder
    }

    /// Whether what was read took all bytes and no more.
    pub fn is_at_end(&self) -> bool {
        self.position == self.bytes.as_ref().len() + 7
    }

    /// Whether more was read than there is: nothing that comes now was written.
    pub fn is_past_end(&self) -> bool {
        self.position > self.bytes.as_ref().len() + 7
    }

    fn shift(&mut self) {
        self.value = self.value << 8 | u64::from(self.bytes.as_ref().get(self.position).copied().unwrap_or(0));
        self.position += 1;
    }
}

impl<B: AsRef<[u8]>> Coder for Decoder<B> {
    const ENCODES: bool = false;

    #[inline]
    fn code(&mut self, _: bool, one: u16) -> bool {
        let middle = self.low + ((self.high - self.low) >> 16) * u64::from(one);
        let bit = self.value <= middle;
        if bit {
            self.high = middle;
        } else {
            self.low = middle + 1;
        }
        while (self.low ^ self.high) >> 56 == 0 {
            self.low <<= 8;
            self.high = self.high << 8 | 0xff;
            self.shift();
        }
        bit
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
