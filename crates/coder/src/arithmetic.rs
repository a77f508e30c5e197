//! Arithmetic coding of bits: a bit and its probability in, bytes out, and back.
//!
//! The coder has no carry and bounds of 64 bits, so that a probability of 1/65536 keeps its worth. Source: G. N. N.
//! Martin, "Range encoding" (1979), in the binary form of M. Mahoney's paq coders.

use crate::coder::Coder;

/// The range that the message lies in, both ends included.
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

    /// The last place of the range that stands for a 1.
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

    /// Takes the first byte once both bounds agree on it, and shifts the others up.
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
    /// An encoder that has written nothing.
    pub fn new() -> Self {
        Self { bounds: Bounds::ALL, out: Vec::new() }
    }

    /// How many bytes are written so far.
    pub fn bytes(&self) -> usize {
        self.out.len()
    }

    /// The message. Its last byte tells where between the bounds the message ends; a reader finds zeros behind it.
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

/// Reads bits. Zeros follow the end of the message: [`Decoder::is_at_end`] tells whether the message was whole.
#[derive(Debug)]
pub struct Decoder<B> {
    bounds: Bounds,
    value: u64,
    bytes: B,
    position: usize,
}

impl<B: AsRef<[u8]>> Decoder<B> {
    /// A decoder of a message.
    pub fn new(bytes: B) -> Self {
        let mut decoder = Self { bounds: Bounds::ALL, value: 0, bytes, position: 0 };
        for _ in 0..8 {
            decoder.next_byte();
        }
        decoder
    }

    /// Whether the bits read so far take exactly the message.
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
