//! Zstandard frames as klauspost's `compress/zstd` makes them: the zstd layers of skopeo, podman, buildah, BuildKit and
//! containerd.
//!
//! A frame is a header (the window, no content size), blocks of 128 KiB (64 KiB at the fastest level), an empty last
//! block when the content ended with a full one, and the low half of XXH64. Content that ends in its first block is a
//! frame of another kind: its header has the size, its parse has its own rules. A block is parsed into literals and
//! matches, its literals are coded by Huffman codes, its sequences by FSE tables, new or those of the block before.
//!
//! A recipe records the [`Class`], the [`Level`], the [`Ending`], where a frame ends, if the blob has more than one,
//! and the [`Zstd::split`] behind the first write, if there is one. skopeo splits once, after 8 bytes: it writes what
//! it peeked at and then lets the encoder read the rest. The sizes of writes and reads, the number of encoder threads
//! and the "lower memory" option change nothing.
//!
//! An engine starts only at the beginning of a frame: the match tables depend on all matches before. After 12 MiB of
//! content parsed again, segments of 4 MiB were exact in 14 of 24 places of Debian 12's layer.
//!
//! Not covered: `EncodeAll` of more than a block, a declared content size, other windows, dictionaries, no checksum,
//! padding, the concurrent blocks of 1.19, and the best level.
//!
//! Memory: the window and 4 MiB of slack (8 MiB of content at the fastest level, 12 at the default, 12 or 20 at the
//! better), tables of 0.1, 0.6 and 4.1 MiB, and under 2 MiB for the block in work.
//!
//! The method was learned from klauspost's published source (BSD-3) and RFC 8878; the code is our own.

mod better;
mod bits;
mod block;
mod checksum;
mod code_lengths;
mod double_fast;
mod fast;
mod fse;
mod huffman;
mod parse;
mod sequences;
mod table;
#[cfg(test)]
mod tests;
mod text;
mod window;

use better::Better;
use block::{BlockCoder, Place, write_raw};
use checksum::Checksum;
use double_fast::DoubleFast;
use fast::Fast;
use parse::{BLOCK_MAX, Parse};
use text::{Scope, Text};
use window::Window;

use std::num::NonZeroU32;

use crate::Engine;

/// The first bytes of a frame.
pub const MAGIC: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];
/// The smallest window of the original, below which a frame is never a single segment.
const WINDOW_MIN_BYTES: usize = 1 << 10;

/// Old entries of the match tables are put out of reach after so much content. A window of 8 MiB, this and a block are
/// less than the 16 MiB after which positions wrap in the tables.
const EXPIRY_BYTES: usize = 4 << 20;

/// Behaviours of klauspost's encoder, each with those of the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Blocks without matches are Huffman coded if that helps. 1.14.4 to 1.16.3 (Debian 12: 1.15.12).
    CodedLiterals,
    /// Blocks without matches are raw below the better level, and a sixty-fourth of savings is enough. 1.16.4 to
    /// 1.16.7.
    RawLiterals,
    /// 17 to 32 literals are coded too, and never coded to more than they were. 1.17.0 to 1.17.2; below the better
    /// level to 1.17.7.
    ShortLiterals,
    /// The better level enters more places: from where a match was found, not from where it starts. 1.17.3 and 1.17.4.
    MoreEntries,
    /// The better level has a window of 8 MiB, 16 before. 1.17.5 to 1.17.7.
    SmallWindow,
    /// A block of one repeated byte is a run, and empty content is a frame. 1.17.8 to 1.19.1; up to 1.18.4 empty
    /// content was no frame.
    Runs,
}

/// The level, by klauspost's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// `SpeedFastest`, zstd's levels below 3.
    Fastest,
    /// `SpeedDefault`, zstd's levels 3 to 5.
    Default,
    /// `SpeedBetterCompression`, zstd's levels 6 to 9. Not covered before 1.15.10.
    Better,
}

