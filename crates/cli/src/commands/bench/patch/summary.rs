//! The summary of all pairs for one effort: its ratios to stock tools, over the pairs where both were measured.

use serde::Serialize;

use super::super::statistics::{geomean, median};
use super::super::tools::Tool;
use super::figures::{Figures, Outcome, PairReport};
use crate::args::{BenchEffort, BenchPeer};

/// The peers that an effort is compared with by name.
const HDIFFZ: Tool = Tool::Peer(BenchPeer::Hdiffz);
const XDELTA3: Tool = Tool::Peer(BenchPeer::Xdelta3);

#[derive(Serialize)]
pub struct Summary {
    pub tool: &'static str,
    /// Pairs where the effort was measured, and where it failed.
    pub pairs: usize,
    pub pairs_failed: usize,
    /// Ratios of patch bytes. `None` if the stock tool was not measured on any pair.
    pub bytes_to_hdiffz: Option<Ratios>,
    pub bytes_to_xdelta3: Option<Ratios>,
    /// To the smallest patch of all stock tools, for each pair anew.
    pub bytes_to_smallest: Option<Ratios>,
    /// Median over pairs of the median over runs of encode seconds.
    pub encode_s_to_hdiffz: Option<f64>,
    pub apply_mb_per_s_geomean: Option<f64>,
    /// The most of all pairs.
    pub encode_peak_bytes: Option<u64>,
    pub apply_peak_bytes: Option<u64>,
}

/// Lighter over the stock tool: under 1 is smaller.
#[derive(Debug, PartialEq, Serialize)]
pub struct Ratios {
    pub pairs: usize,
    pub geomean: f64,
    pub worst: f64,
    pub worst_pair: String,
}

/// An effort whose patch is larger than that of a lower effort on the same pair.
#[derive(Debug, PartialEq, Serialize)]
pub struct LargerEffort {
    pub pair: String,
    pub tool: &'static str,
    pub patch_bytes: u64,
    pub lower_tool: &'static str,
    pub lower_patch_bytes: u64,
}

