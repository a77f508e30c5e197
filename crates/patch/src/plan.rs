//! Where to cut a segment of the target into frames, and which base each frame reads.
//!
//! Context is worth bytes, so frames are as long as their caps allow: 16 MiB of target or 1 MiB of payload. How much
//! payload a range will have is estimated in grains by zstd's fastest level. The estimates only choose the cuts; a
//! frame that turns out too large is cut again by the encoder. Everything is a function of the target, the copies and
//! nothing else.

use std::convert::Infallible;
use std::ops::Range;

use lighter_delta::{parallel, zstd};
use lighter_vcdiff::Copy;

use crate::codec::vcdiff::COPIES_MAX;
use crate::limits::{FRAME_PAYLOAD_BYTES_MAX, FRAME_TARGET_BYTES_MAX};

/// The unit of estimates, and of the choice of a base. Divides [`FRAME_TARGET_BYTES_MAX`] and the segment.
const GRAIN_BYTES: u32 = 256 << 10;
/// The cost of a copy: measured on the corpus, 1.1 to 1.4 bytes of the three number streams after pruning.
const COPY_COST: u64 = 2;
/// The cost of another frame: its entry in the header, and the context that is lost.
const FRAME_COST: u64 = 2 << 10;
/// Frames are planned to this estimate, so that few turn out too large.
const PAYLOAD_COST_MAX: u64 = FRAME_PAYLOAD_BYTES_MAX as u64 * 15 / 16;

/// One base, or none, and what a segment can copy from it.
pub(crate) struct Candidate {
    /// Index into the bases given to the encoder.
    pub base: usize,
    /// In order and without overlap; positions count from the segment's start.
    pub copies: Vec<Copy>,
}

/// A frame to be encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FramePlan {
    /// Range of the segment.
    pub range: Range<u32>,
    /// Index into the bases given to the encoder; none if there is nothing to copy.
    pub base: Option<usize>,
    /// Positions count from the frame's start.
    pub copies: Vec<Copy>,
}

impl FramePlan {
    fn new(range: Range<u32>, candidate: Option<&Candidate>) -> Self {
        let copies = candidate.map_or_else(Vec::new, |candidate| cut(&candidate.copies, &range));
        let base = candidate.filter(|_| !copies.is_empty()).map(|candidate| candidate.base);
        Self { range, base, copies }
    }

    /// Two frames that cover the same range, each with about half of what it costs. Not for a range of one byte.
    pub(crate) fn halves(&self) -> [Self; 2] {
        let bytes = self.range.end - self.range.start;
        let in_copies: u32 = self.copies.iter().map(|copy| copy.bytes).sum();
        let mut cost = u64::from(bytes - in_copies).midpoint(self.copies.len() as u64 * COPY_COST);
        let mut middle = 0;
        for copy in &self.copies {
            let passed = u64::from(copy.at - middle) + COPY_COST;
            if passed > cost {
                break;
            }
            cost -= passed;
            middle = copy.end();
        }
        // The rest of the cost fits into the gap that follows, unless only the next copy's own cost did not fit.
        let middle = (middle + cost as u32).clamp(1, bytes - 1);
        [0..middle, middle..bytes].map(|range| {
            let inside = cut(&self.copies, &range);
            let base = self.base.filter(|_| !inside.is_empty());
            let range = self.range.start + range.start..self.range.start + range.end;
            Self { range, base, copies: inside }
        })
    }
}

/// The frames for `target`, one segment, given what it can copy from each candidate base.
pub(crate) fn plan(target: &[u8], candidates: &[Candidate], threads: usize) -> Vec<FramePlan> {
    let grains: Vec<Range<u32>> = (0..target.len() as u32)
        .step_by(GRAIN_BYTES as usize)
        .map(|start| start..(start + GRAIN_BYTES).min(target.len() as u32))
        .collect();
    let costs: Vec<Vec<u64>> = if candidates.is_empty() {
        vec![grain_costs(target, &grains, &[], threads)]
    } else {
        candidates.iter().map(|candidate| grain_costs(target, &grains, &candidate.copies, threads)).collect()
    };
    let mut frames = Vec::new();
    for run in choose(&costs, grains.len()) {
        let candidate = candidates.get(run.candidate);
        for cut in cut_run(&grains[run.grains.clone()], &costs[run.candidate][run.grains]) {
            frames.push(FramePlan::new(cut, candidate));
        }
    }
    frames
}

