//! Matches: ranges of the target that continue as a range of the base does, with differences.
//!
//! The method is bsdiff's (C. Percival, "Naive differences of executable code", 2003), with an index of windows in
//! place of a suffix array: walk over the target on a diagonal (place in the base less place in the target) as long as
//! it serves; take another where it has clearly more equal bytes; then extend each match into the differences around it
//! as far as more bytes are equal than not.

use crate::compare::{common_prefix, differences};
use crate::work;

use super::index::Index;

/// A range of the target that continues as the base does, with differences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    pub at: usize,
    pub from: usize,
    pub bytes: usize,
}

/// How many more equal bytes a match must have than the current diagonal: the cost of coding a match.
const GAIN_MIN: usize = 10;
/// The same for a match on the diagonal before the current one, which costs less.
const GAIN_NEAR_MIN: usize = 6;
/// A match of so many bytes that is not longer by so much is compared with the current diagonal over so many bytes, and
/// must have so many more equal ones. Shorter matches are accidents: with them, log lines took a third more.
const ROW_BYTES_MIN: usize = 16;
const HORIZON_BYTES: usize = 256;
const HORIZON_GAIN_MIN: usize = 32;
/// So many equal bytes on the diagonal before the current one end an excursion without a look into an index.
const RETURN_BYTES_MIN: usize = 24;
/// After so many equal bytes the search keeps to the diagonal.
const STEADY_BYTES: usize = 16;

/// Between equal bytes on one diagonal, so many other bytes belong to the match. More belong to it if one in so many is
/// equal.
const GAP_BYTES_MAX: usize = 32;
const GAP_EQUAL_MIN: usize = 5;

/// How far back a match may take bytes from the match before.
const REACH_BYTES_MAX: usize = 4 << 10;

/// A trusting search looks for a better diagonal at one of so many differences.
const DOUBTS: usize = 8;
/// It looks at each of so many differences behind so many equal bytes: there a line came in.
const SUSPICION: usize = 16;
const CALM_BYTES: usize = 256;
/// How many more equal bytes such a diagonal must have: a wrong one costs its way back, too.
const DOUBT_GAIN_MIN: usize = 32;

/// A trusting search keeps to a diagonal if so many of so many bytes are equal.
const TRUST_BYTES: usize = 32;
const TRUST_EQUAL_MIN: usize = 20;

/// Where to look for matches, the finest index first.
pub struct Bases<'a> {
    pub old: &'a [u8],
    /// Whether the search keeps to a diagonal where most bytes are equal.
    pub trusting: bool,
    /// Whether a trusting search looks for a better diagonal now and then.
    pub doubting: bool,
    /// After so many positions without a match, the search skips one position more each time.
    pub patience: usize,
    /// Each index, with the start and the end of the part of `old` that it covers.
    pub indices: Vec<(&'a Index, usize, usize)>,
}

/// The matches of `target`, in order and without overlap. `aligned` is the place of the target's counterpart in the
/// base, if there is one: the search begins there.
pub fn find(bases: &Bases<'_>, target: &[u8], aligned: Option<usize>) -> Vec<Match> {
    let mut scan = Scan { bases, target, seeds: Vec::new(), diagonal: None, misses: 0, doubts: 0, suspicion: 0 };
    scan.run(aligned);
    let seeds = scan.seeds;
    extend(bases.old, target, &seeds)
}

/// Equal bytes that a match grows from.
#[derive(Clone, Copy)]
struct Seed {
    at: usize,
    from: usize,
    bytes: usize,
}

struct Scan<'a> {
    bases: &'a Bases<'a>,
    target: &'a [u8],
    seeds: Vec<Seed>,
    /// Place in the base less place in the target.
    diagonal: Option<isize>,
    /// Positions since the last match.
    misses: usize,
    /// Differences on diagonals where most bytes are equal.
    doubts: usize,
    /// The next so many of these are looked at.
    suspicion: usize,
}

