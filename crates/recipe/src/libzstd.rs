//! Zstandard frames as libzstd makes them: the `zstd` command, Python's `zstandard`, programs that stream through
//! libzstd.
//!
//! This engine is libzstd itself: the library that this program is built with, in the one version whose bytes the
//! class stands for. A program built with another version refuses the class (docs/decisions/0029-libzstd.md).
//!
//! The bytes depend on the level and on how the library was called: on one thread or through its worker threads,
//! which cut the content into jobs (their number changes nothing); whether it was told the content's size; and
//! whether the end came with the last content. The content goes to the library in chunks of 128 KiB, as the `zstd`
//! command reads it: only the last chunk's length shows in the bytes.
//!
//! An engine starts only at the beginning of a frame. Levels over 19 and, above level 12, windows for distant matches
//! are refused for their memory.

use std::{fmt, mem};

use zstd::zstd_safe::zstd_sys::ZSTD_EndDirective as End;
use zstd::zstd_safe::{self, CCtx, CParameter, InBuffer, OutBuffer};

use crate::engine::Engine;

/// 1.5.7: the version whose bytes the class stands for.
const LIBRARY: u32 = 10_507;
/// The command reads so much at once, and a block of a frame holds so much (RFC 8878, section 3.1.1.2.4).
pub const CHUNK_BYTES: usize = 128 << 10;
/// The window of `--long` without a number, and the largest of a recipe: 128 MiB.
pub const LONG_LOG: u8 = 27;
/// libzstd's smallest window.
const LONG_LOG_MIN: u8 = 10;
/// Above it, a long window takes too much memory.
const LONG_LEVEL_MAX: i8 = 12;

/// Bits of a call's number in recipes.
const END_JOINED: u64 = 1;
const JOBS: u64 = 1 << 1;
const CHECKSUM: u64 = 1 << 2;
const CONTENT_SIZE: u64 = 1 << 3;
const LONG_SHIFT: u32 = 4;

/// How the content was worked on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Threads {
    /// By the caller's thread, as one stream.
    Caller,
    /// By worker threads, in jobs of the library's default length.
    Workers,
}

/// How the library was called, beside the level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LibZstdCall {
    pub threads: Threads,
    pub has_checksum: bool,
    /// The library was told the content's size, and wrote it into the frame's header.
    pub has_content_size: bool,
    /// The window for distant matches, as a power of two. 0: none are looked for.
    pub long_log: u8,
}

impl LibZstdCall {
    /// A stream without options.
    pub const STREAM: Self =
        Self { threads: Threads::Caller, has_checksum: false, has_content_size: false, long_log: 0 };

    /// Whether a recipe may ask for it.
    pub fn is_known(self, level: i8) -> bool {
        let is_long = (LONG_LOG_MIN..=LONG_LOG).contains(&self.long_log) && level <= LONG_LEVEL_MAX;
        self.long_log == 0 || is_long
    }

    /// The call and how the end came, as one number of a recipe.
    pub fn number(self, is_end_joined: bool) -> u64 {
        let flag = |is_set, bit| if is_set { bit } else { 0 };
        flag(is_end_joined, END_JOINED)
            | flag(self.threads == Threads::Workers, JOBS)
            | flag(self.has_checksum, CHECKSUM)
            | flag(self.has_content_size, CONTENT_SIZE)
            | u64::from(self.long_log) << LONG_SHIFT
    }

    /// The call and how the end came. `None` if the number stands for no call.
    pub fn of_number(number: u64) -> Option<(Self, bool)> {
        let has = |bit| number & bit != 0;
        let call = Self {
            threads: if has(JOBS) { Threads::Workers } else { Threads::Caller },
            has_checksum: has(CHECKSUM),
            has_content_size: has(CONTENT_SIZE),
            long_log: u8::try_from(number >> LONG_SHIFT).ok()?,
        };
        Some((call, has(END_JOINED)))
    }
}

