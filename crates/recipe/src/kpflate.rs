//! The classes `kpflate-1` to `kpflate-3` and `goflate-2`: flate of klauspost/compress, which pgzip uses, and which Go
//! has from 1.27 on.
//!
//! | class | tools |
//! |---|---|
//! | `kpflate-1` | klauspost 1.15.12 to 1.15.14: its levels 7 to 9; skopeo, buildah, podman and umoci of Debian 12 |
//! | `kpflate-2` | klauspost 1.15.15 to 1.18.0; at levels 1 to 6 also those of `kpflate-1` |
//! | `kpflate-3` | klauspost 1.18.3 to 1.19.1; but for level 9 also Go 1.27 |
//! | `goflate-2` | Go 1.27 at level 9 |
//!
//! Levels 1 to 6 look for matches with one or two hash tables, each level in a way of its own, in pieces of 65,535
//! bytes (`short`, `middle`, `long`). Levels 7 to 9 follow chains of a hash table (`lazy`). `blocks` chooses codes,
//! and may go on with those of the block before. A block of pgzip is one stream of this kind up to its flush, with the
//! content before it as a dictionary. The method was learned from klauspost's and Go's sources (BSD-3) and is held by
//! digests that the tools made.
//!
//! An engine holds less than 2 MiB. The sizes of writes change nothing.

mod blocks;
mod lazy;
mod long;
mod matcher;
mod middle;
mod short;

#[cfg(test)]
mod tests;

use self::blocks::{After, Blocks};
use self::lazy::Lazy;
use self::matcher::Matcher;
use crate::bits::BitPosition;
use crate::deflate::STORED_BYTES_MAX;
use crate::engine::Engine;

/// Shorter ends of a stream are written without matches, and the shortest ones are stored.
const MATCHED_BYTES_MIN: usize = 128;
const STORED_END_BYTES_MAX: usize = 32;
/// Level -2 writes pieces of this length.
const LITERAL_BYTES: usize = 32 << 10;

/// The behaviour in which the classes differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Variant {
    First,
    Second,
    Third,
    /// The third, as Go has it.
    Go,
}

/// An engine that can also be flushed.
pub trait Flush: Engine {
    /// Writes all content so far, and an empty stored block behind it.
    fn flush(&mut self, out: &mut Vec<u8>);
}

/// An engine at one level, behind a dictionary. `None` for levels that there are not.
pub fn open(variant: Variant, level: i8, dictionary: &[u8], at: BitPosition) -> Option<Box<dyn Flush>> {
    let trims_headers = matches!(variant, Variant::Third | Variant::Go);
    let blocks = |penalty| Blocks::new(at, penalty, trims_headers);
    match level {
        -2 => Some(Box::new(Pieces::new(None, blocks(10), dictionary))),
        1..=6 => Some(Box::new(Pieces::new(Matcher::new(variant, level), blocks(7), dictionary))),
        7..=9 => Some(Box::new(Lazy::new(variant, level, blocks(8), dictionary)?)),
        _ => None,
    }
}

/// Levels that work on one piece of content after the other.
struct Pieces {
    /// `None`: no matches.
    matcher: Option<Matcher>,
    waiting: Vec<u8>,
    piece_bytes: usize,
    blocks: Blocks,
}

impl Pieces {
    fn new(mut matcher: Option<Matcher>, blocks: Blocks, dictionary: &[u8]) -> Self {
        let piece_bytes = if matcher.is_some() { STORED_BYTES_MAX } else { LITERAL_BYTES };
        if let Some(matcher) = &mut matcher
            && !dictionary.is_empty()
        {
            matcher.tokenize(dictionary);
        }
        Self { matcher, waiting: Vec::with_capacity(piece_bytes), piece_bytes, blocks }
    }

    fn end_piece(&mut self, after: After, out: &mut Vec<u8>) {
        let content = self.waiting.as_slice();
        match &mut self.matcher {
            None => self.blocks.write_literals(content, after, out),
            Some(matcher) if content.len() < MATCHED_BYTES_MIN => {
                if content.len() <= STORED_END_BYTES_MAX {
                    self.blocks.write_stored(content, out);
                } else {
                    self.blocks.write_literals(content, after, out);
                }
                matcher.forget();
            }
            Some(matcher) => {
                let tokens = matcher.tokenize(content);
                if tokens.is_empty() {
                    self.blocks.write_stored(content, out);
                } else if tokens.len() > content.len() - (content.len() >> 4) {
                    self.blocks.write_literals(content, after, out);
                } else {
                    self.blocks.write(tokens, Some(content), after, out);
                }
            }
        }
        self.waiting.clear();
    }

    fn end_content(&mut self, out: &mut Vec<u8>) {
        if !self.waiting.is_empty() {
            self.end_piece(After::Flush, out);
        }
    }
}

impl Engine for Pieces {
    fn write(&mut self, mut content: &[u8], out: &mut Vec<u8>) {
        while !content.is_empty() {
            // A full piece waits until it is known that more follows.
            if self.waiting.len() == self.piece_bytes {
                self.end_piece(After::More, out);
            }
            let (part, rest) = content.split_at(content.len().min(self.piece_bytes - self.waiting.len()));
            self.waiting.extend_from_slice(part);
            content = rest;
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.end_content(out);
        self.blocks.finish(out);
    }
}

impl Flush for Pieces {
    fn flush(&mut self, out: &mut Vec<u8>) {
        self.end_content(out);
        self.blocks.flush(out);
    }
}
