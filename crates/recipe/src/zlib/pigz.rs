//! pigz: one DEFLATE stream out of blocks of content that are compressed apart, over zlib.
//!
//! The class: pigz 2.6 over zlib 1.2.13, levels 1 to 9. The method is that of `pigz.c` (zlib licence), which needs zlib
//! 1.2.6 for it.
//!
//! Each block of content (128 KiB, or as `-b` says) is a stream of zlib's whose dictionary is the 32 KiB of content
//! before it; with `-i` it has none. The last one finishes. The others end at a whole byte: where the bits that wait
//! are an odd number, or with `-i`, an empty stored block fills them up, otherwise empty blocks of ten bits with the
//! fixed codes do; with `-i` a second empty stored block follows.
//!
//! With one thread (`-p 1`, or a machine with one processor) pigz compresses one stream of zlib's and flushes it at the
//! same places ([`PigzThreads::One`]). At levels 4, 6 and 9 three layers came out the same either way; at levels 1 to 3
//! the bytes differ.
//!
//! Not here: `--rsyncable`, level 11 (zopfli), and `-0`.

use std::num::NonZeroU32;

use super::{NOT_GIVEN_UP, Zlib, ZlibBoundary, ZlibFlush, ZlibLevel, ZlibMemory};
use crate::bits::BitPosition;
use crate::engine::{Engine, Mark, Start};

/// As much content before a block is its dictionary.
const DICTIONARY: usize = 32_768;
/// pigz takes no shorter blocks.
pub const BLOCK_BYTES_MIN: usize = DICTIONARY;

/// Whether pigz compresses blocks in several threads or all content in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PigzThreads {
    /// `-p 1`: zlib's state lives on from block to block.
    One,
    /// Two or more: their number changes nothing.
    Several,
}

/// Whether blocks refer to the content before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PigzBlocks {
    /// As pigz does without an option.
    Dependent,
    /// `-i`.
    Independent,
}

/// How pigz was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PigzSettings {
    /// `-1` to `-9`.
    pub(super) level: ZlibLevel,
    /// Bytes of content in a block: `-b` times 1,024, at least [`BLOCK_BYTES_MIN`].
    pub(super) block_bytes: u64,
    /// `-i`.
    pub(super) blocks: PigzBlocks,
    /// `-p`.
    pub(super) threads: PigzThreads,
}

impl PigzSettings {
    /// Whether zlib's state lives on from block to block, and is not known from the content before.
    pub(super) fn has_lasting_state(self) -> bool {
        (self.threads, self.blocks) == (PigzThreads::One, PigzBlocks::Dependent) && !self.level.is_lazy()
    }
}

/// A raw DEFLATE stream as pigz writes it. It holds 1.1 MiB at most.
pub struct Pigz {
    settings: PigzSettings,
    zlib: Zlib,
    /// Content of the block under way.
    block_bytes: u64,
    /// The last 32 KiB of content, or all of it.
    history: Vec<u8>,
    /// The beginning of the block, and the bytes that are written of it.
    mark: Mark,
    written: u64,
}

impl Pigz {
    /// Opens the engine of a level. `None` if there is no such level, or if no block begins at the start.
    pub fn open(
        level: i8,
        block_bytes: NonZeroU32,
        blocks: PigzBlocks,
        threads: PigzThreads,
        start: &Start<'_>,
    ) -> Option<Box<dyn Engine>> {
        let level = ZlibLevel::new(u8::try_from(level).ok()?)?;
        let block_bytes = u64::from(block_bytes.get());
        let settings = PigzSettings { level, block_bytes, blocks, threads };
        let is_block = start.mark.content.is_multiple_of(block_bytes) && start.mark.blob.partial == 1;
        let mut pigz = match start.mark {
            Mark::START => Pigz::new(settings),
            mark if is_block => Pigz::restart(settings, mark.content, start.history)?,
            _ => return None,
        };
        pigz.mark = start.mark;
        Some(Box::new(pigz))
    }

