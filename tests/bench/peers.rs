//! Real pairs by every way there is to bring a layer: the whole, the changed files, chunks, patches of stock tools, and
//! each effort of Lighter. With `--write`, the figures replace those of README.md and docs/BENCHMARKS.md, and the
//! picture docs/peers.svg.

use anyhow::{Context as _, Result};
use lighter_types::Bytes;

use crate::Bencher;
use crate::documents;
use crate::report::{Grid, Row, Section, number};
use crate::tools::{self, EFFORTS, Measured, MeasuredPair, Pair, ToolResult};

/// Layers of the corpus, and what a new release of each is called.
const PAIRS: [(&str, &str); 4] = [
    ("nginx", "nginx 1.22.1-9, -11"),
    ("typescript", "TypeScript 5.6.2, 5.6.3"),
    ("esbuild", "esbuild 0.24.0, 0.24.1"),
    ("onnx", "onnxruntime 1.20.0, .1"),
];
const PEER_LIMIT_S: &str = "900";

pub fn run(bencher: &Bencher, section: &mut Section) -> Result<()> {
    let mut pairs = Vec::new();
    for (layer, name) in PAIRS {
        match bencher.inputs.releases(layer)? {
            Some([base, target]) => pairs.push(Pair { name: name.to_owned(), target, base }),
            None => section.skip(&format!("{name}: the layers {layer}-r1 and -r2 are not there")),
        }
    }
    let picture = bencher.work.join("peers.svg");
    let (runs, svg) = (bencher.long_runs.to_string(), picture.to_string_lossy());
    let options = ["--runs", &runs, "--peer-limit-s", PEER_LIMIT_S, "--svg", &svg];
    let measured = tools::measure(bencher, &pairs, &options)?;
    for program in &measured.peers_missing {
        section.skip(&format!("{program} is not on PATH"));
    }
    section.grid = Some(grid(&measured, exact_bytes));
    for pair in &measured.pairs {
        bars(pair, section);
    }
    section.add(
        Row::new("efforts that are larger than a lower one", measured.larger_efforts.len() as f64, "").at_most(0.0),
    );
    if bencher.write {
        std::fs::copy(&picture, documents::path("docs/peers.svg")).context("cannot write docs/peers.svg")?;
        documents::replace("README.md", "peers", &grid(&measured, human_bytes))?;
        documents::replace("docs/BENCHMARKS.md", "peers, bytes", &grid(&measured, exact_bytes))?;
        documents::replace("docs/BENCHMARKS.md", "peers, seconds", &grid(&measured, seconds))?;
    }
    Ok(())
}

/// Our bytes beside those of the smallest peer.
fn bars(pair: &MeasuredPair, section: &mut Section) {
    let peers = pair.results.iter().filter(|result| result.is_peer);
    let smallest = peers.filter_map(|peer| Some((peer.patch_bytes?, peer.tool.as_str()))).min();
    for tool in EFFORTS {
        let Some(ours) = pair.result(tool) else { continue };
        let Some(bytes) = ours.patch_bytes else {
            section.failed(&format!("{}: {tool}: {}", pair.name, ours.reason()));
            continue;
        };
        let row = Row::new(format!("{}, {tool}", pair.name), bytes as f64, "bytes");
        section.add(match smallest {
            Some((peer_bytes, peer)) => row.beside(peer, peer_bytes as f64, bytes as f64 / peer_bytes.max(1) as f64),
            None => row,
        });
    }
}

/// A line for each tool, a column for each pair. Efforts of our own come last.
fn grid(measured: &Measured, cell: fn(&ToolResult) -> String) -> Grid {
    let names = measured.pairs.iter().map(|pair| pair.name.as_str());
    let mut grid = Grid::new(&std::iter::once("").chain(names).collect::<Vec<_>>());
    let tools = measured.pairs.first().map_or(&[][..], |pair| &pair.results);
    let (peers, own): (Vec<&ToolResult>, Vec<&ToolResult>) = tools.iter().partition(|result| result.is_peer);
    for tool in peers.into_iter().chain(own).map(|result| result.tool.as_str()) {
        let cells = measured.pairs.iter().map(|pair| pair.result(tool).map_or_else(String::new, cell));
        let name = if EFFORTS.contains(&tool) { format!("**{tool}**") } else { tool.to_owned() };
        grid.add(std::iter::once(name).chain(cells).collect());
    }
    grid
}

fn exact_bytes(result: &ToolResult) -> String {
    result.patch_bytes.map_or_else(|| short_reason(result), |bytes| number(bytes as f64))
}

fn human_bytes(result: &ToolResult) -> String {
    result.patch_bytes.map_or_else(|| short_reason(result), |bytes| Bytes(bytes).to_string())
}

/// Seconds to make, seconds to apply, most memory to make.
fn seconds(result: &ToolResult) -> String {
    match (result.encode_s, result.apply_s) {
        (Some(make_s), Some(apply_s)) => {
            let peak = result.encode_peak_bytes.map_or_else(|| "-".to_owned(), |bytes| Bytes(bytes).to_string());
            format!("{make_s:.2}; {apply_s:.2}; {peak}")
        }
        _ if result.patch_bytes.is_some() => "-".to_owned(),
        _ => short_reason(result),
    }
}

fn short_reason(result: &ToolResult) -> String {
    if result.over_s.is_some() { result.reason() } else { result.status.clone() }
}
