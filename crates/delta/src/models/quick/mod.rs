//! The models of the full tier as programs write it now: fewer contexts for each bit than [`super::earlier`], from
//! tables that stay in a processor's cache, and none at all for bytes that are almost surely the base's.
//!
//! Measured on parts of ten pairs, with the earlier models: most of the time went into waiting for memory (six tables
//! of 2 MiB, two places of each for a byte), so a context that mostly sees one byte now keeps that byte alone. Tables
//! tell contexts apart that share a place, which made the smaller tables the better ones.

mod bytes;
mod hits;
mod lines;
mod mixer;
mod runs;

use lighter_coder::Coder;

use super::bytes::{HINTS, Hint};
use super::full::Models;
use super::hits::Around;

/// The models.
pub struct Quick {
    hits: hits::Hits,
    bytes: bytes::Bytes,
}

impl Models for Quick {
    fn new() -> Self {
        Self { hits: hits::Hits::new(), bytes: bytes::Bytes::new() }
    }

    fn block(&self, left: usize) -> Option<usize> {
        self.hits.block(left)
    }

    fn code_block<C: Coder>(&mut self, coder: &mut C, equal: bool) -> bool {
        self.hits.code_block(coder, equal)
    }

    #[inline]
    fn code_hit<C: Coder>(&mut self, coder: &mut C, around: Around, guess: impl FnOnce() -> u8, equal: bool) -> bool {
        self.hits.code(coder, around, guess, equal)
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
