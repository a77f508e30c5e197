//! Predictions of patch bytes from two cards, by TLSH and sizes. They serve layers without a sketch.
//!
//! Without a base, the patch is the compressed layer. With a base, it is a fraction of the compressed layer. The
//! fraction grows linearly with the distance of the contents, and also with the part of the target that a smaller base
//! cannot hold. The constants are fitted by hand to the corpus; docs/PREDICTION.md has the fit and its error. This
//! prediction finds the previous release, but predicts its cost badly. Sketches predict the cost (sketched.rs).

use std::cmp::Reverse;

use lighter_types::{Bytes, Card};

use crate::distance::{DISTANCE_MAX, Distance, content_distance};
use crate::work;

/// The predicted cost of a transfer of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prediction {
    /// The bytes of the patch, including its container. At least [`PATCH_BYTES_MIN`] and at most the compressed layer.
    /// A compressed layer below [`PATCH_BYTES_MIN`] counts as it is.
    pub bytes: Bytes,
    /// The expected error of `bytes`.
    pub expected_error: ExpectedError,
}

/// The expected error of a prediction, in 1/1024 of its bytes. 0 means certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExpectedError(pub u32);

impl ExpectedError {
    /// The error of a prediction without any information: a factor of five or more.
    pub const MAX: Self = Self(4096);
    /// The error of an exact size.
    pub const NONE: Self = Self(0);
}

/// A base and the predicted cost of a patch from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RankedBase<'a> {
    pub base: &'a Card,
    pub prediction: Prediction,
}

/// The smallest patch: the header and the frames of a container with almost no content.
pub const PATCH_BYTES_MIN: Bytes = Bytes(1 << 10);

/// The whole of which fractions are counted: a fraction is in 1/1024 of the compressed layer.
const WHOLE: u64 = 1024;
/// The median error over nine pairs of releases: Lighter's patches have 0.28 of the predicted bytes
/// (docs/PREDICTION.md).
const TLSH_ERROR: ExpectedError = ExpectedError(734);
/// The fraction at distance 0. Releases at distance 1 to 3 cost between 0.5 and 17 % on the corpus.
const FRACTION_AT_ZERO: u64 = 40;
/// The fraction that each unit of content distance adds.
const FRACTION_PER_UNIT: u64 = 16;

/// Predicts the bytes of a patch that rebuilds `target` from `base`.
///
/// The prediction is the compressed layer if there is no base, or if one of the layers has no TLSH digest. The
/// prediction never falls when the distance grows or when the base shrinks below the target.
pub fn predict_patch_bytes(target: &Card, base: Option<&Card>) -> Prediction {
    let whole = Prediction { bytes: target.compressed_bytes, expected_error: ExpectedError::NONE };
    let Some(base) = base else { return whole };
    if base.diff_id == target.diff_id {
        return Prediction { bytes: PATCH_BYTES_MIN.min(whole.bytes), expected_error: ExpectedError::NONE };
    }
    let (Some(target_tlsh), Some(base_tlsh)) = (&target.tlsh, &base.tlsh) else { return whole };
    let fraction = fraction(content_distance(target_tlsh, base_tlsh), target.tar_bytes, base.tar_bytes);
    let bytes = Bytes(scale(whole.bytes.0, fraction)).max(PATCH_BYTES_MIN).min(whole.bytes);
    Prediction { bytes, expected_error: TLSH_ERROR }
}

/// Predicts the bytes of a patch that may read from all of `bases`: the prediction for the best base alone. Without a
/// base, the compressed layer.
pub fn predict_with_bases<'a>(target: &Card, bases: impl IntoIterator<Item = &'a Card>) -> Prediction {
    let alone = predict_patch_bytes(target, None);
    bases.into_iter().map(|base| predict_patch_bytes(target, Some(base))).fold(alone, Ord::min)
}

/// The best `count` of `bases`, best first. The order is by predicted bytes, then by content distance (bases without a
/// digest last), then by size with the larger base first, then by DiffId. So it is the same on every machine. Allocates
/// at most twice `count` entries and 16 more.
pub fn rank_bases<'a>(target: &Card, bases: impl IntoIterator<Item = &'a Card>, count: usize) -> Vec<RankedBase<'a>> {
    let room = count.saturating_mul(2).saturating_add(16);
    let mut best = Vec::new();
    // The predicted bytes of the last of the best, once `count` are known.
    let mut most = (count == 0).then_some(Bytes::ZERO);
    for base in bases {
        work::count(1);
        let prediction = predict_patch_bytes(target, Some(base));
        if most.is_some_and(|most| prediction.bytes > most) {
            continue;
        }
        let content = base.tlsh.as_ref().zip(target.tlsh.as_ref()).map(|(one, other)| content_distance(one, other));
        let key = (prediction.bytes, content.unwrap_or(DISTANCE_MAX), Reverse(base.tar_bytes), base.diff_id);
        best.push((key, RankedBase { base, prediction }));
        if best.len() == room {
            most = keep_best(&mut best, count);
        }
    }
    keep_best(&mut best, count);
    best.into_iter().map(|(_, ranked)| ranked).collect()
}

/// Keeps the best `count` entries, in order. Returns the predicted bytes of the last one.
fn keep_best<K: Ord>(ranked: &mut Vec<(K, RankedBase<'_>)>, count: usize) -> Option<Bytes> {
    ranked.sort_by(|(one, _), (other, _)| {
        work::count(1);
        one.cmp(other)
    });
    ranked.truncate(count);
    ranked.last().map(|(_, last)| last.prediction.bytes)
}

/// The predicted size of a patch as a fraction of the compressed target, at most [`WHOLE`].
fn fraction(content: Distance, target: Bytes, base: Bytes) -> u64 {
    let changed = (FRACTION_AT_ZERO + FRACTION_PER_UNIT * u64::from(content.0)).min(WHOLE);
    // A base that is smaller than the target cannot hold all of it. The rest is new.
    let coverable = if base >= target { WHOLE } else { ratio(base.0, target.0) };
    WHOLE - scale(coverable, WHOLE - changed)
}

/// `part` of `whole` in 1/1024, for `part < whole`.
fn ratio(part: u64, whole: u64) -> u64 {
    u64::try_from(u128::from(part) * u128::from(WHOLE) / u128::from(whole)).unwrap_or(WHOLE)
}

/// A fraction of an amount. `fraction` is at most [`WHOLE`], so the result fits.
fn scale(amount: u64, fraction: u64) -> u64 {
    u64::try_from(u128::from(amount) * u128::from(fraction) / u128::from(WHOLE)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
