//! The corrections that a calibration learns, and their limits.

use proptest::prelude::*;

use super::*;

const WHOLE: Bytes = Bytes(u64::MAX);

fn prediction(bytes: u64) -> Prediction {
    Prediction { bytes: Bytes(bytes), expected_error: ExpectedError(100) }
}

#[test]
fn a_new_calibration_changes_no_prediction() {
    let corrected = Calibration::default().correct(prediction(5000), WHOLE);
    assert_eq!(corrected, Prediction { bytes: Bytes(5000), expected_error: ExpectedError(RULE_ERROR) });
}

#[test]
fn a_constant_factor_is_learned_and_the_error_shrinks() {
    for (predicted, actual) in [(1000, 1300), (1000, 700), (1000, 4000), (1000, 250)] {
        let mut calibration = Calibration::default();
        for _ in 0..60 {
            calibration.learn(Bytes(predicted), Bytes(actual));
        }
        let corrected = calibration.correct(prediction(predicted), WHOLE);
        assert!(corrected.bytes.0.abs_diff(actual) <= actual / 20, "{corrected:?} is not {actual}");
        assert!(corrected.expected_error <= ExpectedError(128), "{corrected:?}");
    }
}

#[test]
fn one_wild_pair_changes_little() {
    let mut calibration = Calibration::default();
    for _ in 0..20 {
        calibration.learn(Bytes(1000), Bytes(1000));
    }
    for actual in [1, u64::MAX] {
        let mut calibration = calibration;
        calibration.learn(Bytes(1000), Bytes(actual));
        let bytes = calibration.correct(prediction(1000), WHOLE).bytes.0;
        assert!((950..1100).contains(&bytes), "{bytes}");
    }
}

#[test]
fn a_varying_factor_keeps_a_large_error() {
    let mut calibration = Calibration::default();
    for actual in [500, 2000].into_iter().cycle().take(40) {
        calibration.learn(Bytes(1000), Bytes(actual));
    }
    assert!(calibration.correct(prediction(1000), WHOLE).expected_error > ExpectedError(300));
}

#[test]
fn never_more_than_the_whole_layer() {
    let mut calibration = Calibration::default();
    calibration.learn(Bytes(1000), Bytes(2000));
    assert_eq!(calibration.correct(prediction(5000), Bytes(5100)).bytes, Bytes(5100));
}

#[test]
fn parts_out_of_range_are_refused() {
    for parts in [[4095, 0, 0], [1_048_577, 0, 0], [65_536, 65_537, 0], [65_536, 0, 15]] {
        assert_eq!(Calibration::from_parts(parts), None);
    }
}

proptest! {
    #[test]
    fn parts_go_round_and_stay_in_range(pairs in prop::collection::vec(any::<(u64, u64)>(), 0..50)) {
        let mut calibration = Calibration::default();
        for (predicted, actual) in pairs {
            calibration.learn(Bytes(predicted), Bytes(actual));
            prop_assert_eq!(Calibration::from_parts(calibration.to_parts()), Some(calibration));
            prop_assert!(calibration.correct(prediction(predicted), Bytes(actual)).bytes.0 <= actual);
        }
    }
}
