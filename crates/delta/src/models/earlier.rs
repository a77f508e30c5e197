//! The models of the full tier as programs wrote it up to encoder 12: their patches still apply.

use lighter_coder::Coder;

use super::bytes::{Bytes, HINTS, Hint};
use super::full::Models;
use super::hits::{Around, Hits};

/// The models.
pub struct Earlier {
    hits: Hits,
    bytes: Bytes,
}

impl Models for Earlier {
    fn new() -> Self {
        Self { hits: Hits::new(), bytes: Bytes::new() }
    }

    fn warm_up(&mut self) {
        self.bytes.warm_up();
    }

    fn block(&self, left: usize) -> Option<usize> {
        self.hits.block(left)
    }

    fn code_block<C: Coder>(&mut self, coder: &mut C, equal: bool) -> bool {
        self.hits.code_block(coder, equal)
    }

    #[inline]
    fn code_hit<C: Coder>(&mut self, coder: &mut C, around: Around, guess: impl FnOnce() -> u8, equal: bool) -> bool {
        self.hits.code(coder, &Around { guess: guess(), ..around }, equal)
    }

    fn code_new<C: Coder>(&mut self, coder: &mut C, byte: u8, before: u64, out: &mut Vec<u8>) -> u8 {
        self.bytes.code_new(coder, byte, before, out)
    }

    fn code_changed<C: Coder>(
        &mut self,
        coder: &mut C,
        byte: u8,
        (before, base): (u64, u64),
        hints: &[Option<Hint>; HINTS],
        out: &mut Vec<u8>,
    ) -> u8 {
        self.bytes.code_changed(coder, byte, before, base, hints, out)
    }
}
