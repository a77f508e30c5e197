//! The class `goflate-1`: compress/flate of Go 1.19 to 1.26, and of every Go before it that was tried. BuildKit,
//! containerd, Docker and the eStargz converter use it.
//!
//! Levels 2 to 9 look matches up in chains of a hash table (`chains`), as zlib does: levels 4 to 9 try the next
//! position before they take a match, levels 2 and 3 do not. Level 1 remembers one position per hash and skips ahead
//! where nothing matches (`speed`), after Snappy. Level -2 uses no matches. `blocks` chooses codes and writes blocks.
//! The method was learned from Go's source (BSD-3) and is held by digests that Go made.
//!
//! An engine holds less than 2 MiB. The sizes of writes change nothing; the original depends on them only if a write
//! ends one byte before its window is full, which was never seen.

mod blocks;
mod chains;
mod speed;

#[cfg(test)]
mod tests;

use self::blocks::Blocks;
use self::chains::Chains;
use self::speed::Speed;
use crate::deflate::{STORED_BYTES_MAX, WINDOW_BYTES};
use crate::engine::{Engine, Mark, Start};

/// An engine at one level: -2, or 1 to 9. `None` for other levels, and for a start that the level does not have.
pub fn open(level: i8, start: &Start<'_>) -> Option<Box<dyn Engine>> {
    let is_fresh = start.mark == Mark::START;
    match level {
        -2 => Some(Box::new(Literals::new(start.mark))),
        1 if is_fresh => Some(Box::new(Speed::new())),
        2 | 3 if is_fresh => Some(Box::new(Chains::new(level, start)?)),
        4..=9 => Some(Box::new(Chains::new(level, start)?)),
        _ => None,
    }
}

/// Content before a start that the engine of a level has to see.
pub fn history_bytes(level: i8) -> usize {
    if level == -2 { 0 } else { WINDOW_BYTES }
}

/// Level -2: codes for single bytes, in blocks of 65,535 bytes.
struct Literals {
    waiting: Vec<u8>,
    blocks: Blocks,
    mark: Mark,
}

impl Literals {
    fn new(mark: Mark) -> Self {
        Self { waiting: Vec::with_capacity(STORED_BYTES_MAX), blocks: Blocks::new(mark.blob), mark }
    }

    fn end_block(&mut self, out: &mut Vec<u8>) {
        self.blocks.write_literals(&self.waiting, out);
        let content = self.mark.content + self.waiting.len() as u64;
        self.mark = Mark { content, blob: self.blocks.position() };
        self.waiting.clear();
    }
}

impl Engine for Literals {
    fn write(&mut self, mut content: &[u8], out: &mut Vec<u8>) {
        while !content.is_empty() {
            // A full block is written when more follows, as in the original: the result is the same.
            let (part, rest) = content.split_at(content.len().min(STORED_BYTES_MAX - self.waiting.len()));
            self.waiting.extend_from_slice(part);
            content = rest;
            if self.waiting.len() == STORED_BYTES_MAX {
                self.end_block(out);
            }
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        if !self.waiting.is_empty() {
            self.end_block(out);
        }
        self.blocks.finish(out);
    }

    fn mark(&self) -> Option<Mark> {
        Some(self.mark)
    }
}
