//! A report for people.

use lighter_sim::{Report, Strategy};
use lighter_types::Bytes;

use crate::output::{right, table};
use crate::progress::duration;

pub fn text(report: &Report) -> String {
    let heads = ["STRATEGY", "DONE", "FAILED", "MEDIAN", "99 %", "LAST", "UPLINKS", "OF REGISTRY", "ORIGIN", "SITES"];
    let mut rows = table(&heads);
    let registry = report.strategies.iter().find(|strategy| strategy.strategy == Strategy::Registry);
    let whole = registry.map_or(0, |registry| registry.uplink_bytes).max(1);
    for strategy in &report.strategies {
        rows.add_row(vec![
            strategy.strategy.name().into(),
            right(strategy.done),
            right(strategy.failed),
            right(shown_seconds(strategy.completion.median_s)),
            right(shown_seconds(strategy.completion.p99_s)),
            right(shown_seconds(strategy.completion.last_s)),
            right(Bytes(strategy.uplink_bytes)),
            right(format!("{:.2} %", 100.0 * strategy.uplink_bytes as f64 / whole as f64)),
            right(Bytes(strategy.origin_bytes)),
            right(Bytes(strategy.lan_bytes)),
        ]);
    }
    let mut text = format!("{}: {} nodes, seed {}\n{rows}", report.scenario, report.nodes, report.seed);
    if let Some(lighter) = report.strategies.iter().find(|strategy| strategy.strategy == Strategy::Lighter) {
        text += &format!(
            "\nlighter: the busiest uplink brought {:.2} times the patches that its site needs; hubs sent {:.1} copies of them; \
             {} of gossip and questions; {} attempts went on elsewhere",
            lighter.uplink_patches,
            lighter.hub_patches,
            Bytes(lighter.talk_bytes),
            lighter.retries
        );
    }
    for skipped in &report.skipped {
        text += &format!("\n{}: the scenario has no figures for it", skipped.name());
    }
    for missed in &report.missed {
        text += &format!("\nnot met: {} is {:.4}, at most {:.4}", missed.key, missed.found, missed.most);
    }
    text
}

fn shown_seconds(seconds: f64) -> String {
    duration((seconds * 1000.0) as u64)
}
