//! Two reports side by side.

use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use super::{REPORT_HINT, read_report};
use crate::exit::{Failure, Kind};
use crate::output::{Output, right, table};

/// Figures that are compared, by where they stand in a strategy's report.
const FIGURES: [&str; 7] =
    ["/done", "/completion/median_s", "/completion/last_s", "/uplink_bytes", "/origin_bytes", "/lan_bytes", "/events"];

#[derive(Serialize)]
struct Row {
    strategy: String,
    figure: String,
    a: f64,
    b: f64,
    /// b over a.
    ratio: Option<f64>,
}

pub fn run(a: &Path, b: &Path, output: &Output) -> Result<(), Failure> {
    let reports = [read_report(a)?, read_report(b)?];
    let mut rows = Vec::new();
    for one in strategies(&reports[0]) {
        let name = one["strategy"].as_str().unwrap_or_default();
        let Some(other) = strategies(&reports[1]).iter().find(|other| other["strategy"] == one["strategy"]) else {
            continue;
        };
        for figure in FIGURES {
            let (Some(a), Some(b)) = (number(one, figure), number(other, figure)) else { continue };
            let ratio = (a != 0.0).then(|| b / a);
            rows.push(Row { strategy: name.to_owned(), figure: figure[1..].replace('/', "."), a, b, ratio });
        }
    }
    if rows.is_empty() {
        let message = format!("{} and {} have no strategy in common", a.display(), b.display());
        return Err(Failure::new(Kind::BadData, message).hint(REPORT_HINT));
    }
    output.rows(&rows, |rows| {
        let mut shown = table(&["STRATEGY", "FIGURE", "A", "B", "B / A"]);
        for row in rows {
            let ratio = row.ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}"));
            let figures = [row.a, row.b].map(|figure| right(format!("{figure:.1}")));
            let [a, b] = figures;
            shown.add_row(vec![row.strategy.as_str().into(), row.figure.as_str().into(), a, b, right(ratio)]);
        }
        shown
    })
}

fn strategies(report: &Value) -> &[Value] {
    report["strategies"].as_array().map_or(&[], Vec::as_slice)
}

fn number(strategy: &Value, pointer: &str) -> Option<f64> {
    strategy.pointer(pointer)?.as_f64()
}
