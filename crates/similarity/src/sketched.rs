//! Predictions of patch bytes from sketches, and the choice of bases.
//!
//! A masked window that no base has is *new* content. A long window that no base has is *broken*: it has new content
//! in it, or a place where the order changed. A plain window that no base has, although the long one is there, is
//! *moved* code: old code at new addresses, which costs something in executables of Go alone.
//! An entry of the tar whose path no base has is *renamed*; one whose path is there, but whose header is not, is
//! *touched*. Beyond the share of new content, both cost their headers. So
//!
//! ```text
//! price = 5/8 + 1/4 x new
//! bytes = compressed bytes x (price x new + 1/2 x (broken - new) + 1/16 x go x moved)
//!         + max(1 KiB, entries x (4 x renamed + touched))
//! ```
//!
//! The constants come from real releases (docs/PREDICTION.md): Lighter's codecs need about 7/8 of the bytes of gzip for
//! new content, and less for what resembles content beside it. A broken window costs the end of a copy, and the
//! references behind it, which moved by another distance than those before. A header costs what differs from the
//! base's. The constants hold for the default effort. A [`Calibration`] learns the difference for other codecs, efforts
//! and contents.
//!
//! [`Calibration`]: crate::Calibration

use std::cmp::Reverse;

use lighter_types::{Bytes, Card};

use crate::containment::{Share, WHOLE_PARTS, missing, missing_windows};
use crate::predict::{ExpectedError, PATCH_BYTES_MIN, Prediction, predict_patch_bytes, predict_with_bases};
use crate::sketch::{Samples, Sketch, Windows};

/// The cost of new content beside old content, in 1/1024 of its share of the compressed layer: much of it resembles the
/// old.
const NEW_COST_MIN: u64 = 628;
/// The cost of new content where all is new.
const NEW_COST: u64 = 896;
/// The cost of broken content, in the same unit.
const BROKEN_COST: u64 = 500;
/// The cost of moved content of executables of Go, in the same unit: their tables have a number for each function and
/// line.
const GO_COST: u64 = 63;
/// The cost of a renamed entry, in 1/1024 of a byte. A path of the same length costs one byte or two,
/// any other three to ten.
const RENAMED_COST: u64 = 4 * 1024;
/// The cost of a touched entry, in the same unit: one byte for a time that many entries share, up to three for any
/// other.
const TOUCHED_COST: u64 = 1024;
/// The error of what headers cost, in 1/1024.
const HEADERS_ERROR: u128 = 768;
/// The error of the rule itself, in 1/1024: about the root mean square over 40 pairs.
pub(crate) const RULE_ERROR: u32 = 348;
/// The least saving that justifies another base, in 1/1024 of the patch's cost without that base.
const GAIN_MIN: u64 = 32;

/// A set of bases and the predicted cost of a patch from them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChosenBases {
    /// Positions in the pool, the most useful base first.
    pub indices: Vec<usize>,
    pub prediction: Prediction,
}

/// Predicts the bytes of a patch that may read from all of `bases`. The order of the bases does not matter.
///
/// If the target has a sketch, one prediction covers all bases with a sketch together, and each base without a sketch
/// has a prediction by TLSH. If the target has no sketch, every base has a prediction by TLSH. The least prediction
/// counts. Without bases, the whole layer is new content. The result is at most the compressed layer. Takes about 10 µs
/// for each base.
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

/// Chooses up to `count` bases of a pool for one patch. Adds the base that lowers the prediction most, one after
/// another. Stops when the best base saves less than 1/32, or less than the sampling error: otherwise the best of many
/// bases would be the one with the luckiest samples. Ties go to the larger base, then to the lower DiffId. Takes about
/// 10 µs for each base of the pool and each chosen base, so the caller should shorten the pool first.
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

/// Selects up to `count` of the bases that a requester offers, in the order of the offer: the first base, and each
/// further one that saves enough by the rule of [`choose_bases`]. If [`choose_bases`] chose the offer from the same
/// sketches, all its bases are kept, so that all providers make the same patch for the same request. Without a sketch
/// of the target, keeps the first base alone. Takes about 10 µs for each offered base and each kept base.
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

/// The bytes below which the prediction with another base must fall to justify that base.
fn worthwhile(before: Prediction) -> u64 {
    let error = u64::from(before.expected_error.0);
    let counted = (error * error).saturating_sub(u64::from(RULE_ERROR).pow(2)).isqrt();
    let left = 1024 - counted.clamp(GAIN_MIN, 1024);
    u64::try_from(u128::from(before.bytes.0) * u128::from(left) / 1024).unwrap_or(u64::MAX)
}