/// The cost of each grain with these copies.
fn grain_costs(target: &[u8], grains: &[Range<u32>], copies: &[Copy], threads: usize) -> Vec<u64> {
    match parallel::map(grains, threads, |grain| Ok::<_, Infallible>(grain_cost(target, grain, copies))) {
        Ok(costs) => costs,
    }
}

fn grain_cost(target: &[u8], grain: &Range<u32>, copies: &[Copy]) -> u64 {
    let copies = cut(copies, grain);
    let mut literals = Vec::new();
    let mut position = grain.start;
    for copy in &copies {
        literals.extend_from_slice(&target[position as usize..(grain.start + copy.at) as usize]);
        position = grain.start + copy.end();
    }
    literals.extend_from_slice(&target[position as usize..grain.end as usize]);
    let estimate = zstd::estimate(&literals);
    // The codecs of a frame, with its longer context, make about three quarters of what zstd -1 makes of a grain,
    // unless there is nothing to compress.
    let compressible = estimate < literals.len() / 16 * 15;
    let estimate = if compressible { estimate * 3 / 4 } else { estimate };
    estimate as u64 + copies.len() as u64 * COPY_COST
}

/// The copies inside `range`, cut at its ends, with positions from its start.
fn cut(copies: &[Copy], range: &Range<u32>) -> Vec<Copy> {
    let first = copies.partition_point(|copy| copy.end() <= range.start);
    let last = copies.partition_point(|copy| copy.at < range.end);
    copies.get(first..last).unwrap_or_default().iter().map(|copy| part_within(copy, range)).collect()
}

fn part_within(copy: &Copy, range: &Range<u32>) -> Copy {
    let (start, end) = (copy.at.max(range.start), copy.end().min(range.end));
    Copy { at: start - range.start, bytes: end - start, from: copy.from + u64::from(start - copy.at) }
}

/// Grains next to each other that read the same base.
struct Run {
    candidate: usize,
    grains: Range<usize>,
}

/// The cheapest choice of a candidate for each grain, where a change costs a frame (Viterbi's algorithm). Ties go to
/// the earlier candidate.
fn choose(costs: &[Vec<u64>], grains: usize) -> Vec<Run> {
    // For each grain and candidate: the candidate of the grain before.
    let mut before: Vec<Vec<usize>> = Vec::with_capacity(grains);
    let mut sums = vec![0; costs.len()];
    for grain in 0..grains {
        let (best, &least) = sums.iter().enumerate().min_by_key(|&(_, &sum)| sum).unwrap_or((0, &0));
        let (origins, next) = sums
            .iter()
            .enumerate()
            .map(|(candidate, &sum)| {
                let stay = sum <= least + FRAME_COST;
                if stay { (candidate, sum) } else { (best, least + FRAME_COST) }
            })
            .unzip();
        before.push(origins);
        sums = next;
        for (sum, costs) in sums.iter_mut().zip(costs) {
            *sum += costs[grain];
        }
    }
    let mut candidate = sums.iter().enumerate().min_by_key(|&(_, &sum)| sum).map_or(0, |(candidate, _)| candidate);
    let mut runs: Vec<Run> = Vec::new();
    for grain in (0..grains).rev() {
        match runs.last_mut() {
            Some(run) if run.candidate == candidate => run.grains.start = grain,
            _ => runs.push(Run { candidate, grains: grain..grain + 1 }),
        }
        candidate = before[grain][candidate];
    }
    runs.reverse();
    runs
}

