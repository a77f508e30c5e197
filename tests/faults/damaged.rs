//! Bytes that change on disk. The node must find them before it sends or uses them, move the file to `quarantine/`, and
//! be able to fetch the item again. It must not blame another node: the bytes that it sends or counts on are checked
//! first, and its own disk is held to be at fault where they changed here.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::strace::Strace;
use crate::support::images::{self, ImageFiles, two_releases};
use crate::support::{Fleet, NodeProcess, SOON, until};

/// Images of two releases of one layer, and the DiffIds of the layers.
fn releases() -> [(ImageFiles, String); 2] {
    let (first, second) = two_releases(1, 1 << 20);
    [first, second].map(|tar| (images::layout(std::slice::from_ref(&tar)), images::sha256(&tar)))
}

/// The file of a layer in the store.
fn layer_file(node: &NodeProcess, diff_id: &str) -> PathBuf {
    let name = diff_id.trim_start_matches("sha256:");
    files(&node.data_dir.join("layers")).into_iter().find(|path| path.ends_with(name)).expect("the layer's file")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn flip_a_bit(path: &Path) {
    let file = File::options().read(true).write(true).open(path).expect("a file");
    let middle = file.metadata().expect("its length").len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, middle).expect("a byte");
    file.write_all_at(&[byte[0] ^ 1], middle).expect("a byte");
}

fn holds(node: &NodeProcess, diff_id: &str) -> bool {
    node.ask(&["layer", "list"]).as_array().unwrap().iter().any(|layer| layer["diff_id"] == diff_id)
}

/// A hub with both releases and `edges` with the first, all connected.
fn fleet(edges: usize) -> Fleet {
    let mut fleet = Fleet::create(1 + edges);
    fleet.start();
    let [(first, _), (second, _)] = releases();
    for node in &fleet.nodes {
        node.import(fleet.folder.path(), &first, "demo/app:1");
    }
    fleet.nodes[0].import(fleet.folder.path(), &second, "demo/app:2");
    for edge in &fleet.nodes[1..] {
        edge.wait_holdings(&fleet.nodes[0].peer_id, 2);
    }
    fleet
}

#[track_caller]
fn check_not_blamed(node: &NodeProcess, peer: &NodeProcess) {
    assert_eq!(node.peer(&peer.peer_id).expect("a peer")["cut_off"], false);
}

#[track_caller]
fn check_logged(node: &NodeProcess, diff_id: &str) {
    let log = node.log();
    let line = log.lines().find(|line| line.contains("is damaged")).expect("a line in the log");
    assert!(line.contains("ERROR") && line.contains(diff_id) && line.contains("quarantine"), "{line}");
}

#[test]
fn a_damaged_target_is_not_served_and_can_be_pulled_again() {
    let mut fleet = Fleet::create(3);
    for node in &mut fleet.nodes {
        node.set("timing.patience_s=3");
    }
    let folder = fleet.folder.path().to_owned();
    let [(first, _), (second, target)] = releases();
    let [hub, edge, spare] = &mut fleet.nodes[..] else { panic!("three nodes") };
    hub.start();
    edge.start();
    hub.import(&folder, &first, "demo/app:1");
    hub.import(&folder, &second, "demo/app:2");
    edge.pull("demo/app:1");
    flip_a_bit(&layer_file(hub, &target));
    edge.cli(&["--quiet", "image", "pull", "demo/app:2"]).fails(5, &[&target]);
    check_not_blamed(edge, hub);
    check_logged(hub, &target);
    assert!(!holds(hub, &target));
    let out = folder.join("out");
    hub.cli(&["--quiet", "image", "export", "demo/app:2", out.to_str().unwrap()]).fails(6, &["not held"]);

    spare.start();
    spare.import(&folder, &second, "demo/spare:2");
    edge.wait_holdings(&spare.peer_id, 1);
    let pulled = edge.pull("demo/app:2");
    assert_eq!(pulled["layers"][0]["from"], spare.peer_id.as_str(), "{pulled}");
    hub.wait_holdings(&edge.peer_id, 2);
    hub.pull("demo/app:2");
    assert!(holds(hub, &target));
    assert_eq!(hub.stop(), 0);
    hub.fsck();
}

/// Damages the base of one node, and pulls. The pull must succeed with this number of bases, without the damaged one.
/// The damaged layer can be pulled again.
fn check_base(damaged_at: usize, bases: usize) {
    let mut fleet = fleet(1);
    let [(_, base), _] = releases();
    flip_a_bit(&layer_file(&fleet.nodes[damaged_at], &base));
    let [hub, edge] = &fleet.nodes[..] else { panic!("two nodes") };
    let pulled = edge.pull("demo/app:2");
    let read = pulled["layers"][0]["bases"].as_array().unwrap();
    assert!(read.len() == bases && !read.contains(&base.as_str().into()), "{pulled}");
    check_not_blamed(edge, hub);
    check_not_blamed(hub, edge);
    let (damaged, whole) = (&fleet.nodes[damaged_at], &fleet.nodes[1 - damaged_at]);
    check_logged(damaged, &base);
    assert!(!holds(damaged, &base));
    damaged.wait_holdings(&whole.peer_id, 2);
    damaged.pull("demo/app:1");
    assert!(holds(damaged, &base));
    for node in &mut fleet.nodes {
        assert_eq!(node.stop(), 0);
        node.fsck();
    }
}

