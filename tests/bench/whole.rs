//! Whole layers, which nobody has a base for: a plain tar into a node, and from there into another one over a link of
//! 1 Gbit/s. One layer is noise, as a blob that is compressed already; the other is real files.
//!
//! hub == link, shaped in both directions == edge

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::Bencher;
use crate::fleet::{Fleet, Place, Transport};
use crate::namespaces::{self, Namespace};
use crate::report::{Row, Section, median};

/// The link: bytes a second. The burst holds what it carries in 2 ms.
const LINK: f64 = 125e6;
const RATE: &str = "1gbit";
const BURST: &str = "256kb";
const QUEUE: &str = "20ms";
/// The promises: MB of tar a second over the link's, and into a node.
const OF_LINK: f64 = 0.9;
const IMPORT_RATE: f64 = 400.0;
const NOISE_BYTES: u64 = 1_000_000_000;
const IMAGE: &str = "bench/whole:1";

pub fn run(bencher: &Bencher, section: &mut Section) -> Result<()> {
    if let Some(obstacle) = namespaces::obstacle() {
        section.skip(&format!("whole: {obstacle}"));
        return Ok(());
    }
    let folder = bencher.work.join("whole");
    std::fs::create_dir_all(&folder)?;
    let (noise, real) = (folder.join("noise.tar"), folder.join("real.tar"));
    write_noise(&noise)?;
    let olds: Vec<PathBuf> = bencher.inputs.pairs().into_iter().map(|pair| pair.old).collect();
    concatenate(&olds, &real)?;
    for (name, tar) in [("noise", &noise), ("real files", &real)] {
        let megabytes = std::fs::metadata(tar)?.len() as f64 / 1e6;
        let layout = bencher.inputs.plain_layout(&format!("whole-{name}"), tar)?;
        let runs = (0..bencher.runs)
            .map(|run| measure(bencher, &folder.join(format!("run-{run}")), &layout))
            .collect::<Result<Vec<_>>>()?;
        let rate = |seconds: &dyn Fn(&Measured) -> f64| median(runs.iter().map(|run| megabytes / seconds(run)));
        let import = rate(&|run| run.import_seconds);
        let note = format!("{megabytes:.0} MB");
        let row = Row::new(format!("{name}: import of a plain tar"), import, "MB/s");
        section.add(row.at_least(IMPORT_RATE).note(note));
        let pull = rate(&|run| run.pull_seconds);
        let received = median(runs.iter().map(|run| run.received_bytes / 1e6));
        let note = format!("{received:.0} MB received; over the link's rate: {:.2}", pull * 1e6 / LINK);
        let row = Row::new(format!("{name}: cold pull over 1 Gbit/s"), pull, "MB/s");
        section.add(row.at_least(OF_LINK * LINK / 1e6).note(note));
    }
    Ok(std::fs::remove_dir_all(folder)?)
}

struct Measured {
    import_seconds: f64,
    pull_seconds: f64,
    received_bytes: f64,
}

fn measure(bencher: &Bencher, dir: &Path, layout: &Path) -> Result<Measured> {
    let (hub, edge) = (Namespace::create("hub")?, Namespace::create("edge")?);
    hub.cable("eth0", &edge, "eth0")?;
    for (namespace, address) in [(&hub, "10.78.0.1"), (&edge, "10.78.0.2")] {
        namespace.address("eth0", address)?;
        namespace.shape("eth0", RATE, BURST, QUEUE)?;
    }
    let places = [
        Place { namespace: &hub, ip: "10.78.0.1", site: "harbour" },
        Place { namespace: &edge, ip: "10.78.0.2", site: "harbour" },
    ];
    let fleet = Fleet::start(bencher, dir, Transport::Quic, &places, &[])?;
    let start = Instant::now();
    fleet.nodes[0].import(layout, IMAGE)?;
    let import_seconds = start.elapsed().as_secs_f64();
    fleet.nodes[1].wait_for_peers(1, 1)?;
    let pulled = fleet.nodes[1].pull(IMAGE)?;
    for trouble in &pulled.trouble {
        eprintln!("bench: a pull was retried: {trouble}");
    }
    drop(fleet);
    std::fs::remove_dir_all(dir)?;
    let received_bytes = pulled.received_bytes as f64;
    Ok(Measured { import_seconds, pull_seconds: pulled.seconds, received_bytes })
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