impl Level {
    /// The level by the number that klauspost gives it. The best level has no encoder here.
    pub fn of_number(number: i8) -> Option<Self> {
        match number {
            1 => Some(Self::Fastest),
            2 => Some(Self::Default),
            3 => Some(Self::Better),
            _ => None,
        }
    }

    pub fn window_bytes(self, class: Class) -> usize {
        match self {
            Self::Fastest => 4 << 20,
            Self::Better if class < Class::SmallWindow => 16 << 20,
            Self::Default | Self::Better => 8 << 20,
        }
    }

    pub fn block_bytes(self) -> usize {
        match self {
            Self::Fastest => BLOCK_MAX / 2,
            Self::Default | Self::Better => BLOCK_MAX,
        }
    }
}

/// The match finder of a level.
enum Finder {
    Fast(Fast),
    Double(DoubleFast),
    Better(Better),
}

/// How the last block was closed, which shows only where the content ended with a full block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The end was learned after the last content (`Write`, most readers): an empty block follows a full one.
    Separate,
    /// The end was learned with the last content (a reader that says `EOF` with its last bytes): a full block is the
    /// last.
    WithContent,
}

/// Opens an engine. A block ends with the first write, if its length is given.
pub fn open(class: Class, level: Level, first_write: Option<NonZeroU32>, is_end_joined: bool) -> Box<dyn Engine> {
    let ending = if is_end_joined { Ending::WithContent } else { Ending::Separate };
    let zstd = Zstd::new(class, level, ending);
    match first_write {
        None => Box::new(zstd),
        Some(bytes) => Box::new(Split { zstd, left: bytes.get() as usize }),
    }
}

/// The encoder of a frame with a split behind its first write.
struct Split {
    zstd: Zstd,
    /// Content before the split.
    left: usize,
}

impl Engine for Split {
    fn write(&mut self, content: &[u8], out: &mut Vec<u8>) {
        let (first, rest) = content.split_at(content.len().min(self.left));
        self.zstd.write(first, out);
        self.left -= first.len();
        if self.left == 0 && !first.is_empty() {
            self.zstd.split(out);
        }
        self.zstd.write(rest, out);
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.zstd.finish(out);
    }
}

/// The encoder. After [`Engine::finish`] the next content starts a new frame.
pub struct Zstd {
    class: Class,
    level: Level,
    ending: Ending,
    window: Window,
    /// Added to a place in the window, gives its position in the match tables. At least 1: entries that were never
    /// written have position 0, which is before all content.
    base: u32,
    /// Content since old entries of the tables were put out of reach.
    fresh_bytes: usize,
    finder: Finder,
    parse: Parse,
    coder: BlockCoder,
    checksum: Checksum,
    started: bool,
}

impl Zstd {
    /// An encoder at the start of a frame.
    pub fn new(class: Class, level: Level, ending: Ending) -> Self {
        let finder = match level {
            Level::Fastest => Finder::Fast(Fast::new()),
            Level::Default => Finder::Double(DoubleFast::new()),
            Level::Better => Finder::Better(Better::new(class)),
        };
        Self {
            class,
            level,
            ending,
            window: Window::new(level.window_bytes(class)),
            base: 1,
            fresh_bytes: 0,
            finder,
            parse: Parse::new(),
            coder: BlockCoder::new(class, level),
            checksum: Checksum::new(),
            started: false,
        }
    }

    /// Ends the block here, as the original does when it is flushed and when `ReadFrom` starts after a `Write`. Nothing
    /// happens at the start of a block.
    pub fn split(&mut self, out: &mut Vec<u8>) {
        if !self.window.block().is_empty() {
            self.end_block(Place::Inner, out);
        }
    }

    fn start_frame(&mut self, out: &mut Vec<u8>) {
        if !self.started {
            self.started = true;
            let window_log = self.window.limit().ilog2() as u8;
            out.extend_from_slice(&MAGIC);
            out.extend_from_slice(&[CHECKSUM_FLAG, (window_log - 10) << 3]);
        }
    }

