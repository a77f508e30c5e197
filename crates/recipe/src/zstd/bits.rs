//! Bits written from the lowest on, as both Huffman and FSE streams of a zstd frame have them (RFC 8878, 4.1 and 4.2).

/// A stream of bits in a buffer that is kept from block to block.
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    length: usize,
    pending: u64,
    pending_bits: u32,
}

impl BitWriter {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; 1 << 16], length: 0, pending: 0, pending_bits: 0 }
    }

    /// Starts an empty stream.
    pub(super) fn clear(&mut self) {
        self.length = 0;
        self.pending = 0;
        self.pending_bits = 0;
    }

    /// Adds the low `bits` bits of `value`, which has no others. At most 56 bits between two calls of [`Self::flush`].
    #[inline(always)]
    pub(super) fn add(&mut self, value: u64, bits: u32) {
        self.pending |= value.wrapping_shl(self.pending_bits);
        self.pending_bits = self.pending_bits.wrapping_add(bits);
    }

    /// Moves whole bytes into the buffer; at most seven bits stay.
    #[inline(always)]
    pub(super) fn flush(&mut self) {
        let end = self.length.wrapping_add(8);
        if end > self.bytes.len() {
            self.bytes.resize(end.saturating_mul(2), 0);
        }
        if let Some(place) = self.bytes.get_mut(self.length..end) {
            place.copy_from_slice(&self.pending.to_le_bytes());
        }
        self.length = self.length.wrapping_add((self.pending_bits >> 3) as usize);
        self.pending = self.pending.wrapping_shr(self.pending_bits & 56);
        self.pending_bits &= 7;
    }

    /// Ends the stream with the mark bit that tells a decoder where it starts.
    pub(super) fn close(&mut self) {
        self.flush();
        self.add(1, 1);
        self.pad();
    }

    /// Ends the stream at the next whole byte, without a mark.
    pub(super) fn pad(&mut self) {
        self.flush();
        self.pending_bits = self.pending_bits.next_multiple_of(8);
        self.flush();
    }

    /// The bytes since [`Self::clear`], without the bits still pending.
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}
