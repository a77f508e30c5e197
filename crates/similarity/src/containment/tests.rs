//! Estimates for sets with known shares, within the sampling error.

use super::*;
use crate::sketch::tests::{noise, sketch};
use crate::sketch::{MASKED_SAMPLES_MAX, Sketch};

/// A sketch of pieces of noise, given as seed and length in KB. Pieces of the same seed have the same bytes.
fn pieces(pieces: &[(u64, usize)]) -> Sketch {
    sketch(&pieces.iter().flat_map(|&(seed, kilobytes)| noise(seed, kilobytes << 10)).collect::<Vec<_>>())
}

fn missing_parts(target: &Sketch, bases: &[&Sketch]) -> u64 {
    let masked: Vec<&Samples> = bases.iter().map(|base| base.masked().samples).collect();
    missing(target.masked().samples, &masked).parts
}

/// The missing share must be this many thousandths, within four standard deviations for this number of samples.
fn check(target: &Sketch, bases: &[&Sketch], thousandths: u64, samples: usize) {
    let share = missing_parts(target, bases) as f64 / WHOLE_PARTS as f64;
    let expected = thousandths as f64 / 1000.0;
    let deviation = (expected * (1.0 - expected) / samples as f64).sqrt() + 1.0 / samples as f64;
    assert!((share - expected).abs() < 4.0 * deviation, "{share} is not {expected} within 4 x {deviation}");
}

#[test]
fn shares_are_estimated_from_one_base() {
    for new in [0, 10, 50, 200, 500, 900, 1000] {
        for round in 1..=4 {
            let target = pieces(&[(round, 1000 - new), (100 + round, new)]);
            let base = pieces(&[(round, 1000 - new), (200 + round, new)]);
            check(&target, &[&base], new as u64, MASKED_SAMPLES_MAX);
        }
    }
}

#[test]
fn shares_are_estimated_from_a_union() {
    let target = pieces(&[(1, 400), (2, 400), (3, 200)]);
    let (one, other) = (pieces(&[(1, 400), (4, 600)]), pieces(&[(2, 400), (5, 600)]));
    check(&target, &[&one], 600, MASKED_SAMPLES_MAX);
    check(&target, &[&one, &other], 200, MASKED_SAMPLES_MAX);
    // Contents that several bases share count once.
    check(&target, &[&one, &one, &one], 600, MASKED_SAMPLES_MAX);
    let foreign: Vec<Sketch> = (10..17).map(|seed| pieces(&[(seed, 1000)])).collect();
    let bases: Vec<&Sketch> = foreign.iter().chain([&one]).collect();
    check(&target, &bases, 600, MASKED_SAMPLES_MAX / 2);
}

#[test]
fn a_larger_base_is_as_good_within_its_fewer_samples() {
    let target = pieces(&[(1, 400), (2, 100)]);
    check(&target, &[&pieces(&[(1, 400), (3, 4600)])], 200, MASKED_SAMPLES_MAX / 14);
    check(&target, &[&pieces(&[(1, 400), (2, 100), (3, 4500)])], 0, MASKED_SAMPLES_MAX / 14);
    // A base that is a hundred times as large has too few samples of the target. The estimate must be cautious.
    let speck = pieces(&[(7, 30)]);
    assert!(missing_parts(&speck, &[&pieces(&[(3, 6000)])]) > WHOLE_PARTS / 2);
}

#[test]
fn a_large_base_does_not_blur_the_result_of_a_small_base() {
    let target = pieces(&[(1, 990), (2, 10)]);
    let (previous, large) = (pieces(&[(1, 990)]), pieces(&[(3, 20_000)]));
    check(&target, &[&previous, &large], 10, MASKED_SAMPLES_MAX);
}

#[test]
fn the_order_of_bases_does_not_matter() {
    let target = pieces(&[(1, 400), (2, 400), (3, 200)]);
    let bases = [pieces(&[(1, 400)]), pieces(&[(2, 390), (9, 10)]), pieces(&[(3, 100), (4, 3000)])];
    let [one, two, three] = &bases;
    let expected = missing_parts(&target, &[one, two, three]);
    for order in [[one, three, two], [two, one, three], [two, three, one], [three, one, two], [three, two, one]] {
        assert_eq!(missing_parts(&target, &order), expected);
    }
}

#[test]
fn without_bases_or_samples_all_is_missing() {
    let (target, empty) = (pieces(&[(1, 100)]), sketch(b""));
    assert_eq!(missing_parts(&target, &[]), WHOLE_PARTS);
    assert_eq!(missing_parts(&target, &[&empty]), WHOLE_PARTS);
    assert_eq!(missing_parts(&empty, &[&target]), WHOLE_PARTS);
}
