//! `lighter bench patch`: every tool makes and applies a patch of every pair, in turns. Every result is compared with
//! its target. A tool that fails has a row that says so; it is never left out.

mod figures;
mod summary;
mod text;

use std::path::Path;

use self::figures::{Outcome, PairReport, Row, Turn};
use self::summary::{Summary, summarize};
use super::pairs::{self, Pair};
use super::process::measure;
use super::tools::{Files, Peers, Tool};
use super::workspace::{Workspace, are_equal};
use crate::args::BenchEffort;
use crate::exit::{Failure, Kind};
use crate::interrupt::Interrupt;
use crate::output::Output;

/// The result. docs/CLI.md has its fields.
#[derive(serde::Serialize)]
struct Report {
    runs: u32,
    peers_missing: Vec<&'static str>,
    pairs: Vec<PairReport>,
    summary: Vec<Summary>,
}

pub fn run(source: &Path, efforts: &[BenchEffort], peers: &Peers, runs: u32, output: &Output) -> Result<(), Failure> {
    let pairs = pairs::find(source)?;
    let workspace = Workspace::create(&pairs)?;
    let interrupt = Interrupt::watch()?;
    if !peers.missing.is_empty() {
        output.say(format!("not on PATH, so not measured: {}", peers.missing.join(", ")));
    }
    let mut tools: Vec<Tool> = Vec::new();
    for effort in efforts.iter().map(|&effort| Tool::Lighter(effort)) {
        if !tools.contains(&effort) {
            tools.push(effort);
        }
    }
    let own = tools.len();
    tools.extend(&peers.tools);
    let mut bench = Bench { workspace: &workspace, interrupt: &interrupt, output, runs };
    let reports = pairs.iter().map(|pair| bench.pair(pair, &tools)).collect::<Result<Vec<_>, Failure>>()?;
    let summary = tools[..own].iter().map(|&tool| summarize(tool, &reports)).collect();
    let report = Report { runs, peers_missing: peers.missing.clone(), pairs: reports, summary };
    output.value(&report, |report| text::report(&report.pairs, &report.summary, &report.peers_missing))?;
    match report.summary.iter().map(|summary| summary.pairs_failed).sum() {
        0 => Ok(()),
        failed => {
            Err(Failure::new(Kind::BadData, format!("patches of our own that failed: {failed}; the rows say how")))
        }
    }
}

/// Shared by all measurements.
struct Bench<'a> {
    workspace: &'a Workspace,
    interrupt: &'a Interrupt,
    output: &'a Output,
    runs: u32,
}

impl Bench<'_> {
    fn pair(&mut self, pair: &Pair, tools: &[Tool]) -> Result<PairReport, Failure> {
        let files = self.workspace.files(pair)?;
        let mut turns: Vec<Vec<Turn>> = vec![Vec::new(); tools.len()];
        let mut ends: Vec<Option<Outcome>> =
            tools.iter().map(|tool| tool.obstacle(pair).map(|why| Outcome::Skipped { why })).collect();
        for run in 0..self.runs {
            // Each run starts with another tool, so that a disturbance meets all alike.
            for index in (0..tools.len()).map(|index| (index + run as usize) % tools.len()) {
                if ends[index].is_some() {
                    continue;
                }
                let name = format!("{}, {}", pair.name, tools[index].name());
                let said = match self.turn(tools[index], &files)? {
                    Ok(turn) => {
                        let said = turn.to_string();
                        turns[index].push(turn);
                        said
                    }
                    Err(why) => {
                        let said = format!("failed: {why}");
                        ends[index] = Some(Outcome::Failed { why });
                        said
                    }
                };
                self.output.say(format!("{name}, run {} of {}: {said}", run + 1, self.runs));
            }
        }
        let rows = tools.iter().zip(ends).zip(&turns).map(|((&tool, end), turns)| {
            let outcome = end.unwrap_or_else(|| Outcome::of_turns(turns, pair.target_bytes));
            Row { tool: tool.name(), is_peer: tool.is_peer(), outcome }
        });
        Ok(PairReport::new(pair, rows.collect()))
    }

    /// Makes a patch, applies it and compares. The inner error says why the tool failed.
    fn turn(&self, tool: Tool, files: &Files<'_>) -> Result<Result<Turn, String>, Failure> {
        let errors = self.workspace.path("errors");
        for file in [&files.patch, &files.rebuilt] {
            // The turn before usually left them. The first has none.
            let _ = std::fs::remove_file(file);
        }
        let encoded = match measure(&mut tool.encode(files), &errors, self.interrupt)? {
            Ok(cost) => cost,
            Err(why) => return Ok(Err(format!("encode: {why}"))),
        };
        let Ok(patch) = std::fs::metadata(&files.patch) else {
            return Ok(Err("encode: it made no patch".to_owned()));
        };
        let applied = match measure(&mut tool.apply(files), &errors, self.interrupt)? {
            Ok(cost) => cost,
            Err(why) => return Ok(Err(format!("apply: {why}"))),
        };
        if !files.rebuilt.is_file() || !are_equal(&files.rebuilt, &files.pair.target)? {
            return Ok(Err("apply: the result is not the target".to_owned()));
        }
        Ok(Ok(Turn { patch_bytes: patch.len(), encoded, applied }))
    }
}
