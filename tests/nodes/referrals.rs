//! Referrals: a hub sends a patch once, and who asks for it then has it from who got it.

use std::process::{Child, Stdio};

use crate::support::images::{self, ImageFiles, noise};
use crate::support::{Fleet, NodeProcess, SOON, until};

/// A release of 4 MB; a third of its files are other ones in each.
fn release(number: u64) -> ImageFiles {
    let names: Vec<String> = (0..20).map(|file| format!("usr/lib/app/{file}")).collect();
    let seed = |file: u64| if file.is_multiple_of(3) { number * 1000 + file } else { file };
    let contents: Vec<Vec<u8>> = (0..20).map(|file| noise(seed(file), 200_000)).collect();
    let files: Vec<(&str, &[u8])> =
        names.iter().zip(&contents).map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    images::layout(&[images::tar(&files)])
}

/// Bytes of the 7 files that a release does not share with the one before.
const NEW_BYTES: u64 = 7 * 200_000;

fn patch_sent(node: &NodeProcess) -> u64 {
    let status = node.status();
    let rows = status["traffic"].as_array().expect("traffic");
    rows.iter().find(|row| row["protocol"] == "patch").map_or(0, |row| row["sent_bytes"].as_u64().unwrap_or(0))
}

fn fleet(edges: usize) -> Fleet {
    fleet_with(edges, |_| {})
}

/// A hub that sends one copy, and edges that know it alone and hold the first release; the hub has the second.
fn fleet_with(edges: usize, change: impl FnOnce(&mut [NodeProcess])) -> Fleet {
    let mut fleet = Fleet::create(edges + 1);
    let hub = fleet.nodes[0].address.clone();
    fleet.nodes[0].set("limits.copies_max=1");
    for edge in &mut fleet.nodes[1..] {
        edge.bootstrap = vec![hub.clone()];
    }
    change(&mut fleet.nodes);
    for node in &mut fleet.nodes {
        node.start();
    }
    let folder = fleet.folder.path();
    fleet.nodes.iter().for_each(|node| drop(node.import(folder, &release(1), "demo/app:1")));
    fleet.nodes[0].import(folder, &release(2), "demo/app:2");
    fleet
}

fn pull_in_background(edge: &NodeProcess) -> Child {
    let mut command = edge.cli_command();
    command.args(["image", "pull", "demo/app:2"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("a process")
}

fn is_a_copy(bytes: u64) -> bool {
    (NEW_BYTES..NEW_BYTES + 50_000).contains(&bytes)
}

#[test]
fn a_node_that_asks_after_the_copies_are_given_gets_the_patch_from_a_relay() {
    let fleet = fleet(3);
    for edge in &fleet.nodes[1..] {
        let received = edge.pull("demo/app:2")["received_bytes"].as_u64().expect("a number");
        assert!(is_a_copy(received), "{received}");
    }
    let sent: Vec<u64> = fleet.nodes.iter().map(patch_sent).collect();
    assert!(is_a_copy(sent[0]), "{sent:?}");
    // One of them passed it on twice, or each of two once.
    assert!((2 * NEW_BYTES..2 * NEW_BYTES + 100_000).contains(&sent[1..].iter().sum()), "{sent:?}");
    // They met for that alone.
    until("the visits to end", SOON * 2, || {
        fleet.nodes[1..].iter().all(|edge| edge.status()["peers_connected"] == 1).then_some(())
    });
}

/// The hub has sent its copies: who has it midway from a relay whose power goes gets the rest from the hub, and the
/// relay goes on when it is back.
#[test]
fn a_relay_that_loses_power_midway_is_replaced() {
    let mut fleet = fleet(2);
    fleet.nodes[0].cli(&["node", "limit", "--upload", "4 Mbit/s"]).ok();
    let mut pulls: Vec<_> = fleet.nodes[1..].iter().map(pull_in_background).collect();
    let relay = until("the first bytes to be passed on", SOON, || {
        (1..=2).find(|&index| patch_sent(&fleet.nodes[index]) > 100_000)
    });
    assert!(patch_sent(&fleet.nodes[0]) < NEW_BYTES, "the copy was whole before the power went");
    fleet.nodes[relay].kill9();
    let other = 3 - relay;
    assert!(pulls[other - 1].wait().expect("an end").success());
    fleet.nodes[relay].start();
    until("the relay to go on", SOON, || fleet.nodes[relay].has_image("demo/app:2").then_some(()));
    let received = |index: usize| {
        let status = fleet.nodes[index].status();
        let rows = status["traffic"].as_array().expect("traffic");
        rows.iter().find(|row| row["protocol"] == "patch").and_then(|row| row["received_bytes"].as_u64())
    };
    let received = received(other).expect("bytes of a patch");
    assert!((NEW_BYTES..NEW_BYTES + (1 << 20)).contains(&received), "{received}");
    let _ = pulls[relay - 1].wait();
}

#[test]
fn a_patch_is_passed_on_while_it_comes() {
    let mut fleet = fleet(2);
    fleet.nodes[0].cli(&["node", "limit", "--upload", "4 Mbit/s"]).ok();
    let pulls: Vec<_> = fleet.nodes[1..].iter().map(pull_in_background).collect();
    // Both send or receive long before the hub is done with its only copy.
    until("the first bytes to be passed on", SOON, || {
        fleet.nodes[1..].iter().any(|edge| patch_sent(edge) > 100_000).then_some(())
    });
    assert!(patch_sent(&fleet.nodes[0]) < NEW_BYTES, "the copy was whole before it was passed on");
    for mut pull in pulls {
        assert!(pull.wait().expect("an end").success());
    }
    let sent: Vec<u64> = fleet.nodes.iter_mut().map(|node| patch_sent(node)).collect();
    assert!(is_a_copy(sent[0]) && is_a_copy(sent[1] + sent[2]), "{sent:?}");
}

#[test]
fn a_relay_that_lets_nobody_in_costs_no_more_than_a_moment() {
    let fleet = fleet_with(2, |nodes| {
        let only_hub = nodes[0].peer_id.clone();
        nodes[1].set(format!("fleet.members=[{only_hub:?}]"));
    });
    check_both_from_the_hub(&fleet);
}

#[test]
fn a_node_that_does_not_pass_patches_on_is_not_named() {
    check_both_from_the_hub(&fleet_with(2, |nodes| nodes[1].set("network.passes_on=false")));
}

#[track_caller]
fn check_both_from_the_hub(fleet: &Fleet) {
    for edge in &fleet.nodes[1..] {
        let received = edge.pull("demo/app:2")["received_bytes"].as_u64().expect("a number");
        assert!(is_a_copy(received), "{received}");
    }
    let sent = patch_sent(&fleet.nodes[0]);
    assert!((2 * NEW_BYTES..2 * NEW_BYTES + 100_000).contains(&sent), "{sent}");
}
