//! Hashes every window of 16 bytes of each file, plain and masked, and keeps the lowest hashes.
//!
//! The hash is the gear hash of FastCDC (Xia et al., 2016): for each byte, shift the hash by four bits and add a random
//! number that belongs to the byte. A byte leaves the 64 bits after 16 more bytes. The loop tests only the two
//! thresholds.
//!
//! Masking hides addresses. When code grows, the code behind it moves, and every address and distance across that place
//! changes. These are little-endian numbers whose high byte is almost always 00 or ff. So masking sets the three bytes
//! before each 00 or ff to zero. Text has no such bytes; tables of numbers and pointers lose the bytes that change when
//! code moves. This takes no disassembly, only two comparisons for each byte, sixteen bytes at a time.
//!
//! In an executable, the numbers in the code are hidden first (machine.rs), and masking takes more bytes for high ones,
//! and hides these too: tables and pointers of a library reach further than 16 MiB.
//!
//! One masked window in 64 also goes into an odd sketch, and ends a long window (long.rs).
//!
//! A gzip file is left out. A changed byte in it changes all following bytes, so windows cannot show which part is old.
//! The encoder decompresses such files.

use super::long::LongWindows;
use super::machine::{Machine, OPERAND_BYTES, is_high};
use super::sample::LowestHashes;
use super::{MASKED_SAMPLES_MAX, PLAIN_SAMPLES_MAX, WindowSets};

/// The bytes that are hashed at a time. The plain and the masked copy fit in the first-level cache.
const STAGE_BYTES: usize = 8 << 10;
/// The number of following bytes that masking looks at: three, in which all numbers of the code must be hidden.
const AHEAD_BYTES: usize = 3 + OPERAND_BYTES;
/// A byte that masks nothing, for the place behind a file.
const NEUTRAL: u8 = 0x55;
/// The shift for each byte. A byte leaves the hash after 64 / 4 = 16 more bytes.
const SHIFT: u32 = 4;
/// RFC 1952: two magic bytes, and 8 for deflate, the only method.
const GZIP_MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
/// The note with which each executable of Go carries its build ID: size of the name (before this), kind 4, name "Go".
/// It stands in the first page, behind the program headers (cmd/link, `elfwritegobuildid`).
const GO_NOTE: [u8; 8] = [4, 0, 0, 0, b'G', b'o', 0, 0];
const FIRST_PAGE: usize = 4096;

/// One masked window in this many is counted by an odd sketch, and ends a long window.
pub(crate) const ODD_RATE: u64 = 64;
/// The lowest hash of a masked window that is not one of them.
const ODD_THRESHOLD: u64 = u64::MAX / ODD_RATE + 1;

/// The number that each byte adds: the first 256 numbers of splitmix64 (Steele, Lea, Flood, 2014) from 0.
static GEAR: [u64; 256] = {
    let mut table = [0; 256];
    let mut state = 0u64;
    let mut index = 0;
    while index < table.len() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        table[index] = mixed ^ (mixed >> 31);
        index += 1;
    }
    table
};

/// The origin of contents.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// A file of the tar, which is left out if it is a gzip file.
    File,
    /// Bytes outside of any tar entry, which are always hashed.
    Loose,
}

/// Hashes contents that arrive in pieces. Holds about 90 KB.
pub(super) struct Windows {
    /// The bytes of the current file that are not hashed yet.
    staged: Vec<u8>,
    /// The staged bytes of an executable, with the numbers in its code hidden up to a place.
    code: Vec<u8>,
    hidden_bytes: usize,
    masked_bytes: Vec<u8>,
    place: Place,
    is_go: bool,
    content_bytes: u64,
    go_bytes: u64,
    plain_hash: u64,
    masked_hash: u64,
    plain: LowestHashes,
    masked: LowestHashes,
    long: LongWindows,
}

/// The place in the current file where the staged bytes begin.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Start,
    Inside,
    /// Inside an executable.
    Code(Machine),
    /// Inside a file that is left out.
    LeftOut,
}

impl Windows {
    pub(super) fn new() -> Self {
        Self {
            staged: Vec::with_capacity(STAGE_BYTES + AHEAD_BYTES),
            code: Vec::new(),
            hidden_bytes: 0,
            masked_bytes: vec![0; STAGE_BYTES + AHEAD_BYTES],
            place: Place::Start,
            is_go: false,
            content_bytes: 0,
            go_bytes: 0,
            plain_hash: 0,
            masked_hash: 0,
            plain: LowestHashes::new(PLAIN_SAMPLES_MAX),
            masked: LowestHashes::new(MASKED_SAMPLES_MAX),
            long: LongWindows::new(STAGE_BYTES),
        }
    }

    /// Adds the next bytes of the current file.
    pub(super) fn push(&mut self, mut bytes: &[u8], content: Content) {
        while !bytes.is_empty() && self.place != Place::LeftOut {
            let room = STAGE_BYTES + AHEAD_BYTES - self.staged.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.staged.extend_from_slice(now);
            bytes = later;
            if self.staged.len() == STAGE_BYTES + AHEAD_BYTES {
                self.enter(content);
                self.hash_staged(STAGE_BYTES);
            }
        }
    }

