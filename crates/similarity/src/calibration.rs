//! Calibration: a node learns from its own patches how far the predictions for one codec at one effort are off.
//!
//! A calibration is a running mean of the ratio of actual to predicted bytes. Early pairs have more weight. One pair
//! changes the ratio by at most a factor of two. Each new pair has a weight of at least 1/16, so old pairs fade. A node
//! keeps one calibration for each codec and effort.

use lighter_types::Bytes;

use crate::predict::{ExpectedError, Prediction};
use crate::sketched::RULE_ERROR;

/// The number 1 in fixed point. It is fine enough that rounding does not lose a step of 1/16.
const ONE: u32 = 1 << 16;
/// The number 1 in the unit of an [`ExpectedError`].
const ERROR_ONE: u32 = 1024;
/// The largest and the smallest correction. A ratio beyond them has another cause than the codec.
const RATIO_MAX: u32 = 16 * ONE;
const RATIO_MIN: u32 = ONE / 16;
/// The number of pairs that the initial ratio counts as.
const PRIOR_PAIRS: u32 = 2;
/// A new pair has a weight of at least one in this many.
const PAIRS_MAX: u32 = 16;

/// A correction of predictions, learned from pairs of predicted and actual bytes. It always takes twelve bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calibration {
    /// The ratio of actual to predicted bytes, in 1/65,536: 4,096 to 1,048,576.
    ratio: u32,
    /// The mean error of corrected predictions, in 1/65,536 of the larger of prediction and result: at most 65,536.
    error: u32,
    /// The number of learned pairs, up to 14.
    pairs: u32,
}

impl Default for Calibration {
    fn default() -> Self {
        Self { ratio: ONE, error: RULE_ERROR * (ONE / ERROR_ONE), pairs: 0 }
    }
}

impl Calibration {
    /// Learns from one patch: the predicted bytes *before* correction, and the actual bytes. Ignores a pair with 0
    /// bytes on either side.
    pub fn learn(&mut self, predicted: Bytes, actual: Bytes) {
        if predicted.0 == 0 || actual.0 == 0 {
            return;
        }
        let found = u128::from(actual.0) * u128::from(ONE) / u128::from(predicted.0);
        let found = u32::try_from(found).unwrap_or(u32::MAX).clamp(RATIO_MIN, RATIO_MAX);
        let off = u64::from(found.abs_diff(self.ratio)) * u64::from(ONE) / u64::from(found.max(self.ratio));
        let weight = PRIOR_PAIRS + self.pairs + 1;
        self.error = mean(self.error, u32::try_from(off).unwrap_or(ONE), weight);
        self.ratio = mean(self.ratio, found.clamp(self.ratio / 2, self.ratio * 2), weight);
        self.pairs = (self.pairs + 1).min(PAIRS_MAX - PRIOR_PAIRS);
    }

    /// The same correction, which the next pairs change as much as if it were the first.
    #[must_use]
    pub fn restarted(&self) -> Self {
        Self { pairs: 0, ..*self }
    }

    /// Corrects a prediction for a layer of `whole` compressed bytes. The result is at most `whole`. Its expected error
    /// is the larger of the prediction's own error and the mean error of earlier predictions.
    pub fn correct(&self, prediction: Prediction, whole: Bytes) -> Prediction {
        let bytes = u128::from(prediction.bytes.0) * u128::from(self.ratio) / u128::from(ONE);
        let bytes = Bytes(u64::try_from(bytes).unwrap_or(u64::MAX)).min(whole);
        Prediction {
            bytes,
            expected_error: prediction.expected_error.max(ExpectedError(self.error / (ONE / ERROR_ONE))),
        }
    }

    /// The calibration as integers for storage: ratio, error, pairs.
    pub fn to_parts(&self) -> [u32; 3] {
        [self.ratio, self.error, self.pairs]
    }

    /// Restores a calibration from [`Calibration::to_parts`]; `None` for integers out of range.
    pub fn from_parts([ratio, error, pairs]: [u32; 3]) -> Option<Self> {
        let is_right = (RATIO_MIN..=RATIO_MAX).contains(&ratio) && error <= ONE && pairs <= PAIRS_MAX - PRIOR_PAIRS;
        is_right.then_some(Self { ratio, error, pairs })
    }
}

/// The mean of `value` and `new`, where `new` has a weight of one in `weight`. Both values are under 2^21 and the
/// weight is under 2^5, so nothing overflows.
fn mean(value: u32, new: u32, weight: u32) -> u32 {
    (value * (weight - 1) + new + weight / 2) / weight
}

#[cfg(test)]
mod tests;
