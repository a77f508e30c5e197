//! Measures the error of predictions on real layers: `predict_corpus DIR ACTUAL.json`.
//!
//! Makes the sketch of every `*.tar` in DIR. Prints predicted and actual bytes for each ordered pair in ACTUAL.json,
//! then a summary of the errors, and the cost of choosing bases by the predictions.
//!
//! ACTUAL.json is one object of numbers:
//! - `"base>target"`: the bytes of a patch by a quick codec,
//!   `zstd -3 --single-thread --long=27 --patch-from=base.tar target.tar`;
//! - `"gzip>target"`: the bytes of `gzip -6 -n`;
//! - `"engine:base>target"`: the bytes of a patch by Lighter, with a summary of their own.
//!
//! The choice of bases is judged if the quick codec has all pairs.
//!
//! A [`Calibration`] learns from the pairs of the quick codec, as a node would. "Calibrated" predictions are corrected
//! by the earlier pairs.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a program that measures reads files and clocks"
)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::Path;

use lighter_similarity::{
    Calibration, Prediction, Sketch, SketchBuilder, TlshHasher, choose_bases, predict, rank_bases,
};
use lighter_types::{Bytes, Card, DiffId};

struct Layer {
    name: String,
    card: Card,
    sketch: Sketch,
}

type Actual = BTreeMap<String, u64>;

fn main() {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    let [dir, actual] = &paths[..] else { panic!("usage: predict_corpus DIR ACTUAL.json") };
    let actual: Actual = serde_json::from_slice(&std::fs::read(actual).unwrap()).unwrap();
    let mut tars: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    tars.retain(|path| path.extension().is_some_and(|extension| extension == "tar"));
    tars.sort();
    let layers: Vec<Layer> = tars.iter().map(|path| layer(path, &actual)).collect();
    for Layer { name, card, sketch } in &layers {
        println!(
            "layer {name}: {} bytes, {} compressed, {} of contents, {} windows, {} entries, sketch of {} bytes",
            card.tar_bytes.0,
            card.compressed_bytes.0,
            sketch.content_bytes(),
            sketch.distinct_windows(),
            sketch.entries(),
            sketch.to_bytes().len(),
        );
    }
    pairs_of_engine(&layers, &actual);
    pairs_of_codec(&layers, &actual);
    let all = layers.iter().flat_map(|base| layers.iter().map(move |target| (base, target)));
    let mut others = all.filter(|(base, target)| base.name != target.name);
    if others.all(|(base, target)| actual.contains_key(&format!("{}>{}", base.name, target.name))) {
        regret(&layers, &actual);
    }
}

fn layer(path: &Path, actual: &Actual) -> Layer {
    let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
    let bytes = std::fs::read(path).unwrap();
    let mut builder = SketchBuilder::new();
    builder.push(&bytes);
    let mut tlsh = TlshHasher::new();
    tlsh.update(&bytes);
    let mut id = [0; 32];
    id.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
    let card = Card {
        diff_id: DiffId::new(id),
        tar_bytes: Bytes(bytes.len() as u64),
        compressed_bytes: Bytes(actual[&format!("gzip>{name}")]),
        tlsh: tlsh.finish(),
    };
    Layer { name, card, sketch: builder.finish() }
}

fn predicted(target: &Layer, base: &Layer) -> Prediction {
    predict(&target.card, Some(&target.sketch), &[(&base.card, Some(&base.sketch))])
}

/// All ordered pairs with their actual bytes.
fn pairs<'a>(layers: &'a [Layer], actual: &Actual, prefix: &str) -> Vec<(&'a Layer, &'a Layer, u64)> {
    let all = layers.iter().flat_map(|target| layers.iter().map(move |base| (base, target)));
    all.filter_map(|(base, target)| {
        let bytes = *actual.get(&format!("{prefix}{}>{}", base.name, target.name))?;
        (base.name != target.name).then_some((base, target, bytes))
    })
    .collect()
}

fn show(base: &Layer, target: &Layer, prediction: Prediction, bytes: u64) -> f64 {
    let ratio = prediction.bytes.0 as f64 / bytes as f64;
    println!(
        "  {} > {}: predicted {}, actual {bytes}, {ratio:.3}, expected error {:.2}",
        base.name,
        target.name,
        prediction.bytes.0,
        f64::from(prediction.expected_error.0) / 1024.0,
    );
    ratio
}

