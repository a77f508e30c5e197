//! Large and odd inputs at each effort, beside xdelta3 -9 and zstd -19: bytes over the smaller of both, time to make
//! over xdelta3's, the speed of applying, and whether more work ever made a larger patch.

mod inputs;

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum as _;

pub use inputs::OddInput;

use crate::Bencher;
use crate::documents;
use crate::report::{Grid, Row, Section, number};
use crate::tools::{self, EFFORTS, Measured, MeasuredPair, Pair, ToolResult};

/// The promises: our bytes over the smaller peer's, our seconds over xdelta3's, MB of target a second.
const BYTES_RATIO: f64 = 1.0;
const SECONDS_RATIO: f64 = 1.0;
const APPLY_RATE: f64 = 100.0;
const XDELTA3: &str = "xdelta3 -9";
/// zstd -19 needs most of it, for the largest input at its usual size.
const PEER_LIMIT_S: &str = "1800";

pub fn run(bencher: &Bencher, section: &mut Section) -> Result<()> {
    let bars = [format!("over the smaller peer (<= {BYTES_RATIO})"), format!("over xdelta3's (<= {SECONDS_RATIO})")];
    let rate = format!("apply MB/s (>= {APPLY_RATE})");
    let mut grid = Grid::new(&["input", "effort", "bytes", &bars[0], "make s", &bars[1], &rate, "missed"]);
    let inputs = if bencher.odd_inputs.is_empty() { OddInput::value_variants() } else { &bencher.odd_inputs };
    let mut larger = Vec::new();
    for &input in inputs {
        let measured = measure(bencher, input)?;
        for program in &measured.peers_missing {
            section.skip(&format!("{program} is not on PATH"));
        }
        larger.extend(measured.larger_efforts.iter().map(|larger| {
            let (tool, lower) = (&larger.tool, &larger.lower_tool);
            format!("{}: {tool} {}, {lower} {}", larger.pair, larger.patch_bytes, larger.lower_patch_bytes)
        }));
        measured.pairs.iter().for_each(|pair| report(pair, section, &mut grid));
    }
    let row = Row::new("efforts that are larger than a lower one", larger.len() as f64, "").at_most(0.0);
    let larger = if larger.is_empty() { "none".to_owned() } else { larger.join("; ") };
    let percent = bencher.odd_percent;
    grid.remark = format!("{percent} % of the usual sizes. Efforts larger than a lower one (bar: none): {larger}");
    let written = if bencher.write { write(bencher, &grid) } else { Ok(()) };
    section.grid = Some(grid);
    section.add(row.note(larger));
    written
}

/// Documents have a table of all inputs at a size.
fn write(bencher: &Bencher, grid: &Grid) -> Result<()> {
    ensure!(bencher.odd_inputs.is_empty(), "--write takes all inputs, and --input chooses some");
    documents::replace("docs/BENCHMARKS.md", &format!("odd, {} %", bencher.odd_percent), grid)
}

/// Makes an input, measures it and removes it: only one at a time takes room.
fn measure(bencher: &Bencher, input: OddInput) -> Result<Measured> {
    let name = input.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
    let folder = bencher.work.join("odd");
    std::fs::create_dir(&folder)?;
    let (base, target) = (folder.join("base.tar"), folder.join("target.tar"));
    eprintln!("bench: making {name}, {} % of its usual size", bencher.odd_percent);
    input.write(bencher.odd_percent, &base, &target).with_context(|| format!("cannot make {name}"))?;
    let runs = bencher.long_runs.to_string();
    let options = ["--peers", "xdelta3,zstd19", "--runs", &runs, "--peer-limit-s", PEER_LIMIT_S];
    let measured = tools::measure(bencher, &[Pair { name, target, base }], &options);
    std::fs::remove_dir_all(&folder)?;
    measured
}

fn report(pair: &MeasuredPair, section: &mut Section, grid: &mut Grid) {
    let peers: Vec<&ToolResult> = pair.results.iter().filter(|result| result.is_peer).collect();
    for peer in peers.iter().filter(|peer| peer.patch_bytes.is_none()) {
        section.skip(&format!("{}: {}: {}", pair.name, peer.tool, peer.reason()));
    }
    let smallest = peers.iter().filter_map(|peer| Some((peer.patch_bytes?, peer.tool.as_str()))).min();
    let xdelta3 = pair.result(XDELTA3).and_then(|peer| peer.encode_s);
    for tool in EFFORTS {
        let Some(ours) = pair.result(tool) else { continue };
        let (Some(bytes), Some(make_s), Some(rate)) = (ours.patch_bytes, ours.encode_s, ours.apply_mb_per_s) else {
            section.failed(&format!("{}: {tool}: {}", pair.name, ours.reason()));
            continue;
        };
        let named = |figure: &str| format!("{}, {tool}: {figure}", pair.name);
        let mut bytes_row = Row::new(named("bytes"), bytes as f64, "bytes");
        if let Some((peer_bytes, peer)) = smallest {
            let ratio = bytes as f64 / peer_bytes.max(1) as f64;
            bytes_row = bytes_row.beside(peer, peer_bytes as f64, ratio).ratio_at_most(BYTES_RATIO);
        }
        let mut make_row = Row::new(named("make"), make_s, "s");
        if let Some(peer_s) = xdelta3 {
            make_row = make_row.beside(XDELTA3, peer_s, make_s / peer_s).ratio_at_most(SECONDS_RATIO);
        }
        let apply_row = Row::new(named("apply"), rate, "MB/s").at_least(APPLY_RATE);
        let rows = [("bytes", bytes_row), ("time", make_row), ("apply", apply_row)];
        let missed: Vec<&str> = rows.iter().filter(|(_, row)| row.is_missed()).map(|(what, _)| *what).collect();
        let ratio = |row: &Row| row.ratio().map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}"));
        grid.add(vec![
            pair.name.clone(),
            tool.trim_start_matches("lighter ").to_owned(),
            number(bytes as f64),
            ratio(&rows[0].1),
            format!("{make_s:.2}"),
            ratio(&rows[1].1),
            format!("{rate:.0}"),
            missed.join(", "),
        ]);
        rows.into_iter().for_each(|(_, row)| section.add(row));
    }
}
