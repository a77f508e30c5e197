//! `lighter bench patch`: every tool makes and applies a patch of every pair, in turns. Every result is compared with
//! its target. A tool that fails or takes too long has a row that says so; it is never left out.

mod figures;
mod picture;
mod summary;
mod text;

use std::time::{Duration, Instant};

use self::figures::{Outcome, PairReport, Row, Turn};
use self::summary::{LargerEffort, Summary, larger_efforts, summarize};
use super::pairs::{self, Pair};
use super::process::{Cost, Stop, measure_until};
use super::tools::{Files, Peers, Step, Tool};
use super::workspace::{Workspace, are_equal};
use crate::args::BenchPatch;
use crate::exit::{Failure, Kind};
use crate::interrupt::Interrupt;
use crate::output::Output;

/// The result. docs/CLI.md has its fields.
#[derive(serde::Serialize)]
struct Report {
    runs: u32,
    peer_limit_s: u64,
    peers_missing: Vec<&'static str>,
    pairs: Vec<PairReport>,
    summary: Vec<Summary>,
    larger_efforts: Vec<LargerEffort>,
}

pub fn run(options: &BenchPatch, output: &Output) -> Result<(), Failure> {
    let peers = if options.no_peers { Peers::none() } else { Peers::find(options.peers.as_deref()) };
    let pairs = pairs::find(&options.source)?;
    let workspace = Workspace::create(&pairs, &peers)?;
    let interrupt = Interrupt::watch()?;
    if !peers.missing.is_empty() {
        output.say(format!("not on PATH, so not measured: {}", peers.missing.join(", ")));
    }
    let mut tools: Vec<Tool> = Vec::new();
    for effort in options.effort.iter().map(|&effort| Tool::Lighter(effort)) {
        if !tools.contains(&effort) {
            tools.push(effort);
        }
    }
    let own = tools.len();
    tools.extend(&peers.tools);
    let peer_limit = Duration::from_secs(options.peer_limit_s);
    let mut bench = Bench { workspace: &workspace, interrupt: &interrupt, output, runs: options.runs, peer_limit };
    let reports = pairs.iter().map(|pair| bench.pair(pair, &tools)).collect::<Result<Vec<_>, Failure>>()?;
    let report = Report {
        runs: options.runs,
        peer_limit_s: options.peer_limit_s,
        peers_missing: peers.missing,
        summary: tools[..own].iter().map(|&tool| summarize(tool, &reports)).collect(),
        larger_efforts: larger_efforts(&reports),
        pairs: reports,
    };
    if let Some(file) = &options.svg {
        let picture = picture::svg(&report.pairs);
        std::fs::write(file, picture).map_err(|error| Failure::file("write", file, &error))?;
    }
    output.value(&report, text::report)?;
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
    peer_limit: Duration,
}

impl Bench<'_> {
    fn pair(&mut self, pair: &Pair, tools: &[Tool]) -> Result<PairReport, Failure> {
        let files = self.workspace.files(pair)?;
        let mut turns: Vec<Vec<Turn>> = vec![Vec::new(); tools.len()];
        let mut ends: Vec<Option<Outcome>> = tools.iter().map(|tool| without_a_run(*tool, pair, &files)).collect();
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
                    Err(end) => {
                        let said = end.to_string();
                        ends[index] = Some(end);
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

    /// Makes a patch, applies it and compares. The inner error says why the tool has no figures.
    fn turn(&self, tool: Tool, files: &Files<'_>) -> Result<Result<Turn, Outcome>, Failure> {
        self.workspace.clear(files)?;
        let encoded = match self.make(tool, files)? {
            Ok(cost) => cost,
            Err(stop) => return Ok(Err(self.end("encode", stop))),
        };
        let patch_bytes = match tool.wire_bytes(files) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Err(failed("encode: it made no patch")));
            }
            Err(error) => return Ok(Err(failed(&format!("encode: {error}")))),
        };
        let applied = match self.steps(tool.apply(files), self.deadline(tool))? {
            Ok(cost) => cost,
            Err(stop) => return Ok(Err(self.end("apply", stop))),
        };
        let mut expected = files.pair.target.clone();
        if let Some((steps, written)) = tool.check(files) {
            if let Err(stop) = self.steps(steps, None)? {
                return Ok(Err(self.end("check", stop)));
            }
            expected = written;
        }
        if !files.rebuilt.is_file() || !are_equal(&files.rebuilt, &expected)? {
            return Ok(Err(failed("apply: the result is not the target")));
        }
        Ok(Ok(Turn { patch_bytes, encoded, applied }))
    }

    /// Prepares, then makes. Only the making is measured.
    fn make(&self, tool: Tool, files: &Files<'_>) -> Result<Result<Cost, Stop>, Failure> {
        if let Err(stop) = self.steps(tool.prepare(files), self.deadline(tool))? {
            return Ok(Err(stop));
        }
        self.steps(tool.make(files), self.deadline(tool))
    }

    /// Runs steps one after the other, up to the first that fails.
    fn steps(&self, steps: Vec<Step>, deadline: Option<Instant>) -> Result<Result<Cost, Stop>, Failure> {
        let errors = self.workspace.path("errors");
        let mut cost = Cost { seconds: 0.0, peak_bytes: None };
        for mut step in steps {
            let stdout = step.stdout().map_err(|error| Failure::from_error(Kind::Machine, &error))?;
            match measure_until(step.command.stdout(stdout), &errors, deadline, self.interrupt)? {
                Ok(next) => cost = cost.and(next),
                Err(stop) => return Ok(Err(stop)),
            }
        }
        Ok(Ok(cost))
    }

    /// Peers have a deadline; an effort of our own is waited for.
    fn deadline(&self, tool: Tool) -> Option<Instant> {
        tool.is_peer().then(|| Instant::now() + self.peer_limit)
    }

    fn end(&self, what: &str, stop: Stop) -> Outcome {
        match stop {
            Stop::Failed(why) => failed(&format!("{what}: {why}")),
            Stop::TooSlow => Outcome::TooSlow { over_s: self.peer_limit.as_secs() },
        }
    }
}

/// The outcome of a tool that is not run: what a model counts, or the reason why the tool cannot take the pair.
fn without_a_run(tool: Tool, pair: &Pair, files: &Files<'_>) -> Option<Outcome> {
    match tool.modelled_bytes(files) {
        Some(Ok(patch_bytes)) => Some(Outcome::Modelled { patch_bytes }),
        Some(Err(error)) => Some(failed(&error.to_string())),
        None => tool.obstacle(pair).map(|why| Outcome::Skipped { why }),
    }
}

fn failed(why: &str) -> Outcome {
    Outcome::Failed { why: why.to_owned() }
}
