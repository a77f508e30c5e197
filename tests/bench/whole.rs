//! Whole layers, which nobody has a base for: into a node, and from there into another one over a link of 1 Gbit/s. One
//! layer is noise, as a blob that is compressed already; the other is real files.
//!
//! hub == link, shaped in both directions == edge
//!
//! The pull begins when the hub has the layer's header, which it makes behind the import
//! (docs/decisions/0036-payloads-when-they-are-sent.md).
//!
//! The link has the offload that a network card has. A plain tar is imported beside `sha256sum`, and a gzip layer
//! beside `gzip -dc` into `sha256sum`: the digest that the commit needs, by the tools that everybody has.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::at_rest::layers;
use crate::fleet::{Fleet, Place, Transport};
use crate::inputs::largest_blob;
use crate::namespaces::{self, Namespace};
use crate::nodes::{Identity, Node};
use crate::report::{Row, Section, median};
use crate::{Bencher, machine, process};

/// The link: bytes a second. The burst holds what it carries in 2 ms.
const LINK: f64 = 125e6;
const RATE: &str = "1gbit";
const BURST: &str = "256kb";
const QUEUE: &str = "20ms";
/// The promises: a cold pull over the link's rate; MB of tar a second into a node; an import of gzip over the tools.
const OF_LINK: f64 = 0.9;
const IMPORT_RATE: f64 = 400.0;
const GZIP_RATIO: f64 = 1.0;
const NOISE_BYTES: u64 = 1_000_000_000;
const IMAGE: &str = "bench/whole:1";
/// Between two looks whether a layer is committed.
const POLL: Duration = Duration::from_millis(2);
const HEADER_WITHIN: Duration = Duration::from_secs(60);

pub fn run(bencher: &Bencher, section: &mut Section) -> Result<()> {
    if let Some(obstacle) = namespaces::obstacle() {
        section.skip(&format!("whole: {obstacle}"));
        return Ok(());
    }
    let folder = bencher.work.join("whole");
    std::fs::create_dir_all(&folder)?;
    let (noise, real) = (folder.join("noise.tar"), folder.join("real.tar"));
    write_noise(&noise)?;
    concatenate(&bencher.inputs.olds()?, &real)?;
    for (name, tar) in [("noise", &noise), ("real files", &real)] {
        let megabytes = std::fs::metadata(tar)?.len() as f64 / 1e6;
        let layout = bencher.inputs.plain_layout(&format!("whole-{name}"), tar)?;
        let runs = (0..bencher.runs)
            .map(|run| measure(bencher, &folder.join(format!("run-{run}")), &layout, tar))
            .collect::<Result<Vec<_>>>()?;
        let middle = |value: &dyn Fn(&Measured) -> f64| median(runs.iter().map(value));
        let import = middle(&|run| megabytes / run.import.seconds);
        let note = format!(
            "{megabytes:.0} MB; sha256sum {:.0} MB/s; {:.1} s of the processor for a GB",
            middle(&|run| megabytes / run.sha256sum_seconds),
            middle(&|run| run.import.processor_seconds) / megabytes * 1e3,
        );
        let row = Row::new(format!("{name}: import of a plain tar"), import, "MB/s");
        section.add(row.at_least(IMPORT_RATE).note(note));
        let pull = middle(&|run| megabytes * 1e6 / run.pull_seconds / LINK);
        let note = format!(
            "{:.0} MB/s, {:.0} MB received; processor for a GB: hub {:.1} s, edge {:.1} s; the header took {:.1} s",
            pull * LINK / 1e6,
            middle(&|run| run.received_bytes / 1e6),
            middle(&|run| run.hub_seconds) / megabytes * 1e3,
            middle(&|run| run.edge_seconds) / megabytes * 1e3,
            middle(&|run| run.header_seconds),
        );
        let row = Row::new(format!("{name}: cold pull over the rate of 1 Gbit/s"), pull, "ratio");
        section.add(row.at_least(OF_LINK).note(note));
    }
    import_gzip(bencher, &folder, section)?;
    Ok(std::fs::remove_dir_all(folder)?)
}

/// The cost of an import.
struct Import {
    /// Until the layer is committed: its file has its name.
    seconds: f64,
    /// Until the release is signed, with the recipe of the layer's blob.
    released_seconds: f64,
    processor_seconds: f64,
}

struct Measured {
    import: Import,
    /// From the end of the import until the hub has the header.
    header_seconds: f64,
    sha256sum_seconds: f64,
    pull_seconds: f64,
    received_bytes: f64,
    /// The processor time of both nodes during the pull.
    hub_seconds: f64,
    edge_seconds: f64,
}

/// The link with a node at each end: the hub first.
pub struct Link {
    hub: Namespace,
    edge: Namespace,
}

impl Link {
    /// # Errors
    /// If a namespace or its device cannot be had.
    pub fn create(rate: &str, burst: &str, queue: &str) -> Result<Self> {
        let (hub, edge) = (Namespace::create("hub")?, Namespace::create("edge")?);
        hub.cable("eth0", &edge, "eth0")?;
        for (namespace, address) in [(&hub, "10.78.0.1"), (&edge, "10.78.0.2")] {
            namespace.offload("eth0")?;
            namespace.address("eth0", address)?;
            namespace.shape("eth0", rate, burst, queue)?;
        }
        Ok(Self { hub, edge })
    }

