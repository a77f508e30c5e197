//! A fleet of real nodes pulls a release, and the simulator simulates the same fleet. The benchmark compares the bytes
//! over each uplink and the time until each site is done.
//!
//! ```text
//! hub, three near ── outside ══ slow uplink ══ pier (three edges)
//!                          ╚═══ twice as fast ═ quay (three edges)
//! ```
//!
//! The rates of the uplinks let a patch take some seconds: 1 and 2 Mbit/s for the python of the corpus, a quarter of
//! that for the nginx of the fixture.
//!
//! Three nodes near the hub pull first, without an uplink. This makes the hub encode the patch. It also measures the
//! time of applying the patch while three nodes share the processors and the disk of this machine, as the nodes of a
//! site do later.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::fleet::{Fleet, NEW, Place, Transport};
use crate::namespaces::{self, Counters, Namespace};
use crate::nodes::{Node, Pulled};
use crate::report::{Row, Section, median};
use crate::{Bencher, process};

/// The nodes near the hub.
const NEAR: [&str; 3] = ["10.77.0.2", "10.77.0.3", "10.77.0.4"];
/// The sites, and the addresses of their edges.
const SITES: [(&str, [&str; 3]); 2] =
    [("pier", ["10.77.0.11", "10.77.0.12", "10.77.0.13"]), ("quay", ["10.77.0.21", "10.77.0.22", "10.77.0.23"])];
/// The rates of the uplinks for python.
const PYTHON_RATES: [&str; 2] = ["1 Mbit/s", "2 Mbit/s"];
/// The rates of the uplinks for nginx.
const NGINX_RATES: [&str; 2] = ["250 kbit/s", "500 kbit/s"];
/// The shaper's burst and queue, as in the benchmark "uplink".
const BURST: &str = "3100";
const QUEUE: &str = "400ms";
const SETTLE: Duration = Duration::from_secs(5);
/// The promised difference of bytes and of time, in percent.
const BYTES_OFF: f64 = 3.0;
const TIME_OFF: f64 = 10.0;

/// The figures of a site.
struct Measured {
    down_bytes: f64,
    seconds: f64,
}

pub fn run(bencher: &Bencher, section: &mut Section) -> Result<()> {
    if let Some(obstacle) = namespaces::obstacle() {
        section.skip(&format!("fidelity: {obstacle}"));
        return Ok(());
    }
    let (layouts, rates) = match bencher.inputs.python()? {
        Some(python) => (python, PYTHON_RATES),
        None => (bencher.inputs.nginx.clone(), NGINX_RATES),
    };
    let runs = (0..bencher.runs).map(|run| compare(bencher, run, &layouts, rates)).collect::<Result<Vec<_>>>()?;
    for (index, ((site, _), rate)) in SITES.iter().zip(rates).enumerate() {
        let of = |value: fn(&Measured) -> f64, which: usize| median(runs.iter().map(|run| value(&run[which][index])));
        for (what, unit, value, off) in [
            ("bytes to the site", "bytes", (|measured| measured.down_bytes) as fn(&Measured) -> f64, BYTES_OFF),
            ("all edges done", "s", |measured| measured.seconds, TIME_OFF),
        ] {
            let (real, simulated) = (of(value, 0), of(value, 1));
            let percent = 100.0 * (simulated / real - 1.0).abs();
            let name = format!("{site}, {rate}: {what}, simulated");
            section.add(Row::new(name.clone(), simulated, unit).beside("real", real, simulated / real));
            section.add(Row::new(format!("{name}: apart"), percent, "%").at_most(off));
        }
    }
    Ok(())
}

