//! The window of 64 KiB that slides by 32 KiB, and the hash chains over it.
//!
//! The bytes of a match depend on when the window slides: a position at index 0 is never matched, and a block whose
//! start has slid out cannot be stored. So the window is filled and slid as zlib does it: it is filled to its end, and
//! slides when fewer than [`LOOKAHEAD_MIN`] bytes are ahead and the position has reached [`SLIDE_FROM`].
//!
//! Chains: `head` has the latest position of each hash, `previous` (by position modulo 32 KiB) the one before it with
//! the same hash. Index 0 ends a chain. Source: RFC 1951, section 4, and zlib's `deflate.c`.

use super::level::Search;
use super::tables::{MATCH_MAX, MATCH_MIN};

/// The history that DEFLATE can refer to.
pub(super) const HISTORY: usize = 32_768;
/// Bytes of the window.
pub(super) const WINDOW: usize = 2 * HISTORY;
/// The longest match and the string behind it: with fewer bytes ahead, the window is filled first.
pub(super) const LOOKAHEAD_MIN: usize = MATCH_MAX + MATCH_MIN + 1;
/// The longest distance.
pub(super) const DISTANCE_MAX: usize = HISTORY - LOOKAHEAD_MIN;
/// From this position on the window slides when it wants content.
pub(super) const SLIDE_FROM: usize = HISTORY + DISTANCE_MAX;
/// Comparisons read up to eight bytes past the longest match.
const PADDING: usize = MATCH_MAX + 16;

/// A match: its length and the index at which it starts.
#[derive(Clone, Copy)]
pub(super) struct Match {
    pub(super) length: usize,
    pub(super) start: usize,
}

/// The content around the position, and its hash chains. 384 KiB at most.
pub(super) struct Window {
    bytes: Box<[u8; WINDOW + PADDING]>,
    head: Box<[u16; 1 << 16]>,
    previous: Box<[u16; HISTORY]>,
    hash_shift: u32,
    hash_mask: u32,
    /// The index of the next byte to encode.
    pub(super) position: usize,
    /// Bytes from the position on.
    pub(super) ahead: usize,
    /// Positions before this one that the hash still lacks: the bytes behind them were not there.
    waiting: usize,
    /// How far the window has slid in all.
    pub(super) slid: u64,
}

impl Window {
    /// `hash_bits` is 15 or 16.
    pub(super) fn new(hash_bits: u32) -> Window {
        Window {
            bytes: Box::new([0; WINDOW + PADDING]),
            head: Box::new([0; 1 << 16]),
            previous: Box::new([0; HISTORY]),
            hash_shift: hash_bits.div_ceil(3),
            hash_mask: (1 << hash_bits) - 1,
            position: 0,
            ahead: 0,
            waiting: 0,
            slid: 0,
        }
    }

    pub(super) fn reset(&mut self) {
        self.head.fill(0);
        (self.position, self.ahead, self.waiting, self.slid) = (0, 0, 0, 0);
    }

    /// Puts the tail of `history` before the `position`, with as many of its strings in the hash as are whole.
    pub(super) fn set_history(&mut self, history: &[u8], position: usize) {
        let length = history.len().min(HISTORY).min(position);
        let start = position - length;
        self.bytes[start..position].copy_from_slice(&history[history.len() - length..]);
        self.position = position;
        self.waiting = length.min(MATCH_MIN - 1);
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
    }

    /// Clears the two bytes behind the content: those that take part in the hash of its last one.
    pub(super) fn clear_ahead(&mut self) {
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

    /// Inserts the string at `at` and returns the latest position before it that has the same hash, or 0.
    #[inline(always)]
    pub(super) fn insert(&mut self, at: usize) -> usize {
        let at = at as u16;
        let string = load_u32(&self.bytes, usize::from(at));
        let shift = self.hash_shift & 7;
        let hash = ((string & 0xff) << (2 * shift)) ^ ((string >> 8 & 0xff) << shift) ^ (string >> 16 & 0xff);
        let head = &mut self.head[usize::from((hash & self.hash_mask) as u16)];
        let earlier = *head;
        self.previous[usize::from(at) & (HISTORY - 1)] = earlier;
        *head = at;
        usize::from(earlier)
    }

    /// The first longest match for the string at the position among the candidates from `candidate` on, longer than
    /// `longer_than` (two bytes at least). A match of `nice` bytes ends the search.
    #[inline(always)]
    pub(super) fn longest_match(
        &self,
        candidate: usize,
        longer_than: usize,
        nice: usize,
        search: Search,
    ) -> Option<Match> {
        let position = self.position & (WINDOW - 1);
        if longer_than >= self.ahead {
            return None;
        }
        let bytes = &*self.bytes;
        let limit = position.saturating_sub(DISTANCE_MAX);
        let mut chain = if longer_than >= search.good { search.chain >> 2 } else { search.chain };
        let mut best = longer_than;
        let mut found = None;
        let mut tail = Tail::new(bytes, position, best);
        let mut candidate = candidate & (WINDOW - 1);
        loop {
            if tail.is_at(bytes, candidate) {
                let length = common_length(bytes, position, candidate);
                if length > best {
                    found = Some(candidate);
                    best = length;
                    if length >= nice {
                        break;
                    }
                    tail = Tail::new(bytes, position, best);
                }
            }
            candidate = usize::from(self.previous[candidate & (HISTORY - 1)]);
            chain = chain.wrapping_sub(1);
            if candidate <= limit || chain == 0 {
                break;
            }
        }
        found.map(|start| Match { length: best.min(self.ahead), start })
    }
}

/// The last bytes, eight at most, that a match has which is longer than the best one: a quick test of a candidate.
#[derive(Clone, Copy)]
struct Tail {
    offset: usize,
    mask: u64,
    bytes: u64,
}

impl Tail {
    #[inline(always)]
    fn new(bytes: &[u8; WINDOW + PADDING], position: usize, best: usize) -> Tail {
        let offset = best.saturating_sub(7) & 0xff;
        let mask = u64::MAX >> (56usize.wrapping_sub(best.wrapping_sub(offset).wrapping_mul(8)) & 63);
        Tail { offset, mask, bytes: load_u64(bytes, position.wrapping_add(offset)) & mask }
    }

    #[inline(always)]
    fn is_at(self, bytes: &[u8; WINDOW + PADDING], candidate: usize) -> bool {
        load_u64(bytes, candidate.wrapping_add(self.offset)) & self.mask == self.bytes
    }
}

fn slide_links(links: &mut [u16]) {
    for link in links {
        *link = link.saturating_sub(HISTORY as u16);
    }
}

/// How many bytes are the same, 258 at most.
#[inline(always)]
fn common_length(bytes: &[u8; WINDOW + PADDING], one: usize, other: usize) -> usize {
    let mut length = 0;
    while length < MATCH_MAX {
        let different = load_u64(bytes, one.wrapping_add(length)) ^ load_u64(bytes, other.wrapping_add(length));
        if different != 0 {
            length = length.wrapping_add((different.trailing_zeros() >> 3) as usize);
            return length.min(MATCH_MAX);
        }
        length = length.wrapping_add(8);
    }
    MATCH_MAX
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
