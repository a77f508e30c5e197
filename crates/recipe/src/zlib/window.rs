//! The window of 64 KiB that slides by 32 KiB, and the hash chains over it.
//!
//! The bytes of a match depend on when the window slides: a position at index 0 is never matched, and a block whose
//! start has slid out cannot be stored. So the window is filled and slid as zlib does it: it is filled to its end, and
//! slides when fewer than [`LOOKAHEAD_MIN`] bytes are ahead and the position has reached [`SLIDE_FROM`].
//!
//! Chains: `head` has the latest position of each hash, `previous` (by position modulo 32 KiB) the one before it with
//! the same hash. Index 0 ends a chain. Source: RFC 1951, section 4, and zlib's `deflate.c`.

use super::long_chains::{Heads, LongChains};
use super::tables::{HISTORY, MATCH_MAX, MATCH_MIN};

mod search;

/// Bytes of the window.
pub(super) const WINDOW: usize = 2 * HISTORY;
/// The longest match and the string behind it: with fewer bytes ahead, the window is filled first.
pub(super) const LOOKAHEAD_MIN: usize = MATCH_MAX + MATCH_MIN + 1;
/// The longest distance.
pub(super) const DISTANCE_MAX: usize = HISTORY - LOOKAHEAD_MIN;
/// From this position on the window slides when it wants content.
pub(super) const SLIDE_FROM: usize = HISTORY + DISTANCE_MAX;
/// Comparisons read up to eight bytes past the longest match. With as many, and their places kept below 512, the
/// compiler leaves out the checks of bounds.
const PADDING: usize = 520;

/// Where a search begins: the latest positions that may begin like the one at hand.
#[derive(Clone, Copy)]
pub(super) struct Candidates {
    /// The latest with the same hash of three bytes, or 0.
    pub(super) latest: usize,
    long: Heads,
}

/// A match: its length and the index at which it starts.
#[derive(Clone, Copy)]
pub(super) struct Match {
    pub(super) length: usize,
    pub(super) start: usize,
}

/// The content around the position, and its hash chains: 258 KiB, and the long chains where they are wanted.
pub(super) struct Window {
    bytes: Box<[u8; WINDOW + PADDING]>,
    head: Box<[u16; 1 << 16]>,
    previous: Box<[u16; HISTORY]>,
    /// For searches that go deep.
    long_chains: Option<LongChains>,
    hash_shift: u32,
    hash_mask: u32,
    /// The index of the next byte to encode.
    pub(super) position: usize,
    /// Bytes from the position on.
    pub(super) ahead: usize,
    /// Positions before this one that the hash still lacks: the bytes behind them were not there.
    waiting: usize,
    /// No more content comes, and strings may go on past its end.
    is_padded: bool,
    /// How far the window has slid in all.
    pub(super) slid: u64,
}

impl Window {
    /// `hash_bits` is 15 or 16. A window with long chains takes each position in turn.
    pub(super) fn new(hash_bits: u32, long_chains: Option<LongChains>) -> Window {
        Window {
            bytes: Box::new([0; WINDOW + PADDING]),
            head: Box::new([0; 1 << 16]),
            previous: Box::new([0; HISTORY]),
            long_chains,
            hash_shift: hash_bits.div_ceil(3),
            hash_mask: (1 << hash_bits) - 1,
            position: 0,
            ahead: 0,
            waiting: 0,
            is_padded: false,
            slid: 0,
        }
    }

    pub(super) fn reset(&mut self) {
        self.head.fill(0);
        if let Some(long_chains) = &mut self.long_chains {
            long_chains.begin(0);
        }
        (self.position, self.ahead, self.waiting, self.slid) = (0, 0, 0, 0);
        self.is_padded = false;
    }

    /// Puts the tail of `history` before the `position`, with as many of its strings in the hash as are whole.
    pub(super) fn set_history(&mut self, history: &[u8], position: usize) {
        let length = history.len().min(HISTORY).min(position);
        let start = position - length;
        self.bytes[start..position].copy_from_slice(&history[history.len() - length..]);
        self.position = position;
        self.waiting = length.min(MATCH_MIN - 1);
        if let Some(long_chains) = &mut self.long_chains {
            long_chains.begin(start);
        }
        for at in start..position - self.waiting {
            self.insert(at);
        }
    }

