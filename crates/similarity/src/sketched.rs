//! How many bytes a patch will have, told from sketches; and which bases to take.
//!
//! What is missing from the masked windows is new and costs what the codec makes of it. What is missing from the plain
//! ones alone is old code at new addresses: it costs what the new addresses weigh. So
//!
//! ```text
//! bytes = 1 KiB + compressed bytes x (7/8 x new + 1/7 x moved)
//! ```
//!
//! Two constants, read off nine pairs of real releases (docs/PREDICTION.md): our codecs make about 7/8 of what gzip
//! makes of new content, and moved code weighs a sixth of new code. They hold for the default effort; a [`Calibration`]
//! learns what they do not say.
//!
//! [`Calibration`]: crate::Calibration

use std::cmp::Reverse;

use lighter_types::{Bytes, Card};

use crate::containment::{Share, WHOLE_PARTS, missing};
use crate::predict::{ExpectedError, PATCH_BYTES_MIN, Prediction, predict_patch_bytes, predict_with_bases};
use crate::sketch::{Samples, Sketch};

/// What new content costs, in 1/1024 of its share of the compressed layer.
const NEW_COST: u64 = 896;
/// What moved content costs.
const MOVED_COST: u64 = 146;
/// What the rule itself is off by, in 1/1024: root mean square over the nine pairs, with every window counted.
pub(crate) const RULE_ERROR: u32 = 223;
/// A base must save at least this, in 1/1024 of what the patch would cost without it.
const GAIN_MIN: u64 = 32;

/// A set of bases and what a patch from them is expected to cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChosenBases {
    /// Positions in the pool, the most useful base first.
    pub indices: Vec<usize>,
    pub prediction: Prediction,
}

/// Bytes of a patch that may read from all of `bases`; their order does not matter.
///
/// With a sketch of the target, the bases that have one are taken together. What has none goes by TLSH: the bases
/// without a sketch, each alone, or all of them if the target has none; the least of these predictions counts. Without
/// bases: what our codecs make of a layer that is all new. At most the compressed layer. Takes about 10 µs a base.
pub fn predict(target: &Card, sketch: Option<&Sketch>, bases: &[(&Card, Option<&Sketch>)]) -> Prediction {
    if let Some((same, _)) = bases.iter().find(|(base, _)| base.diff_id == target.diff_id) {
        return predict_patch_bytes(target, Some(same));
    }
    let Some(sketch) = sketch.filter(|sketch| !sketch.is_empty()) else {
        return predict_with_bases(target, bases.iter().map(|&(base, _)| base));
    };
    let sketches: Vec<&Sketch> = bases.iter().filter_map(|(_, sketch)| *sketch).collect();
    let by_sketch = predict_by_sketches(target, sketch, &sketches);
    let unsketched = bases.iter().filter(|(_, sketch)| sketch.is_none());
    unsketched.map(|&(base, _)| predict_patch_bytes(target, Some(base))).fold(by_sketch, Ord::min)
}

/// Up to `count` bases of a pool for one patch: each next one is that which lowers the prediction most, as long as it
/// does by a thirty-second, and by more than counting samples may be off: the best of many bases is otherwise the
/// luckiest one. Ties go to the larger base, then to the lower DiffId. Takes about 10 µs for each base of the
/// pool and each one chosen: shortlist first.
pub fn choose_bases(
    target: &Card,
    sketch: Option<&Sketch>,
    pool: &[(&Card, Option<&Sketch>)],
    count: usize,
) -> ChosenBases {
    let mut chosen = ChosenBases { indices: Vec::new(), prediction: predict(target, sketch, &[]) };
    let mut bases = Vec::new();
    while chosen.indices.len() < count {
        let free = (0..pool.len()).filter(|index| !chosen.indices.contains(index));
        let best = free
            .map(|index| {
                bases.push(pool[index]);
                let prediction = predict(target, sketch, &bases);
                bases.pop();
                (prediction, Reverse(pool[index].0.tar_bytes), pool[index].0.diff_id, index)
            })
            .min();
        let Some((prediction, .., index)) = best else { break };
        if prediction.bytes.0 >= worthwhile(chosen.prediction) {
            break;
        }
        bases.push(pool[index]);
        chosen.indices.push(index);
        chosen.prediction = prediction;
    }
    chosen
}

/// Up to `count` of the bases that somebody else put in an order, for whoever makes the patch: the first, and each
/// further one that helps by [`choose_bases`]' measure. What that chose from the same sketches, put first in its order,
/// is kept whole: so all who are asked for the same bases make the same patch. Without a sketch of the target, the first
/// alone. Takes about 10 µs for each base offered and each one kept.
pub fn keep_bases(
    target: &Card,
    sketch: Option<&Sketch>,
    offered: &[(&Card, Option<&Sketch>)],
    count: usize,
) -> ChosenBases {
    let count = if sketch.is_none_or(Sketch::is_empty) { count.min(1) } else { count };
    let mut kept = ChosenBases { indices: Vec::new(), prediction: predict(target, sketch, &[]) };
    let mut bases = Vec::new();
    for (index, &base) in offered.iter().enumerate() {
        if kept.indices.len() == count {
            break;
        }
        bases.push(base);
        let prediction = predict(target, sketch, &bases);
        if kept.indices.is_empty() || prediction.bytes.0 < worthwhile(kept.prediction) {
            kept.indices.push(index);
            kept.prediction = prediction;
        } else {
            bases.pop();
        }
    }
    kept
}

/// What a prediction must come below for a further base to be taken.
fn worthwhile(before: Prediction) -> u64 {
    let error = u64::from(before.sure.0);
    let counted = (error * error).saturating_sub(u64::from(RULE_ERROR).pow(2)).isqrt();
    let left = 1024 - counted.clamp(GAIN_MIN, 1024);
    u64::try_from(u128::from(before.bytes.0) * u128::from(left) / 1024).unwrap_or(u64::MAX)
}

fn predict_by_sketches(target: &Card, sketch: &Sketch, bases: &[&Sketch]) -> Prediction {
    let samples = |set: fn(&Sketch) -> &Samples| bases.iter().map(|base| set(base)).collect::<Vec<_>>();
    let new = missing(sketch.masked(), &samples(Sketch::masked));
    let changed = missing(sketch.plain(), &samples(Sketch::plain));
    let moved = changed.parts.saturating_sub(new.parts);
    let cost = NEW_COST * new.parts + MOVED_COST * moved;
    let whole = target.compressed_bytes;
    let bytes = u128::from(whole.0) * u128::from(cost) / u128::from(1024 * WHOLE_PARTS);
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_add(PATCH_BYTES_MIN.0);
    Prediction { bytes: Bytes(bytes).min(whole), sure: expected_error(new, changed, cost) }
}

/// Of the rule, and of counting samples: the two sets are drawn apart, so their errors add up as squares.
fn expected_error(new: Share, changed: Share, cost: u64) -> ExpectedError {
    let square = |share: Share, weight: u64| {
        let term = u128::from(weight * share.parts);
        term * term * u128::from(share.variance_parts) / u128::from(WHOLE_PARTS)
    };
    let counted = square(new, NEW_COST - MOVED_COST) + square(changed, MOVED_COST);
    let cost = u128::from(cost.max(1));
    let squares = counted * (1024 * 1024) / (cost * cost) + u128::from(RULE_ERROR).pow(2);
    ExpectedError(u32::try_from(squares.isqrt()).unwrap_or(u32::MAX).min(ExpectedError::MAX.0))
}

#[cfg(test)]
mod tests;