/// Cuts a run into ranges of at most [`FRAME_TARGET_BYTES_MAX`] and about [`PAYLOAD_COST_MAX`], as few as that allows
/// and about equal, so that threads have equal work.
fn cut_run(grains: &[Range<u32>], costs: &[u64]) -> Vec<Range<u32>> {
    let (Some(first), Some(last)) = (grains.first(), grains.last()) else { return Vec::new() };
    let bytes = last.end - first.start;
    let cost: u64 = costs.iter().sum();
    let by_bytes = u64::from(bytes.div_ceil(FRAME_TARGET_BYTES_MAX));
    let by_cost = cost.div_ceil(PAYLOAD_COST_MAX);
    let (bytes_max, cost_max) = if by_cost > by_bytes {
        (FRAME_TARGET_BYTES_MAX, cost.div_ceil(by_cost))
    } else {
        (bytes.div_ceil(by_bytes as u32).next_multiple_of(GRAIN_BYTES), PAYLOAD_COST_MAX)
    };
    let mut ranges: Vec<Range<u32>> = Vec::new();
    let mut spent = 0;
    for (grain, &cost) in grains.iter().zip(costs) {
        match ranges.last_mut() {
            // A grain goes to the frame that holds more than half of it.
            Some(range) if grain.end - range.start <= bytes_max && spent + cost / 2 <= cost_max => {
                range.end = grain.end;
                spent += cost;
            }
            _ => {
                ranges.push(grain.clone());
                spent = cost;
            }
        }
    }
    ranges
}

/// Whether a frame keeps the caps that planning sees to.
pub(crate) fn fits(frame: &FramePlan) -> bool {
    frame.range.end - frame.range.start <= FRAME_TARGET_BYTES_MAX && frame.copies.len() <= COPIES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_cover(frames: &[FramePlan], range: Range<u32>) {
        let mut position = range.start;
        for frame in frames {
            assert_eq!(frame.range.start, position);
            assert!(frame.range.end > position);
            let mut inside = 0;
            for copy in &frame.copies {
                assert!(copy.at >= inside && copy.bytes > 0);
                inside = copy.end();
            }
            assert!(position + inside <= frame.range.end);
            assert_eq!(frame.base.is_some(), !frame.copies.is_empty());
            position = frame.range.end;
        }
        assert_eq!(position, range.end);
    }

    /// Noise, so that nothing but copies makes it cheap.
    fn noise(bytes: usize) -> Vec<u8> {
        let mut state = 1u64;
        let mut noise = Vec::with_capacity(bytes);
        for _ in 0..bytes {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            noise.push((state >> 56) as u8);
        }
        noise
    }

    #[test]
    fn a_frame_ends_where_another_base_serves_better() {
        const HALF: u32 = 2 << 20;
        let candidates = [
            Candidate { base: 4, copies: vec![Copy { at: 0, bytes: HALF, from: 7 }] },
            Candidate { base: 2, copies: vec![Copy { at: HALF - 1000, bytes: HALF + 1000, from: 9 }] },
        ];
        let frames = plan(&noise(2 * HALF as usize), &candidates, 2);
        check_cover(&frames, 0..2 * HALF);
        assert_eq!(frames.len(), 2);
        assert_eq!(frames[0].copies, [Copy { at: 0, bytes: HALF, from: 7 }]);
        assert_eq!(frames[1].base, Some(2));
        assert_eq!(frames[1].copies, [Copy { at: 0, bytes: HALF, from: 1009 }]);
    }

    #[test]
    fn cheap_ranges_share_long_frames_and_dear_ones_are_cut_short() {
        let copies = vec![Copy { at: 0, bytes: 40 << 20, from: 0 }];
        let frames = plan(&noise(44 << 20), &[Candidate { base: 0, copies }], 2);
        check_cover(&frames, 0..44 << 20);
        assert!(frames[0].range.end >= 8 << 20, "{:?}", frames[0].range);
        assert!(frames.last().is_some_and(|frame| frame.range.end - frame.range.start <= 3 << 19));
        assert!(frames.iter().all(fits) && frames.len() <= 9, "{}", frames.len());
    }

    #[test]
    fn halves_cover_the_same_range() {
        let dense: Vec<Copy> = (0..1000).map(|n| Copy { at: n * 10, bytes: 10, from: 5000 - u64::from(n) }).collect();
        let sparse = vec![Copy { at: 10, bytes: 9000, from: 1 }, Copy { at: 9020, bytes: 100, from: 2 }];
        for copies in [dense, sparse, Vec::new()] {
            let base = Some(3).filter(|_| !copies.is_empty());
            let frame = FramePlan { range: 700..10_700, base, copies };
            let halves = frame.halves();
            check_cover(&halves, 700..10_700);
            assert_eq!(halves.iter().map(bytes_in_copies).sum::<u32>(), bytes_in_copies(&frame));
        }
    }

    fn bytes_in_copies(frame: &FramePlan) -> u32 {
        frame.copies.iter().map(|copy| copy.bytes).sum()
    }
}
