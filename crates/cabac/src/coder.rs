//! Arithmetic coding: a bit or a symbol and its probability in, bytes out, and back.
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

    /// Codes one of [`SYMBOLS`]. `starts` says where each one's share of 32768 begins, each above the one before. The first
    /// begins at 0: what `starts` says of it is not looked at. When decoding, `symbol` is not looked at.
    fn symbol(&mut self, symbol: usize, starts: &Starts) -> usize;

    /// Codes `count` bits of even chance, at most 16. When decoding, `value` is not looked at.
    fn bits(&mut self, value: u64, count: u32) -> u64;
}

/// Symbols that are coded at once.
pub const SYMBOLS: usize = 16;

/// Where the share of each symbol begins, of 2^[`SHARE_BITS`].
pub type Starts = [u16; SYMBOLS];

const SHARE_BITS: u32 = 15;

/// The least distance of the bounds before a symbol, so that shares keep their worth.
const DISTANCE_MIN: u64 = 1 << 32;

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

    /// A share of 1 of 2^`share_bits`.
    #[inline]
    fn unit(&self, share_bits: u32) -> u64 {
        self.distance() >> share_bits
    }

    #[inline]
    fn take_symbol(&mut self, symbol: usize, starts: &Starts, unit: u64) {
        if let Some(&end) = starts.get(symbol + 1) {
            self.high = self.low + unit * u64::from(end) - 1;
        }
        if symbol > 0 {
            self.low += unit * u64::from(starts[symbol]);
        }
    }

    #[inline]
    fn take_bits(&mut self, value: u64, unit: u64) {
        self.low += unit * value;
        self.high = self.low + unit - 1;
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

    /// Whether the bounds were too close for symbols. They lie at both sides of a round number then: the part below it is
    /// taken, which settles a byte.
    #[inline]
    fn part(&mut self) -> bool {
        let is_close = self.distance() < DISTANCE_MIN;
        if is_close {
            self.high = self.low | (DISTANCE_MIN - 1);
        }
        is_close
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

    #[inline]
    fn widen(&mut self) {
        while self.bounds.part() {
            self.shift();
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

    #[inline]
    fn symbol(&mut self, symbol: usize, starts: &Starts) -> usize {
        self.widen();
        self.bounds.take_symbol(symbol, starts, self.bounds.unit(SHARE_BITS));
        self.shift();
        symbol
    }

    #[inline]
    fn bits(&mut self, value: u64, count: u32) -> u64 {
        self.widen();
        self.bounds.take_bits(value, self.bounds.unit(count));
        self.shift();
        value
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

    /// Whether more was read than there is: nothing that comes now was written.
    pub fn is_past_end(&self) -> bool {
        self.position > self.bytes.as_ref().len() + 7
    }

    #[inline]
    fn shift(&mut self) {
        while self.bounds.settled().is_some() {
            self.next_byte();
        }
    }

    #[inline]
    fn widen(&mut self) {
        while self.bounds.part() {
            self.shift();
        }
    }

    #[inline]
    fn next_byte(&mut self) {
        self.value = self.value << 8 | u64::from(self.bytes.as_ref().get(self.position).copied().unwrap_or(0));
        self.position += 1;
    }

    /// How many units above the lower bound the value lies, `most` at most. Of bytes that no encoder wrote it may lie
    /// outside the bounds: then any answer will do.
    #[inline]
    fn units(&self, unit: u64, most: u64) -> u64 {
        (self.value.wrapping_sub(self.bounds.low) / unit).min(most)
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

    #[inline]
    fn symbol(&mut self, _: usize, starts: &Starts) -> usize {
        self.widen();
        let unit = self.bounds.unit(SHARE_BITS);
        let share = self.units(unit, (1 << SHARE_BITS) - 1) as u16;
        let reached = |start: u16| u16::from(start <= share);
        // Over all of them, the first too, and without checks of overflow: so that it is done many at once.
        let count = starts.iter().fold(0u16, |count, &start| count.wrapping_add(reached(start)));
        let symbol = usize::from(count - reached(starts[0]));
        self.bounds.take_symbol(symbol, starts, unit);
        self.shift();
        symbol
    }

    #[inline]
    fn bits(&mut self, _: u64, count: u32) -> u64 {
        self.widen();
        let unit = self.bounds.unit(count);
        let value = self.units(unit, (1 << count) - 1);
        self.bounds.take_bits(value, unit);
        self.shift();
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_and_plain_bits_come_back_among_bits() {
        let mut random = 1u64;
        let mut next = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            random >> 33
        };
        // Shares as even and as uneven as can be.
        let even: Starts = std::array::from_fn(|symbol| if symbol == 0 { 77 } else { symbol as u16 * 2048 });
        let uneven: Starts =
            std::array::from_fn(|symbol| if symbol < 8 { symbol as u16 } else { 32752 + symbol as u16 });
        let list: Vec<(u64, u64)> = (0..20_000).map(|_| (next() % 4, next())).collect();
        fn run<C: Coder>(coder: &mut C, list: &[(u64, u64)], given: bool, even: &Starts, uneven: &Starts) {
            for &(kind, value) in list {
                let shown = if given { value } else { 0 };
                match kind {
                    0 => assert_eq!(coder.symbol((shown % 16) as usize, even), (value % 16) as usize),
                    1 => assert_eq!(coder.symbol((shown % 16) as usize, uneven), (value % 16) as usize),
                    2 => assert_eq!(coder.bits(shown & 0xffff, 16), value & 0xffff),
                    _ => assert_eq!(coder.code(shown & 1 == 1, 3), value & 1 == 1),
                }
            }
        }
        let mut encoder = Encoder::new();
        run(&mut encoder, &list, true, &even, &uneven);
        let bytes = encoder.finish();
        let mut decoder = Decoder::new(&bytes);
        run(&mut decoder, &list, false, &even, &uneven);
        assert!(decoder.is_at_end());
    }

    #[test]
    fn close_bounds_are_brought_apart_alike() {
        let even: Starts = std::array::from_fn(|symbol| symbol as u16 * 2048);
        for high in [0x8000_0000_0000_0000u64, 0x8000_0000_0000_1234, 0x8000_0000_ffff_0000] {
            let close = || Bounds { low: 0x7fff_ffff_ffff_ff00, high };
            let mut encoder = Encoder { bounds: close(), out: Vec::new() };
            let symbols: Vec<usize> = (0..40).map(|n| n * 7 % 16).collect();
            for &symbol in &symbols {
                encoder.symbol(symbol, &even);
            }
            let bytes = encoder.finish();
            let mut decoder = Decoder::new(&bytes);
            decoder.bounds = close();
            for &symbol in &symbols {
                assert_eq!(decoder.symbol(0, &even), symbol);
            }
        }
    }

    #[test]
    fn bytes_that_nobody_wrote_are_read_without_harm() {
        let even: Starts = std::array::from_fn(|symbol| symbol as u16 * 2048);
        for seed in 0..200u8 {
            let bytes: Vec<u8> = (0..64).map(|n: u8| n.wrapping_mul(seed) ^ 0x7f).collect();
            let mut decoder = Decoder::new(&bytes);
            for _ in 0..200 {
                assert!(decoder.symbol(0, &even) < SYMBOLS && decoder.bits(0, 9) < 512);
                decoder.code(false, 40_000);
            }
        }
    }

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