impl Scan<'_> {
    fn run(&mut self, aligned: Option<usize>) {
        if let Some(from) = aligned {
            let bytes = common_prefix(&self.bases.old[from..], self.target);
            if bytes >= GAIN_MIN {
                self.take(0, from, bytes);
            }
        }
        let mut at = self.seeds.last().map_or(0, |seed| seed.bytes);
        while at < self.target.len() {
            work::count(1);
            let steady = self.equal_ahead(at);
            if steady >= STEADY_BYTES || at + steady == self.target.len() {
                self.add_on_diagonal(at, steady);
                self.misses = 0;
                at += steady;
                if steady >= CALM_BYTES {
                    self.suspicion = SUSPICION;
                }
                continue;
            }
            if steady < STEADY_BYTES && self.bases.trusting && self.mostly_equal(at) {
                self.doubts += 1;
                let doubts = self.suspicion > 0 || self.doubts.is_multiple_of(DOUBTS);
                self.suspicion = self.suspicion.saturating_sub(1);
                if self.bases.doubting
                    && doubts
                    && let Some((at_better, from, bytes)) = self.better_around(at)
                {
                    if let Some(last) = self.seeds.last_mut() {
                        last.bytes = last.bytes.min(at_better - last.at);
                    }
                    self.take(at_better, from, bytes);
                    at = at_better + bytes;
                } else {
                    at += steady + 1;
                }
                continue;
            }
            match self.better(at) {
                Some((from, bytes)) => {
                    self.take(at, from, bytes);
                    self.misses = 0;
                    at += bytes;
                }
                None => {
                    at += 1 + self.misses / self.bases.patience;
                    self.misses += 1;
                }
            }
        }
    }

    /// A match that begins a little before a difference, and is clearly better than the diagonal: in lines that are
    /// alike but for a number, most bytes are equal on any diagonal between two lines.
    fn better_around(&self, at: usize) -> Option<(usize, usize, usize)> {
        let free = self.seeds.last().map_or(0, |last| last.at + 1);
        let window = self.bases.indices.first()?.0.window();
        // The windows that end with the difference: it tells the lines apart. One of so many is in the index.
        let first = (at + 1).saturating_sub(window.bytes).max(free);
        (first..first + window.step).chain([at]).filter(|&place| place <= at).find_map(|at| {
            let (from, bytes) = self.better(at)?;
            (bytes >= self.equal_on_diagonal(at, bytes) + DOUBT_GAIN_MIN).then_some((at, from, bytes))
        })
    }

    /// How many bytes from here on are equal on the diagonal.
    fn equal_ahead(&self, at: usize) -> usize {
        self.on_diagonal(at).map_or(0, |from| common_prefix(&self.bases.old[from..], &self.target[at..]))
    }

    /// Whether most bytes ahead are equal on the diagonal.
    fn mostly_equal(&self, at: usize) -> bool {
        self.equal_on_diagonal(at, TRUST_BYTES.min(self.target.len() - at)) >= TRUST_EQUAL_MIN
    }

    fn on_diagonal(&self, at: usize) -> Option<usize> {
        let from = at.checked_add_signed(self.diagonal?)?;
        (from < self.bases.old.len()).then_some(from)
    }

    /// The place on the diagonal before the current one.
    fn on_previous_diagonal(&self, at: usize) -> Option<usize> {
        let previous = self.seeds.get(self.seeds.len().checked_sub(2)?)?;
        let from = at.checked_add_signed(previous.from as isize - previous.at as isize)?;
        (from < self.bases.old.len()).then_some(from)
    }

    /// A match here that is clearly better than the diagonal.
    fn better(&self, at: usize) -> Option<(usize, usize)> {
        let target = &self.target[at..];
        if let Some(from) = self.on_previous_diagonal(at) {
            let bytes = common_prefix(&self.bases.old[from..], target);
            if bytes >= RETURN_BYTES_MIN && bytes >= self.equal_on_diagonal(at, bytes) + GAIN_MIN {
                return Some((from, bytes));
            }
        }
        for (index, start, end) in &self.bases.indices {
            let old = &self.bases.old[*start..*end];
            let near = self.on_diagonal(at).unwrap_or(at).saturating_sub(*start);
            let Some(found) = index.find(old, target, near) else { continue };
            let from = start + found.at;
            if self.diagonal == Some(from as isize - at as isize) {
                return None;
            }
            let on_diagonal = self.equal_on_diagonal(at, found.bytes);
            let is_near = self.seeds.len() >= 2 && {
                let seed = self.seeds[self.seeds.len() - 2];
                seed.from as isize - seed.at as isize == from as isize - at as isize
            };
            let gain_min = if is_near { GAIN_NEAR_MIN } else { GAIN_MIN };
            let is_longer = found.bytes >= on_diagonal + gain_min;
            if is_longer || found.bytes >= ROW_BYTES_MIN && self.is_better_ahead(at, from) {
                return Some((from, found.bytes));
            }
        }
        None
    }

    /// Whether clearly more of the bytes ahead are equal on the diagonal of a match than on the current one. In tables
    /// each row is much like any other, and a few bytes in each do not match anywhere: no match is long.
    fn is_better_ahead(&self, at: usize, from: usize) -> bool {
        let bytes = HORIZON_BYTES.min(self.target.len() - at).min(self.bases.old.len() - from);
        work::count(bytes / 8);
        let different = differences(&self.target[at..at + bytes], &self.bases.old[from..from + bytes]) as usize;
        bytes - different >= self.equal_on_diagonal(at, bytes) + HORIZON_GAIN_MIN
    }

    /// How many of the next bytes are equal on the diagonal.
    fn equal_on_diagonal(&self, at: usize, bytes: usize) -> usize {
        let Some(from) = self.on_diagonal(at) else { return 0 };
        let old = &self.bases.old[from..];
        self.target[at..at + bytes].iter().zip(old).filter(|(a, b)| a == b).count()
    }

    /// Adds equal bytes on the diagonal: to the last seed if little differs between them, else as a seed.
    fn add_on_diagonal(&mut self, at: usize, bytes: usize) {
        let Some(from) = self.on_diagonal(at) else { return };
        if let Some(last) = self.seeds.last_mut() {
            let gap = last.at + last.bytes..at;
            let pairs = self.target[gap.clone()].iter().zip(&self.bases.old[last.from + last.bytes..from]);
            let equal = pairs.filter(|(a, b)| a == b).count();
            if gap.len() <= GAP_BYTES_MAX || equal * GAP_EQUAL_MIN >= gap.len() {
                last.bytes = at + bytes - last.at;
                return;
            }
        }
        self.seeds.push(Seed { at, from, bytes });
    }

    fn take(&mut self, at: usize, from: usize, bytes: usize) {
        self.seeds.push(Seed { at, from, bytes });
        self.diagonal = Some(from as isize - at as isize);
    }
}

