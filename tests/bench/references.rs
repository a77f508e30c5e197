//! References of executables: the rate at which they are found in the old files and written as they are in the new
//! ones, on one core. Both ends of a patch do that.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, ensure};
use lighter_patch::{Settings, Source};
use lighter_types::DiffId;

use crate::Bencher;
use crate::report::{Row, Section, median};

/// The promise, and the goal, in MB of executables a second.
const RATE: f64 = 200.0;
const RATE_GOAL: f64 = 500.0;
/// Layers of the corpus that are executables: Rust, C++ and Go, for x86-64 and AArch64.
const LAYERS: [&str; 8] = ["ruff", "ruffarm", "onnx", "onnxarm", "duckdb", "lefthook", "esbuild", "esbuildarm"];

pub fn run(bencher: &Bencher, section: &mut Section) -> Result<()> {
    for layer in LAYERS {
        match bencher.inputs.releases(layer)? {
            Some(releases) => section.add(measure(layer, releases.each_ref().map(AsRef::as_ref), bencher.runs)?),
            None => section.skip(&format!("{layer} is not in the corpus")),
        }
    }
    Ok(())
}

fn measure(layer: &str, releases: [&Path; 2], runs: u32) -> Result<Row> {
    let [old, new] =
        releases.map(|file| std::fs::read(file).with_context(|| format!("cannot read {}", file.display())));
    let (old, new) = (old?, new?);
    let target = Source { diff_id: DiffId::new([1; 32]), bytes: &new };
    let base = Source { diff_id: DiffId::new([2; 32]), bytes: &old };
    let patch = lighter_patch::encode(&target, &[base], &Settings::default(), &|_| ControlFlow::Continue(()))?;
    let first = patch.payloads.first().context("a patch without frames")?;
    let map = lighter_delta::moves(first).map_err(|error| anyhow!("the first frame of {layer}: {error:?}"))?;
    let bytes: u64 = map.files.iter().map(|file| file.old.end - file.old.start).sum();
    ensure!(bytes > 0, "no executable of {layer} has references");
    let seconds = (0..runs).map(|_| {
        let mut rewritten = old.clone();
        let started = Instant::now();
        map.predict(0, &mut rewritten);
        started.elapsed().as_secs_f64()
    });
    let rate = bytes as f64 / 1e6 / median(seconds);
    let figure = format!("{layer}: references found and written anew, one core");
    Ok(Row::new(figure, rate, "MB/s").at_least(RATE).goal(RATE_GOAL).note(format!("{bytes} bytes of executables")))
}
