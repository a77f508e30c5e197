//! Bits in DEFLATE's order (RFC 1951, section 3.1.1): the first bit of a stream is the lowest bit of its first byte.

/// Bits that are not yet a whole number of bytes, and how many bytes were written before them.
///
/// Invariant: after each call, fewer than 16 bits wait, and the bits above them are zero.
pub(super) struct BitWriter {
    bits: u64,
    count: u32,
    bytes: u64,
}

impl BitWriter {
    /// The most bits that one [`BitWriter::put`] takes: a length code and a distance code with their extra bits.
    pub(super) const PUT_BITS_MAX: u32 = 48;

    /// Begins within a byte: `count` bits of it, at most seven, stand in `bits`.
    pub(super) fn within_byte(bits: u8, count: u32) -> BitWriter {
        let count = count & 7;
        BitWriter { bits: u64::from(bits) & ((1 << count) - 1), count, bytes: 0 }
    }

    /// Appends the lowest `count` bits of `value`; the bits of `value` above them are zero.
    #[inline(always)]
    pub(super) fn put(&mut self, value: u64, count: u32, out: &mut Vec<u8>) {
        debug_assert!(count <= Self::PUT_BITS_MAX);
        self.bits |= value << (self.count & 15);
        self.count = self.count.wrapping_add(count);
        if self.count >= 16 {
            self.drain(out);
        }
    }

    /// Writes the whole bytes. Eight are appended and the excess is cut off, which is quicker than a copy of varying
    /// length.
    #[inline(always)]
    fn drain(&mut self, out: &mut Vec<u8>) {
        let whole = (self.count >> 3) as usize;
        let end = out.len().wrapping_add(whole);
        out.extend_from_slice(&self.bits.to_le_bytes());
        out.truncate(end);
        self.bits = self.bits.checked_shr(self.count & !7).unwrap_or(0);
        self.count &= 7;
        self.bytes = self.bytes.wrapping_add(whole as u64);
    }

    /// Writes the whole bytes; at most seven bits stay.
    pub(super) fn flush(&mut self, out: &mut Vec<u8>) {
        self.drain(out);
    }

    /// Fills the last byte with zeros and writes it.
    pub(super) fn align(&mut self, out: &mut Vec<u8>) {
        self.count = self.count.next_multiple_of(8);
        self.drain(out);
    }

    /// Appends bytes; the caller has aligned the stream.
    pub(super) fn put_bytes(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(bytes);
        self.bytes = self.bytes.wrapping_add(bytes.len() as u64);
    }

    /// All bits so far, with those that the stream began with.
    pub(super) fn position_bits(&self) -> u64 {
        self.bytes.wrapping_mul(8).wrapping_add(u64::from(self.count))
    }

    /// The bits of the last byte, where it is not whole.
    pub(super) fn partial(&self) -> u8 {
        (self.bits >> (self.count & 8)) as u8
    }
}
