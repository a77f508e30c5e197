//! Corrections of predictions, learned from patches that arrived. Each rule of prediction and each setting of the
//! encoder has a calibration of its own, since they are off by different factors.

use std::collections::BTreeMap;

use lighter_similarity::{Calibration, Prediction};
use lighter_types::Bytes;

use crate::settings::Settings;

/// The source of a prediction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// Two cards.
    Tlsh,
    /// Sketches here.
    Sketch,
    /// The quote of a provider, for a layer whose sketch is not here.
    Quote,
}

/// A calibration for each rule and setting.
#[derive(Debug, Default)]
pub struct Calibrations {
    /// At most [`Settings::CALIBRATIONS_MAX`].
    learned: BTreeMap<(Rule, u32), Calibration>,
    /// The settings of the last patch that each rule learned from. The settings of the next patch are known only when
    /// it comes; most fleets use one.
    latest: BTreeMap<Rule, u32>,
}

impl Calibrations {
    /// Learns from one patch: the bytes that `rule` predicted, before any correction, and its actual bytes. Returns the
    /// new calibration.
    pub fn learn(&mut self, rule: Rule, settings: u32, predicted: Bytes, actual: Bytes) -> Calibration {
        let mut calibration = self.learned.get(&(rule, settings)).copied().unwrap_or_default();
        calibration.learn(predicted, actual);
        self.hold(rule, settings, calibration);
        calibration
    }

    /// Keeps a calibration. Over the cap, a calibration of other settings than the latest goes.
    pub fn hold(&mut self, rule: Rule, settings: u32, calibration: Calibration) {
        self.learned.insert((rule, settings), calibration);
        self.latest.insert(rule, settings);
        if self.learned.len() > Settings::CALIBRATIONS_MAX {
            let other = self.learned.keys().find(|(rule, settings)| self.latest.get(rule) != Some(settings)).copied();
            other.map(|other| self.learned.remove(&other));
        }
    }

    /// A prediction for a layer of `whole` compressed bytes, corrected by the calibration of the latest settings.
    pub fn correct(&self, rule: Rule, prediction: Prediction, whole: Bytes) -> Prediction {
        let learned = self.latest.get(&rule).and_then(|&settings| self.learned.get(&(rule, settings)));
        learned.map_or(prediction, |calibration| calibration.correct(prediction, whole))
    }
}

#[cfg(test)]
mod tests {
    use lighter_similarity::ExpectedError;

    use super::*;

    const WHOLE: Bytes = Bytes(1_000_000);

    fn corrected(calibrations: &Calibrations, rule: Rule) -> u64 {
        let prediction = Prediction { bytes: Bytes(1000), expected_error: ExpectedError::NONE };
        calibrations.correct(rule, prediction, WHOLE).bytes.0
    }

    #[test]
    fn each_rule_learns_for_itself() {
        let mut calibrations = Calibrations::default();
        (0..60).for_each(|_| _ = calibrations.learn(Rule::Tlsh, 1, Bytes(1000), Bytes(280)));
        (0..60).for_each(|_| _ = calibrations.learn(Rule::Sketch, 1, Bytes(1000), Bytes(1100)));
        assert!((270..=330).contains(&corrected(&calibrations, Rule::Tlsh)));
        assert!((1080..=1110).contains(&corrected(&calibrations, Rule::Sketch)));
        assert_eq!(corrected(&calibrations, Rule::Quote), 1000);
    }

    #[test]
    fn each_setting_learns_for_itself_and_the_latest_counts() {
        let mut calibrations = Calibrations::default();
        (0..20).for_each(|_| _ = calibrations.learn(Rule::Sketch, 1, Bytes(1000), Bytes(500)));
        calibrations.learn(Rule::Sketch, 2, Bytes(1000), Bytes(1000));
        assert_eq!(corrected(&calibrations, Rule::Sketch), 1000);
        calibrations.learn(Rule::Sketch, 1, Bytes(1000), Bytes(500));
        assert!(corrected(&calibrations, Rule::Sketch) < 600);
    }

    #[test]
    fn patches_of_ever_new_settings_are_not_remembered_for_ever() {
        let mut calibrations = Calibrations::default();
        (0..999).for_each(|settings| _ = calibrations.learn(Rule::Sketch, settings, Bytes(1000), Bytes(2000)));
        assert_eq!(calibrations.learned.len(), Settings::CALIBRATIONS_MAX);
        assert!(corrected(&calibrations, Rule::Sketch) > 1000, "the latest is kept");
    }

    #[test]
    fn absurd_pairs_do_not_overflow() {
        let mut calibrations = Calibrations::default();
        calibrations.learn(Rule::Quote, 0, Bytes(u64::MAX), Bytes(1));
        calibrations.learn(Rule::Quote, 0, Bytes(1), Bytes(u64::MAX));
        calibrations.learn(Rule::Quote, 0, Bytes(0), Bytes(u64::MAX));
        assert!(corrected(&calibrations, Rule::Quote) <= WHOLE.0);
    }
}
