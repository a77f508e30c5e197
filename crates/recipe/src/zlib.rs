//! zlib's DEFLATE, levels 1 to 9: the raw stream, byte for byte.
//!
//! The class: C zlib with its default strategy and a window of 32 KiB. Versions 1.2.3, 1.2.5, 1.2.8, 1.2.11, 1.2.13
//! and 1.3.1 write the same bytes. It is in Python's `zlib`, `gzip` and `tarfile`, in Java's `Deflater` where the JVM
//! links plain zlib, in pigz, minigzip, libz-sys and most programs that link `libz`. zlib-ng, Cloudflare's and
//! Chromium's zlib, zlib-rs and miniz write other bytes.
//!
//! The method is that of RFC 1951, section 4, as zlib's `deflate.c` and `trees.c` (zlib licence) do it: hash chains
//! over three bytes, matches taken at once (levels 1 to 3) or after a look at the next position (4 to 9), blocks of a
//! fixed number of symbols, Huffman codes from a heap. The decisions are zlib's; the implementation is our own.
//!
//! - `encoder`: the loops over the content.
//! - `window`: the sliding window, hash chains, and the search for a match; `long_chains` make it quicker.
//! - `block`: the symbols of a block, and the choice how to write it.
//! - `huffman`, `bits`, `tables`, `level`: their parts.
//!
//! ## Sizes of writes
//!
//! The engine makes the bytes of a caller that gives zlib large writes. zlib's own bytes depend on the sizes of the
//! writes in one rare case only: a write ends 1 to 261 bytes before a multiple of 32 KiB, zlib then stops exactly 262
//! bytes before that multiple, and there is a match at exactly the longest distance (or, with `memLevel` 9, a block
//! that just fits). Writes of a multiple of 512 bytes, as tar programs make them, never meet it.
//!
//! ## Restart
//!
//! Levels 4 to 9 insert every position into the hash, so what a block is made from is known from the content before
//! it: [`Zlib::restart`] goes on at a [`Boundary`] with 32 KiB of history. Levels 1 to 3 skip positions within longer
//! matches; the hash then depends on all matches before, and those levels have no boundary.

mod bits;
mod block;
mod encoder;
mod gnu_gzip;
mod huffman;
mod level;
mod long_chains;
mod pigz;

mod tables;
#[cfg(test)]
mod tests;
mod window;

use encoder::{BlockEnd, Class, Encoder, Ending, Start};
use level::ZlibLevel;
pub use pigz::{BLOCK_BYTES_MIN as PIGZ_BLOCK_BYTES_MIN, Pigz, PigzBlocks, PigzThreads};

use crate::bits::BitPosition;
use crate::engine::{Engine, Mark, Start as EngineStart};

/// Opens zlib's engine. `None` if there is no such level, or if it cannot start there.
pub fn open(level: i8, memory: ZlibMemory, start: &EngineStart<'_>) -> Option<Box<dyn Engine>> {
    let level = ZlibLevel::new(u8::try_from(level).ok()?)?;
    Some(Box::new(match start.mark {
        Mark::START => Zlib::new(level, memory),
        mark => Zlib::restart(level, memory, &ZlibBoundary::at(mark), start.history)?,
    }))
}

/// Opens GNU gzip's engine. `None` as for [`open`].
pub fn open_gnu_gzip(level: i8, start: &EngineStart<'_>) -> Option<Box<dyn Engine>> {
    let level = ZlibLevel::new(u8::try_from(level).ok()?)?;
    Some(Box::new(match start.mark {
        Mark::START => gnu_gzip::new(level),
        mark => gnu_gzip::restart(level, &ZlibBoundary::at(mark), start.history)?,
    }))
}

/// zlib's `memLevel`: how many symbols a block has, and how long the hash is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZlibMemory {
    /// `memLevel` 8, zlib's default.
    Eight,
    /// `memLevel` 9.
    Nine,
}

impl ZlibMemory {
    fn hash_bits(self) -> u32 {
        match self {
            ZlibMemory::Eight => 15,
            ZlibMemory::Nine => 16,
        }
    }

    fn class(self) -> Class {
        Class { hash_bits: self.hash_bits(), block_end: self.block_end(), ending: Ending::Exact }
    }

    /// A block has one symbol fewer than zlib's buffer has places.
    fn block_end(self) -> BlockEnd {
        let symbols_max = match self {
            ZlibMemory::Eight => 16_383,
            ZlibMemory::Nine => 32_767,
        };
        BlockEnd { symbols_max, symbols_between: symbols_max }
    }
}

