//! The window of 64 KiB that slides by 32 KiB, and the hash chains over it.
//!
//! The bytes of a match depend on when the window slides: a position at index 0 is never matched, and a block whose
//! start has slid out cannot be stored. So the window is filled and slid as zlib does it: it is filled to its end, and
//! slides when fewer than [`LOOKAHEAD_MIN`] bytes are ahead and the position has reached [`SLIDE_FROM`].
//!
//! Chains: `head` has the latest position of each hash, `previous` (by position modulo 32 KiB) the one before it with
//! the same hash. Index 0 ends a chain. Source: RFC 1951, section 4, and zlib's `deflate.c`.

use super::level::Search;
use super::long_chains::{Chain, Heads, LongChains};
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

/// The content around the position, and its hash chains. 384 KiB at most.
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

    /// Lets strings go on past the end of the content, and clears the two bytes there: those that take part in the hash of
    /// its last one.
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

    /// The first longest match for the string at the position, longer than `longer_than` (two bytes at least). A match of
    /// `nice` bytes ends the search.
    #[inline(always)]
    pub(super) fn longest_match<const LONG: bool>(
        &self,
        candidates: Candidates,
        longer_than: usize,
        nice: usize,
        search: Search,
    ) -> Option<Match> {
        if longer_than >= self.ahead {
            return None;
        }
        let chain = if longer_than >= search.good { search.chain >> 2 } else { search.chain };
        let goal = Goal { longer_than, nice, chain };
        let found = match &self.long_chains {
            Some(long_chains) if LONG => self.find_by_long_chains(long_chains, candidates, goal),
            Some(_) | None => self.find(candidates.latest, goal),
        };
        found.map(|found| Match { length: found.length.min(self.ahead), start: found.start })
    }

    /// Walks the chain over three bytes, as zlib does.
    #[inline(always)]
    fn find(&self, latest: usize, goal: Goal) -> Option<Match> {
        let bytes = &*self.bytes;
        let position = self.position & (WINDOW - 1);
        let limit = position.saturating_sub(DISTANCE_MAX);
        let mut best = Match { length: goal.longer_than, start: 0 };
        // The last bytes of a match that is longer than the best one: a quick test of a candidate.
        let mut tail_at = best.length.wrapping_sub(1) & 0x1ff;
        let mut tail = load_u16(bytes, position.wrapping_add(tail_at));
        let start = load_u64(bytes, position);
        let mut candidate = latest & (WINDOW - 1);
        let mut left = goal.chain;
        loop {
            if load_u16(bytes, candidate.wrapping_add(tail_at)) == tail {
                let different = load_u64(bytes, candidate) ^ start;
                let length = if different == 0 {
                    common_length(bytes, position, candidate)
                } else {
                    (different.trailing_zeros() >> 3) as usize
                };
                if length > best.length {
                    best = Match { length, start: candidate };
                    if length >= goal.nice {
                        break;
                    }
                    tail_at = best.length.wrapping_sub(1) & 0x1ff;
                    tail = load_u16(bytes, position.wrapping_add(tail_at));
                }
            }
            candidate = usize::from(self.previous[candidate & (HISTORY - 1)]);
            left = left.wrapping_sub(1);
            if candidate <= limit || left == 0 {
                break;
            }
        }
        (best.start != 0).then_some(best)
    }

    /// Finds the match that [`Window::find`] finds: the first of three bytes by its chain, longer ones by theirs.
    #[inline(always)]
    fn find_by_long_chains(&self, long: &LongChains, candidates: Candidates, goal: Goal) -> Option<Match> {
        let bytes = &*self.bytes;
        let position = self.position & (WINDOW - 1);
        let limit = position.saturating_sub(DISTANCE_MAX);
        let mut best = Match { length: goal.longer_than, start: 0 };
        if goal.longer_than < MATCH_MIN {
            let string = load_u32(bytes, position);
            let mut candidate = candidates.latest & (WINDOW - 1);
            let mut left = goal.chain;
            while (load_u32(bytes, candidate) ^ string) << 8 != 0 {
                candidate = usize::from(self.previous[candidate & (HISTORY - 1)]);
                left = left.wrapping_sub(1);
                if candidate <= limit || left == 0 {
                    return None;
                }
            }
            best = Match { length: common_length(bytes, position, candidate), start: candidate };
        }
        // A hostile content could fill a long chain with other strings of the same hash.
        let mut left = goal.chain.wrapping_mul(2).wrapping_add(64);
        let latest = candidates.latest;
        if best.length < 7 {
            self.walk(long.four(), candidates.long.four, latest, goal, 7, &mut best, &mut left);
        }
        if best.length >= 7 {
            self.walk(long.eight(), candidates.long.eight, latest, goal, usize::MAX, &mut best, &mut left);
        }
        if left == 0 {
            return self.find(latest, goal);
        }
        (best.start != 0).then_some(best)
    }

    /// Walks a long chain until the best match has `until` bytes or is the one that the search ends with.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    fn walk<const N: u32>(
        &self,
        chain: &Chain<N>,
        head: usize,
        latest: usize,
        goal: Goal,
        until: usize,
        best: &mut Match,
        left: &mut usize,
    ) {
        let bytes = &*self.bytes;
        let position = self.position & (WINDOW - 1);
        let limit = position.saturating_sub(DISTANCE_MAX);
        let here = chain.link(position);
        let string = load_u32(bytes, position);
        let mut tail = Tail::new(bytes, position, best.length);
        let mut candidate = head;
        while *left > 0 && best.length < until && (best.length < goal.nice || best.start == 0) {
            // Only the latest position with the same three bytes may be at the longest distance.
            if candidate <= limit && (candidate != limit || candidate != latest || candidate == 0) {
                break;
            }
            let link = chain.link(candidate);
            if here.steps_to(link) > goal.chain {
                if load_u32(bytes, candidate) == string {
                    break;
                }
            } else if tail.is_at(bytes, candidate) {
                let length = common_length(bytes, position, candidate);
                if length > best.length {
                    *best = Match { length, start: candidate };
                    tail = Tail::new(bytes, position, length);
                }
            }
            candidate = link.before();
            *left = left.wrapping_sub(1);
        }
    }
}

/// What a search is for.
#[derive(Clone, Copy)]
struct Goal {
    longer_than: usize,
    /// As long a match ends the search.
    nice: usize,
    /// The most steps along the chain over three bytes.
    chain: usize,
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