fn pairs_of_engine(layers: &[Layer], actual: &Actual) {
    println!("pairs of our engine");
    let pairs = pairs(layers, actual, "engine:");
    let ratios = pairs.iter().map(|&(base, target, bytes)| show(base, target, predicted(target, base), bytes));
    sum_up("our engine", ratios.collect());
}

fn pairs_of_codec(layers: &[Layer], actual: &Actual) {
    println!("pairs of the quick codec");
    let mut calibration = Calibration::default();
    let mut raw = Vec::new();
    let mut calibrated = Vec::new();
    for (base, target, bytes) in pairs(layers, actual, "") {
        let prediction = predicted(target, base);
        raw.push(show(base, target, prediction, bytes));
        let corrected = calibration.correct(prediction, target.card.compressed_bytes);
        calibrated.push(corrected.bytes.0 as f64 / bytes as f64);
        calibration.learn(prediction.bytes, Bytes(bytes));
    }
    sum_up("quick codec", raw);
    sum_up("quick codec, calibrated", calibrated);
    println!("calibration: {:?}", calibration.to_parts());
}

fn sum_up(what: &str, ratios: Vec<f64>) {
    let mut errors: Vec<f64> = ratios.iter().map(|ratio| (ratio - 1.0).abs()).collect();
    let mut factors: Vec<f64> = ratios.iter().map(|ratio| ratio.max(1.0 / ratio)).collect();
    errors.sort_by(f64::total_cmp);
    factors.sort_by(f64::total_cmp);
    let Some(worst) = factors.last() else { return };
    println!(
        "{what}: {} pairs, median error {:.1} %, worst factor {worst:.2}",
        errors.len(),
        100.0 * errors[errors.len() / 2],
    );
}

/// Prints the regret of choosing a base by prediction: the actual bytes from that base divided by the actual bytes from
/// the best base. Does this for sketches and TLSH, among all layers and without other releases of the same software.
fn regret(layers: &[Layer], actual: &Actual) {
    for without_own in [false, true] {
        let mut regrets = [const { Vec::new() }; 2];
        for target in layers {
            let family = |layer: &Layer| layer.name.rsplit_once("-r").map(|(family, _)| family.to_owned());
            let is_usable =
                |base: &&Layer| base.name != target.name && !(without_own && family(base) == family(target));
            let bases: Vec<&Layer> = layers.iter().filter(is_usable).collect();
            let bytes = |index: usize| actual[&format!("{}>{}", bases[index].name, target.name)] as f64;
            let best = (0..bases.len()).map(bytes).fold(f64::INFINITY, f64::min);
            let pool: Vec<_> = bases.iter().map(|base| (&base.card, Some(&base.sketch))).collect();
            let by_sketch = (0..pool.len()).min_by_key(|&index| predicted(target, bases[index])).unwrap();
            let ranked = rank_bases(&target.card, bases.iter().map(|base| &base.card), 1);
            let by_tlsh = bases.iter().position(|base| base.card == *ranked[0].base).unwrap();
            for (regrets, index) in regrets.iter_mut().zip([by_sketch, by_tlsh]) {
                regrets.push(bytes(index) / best);
            }
            let chosen = choose_bases(&target.card, Some(&target.sketch), &pool, 4);
            let names: Vec<&str> = chosen.indices.iter().map(|&index| &*bases[index].name).collect();
            println!(
                "  {}: by sketch {}, regret {:.3}; set {names:?}, {} bytes",
                target.name,
                bases[by_sketch].name,
                bytes(by_sketch) / best,
                chosen.prediction.bytes.0,
            );
        }
        for (regrets, by) in regrets.iter().zip(["sketch", "TLSH"]) {
            let mean = regrets.iter().sum::<f64>() / regrets.len() as f64;
            let worst = regrets.iter().copied().fold(0.0, f64::max);
            let among = if without_own { "without own releases" } else { "among all" };
            println!("regret by {by}, {among}: mean {mean:.3}, worst {worst:.3}");
        }
    }
}