/// Grows seeds both ways as long as more bytes are equal than not. Where two matches meet, the cut is where the sum of
/// equal bytes is largest.
fn extend(old: &[u8], target: &[u8], seeds: &[Seed]) -> Vec<Match> {
    let mut matches: Vec<Match> = Vec::with_capacity(seeds.len());
    for (index, seed) in seeds.iter().enumerate() {
        let limit = seeds.get(index + 1).map_or(target.len(), |next| next.at);
        let free = matches.last().map_or(0, |last| last.at + last.bytes);
        let back = grow_back(old, target, seed, free);
        let mut start = seed.at - back;
        let mut from = seed.from - back;
        // The match before grew as far as it could. On another diagonal, this match may claim some of the same bytes.
        let other = |last: &&mut Match| last.from.wrapping_sub(last.at) != seed.from.wrapping_sub(seed.at);
        if let Some(last) = matches.last_mut().filter(other) {
            let lowest = (last.at + 1).max(seed.at.saturating_sub(REACH_BYTES_MAX));
            let reach = seed.at - grow_back(old, target, seed, lowest.min(free));
            if reach < start {
                let cut = best_cut(old, target, last, seed, reach, free);
                last.bytes = cut - last.at;
                start = cut;
                from = seed.from - (seed.at - cut);
            }
        }
        let ahead = grow_ahead(old, target, seed.at + seed.bytes, seed.from + seed.bytes, limit);
        let end = seed.at + seed.bytes + ahead;
        matches.push(Match { at: start, from, bytes: end - start });
    }
    matches.retain(|found| found.bytes > 0);
    matches
}

fn grow_ahead(old: &[u8], target: &[u8], at: usize, from: usize, limit: usize) -> usize {
    let pairs = target[at..limit].iter().zip(&old[from..]);
    longest(pairs)
}

fn grow_back(old: &[u8], target: &[u8], seed: &Seed, free: usize) -> usize {
    let pairs = target[free..seed.at].iter().rev().zip(old[..seed.from].iter().rev());
    longest(pairs)
}

/// The length at which the number of equal bytes minus the number of others is largest. Gives up once it has fallen
/// far.
fn longest<'a>(pairs: impl Iterator<Item = (&'a u8, &'a u8)>) -> usize {
    const GIVE_UP: i32 = 48;
    let (mut sum, mut best, mut best_at) = (0i32, 0i32, 0);
    for (index, (a, b)) in pairs.enumerate() {
        work::count(1);
        sum += if a == b { 1 } else { -1 };
        if sum > best {
            (best, best_at) = (sum, index + 1);
        } else if sum < best - GIVE_UP {
            break;
        }
    }
    best_at
}

/// The place between `reach` and `free` where the earlier match should end and the later begin, so that most bytes are
/// equal.
fn best_cut(old: &[u8], target: &[u8], last: &Match, seed: &Seed, reach: usize, free: usize) -> usize {
    let (mut sum, mut best, mut cut) = (0i32, 0i32, reach);
    for (at, byte) in target.iter().enumerate().take(free).skip(reach) {
        let before = old.get(last.from + (at - last.at)) == Some(byte);
        let after = old.get(seed.from - (seed.at - at)) == Some(byte);
        sum += i32::from(before) - i32::from(after);
        if sum > best {
            (best, cut) = (sum, at + 1);
        }
    }
    cut
}
