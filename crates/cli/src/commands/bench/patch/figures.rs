//! The measurements of a pair, as JSON has them.

use std::fmt;
use std::path::PathBuf;

use lighter_types::Bytes;
use serde::Serialize;

use super::super::pairs::Pair;
use super::super::process::Cost;
use super::super::statistics::median;

/// One patch made and applied.
#[derive(Clone, Copy)]
pub struct Turn {
    pub patch_bytes: u64,
    pub encoded: Cost,
    pub applied: Cost,
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (encoded, applied) = (self.encoded.seconds, self.applied.seconds);
        write!(f, "{} bytes, encoded in {encoded:.2} s, applied in {applied:.2} s", self.patch_bytes)
    }
}

/// All tools on one pair.
#[derive(Serialize)]
pub struct PairReport {
    pub name: String,
    target: PathBuf,
    bases: Vec<PathBuf>,
    pub target_bytes: u64,
    pub base_bytes: u64,
    pub results: Vec<Row>,
}

#[derive(Serialize)]
pub struct Row {
    pub tool: &'static str,
    pub is_peer: bool,
    #[serde(flatten)]
    pub outcome: Outcome,
}

#[derive(Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Outcome {
    Measured(Figures),
    /// A model counted the bytes. There is nothing to run.
    Modelled {
        patch_bytes: u64,
    },
    /// The tool cannot take such files.
    Skipped {
        why: String,
    },
    /// The tool was ended after this time.
    TooSlow {
        over_s: u64,
    },
    /// The tool failed, or its result was wrong.
    Failed {
        why: String,
    },
}

#[derive(Clone, Serialize)]
pub struct Figures {
    /// The most of all runs.
    pub patch_bytes: u64,
    /// Medians of the runs.
    pub encode_s: f64,
    pub apply_s: f64,
    /// Millions of target bytes a second.
    pub apply_mb_per_s: f64,
    /// The most of all runs.
    pub encode_peak_bytes: Option<u64>,
    pub apply_peak_bytes: Option<u64>,
    /// In the order in which they were run.
    pub runs: Vec<Seconds>,
}

#[derive(Clone, Copy, Serialize)]
pub struct Seconds {
    pub encode_s: f64,
    pub apply_s: f64,
}

impl fmt::Display for Outcome {
    /// For notes of the progress.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Measured(Figures { patch_bytes, .. }) | Self::Modelled { patch_bytes } => {
                write!(f, "{patch_bytes} bytes")
            }
            Self::Skipped { why } => write!(f, "skipped: {why}"),
            Self::TooSlow { over_s } => write!(f, "over {over_s} s, so it was ended"),
            Self::Failed { why } => write!(f, "failed: {why}"),
        }
    }
}

impl Outcome {
    pub fn of_turns(turns: &[Turn], target_bytes: Bytes) -> Self {
        let encode_s = median(turns.iter().map(|turn| turn.encoded.seconds));
        let apply_s = median(turns.iter().map(|turn| turn.applied.seconds));
        let (Some(encode_s), Some(apply_s)) = (encode_s, apply_s) else {
            return Self::Skipped { why: "it was not run".to_owned() };
        };
        Self::Measured(Figures {
            patch_bytes: turns.iter().map(|turn| turn.patch_bytes).max().unwrap_or(0),
            encode_s,
            apply_s,
            apply_mb_per_s: target_bytes.0 as f64 / 1e6 / apply_s,
            encode_peak_bytes: turns.iter().filter_map(|turn| turn.encoded.peak_bytes).max(),
            apply_peak_bytes: turns.iter().filter_map(|turn| turn.applied.peak_bytes).max(),
            runs: turns
                .iter()
                .map(|turn| Seconds { encode_s: turn.encoded.seconds, apply_s: turn.applied.seconds })
                .collect(),
        })
    }
}

impl PairReport {
    pub fn new(pair: &Pair, results: Vec<Row>) -> Self {
        Self {
            name: pair.name.clone(),
            target: pair.target.clone(),
            bases: pair.bases.clone(),
            target_bytes: pair.target_bytes.0,
            base_bytes: pair.base_bytes.0,
            results,
        }
    }

    /// A tool's figures, if it was measured on this pair.
    pub fn figures(&self, tool: &str) -> Option<&Figures> {
        self.results.iter().find(|row| row.tool == tool)?.figures()
    }

    pub fn smallest_peer(&self) -> Option<u64> {
        self.results.iter().filter(|row| row.is_peer).filter_map(Row::patch_bytes).min()
    }
}

impl Row {
    pub fn figures(&self) -> Option<&Figures> {
        match &self.outcome {
            Outcome::Measured(figures) => Some(figures),
            Outcome::Modelled { .. } | Outcome::Skipped { .. } | Outcome::TooSlow { .. } | Outcome::Failed { .. } => {
                None
            }
        }
    }

    /// The bytes on the wire, measured or modelled.
    pub fn patch_bytes(&self) -> Option<u64> {
        match &self.outcome {
            Outcome::Measured(Figures { patch_bytes, .. }) | Outcome::Modelled { patch_bytes } => Some(*patch_bytes),
            Outcome::Skipped { .. } | Outcome::TooSlow { .. } | Outcome::Failed { .. } => None,
        }
    }
}