    /// Ends the current file. No window crosses the border between two files.
    pub(super) fn end_file(&mut self, content: Content) {
        self.enter(content);
        let count = self.staged.len();
        // The file's last bytes have no followers that would mask them.
        self.staged.extend_from_slice(&[NEUTRAL; AHEAD_BYTES]);
        self.hash_staged(count);
        self.staged.clear();
        self.code.clear();
        self.hidden_bytes = 0;
        self.place = Place::Start;
        self.is_go = false;
        self.plain_hash = 0;
        self.masked_hash = 0;
        self.long.end_file();
    }

    /// Returns the number of content bytes, the share of executables of Go in 1/255, and the samples.
    pub(super) fn finish(self) -> (u64, u8, WindowSets) {
        let go = u128::from(self.go_bytes) * 255 / u128::from(self.content_bytes.max(1));
        let (masked_odd, long_odd, long) = self.long.finish();
        let (plain, masked) = (self.plain.finish(), self.masked.finish());
        // At most all contents are Go, so the share fits.
        (self.content_bytes, go as u8, WindowSets { plain, masked, masked_odd, long, long_odd })
    }

    /// Decides whether to leave out the current file, when its first bytes are staged.
    fn enter(&mut self, content: Content) {
        if self.place == Place::Start {
            let is_gzip = content == Content::File && self.staged.starts_with(&GZIP_MAGIC);
            self.place = match Machine::of(&self.staged) {
                _ if is_gzip => Place::LeftOut,
                Some(machine) => Place::Code(machine),
                None => Place::Inside,
            };
            let page = &self.staged[..self.staged.len().min(FIRST_PAGE)];
            self.is_go = matches!(self.place, Place::Code(_)) && page.windows(GO_NOTE.len()).any(|at| at == GO_NOTE);
        }
    }

    /// Hashes the first `count` staged bytes and removes them. [`AHEAD_BYTES`] more bytes must be staged.
    fn hash_staged(&mut self, count: usize) {
        match self.place {
            Place::Start | Place::LeftOut => {}
            Place::Inside => {
                mask(&self.staged, &mut self.masked_bytes[..count]);
                self.roll(count);
            }
            Place::Code(machine) => {
                self.code.extend_from_slice(&self.staged[self.code.len()..]);
                self.hidden_bytes = machine.hide(&mut self.code, self.hidden_bytes);
                mask_code(&self.code, &mut self.masked_bytes[..count]);
                self.roll(count);
                self.code.drain(..count);
                self.hidden_bytes -= count;
            }
        }
        self.staged.drain(..count);
    }

    fn roll(&mut self, count: usize) {
        self.content_bytes += count as u64;
        self.go_bytes += if self.is_go { count as u64 } else { 0 };
        self.long.stage(&self.masked_bytes[..count]);
        let (mut plain, mut masked) = (self.plain_hash, self.masked_hash);
        let (mut plain_threshold, mut masked_threshold) = (self.plain.threshold(), self.masked.threshold());
        let mut at = 0;
        let mut step = |byte: u8, masked_byte: u8| {
            plain = (plain << SHIFT).wrapping_add(GEAR[usize::from(byte)]);
            masked = (masked << SHIFT).wrapping_add(GEAR[usize::from(masked_byte)]);
            if plain < plain_threshold {
                plain_threshold = self.plain.add(plain);
            }
            if masked < ODD_THRESHOLD {
                self.long.add(masked, at);
            }
            if masked < masked_threshold {
                masked_threshold = self.masked.add(masked);
            }
            at += 1;
        };
        // Blocks of eight bytes need fewer tests for the end of the loop, which makes it a fifth faster.
        let (eights, rest) = self.staged[..count].as_chunks::<8>();
        let (masked_eights, masked_rest) = self.masked_bytes[..count].as_chunks::<8>();
        for (eight, masked_eight) in eights.iter().zip(masked_eights) {
            eight.iter().zip(masked_eight).for_each(|(&byte, &masked_byte)| step(byte, masked_byte));
        }
        rest.iter().zip(masked_rest).for_each(|(&byte, &masked_byte)| step(byte, masked_byte));
        self.plain_hash = plain;
        self.masked_hash = masked;
    }
}

/// Copies `bytes` to `masked`, and sets the three bytes before each 00 or ff to zero. `bytes` has more bytes than
/// `masked`. The compiler turns this form into vector instructions.
fn mask(bytes: &[u8], masked: &mut [u8]) {
    let count = masked.len();
    let ahead = bytes[1..][..count].iter().zip(&bytes[2..][..count]).zip(&bytes[3..][..count]);
    for ((to, &byte), ((&one, &two), &three)) in masked.iter_mut().zip(bytes).zip(ahead) {
        *to = if ends_address(one) | ends_address(two) | ends_address(three) { 0 } else { byte };
    }
}

/// Whether a byte is 00 or ff.
fn ends_address(byte: u8) -> bool {
    byte.wrapping_add(1) < 2
}

/// Copies code to `masked`, and sets each high byte and the three bytes before it to zero.
fn mask_code(code: &[u8], masked: &mut [u8]) {
    let count = masked.len();
    let ahead = code[1..][..count].iter().zip(&code[2..][..count]).zip(&code[3..][..count]);
    for ((to, &byte), ((&one, &two), &three)) in masked.iter_mut().zip(code).zip(ahead) {
        *to = if is_high(byte) | is_high(one) | is_high(two) | is_high(three) { 0 } else { byte };
    }
}