impl fmt::Display for LibZstdCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.threads {
            Threads::Caller => "one thread",
            Threads::Workers => "workers",
        })?;
        f.write_str(if self.has_checksum { ", a checksum" } else { "" })?;
        f.write_str(if self.has_content_size { ", the content's size" } else { "" })?;
        match self.long_log {
            0 => Ok(()),
            log => write!(f, ", a long window of 2^{log} bytes"),
        }
    }
}

/// Whether this program is built with the version of the class.
pub fn is_here() -> bool {
    zstd_safe::version_number() == LIBRARY
}

/// Opens an engine. `None` if the library refuses the call, or if the call needs a size that is not given.
pub fn open(level: i8, call: LibZstdCall, is_end_joined: bool, content_bytes: Option<u64>) -> Option<Box<dyn Engine>> {
    let mut context = CCtx::try_create()?;
    let workers = u32::from(call.threads == Threads::Workers);
    let mut parameters = vec![
        CParameter::CompressionLevel(level.into()),
        CParameter::NbWorkers(workers),
        CParameter::ChecksumFlag(call.has_checksum),
    ];
    if call.long_log > 0 {
        parameters.push(CParameter::EnableLongDistanceMatching(true));
        parameters.push(CParameter::WindowLog(call.long_log.into()));
    }
    for parameter in parameters {
        context.set_parameter(parameter).ok()?;
    }
    if call.has_content_size {
        context.set_pledged_src_size(Some(content_bytes?)).ok()?;
    }
    let (chunk, room) = (Vec::with_capacity(CHUNK_BYTES), vec![0; CCtx::out_size()]);
    Some(Box::new(LibZstd { context, is_end_joined, chunk, room, has_failed: false }))
}

/// One frame.
struct LibZstd {
    context: CCtx<'static>,
    is_end_joined: bool,
    /// Content that the library has not seen.
    chunk: Vec<u8>,
    /// The library writes here.
    room: Vec<u8>,
    /// The library refused content, such as more than the promised size. Nothing more is made.
    has_failed: bool,
}

impl LibZstd {
    /// Gives the chunk to the library, and takes what the library has ready: with `Continue` at least until it has
    /// taken the chunk, else all.
    fn give(&mut self, end: End, out: &mut Vec<u8>) {
        let mut chunk = mem::take(&mut self.chunk);
        let mut input = InBuffer::around(&chunk);
        while !self.has_failed {
            let mut room = OutBuffer::around(self.room.as_mut_slice());
            let left = self.context.compress_stream2(&mut room, &mut input, end);
            out.extend_from_slice(room.as_slice());
            let is_taken = input.pos() == chunk.len();
            match (left, end) {
                (Ok(_), End::ZSTD_e_continue) if is_taken => break,
                (Ok(0), End::ZSTD_e_flush | End::ZSTD_e_end) => break,
                (Ok(_), End::ZSTD_e_continue | End::ZSTD_e_flush | End::ZSTD_e_end) => {}
                (Err(_), End::ZSTD_e_continue | End::ZSTD_e_flush | End::ZSTD_e_end) => self.has_failed = true,
            }
        }
        chunk.clear();
        self.chunk = chunk;
    }
}

impl Engine for LibZstd {
    fn write(&mut self, mut content: &[u8], out: &mut Vec<u8>) {
        while !content.is_empty() {
            if self.chunk.len() == CHUNK_BYTES {
                self.give(End::ZSTD_e_continue, out);
            }
            let (taken, rest) = content.split_at(content.len().min(CHUNK_BYTES - self.chunk.len()));
            self.chunk.extend_from_slice(taken);
            content = rest;
        }
    }

    fn drain(&mut self, out: &mut Vec<u8>) {
        self.give(End::ZSTD_e_flush, out);
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        if !self.is_end_joined {
            self.give(End::ZSTD_e_continue, out);
        }
        self.give(End::ZSTD_e_end, out);
    }
}