    /// Takes content up to the end of the window, and returns how much it took.
    pub(super) fn fill(&mut self, content: &[u8]) -> usize {
        let end = self.position + self.ahead;
        let taken = content.len().min(WINDOW - end);
        self.bytes[end..end + taken].copy_from_slice(&content[..taken]);
        self.ahead += taken;
        while self.waiting > 0 && self.ahead + self.waiting >= MATCH_MIN {
            self.insert(self.position - self.waiting);
            self.waiting -= 1;
        }
        taken
    }

    /// All content was encoded: the strings that begin with its last two bytes wait for more.
    pub(super) fn await_content(&mut self) {
        self.waiting = self.position.min(MATCH_MIN - 1);
    }

    /// Drops the older half; the position has reached [`SLIDE_FROM`].
    #[cold]
    #[inline(never)]
    pub(super) fn slide(&mut self) {
        self.bytes.copy_within(HISTORY..WINDOW, 0);
        self.position -= HISTORY;
        self.slid += HISTORY as u64;
        slide_links(&mut self.head[..=self.hash_mask as usize]);
        slide_links(&mut *self.previous);
        if let Some(long_chains) = &mut self.long_chains {
            long_chains.slide();
        }
    }

    /// Lets strings go on past the end of the content, and clears the two bytes there: those that take part in the
    /// hash of its last one.
    pub(super) fn pad(&mut self) {
        self.is_padded = true;
        let end = self.position + self.ahead;
        self.bytes[end..end + MATCH_MIN - 1].fill(0);
    }

    /// Goes on by one byte.
    #[inline(always)]
    pub(super) fn advance(&mut self) {
        self.position = self.position.wrapping_add(1);
        self.ahead = self.ahead.wrapping_sub(1);
    }

    #[inline(always)]
    pub(super) fn byte(&self, at: usize) -> u8 {
        self.bytes[at]
    }

    /// The content from `start`, counted from the beginning of the stream, up to the position; `None` where it has slid
    /// out.
    pub(super) fn content_from(&self, start: u64) -> Option<&[u8]> {
        let index = start.checked_sub(self.slid)? as usize;
        self.bytes.get(index..self.position)
    }

    /// Inserts the string at `at` and returns the latest positions before it that may begin alike.
    #[inline(always)]
    pub(super) fn insert(&mut self, at: usize) -> Candidates {
        if self.long_chains.is_some() { self.insert_for::<true>(at) } else { self.insert_for::<false>(at) }
    }

    #[inline(always)]
    pub(super) fn insert_for<const LONG: bool>(&mut self, at: usize) -> Candidates {
        let at = at & (WINDOW - 1);
        let bytes = &*self.bytes;
        let string = load_u32(bytes, at);
        let shift = self.hash_shift & 7;
        let hash = ((string & 0xff) << (2 * shift)) ^ ((string >> 8 & 0xff) << shift) ^ (string >> 16 & 0xff);
        let hash = (hash & self.hash_mask) as u16;
        let head = &mut self.head[usize::from(hash)];
        let latest = *head;
        self.previous[at & (HISTORY - 1)] = latest;
        *head = at as u16;
        let end = if self.is_padded { WINDOW + PADDING } else { self.position.wrapping_add(self.ahead) };
        let long = match &mut self.long_chains {
            Some(long_chains) if LONG => long_chains.insert(at, hash, end, |at| load_u64(bytes, at)),
            Some(_) | None => Heads::default(),
        };
        Candidates { latest: usize::from(latest), long }
    }
}

fn slide_links(links: &mut [u16]) {
    for link in links {
        *link = link.saturating_sub(HISTORY as u16);
    }
}

/// Zero where the place is outside.
#[inline(always)]
fn load_u16(bytes: &[u8; WINDOW + PADDING], at: usize) -> u16 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |chunk| u16::from_le_bytes(*chunk))
}

/// Zero where the place is outside.
#[inline(always)]
fn load_u32(bytes: &[u8; WINDOW + PADDING], at: usize) -> u32 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |chunk| u32::from_le_bytes(*chunk))
}

/// Zero where the place is outside.
#[inline(always)]
fn load_u64(bytes: &[u8; WINDOW + PADDING], at: usize) -> u64 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |chunk| u64::from_le_bytes(*chunk))
}