/// How a flush ends: zlib's `Z_BLOCK`, `Z_PARTIAL_FLUSH`, `Z_SYNC_FLUSH` and `Z_FULL_FLUSH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ZlibFlush {
    /// The block ends; up to seven bits of it wait for the next one.
    Block,
    /// An empty block with the fixed codes follows; up to seven bits of it wait.
    Partial,
    /// An empty stored block follows and ends with a whole byte.
    Sync,
    /// As `Sync`; matches do not reach back behind it.
    Full,
}

/// The start of a block: where a stream can be restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ZlibBoundary {
    /// Content before the block, in bytes.
    content: u64,
    /// Bits of the stream before the block.
    bits: u64,
    /// The bits of the last byte before the block, where it is not whole: the lowest `bits` modulo 8 of them.
    partial: u8,
    /// The length of the match at the position before the block that was given up for a better one, or 2.
    previous_length: u16,
}

/// The length before a block where no match was given up.
const NOT_GIVEN_UP: u16 = 2;

impl ZlibBoundary {
    fn at(mark: Mark) -> Self {
        let bits = u64::from(mark.blob.partial.checked_ilog2().unwrap_or(0));
        let bits = mark.blob.bytes.wrapping_mul(8).wrapping_add(bits);
        let partial = mark.blob.partial & !(1 << (bits % 8));
        Self { content: mark.content, bits, partial, previous_length: NOT_GIVEN_UP }
    }

    /// The boundary as a mark, which has no place for a length that was given up: few blocks begin behind one.
    fn mark(self) -> Option<Mark> {
        let one_above = 1 << (self.bits % 8);
        let partial = self.partial & (one_above - 1) | one_above;
        let blob = BitPosition { bytes: self.bits / 8, partial };
        (self.previous_length == NOT_GIVEN_UP).then_some(Mark { content: self.content, blob })
    }
}

/// A raw DEFLATE stream as zlib writes it, or as GNU gzip does: the class says which. It holds 1 MiB at most: half of
/// it for levels 6 to 9 alone.
struct Zlib {
    encoder: Encoder,
}

impl Zlib {
    /// A stream that begins with nothing before it.
    fn new(level: ZlibLevel, memory: ZlibMemory) -> Zlib {
        Zlib::with_dictionary(level, memory, &[])
    }

    /// A stream whose first matches may lie in the last 32 KiB of `dictionary`: `deflateSetDictionary` before the
    /// first content.
    fn with_dictionary(level: ZlibLevel, memory: ZlibMemory, dictionary: &[u8]) -> Zlib {
        Zlib::begun(level, memory.class(), &Start::dictionary(dictionary))
    }

    fn begun(level: ZlibLevel, class: Class, start: &Start<'_>) -> Zlib {
        let mut encoder = Encoder::new(level, class);
        encoder.begin(start);
        Zlib { encoder }
    }

    /// Goes on at a boundary of a stream of the same level and memory, which began without a dictionary and had no
    /// full flush: both move the window. `history` is the content before it: 32 KiB, or all of it where it is
    /// shorter. The first byte that the engine writes is the one that holds the boundary's first bit. `None` for
    /// levels 1 to 3: see the module's page.
    fn restart(level: ZlibLevel, memory: ZlibMemory, at: &ZlibBoundary, history: &[u8]) -> Option<Zlib> {
        Zlib::restarted(level, memory.class(), at, history)
    }

    fn restarted(level: ZlibLevel, class: Class, at: &ZlibBoundary, history: &[u8]) -> Option<Zlib> {
        level.is_lazy().then(|| Zlib::begun(level, class, &Start::boundary(at, history)))
    }

    /// The start of the block that is under way; `None` for levels 1 to 3.
    fn boundary(&self) -> Option<ZlibBoundary> {
        self.encoder.boundary()
    }

    /// Begins a new stream behind `dictionary`, at the same level.
    fn reset(&mut self, dictionary: &[u8]) {
        self.encoder.begin(&Start::dictionary(dictionary));
    }

    /// Ends the block under way and writes all whole bytes. zlib ignores a flush that repeats the one just made; this
    /// does not.
    fn flush(&mut self, flush: ZlibFlush, out: &mut Vec<u8>) {
        self.encoder.flush(flush, out);
    }

    /// Bits that wait for the next block behind a flush: at most seven.
    fn waiting_bits(&self) -> u32 {
        self.encoder.waiting_bits()
    }
}

impl Engine for Zlib {
    fn write(&mut self, content: &[u8], out: &mut Vec<u8>) {
        self.encoder.write(content, out);
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.encoder.finish(out);
    }

    fn mark(&self) -> Option<Mark> {
        self.boundary()?.mark()
    }
}