    fn end_block(&mut self, place: Place, out: &mut Vec<u8>) {
        self.start_frame(out);
        self.encode_block(Scope::Stream, place, out);
        let moved = self.window.next_block();
        self.base = self.base.wrapping_add(moved as u32);
    }

    fn encode_block(&mut self, scope: Scope, place: Place, out: &mut Vec<u8>) {
        let text = Text {
            content: self.window.content(),
            start: self.window.block_start(),
            base: self.base,
            window: self.window.limit() as u32,
        };
        self.parse.clear();
        match &mut self.finder {
            Finder::Fast(finder) => finder.parse(text, scope, &mut self.parse),
            Finder::Double(finder) => finder.parse(text, scope, &mut self.parse),
            Finder::Better(finder) => finder.parse(text, &mut self.parse),
        }
        self.coder.encode(self.window.block(), &self.parse, place, out);
        self.fresh_bytes += self.window.block().len();
        if self.fresh_bytes >= EXPIRY_BYTES {
            self.fresh_bytes = 0;
            let position = self.base.wrapping_add(self.window.content().len() as u32);
            let window = self.window.limit() as u32;
            match &mut self.finder {
                Finder::Fast(finder) => finder.expire(position, window),
                Finder::Double(finder) => finder.expire(position, window),
                Finder::Better(finder) => finder.expire(position, window),
            }
        }
    }

    /// A frame of one block, whose header has the content's size.
    fn encode_alone(&mut self, out: &mut Vec<u8>) {
        let bytes = self.window.block().len();
        let is_single_segment = bytes > WINDOW_MIN_BYTES;
        let (size_flag, size_bytes, size) = match bytes {
            0..0x100 => (0, usize::from(is_single_segment), bytes),
            0x100..0x1_0100 => (1 << 6, 2, bytes - 0x100),
            _ => (2 << 6, 4, bytes),
        };
        out.extend_from_slice(&MAGIC);
        out.push(CHECKSUM_FLAG | size_flag | u8::from(is_single_segment) << 5);
        if !is_single_segment {
            let window_log = (bytes.max(1).ilog2() + 1).max(10) as u8;
            out.push((window_log - 10) << 3);
        }
        out.extend((size as u32).to_le_bytes().into_iter().take(size_bytes));
        self.encode_block(Scope::Alone, Place::Last, out);
    }

    /// Ready for a new frame, out of reach of which is all that was before.
    fn reset(&mut self) {
        self.base = self.base.wrapping_add(self.window.content().len() as u32);
        self.window.clear();
        self.coder.reset();
        self.checksum = Checksum::new();
        self.started = false;
    }
}

/// The frame ends with a checksum.
const CHECKSUM_FLAG: u8 = 1 << 2;

impl Engine for Zstd {
    fn write(&mut self, mut content: &[u8], out: &mut Vec<u8>) {
        let block_bytes = self.level.block_bytes();
        while !content.is_empty() {
            if self.window.block().len() == block_bytes {
                self.end_block(Place::Inner, out);
            }
            let room = block_bytes - self.window.block().len();
            let (taken, rest) = content.split_at(room.min(content.len()));
            self.checksum.update(taken);
            self.window.push(taken);
            content = rest;
            if self.ending == Ending::Separate && self.window.block().len() == block_bytes {
                self.end_block(Place::Inner, out);
            }
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        let is_empty = self.window.block().is_empty();
        if !self.started && is_empty && self.class < Class::Runs {
            return;
        }
        if !self.started && !is_empty {
            self.encode_alone(out);
        } else if is_empty {
            self.start_frame(out);
            write_raw(&[], Place::Last, out);
        } else {
            self.end_block(Place::Last, out);
        }
        out.extend_from_slice(&(self.checksum.finish() as u32).to_le_bytes());
        self.reset();
    }
}
