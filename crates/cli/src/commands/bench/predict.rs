//! `lighter bench predict`: makes a patch of every ordered pair of layers, and compares its bytes with the predictions
//! of TLSH alone and of sketches.
//!
//! Each layer is read once, for its card and its sketch. A cache of patch bytes makes a second run cheap. Scores cover
//! all bases, and those of other packages alone; [`sets`] those of several bases at once.

mod cache;
mod layer;
mod patches;
mod scores;
mod sets;

use std::path::Path;

use lighter_similarity::{Prediction, predict, predict_patch_bytes};

use self::cache::Cache;
use self::layer::Layer;
use self::patches::Patches;
use self::scores::{Case, Score, score};
use self::sets::SetScores;
use super::releases::releases;
use super::tools::{Tool, settings};
use crate::args::BenchEffort;
use crate::exit::{Failure, Kind};
use crate::interrupt::Interrupt;
use crate::output::{Output, right, table};

/// The result. docs/CLI.md has its fields.
#[derive(serde::Serialize)]
struct Report {
    tool: &'static str,
    settings: u32,
    layers: Vec<LayerRow>,
    pairs: Vec<PairRow>,
    scores: Vec<Score>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sets: Option<SetScores>,
}

#[derive(serde::Serialize)]
struct LayerRow {
    name: String,
    layer: String,
    tar_bytes: u64,
    compressed_bytes: u64,
}

#[derive(serde::Serialize)]
struct PairRow {
    target: String,
    base: String,
    patch_bytes: u64,
    tlsh_bytes: u64,
    sketch_bytes: u64,
}

/// A way to predict patch bytes.
#[derive(Clone, Copy)]
enum Predictor {
    Tlsh,
    Sketch,
}

impl Predictor {
    const ALL: [(Self, &'static str); 2] = [(Self::Tlsh, "tlsh"), (Self::Sketch, "sketch")];

    fn predict(self, target: &Layer, base: &Layer) -> Prediction {
        match self {
            Self::Tlsh => predict_patch_bytes(&target.card, Some(&base.card)),
            Self::Sketch => predict(&target.card, Some(&target.sketch), &[(&base.card, Some(&base.sketch))]),
        }
    }
}

pub fn run(
    dir: &Path,
    effort: BenchEffort,
    cache: Option<&Path>,
    with_sets: bool,
    output: &Output,
) -> Result<(), Failure> {
    let releases = releases(dir)?;
    if releases.len() < 2 {
        let message = format!("{} has {} files named *.tar; a pair takes two", dir.display(), releases.len());
        return Err(Failure::new(Kind::Usage, message));
    }
    let settings = settings(effort);
    let cache = Cache::open(cache)?;
    let interrupt = Interrupt::watch()?;
    let mut layers = Vec::new();
    for release in &releases {
        output.say(format!("reading {}", release.path.display()));
        layers.push(Layer::read(release, &interrupt)?);
    }
    let mut patches = Patches { settings: &settings, cache, interrupt: &interrupt, output };
    let actual = each_pair(&layers, &mut patches)?;
    let sets = if with_sets { Some(sets::scores(&layers, &actual, &mut patches)?) } else { None };
    let report = Report {
        tool: Tool::Lighter(effort).name(),
        settings: settings.id(),
        layers: layers.iter().map(LayerRow::new).collect(),
        pairs: pair_rows(&layers, &actual),
        scores: scores(&layers, &actual),
        sets,
    };
    output.value(&report, text)
}

/// Bytes of the patch for each target, from each base; 0 from itself.
fn each_pair(layers: &[Layer], patches: &mut Patches<'_>) -> Result<Vec<Vec<u64>>, Failure> {
    let pairs = layers.len() * (layers.len() - 1);
    let mut done = 0;
    let mut actual = vec![vec![0; layers.len()]; layers.len()];
    for (target, row) in layers.iter().zip(&mut actual) {
        for (base, bytes) in layers.iter().zip(row).filter(|(base, _)| base.path != target.path) {
            done += 1;
            *bytes = patches.bytes(target, &[base], &format!("{done} of {pairs}"))?;
        }
    }
    Ok(actual)
}

/// Both predictors, with every other layer as a base and with those of other packages alone.
fn scores(layers: &[Layer], actual: &[Vec<u64>]) -> Vec<Score> {
    let mut scores = Vec::new();
    for (bases, are_all) in [("all", true), ("other packages", false)] {
        for (predictor, by) in Predictor::ALL {
            let cases = layers.iter().zip(actual).map(|(target, actual)| {
                let others = layers.iter().zip(actual.iter().copied()).filter(|(base, _)| base.path != target.path);
                let usable: Vec<(&Layer, u64)> =
                    others.filter(|(base, _)| are_all || base.package != target.package).collect();
                Case::new(&usable, |base| predictor.predict(target, base))
            });
            scores.push(score(by, bases, &cases.collect::<Vec<_>>()));
        }
    }
    scores
}

fn pair_rows(layers: &[Layer], actual: &[Vec<u64>]) -> Vec<PairRow> {
    let mut rows = Vec::new();
    for (target, actual) in layers.iter().zip(actual) {
        for (base, &patch_bytes) in layers.iter().zip(actual).filter(|(base, _)| base.path != target.path) {
            rows.push(PairRow {
                target: target.name.clone(),
                base: base.name.clone(),
                patch_bytes,
                tlsh_bytes: Predictor::Tlsh.predict(target, base).bytes.0,
                sketch_bytes: Predictor::Sketch.predict(target, base).bytes.0,
            });
        }
    }
    rows
}

impl LayerRow {
    fn new(layer: &Layer) -> Self {
        Self {
            name: layer.name.clone(),
            layer: layer.card.diff_id.to_string(),
            tar_bytes: layer.card.tar_bytes.0,
            compressed_bytes: layer.card.compressed_bytes.0,
        }
    }
}

fn text(report: &Report) -> String {
    let mut pairs = table(&["target", "base", "patch bytes", "by TLSH", "by sketch"]);
    for row in &report.pairs {
        let numbers = [row.patch_bytes, row.tlsh_bytes, row.sketch_bytes].map(right);
        pairs.add_row([vec![row.target.as_str().into(), row.base.as_str().into()], numbers.to_vec()].concat());
    }
    let mut scores = table(&[
        "bases",
        "by",
        "pairs",
        "median error",
        "worst error",
        "worst factor",
        "rank correlation",
        "regret",
        "worst regret",
    ]);
    for score in &report.scores {
        scores.add_row([
            score.bases.into(),
            score.by.into(),
            right(score.pairs),
            right(percent(score.error_median)),
            right(percent(score.error_worst)),
            right(number(score.factor_worst)),
            right(number(score.spearman_mean)),
            right(number(score.regret_mean)),
            right(number(score.regret_worst)),
        ]);
    }
    let sets = report.sets.as_ref().map(|sets| format!("\n\n{}", sets.text())).unwrap_or_default();
    format!("{pairs}\n\npatches by {}, predicted:\n{scores}{sets}", report.tool)
}

fn percent(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{:.1} %", 100.0 * value))
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"))
}
