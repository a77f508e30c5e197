//! A full or failing disk during import and pull. The command must name the failure and its place. The node must stay
//! well and list no partial item. The same command must succeed when the disk works again.

use std::path::{Path, PathBuf};

use super::strace::Strace;
use crate::support::images::{self, ImageFiles, noise};
use crate::support::{Fleet, NodeProcess, SOON, until};

fn image(seed: u64) -> ImageFiles {
    images::layout(&[images::tar(&[("app", &noise(seed, 400_000))])])
}

/// The faults, and words of the messages.
const FAULTS: [(&str, &[&str]); 6] = [
    ("write:error=ENOSPC", &["is full", "free some space"]),
    ("write:error=EIO", &["cannot write", "/partial/", "Input/output error"]),
    ("fallocate:error=ENOSPC", &["is full", "free some space"]),
    ("fsync:error=EIO", &["cannot sync", "Input/output error"]),
    ("rename:error=EIO", &["cannot rename", "Input/output error"]),
    ("fdatasync:error=EIO", &["/index", "Input/output error", "restart"]),
];

/// Whether RocksDB refuses writes after the fault until the node restarts. After a failed fdatasync, it is unknown
/// which bytes the kernel dropped.
fn needs_restart(fault: &str) -> bool {
    fault.starts_with("fdatasync")
}

/// The paths on which the fault applies; all paths if there are none. A `write` also wakes threads, so it fails only on
/// unfinished files. A node numbers these from its start.
fn paths_of(node: &NodeProcess, fault: &str) -> Vec<PathBuf> {
    if !fault.starts_with("write") {
        return Vec::new();
    }
    (0..100).map(|number| node.data_dir.join(format!("partial/{number}.tmp"))).collect()
}

fn attach(node: &NodeProcess, fault: &str, log: &Path) -> Strace {
    let paths = paths_of(node, fault);
    Strace::attach(node, &[fault], &paths.iter().map(PathBuf::as_path).collect::<Vec<_>>(), log)
}

#[track_caller]
fn check_still_serves(node: &mut NodeProcess, fault: &str, images: usize) {
    assert_eq!(node.http("/healthz").map(|(status, _)| status), Some(200), "{fault}");
    assert_eq!(node.ask(&["image", "list"]).as_array().unwrap().len(), images, "{fault}");
    if needs_restart(fault) {
        node.stop();
        node.start();
    }
}

#[test]
fn a_failing_disk_fails_an_import_and_nothing_else() {
    let mut fleet = Fleet::single();
    let folder = fleet.folder.path().to_owned();
    let node = &mut fleet.nodes[0];
    for (index, (fault, words)) in FAULTS.into_iter().enumerate() {
        let path = folder.join(format!("image{index}"));
        image(index as u64).write_to(&path);
        let name = format!("demo/app:{index}");
        let import = ["image", "import", path.to_str().unwrap(), "--name", &name];
        let strace = attach(node, fault, &folder.join("strace.log"));
        node.cli(&import).fails(6, words);
        drop(strace);
        check_still_serves(node, fault, index);
        node.cli(&import).ok();
    }
    assert_eq!(node.stop(), 0);
    assert_eq!(node.fsck()["images"], FAULTS.len());
}

#[test]
fn a_failing_disk_fails_a_pull_and_nothing_else() {
    let mut fleet = Fleet::create(2);
    fleet.start();
    let folder = fleet.folder.path().to_owned();
    let [hub, edge] = &mut fleet.nodes[..] else { panic!("two nodes") };
    for (index, (fault, words)) in FAULTS.into_iter().enumerate() {
        let name = format!("demo/app:{index}");
        hub.import(&folder, &image(index as u64), &name);
        let strace = attach(edge, fault, &folder.join("strace.log"));
        edge.cli(&["--quiet", "image", "pull", &name]).fails(6, words);
        drop(strace);
        check_still_serves(edge, fault, index);
        edge.wait_peers(1);
        edge.pull(&name);
        until("the pull to be over", SOON, || edge.status()["pulls"].as_array()?.is_empty().then_some(()));
    }
    assert_eq!(edge.peer(&hub.peer_id).unwrap()["cut_off"], false);
    assert_eq!(edge.stop(), 0);
    assert_eq!(edge.fsck()["images"], FAULTS.len());
}
