//! `lighter bench patch`, run as users run it, and its JSON report (docs/CLI.md): what the benchmarks `peers` and `odd`
//! are made of.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::Bencher;

/// The efforts, the lowest first.
pub const EFFORTS: [&str; 3] = ["lighter fast", "lighter default", "lighter max"];

/// A target and its base.
pub struct Pair {
    pub name: String,
    pub target: PathBuf,
    pub base: PathBuf,
}

#[derive(Deserialize)]
pub struct Measured {
    pub peers_missing: Vec<String>,
    pub pairs: Vec<MeasuredPair>,
    pub larger_efforts: Vec<LargerEffort>,
}

#[derive(Deserialize)]
pub struct MeasuredPair {
    pub name: String,
    pub results: Vec<ToolResult>,
}

/// A tool on a pair. Figures are there if it was measured, and bytes also if they were modelled.
#[derive(Deserialize)]
pub struct ToolResult {
    pub tool: String,
    pub is_peer: bool,
    pub status: String,
    pub patch_bytes: Option<u64>,
    pub encode_s: Option<f64>,
    pub apply_s: Option<f64>,
    pub apply_mb_per_s: Option<f64>,
    pub encode_peak_bytes: Option<u64>,
    pub over_s: Option<u64>,
    pub why: Option<String>,
}

#[derive(Deserialize)]
pub struct LargerEffort {
    pub pair: String,
    pub tool: String,
    pub patch_bytes: u64,
    pub lower_tool: String,
    pub lower_patch_bytes: u64,
}

impl MeasuredPair {
    pub fn result(&self, tool: &str) -> Option<&ToolResult> {
        self.results.iter().find(|result| result.tool == tool)
    }
}

impl ToolResult {
    /// The reason why there are no figures.
    pub fn reason(&self) -> String {
        match (self.over_s, &self.why) {
            (Some(over_s), _) => format!("over {over_s} s"),
            (None, Some(why)) => format!("{}: {why}", self.status),
            (None, None) => self.status.clone(),
        }
    }
}

/// Runs the command on pairs. Its notes of progress go to stderr.
pub fn measure(bencher: &Bencher, pairs: &[Pair], options: &[&str]) -> Result<Measured> {
    let list = bencher.work.join("pairs.toml");
    let path = |path: &Path| toml::Value::from(path.to_string_lossy().into_owned());
    let entries = pairs.iter().map(|pair| {
        let (target, bases) = (path(&pair.target), toml::Value::Array(vec![path(&pair.base)]));
        let name = toml::Value::from(pair.name.as_str());
        toml::Value::from(toml::Table::from_iter([
            ("name".to_owned(), name),
            ("target".to_owned(), target),
            ("bases".to_owned(), bases),
        ]))
    });
    let entries = toml::Value::Array(entries.collect());
    std::fs::write(&list, toml::Table::from_iter([("pair".to_owned(), entries)]).to_string())?;
    let mut command = Command::new(&bencher.lighter);
    command.args(["--output", "json", "bench", "patch"]).arg(&list).args(options);
    command.env("TMPDIR", &bencher.work).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().context("lighter bench patch")?;
    // With a patch of our own that failed the command ends with an error, and reports all the same.
    serde_json::from_slice(&output.stdout).with_context(|| format!("lighter bench patch: {}", output.status))
}