fn predict_by_sketches(target: &Card, sketch: &Sketch, bases: &[&Sketch]) -> Prediction {
    let new = missing_windows_of(sketch, bases, Sketch::masked);
    let broken = missing_windows_of(sketch, bases, Sketch::long);
    let changed = missing_of(sketch, bases, Sketch::plain);
    let broken = Share { parts: broken.parts.max(new.parts), ..broken };
    let moved = changed.parts.saturating_sub(broken.parts);
    let go = GO_COST * u64::from(sketch.go()) / 255;
    let new_cost = NEW_COST_MIN + (NEW_COST - NEW_COST_MIN) * new.parts / WHOLE_PARTS;
    let cost = new_cost * new.parts + BROKEN_COST * (broken.parts - new.parts) + go * moved;
    let whole = target.compressed_bytes;
    let contents = u128::from(whole.0) * u128::from(cost) / u128::from(1024 * WHOLE_PARTS);
    let contents = u64::try_from(contents).unwrap_or(u64::MAX);
    let headers = header_bytes(sketch, bases, new);
    let bytes = contents.saturating_add(headers.max(PATCH_BYTES_MIN.0));
    let error = contents_error(new, broken, Share { parts: moved, ..changed }, go, cost);
    Prediction { bytes: Bytes(bytes).min(whole), expected_error: expected_error(error, contents, headers) }
}

/// The share of the target's windows of a kind that no base has.
fn missing_windows_of<'a>(sketch: &'a Sketch, bases: &[&'a Sketch], kind: impl Fn(&'a Sketch) -> Windows<'a>) -> Share {
    let of_bases: Vec<Windows> = bases.iter().map(|base| kind(base)).collect();
    missing_windows(kind(sketch), &of_bases)
}

/// The share of a set of the target's samples that no base has.
fn missing_of(sketch: &Sketch, bases: &[&Sketch], set: impl Fn(&Sketch) -> &Samples) -> Share {
    let of_bases: Vec<&Samples> = bases.iter().map(|base| set(base)).collect();
    missing(set(sketch), &of_bases)
}

/// The bytes that the headers of old contents cost. Those of new contents count as a part of the compressed layer.
fn header_bytes(sketch: &Sketch, bases: &[&Sketch], new: Share) -> u64 {
    let missing_paths = missing_of(sketch, bases, Sketch::paths).parts.max(new.parts);
    let missing_headers = missing_of(sketch, bases, Sketch::headers).parts.max(missing_paths);
    let (renamed, touched) = (missing_paths - new.parts, missing_headers - missing_paths);
    // All of these are under 2^32, 2^13 and 2^21, so the result is under 2^36.
    let parts = u128::from(sketch.entries()) * u128::from(RENAMED_COST * renamed + TOUCHED_COST * touched);
    u64::try_from(parts / u128::from(1024 * WHOLE_PARTS)).unwrap_or(u64::MAX)
}

/// The error of both terms together. They are independent, so the squares of their errors in bytes add up.
fn expected_error(of_contents: u32, contents: u64, headers: u64) -> ExpectedError {
    if headers == 0 {
        return ExpectedError(of_contents);
    }
    // In bytes, the squares would overflow for the largest layers.
    let all = u128::from(contents) + u128::from(headers);
    let [contents, headers] = [contents, headers].map(|bytes| (u128::from(bytes) << 20) / all);
    let (contents, headers) = (contents * u128::from(of_contents), headers * HEADERS_ERROR);
    let error = (contents * contents + headers * headers).isqrt() >> 20;
    ExpectedError(u32::try_from(error).unwrap_or(u32::MAX).min(ExpectedError::MAX.0))
}

/// The error of the rule and the counting errors of the three sets. They are independent, so their squares add up.
fn contents_error(new: Share, broken: Share, moved: Share, go: u64, cost: u64) -> u32 {
    let counting = weighted_variance(new, NEW_COST_MIN - BROKEN_COST)
        + weighted_variance(broken, BROKEN_COST)
        + weighted_variance(moved, go);
    let cost = u128::from(cost.max(1));
    let squares = counting * (1024 * 1024) / (cost * cost) + u128::from(RULE_ERROR).pow(2);
    u32::try_from(squares.isqrt()).unwrap_or(u32::MAX).min(ExpectedError::MAX.0)
}

fn weighted_variance(share: Share, weight: u64) -> u128 {
    let term = u128::from(weight * share.parts);
    term * term * u128::from(share.variance_parts) / u128::from(WHOLE_PARTS)
}

#[cfg(test)]
mod tests;
