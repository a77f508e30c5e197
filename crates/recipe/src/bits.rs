//! Writes bits, the lowest first, as DEFLATE wants them (RFC 1951, section 3.1.1).

/// A position in a stream of bits, with the bits of its unfinished byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BitPosition {
    /// Whole bytes before it.
    pub bytes: u64,
    /// The bits of the byte that is not whole, and a one above them: 1 if there are none.
    pub partial: u8,
}

impl BitPosition {
    pub const START: Self = Self { bytes: 0, partial: 1 };
}

/// Bits that wait for a whole byte, and the count of all bytes before them.
pub struct BitWriter {
    waiting: u64,
    waiting_bits: u32,
    bytes: u64,
}

impl BitWriter {
    /// Continues a stream at a position.
    pub fn new(at: BitPosition) -> Self {
        let bits = 7u32.saturating_sub(at.partial.leading_zeros());
        Self { waiting: u64::from(at.partial) & ((1 << bits) - 1), waiting_bits: bits, bytes: at.bytes }
    }

    pub fn position(&self) -> BitPosition {
        let (whole, rest) = (self.waiting_bits / 8, self.waiting_bits % 8);
        let partial = (self.waiting >> (whole * 8)) as u8 & ((1 << rest) - 1) as u8;
        BitPosition { bytes: self.bytes + u64::from(whole), partial: partial | (1 << rest) }
    }

    /// Adds up to 16 bits.
    #[inline]
    pub fn bits(&mut self, value: u32, count: u32, out: &mut Vec<u8>) {
        self.waiting |= u64::from(value) << self.waiting_bits;
        self.waiting_bits += count;
        while self.waiting_bits >= 8 {
            out.push(self.waiting as u8);
            self.waiting >>= 8;
            self.waiting_bits -= 8;
            self.bytes += 1;
        }
    }

    /// Fills the byte that is not whole with zeros.
    pub fn align(&mut self, out: &mut Vec<u8>) {
        if !self.waiting_bits.is_multiple_of(8) {
            self.bits(0, 8 - self.waiting_bits % 8, out);
        }
    }

    /// Adds whole bytes. The caller has aligned the stream.
    pub fn bytes(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(bytes);
        self.bytes += bytes.len() as u64;
    }

    /// A place for many bits: the caller adds at most `bytes_max` bytes of bits.
    pub fn bulk<'a>(&'a mut self, bytes_max: usize, out: &'a mut Vec<u8>) -> BulkBits<'a> {
        let start = out.len();
        out.resize(start + bytes_max + 16, 0);
        BulkBits { waiting: self.waiting, waiting_bits: self.waiting_bits, at: start, start, out, writer: self }
    }
}

/// Writes bits into a place that was made before, eight bytes at once.
pub struct BulkBits<'a> {
    waiting: u64,
    waiting_bits: u32,
    at: usize,
    start: usize,
    out: &'a mut Vec<u8>,
    writer: &'a mut BitWriter,
}

impl BulkBits<'_> {
    /// Adds up to 56 bits.
    #[inline]
    pub fn add(&mut self, value: u64, count: u32) {
        self.waiting |= value << (self.waiting_bits & 63);
        self.waiting_bits += count;
        if let Some(place) = self.out.get_mut(self.at..self.at + 8) {
            place.copy_from_slice(&self.waiting.to_le_bytes());
        }
        self.at += (self.waiting_bits >> 3) as usize;
        self.waiting >>= self.waiting_bits & 56;
        self.waiting_bits &= 7;
    }

    /// Gives back the place that was not needed.
    pub fn finish(self) {
        self.out.truncate(self.at);
        self.writer.waiting = self.waiting;
        self.writer.waiting_bits = self.waiting_bits;
        self.writer.bytes += (self.at - self.start) as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_one_by_one_and_in_bulk_are_the_same() {
        let values: Vec<(u32, u32)> = (0..500).map(|n| (n * 7919 % (1 << (n % 16)), n % 16)).collect();
        let (mut single, mut bulk) = (Vec::new(), Vec::new());
        let mut writer = BitWriter::new(BitPosition::START);
        values.iter().for_each(|&(value, count)| writer.bits(value, count, &mut single));
        let mut other = BitWriter::new(BitPosition::START);
        let mut bits = other.bulk(1000, &mut bulk);
        values.iter().for_each(|&(value, count)| bits.add(u64::from(value), count));
        bits.finish();
        assert_eq!((&single, writer.position()), (&bulk, other.position()));
        writer.align(&mut single);
        other.align(&mut bulk);
        assert_eq!(single, bulk);
    }

    #[test]
    fn a_stream_continues_within_a_byte() {
        let (mut whole, mut first, mut second) = (Vec::new(), Vec::new(), Vec::new());
        let mut writer = BitWriter::new(BitPosition::START);
        writer.bits(0b101, 3, &mut whole);
        writer.bits(0x1234, 16, &mut whole);
        writer.align(&mut whole);
        let mut writer = BitWriter::new(BitPosition::START);
        writer.bits(0b101, 3, &mut first);
        let mut writer = BitWriter::new(writer.position());
        writer.bits(0x1234, 16, &mut second);
        writer.align(&mut second);
        assert_eq!((first, second), (Vec::new(), whole));
    }
}
