//! The work that a commit leaves for later: a layer's TLSH digest, and its compression at rest.

use std::path::Path;

use crate::support::images::{self, ImageFiles};
use crate::support::{Fleet, NodeProcess, SOON, until};

fn image(release: u32) -> ImageFiles {
    let lines: String =
        (0..20_000).map(|line| format!("line {line} of release {}\n", release * (line % 90 / 89))).collect();
    images::layout(&[images::tar(&[("app", lines.as_bytes())])])
}

/// The DiffIds of layers that have a digest.
fn described(node: &NodeProcess) -> Vec<String> {
    let layers = node.ask(&["layer", "list"]);
    let ids = layers.as_array().unwrap().iter().map(|layer| layer["diff_id"].as_str().unwrap().to_owned());
    ids.filter(|id| node.ask(&["layer", "show", id])["tlsh"].is_string()).collect()
}

/// The packed files below a folder.
fn packed(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(
            |path| {
                if path.is_dir() {
                    packed(&path)
                } else {
                    usize::from(path.extension().is_some_and(|end| end == "zst"))
                }
            },
        )
        .sum()
}

#[test]
fn a_layer_gets_its_digest_and_is_packed_behind_its_commit() {
    let mut fleet = Fleet::create(2);
    for node in &mut fleet.nodes {
        node.set("store.at_rest=\"zstd\"");
    }
    fleet.start();
    let folder = fleet.folder.path().to_owned();
    for release in 1..=2 {
        let name = format!("demo/app:{release}");
        fleet.nodes[0].import(&folder, &image(release), &name);
        let pulled = fleet.nodes[1].pull(&name);
        // The second release comes as a patch from a base that is packed at both ends.
        assert!(release == 1 || pulled["received_bytes"].as_u64().unwrap() < 20_000, "{pulled}");
        for node in &fleet.nodes {
            until("digests", SOON, || (described(node).len() == release as usize).then_some(()));
            let layers = node.data_dir.join("layers");
            until("packed layers", SOON, || (packed(&layers) == release as usize).then_some(()));
        }
    }
    let edge = &mut fleet.nodes[1];
    edge.stop();
    edge.fsck();
    edge.start();
    assert_eq!(described(edge).len(), 2);
}
