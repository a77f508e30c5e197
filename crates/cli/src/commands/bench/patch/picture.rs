//! The bytes on the wire as a picture in SVG: a row for each tool, a column of bars for each pair.
//!
//! Each column has a scale of its own that begins at zero, because layers differ in size by more than tools do. Up to
//! four columns stand side by side; more pairs follow below them. The colours suit light and dark pages.

use std::fmt::Write as _;

use lighter_types::Bytes;

use super::figures::{Outcome, PairReport, Row};

const WIDTH: u32 = 900;
const COLUMNS_MAX: usize = 4;
/// The names of the tools.
const NAMES_WIDTH: u32 = 176;
/// Behind the longest bar: its bytes as text.
const BYTES_WIDTH: u32 = 74;
const ROW_HEIGHT: u32 = 23;
const BAR_HEIGHT: u32 = 13;
/// Above the rows of a band: the names of its pairs. Below: the scales.
const HEAD_HEIGHT: u32 = 34;
const FOOT_HEIGHT: u32 = 40;

const STYLE: &str = "
    text { fill: #1f2328 }
    .own text { font-weight: 600 }
    .note { fill: #59636e }
    .grid { stroke: #d8dee4 }
    .whole { fill: #b6bcc4 }
    .peer { fill: #8294a8 }
    .own rect { fill: #0969da }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 }
      .note { fill: #9da7b1 }
      .grid { stroke: #30363d }
      .whole { fill: #4b535d }
      .peer { fill: #6a7b8f }
      .own rect { fill: #58a6ff }
    }
";

/// Draws all pairs. Peers come first, so that efforts of our own stand together below them.
pub fn svg(pairs: &[PairReport]) -> String {
    let bands: Vec<&[PairReport]> = pairs.chunks(COLUMNS_MAX).collect();
    let rows = pairs.iter().map(|pair| pair.results.len()).max().unwrap_or(0) as u32;
    let band_height = HEAD_HEIGHT + rows * ROW_HEIGHT + FOOT_HEIGHT;
    let (title, height) = ("Bytes on the wire for the next release of a layer", band_height * bands.len() as u32);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\" aria-labelledby=\"title text\" font-size=\"13\" \
         font-family=\"system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif\">\n  \
         <title id=\"title\">{title}</title>\n  <desc id=\"text\">{}</desc>\n  <style>{STYLE}  </style>\n",
        escaped(&description(pairs))
    );
    let columns = bands.first().map_or(1, |band| band.len()) as u32;
    let column_width = (WIDTH - NAMES_WIDTH) / columns;
    for (index, band) in bands.iter().enumerate() {
        let top = index as u32 * band_height + HEAD_HEIGHT;
        for (row, result) in band.first().map(in_order).unwrap_or_default().into_iter().enumerate() {
            let y = top + row as u32 * ROW_HEIGHT + BAR_HEIGHT - 1;
            let class = if result.is_peer { "" } else { " class=\"own\"" };
            let _ = writeln!(out, "  <g{class}><text x=\"4\" y=\"{y}\">{}</text></g>", escaped(result.tool));
        }
        for (column, pair) in band.iter().enumerate() {
            draw_column(&mut out, pair, NAMES_WIDTH + column as u32 * column_width, top, column_width);
        }
    }
    out.push_str("</svg>\n");
    out
}

fn in_order(pair: &PairReport) -> Vec<&Row> {
    let (peers, own): (Vec<&Row>, Vec<&Row>) = pair.results.iter().partition(|row| row.is_peer);
    [peers, own].concat()
}

/// The figures as a text, for readers who do not see the picture.
fn description(pairs: &[PairReport]) -> String {
    let mut text = String::new();
    for pair in pairs {
        let results = in_order(pair).into_iter().map(|row| format!("{} {}", row.tool, said(row)));
        let _ = write!(text, "{}: {}. ", pair.name, results.collect::<Vec<_>>().join(", "));
    }
    text.trim_end().to_owned()
}

fn said(row: &Row) -> String {
    match &row.outcome {
        Outcome::Measured(figures) => Bytes(figures.patch_bytes).to_string(),
        Outcome::Modelled { patch_bytes } => Bytes(*patch_bytes).to_string(),
        Outcome::Skipped { .. } => "not run".to_owned(),
        Outcome::TooSlow { over_s } => format!("over {over_s} s"),
        Outcome::Failed { .. } => "failed".to_owned(),
    }
}

fn draw_column(out: &mut String, pair: &PairReport, left: u32, top: u32, width: u32) {
    let rows = in_order(pair);
    let most = rows.iter().filter_map(|row| row.patch_bytes()).max().unwrap_or(0).max(1);
    let (bar_width, bottom) = (width - BYTES_WIDTH, top + rows.len() as u32 * ROW_HEIGHT);
    let x_of = |bytes: u64| f64::from(left) + bytes as f64 / most as f64 * f64::from(bar_width);
    let _ = writeln!(out, "  <text x=\"{left}\" y=\"{}\" font-weight=\"600\">{}</text>", top - 14, escaped(&pair.name));
    let step = step(most);
    for bytes in (0..=most / step).map(|tick| tick * step) {
        let x = x_of(bytes);
        let _ = writeln!(
            out,
            "  <path class=\"grid\" d=\"M{x:.1} {}V{bottom}\"/>\
             <text class=\"note\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\" font-size=\"11\">{}</text>",
            top - 4,
            bottom + 14,
            whole_units(bytes)
        );
    }
    for (index, row) in rows.into_iter().enumerate() {
        let y = top + index as u32 * ROW_HEIGHT;
        let group = if row.is_peer { "<g>" } else { "<g class=\"own\">" };
        let class = if row.tool.starts_with("whole") { "whole" } else { "peer" };
        let end = x_of(row.patch_bytes().unwrap_or(0));
        // A bar of less than a pixel is still a bar.
        let bar = row.patch_bytes().map(|_| (end - f64::from(left)).max(1.5)).map_or_else(String::new, |length| {
            format!("<rect class=\"{class}\" x=\"{left}\" y=\"{y}\" width=\"{length:.1}\" height=\"{BAR_HEIGHT}\"/>")
        });
        let note = if row.patch_bytes().is_some() { "" } else { " class=\"note\" font-style=\"italic\"" };
        let _ = writeln!(
            out,
            "  {group}{bar}<text{note} x=\"{:.1}\" y=\"{}\" font-size=\"12\">{}</text></g>",
            end + 6.0,
            y + BAR_HEIGHT - 2,
            said(row)
        );
    }
}

/// The distance of the scale's lines: 1, 2 or 5 times a power of ten in a unit, so that there are at most two beside
/// zero.
fn step(most: u64) -> u64 {
    let mut unit = 1;
    while most / unit >= 1024 {
        unit *= 1024;
    }
    let steps = [1, 2, 5, 10, 20, 50, 100, 200, 500].map(|count| count * unit);
    steps.into_iter().find(|step| most / step <= 2).unwrap_or(500 * unit)
}

/// A multiple of a unit without digits behind the point: `20 MiB`.
fn whole_units(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let found = units.into_iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit));
    found.map_or_else(|| bytes.to_string(), |(unit, name)| format!("{} {name}", bytes / unit))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::super::pairs::Pair;
    use super::*;

    fn row(tool: &'static str, is_peer: bool, outcome: Outcome) -> Row {
        Row { tool, is_peer, outcome }
    }

    fn pair(name: &str, results: Vec<Row>) -> PairReport {
        let (target, bases) = (PathBuf::new(), Vec::new());
        let pair = Pair { name: name.to_owned(), target, bases, target_bytes: Bytes(1), base_bytes: Bytes(1) };
        PairReport::new(&pair, results)
    }

    #[test]
    fn scales_have_round_steps() {
        for (most, expected) in [(1, 1), (1000, 500), (6_963_982, 5 << 20), (3 << 20, 2 << 20), (14 << 20, 5 << 20)] {
            assert_eq!(step(most), expected, "{most}");
        }
        assert_eq!([0, 500, 5 << 20, 20 << 10].map(whole_units), ["0", "500", "5 MiB", "20 KiB"]);
    }

    #[test]
    fn every_tool_of_every_pair_is_drawn_or_says_why_not() {
        let rows = || {
            vec![
                row("lighter fast", false, Outcome::Modelled { patch_bytes: 1 << 20 }),
                row("whole, gzip -6", true, Outcome::Modelled { patch_bytes: 4 << 20 }),
                row("slow", true, Outcome::TooSlow { over_s: 9 }),
                row("broken", true, Outcome::Failed { why: "of itself".to_owned() }),
            ]
        };
        let pairs: Vec<PairReport> = (0..5).map(|index| pair(&format!("a<b {index}"), rows())).collect();
        let svg = svg(&pairs);
        for (text, count) in [("<rect ", 10), ("over 9 s</text>", 5), ("failed</text>", 5), (">4.00 MiB</text>", 5)] {
            assert_eq!(svg.matches(text).count(), count, "{text}");
        }
        // Two bands, each with the names of all tools; own efforts come last.
        assert_eq!(svg.matches(">whole, gzip -6</text>").count(), 2);
        assert!(svg.find(">broken</text>") < svg.find(">lighter fast</text>"), "{svg}");
        assert!(svg.contains("a&lt;b 4") && !svg.contains("a<b"), "{svg}");
    }
}
