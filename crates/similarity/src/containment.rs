//! Estimates the share of a set that is missing from the union of other sets, from samples.
//!
//! The estimate goes through the bases in the order of their levels, the finest first. It looks up only the samples
//! that the earlier bases lack. The missing share is the product of the results. So a large base with a coarse sample
//! does not blur the result of a small base with a fine sample, and for equal levels the product is the plain estimate
//! over the union.
//!
//! The result of one base is (missing + 1/2) / (looked up x (1 - false) + 1/2). *False* is the share of the base's
//! slots that are taken: the probability that a hash which the base lacks falls on a taken slot. The halves pull a
//! result of few samples to 1, "not in this base". With n samples and none missing they give 1 / 2n, which is about the
//! share that such a sample can overlook.

use std::cmp::Reverse;

use crate::sketch::{Difference, Level, Samples, Windows, coarsened};
use crate::work;

/// The number of parts of the whole; shares are counted in these parts.
pub(crate) const WHOLE_PARTS: u64 = 1 << 20;

/// A share and its variance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    /// The share in [`WHOLE_PARTS`], at most the whole.
    pub(crate) parts: u64,
    /// The variance of the share divided by its square, in [`WHOLE_PARTS`]. It covers the sampling error only.
    pub(crate) variance_parts: u64,
}

/// The share of the target's windows that none of `bases` has, from samples and from odd sketches. The order of the
/// bases does not matter.
///
/// The odd sketch of a base counts where it is surer than the samples. Few samples are then left to show what the other
/// bases have, above all if these are larger. So they lower the share by as much as they lower that of plain windows,
/// because an update changes many of those.
pub(crate) fn missing_windows(target: Windows, bases: &[Windows]) -> Share {
    let plain: Vec<&Samples> = bases.iter().map(|base| base.plain).collect();
    let changed = missing(target.plain, if plain.len() > 1 { &plain } else { &[] });
    let counted = bases.iter().filter_map(|&base| {
        let difference = target.odd.difference(base.odd)?;
        let share = counted(target, base, difference, missing(target.samples, &[base.samples]))?;
        if bases.len() == 1 {
            return Some(share);
        }
        let of_base = missing(target.plain, &[base.plain]);
        let parts = share.parts * changed.parts.min(of_base.parts) / of_base.parts.max(1);
        let further = changed.variance_parts.saturating_sub(of_base.variance_parts);
        Some(Share { parts: parts.max(1), variance_parts: share.variance_parts + further })
    });
    let fewest = counted.min_by_key(|share| (share.parts, share.variance_parts));
    fewest.unwrap_or_else(|| {
        let samples: Vec<&Samples> = bases.iter().map(|base| base.samples).collect();
        missing(target.samples, &samples)
    })
}

/// The share that a base lacks by the odd sketches, as far as the samples bear it out: within three standard
/// deviations. `None` if the samples are surer.
///
/// Odd sketches count the windows that only one of two layers has. The difference of the contents says how many more
/// are the target's.
fn counted(target: Windows, base: Windows, difference: Difference, sampled: Share) -> Option<Share> {
    const DEVIATIONS: u128 = 3;
    const VARIANCE_MAX: u128 = 4 * WHOLE_PARTS as u128;
    let whole = u128::from(WHOLE_PARTS);
    let rate = u128::from(target.odd_rate);
    let all = u128::from(target.samples.population().max(1));
    let only_one = u128::from(difference.items) * rate;
    let changed_bytes = u128::from(target.content_bytes.abs_diff(base.content_bytes));
    let growth = (changed_bytes * all / u128::from(target.content_bytes.max(1))).min(only_one);
    let new = if target.content_bytes > base.content_bytes { only_one + growth } else { only_one - growth } / 2;
    // In parts of the whole, squared. Items are under 2^18, so nothing overflows.
    let variance = u128::from(difference.variance) * rate.pow(2) * whole.pow(2) / all / all / 4;
    let sampled_parts = u128::from(sampled.parts);
    let sampled_variance = u128::from(sampled.variance_parts) * sampled_parts.pow(2) / whole;
    if variance > sampled_variance {
        return None;
    }
    let off = DEVIATIONS * sampled_variance.isqrt();
    let borne_out = sampled_parts.saturating_sub(off).max(1)..=(sampled_parts + off).min(whole);
    let parts = (new * whole / all).clamp(*borne_out.start(), *borne_out.end());
    let variance_parts = (variance * whole / parts.pow(2)).min(VARIANCE_MAX);
    Some(Share { parts: u64::try_from(parts).ok()?, variance_parts: u64::try_from(variance_parts).ok()? })
}

/// The share of `target` that none of `bases` has. The order of the bases does not matter.
pub(crate) fn missing(target: &Samples, bases: &[&Samples]) -> Share {
    let mut bases = bases.to_vec();
    // The finest level has the highest threshold.
    bases.sort_by_key(|base| (Reverse(base.level().threshold()), base.values()));
    let mut share = Share { parts: WHOLE_PARTS, variance_parts: 0 };
    let mut level = target.level();
    let mut left = target.values().to_vec();
    for base in bases {
        work::count(1);
        let before = level;
        level = level.coarser(base.level());
        left = coarsened(&left, before, level).collect();
        let looked_up = left.len() as u64;
        let taken = base.at(level).count() as u64;
        left = without(&left, base.at(level));
        let of_base = missing_from_base(looked_up, left.len() as u64, level, taken);
        share.parts = share.parts * of_base.parts / WHOLE_PARTS;
        share.variance_parts = share.variance_parts.saturating_add(of_base.variance_parts);
    }
    share
}

/// The missing share of one base that lacks `missing` of the `looked_up` samples.
fn missing_from_base(looked_up: u64, missing: u64, level: Level, taken: u64) -> Share {
    // All of these are under 2^17, so nothing overflows.
    let slots = u64::from(level.limit);
    let parts = WHOLE_PARTS * (2 * missing + 1) * slots.max(1) / (2 * looked_up * (slots - taken) + slots.max(1));
    let variance_parts = WHOLE_PARTS * (2 * (looked_up - missing) + 1) / ((2 * missing + 1) * (looked_up + 1));
    Share { parts: parts.min(WHOLE_PARTS), variance_parts }
}

/// The `slots` that are not in `taken`. Both are in rising order.
fn without(slots: &[u32], taken: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut taken = taken.peekable();
    let mut free = slots.to_vec();
    free.retain(|slot| {
        while taken.next_if(|other| other < slot).is_some() {}
        taken.peek() != Some(slot)
    });
    free
}

#[cfg(test)]
mod tests;
