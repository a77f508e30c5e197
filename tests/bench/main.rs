//! `make bench`: measures the promises of Lighter. Each figure stands beside its bar or the figure of a stock tool.
//! docs/BENCHMARKS.md has the figures of one machine and explains them.
//!
//! All benchmarks use the release binary `lighter`, as users do. The program skips and names what the machine cannot
//! measure, because it lacks root or a stock tool. It ends each process by its id and each network namespace by its
//! name, also when a benchmark fails.

mod at_rest;
mod documents;
mod endpoint;
mod fidelity;
mod fleet;
mod idle;
mod import;
mod inputs;
mod links;
mod machine;
mod meeting;
mod namespaces;
mod nodes;
mod odd;
mod patch;
mod peers;
mod planning;
mod process;
mod references;
mod report;
mod simulation;
mod tools;
mod uplink;
mod whole;
mod wire;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, ValueEnum};

use inputs::Inputs;
use links::LinkRow;
use odd::OddInput;
use report::Report;

/// Measures the promises of Lighter. Each figure stands beside its bar or the figure of a stock tool.
#[derive(Parser)]
struct Args {
    /// The benchmarks to run. Default: all, in this order, but `peers` and `odd`, which take an hour each.
    benches: Vec<Bench>,
    /// The corpus of real layers, packed or unpacked. Default: ../shared/corpus if it exists, else the fixture.
    #[arg(long, env = "LIGHTER_CORPUS", value_name = "DIR")]
    corpus: Option<PathBuf>,
    /// The number of measurements of each figure. The report has their medians. Default: 5 for `links`, 1 for `peers`
    /// and `odd`, else 3.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: Option<u32>,
    /// A row of `links` to measure, instead of all. May be repeated.
    #[arg(long = "row", value_enum, value_name = "ROW")]
    rows: Vec<LinkRow>,
    /// An input of `odd` to measure, instead of all. May be repeated.
    #[arg(long = "input", value_enum, value_name = "INPUT")]
    inputs: Vec<OddInput>,
    /// The size of the inputs of `odd`, in percent of their usual size.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    percent: u32,
    /// Write the figures of `peers` and `odd` into README.md and docs/BENCHMARKS.md, and the picture docs/peers.svg.
    #[arg(long)]
    write: bool,
    /// The time to watch idle nodes.
    #[arg(long, default_value_t = 130, value_name = "SECONDS")]
    idle_s: u64,
    /// Measure this binary instead of building one.
    #[arg(long, value_name = "FILE")]
    lighter: Option<PathBuf>,
    /// A setting for every node of the fleets, as in network.upload_max="50 Mbit/s". May be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[arg(long, short, value_enum, default_value_t = Format::Table)]
    output: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Bench {
    /// Bytes, seconds and memory of patches, beside stock xdelta3.
    Patch,
    /// The rate at which references of executables are found and written anew.
    References,
    /// The import of gzip layers into a node.
    Import,
    /// Whole layers: into a node, and from there over a link of 1 Gbit/s.
    Whole,
    /// A client that pulls through the registry endpoint, beside a pull by hand.
    Endpoint,
    /// Layers compressed at rest: their disk, and updates from them.
    AtRest,
    /// All bytes of a pull on the wire, beside the bytes of its patches.
    Wire,
    /// A pull over an uplink of 1 Mbit/s, and the cost of a second edge behind that uplink.
    Uplink,
    /// A small fleet, real and simulated: bytes over its uplinks and the time until its sites are done.
    Fidelity,
    /// Planning in a fleet of 10,000 nodes.
    Planning,
    /// The cost of an event of the simulator in fleets of 1,000 to 100,000 nodes.
    Simulation,
    /// The bytes of a first connection between two nodes.
    Meeting,
    /// Memory and traffic of a node at rest.
    Idle,
    /// Links that are far, lossy or asked by many at once.
    Links,
    /// Real layers by every other way to bring them, as far as its programs are on PATH, and by each effort.
    Peers,
    /// Large and odd inputs at each effort, beside xdelta3 -9 and zstd -19.
    Odd,
}

/// The environment of every benchmark.
struct Bencher {
    lighter: PathBuf,
    inputs: Inputs,
    /// A temporary folder, which is removed at the end.
    work: PathBuf,
    runs: u32,
    /// The same for `links`, and its rows. No row means all.
    link_runs: u32,
    link_rows: Vec<LinkRow>,
    /// The same for `peers` and `odd`; the inputs of `odd`, where none means all, and their size.
    long_runs: u32,
    odd_inputs: Vec<OddInput>,
    odd_percent: u32,
    write: bool,
    idle_s: u64,
    settings: Vec<String>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let folder = tempfile::Builder::new().prefix("lighter-bench-").tempdir().context("cannot make a folder")?;
    let work = folder.path().to_owned();
    let lighter = binary(args.lighter, &work)?;
    let inputs = Inputs::find(args.corpus, &work)?;
    let bencher = Bencher {
        lighter,
        inputs,
        work,
        runs: args.runs.unwrap_or(3),
        link_runs: args.runs.unwrap_or(5),
        link_rows: args.rows,
        long_runs: args.runs.unwrap_or(1),
        odd_inputs: args.inputs,
        odd_percent: args.percent,
        write: args.write,
        idle_s: args.idle_s,
        settings: args.set,
    };
    let mut report = Report::new(machine::describe(), bencher.inputs.describe());
    let usual = || Bench::value_variants().iter().copied().filter(|bench| !matches!(bench, Bench::Peers | Bench::Odd));
    let benches = if args.benches.is_empty() { usual().collect() } else { args.benches };
    for bench in benches {
        let name = bench.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
        eprintln!("bench: {name}");
        let section = report.section(&name);
        let measured = match bench {
            Bench::Patch => patch::run(&bencher, section),
            Bench::References => references::run(&bencher, section),
            Bench::Import => import::run(&bencher, section),
            Bench::Whole => whole::run(&bencher, section),
            Bench::Endpoint => endpoint::run(&bencher, section),
            Bench::AtRest => at_rest::run(&bencher, section),
            Bench::Wire => wire::run(&bencher, section),
            Bench::Uplink => uplink::run(&bencher, section),
            Bench::Fidelity => fidelity::run(&bencher, section),
            Bench::Planning => planning::run(&bencher, section),
            Bench::Simulation => simulation::run(&bencher, section),
            Bench::Meeting => meeting::run(&bencher, section),
            Bench::Idle => idle::run(&bencher, section),
            Bench::Links => links::run(&bencher, section),
            Bench::Peers => peers::run(&bencher, section),
            Bench::Odd => odd::run(&bencher, section),
        };
        if let Err(error) = measured {
            section.failed(&format!("{error:#}"));
        }
        section.loads();
        if args.output == Format::Table {
            println!("{section}");
        }
    }
    match args.output {
        Format::Table => println!("{}", report.summary()),
        Format::Json => println!("{}", serde_json::to_string_pretty(&report)?),
    }
    ensure!(!report.has_failed(), "a benchmark could not be measured");
    Ok(())
}

/// The binary to measure. It is a copy, so that a build at the same time cannot replace it.
fn binary(given: Option<PathBuf>, work: &Path) -> Result<PathBuf> {
    let built = match given {
        Some(given) => given,
        None => {
            eprintln!("bench: building lighter");
            let beside = std::env::current_exe()?.with_file_name("lighter");
            let target = beside.ancestors().nth(2).context("the benchmark is in no build folder")?;
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let built = std::process::Command::new(cargo)
                .args(["build", "--release", "--quiet", "-p", "lighter-cli", "--target-dir"])
                .arg(target)
                .status()
                .context("cannot run cargo; --lighter FILE names a binary that is built")?;
            ensure!(built.success(), "lighter could not be built");
            // Cargo puts all binaries of a workspace and profile into one folder.
            beside
        }
    };
    let copy = work.join("lighter");
    std::fs::copy(&built, &copy).with_context(|| format!("cannot copy {}", built.display()))?;
    Ok(copy)
}