    /// # Errors
    /// If a node does not start.
    pub fn fleet(&self, bencher: &Bencher, dir: &Path, settings: &[&str]) -> Result<Fleet> {
        let places = [
            Place { namespace: &self.hub, ip: "10.78.0.1", site: "harbour" },
            Place { namespace: &self.edge, ip: "10.78.0.2", site: "harbour" },
        ];
        Fleet::start(bencher, dir, Transport::Quic, &places, settings)
    }

    pub fn edge(&self) -> &Namespace {
        &self.edge
    }
}

fn measure(bencher: &Bencher, dir: &Path, layout: &Path, tar: &Path) -> Result<Measured> {
    let link = Link::create(RATE, BURST, QUEUE)?;
    let fleet = link.fleet(bencher, dir, &[])?;
    let import = import(&fleet.nodes[0], layout)?;
    let header_seconds = seconds(|| wait_for_header(fleet.nodes[0].dir()))?;
    let sha256sum_seconds = seconds(|| process::output(Command::new("sha256sum").arg(tar)).map(drop))?;
    fleet.nodes[1].wait_for_peers(1, 1)?;
    let before = [spent(&fleet.nodes[0])?, spent(&fleet.nodes[1])?];
    let pulled = fleet.nodes[1].pull(IMAGE)?;
    let after = [spent(&fleet.nodes[0])?, spent(&fleet.nodes[1])?];
    for trouble in &pulled.trouble {
        eprintln!("bench: a pull was retried: {trouble}");
    }
    drop(fleet);
    std::fs::remove_dir_all(dir)?;
    Ok(Measured {
        import,
        header_seconds,
        sha256sum_seconds,
        pull_seconds: pulled.seconds,
        received_bytes: pulled.received_bytes as f64,
        hub_seconds: after[0] - before[0],
        edge_seconds: after[1] - before[1],
    })
}

/// gzip layers of the corpus, each into a node of its own, beside the tools.
fn import_gzip(bencher: &Bencher, folder: &Path, section: &mut Section) -> Result<()> {
    for pair in bencher.inputs.pairs() {
        let layout = bencher.inputs.layout(&format!("{}-r2", pair.name), std::slice::from_ref(&pair.new))?;
        let megabytes = std::fs::metadata(&pair.new)?.len() as f64 / 1e6;
        let blob = largest_blob(&layout)?;
        let (mut rates, mut ratios, mut spent, mut released) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for run in 0..bencher.runs {
            let dir = folder.join(format!("gzip-{}-{run}", pair.name));
            let identity = Identity::create(&bencher.lighter, dir.clone())?;
            let settings = [r#"network.listen=["/ip4/127.0.0.1/udp/0/quic-v1"]"#.to_owned()];
            let node = Node::start(&bencher.lighter, &identity, None, &settings)?;
            let import = import(&node, &layout)?;
            drop(node);
            std::fs::remove_dir_all(dir)?;
            let tools = r#"gzip -dc -- "$0" | sha256sum"#;
            let tools = seconds(|| process::output(Command::new("sh").args(["-c", tools]).arg(&blob)).map(drop))?;
            rates.push(megabytes / import.seconds);
            ratios.push(tools / import.seconds);
            spent.push(import.processor_seconds / megabytes * 1e3);
            released.push(tools / import.released_seconds);
        }
        let note = format!(
            "{megabytes:.0} MB of tar at {:.0} MB/s; {:.1} s of the processor for a GB; with the recipe {:.2}",
            median(rates),
            median(spent),
            median(released)
        );
        let row =
            Row::new(format!("{}: import of gzip over gzip -dc into sha256sum", pair.name), median(ratios), "ratio");
        section.add(row.at_least(GZIP_RATIO).note(note));
    }
    Ok(())
}

/// Imports one layer.
fn import(node: &Node, layout: &Path) -> Result<Import> {
    let (before, start) = (spent(node)?, Instant::now());
    std::thread::scope(|scope| {
        let importing = scope.spawn(|| node.import(layout, IMAGE));
        while layers(node.dir())?.is_empty() && !importing.is_finished() {
            std::thread::sleep(POLL);
        }
        let (seconds, processor_seconds) = (start.elapsed().as_secs_f64(), spent(node)? - before);
        importing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok(Import { seconds, released_seconds: start.elapsed().as_secs_f64(), processor_seconds })
    })
}

fn wait_for_header(dir: &Path) -> Result<()> {
    let deadline = Instant::now() + HEADER_WITHIN;
    while std::fs::read_dir(dir.join("patches"))?.next().is_none() {
        ensure!(Instant::now() < deadline, "{} has no header of its layer", dir.display());
        std::thread::sleep(POLL);
    }
    Ok(())
}

fn spent(node: &Node) -> Result<f64> {
    machine::processor_seconds(node.pid()).context("the processor time of a node cannot be read")
}

fn seconds(act: impl FnOnce() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    act()?;
    Ok(start.elapsed().as_secs_f64())
}

/// Bytes of xorshift64: no encoder makes them smaller.
fn write_noise(path: &Path) -> Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..NOISE_BYTES / 8 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.write_all(&state.to_le_bytes())?;
    }
    Ok(out.flush()?)
}

/// A layer is bytes: that it is several tars does not matter.
fn concatenate(tars: &[PathBuf], path: &Path) -> Result<()> {
    let mut out = File::create(path)?;
    for tar in tars {
        let mut tar = File::open(tar).with_context(|| format!("cannot open {}", tar.display()))?;
        io::copy(&mut tar, &mut out)?;
    }
    Ok(())
}
