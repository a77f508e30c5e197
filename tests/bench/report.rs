//! The report of the benchmarks, as tables and as JSON.
//!
//! A report has one section for each benchmark, and a section has one row for each figure. A row has the measured value
//! and may have a bar (the promise) and the figure of a stock tool beside it. A bar is met or missed: a value is at
//! most or at least a number, or the ratio to the figure beside it is at most a number.

use std::fmt;

use comfy_table::{Table, presets};
use serde::Serialize;

/// All figures of one run of the program.
#[derive(Serialize)]
pub struct Report {
    machine: String,
    inputs: String,
    sections: Vec<Section>,
}

/// The figures of one benchmark.
#[derive(Serialize)]
pub struct Section {
    bench: String,
    rows: Vec<Row>,
    /// Shown in the place of the rows: the same figures, several on a line.
    #[serde(skip)]
    pub grid: Option<Grid>,
    /// The figures that could not be measured, with the reasons.
    skipped: Vec<String>,
    failed: Option<String>,
    /// The load average of the machine, before and after the benchmark.
    load_before: f64,
    load_after: f64,
}

/// One figure.
#[derive(Serialize)]
pub struct Row {
    figure: String,
    value: f64,
    unit: &'static str,
    bar: Option<Bar>,
    /// Where the figure should be in the end, beyond the bar.
    goal: Option<f64>,
    /// The name and the figure of the stock tool.
    beside: Option<(String, f64)>,
    /// The median ratio of the value to the stock tool's figure. Without a stock tool, the ratio of the value to its
    /// bar.
    ratio: Option<f64>,
    is_met: Option<bool>,
    note: String,
}

/// A table of texts.
pub struct Grid {
    columns: Vec<String>,
    lines: Vec<Vec<String>>,
    /// Below the table.
    pub remark: String,
}

/// The promise for a figure.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum Bar {
    AtMost(f64),
    AtLeast(f64),
    Between(f64, f64),
    RatioAtMost(f64),
}

impl Report {
    pub fn new(machine: String, inputs: String) -> Self {
        Self { machine, inputs, sections: Vec::new() }
    }

    pub fn section(&mut self, bench: &str) -> &mut Section {
        let load = crate::machine::load();
        let section = Section {
            bench: bench.to_owned(),
            rows: Vec::new(),
            grid: None,
            skipped: Vec::new(),
            failed: None,
            load_before: load,
            load_after: load,
        };
        self.sections.push(section);
        let last = self.sections.len() - 1;
        &mut self.sections[last]
    }

    pub fn has_failed(&self) -> bool {
        self.sections.iter().any(|section| section.failed.is_some())
    }

    pub fn summary(&self) -> String {
        let rows = || self.sections.iter().flat_map(|section| &section.rows);
        let met = rows().filter(|row| row.is_met == Some(true)).count();
        let missed: Vec<&str> = rows().filter(|row| row.is_met == Some(false)).map(|row| row.figure.as_str()).collect();
        let missed = if missed.is_empty() { "none".to_owned() } else { missed.join("; ") };
        format!("machine: {}\ninputs: {}\nbars met: {met}; missed: {missed}", self.machine, self.inputs)
    }
}

impl Section {
    pub fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Notes what is not measured. The same note twice is one.
    pub fn skip(&mut self, what: &str) {
        if self.skipped.iter().all(|skipped| skipped != what) {
            eprintln!("bench: skipped: {what}");
            self.skipped.push(what.to_owned());
        }
    }

    pub fn failed(&mut self, why: &str) {
        eprintln!("bench: {} failed: {why}", self.bench);
        let earlier = self.failed.take().map_or_else(String::new, |earlier| format!("{earlier}; "));
        self.failed = Some(format!("{earlier}{why}"));
    }

    /// Records the load at the end of the benchmark.
    pub fn loads(&mut self) {
        self.load_after = crate::machine::load();
    }
}

impl Row {
    pub fn new(figure: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self {
            figure: figure.into(),
            value,
            unit,
            bar: None,
            goal: None,
            beside: None,
            ratio: None,
            is_met: None,
            note: String::new(),
        }
    }

    pub fn at_most(mut self, bar: f64) -> Self {
        self.ratio = (bar != 0.0).then_some(self.value / bar);
        self.is_met = Some(self.value <= bar);
        self.bar = Some(Bar::AtMost(bar));
        self
    }

    pub fn at_least(mut self, bar: f64) -> Self {
        self.ratio = Some(self.value / bar);
        self.is_met = Some(self.value >= bar);
        self.bar = Some(Bar::AtLeast(bar));
        self
    }

