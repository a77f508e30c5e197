//! `lighter sim`: a rollout in virtual time. Reports go to stdout, progress to stderr.

mod compare;
mod measure;
mod summary;

use std::ops::ControlFlow;
use std::path::Path;

use lighter_sim::{Report, SCHEMA, Scenario, ScenarioError};
use serde_json::Value;

use crate::args::SimCommand;
use crate::commands::patch::REPORT_BUG;
use crate::exit::{Failure, Kind};
use crate::interrupt::{Interrupt, cancelled};
use crate::output::Output;
use crate::progress::{Progress, duration};

/// The hint for a file that is not a report.
const REPORT_HINT: &str = "`lighter sim run --output json` prints a report";

pub fn run(command: SimCommand, output: &Output) -> Result<(), Failure> {
    match command {
        SimCommand::Run { scenario, seed, html } => simulate(&scenario, seed, html.as_deref(), output),
        SimCommand::Measure { images, out } => measure::run(&images, out.as_deref(), output),
        SimCommand::Compare { a, b } => compare::run(&a, &b, output),
        SimCommand::Replay { scenario, report } => replay(&scenario, &report, output),
    }
}

fn simulate(path: &Path, seed: Option<u64>, html: Option<&Path>, output: &Output) -> Result<(), Failure> {
    let scenario = read(path)?;
    let seed = seed.unwrap_or(scenario.seed);
    let report = ran(&scenario, seed, output)?;
    if let Some(html) = html {
        write_page(html, &report, output)?;
    }
    output.value(&report, summary::text)?;
    check(&report, Some(format!("lighter sim run {} --seed {seed}", path.display())))
}

pub fn write_page(path: &Path, report: &Report, output: &Output) -> Result<(), Failure> {
    std::fs::write(path, lighter_sim::page(report)).map_err(|error| Failure::file("write", path, &error))?;
    output.say(format!("the page is {}", path.display()));
    Ok(())
}

/// A report for people.
pub fn summary(report: &Report) -> String {
    summary::text(report)
}

/// Fails if a run broke an invariant, was interrupted, or missed an expectation. `replay` is the command that repeats
/// it.
pub fn check(report: &Report, replay: Option<String>) -> Result<(), Failure> {
    if let Some(violated) = report.strategies.iter().flat_map(|strategy| &strategy.violations).next() {
        let failure = Failure::new(Kind::Other, format!("the run broke an invariant: {violated}"));
        return Err(match replay {
            Some(replay) => failure.hint(format!("{REPORT_BUG}; `{replay}` repeats the run")),
            None => failure.hint(REPORT_BUG),
        });
    }
    if report.strategies.iter().any(|strategy| strategy.is_partial) {
        return Err(cancelled());
    }
    let Some(missed) = report.missed.first() else { return Ok(()) };
    let message = format!("{} is {:.4}, and the scenario expects at most {:.4}", missed.key, missed.found, missed.most);
    let failure = Failure::new(Kind::NotMet, message);
    Err(match replay {
        Some(replay) => failure.hint(format!("`{replay}` repeats the run")),
        None => failure,
    })
}

fn replay(path: &Path, report: &Path, output: &Output) -> Result<(), Failure> {
    let scenario = read(path)?;
    let before = read_report(report)?;
    let seed = before["seed"].as_u64().ok_or_else(|| no_report(report))?;
    let mut strategies = before["strategies"].as_array().into_iter().flatten();
    let expected = strategies.find_map(|strategy| strategy["log_hash"].as_str()).ok_or_else(|| no_report(report))?;
    let now = ran(&scenario, seed, output)?;
    let found = now.strategies.iter().find_map(|strategy| strategy.log_hash.clone()).unwrap_or_default();
    if found != expected {
        let message = format!("the run differs: its events have hash {found}, those of the report {expected}");
        let hint = "another version of lighter, or another scenario, made the report";
        return Err(Failure::new(Kind::BadData, message).hint(hint));
    }
    output.value(&now, |_| format!("the same: seed {seed}, events {found}"))
}

fn no_report(path: &Path) -> Failure {
    Failure::new(Kind::BadData, format!("{} is not a report of a simulation", path.display())).hint(REPORT_HINT)
}

/// Runs a scenario and shows how far it is. An interrupt ends it; the report says so.
pub fn ran(scenario: &Scenario, seed: u64, output: &Output) -> Result<Report, Failure> {
    let interrupt = Interrupt::watch()?;
    let mut progress = Progress::new(output);
    let total = scenario.ends_after.millis;
    Ok(lighter_sim::run(scenario, seed, &mut |strategy, millis| {
        progress.set(strategy.name(), millis, total, &format!("{} of virtual time", duration(millis)));
        if interrupt.is_set() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }))
}

fn read(path: &Path) -> Result<Scenario, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    Scenario::parse(&text, |trace| std::fs::read_to_string(folder.join(trace)))
        .map_err(|error| scenario_failure(path, &error, "docs/SIMULATION.md lists every key of a scenario"))
}

/// A scenario or a fleet that cannot be used. `keys` says where its keys are described.
pub fn scenario_failure(path: &Path, error: &ScenarioError, keys: &str) -> Failure {
    let failure = Failure::new(Kind::Config, format!("{}: {error}", path.display()));
    match error {
        ScenarioError::Trace { .. } => failure.hint("`lighter sim measure` makes a trace"),
        ScenarioError::Toml(_)
        | ScenarioError::Unknown { .. }
        | ScenarioError::Range { .. }
        | ScenarioError::Twice { .. } => failure.hint(keys),
    }
}

/// Reads a report of this program's schema.
fn read_report(path: &Path) -> Result<Value, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error))?;
    let report: Value = serde_json::from_str(&text).map_err(|error| {
        let failure = Failure::new(Kind::BadData, format!("{}: {error}", path.display()));
        failure.hint(REPORT_HINT)
    })?;
    match report["schema"].as_u64() {
        Some(found) if found != u64::from(SCHEMA) => {
            let message = format!("{}: report schema {found}; this program reads schema {SCHEMA}", path.display());
            let hint = "run the scenario again with this program, or use the program that made the report";
            Err(Failure::new(Kind::BadData, message).hint(hint))
        }
        _ => Ok(report),
    }
}
