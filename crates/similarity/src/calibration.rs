//! What a node learns from its own patches: how far predictions of one codec at one effort are off.
//!
//! A running mean of actual over predicted bytes. Early pairs count for more, one pair never for more than a factor of
//! two, old ones are forgotten with a weight of 1/16 for each new one. Keep one for each codec and effort.

use lighter_types::Bytes;

use crate::predict::{ExpectedError, Prediction};
use crate::sketched::RULE_ERROR;

/// Fine enough that a step of 1/16 is not lost in rounding.
const ONE: u32 = 1 << 16;
/// Of an [`ExpectedError`].
const ERROR_ONE: u32 = 1024;
/// Corrections stay between 1/16 and 16: beyond, something else is wrong.
const RATIO_MAX: u32 = 16 * ONE;
const RATIO_MIN: u32 = ONE / 16;
/// How many pairs the prior counts for.
const PRIOR_PAIRS: u32 = 2;
/// A new pair counts for at least one in this many.
const PAIRS_MAX: u32 = 16;

/// A correction of predictions, learned from pairs of predicted and actual bytes. Twelve bytes, whatever it saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calibration {
    /// Actual over predicted, in 1/65,536: 4,096 to 1,048,576.
    ratio: u32,
    /// Mean of what a corrected prediction was off by, in 1/65,536 of the larger of both: at most 65,536.
    error: u32,
    /// Pairs seen, up to 14.
    pairs: u32,
}

impl Default for Calibration {
    fn default() -> Self {
        Self { ratio: ONE, error: RULE_ERROR * (ONE / ERROR_ONE), pairs: 0 }
    }
}

impl Calibration {
    /// Learns from one patch: what was predicted *before* correction, and what it came to. A pair with 0 bytes on
    /// either side says nothing.
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

    /// A prediction for `whole` compressed bytes, corrected: at most those. Its expected error is the larger of its own
    /// and of what earlier ones were off by.
    pub fn correct(&self, prediction: Prediction, whole: Bytes) -> Prediction {
        let bytes = u128::from(prediction.bytes.0) * u128::from(self.ratio) / u128::from(ONE);
        let bytes = Bytes(u64::try_from(bytes).unwrap_or(u64::MAX)).min(whole);
        Prediction { bytes, sure: prediction.sure.max(ExpectedError(self.error / (ONE / ERROR_ONE))) }
    }

    /// As plain integers, to be stored: ratio, error, pairs.
    pub fn to_parts(&self) -> [u32; 3] {
        [self.ratio, self.error, self.pairs]
    }

    /// From [`Calibration::to_parts`]; `None` for what that never gives.
    pub fn from_parts([ratio, error, pairs]: [u32; 3]) -> Option<Self> {
        let is_right = (RATIO_MIN..=RATIO_MAX).contains(&ratio) && error <= ONE && pairs <= PAIRS_MAX - PRIOR_PAIRS;
        is_right.then_some(Self { ratio, error, pairs })
    }
}

/// `value` brought nearer to `new`, which counts for one in `weight`. Both are under 2^21 and a weight under 2^5.
fn mean(value: u32, new: u32, weight: u32) -> u32 {
    (value * (weight - 1) + new + weight / 2) / weight
}

#[cfg(test)]
mod tests;