    /// A stream that begins with nothing before it.
    pub(super) fn new(settings: PigzSettings) -> Pigz {
        Pigz::with_history(settings, &[])
    }

    /// Goes on at the beginning of a block, before which there are `content_before` bytes of content; `history` is the
    /// last 32 KiB of them. Each block of pigz begins with a whole byte, so a restart needs nothing else. `None` where
    /// one thread made the stream at a level from 1 to 3: see [`Zlib::restart`].
    pub(super) fn restart(settings: PigzSettings, content_before: u64, history: &[u8]) -> Option<Pigz> {
        let mut pigz = Pigz::with_history(settings, history);
        if (settings.threads, settings.blocks) == (PigzThreads::One, PigzBlocks::Dependent) {
            let at = ZlibBoundary { content: content_before, bits: 0, partial: 0, previous_length: NOT_GIVEN_UP };
            pigz.zlib = Zlib::restart(settings.level, ZlibMemory::Eight, &at, history)?;
        }
        Some(pigz)
    }

    fn with_history(settings: PigzSettings, history: &[u8]) -> Pigz {
        let zlib = Zlib::new(settings.level, ZlibMemory::Eight);
        let (history_before, history) = (history, Vec::with_capacity(2 * DICTIONARY));
        let mut pigz = Pigz { settings, zlib, block_bytes: 0, history, mark: Mark::START, written: 0 };
        pigz.remember(history_before);
        pigz.begin_block();
        pigz
    }

    fn remember(&mut self, content: &[u8]) {
        let content = &content[content.len().saturating_sub(DICTIONARY)..];
        let kept = DICTIONARY - content.len();
        let excess = self.history.len().saturating_sub(kept);
        self.history.drain(..excess);
        self.history.extend_from_slice(content);
    }

    fn begin_block(&mut self) {
        self.block_bytes = 0;
        match (self.settings.blocks, self.settings.threads) {
            (PigzBlocks::Independent, _) => self.zlib.reset(&[]),
            (PigzBlocks::Dependent, PigzThreads::Several) => self.zlib.reset(&self.history),
            (PigzBlocks::Dependent, PigzThreads::One) => {}
        }
    }

    /// Ends a block that another one follows.
    fn end_block(&mut self, out: &mut Vec<u8>) {
        let before = out.len();
        self.zlib.flush(ZlibFlush::Block, out);
        match self.settings.blocks {
            PigzBlocks::Independent => {
                self.zlib.flush(ZlibFlush::Sync, out);
                self.zlib.flush(ZlibFlush::Full, out);
            }
            PigzBlocks::Dependent if self.zlib.waiting_bits() % 2 == 1 => self.zlib.flush(ZlibFlush::Sync, out),
            PigzBlocks::Dependent => {
                while self.zlib.waiting_bits() != 0 {
                    self.zlib.flush(ZlibFlush::Partial, out);
                }
            }
        }
        let bytes = self.mark.blob.bytes + self.written + (out.len() - before) as u64;
        let content = self.mark.content + self.block_bytes;
        self.mark = Mark { content, blob: BitPosition { bytes, ..BitPosition::START } };
        self.written = 0;
        self.begin_block();
    }
}

impl Engine for Pigz {
    fn write(&mut self, content: &[u8], out: &mut Vec<u8>) {
        let mut rest = content;
        while !rest.is_empty() {
            if self.block_bytes >= self.settings.block_bytes {
                self.end_block(out);
            }
            let room = self.settings.block_bytes - self.block_bytes;
            let taken = rest.len().min(usize::try_from(room).unwrap_or(usize::MAX));
            let before = out.len();
            self.zlib.write(&rest[..taken], out);
            self.written += (out.len() - before) as u64;
            self.remember(&rest[..taken]);
            self.block_bytes += taken as u64;
            rest = &rest[taken..];
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.zlib.finish(out);
    }

    fn mark(&self) -> Option<Mark> {
        (!self.settings.has_lasting_state()).then_some(self.mark)
    }
}
