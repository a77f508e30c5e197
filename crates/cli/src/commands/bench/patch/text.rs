//! The report for people: a table for each pair, then the summary.

use comfy_table::Cell;
use lighter_types::Bytes;

use super::Report;
use super::figures::{Figures, Outcome, PairReport, Row};
use super::summary::{LargerEffort, Ratios, Summary};
use crate::output::{right, table};

pub fn report(report: &Report) -> String {
    let mut parts: Vec<String> = report.pairs.iter().map(pair).collect();
    parts.push(summaries(&report.summary));
    for larger in &report.larger_efforts {
        let LargerEffort { pair, tool, patch_bytes, lower_tool, lower_patch_bytes } = larger;
        parts.push(format!("{pair}: {tool} is larger ({patch_bytes}) than {lower_tool} ({lower_patch_bytes})"));
    }
    if !report.peers_missing.is_empty() {
        parts.push(format!("not on PATH, so not measured: {}", report.peers_missing.join(", ")));
    }
    parts.join("\n\n")
}

fn pair(pair: &PairReport) -> String {
    let mut table =
        table(&["tool", "patch bytes", "of target", "encode s", "apply s", "apply MB/s", "encode peak", "apply peak"]);
    let mut remarks = Vec::new();
    for row in &pair.results {
        match &row.outcome {
            Outcome::Measured(figures) => {
                table.add_row(cells(row, figures, pair.target_bytes));
            }
            Outcome::Modelled { patch_bytes } => {
                let mut cells =
                    vec![row.tool.into(), right(patch_bytes), right(share(*patch_bytes, pair.target_bytes))];
                cells.resize_with(8, || right(none()));
                table.add_row(cells);
            }
            Outcome::Skipped { why } => remarks.push(format!("{} skipped: {why}", row.tool)),
            Outcome::TooSlow { over_s } => remarks.push(format!("{} ended: over {over_s} s", row.tool)),
            Outcome::Failed { why } => remarks.push(format!("{} FAILED: {why}", row.tool)),
        }
    }
    let (target, base) = (Bytes(pair.target_bytes), Bytes(pair.base_bytes));
    let mut lines = vec![format!("{}: {target} out of {base}", pair.name)];
    if !table.is_empty() {
        lines.push(table.to_string());
    }
    lines.extend(remarks);
    lines.join("\n")
}

fn share(patch_bytes: u64, target_bytes: u64) -> String {
    format!("{:.2} %", 100.0 * patch_bytes as f64 / target_bytes.max(1) as f64)
}

fn cells(row: &Row, figures: &Figures, target_bytes: u64) -> Vec<Cell> {
    vec![
        row.tool.into(),
        right(figures.patch_bytes),
        right(share(figures.patch_bytes, target_bytes)),
        right(format!("{:.2}", figures.encode_s)),
        right(format!("{:.3}", figures.apply_s)),
        right(format!("{:.0}", figures.apply_mb_per_s)),
        right(memory(figures.encode_peak_bytes)),
        right(memory(figures.apply_peak_bytes)),
    ]
}

fn summaries(summaries: &[Summary]) -> String {
    let mut table = table(&[
        "all pairs",
        "/ hdiffz",
        "/ xdelta3 -9",
        "/ smallest",
        "encode s / hdiffz",
        "apply MB/s",
        "encode peak",
        "apply peak",
    ]);
    for summary in summaries {
        table.add_row([
            summary.tool.into(),
            right(ratios(summary.bytes_to_hdiffz.as_ref())),
            right(ratios(summary.bytes_to_xdelta3.as_ref())),
            right(ratios(summary.bytes_to_smallest.as_ref())),
            right(summary.encode_s_to_hdiffz.map_or_else(none, |ratio| format!("{ratio:.3}"))),
            right(summary.apply_mb_per_s_geomean.map_or_else(none, |rate| format!("{rate:.0}"))),
            right(memory(summary.encode_peak_bytes)),
            right(memory(summary.apply_peak_bytes)),
        ]);
    }
    let mut lines = vec![table.to_string()];
    let peers = ["/ hdiffz", "/ xdelta3 -9", "/ smallest"];
    for summary in summaries {
        let found = [&summary.bytes_to_hdiffz, &summary.bytes_to_xdelta3, &summary.bytes_to_smallest];
        for (peer, ratios) in peers.iter().zip(found) {
            if let Some(ratios) = ratios {
                let (worst, pair) = (ratios.worst, &ratios.worst_pair);
                lines.push(format!("{} {peer}: worst {worst:.3}, {pair}; {} pairs", summary.tool, ratios.pairs));
            }
        }
    }
    if lines.len() > 1 {
        lines.push("bytes / bytes of another tool: geometric mean of the pairs; seconds: median".to_owned());
    }
    lines.join("\n")
}

fn ratios(ratios: Option<&Ratios>) -> String {
    ratios.map_or_else(none, |ratios| format!("{:.3}", ratios.geomean))
}

fn memory(bytes: Option<u64>) -> String {
    bytes.map_or_else(none, |bytes| Bytes(bytes).to_string())
}

fn none() -> String {
    "-".to_owned()
}
