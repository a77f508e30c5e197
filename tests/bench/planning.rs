//! Planning in a large fleet: runs the example `planning` of the engine and reads its output.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::Bencher;
use crate::process;
use crate::report::{Row, Section, median};

/// The promise for planning with 10,000 peers of 50 layers, in milliseconds.
const PLANNING_MS: f64 = 5.0;
/// The names of the cases in the example's output.
const CASES: [&str; 4] = [
    "a layer held by as many as any other, by TLSH",
    "a layer held by everybody, by TLSH",
    "a layer held by as many as any other, by sketches",
    "a layer held by everybody, by sketches",
];

pub fn run(bencher: &Bencher, section: &mut Section) -> Result<()> {
    if !process::is_there("cargo") {
        section.skip("planning: it is an example of the engine, which cargo runs, and there is no cargo");
        return Ok(());
    }
    let example = || {
        let mut command = Command::new("cargo");
        command.current_dir(env!("CARGO_MANIFEST_DIR"));
        command.args(["run", "--release", "--quiet", "-p", "lighter-engine", "--example", "planning"]);
        process::output(&mut command)
    };
    let printed = (0..bencher.runs).map(|_| example()).collect::<Result<Vec<_>>>()?;
    for case in CASES {
        let of = |figure: &str| {
            let values = printed.iter().map(|text| value(text, case, figure)).collect::<Result<Vec<_>>>()?;
            Ok::<f64, anyhow::Error>(median(values))
        };
        let planning = of("planning, median of 101:")?;
        section.add(Row::new(format!("{case}: planning"), planning, "ms").at_most(PLANNING_MS));
        let announcing = of("a full announcement, median:")?;
        section.add(Row::new(format!("{case}: processing an announcement"), announcing, "ms"));
        section.add(Row::new(format!("{case}: memory per known peer"), of("memory per known peer:")?, "bytes"));
    }
    Ok(())
}

/// The value of a figure of a case: a duration in milliseconds, or a number.
fn value(printed: &str, case: &str, figure: &str) -> Result<f64> {
    let missing = || format!("{figure} of {case} is not in:\n{printed}");
    let of_case = printed.split_once(case).with_context(missing)?.1;
    let text = of_case.lines().find_map(|line| line.trim().strip_prefix(figure)).with_context(missing)?.trim();
    let units = [("ns", 1e-6), ("µs", 1e-3), ("ms", 1.0), (" bytes", 1.0), ("s", 1e3)];
    let (number, scale) =
        units.iter().find_map(|&(unit, scale)| Some((text.strip_suffix(unit)?, scale))).with_context(missing)?;
    Ok(number.parse::<f64>().with_context(missing)? * scale)
}