    pub fn between(mut self, least: f64, most: f64) -> Self {
        self.is_met = Some((least..=most).contains(&self.value));
        self.bar = Some(Bar::Between(least, most));
        self
    }

    pub fn beside(mut self, tool: &str, value: f64, ratio: f64) -> Self {
        self.beside = Some((tool.to_owned(), value));
        self.ratio = Some(ratio);
        self
    }

    /// Sets a bar for the ratio to the figure beside it.
    pub fn ratio_at_most(mut self, bar: f64) -> Self {
        self.is_met = self.ratio.map(|ratio| ratio <= bar);
        self.bar = Some(Bar::RatioAtMost(bar));
        self
    }

    /// Sets a goal, in the unit of the bar.
    pub fn goal(mut self, goal: f64) -> Self {
        self.goal = Some(goal);
        self
    }

    pub fn ratio(&self) -> Option<f64> {
        self.ratio
    }

    pub fn is_missed(&self) -> bool {
        self.is_met == Some(false)
    }

    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(bar) => write!(f, "<= {}", promised(*bar)),
            Self::AtLeast(bar) => write!(f, ">= {}", promised(*bar)),
            Self::Between(least, most) => write!(f, "{} to {}", promised(*least), promised(*most)),
            Self::RatioAtMost(bar) => write!(f, "ratio <= {}", promised(*bar)),
        }
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "## {} (load {:.1} before, {:.1} after)\n", self.bench, self.load_before, self.load_after)?;
        if let Some(grid) = &self.grid {
            writeln!(f, "{grid}")?;
        } else if !self.rows.is_empty() {
            let mut table = Table::new();
            table.load_style(presets::ASCII_MARKDOWN);
            table.set_header(["figure", "measured", "bar", "goal", "beside", "ratio", "met", "note"]);
            for row in &self.rows {
                let beside = row.beside.as_ref().map(|(tool, value)| format!("{tool}: {}", number(*value)));
                table.add_row([
                    row.figure.clone(),
                    format!("{} {}", number(row.value), row.unit).trim_end().to_owned(),
                    row.bar.map(|bar| bar.to_string()).unwrap_or_default(),
                    row.goal.map(promised).unwrap_or_default(),
                    beside.unwrap_or_default(),
                    row.ratio.map(|ratio| format!("{ratio:.3}")).unwrap_or_default(),
                    row.is_met.map_or("", |is_met| if is_met { "yes" } else { "NO" }).to_owned(),
                    row.note.clone(),
                ]);
            }
            writeln!(f, "{table}")?;
        }
        self.skipped.iter().try_for_each(|what| writeln!(f, "\nskipped: {what}"))?;
        self.failed.iter().try_for_each(|why| writeln!(f, "\nFAILED: {why}"))
    }
}

impl Grid {
    pub fn new(columns: &[&str]) -> Self {
        Self {
            columns: columns.iter().map(|&column| column.to_owned()).collect(),
            lines: Vec::new(),
            remark: String::new(),
        }
    }

    pub fn add(&mut self, line: Vec<String>) {
        self.lines.push(line);
    }

    /// The table for a document: without spaces for alignment. Figures stand at the right.
    pub fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rule = ["---"].into_iter().chain(std::iter::repeat("--:")).take(self.columns.len()).collect::<Vec<_>>();
        let lines: String = self.lines.iter().map(|cells| line(cells)).collect();
        let remark = if self.remark.is_empty() { String::new() } else { format!("\n{}\n", self.remark) };
        format!("{}|{}|\n{lines}{remark}", line(&self.columns), rule.join("|"))
    }
}

impl fmt::Display for Grid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header(&self.columns);
        self.lines.iter().for_each(|line| {
            table.add_row(line);
        });
        write!(f, "{table}")?;
        if self.remark.is_empty() { Ok(()) } else { write!(f, "\n\n{}", self.remark) }
    }
}

/// Formats a bar or a goal: a small one as it was set, so that 1.005 stays 1.005.
fn promised(value: f64) -> String {
    if value.abs() < 10.0 { value.to_string() } else { number(value) }
}

/// Formats a number with at least three digits, with commas between thousands.
pub fn number(value: f64) -> String {
    if value.fract() == 0.0 || value.abs() >= 1000.0 {
        let digits = format!("{:.0}", value.abs());
        let grouped: Vec<&str> =
            digits.as_bytes().rchunks(3).rev().map(|chunk| std::str::from_utf8(chunk).unwrap_or_default()).collect();
        let sign = if value < 0.0 { "-" } else { "" };
        return format!("{sign}{}", grouped.join(","));
    }
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        small if small >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// The median. For an even number of values, the lower of the two in the middle.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}
