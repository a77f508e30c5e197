//! Puts the plans of a large fleet in order.
//!
//! Peers of one fleet have few different links and few different choices of bases. So their plans are of few kinds, and
//! plans of a kind cost the same. This module ranks the kinds, then sorts the plans by the rank of their kind and a
//! number of their peer: 128 bits each. A test holds the order equal to that of [`super::Plan::rank`].

use std::collections::BTreeMap;
use std::time::Duration;

use lighter_types::{Bytes, BytesPerSecond};

use super::pool::Choice;

/// Plans before they are made: the source and the kind of each.
#[derive(Debug, Default)]
pub struct Order {
    kinds: Vec<Kind>,
    /// The kind of a choice over links of a rate.
    by_choice: BTreeMap<(usize, BytesPerSecond), u32>,
    /// In the order in which they were added: the source's place, its number, the kind.
    plans: Vec<(u32, u64, u32)>,
}

/// The common part of all plans of a kind.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// The place of its [`Choice`].
    pub choice: usize,
    /// The time that the choice's bytes take over the link.
    pub transfer: Duration,
    bytes: Bytes,
    is_whole: bool,
}

impl Order {
    pub fn with_capacity(plans: usize) -> Self {
        Self { plans: Vec::with_capacity(plans), ..Self::default() }
    }

    /// Adds a plan of the source at `place`, whose peer has this [`super::spread`].
    pub fn add(&mut self, place: usize, number: u64, choice: (usize, &Choice), rate: BytesPerSecond) {
        let (index, choice) = choice;
        let kinds = &mut self.kinds;
        let kind = *self.by_choice.entry((index, rate)).or_insert_with(|| {
            let transfer = choice.bytes.at(rate);
            kinds.push(Kind { choice: index, transfer, bytes: choice.bytes, is_whole: choice.bases.is_empty() });
            kinds.len() as u32 - 1
        });
        self.plans.push((place as u32, number, kind));
    }

    /// The source's place and the kind of each plan, the cheapest first.
    pub fn finish(self) -> impl ExactSizeIterator<Item = (usize, Kind)> {
        let Self { kinds, plans, .. } = self;
        let ranks = ranks(&kinds);
        // From the highest bit down: rank of the kind (32), number of the peer (64), place among the plans (32). Equal
        // numbers hardly occur; they leave the order of the sources.
        let key = |(place, &(_, number, kind)): (usize, &(u32, u64, u32))| {
            u128::from(ranks[kind as usize]) << 96 | u128::from(number) << 32 | place as u128
        };
        let mut keys: Vec<u128> = plans.iter().enumerate().map(key).collect();
        keys.sort_unstable();
        keys.into_iter().map(move |key| {
            let (source, _, kind) = plans[key as u32 as usize];
            (source as usize, kinds[kind as usize])
        })
    }
}

/// The rank of each kind: the same for those that cost the same.
fn ranks(kinds: &[Kind]) -> Vec<u32> {
    let mut costs: Vec<_> = kinds.iter().map(Kind::cost).collect();
    costs.sort_unstable();
    costs.dedup();
    kinds.iter().map(|kind| costs.partition_point(|cost| *cost < kind.cost()) as u32).collect()
}

impl Kind {
    /// [`super::Plan::rank`] without the peer, of a plan that waits for nothing.
    fn cost(&self) -> (Duration, Bytes, bool) {
        (self.transfer, self.bytes, self.is_whole)
    }
}
