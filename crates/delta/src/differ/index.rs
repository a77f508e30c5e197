//! An index of windows of a few bytes: finds the longest range of the base that equals the front of the target.

use std::ops::Range;

use crate::compare::common_prefix;
use crate::work;

/// The windows of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its length, 4 to 32.
    pub bytes: usize,
    /// One position in so many is in the index.
    pub step: usize,
    /// How many positions with the same hash a search compares.
    pub chain: usize,
}

/// Long windows, few of them. Where short ones repeat, as in letters of a small alphabet, they find the place.
pub const SPARSE: Window = Window { bytes: 32, step: 16, chain: 1 };

/// An index over some bytes, at most 4 GiB. Takes 4 bytes for each position, and as much again if it has chains.
pub struct Index {
    window: Window,
    bits: u32,
    /// The bits of an entry that have one more than the position, in units of the step. The others have bits of the
    /// hash.
    position_mask: u32,
    /// For each hash, the entry of its first position; 0 if there is none. In bytes that repeat, the first position has
    /// the longest match.
    heads: Vec<u32>,
    /// For each position, the entry of the next position with the same hash.
    chain: Vec<u32>,
}

/// A position, and how many bytes are equal from there on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    pub at: usize,
    pub bytes: usize,
}

impl Index {
    /// An index over all of the base.
    pub fn new(base: &[u8], window: Window) -> Self {
        let all = 0..base.len();
        Self::of_ranges(base, std::slice::from_ref(&all), window)
    }

    /// An index over windows that begin in some ranges of the base, which are in order.
    #[expect(clippy::slow_vector_initialization, reason = "pages that come zeroed are slower here, see below")]
    pub fn of_ranges(base: &[u8], ranges: &[Range<usize>], window: Window) -> Self {
        let positions = base.len().saturating_sub(window.bytes - 1).div_ceil(window.step);
        let indexed = ranges.iter().map(Range::len).sum::<usize>() / window.step;
        let bits = (indexed.max(1) as u64).next_power_of_two().trailing_zeros().clamp(8, 26);
        let position_mask = ((positions as u64 + 1).next_power_of_two() - 1) as u32;
        // Written at once. A page that is read first faults a second time when it is written, and flushes all threads.
        let mut heads = Vec::with_capacity(1 << bits);
        heads.resize(1 << bits, 0u32);
        let mut chain = if window.chain > 1 { vec![0u32; positions] } else { Vec::new() };
        let within =
            |range: &Range<usize>| range.start.div_ceil(window.step)..range.end.div_ceil(window.step).min(positions);
        for position in ranges.iter().rev().flat_map(|range| within(range).rev()) {
            let hash = hash(&base[position * window.step..], window.bytes);
            let slot = (hash >> (64 - bits)) as usize;
            if let Some(next) = chain.get_mut(position) {
                *next = heads[slot];
            }
            heads[slot] = (position as u32 + 1) | (hash as u32 & !position_mask);
        }
        Self { window, bits, position_mask, heads, chain }
    }

    pub fn window(&self) -> Window {
        self.window
    }

    /// The longest match with the front of `target`, at least as long as the window. Among equally long matches,
    /// the nearest to `near`.
    pub fn find(&self, base: &[u8], target: &[u8], near: usize) -> Option<Found> {
        if target.len() < self.window.bytes {
            return None;
        }
        let hash = hash(target, self.window.bytes);
        let mut next = self.heads[(hash >> (64 - self.bits)) as usize];
        let mut best: Option<Found> = None;
        for _ in 0..self.window.chain {
            let Some(position) = (next & self.position_mask).checked_sub(1) else { break };
            work::count(1);
            let entry = next;
            next = self.chain.get(position as usize).copied().unwrap_or(0);
            // Most positions with another hash are told here, and not by a look at the base.
            if (entry ^ hash as u32) & !self.position_mask != 0 {
                continue;
            }
            let at = position as usize * self.window.step;
            let longest = best.map_or(self.window.bytes - 1, |best| best.bytes);
            // Only a longer match has the byte at which the best match ends.
            let may_win =
                base.get(at + longest) == target.get(longest) || best.is_some_and(|best| longest >= best.bytes);
            if may_win {
                let bytes = common_prefix(&base[at..], target);
                work::count(bytes / 8);
                let is_nearer = |best: Found| at.abs_diff(near) < best.at.abs_diff(near);
                if bytes > longest || best.is_some_and(|best| bytes == best.bytes && is_nearer(best)) {
                    best = Some(Found { at, bytes });
                }
            }
        }
        best
    }
}

#[inline]
fn hash(bytes: &[u8], length: usize) -> u64 {
    let mut mixed = 0u64;
    let mut rest = &bytes[..length];
    while let Some((chunk, after)) = rest.split_first_chunk::<8>() {
        mixed = (mixed ^ u64::from_le_bytes(*chunk)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^= mixed >> 29;
        rest = after;
    }
    if let Some((chunk, _)) = rest.split_first_chunk::<4>() {
        mixed = (mixed ^ u64::from(u32::from_le_bytes(*chunk))).wrapping_mul(0xd6e8_feb8_6659_fd93);
        mixed ^= mixed >> 29;
    }
    mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
