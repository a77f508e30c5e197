//! Whole layers that compress: the hub keeps their header, and makes each frame when it is sent.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::support::images::{self, noise};
use crate::support::{Fleet, NodeProcess, SOON, until};

const IMAGE: &str = "demo/app:1";
/// Over the least whose header is made behind the commit. A fourth of it does not compress.
const BLOCKS: u64 = 4300;
const BLOCK_BYTES: usize = 16 << 10;
/// A header has 42 bytes for each MiB.
const HEADER_BYTES_MAX: u64 = 64 << 10;

/// A layer, and its name.
fn layer() -> (Vec<u8>, String) {
    let block = |seed| [noise(seed, BLOCK_BYTES / 4), vec![0; BLOCK_BYTES * 3 / 4]].concat();
    let tar = images::tar(&[("app", &(0..BLOCKS).flat_map(block).collect::<Vec<u8>>())]);
    let name = images::sha256(&tar);
    (tar, name)
}

/// A hub that imported the layer, and an edge of its site. The header is there.
fn hub_and_edge() -> (Fleet, String) {
    let mut fleet = Fleet::create(2);
    for node in &mut fleet.nodes {
        node.set("site=\"harbour\"");
        node.set("timing.patience_s=3");
    }
    fleet.start();
    let (tar, name) = layer();
    let [hub, edge] = &fleet.nodes[..] else { panic!("two nodes") };
    hub.import(fleet.folder.path(), &images::layout(&[tar]), IMAGE);
    until("the header", SOON, || (hub.status()["store"]["patches"].as_u64()? == 1).then_some(()));
    edge.wait_holdings(&hub.peer_id, 1);
    (fleet, name)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn patch_bytes(node: &NodeProcess, which: &str) -> u64 {
    let status = node.status();
    let rows = status["traffic"].as_array().unwrap();
    rows.iter().find(|row| row["protocol"] == "patch").unwrap()[which].as_u64().unwrap()
}

#[test]
fn a_layer_comes_compressed_from_a_hub_that_keeps_a_header() {
    let (mut fleet, _) = hub_and_edge();
    let [hub, edge] = &mut fleet.nodes[..] else { panic!("two nodes") };
    edge.pull(IMAGE);
    let layer_bytes = BLOCKS * BLOCK_BYTES as u64;
    let received = patch_bytes(edge, "received_bytes");
    assert!((layer_bytes / 4..layer_bytes / 3).contains(&received), "{received} of {layer_bytes}");
    let kept: Vec<u64> =
        files(&hub.data_dir.join("patches")).iter().map(|file| file.metadata().unwrap().len()).collect();
    assert!(matches!(kept[..], [bytes] if bytes < HEADER_BYTES_MAX), "{kept:?}");
    for node in [hub, edge] {
        assert_eq!(node.stop(), 0);
        node.fsck();
    }
}

/// The frames before the damaged one are sent. The one that is damaged is not what the header names, so that it is not
/// sent, and nobody takes the hub for a liar.
#[test]
fn a_layer_that_changed_on_disk_is_found_by_its_header() {
    let (mut fleet, name) = hub_and_edge();
    let [hub, edge] = &mut fleet.nodes[..] else { panic!("two nodes") };
    let file = files(&hub.data_dir.join("layers")).into_iter().find(|path| path.ends_with(&name["sha256:".len()..]));
    let file = File::options().write(true).open(file.expect("the layer's file")).expect("a file");
    file.write_all_at(b"damaged", BLOCKS / 2 * BLOCK_BYTES as u64).expect("bytes");
    edge.cli(&["--quiet", "image", "pull", IMAGE]).fails(5, &[&name]);
    assert_eq!(edge.peer(&hub.peer_id).expect("a peer")["cut_off"], false);
    let log = hub.log();
    assert!(log.contains("a cached patch is damaged on disk"), "{log}");
    assert!(log.lines().any(|line| line.contains("is damaged and not used") && line.contains(&name)), "{log}");
    assert!(patch_bytes(edge, "received_bytes") > 1 << 20, "frames before it came");
}
