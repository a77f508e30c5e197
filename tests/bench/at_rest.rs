//! Layers compressed at rest (`store.at_rest`): their disk beside plain tars, and an update from such bases beside one
//! from tars. The update is a patch that the hub has made before, over loopback: so its time is that of applying.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::Bencher;
use crate::nodes::{Identity, Node};
use crate::report::{Row, Section, median};

/// The promises: disk over that of the tars, and the speed of applying over that from tars.
const DISK_RATIO: f64 = 0.45;
const APPLY_RATIO: f64 = 0.7;
const OLD: &str = "bench/at-rest:1";
const NEW: &str = "bench/at-rest:2";
/// A layer is packed at the speed of zstd, for half of the time of one core.
const PACKED_WITHIN: Duration = Duration::from_secs(600);
const POLL: Duration = Duration::from_millis(200);

pub fn run(bencher: &Bencher, section: &mut Section) -> Result<()> {
    let pairs = bencher.inputs.pairs();
    let (olds, news): (Vec<PathBuf>, Vec<PathBuf>) = pairs.into_iter().map(|pair| (pair.old, pair.new)).unzip();
    let tar_bytes = olds.iter().map(|old| Ok(std::fs::metadata(old)?.len())).sum::<Result<u64>>()?;
    let layouts = [bencher.inputs.layout("at-rest-old", &olds)?, bencher.inputs.layout("at-rest-new", &news)?];
    let (mut disks, mut plain, mut packed) = (Vec::new(), Vec::new(), Vec::new());
    for run in 0..bencher.runs {
        let dir = bencher.work.join(format!("at-rest-{run}"));
        plain.push(measure(bencher, &dir.join("tar"), &layouts, ("tar", 0))?.seconds);
        let measured = measure(bencher, &dir.join("zstd"), &layouts, ("zstd", olds.len()))?;
        packed.push(measured.seconds);
        disks.push(measured.disk_bytes as f64 / tar_bytes as f64);
        std::fs::remove_dir_all(dir)?;
    }
    let ratio = median(plain.iter().zip(&packed).map(|(plain, packed)| plain / packed));
    let note = format!("{:.0} MB of tars", tar_bytes as f64 / 1e6);
    section.add(Row::new("at rest: disk over tars", median(disks), "ratio").at_most(DISK_RATIO).note(note));
    let note = format!("an update from tars takes {:.2} s, from packed bases {:.2} s", median(plain), median(packed));
    section.add(Row::new("at rest: speed of an update over tars", ratio, "ratio").at_least(APPLY_RATIO).note(note));
    Ok(())
}

struct Measured {
    /// The old release on an edge's disk.
    disk_bytes: u64,
    /// The update of an edge by a patch that is there.
    seconds: f64,
}

/// A hub and two edges with layers in this form, of which so many must be packed. The first edge has the hub make the
/// patches.
fn measure(bencher: &Bencher, dir: &Path, layouts: &[PathBuf; 2], (form, packed): (&str, usize)) -> Result<Measured> {
    let create = |name: &str| Identity::create(&bencher.lighter, dir.join(name));
    let identities = [create("hub")?, create("first")?, create("second")?];
    let members: Vec<String> = identities.iter().map(|identity| format!("{:?}", identity.peer_id)).collect();
    let mut nodes: Vec<Node> = Vec::new();
    for identity in &identities {
        let bootstrap = match nodes.first() {
            Some(hub) => hub.status()?.listen,
            None => Vec::new(),
        };
        let bootstrap: Vec<String> =
            bootstrap.iter().map(|address| format!("\"{address}/p2p/{}\"", identities[0].peer_id)).collect();
        let mut settings = vec![
            r#"network.listen=["/ip4/127.0.0.1/udp/0/quic-v1"]"#.to_owned(),
            format!("network.bootstrap=[{}]", bootstrap.join(",")),
            "network.mdns=false".to_owned(),
            "network.upload_max=unlimited".to_owned(),
            format!("fleet.members=[{}]", members.join(",")),
            format!("fleet.publishers=[{}]", members[0]),
            format!("store.at_rest={form}"),
        ];
        settings.extend_from_slice(&bencher.settings);
        nodes.push(Node::start(&bencher.lighter, identity, None, &settings)?);
    }
    for node in &nodes {
        node.import(&layouts[0], OLD)?;
    }
    for identity in &identities {
        wait_until_packed(&identity.dir, packed)?;
    }
    let disk_bytes = layers(&identities[2].dir)?.iter().map(|(_, bytes)| bytes).sum();
    nodes[0].import(&layouts[1], NEW)?;
    let held = nodes[0].status()?.layers;
    for edge in &nodes[1..] {
        edge.wait_for_peers(1, held)?;
    }
    nodes[1].pull(NEW)?;
    let pulled = nodes[2].pull(NEW)?;
    ensure!(pulled.trouble.is_empty(), "a pull was retried: {:?}", pulled.trouble);
    Ok(Measured { disk_bytes, seconds: pulled.seconds })
}

fn wait_until_packed(dir: &Path, count: usize) -> Result<()> {
    let deadline = Instant::now() + PACKED_WITHIN;
    while layers(dir)?.iter().filter(|(path, _)| path.extension().is_some()).count() < count {
        ensure!(Instant::now() < deadline, "the layers in {} were not compressed", dir.display());
        std::thread::sleep(POLL);
    }
    Ok(())
}

/// The files of a node's layers, and their bytes.
pub fn layers(dir: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    for shard in std::fs::read_dir(dir.join("layers/sha256"))? {
        for file in std::fs::read_dir(shard?.path())? {
            let file = file?;
            found.push((file.path(), file.metadata()?.len()));
        }
    }
    Ok(found)
}