#[test]
fn a_damaged_base_here_gives_the_whole_layer() {
    check_base(1, 0);
}

#[test]
fn a_damaged_base_there_gives_a_patch_by_a_have_list() {
    check_base(0, 1);
}

#[test]
fn an_unreadable_base_gives_the_whole_layer() {
    let fleet = fleet(1);
    let [hub, edge] = &fleet.nodes[..] else { panic!("two nodes") };
    let [(_, base), _] = releases();
    let path = layer_file(edge, &base);
    let strace =
        Strace::attach(edge, &["pread64:error=EIO"], &[path.as_path()], &fleet.folder.path().join("strace.log"));
    let pulled = edge.pull("demo/app:2");
    drop(strace);
    assert_eq!(pulled["layers"][0]["bases"].as_array().unwrap().len(), 0, "{pulled}");
    check_not_blamed(edge, hub);
    check_logged(edge, &base);
}

#[test]
fn a_damaged_cached_patch_is_made_again() {
    let mut fleet = fleet(2);
    let [hub, first, second] = &mut fleet.nodes[..] else { panic!("three nodes") };
    first.pull("demo/app:2");
    assert_eq!(first.stop(), 0);
    let patches = files(&hub.data_dir.join("patches"));
    assert_eq!(patches.len(), 1);
    flip_a_bit(&patches[0]);
    let pulled = second.pull("demo/app:2");
    assert_eq!(pulled["layers"][0]["bases"].as_array().unwrap().len(), 1, "{pulled}");
    check_not_blamed(second, hub);
    assert_eq!(hub.log().matches("made a patch").count(), 2);
    assert!(hub.log().contains("a cached patch is damaged on disk"));
}

#[test]
fn a_damaged_manifest_is_not_served_and_can_be_had_again() {
    let mut fleet = Fleet::create(2);
    for node in &mut fleet.nodes {
        node.set("timing.patience_s=3");
    }
    fleet.start();
    let folder = fleet.folder.path().to_owned();
    let [(image, _), _] = releases();
    let [hub, edge] = &mut fleet.nodes[..] else { panic!("two nodes") };
    let manifest = hub.import(&folder, &image, "demo/app:1");
    let name = manifest.trim_start_matches("sha256:");
    let blobs = files(&hub.data_dir.join("blobs"));
    flip_a_bit(blobs.iter().find(|path| path.ends_with(name)).expect("the manifest's file"));
    edge.cli(&["--quiet", "image", "pull", "demo/app:1"]).fails(5, &[]);
    check_not_blamed(edge, hub);
    assert!(hub.data_dir.join("quarantine").join(format!("{name}.0")).is_file());
    assert!(hub.log().contains("is damaged"), "{}", hub.log());
    hub.import(&folder, &image, "demo/app:1");
    edge.pull("demo/app:1");
    for node in &mut fleet.nodes {
        assert_eq!(node.stop(), 0);
        node.fsck();
    }
}

/// The part of a patch that a node has received when its power goes, with a bit flipped on the disk: the node finds the
/// frame, buys what it needs again, and blames nobody.
#[test]
fn a_damaged_partial_patch_is_not_applied() {
    let mut fleet = Fleet::create(2);
    fleet.nodes[0].set("network.upload_max=\"8 Mbit/s\"");
    fleet.start();
    let folder = fleet.folder.path().to_owned();
    let image = images::layout(&[images::tar(&[("app", &images::noise(3, 4_000_000))])]);
    let [hub, edge] = &mut fleet.nodes[..] else { panic!("two nodes") };
    hub.import(&folder, &image, "demo/app:1");
    let mut pull = edge.cli_command();
    pull.args(["--quiet", "image", "pull", "demo/app:1"]).stderr(std::process::Stdio::null());
    let mut pulling = pull.spawn().expect("a process");
    let received = |node: &NodeProcess| node.status()["received_bytes"].as_u64();
    until("half of the transfer", SOON, || received(edge).filter(|bytes| *bytes > 2_200_000));
    edge.kill9();
    pulling.wait().expect("the pull");
    let partial: Vec<PathBuf> = files(&edge.data_dir.join("partial"));
    let patch =
        partial.iter().find(|path| path.extension().is_some_and(|end| end == "patch")).expect("a partial patch");
    let file = File::options().read(true).write(true).open(patch).expect("a file");
    let mut byte = [0];
    file.read_exact_at(&mut byte, 500_000).expect("a byte");
    file.write_all_at(&[byte[0] ^ 1], 500_000).expect("a byte");
    edge.start();
    edge.wait_image("demo/app:1");
    check_not_blamed(edge, hub);
    until("the pull to be over", SOON, || edge.status()["pulls"].as_array()?.is_empty().then_some(()));
    assert_eq!(edge.stop(), 0);
    edge.fsck();
}
