//! Have-lists between nodes: a provider that never had the release before sends what is new all the same.

use std::process::Stdio;

use crate::support::images::{self, ImageFiles, noise};
use crate::support::{Fleet, NodeProcess, SOON, until};

/// A release of 8 MB in 40 files, one of which is new in each.
fn release(number: u64) -> ImageFiles {
    let names: Vec<String> = (0..40).map(|file| format!("usr/lib/app/{file}")).collect();
    let seed = |file: u64| if file == number { 100 + number } else { file };
    let contents: Vec<Vec<u8>> = (0..40).map(|file| noise(seed(file), 200_000)).collect();
    let files: Vec<(&str, &[u8])> =
        names.iter().zip(&contents).map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    images::layout(&[images::tar(&files)])
}

fn patch_received(node: &NodeProcess) -> u64 {
    let status = node.status();
    let rows = status["traffic"].as_array().expect("traffic");
    rows.iter().find(|row| row["protocol"] == "patch").map_or(0, |row| row["received_bytes"].as_u64().unwrap_or(0))
}

#[test]
fn a_provider_without_the_base_sends_only_new_content() {
    let mut fleet = Fleet::create(2);
    fleet.start();
    let folder = fleet.folder.path();
    let [hub, edge] = &fleet.nodes[..] else { panic!("two nodes") };
    edge.import(folder, &release(1), "demo/app:1");
    hub.import(folder, &release(2), "demo/app:2");
    let planned = edge.cli(&["-o", "json", "plan", "demo/app:2"]).ok().json();
    let listed = &planned["layers"][0]["plans"][0]["listed"];
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "the old release's files are told: {planned}");
    assert!(edge.cli(&["plan", "demo/app:2"]).ok().stdout.contains("files of"), "{planned}");
    let pulled = edge.pull("demo/app:2");
    let received = pulled["received_bytes"].as_u64().expect("a number");
    // Two files: the hub's new one, and the one that the edge has in another version.
    assert!((400_000..420_000).contains(&received), "{pulled}");
}

#[test]
fn a_pull_by_a_list_goes_on_after_a_power_cut() {
    let mut fleet = Fleet::create(2);
    fleet.nodes[0].set("network.upload_max=\"8 Mbit/s\"");
    fleet.start();
    let folder = fleet.folder.path().to_owned();
    // 14 of 40 files are new: 2.8 MB, in frames of a fourth of that at most.
    let third = |new: u64| {
        let names: Vec<String> = (0..40).map(|file| format!("f/{file}")).collect();
        let seed = |file: u64| if file.is_multiple_of(3) { new + file } else { file };
        let contents: Vec<Vec<u8>> = (0..40).map(|file| noise(seed(file), 200_000)).collect();
        let files: Vec<(&str, &[u8])> =
            names.iter().zip(&contents).map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
        images::layout(&[images::tar(&files)])
    };
    fleet.nodes[1].import(&folder, &third(1000), "demo/app:1");
    fleet.nodes[0].import(&folder, &third(2000), "demo/app:2");
    let edge = &mut fleet.nodes[1];
    let mut command = edge.cli_command();
    command.args(["image", "pull", "demo/app:2"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut pulling = command.spawn().expect("a process");
    until("more than half of the transfer", SOON, || (patch_received(edge) > 1_900_000).then_some(()));
    edge.kill9();
    let _ = pulling.wait();
    edge.start();
    edge.wait_image("demo/app:2");
    let received = patch_received(edge);
    assert!(received < 1_900_000, "{received} bytes after the power cut");
}
