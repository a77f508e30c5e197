//! A client that pulls through the registry endpoint of its node and unpacks, beside `lighter image pull` with an
//! export that is unpacked by hand. Once over 1 Mbit/s, where the edge has the release before; once over 1 Gbit/s,
//! where it has nothing, and the hub keeps the blobs of what it imports (docs/RUNTIMES.md). The client is curl, and tar
//! unpacks: as a runtime does, it takes the layers one after another.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::fleet::{Fleet, NEW};
use crate::report::{Row, Section, median};
use crate::whole::Link;
use crate::{Bencher, namespaces, process};

/// The promise: the time through the endpoint over that by hand.
const RATIO: f64 = 1.1;
const PORT: u16 = 4480;

/// A link, and what the edge has.
struct Case {
    name: &'static str,
    rate: &'static str,
    burst: &'static str,
    queue: &'static str,
    is_update: bool,
}

const CASES: [Case; 2] = [
    Case { name: "update over 1 Mbit/s", rate: "1mbit", burst: "4kb", queue: "400ms", is_update: true },
    Case { name: "cold pull over 1 Gbit/s", rate: "1gbit", burst: "256kb", queue: "20ms", is_update: false },
];

pub fn run(bencher: &Bencher, section: &mut Section) -> Result<()> {
    if let Some(obstacle) = namespaces::obstacle() {
        section.skip(&format!("endpoint: {obstacle}"));
        return Ok(());
    }
    if !process::is_there("curl") {
        section.skip("endpoint: curl is missing");
        return Ok(());
    }
    let layouts = bencher.inputs.whole_nginx()?.unwrap_or_else(|| bencher.inputs.nginx.clone());
    for case in CASES {
        let (mut by_client, mut by_hand, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for run in 0..bencher.runs {
            let dir = bencher.work.join(format!("endpoint-{run}"));
            let client = measure(bencher, &dir, &case, &layouts, through_the_endpoint)?;
            let hand = measure(bencher, &dir, &case, &layouts, pull_by_hand)?;
            by_client.push(client);
            by_hand.push(hand);
            ratios.push(client / hand);
        }
        let note = format!("through the endpoint {:.2} s, by hand {:.2} s", median(by_client), median(by_hand));
        let row = Row::new(format!("{}: endpoint over pull and unpack", case.name), median(ratios), "ratio");
        section.add(row.at_most(RATIO).note(note));
    }
    Ok(())
}

/// The seconds that a way to bring and unpack the image takes, at an edge of its own.
fn measure(
    bencher: &Bencher,
    dir: &Path,
    case: &Case,
    layouts: &[PathBuf; 2],
    bring: fn(&Fleet, &Link, &Path) -> Result<()>,
) -> Result<f64> {
    let link = Link::create(case.rate, case.burst, case.queue)?;
    let settings = [&format!("registry.listen=127.0.0.1:{PORT}"), "registry.keep_blobs=true"];
    let fleet = link.fleet(bencher, &dir.join("nodes"), &settings)?;
    if case.is_update {
        fleet.release(layouts)?;
    } else {
        fleet.nodes[0].import(&layouts[1], NEW)?;
        fleet.nodes[1].wait_for_peers(1, fleet.nodes[0].status()?.layers)?;
    }
    let tree = dir.join("tree");
    std::fs::create_dir_all(&tree)?;
    let start = Instant::now();
    bring(&fleet, &link, &tree)?;
    let seconds = start.elapsed().as_secs_f64();
    drop(fleet);
    std::fs::remove_dir_all(dir)?;
    Ok(seconds)
}

fn through_the_endpoint(_: &Fleet, link: &Link, tree: &Path) -> Result<()> {
    let (name, tag) = NEW.split_once(':').context("a name without a tag")?;
    let root = format!("http://127.0.0.1:{PORT}/v2/{name}");
    let accept = "Accept: application/vnd.oci.image.manifest.v1+json";
    let manifest = link.edge().run("curl", &["-sSf", "-H", accept, &format!("{root}/manifests/{tag}")])?;
    let manifest: Value = serde_json::from_str(&manifest)?;
    for layer in manifest["layers"].as_array().context("a manifest without layers")? {
        let digest = layer["digest"].as_str().context("a layer without a digest")?;
        let is_gzip = layer["mediaType"].as_str().is_some_and(|media_type| media_type.ends_with("gzip"));
        let unpack = if is_gzip { "-xz" } else { "-x" };
        let script = r#"set -e; curl -sSf "$0" | tar "$2" -C "$1""#;
        let tree = tree.to_str().context("a path that is no text")?;
        link.edge().run("sh", &["-c", script, &format!("{root}/blobs/{digest}"), tree, unpack])?;
    }
    Ok(())
}

fn pull_by_hand(fleet: &Fleet, _: &Link, tree: &Path) -> Result<()> {
    let edge = &fleet.nodes[1];
    edge.pull(NEW)?;
    let exported = tree.with_file_name("exported");
    process::output(edge.client().args(["image", "export", "--plain", NEW]).arg(&exported))?;
    let index: Value = serde_json::from_slice(&std::fs::read(exported.join("index.json"))?)?;
    let blob = |digest: &Value| -> Result<PathBuf> {
        let digest = digest.as_str().context("a descriptor without a digest")?;
        Ok(exported.join("blobs/sha256").join(digest.trim_start_matches("sha256:")))
    };
    let manifest: Value = serde_json::from_slice(&std::fs::read(blob(&index["manifests"][0]["digest"])?)?)?;
    for layer in manifest["layers"].as_array().context("a manifest without layers")? {
        process::output(Command::new("tar").arg("-xf").arg(blob(&layer["digest"])?).arg("-C").arg(tree))?;
    }
    Ok(())
}
