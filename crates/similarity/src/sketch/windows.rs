//! Hashes every window of 16 bytes of one file after another, plain and masked, and keeps the lowest hashes.
//!
//! The hash is the gear hash of FastCDC (Xia et al., 2016): shifted by four bits and added to a random number for each
//! byte, so that a byte has left 64 bits after 16 more. No test in the loop but the two thresholds.
//!
//! *Masked*: when code grows, what follows moves, and every address and distance that crosses the place changes. On
//! x86-64 those are little-endian numbers whose high byte is almost always 00 or ff. So the three bytes before each
//! such byte are blotted out, whatever they are: text has none of them, and tables of numbers and pointers lose what
//! changes when things move. No disassembly, and two compares a byte, sixteen at a time.
//!
//! A file that begins as gzip does is left out: a byte changed in it changes all that follows, so that windows cannot
//! say how much of it is old, and the encoder looks inside.

use super::sample::{LowestHashes, SampleSet};
use super::{MASKED_SAMPLES_MAX, PLAIN_SAMPLES_MAX};

/// Bytes hashed at a time; both copies of them fit the first-level cache.
const STAGE_BYTES: usize = 8 << 10;
/// How far a mask looks ahead.
const AHEAD_BYTES: usize = 3;
/// A byte has left the hash after 64 / 4 = 16 more.
const SHIFT: u32 = 4;
/// RFC 1952: two bytes of magic, and deflate, the only method there is.
const GZIP_MAGIC: [u8; 3] = [0x1f, 0x8b, 8];

/// What each byte adds: the first 256 numbers of splitmix64 (Steele, Lea, Flood, 2014) from 0.
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

/// Whether a file may be compressed, and so be left out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    File,
    /// Bytes outside of any tar entry: looked at whatever they are.
    Loose,
}

/// Takes contents in pieces. Holds about 70 KB.
pub(super) struct Windows {
    /// Bytes of the current file that were not hashed yet.
    staged: Vec<u8>,
    masked_bytes: Vec<u8>,
    place: Place,
    content_bytes: u64,
    plain_hash: u64,
    masked_hash: u64,
    plain: LowestHashes,
    masked: LowestHashes,
}

/// Where in the current file the staged bytes begin.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Start,
    Inside,
    /// In a file that is left out.
    LeftOut,
}

impl Windows {
    pub(super) fn new() -> Self {
        Self {
            staged: Vec::with_capacity(STAGE_BYTES + AHEAD_BYTES),
            masked_bytes: vec![0; STAGE_BYTES + AHEAD_BYTES],
            place: Place::Start,
            content_bytes: 0,
            plain_hash: 0,
            masked_hash: 0,
            plain: LowestHashes::new(PLAIN_SAMPLES_MAX),
            masked: LowestHashes::new(MASKED_SAMPLES_MAX),
        }
    }

    /// The next bytes of the current file.
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

    /// The current file is at its end; the next one's windows are its own.
    pub(super) fn end_file(&mut self, content: Content) {
        self.enter(content);
        let count = self.staged.len();
        // Nothing follows that would blot out the last bytes.
        self.staged.extend_from_slice(&[1; AHEAD_BYTES]);
        self.hash_staged(count);
        self.staged.clear();
        self.place = Place::Start;
        self.plain_hash = 0;
        self.masked_hash = 0;
    }

    /// Content bytes, plain samples, masked samples.
    pub(super) fn finish(self) -> (u64, SampleSet, SampleSet) {
        (self.content_bytes, self.plain.finish(), self.masked.finish())
    }

    /// Decides on a file once its first bytes are there.
    fn enter(&mut self, content: Content) {
        if self.place == Place::Start {
            let is_gzip = content == Content::File && self.staged.starts_with(&GZIP_MAGIC);
            self.place = if is_gzip { Place::LeftOut } else { Place::Inside };
        }
    }

    /// Hashes the first `count` staged bytes and drops them; [`AHEAD_BYTES`] more must be there.
    fn hash_staged(&mut self, count: usize) {
        if self.place == Place::Inside {
            self.content_bytes += count as u64;
            mask(&self.staged, &mut self.masked_bytes[..count]);
            self.roll(count);
        }
        self.staged.drain(..count);
    }

    fn roll(&mut self, count: usize) {
        let (mut plain, mut masked) = (self.plain_hash, self.masked_hash);
        let (mut plain_threshold, mut masked_threshold) = (self.plain.threshold(), self.masked.threshold());
        let mut step = |byte: u8, masked_byte: u8| {
            plain = (plain << SHIFT).wrapping_add(GEAR[usize::from(byte)]);
            masked = (masked << SHIFT).wrapping_add(GEAR[usize::from(masked_byte)]);
            if plain < plain_threshold {
                plain_threshold = self.plain.add(plain);
            }
            if masked < masked_threshold {
                masked_threshold = self.masked.add(masked);
            }
        };
        // Eight bytes without a look at the loop's end: a fifth faster.
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

/// `bytes` with the three before each 00 or ff as 0; `bytes` has three more than `masked`. Written so that the compiler
/// makes vector instructions of it.
fn mask(bytes: &[u8], masked: &mut [u8]) {
    let count = masked.len();
    let is_high = |byte: u8| byte.wrapping_add(1) < 2;
    let ahead = bytes[1..][..count].iter().zip(&bytes[2..][..count]).zip(&bytes[3..][..count]);
    for ((to, &byte), ((&one, &two), &three)) in masked.iter_mut().zip(bytes).zip(ahead) {
        *to = if is_high(one) | is_high(two) | is_high(three) { 0 } else { byte };
    }
}
