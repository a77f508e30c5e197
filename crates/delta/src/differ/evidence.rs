//! From single references to moves: which addresses moved by how much, in as few moves as pay.

use crate::moves::Moves;
use crate::work;

/// The cost of one more move, counted in references that are coded wrongly without it.
const MOVE_COST: u64 = 2;
/// More references than that to one place count as so many: a decoder learns the place from the first ones.
const WEIGHT_MAX: u64 = 6;
/// References are counted together whenever there are so many new ones.
const COUNTED: usize = 1 << 20;
/// Most places that are kept: 96 MiB. If there are more, their hashes choose a part of them.
const PLACES_MAX: usize = 1 << 22;

/// Nothing moves farther: a number was no address.
const BY_MAX: u64 = 1 << 40;

/// References to one place of the old image that moved by the same amount.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Vote {
    place: u64,
    by: u64,
    count: u64,
}

/// References: the address that each leads to in the old image, and by how much that moved.
#[derive(Default)]
pub struct Evidence {
    votes: Vec<Vote>,
    /// Starts of matches: all are kept.
    starts: Vec<Vote>,
    /// So many of them are counted together, and in order.
    counted: usize,
    /// Places are kept whose hash has so many zeros in front.
    thinning: u32,
}

impl Evidence {
    pub fn add(&mut self, place: u64, by: u64) {
        if self.keeps(place) && (by as i64).unsigned_abs() <= BY_MAX {
            self.votes.push(Vote { place, by, count: 1 });
            if self.votes.len() - self.counted >= COUNTED {
                self.count();
            }
        }
    }

    /// Adds the start of a match, at an address of the old image.
    pub fn add_start(&mut self, place: u64, by: u64) {
        self.starts.push(Vote { place, by, count: 1 });
    }

    /// Adds what was found elsewhere.
    pub fn join(&mut self, other: Self) {
        self.thinning = self.thinning.max(other.thinning);
        self.votes.extend(other.votes);
        self.starts.extend(other.starts);
        self.thin();
        self.count();
    }

    fn keeps(&self, place: u64) -> bool {
        place.wrapping_mul(0x9e37_79b9_7f4a_7c15).leading_zeros() >= self.thinning
    }

    fn count(&mut self) {
        // It finds that the first ones are in order, and those of another evidence behind them.
        self.votes.sort();
        self.votes.dedup_by(|next, first| {
            let is_same = (next.place, next.by) == (first.place, first.by);
            first.count += if is_same { next.count } else { 0 };
            is_same
        });
        while self.votes.len() > PLACES_MAX {
            self.thinning += 1;
            self.thin();
        }
        self.counted = self.votes.len();
    }

    fn thin(&mut self) {
        let mut votes = std::mem::take(&mut self.votes);
        votes.retain(|vote| self.keeps(vote.place));
        self.votes = votes;
    }

    /// The moves that agree with most references for their number: the cheapest of all ways to cut the addresses into
    /// ranges that moved alike.
    pub fn moves(mut self) -> Moves {
        self.count();
        // A place that was kept stands for those that were not.
        self.votes.iter_mut().for_each(|vote| vote.count = vote.count.min(WEIGHT_MAX) << self.thinning);
        self.votes.append(&mut self.starts);
        self.votes.sort_unstable();
        let mut ways = Ways { cuts: Vec::new(), states: vec![State { by: None, cost: 0, cut: None }] };
        let mut before = 0;
        for votes in self.votes.chunk_by(|one, other| one.place == other.place) {
            work::count(votes.len() * ways.states.len());
            ways.add(before, votes);
            before = votes[0].place;
        }
        ways.best()
    }
}

/// A way to cut the addresses so far that may become the cheapest.
struct State {
    /// By how much the addresses move from its last cut on.
    by: Option<u64>,
    cost: u64,
    cut: Option<usize>,
}

struct Cut {
    start: u64,
    by: u64,
    before: Option<usize>,
}

struct Ways {
    cuts: Vec<Cut>,
    /// No two have the same `by`. The first is the cheapest.
    states: Vec<State>,
}

impl Ways {
    /// Goes on with the references to one place; `before` is the place before.
    fn add(&mut self, before: u64, votes: &[Vote]) {
        let place = votes[0].place;
        let (cheapest, last) = (self.states[0].cost, self.states[0].cut);
        for &Vote { by, .. } in votes {
            if self.states.iter().all(|state| state.by != Some(by)) {
                self.cuts.push(Cut { start: round(before, place), by, before: last });
                let cut = Some(self.cuts.len() - 1);
                self.states.push(State { by: Some(by), cost: cheapest + MOVE_COST, cut });
            }
        }
        let all: u64 = votes.iter().map(|vote| vote.count).sum();
        for state in &mut self.states {
            let own: u64 = votes.iter().filter(|vote| Some(vote.by) == state.by).map(|vote| vote.count).sum();
            state.cost += all - own;
        }
        self.states.sort_by_key(|state| state.cost);
        // Beyond that, it is cheaper to cut again.
        let most = self.states[0].cost + MOVE_COST;
        self.states.retain(|state| state.cost < most);
    }

    fn best(self) -> Moves {
        let mut next = self.states[0].cut;
        let mut cuts = Vec::new();
        while let Some(cut) = next.map(|index| &self.cuts[index]) {
            cuts.push((cut.start, cut.by));
            next = cut.before;
        }
        let mut moves = Moves::default();
        cuts.into_iter().rev().for_each(|(start, by)| moves.push(start, by));
        moves
    }
}

/// The roundest number above `before`, at most `place`.
fn round(before: u64, place: u64) -> u64 {
    let different = (before ^ place).checked_ilog2().unwrap_or(0);
    place >> different << different
}