/// The figures of the real sites and of the simulated ones.
fn compare(bencher: &Bencher, run: u32, layouts: &[PathBuf; 2], rates: [&str; 2]) -> Result<[Vec<Measured>; 2]> {
    let (hub, wan) = (Namespace::create("hub")?, Namespace::create("wan")?);
    hub.cable("eth0", &wan, "hub")?;
    wan.switch("outside", &["hub"])?;
    let mut near = Vec::new();
    for ip in NEAR {
        let role = format!("near{}", near.len());
        let namespace = Namespace::create(&role)?;
        namespace.cable("eth0", &wan, &role)?;
        wan.ip(&["link", "set", &role, "master", "outside"])?;
        near.push((namespace, ip));
    }
    let mut edges = Vec::new();
    for ((site, ips), rate) in SITES.iter().zip(rates) {
        let (outer, inner) = (format!("{site}-out"), format!("{site}-in"));
        wan.cable(&outer, &wan, &inner)?;
        wan.ip(&["link", "set", &outer, "master", "outside"])?;
        wan.switch(site, &[&inner])?;
        let bits = rate.replace(" Mbit/s", "mbit").replace(" kbit/s", "kbit");
        wan.shape(&outer, &bits, BURST, QUEUE)?;
        wan.shape(&inner, &bits, BURST, QUEUE)?;
        for (index, ip) in ips.iter().enumerate() {
            let role = format!("{site}{index}");
            let edge = Namespace::create(&role)?;
            edge.cable("eth0", &wan, &role)?;
            wan.ip(&["link", "set", &role, "master", site])?;
            edges.push((edge, *site, *ip));
        }
    }
    let mut places = vec![Place { namespace: &hub, ip: "10.77.0.1", site: "hub" }];
    places.extend(near.iter().map(|(namespace, ip)| Place { namespace, ip, site: "hub" }));
    places.extend(edges.iter().map(|(namespace, site, ip)| Place { namespace, ip, site }));
    places.iter().try_for_each(|place| place.namespace.address("eth0", place.ip))?;
    let dir = bencher.work.join(format!("fidelity-{run}"));
    let more = ["network.uplink_assumed=1 Mbit/s", "limits.encode_effort=default"];
    let fleet = Fleet::start(bencher, &dir, Transport::Quic, &places, &more)?;
    fleet.release(layouts)?;
    let (near, edges) = fleet.nodes[1..].split_at(NEAR.len());
    let first = pull_at_once(near)?;
    let apply_seconds = slowest(&first) - fleet.nodes[0].encode_seconds();
    let frames = frames(bencher, &dir.join("node0"))?;
    edges.iter().try_for_each(|edge| edge.wait_for_peers(3, 1))?;
    std::thread::sleep(SETTLE);
    let counters =
        || SITES.iter().map(|(site, _)| wan.counters(&format!("{site}-in"))).collect::<Result<Vec<Counters>>>();
    let before = counters()?;
    let pulled = pull_at_once(edges)?;
    let after = counters()?;
    let real = (0..SITES.len()).map(|site| {
        let seconds = slowest(&pulled[3 * site..3 * site + 3]);
        Measured { down_bytes: after[site].since(before[site]).ip().0 as f64, seconds }
    });
    let real: Vec<Measured> = real.collect();
    drop(fleet);
    std::fs::remove_dir_all(dir)?;
    let documents = documents(&layouts[1])?;
    let scenario = scenario(&first[0], &frames, documents, apply_seconds, rates);
    Ok([real, simulate(bencher, run, &scenario)?])
}

/// The bytes of the manifest and of the config of the image in an OCI layout.
fn documents(layout: &Path) -> Result<[u64; 2]> {
    let read = |path: PathBuf| -> Result<Value> { Ok(serde_json::from_slice(&std::fs::read(path)?)?) };
    let index = read(layout.join("index.json"))?;
    let digest = index["manifests"][0]["digest"].as_str().context("an index without a manifest")?;
    let manifest = read(layout.join("blobs").join(digest.replace(':', "/")))?;
    let size = |descriptor: &Value| descriptor["size"].as_u64().context("a descriptor without a size");
    Ok([size(&index["manifests"][0])?, size(&manifest["config"])?])
}

