//! How many bytes a patch will have, told from two cards: TLSH and sizes, integers only. For layers without a sketch.
//!
//! Without a base a patch is the compressed layer. With one, a fraction of it: a straight line over the distance of
//! the contents, bent by how much of the target the base is large enough to hold. Fitted by hand to the corpus; how,
//! and how wrong it is, in docs/PREDICTION.md. It finds the previous release; it does not say well what that will
//! cost: sketched.rs does.

use std::cmp::Reverse;

use lighter_types::{Bytes, Card};

use crate::distance::{DISTANCE_MAX, Distance, content_distance};

/// What a transfer of a layer is expected to cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prediction {
    /// Bytes of the patch, its container included. From [`PATCH_BYTES_MIN`] or the compressed layer, whichever is
    /// less, to the compressed layer.
    pub bytes: Bytes,
    /// How far off it may be.
    pub sure: ExpectedError,
}

/// The expected error of a prediction, in 1/1024 of its bytes: the smaller, the surer. 0 is certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExpectedError(pub u32);

impl ExpectedError {
    /// Nothing is known: off by a factor of five or more.
    pub const MAX: Self = Self(4096);
    /// For a prediction that is no guess.
    pub const NONE: Self = Self(0);
}

/// A base and what a patch from it is expected to cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RankedBase<'a> {
    pub base: &'a Card,
    pub prediction: Prediction,
}

/// The least that a patch weighs: headers and frames of a container around next to nothing.
pub const PATCH_BYTES_MIN: Bytes = Bytes(1 << 10);

/// Fractions are in 1/1024 of the compressed layer.
const WHOLE: u64 = 1024;
/// Median over nine pairs of releases: our engine's patches are 0.28 of what is predicted (docs/PREDICTION.md).
const TLSH_ERROR: ExpectedError = ExpectedError(734);
/// At distance 0. Releases 1 to 3 apart cost between 0.5 and 17 % on the corpus.
const FRACTION_AT_ZERO: u64 = 40;
/// Added for each unit of content distance.
const FRACTION_PER_UNIT: u64 = 16;

/// Bytes of a patch that makes `target` out of `base`; out of nothing, the compressed layer.
///
/// A base without a TLSH digest, or a target without one, says nothing: the compressed layer. Falls neither when the
/// distance grows nor when the base shrinks below the target.
pub fn predict_patch_bytes(target: &Card, base: Option<&Card>) -> Prediction {
    let whole = Prediction { bytes: target.compressed_bytes, sure: ExpectedError::NONE };
    let Some(base) = base else { return whole };
    if base.diff_id == target.diff_id {
        return Prediction { bytes: PATCH_BYTES_MIN.min(whole.bytes), sure: ExpectedError::NONE };
    }
    let (Some(target_tlsh), Some(base_tlsh)) = (&target.tlsh, &base.tlsh) else { return whole };
    let fraction = fraction(content_distance(target_tlsh, base_tlsh), target.tar_bytes, base.tar_bytes);
    let bytes = Bytes(scale(whole.bytes.0, fraction)).max(PATCH_BYTES_MIN).min(whole.bytes);
    Prediction { bytes, sure: TLSH_ERROR }
}

/// Bytes of a patch that may read from all of `bases`: for now, that of the best of them alone. Without a base, the
/// compressed layer.
pub fn predict_with_bases<'a>(target: &Card, bases: impl IntoIterator<Item = &'a Card>) -> Prediction {
    let alone = predict_patch_bytes(target, None);
    bases.into_iter().map(|base| predict_patch_bytes(target, Some(base))).fold(alone, Ord::min)
}

/// The `count` most promising of `bases`, best first: fewest predicted bytes, then the nearer content (without a
/// digest: last), then the larger base, then the DiffId, so that the order is the same on every machine. Allocates one
/// entry more than `count` at most.
pub fn rank_bases<'a>(target: &Card, bases: impl IntoIterator<Item = &'a Card>, count: usize) -> Vec<RankedBase<'a>> {
    let mut best = Vec::new();
    for base in bases {
        let prediction = predict_patch_bytes(target, Some(base));
        let is_worse = |&(_, last): &(_, RankedBase<'_>)| prediction.bytes > last.prediction.bytes;
        if best.len() >= count && best.last().is_none_or(is_worse) {
            continue;
        }
        let content = base.tlsh.as_ref().zip(target.tlsh.as_ref()).map(|(one, other)| content_distance(one, other));
        let key = (prediction.bytes, content.unwrap_or(DISTANCE_MAX), Reverse(base.tar_bytes), base.diff_id);
        let place = best.partition_point(|(other, _)| *other <= key);
        best.insert(place, (key, RankedBase { base, prediction }));
        best.truncate(count);
    }
    best.into_iter().map(|(_, ranked)| ranked).collect()
}

/// The share of the compressed target that a patch is expected to weigh, in 1/1024, at most [`WHOLE`].
fn fraction(content: Distance, target: Bytes, base: Bytes) -> u64 {
    let changed = (FRACTION_AT_ZERO + FRACTION_PER_UNIT * u64::from(content.0)).min(WHOLE);
    // What cannot stand in a base that is smaller than the target is new.
    let coverable = if base >= target { WHOLE } else { ratio(base.0, target.0) };
    WHOLE - scale(coverable, WHOLE - changed)
}

/// `part` of `whole` in 1/1024, for `part < whole`.
fn ratio(part: u64, whole: u64) -> u64 {
    u64::try_from(u128::from(part) * u128::from(WHOLE) / u128::from(whole)).unwrap_or(WHOLE)
}

/// `fraction` (at most [`WHOLE`]) of `amount`, which therefore fits.
fn scale(amount: u64, fraction: u64) -> u64 {
    u64::try_from(u128::from(amount) * u128::from(fraction) / u128::from(WHOLE)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