/// Every pair of efforts, one beside each lower one, where more work made a larger patch.
pub fn larger_efforts(reports: &[PairReport]) -> Vec<LargerEffort> {
    let efforts =
        [BenchEffort::Fast, BenchEffort::Default, BenchEffort::Max].map(|effort| Tool::Lighter(effort).name());
    let mut found = Vec::new();
    for report in reports {
        let bytes = |tool| Some((tool, report.figures(tool)?.patch_bytes));
        let measured: Vec<(&'static str, u64)> = efforts.into_iter().filter_map(bytes).collect();
        for (index, &(tool, patch_bytes)) in measured.iter().enumerate() {
            let lower = measured[..index].iter().filter(|(_, lower_bytes)| *lower_bytes < patch_bytes);
            found.extend(lower.map(|&(lower_tool, lower_patch_bytes)| LargerEffort {
                pair: report.name.clone(),
                tool,
                patch_bytes,
                lower_tool,
                lower_patch_bytes,
            }));
        }
    }
    found
}

pub fn summarize(tool: Tool, reports: &[PairReport]) -> Summary {
    let name = tool.name();
    let measured: Vec<(&PairReport, &Figures)> =
        reports.iter().filter_map(|pair| Some((pair, pair.figures(name)?))).collect();
    let encode_s = measured.iter().filter_map(|(pair, ours)| {
        let theirs = pair.figures(HDIFFZ.name())?;
        // Run by run, since both had about the same disturbance.
        median(ours.runs.iter().zip(&theirs.runs).map(|(ours, theirs)| ours.encode_s / theirs.encode_s))
    });
    Summary {
        tool: name,
        pairs: measured.len(),
        pairs_failed: reports.iter().filter(|pair| has_failed(pair, name)).count(),
        bytes_to_hdiffz: bytes_to(&measured, |pair| patch_bytes(pair, HDIFFZ)),
        bytes_to_xdelta3: bytes_to(&measured, |pair| patch_bytes(pair, XDELTA3)),
        bytes_to_smallest: bytes_to(&measured, PairReport::smallest_peer),
        encode_s_to_hdiffz: median(encode_s),
        apply_mb_per_s_geomean: geomean(measured.iter().map(|(_, ours)| ours.apply_mb_per_s)),
        encode_peak_bytes: measured.iter().filter_map(|(_, ours)| ours.encode_peak_bytes).max(),
        apply_peak_bytes: measured.iter().filter_map(|(_, ours)| ours.apply_peak_bytes).max(),
    }
}

fn has_failed(pair: &PairReport, tool: &str) -> bool {
    pair.results.iter().any(|row| row.tool == tool && matches!(row.outcome, Outcome::Failed { .. }))
}

fn patch_bytes(pair: &PairReport, tool: Tool) -> Option<u64> {
    pair.figures(tool.name()).map(|figures| figures.patch_bytes)
}

/// Our bytes to those of another patch, over the pairs that have one.
fn bytes_to(measured: &[(&PairReport, &Figures)], other: impl Fn(&PairReport) -> Option<u64>) -> Option<Ratios> {
    ratios(measured.iter().filter_map(|(pair, ours)| {
        Some((pair.name.as_str(), ours.patch_bytes as f64 / other(pair).filter(|&bytes| bytes > 0)? as f64))
    }))
}

fn ratios<'a>(pairs: impl Iterator<Item = (&'a str, f64)>) -> Option<Ratios> {
    let pairs: Vec<(&str, f64)> = pairs.collect();
    let (worst_pair, worst) = *pairs.iter().max_by(|one, other| one.1.total_cmp(&other.1))?;
    let geomean = geomean(pairs.iter().map(|(_, ratio)| *ratio))?;
    Some(Ratios { pairs: pairs.len(), geomean, worst, worst_pair: worst_pair.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use lighter_types::Bytes;

    use super::super::super::pairs::Pair;
    use super::super::figures::{Row, Seconds};
    use super::*;

    const OURS: Tool = Tool::Lighter(BenchEffort::Default);

    fn row(tool: Tool, patch_bytes: u64, encode_s: &[f64]) -> Row {
        let figures = Figures {
            patch_bytes,
            encode_s: encode_s[0],
            apply_s: 1.0,
            apply_mb_per_s: patch_bytes as f64,
            encode_peak_bytes: Some(patch_bytes),
            apply_peak_bytes: None,
            runs: encode_s.iter().map(|&encode_s| Seconds { encode_s, apply_s: 1.0 }).collect(),
        };
        Row { tool: tool.name(), is_peer: tool.is_peer(), outcome: Outcome::Measured(figures) }
    }

    fn failed(tool: Tool) -> Row {
        Row { tool: tool.name(), is_peer: tool.is_peer(), outcome: Outcome::Failed { why: "full".to_owned() } }
    }

    fn pair(name: &str, results: Vec<Row>) -> PairReport {
        let (target, bases) = (PathBuf::new(), Vec::new());
        let pair = Pair { name: name.to_owned(), target, bases, target_bytes: Bytes(1), base_bytes: Bytes(1) };
        PairReport::new(&pair, results)
    }

    #[test]
    fn ratios_are_over_the_pairs_where_both_were_measured() {
        let reports = [
            pair("a", vec![row(OURS, 200, &[1.0, 8.0, 4.0]), row(HDIFFZ, 100, &[2.0, 2.0, 2.0])]),
            pair(
                "b",
                vec![row(OURS, 50, &[3.0]), row(HDIFFZ, 100, &[1.0]), row(Tool::Peer(BenchPeer::Bsdiff), 40, &[1.0])],
            ),
            pair("c", vec![row(OURS, 100, &[1.0]), failed(HDIFFZ)]),
            pair("d", vec![failed(OURS), row(HDIFFZ, 100, &[1.0])]),
        ];
        let summary = summarize(OURS, &reports);
        assert_eq!((summary.pairs, summary.pairs_failed), (3, 1));
        let to_hdiffz = summary.bytes_to_hdiffz.unwrap();
        assert!((to_hdiffz.geomean - 1.0).abs() < 1e-9, "{to_hdiffz:?}");
        assert_eq!((to_hdiffz.pairs, to_hdiffz.worst, to_hdiffz.worst_pair.as_str()), (2, 2.0, "a"));
        assert_eq!(summary.bytes_to_xdelta3, None);
        let to_smallest = summary.bytes_to_smallest.unwrap();
        assert!((to_smallest.geomean - 2.5_f64.sqrt()).abs() < 1e-9, "{to_smallest:?}");
        // Pair a: the median of 0.5, 4 and 2; pair b: 3.
        assert_eq!(summary.encode_s_to_hdiffz, Some(2.5));
        assert!(summary.apply_mb_per_s_geomean.is_some_and(|rate| (rate - 100.0).abs() < 1e-9));
        assert_eq!((summary.encode_peak_bytes, summary.apply_peak_bytes), (Some(200), None));
    }

    #[test]
    fn an_effort_that_is_larger_than_a_lower_one_is_named() {
        let [fast, max] = [BenchEffort::Fast, BenchEffort::Max].map(Tool::Lighter);
        let patches = |name: &str, bytes: [u64; 3]| {
            pair(name, vec![row(max, bytes[2], &[1.0]), row(fast, bytes[0], &[1.0]), row(OURS, bytes[1], &[1.0])])
        };
        let found =
            larger_efforts(&[patches("falling", [3, 2, 1]), patches("same", [2, 2, 2]), patches("odd", [3, 5, 4])]);
        let larger = |tool: Tool, patch_bytes| LargerEffort {
            pair: "odd".to_owned(),
            tool: tool.name(),
            patch_bytes,
            lower_tool: fast.name(),
            lower_patch_bytes: 3,
        };
        assert_eq!(found, [larger(OURS, 5), larger(max, 4)]);
    }
}
