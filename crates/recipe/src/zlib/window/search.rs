//! The search for the longest match: along zlib's chain, or along the long chains to the same end.
//!
//! zlib takes the first of the longest matches among the positions that it visits, and stops at one that is long
//! enough. A candidate counts only if it is longer than the best before it, so it is tested first by the last bytes
//! that such a match has. Positions are below 64 KiB by a mask, which spares checks of bounds.

use super::{Candidates, DISTANCE_MAX, Match, PADDING, WINDOW, Window, load_u16, load_u32, load_u64};
use crate::zlib::level::Search;
use crate::zlib::long_chains::{Chain, LongChains};
use crate::zlib::tables::{HISTORY, MATCH_MAX, MATCH_MIN};

/// A match longer than this is searched in the chain over eight bytes.
const EIGHT_FROM: usize = 7;

impl Window {
    /// The first longest match for the string at the position, longer than `longer_than` (two bytes at least). A match
    /// of `nice` bytes ends the search.
    #[inline(always)]
    pub(in crate::zlib) fn longest_match<const LONG: bool>(
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
        let latest = candidates.latest;
        let best = if goal.longer_than < MATCH_MIN {
            self.nearest(latest, goal)?
        } else {
            Match { length: goal.longer_than, start: 0 }
        };
        // Content can be made so that a long chain is full of other strings with the same hash. The search then goes
        // zlib's way, so that it never takes much longer than zlib.
        let steps_left = goal.chain.wrapping_mul(2).wrapping_add(64);
        let mut walk = Walk { goal, latest, best, steps_left };
        if walk.best.length < EIGHT_FROM {
            self.walk(long.four(), candidates.long.four, EIGHT_FROM, &mut walk);
        }
        if walk.best.length >= EIGHT_FROM {
            self.walk(long.eight(), candidates.long.eight, usize::MAX, &mut walk);
        }
        if walk.steps_left == 0 {
            return self.find(latest, goal);
        }
        (walk.best.start != 0).then_some(walk.best)
    }

    /// The first candidate of zlib's chain that shares three bytes.
    #[inline(always)]
    fn nearest(&self, latest: usize, goal: Goal) -> Option<Match> {
        let bytes = &*self.bytes;
        let position = self.position & (WINDOW - 1);
        let limit = position.saturating_sub(DISTANCE_MAX);
        let string = load_u32(bytes, position);
        let mut candidate = latest & (WINDOW - 1);
        let mut left = goal.chain;
        while (load_u32(bytes, candidate) ^ string) << 8 != 0 {
            candidate = usize::from(self.previous[candidate & (HISTORY - 1)]);
            left = left.wrapping_sub(1);
            if candidate <= limit || left == 0 {
                return None;
            }
        }
        Some(Match { length: common_length(bytes, position, candidate), start: candidate })
    }

    /// Walks a long chain until the best match has `until` bytes or is the one that the search ends with.
    #[inline(always)]
    fn walk<const N: u32>(&self, chain: &Chain<N>, head: usize, until: usize, walk: &mut Walk) {
        let bytes = &*self.bytes;
        let position = self.position & (WINDOW - 1);
        let limit = position.saturating_sub(DISTANCE_MAX);
        let goal = walk.goal;
        let here = chain.link(position);
        let string = load_u32(bytes, position);
        let mut best = walk.best;
        let mut tail = Tail::new(bytes, position, best.length);
        let mut candidate = head;
        while walk.steps_left > 0 && best.length < until && (best.length < goal.nice || best.start == 0) {
            // Only the latest position with the same three bytes may be at the longest distance.
            if candidate <= limit && (candidate != limit || candidate != walk.latest || candidate == 0) {
                break;
            }
            let link = chain.link(candidate);
            if here.steps_to(link) > goal.chain {
                // Another string's rank says nothing. With the same string, zlib's walk ends before the candidate.
                if load_u32(bytes, candidate) == string {
                    break;
                }
            } else if tail.is_at(bytes, candidate) {
                let length = common_length(bytes, position, candidate);
                if length > best.length {
                    best = Match { length, start: candidate };
                    tail = Tail::new(bytes, position, length);
                }
            }
            candidate = link.before();
            walk.steps_left = walk.steps_left.wrapping_sub(1);
        }
        walk.best = best;
    }
}

/// The match that a search looks for.
#[derive(Clone, Copy)]
struct Goal {
    longer_than: usize,
    /// As long a match ends the search.
    nice: usize,
    /// The most steps along the chain over three bytes.
    chain: usize,
}

/// A search along the long chains.
struct Walk {
    goal: Goal,
    /// The latest position with the same hash of three bytes.
    latest: usize,
    /// The best match so far; its start is 0 where there is none.
    best: Match,
    steps_left: usize,
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
