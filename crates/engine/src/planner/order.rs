//! Puts the plans of a large fleet in order.
//!
//! Peers of one fleet have few different links and few different choices of bases. So their plans are of few kinds, and
//! plans of a kind cost the same. This module ranks the kinds, then sorts the plans by the rank of their kind and a
//! number of their peer: 128 bits each. A test holds the order equal to that of single plans (`ranking.rs`).

use std::collections::BTreeMap;
use std::time::Duration;

use lighter_types::{BytesPerSecond, Effort, Prefer};

use super::ranking::{Class, Ranking};
use crate::effort::Cost;
use crate::work;

/// Plans before they are made: the source and the kind of each.
#[derive(Debug, Default)]
pub struct Order {
    kinds: Vec<Kind>,
    by_way: BTreeMap<Way, u32>,
    /// In the order in which they were added: the source's place, its number, the kind.
    plans: Vec<(u32, u64, u32)>,
}

/// A choice of bases, and a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    /// The place of its [`Choice`](super::pool::Choice).
    pub choice: usize,
    pub rate: BytesPerSecond,
    pub round_trip: Duration,
    pub is_near: bool,
}

/// The common part of all plans by one way.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub way: Way,
    pub effort: Effort,
    pub cost: Cost,
    pub is_whole: bool,
    /// The parts of the cost's time, beside the round trip.
    pub wait: Duration,
    pub transfer: Duration,
    pub applying: Duration,
}

impl Order {
    pub fn with_capacity(plans: usize) -> Self {
        Self { plans: Vec::with_capacity(plans), ..Self::default() }
    }

    /// Adds a plan of the source at `place`, whose peer has this [`super::spread`].
    pub fn add(&mut self, place: usize, number: u64, way: Way, kind: impl FnOnce(Way) -> Kind) {
        let kinds = &mut self.kinds;
        let index = *self.by_way.entry(way).or_insert_with(|| {
            kinds.push(kind(way));
            kinds.len() as u32 - 1
        });
        self.plans.push((place as u32, number, index));
    }

    /// The source's place and the kind of each plan, the best first.
    pub fn finish(self, prefer: Prefer) -> impl ExactSizeIterator<Item = (usize, Kind)> {
        let Self { kinds, plans, .. } = self;
        let ranks = ranks(&kinds, prefer);
        // From the highest bit down: rank of the kind (32), number of the peer (64), place among the plans (32). Equal
        // numbers hardly occur; they leave the order of the sources.
        let mut keys: Vec<u128> = Vec::with_capacity(plans.len());
        for (place, &(_, number, kind)) in plans.iter().enumerate() {
            keys.push(u128::from(ranks[kind as usize]) << 96 | u128::from(number) << 32 | place as u128);
        }
        keys.sort_unstable_by(|one, other| {
            work::count(1);
            one.cmp(other)
        });
        keys.into_iter().map(move |key| {
            let (source, _, kind) = plans[key as u32 as usize];
            (source as usize, kinds[kind as usize])
        })
    }
}

/// The rank of each kind: the same for those of one class.
fn ranks(kinds: &[Kind], prefer: Prefer) -> Vec<u32> {
    let ranking = Ranking::new(kinds.iter().map(|kind| kind.cost.time), prefer);
    let classes: Vec<Class> =
        kinds.iter().map(|kind| ranking.class(kind.cost, kind.way.is_near, kind.is_whole)).collect();
    let mut sorted = classes.clone();
    sorted.sort_unstable();
    sorted.dedup();
    classes.iter().map(|class| sorted.partition_point(|other| other < class) as u32).collect()
}
