//! A long patch from two holders: the first frames from one, the last ones from the other.

use std::process::{Child, Stdio};

use crate::support::images::{self, noise};
use crate::support::{Fleet, NodeProcess, SOON, until};

/// Over the least that comes from both ends, with what the first holder sends before the second one is asked.
const LAYER_BYTES: u64 = 96_000_000;
/// The bytes that may be on their way when the two meet.
const IN_VAIN_MAX: u64 = 6 << 20;

fn patch_bytes(node: &NodeProcess, which: &str) -> u64 {
    let status = node.status();
    let rows = status["traffic"].as_array().unwrap();
    rows.iter().find(|row| row["protocol"] == "patch").unwrap()[which].as_u64().unwrap()
}

/// Two nodes that hold an image of one layer, and a node that is connected to both. Its uplink is said to carry one and
/// a half of what each of them sends: more than one of them, so that the other one is asked too, and not so much that
/// one alone is late on a machine that has other work.
fn holders_and_edge() -> Fleet {
    let mut fleet = Fleet::create(3);
    let addresses = fleet.nodes[..2].iter().map(|node| node.address.clone()).collect();
    fleet.nodes[2].bootstrap = addresses;
    fleet.nodes[2].set("network.uplink_assumed=\"48 Mbit/s\"");
    fleet.start();
    let folder = fleet.folder.path().to_owned();
    let [first, second, edge] = &fleet.nodes[..] else { panic!("three nodes") };
    first.import(&folder, &images::layout(&[images::tar(&[("app", &noise(1, LAYER_BYTES as usize))])]), "demo/app:1");
    second.pull("demo/app:1");
    for holder in [first, second] {
        edge.wait_holdings(&holder.peer_id, 1);
        holder.cli(&["node", "limit", "--upload", "32 Mbit/s"]).ok();
    }
    fleet
}

fn pull_aside(node: &NodeProcess) -> Child {
    let mut pulling = node.cli_command();
    pulling.args(["image", "pull", "demo/app:1"]).stdin(Stdio::null()).stdout(Stdio::null());
    pulling.spawn().expect("a process")
}

#[test]
fn two_holders_of_half_the_rate_send_half_of_a_long_patch_each() {
    let mut fleet = holders_and_edge();
    let [first, second, edge] = &mut fleet.nodes[..] else { panic!("three nodes") };
    let before = [&*first, &*second].map(|node| patch_bytes(node, "sent_bytes"));
    edge.pull("demo/app:1");
    let after = [&*first, &*second].map(|node| patch_bytes(node, "sent_bytes"));
    let sent = [after[0] - before[0], after[1] - before[1]];
    assert!(sent.iter().all(|&sent| sent > LAYER_BYTES / 5), "{sent:?}");
    let received = patch_bytes(edge, "received_bytes");
    assert!((LAYER_BYTES..LAYER_BYTES / 100 * 103 + IN_VAIN_MAX).contains(&received), "{received}");
    assert_eq!(edge.log().matches("a patch came from both ends").count(), 1);
    assert_eq!(edge.status()["races"]["decided"].as_u64(), Some(0));
    assert_eq!(edge.stop(), 0);
    edge.fsck();
}

#[test]
fn a_holder_that_is_gone_costs_what_was_on_its_way() {
    let mut fleet = holders_and_edge();
    let [first, second, edge] = &mut fleet.nodes[..] else { panic!("three nodes") };
    let before = [&*first, &*second].map(|node| patch_bytes(node, "sent_bytes"));
    let mut pulling = pull_aside(edge);
    let both = || {
        let sent = [&*first, &*second].map(|node| patch_bytes(node, "sent_bytes"));
        (sent[0] - before[0] > 8_000_000 && sent[1] - before[1] > 8_000_000).then_some(())
    };
    until("bytes from both", SOON * 2, both);
    first.kill9();
    assert!(pulling.wait().expect("its end").success());
    let received = patch_bytes(edge, "received_bytes");
    assert!(
        received < LAYER_BYTES / 100 * 103 + IN_VAIN_MAX,
        "{received}: what came from either end is not sent again"
    );
    assert_eq!(edge.stop(), 0);
    edge.fsck();
}
