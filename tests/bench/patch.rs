//! Patches of Lighter and of stock xdelta3: the same pairs on the same machine, by turns.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::inputs::Pair;
use crate::process::{Cost, is_there, measure};
use crate::report::{Row, Section, median};
use crate::{Bencher, process};

/// The promise for the speed of applying: MB of the target for each second.
const APPLY_RATE: f64 = 150.0;
/// The promise for the memory of applying.
const APPLY_PEAK_MIB: f64 = 64.0;

pub fn run(bencher: &Bencher, section: &mut Section) -> Result<()> {
    let has_stock = is_there("xdelta3");
    if !has_stock {
        section.skip("xdelta3 is not on PATH: patches are measured without a comparison");
    }
    bencher.inputs.pairs().iter().try_for_each(|pair| measure_pair(bencher, pair, has_stock, section))
}

fn measure_pair(bencher: &Bencher, pair: &Pair, has_stock: bool, section: &mut Section) -> Result<()> {
    let (ours, stock) = (bencher.work.join("ours.patch"), bencher.work.join("stock.vcdiff"));
    let rebuilt = bencher.work.join("rebuilt.tar");
    let lighter = || {
        let mut command = Command::new(&bencher.lighter);
        command.arg("--quiet").arg("patch");
        command
    };
    let mut create = || {
        let mut command = lighter();
        measure(
            command.arg("create").arg("--target").arg(&pair.new).arg("--base").arg(&pair.old).arg("--out").arg(&ours),
        )
    };
    let mut stock_create = || {
        let mut command = Command::new("xdelta3");
        measure(command.args(["-e", "-9", "-B", "1073741824", "-f", "-s"]).arg(&pair.old).arg(&pair.new).arg(&stock))
    };
    let made = in_turns(bencher.runs, has_stock, &mut create, &mut stock_create)?;
    let mut apply = || {
        let mut command = lighter();
        measure(command.arg("apply").arg("--patch").arg(&ours).arg("--base").arg(&pair.old).arg("--out").arg(&rebuilt))
    };
    let mut stock_apply = || {
        let mut command = Command::new("xdelta3");
        measure(command.args(["-d", "-B", "1073741824", "-f", "-s"]).arg(&pair.old).arg(&stock).arg(&rebuilt))
    };
    let applied = in_turns(bencher.runs, has_stock, &mut apply, &mut stock_apply)?;
    apply()?;
    process::output(Command::new("cmp").arg(&rebuilt).arg(&pair.new))?;
    let bytes = |path: &Path| std::fs::metadata(path).map(|metadata| metadata.len() as f64);
    let stock_bytes = if has_stock { Some(bytes(&stock)?) } else { None };
    report(pair.name, (bytes(&ours)?, stock_bytes, bytes(&pair.new)?), &made, &applied, section);
    for file in [&ours, &stock, &rebuilt] {
        // Without the stock tool, its patch does not exist.
        let _ = std::fs::remove_file(file);
    }
    Ok(())
}

/// The costs of every run: Lighter's, and the stock tool's if the tool exists.
struct Turns {
    ours: Vec<Cost>,
    stock: Vec<Cost>,
}

impl Turns {
    fn ours(&self, of: impl Fn(&Cost) -> f64) -> f64 {
        median(self.ours.iter().map(of))
    }

    fn beside(&self, row: Row, tool: &str, of: impl Fn(&Cost) -> f64 + Copy) -> Row {
        if self.stock.is_empty() {
            return row;
        }
        let ratios = self.ours.iter().zip(&self.stock).map(|(ours, stock)| of(ours) / of(stock));
        row.beside(tool, median(self.stock.iter().map(of)), median(ratios))
    }
}

/// Runs both tools by turns. The order changes with every run, so that a disturbance affects both alike.
fn in_turns(
    runs: u32,
    has_stock: bool,
    ours: &mut dyn FnMut() -> Result<Cost>,
    stock: &mut dyn FnMut() -> Result<Cost>,
) -> Result<Turns> {
    let mut turns = Turns { ours: Vec::new(), stock: Vec::new() };
    for run in 0..runs {
        if has_stock && run % 2 == 1 {
            turns.stock.push(stock()?);
        }
        turns.ours.push(ours()?);
        if has_stock && run % 2 == 0 {
            turns.stock.push(stock()?);
        }
    }
    ensure!(!turns.ours.is_empty(), "nothing was run");
    Ok(turns)
}

fn report(name: &str, bytes: (f64, Option<f64>, f64), made: &Turns, applied: &Turns, section: &mut Section) {
    let (ours, stock, target) = bytes;
    let row = Row::new(format!("{name}: patch"), ours, "bytes");
    section.add(match stock {
        Some(stock) => row.beside("xdelta3 -9", stock, ours / stock).ratio_at_most(1.0),
        None => row,
    });
    let seconds = Row::new(format!("{name}: create"), made.ours(|cost| cost.seconds), "s");
    let seconds = made.beside(seconds, "xdelta3 -9", |cost| cost.seconds);
    section.add(if stock.is_some() { seconds.ratio_at_most(1.0) } else { seconds });
    let peak = Row::new(format!("{name}: create, peak"), made.ours(|cost| cost.peak_mib), "MiB");
    section.add(made.beside(peak, "xdelta3 -9", |cost| cost.peak_mib));
    let rate = |cost: &Cost| target / cost.seconds / 1e6;
    let applying = Row::new(format!("{name}: apply"), applied.ours(rate), "MB/s").at_least(APPLY_RATE);
    section.add(applying.note(beside_note(applied, "xdelta3 -d", "MB/s", rate)));
    let peak_of = |cost: &Cost| cost.peak_mib;
    let peak = Row::new(format!("{name}: apply, peak"), applied.ours(peak_of), "MiB").at_most(APPLY_PEAK_MIB);
    section.add(peak.note(beside_note(applied, "xdelta3 -d", "MiB", peak_of)));
}

/// A note with the figure of the other tool, for a row whose bar is a number.
fn beside_note(turns: &Turns, tool: &str, unit: &str, of: impl Fn(&Cost) -> f64) -> String {
    if turns.stock.is_empty() {
        return String::new();
    }
    format!("{tool}: {:.0} {unit}", median(turns.stock.iter().map(of)))
}
