//! How much of a set is missing from the union of others, from samples.
//!
//! The bases are taken one after another, the finest first, and each is asked only for what the ones before lack: the
//! missing share is the product of these answers. So a large base with a coarse sample does not spoil what a small one
//! with a fine sample says, and with equal levels the product is the plain estimate over the union.
//!
//! An answer is (missing + 1/2) / (asked x (1 - false) + 1/2). *False* is the share of a base's slots that are taken:
//! so often a hash that it lacks seems to be there. The halves make an answer of few samples drift to 1, "not in this
//! base", and one of many to 1 / 2n when nothing is seen missing, which is about what it may be then.

use crate::sketch::{Level, Samples, coarsened};

/// Shares are in parts of this.
pub(crate) const WHOLE_PARTS: u64 = 1 << 20;

/// A share and how far it may be off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    /// In [`WHOLE_PARTS`], at most the whole.
    pub(crate) parts: u64,
    /// The variance of the share over its square, in [`WHOLE_PARTS`]: from counting samples alone.
    pub(crate) variance_parts: u64,
}

/// The share of `target` that stands in none of `bases`. Their order does not matter.
pub(crate) fn missing(target: &Samples, bases: &[&Samples]) -> Share {
    let mut bases = bases.to_vec();
    let finest_first = |one: &Samples, other: &Samples| other.level().threshold().cmp(&one.level().threshold());
    bases.sort_by(|one, other| finest_first(one, other).then_with(|| one.values().cmp(other.values())));
    let mut share = Share { parts: WHOLE_PARTS, variance_parts: 0 };
    let mut level = target.level();
    let mut left = target.values().to_vec();
    for base in bases {
        let before = level;
        level = level.coarser(base.level());
        left = coarsened(&left, before, level).collect();
        let asked = left.len() as u64;
        let taken = base.at(level).count() as u64;
        left = without(&left, base.at(level));
        let answer = answer(asked, left.len() as u64, level, taken);
        share.parts = share.parts * answer.parts / WHOLE_PARTS;
        share.variance_parts = share.variance_parts.saturating_add(answer.variance_parts);
    }
    share
}

/// What one base says that was asked for `asked` samples and lacks `missing` of them.
fn answer(asked: u64, missing: u64, level: Level, taken: u64) -> Share {
    // All of these are under 2^17: no overflow.
    let slots = u64::from(level.limit);
    let parts = WHOLE_PARTS * (2 * missing + 1) * slots.max(1) / (2 * asked * (slots - taken) + slots.max(1));
    let variance_parts = WHOLE_PARTS * (2 * (asked - missing) + 1) / ((2 * missing + 1) * (asked + 1));
    Share { parts: parts.min(WHOLE_PARTS), variance_parts }
}

/// `slots` that are not among `taken`; both are in rising order.
fn without(slots: &[u32], taken: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut taken = taken.peekable();
    let is_free = |slot: &&u32| {
        while taken.next_if(|other| other < *slot).is_some() {}
        taken.peek() != Some(*slot)
    };
    slots.iter().filter(is_free).copied().collect()
}

#[cfg(test)]
mod tests;
