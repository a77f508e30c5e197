//! A report as one page of HTML with its plots in SVG. The page loads nothing.

use std::fmt::Write as _;

use crate::report::{Report, StrategyReport};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 300.0;
const COLOURS: [&str; 5] = ["#8a8a8a", "#c9772b", "#3f7fbf", "#9a58a8", "#1d8a4e"];

/// A curve's points, and its highest value.
type Curve<'r> = (&'r str, &'r [(f64, u64)]);

/// Writes a report as a page.
pub fn page(report: &Report) -> String {
    let mut out = String::new();
    let title = escaped(&report.scenario);
    let question = escaped(&report.question);
    let _ = write!(
        out,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\
         <style>body{{font:15px/1.5 system-ui,sans-serif;max-width:820px;margin:2em auto;padding:0 1em}}\
         table{{border-collapse:collapse}}td,th{{padding:.2em .8em;text-align:right;border-bottom:1px solid #ddd}}\
         td:first-child,th:first-child{{text-align:left}}text{{font-size:12px}}</style>\
         <h1>{title}</h1><p>{question}</p><p>{} nodes, seed {}</p>",
        report.nodes, report.seed
    );
    for missed in &report.missed {
        let _ = write!(out, "<p><b>Not met: {} is {:.4}, at most {:.4}</b></p>", missed.key, missed.found, missed.most);
    }
    table(&mut out, &report.strategies);
    out.push_str("<h2>Nodes done</h2>");
    plot(&mut out, &curves(report, |strategy| &strategy.done_curve), "nodes");
    out.push_str("<h2>Bytes over uplinks</h2>");
    plot(&mut out, &curves(report, |strategy| &strategy.uplink_curve), "bytes");
    out.push_str("<h2>Bytes of hubs, or of the registry</h2>");
    plot(&mut out, &curves(report, |strategy| &strategy.origin_curve), "bytes");
    out.push_str("<h2>Bytes within sites</h2>");
    plot(&mut out, &curves(report, |strategy| &strategy.lan_curve), "bytes");
    out.push_str("<h2>Bytes over uplinks, in all</h2>");
    bars(&mut out, &report.strategies);
    out.push_str("</html>\n");
    out
}

fn table(out: &mut String, strategies: &[StrategyReport]) {
    out.push_str(
        "<table><tr><th>strategy<th>done<th>failed<th>median s<th>99 % s<th>last s<th>uplinks, MB<th>origin, MB<th>sites, MB",
    );
    for strategy in strategies {
        let _ = write!(
            out,
            "<tr><td>{}{}<td>{}<td>{}<td>{:.1}<td>{:.1}<td>{:.1}<td>{:.1}<td>{:.1}<td>{:.1}",
            strategy.strategy.name(),
            if strategy.is_partial { " (partial)" } else { "" },
            strategy.done,
            strategy.failed,
            strategy.completion.median_s,
            strategy.completion.p99_s,
            strategy.completion.last_s,
            megabytes(strategy.uplink_bytes),
            megabytes(strategy.origin_bytes),
            megabytes(strategy.lan_bytes)
        );
    }
    out.push_str("</table>");
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// One curve of each strategy.
fn curves(report: &Report, of: fn(&StrategyReport) -> &[(f64, u64)]) -> Vec<Curve<'_>> {
    report.strategies.iter().map(|strategy| (strategy.strategy.name(), of(strategy))).collect()
}

fn plot(out: &mut String, curves: &[Curve<'_>], what: &str) {
    let points = curves.iter().flat_map(|(_, curve)| curve.iter());
    let (right, top) = points.fold((1.0f64, 1.0f64), |(x, y), point| (x.max(point.0), y.max(point.1 as f64)));
    let _ = write!(out, "<svg viewBox=\"-70 -20 {} {}\" role=\"img\">", WIDTH + 90.0, HEIGHT + 60.0);
    let _ = write!(out, "<path d=\"M0 0V{HEIGHT}H{WIDTH}\" fill=\"none\" stroke=\"#444\"/>");
    let _ = write!(out, "<text x=\"-8\" y=\"4\" text-anchor=\"end\">{top:.3e}</text>");
    let _ = write!(out, "<text x=\"0\" y=\"-8\">{what}</text>");
    let _ = write!(out, "<text x=\"{WIDTH}\" y=\"{}\" text-anchor=\"end\">{right:.0} s</text>", HEIGHT + 16.0);
    for ((index, (name, curve)), colour) in curves.iter().enumerate().zip(COLOURS) {
        let line: String = curve
            .iter()
            .map(|(x, y)| format!("{:.1},{:.1} ", x / right * WIDTH, HEIGHT - *y as f64 / top * HEIGHT))
            .collect();
        let _ = write!(
            out,
            "<polyline points=\"0,{HEIGHT} {line}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"
        );
        let x = index as f64 * 130.0;
        let _ = write!(out, "<text x=\"{x}\" y=\"{}\" fill=\"{colour}\">{name}</text>", HEIGHT + 34.0);
    }
    out.push_str("</svg>");
}

fn bars(out: &mut String, strategies: &[StrategyReport]) {
    let most = strategies.iter().map(|strategy| strategy.uplink_bytes).max().unwrap_or(1).max(1) as f64;
    let _ = write!(out, "<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\">", strategies.len() * 30 + 10);
    for ((index, strategy), colour) in strategies.iter().enumerate().zip(COLOURS) {
        let (y, bytes) = (index * 30, strategy.uplink_bytes as f64);
        let width = (bytes / most * 480.0).max(1.0);
        let _ = write!(
            out,
            "<text x=\"0\" y=\"{}\">{}</text><rect x=\"110\" y=\"{y}\" width=\"{width:.1}\" height=\"20\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{}\">{:.1} MB</text>",
            y + 15,
            strategy.strategy.name(),
            118.0 + width,
            y + 15,
            bytes / 1e6
        );
    }
    out.push_str("</svg>");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
