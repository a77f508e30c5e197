//! Scores of predictions: their errors, how well they order the bases of a target, and the cost of following them.

use std::cmp::Reverse;

use lighter_similarity::Prediction;
use serde::Serialize;

use super::super::statistics::{largest, mean, median, regret, spearman};
use super::layer::Layer;

/// A target: predicted and actual bytes of the patch from each base, and the base that the planner chooses.
pub struct Case {
    predicted_actual: Vec<(u64, u64)>,
    chosen: Option<usize>,
}

impl Case {
    /// The choice is the planner's: fewest predicted bytes, then the surer, then the larger base, then the lower
    /// DiffId.
    pub fn new(bases: &[(&Layer, u64)], predict: impl Fn(&Layer) -> Prediction) -> Self {
        let predictions: Vec<Prediction> = bases.iter().map(|(base, _)| predict(base)).collect();
        let chosen = (0..bases.len()).min_by_key(|&index| {
            let card = &bases[index].0.card;
            (predictions[index], Reverse(card.tar_bytes), card.diff_id)
        });
        let actual = bases.iter().map(|(_, actual)| *actual);
        let predicted_actual = predictions.iter().map(|prediction| prediction.bytes.0).zip(actual).collect();
        Self { predicted_actual, chosen }
    }
}

/// One predictor, with one choice of bases.
#[derive(Debug, Serialize)]
pub struct Score {
    pub by: &'static str,
    pub bases: &'static str,
    pub pairs: usize,
    /// Median and worst of |predicted / actual - 1|.
    pub error_median: Option<f64>,
    pub error_worst: Option<f64>,
    /// Worst of the larger over the smaller of both.
    pub factor_worst: Option<f64>,
    /// Mean over targets.
    pub spearman_mean: Option<f64>,
    /// Actual bytes from the chosen base over those from the best, over targets.
    pub regret_mean: Option<f64>,
    pub regret_worst: Option<f64>,
}

pub fn score(by: &'static str, bases: &'static str, cases: &[Case]) -> Score {
    let pairs: Vec<(u64, u64)> = cases.iter().flat_map(|case| case.predicted_actual.iter().copied()).collect();
    let ratios: Vec<f64> =
        pairs.iter().map(|&(predicted, actual)| predicted.max(1) as f64 / actual.max(1) as f64).collect();
    let errors: Vec<f64> = ratios.iter().map(|ratio| (ratio - 1.0).abs()).collect();
    let regrets: Vec<f64> = cases
        .iter()
        .filter_map(|case| {
            let actual: Vec<u64> = case.predicted_actual.iter().map(|(_, actual)| *actual).collect();
            regret(&actual, case.chosen?)
        })
        .collect();
    Score {
        by,
        bases,
        pairs: pairs.len(),
        error_median: median(errors.iter().copied()),
        error_worst: largest(errors.iter().copied()),
        factor_worst: largest(ratios.iter().map(|ratio| ratio.max(1.0 / ratio))),
        spearman_mean: mean(cases.iter().filter_map(|case| spearman(&case.predicted_actual))),
        regret_mean: mean(regrets.iter().copied()),
        regret_worst: largest(regrets.iter().copied()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_sum_up_the_targets() {
        let cases = [
            Case { predicted_actual: vec![(110, 100), (50, 200), (300, 300)], chosen: Some(1) },
            Case { predicted_actual: vec![(80, 100), (160, 200)], chosen: Some(0) },
            Case { predicted_actual: Vec::new(), chosen: None },
        ];
        let score = score("tlsh", "all", &cases);
        assert_eq!(score.pairs, 5);
        // Errors: 0.1, 0.75, 0, 0.2, 0.2. Ranks 1, 0, 2 against 0, 1, 2: 0.5; and 1.
        for (found, expected) in [
            (score.error_median, 0.2),
            (score.error_worst, 0.75),
            (score.factor_worst, 4.0),
            (score.spearman_mean, 0.75),
            (score.regret_mean, 1.5),
            (score.regret_worst, 2.0),
        ] {
            assert!(found.is_some_and(|found| (found - expected).abs() < 1e-9), "{score:?}, expected {expected}");
        }
    }
}
