//! Corrections of predictions, learned from patches that arrived. Each rule of prediction and each setting of the
//! encoder has a calibration of its own, since they are off by different factors.
//!
//! So has each layer that came by a patch: what was too little for one release of a program mostly is too little for
//! the next one, whose patch reads from that layer. Such a calibration passes from base to target (docs/PREDICTION.md,
//! "Lineages").

use std::collections::BTreeMap;

use lighter_similarity::{Calibration, Prediction};
use lighter_types::{Bytes, DiffId};

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

/// The patches that a calibration comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// All by this rule, of an encoder with these settings.
    Encoder(Rule, u32),
    /// Those that brought this layer, the base that it came from, and so on. Predicted by sketches.
    Lineage(DiffId),
}

/// A pair of its own lineage says more of a layer than one of any other: it counts as so many. Over the lineages of
/// docs/PREDICTION.md one is too few; three and four differ little.
const LINEAGE_WEIGHT: usize = 3;

/// A calibration for each rule and setting, and for each layer that came by a patch.
#[derive(Debug, Default)]
pub struct Calibrations {
    /// At most [`Settings::CALIBRATIONS_MAX`].
    learned: BTreeMap<(Rule, u32), Calibration>,
    /// The settings of the last patch that each rule learned from. The settings of the next patch are known only when
    /// it comes; most fleets use one.
    latest: BTreeMap<Rule, u32>,
    /// By the layer that the last patch brought. At most [`Settings::LINEAGES_MAX`].
    lineages: BTreeMap<DiffId, Calibration>,
}

impl Calibrations {
    /// Learns from one patch: the bytes that `rule` predicted, before any correction, and its actual bytes. Returns the
    /// new calibration.
    pub fn learn(&mut self, rule: Rule, settings: u32, predicted: Bytes, actual: Bytes) -> Calibration {
        let mut calibration = self.learned.get(&(rule, settings)).copied().unwrap_or_default();
        calibration.learn(predicted, actual);
        self.hold(Scope::Encoder(rule, settings), calibration);
        calibration
    }

    /// Learns from a patch that sketches predicted and that brought this layer: what the lineage of its bases taught,
    /// and this patch. Returns the layer's calibration.
    pub fn learn_lineage(&mut self, layer: DiffId, bases: &[DiffId], predicted: Bytes, actual: Bytes) -> Calibration {
        let of_all = || self.latest(Rule::Sketch).map_or_else(Calibration::default, Calibration::restarted);
        let mut calibration = self.lineage(bases).copied().unwrap_or_else(of_all);
        (0..LINEAGE_WEIGHT).for_each(|_| calibration.learn(predicted, actual));
        self.hold(Scope::Lineage(layer), calibration);
        calibration
    }

    /// Keeps a calibration.
    pub fn hold(&mut self, scope: Scope, calibration: Calibration) {
        match scope {
            Scope::Encoder(rule, settings) => self.hold_encoder(rule, settings, calibration),
            Scope::Lineage(layer) => self.hold_lineage(layer, calibration),
        }
    }

    /// The layer is not here any more, and no patch reads from it.
    pub fn forget(&mut self, layer: DiffId) {
        self.lineages.remove(&layer);
    }

    /// Over the cap, another lineage goes.
    fn hold_lineage(&mut self, layer: DiffId, calibration: Calibration) {
        self.lineages.insert(layer, calibration);
        if self.lineages.len() > Settings::LINEAGES_MAX {
            let other = self.lineages.keys().find(|other| **other != layer).copied();
            other.map(|other| self.lineages.remove(&other));
        }
    }

    /// Over the cap, a calibration of other settings than the latest goes.
    fn hold_encoder(&mut self, rule: Rule, settings: u32, calibration: Calibration) {
        self.learned.insert((rule, settings), calibration);
        self.latest.insert(rule, settings);
        if self.learned.len() > Settings::CALIBRATIONS_MAX {
            let other = self.learned.keys().find(|(rule, settings)| self.latest.get(rule) != Some(settings)).copied();
            other.map(|other| self.learned.remove(&other));
        }
    }