fn pull_at_once(nodes: &[Node]) -> Result<Vec<Pulled>> {
    std::thread::scope(|scope| {
        let pulls: Vec<_> = nodes.iter().map(|node| scope.spawn(|| node.pull(NEW))).collect();
        let joined = pulls.into_iter().map(|pull| pull.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        joined.collect()
    })
}

fn slowest(pulled: &[Pulled]) -> f64 {
    pulled.iter().map(|pulled| pulled.seconds).fold(0.0, f64::max)
}

/// The frames of the only patch with bases that a node has made, in the format of a scenario.
fn frames(bencher: &Bencher, node: &Path) -> Result<String> {
    let mut with_bases = Vec::new();
    for patch in std::fs::read_dir(node.join("patches"))? {
        let mut command = Command::new(&bencher.lighter);
        let printed = process::output(command.args(["--output", "json", "patch", "show"]).arg(patch?.path()))?;
        let shown: Value = serde_json::from_str(&printed)?;
        let bases = shown["bases"].as_array().context("a patch without a list of bases")?;
        if !bases.is_empty() {
            with_bases.push(shown);
        }
    }
    let [patch] = &with_bases[..] else { bail!("the hub has {} patches with bases", with_bases.len()) };
    let frames = patch["frames"].as_array().context("a patch without frames")?;
    let frames: Vec<[&Value; 2]> =
        frames.iter().map(|frame| [&frame["payload_bytes"], &frame["target_bytes"]]).collect();
    Ok(serde_json::to_string(&frames)?)
}

fn simulate(bencher: &Bencher, run: u32, scenario: &str) -> Result<Vec<Measured>> {
    let file = bencher.work.join(format!("fidelity-{run}.toml"));
    std::fs::write(&file, scenario)?;
    let mut command = Command::new(&bencher.lighter);
    let printed = process::output(command.args(["--quiet", "--output", "json", "sim", "run"]).arg(&file))?;
    let report: Value = serde_json::from_str(&printed)?;
    let strategies = report["strategies"].as_array().context("a report without strategies")?;
    let ours = strategies.iter().find(|strategy| strategy["strategy"] == "lighter").context("a report without ours")?;
    let sites = ours["sites"].as_array().context("a report without sites")?;
    ensure!(sites.len() == SITES.len(), "{} sites were simulated", sites.len());
    let number = |site: &Value, key: &str| site[key].as_f64().with_context(|| format!("a site without {key}"));
    let site = |site| Ok(Measured { down_bytes: number(site, "down_bytes")?, seconds: number(site, "last_s")? });
    sites.iter().map(site).collect()
}

/// The scenario of the same fleet, with the measured costs of the patch.
fn scenario(pulled: &Pulled, frames: &str, documents: [u64; 2], apply_seconds: f64, rates: [&str; 2]) -> String {
    let Pulled { tar_bytes, patch_bytes, .. } = *pulled;
    let sites = SITES.iter().zip(rates).map(|((_, edges), rate)| {
        format!(
            "[[sites]]\ncount = 1\nnodes = {}\nuplink = [\"{rate}\", \"{rate}\"]\nlatency = \"1 ms\"\n\
             holds = [\"bench/app:1\"]\n\n",
            edges.len()
        )
    });
    let layer = |name: &str| {
        let gzip = tar_bytes * 2 / 5;
        format!("[[layer]]\nname = \"{name}\"\nfamily = \"app\"\ntar = {tar_bytes}\ngzip = {gzip}\n\n")
    };
    let image = |name: &str, layer: &str| {
        format!("[[image]]\nname = \"{name}\"\nlayers = [\"{layer}\"]\ndocuments = {documents:?}\n\n")
    };
    [
        "name = \"fidelity\"\nquestion = \"As the real fleet?\"\nends_after = \"1 h\"\neffort = \"default\"\n\n"
            .to_owned(),
        "[hub]\nrate = \"1 Gbit/s\"\n\n[registry]\nrate = \"1 Gbit/s\"\n\n".to_owned(),
        sites.collect(),
        layer("old") + &layer("new"),
        image("bench/app:1", "old") + &image("bench/app:2", "new"),
        format!(
            "[[patch]]\ntarget = \"new\"\nbase = \"old\"\nbytes = {patch_bytes}\nencode = \"1 ms\"\n\
             apply = \"{} ms\"\nframes = {frames}\n\n",
            (apply_seconds * 1000.0) as u64
        ),
        "[[pull]]\nimage = \"bench/app:2\"\nat = \"60 s\"\n".to_owned(),
    ]
    .concat()
}