    /// A prediction for a layer of `whole` compressed bytes from these bases, corrected by the calibration of their
    /// lineage if sketches gave it, else by that of the latest settings.
    pub fn correct(&self, rule: Rule, prediction: Prediction, whole: Bytes, bases: &[DiffId]) -> Prediction {
        let of_lineage = if rule == Rule::Sketch { self.lineage(bases) } else { None };
        let learned = of_lineage.or_else(|| self.latest(rule));
        learned.map_or(prediction, |calibration| calibration.correct(prediction, whole))
    }

    fn latest(&self, rule: Rule) -> Option<&Calibration> {
        self.latest.get(&rule).and_then(|&settings| self.learned.get(&(rule, settings)))
    }

    /// The first of the bases that has one: bases stand in the order of their use.
    fn lineage(&self, bases: &[DiffId]) -> Option<&Calibration> {
        bases.iter().find_map(|base| self.lineages.get(base))
    }
}

#[cfg(test)]
mod tests {
    use lighter_similarity::ExpectedError;

    use super::*;

    const WHOLE: Bytes = Bytes(1_000_000);

    fn corrected(calibrations: &Calibrations, rule: Rule) -> u64 {
        let prediction = Prediction { bytes: Bytes(1000), expected_error: ExpectedError::NONE };
        calibrations.correct(rule, prediction, WHOLE, &[]).bytes.0
    }

    fn corrected_from(calibrations: &Calibrations, bases: &[DiffId]) -> u64 {
        let prediction = Prediction { bytes: Bytes(1000), expected_error: ExpectedError::NONE };
        calibrations.correct(Rule::Sketch, prediction, WHOLE, bases).bytes.0
    }

    const fn layer(name: u8) -> DiffId {
        DiffId::new([name; 32])
    }

    #[test]
    fn a_lineage_is_corrected_by_what_its_own_patches_were() {
        let mut calibrations = Calibrations::default();
        (0..60).for_each(|_| _ = calibrations.learn(Rule::Sketch, 1, Bytes(1000), Bytes(1000)));
        calibrations.learn_lineage(layer(2), &[layer(1)], Bytes(1000), Bytes(3000));
        assert_eq!(corrected_from(&calibrations, &[layer(1)]), 1000, "the old release taught nothing");
        let once = corrected_from(&calibrations, &[layer(2)]);
        assert!((1800..2300).contains(&once), "{once}");
        calibrations.learn_lineage(layer(3), &[layer(2), layer(9)], Bytes(1000), Bytes(3000));
        let twice = corrected_from(&calibrations, &[layer(9), layer(3)]);
        assert!((2300..2800).contains(&twice), "{twice}");
        assert_eq!(corrected_from(&calibrations, &[layer(2)]), once, "other nodes' releases differ from this one's");
        assert_eq!(corrected(&calibrations, Rule::Sketch), 1000, "and other layers");
    }

    #[test]
    fn a_lineage_begins_with_what_all_patches_taught() {
        let mut calibrations = Calibrations::default();
        (0..60).for_each(|_| _ = calibrations.learn(Rule::Sketch, 1, Bytes(1000), Bytes(500)));
        calibrations.learn_lineage(layer(2), &[layer(1)], Bytes(1000), Bytes(500));
        let bytes = corrected_from(&calibrations, &[layer(2)]);
        assert!((490..=510).contains(&bytes), "{bytes}");
    }

    #[test]
    fn lineages_go_with_their_layers_and_are_not_without_end() {
        let mut calibrations = Calibrations::default();
        calibrations.learn_lineage(layer(2), &[], Bytes(1000), Bytes(3000));
        calibrations.forget(layer(2));
        assert_eq!(corrected_from(&calibrations, &[layer(2)]), 1000);
        for name in 0..=Settings::LINEAGES_MAX as u32 {
            let name = [name.to_be_bytes(); 8].concat().try_into().unwrap();
            calibrations.learn_lineage(DiffId::new(name), &[], Bytes(1000), Bytes(3000));
        }
        assert_eq!(calibrations.lineages.len(), Settings::LINEAGES_MAX);
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
