//! Nodes of one site: what comes over the uplink comes once.

use std::time::Duration;

use crate::support::images::{self, noise};
use crate::support::{Fleet, NodeProcess, until};

/// Waits until each edge knows that the others are of its site.
fn wait_site(edges: &[NodeProcess]) {
    for edge in edges {
        let neighbours = || edges.iter().filter(|other| other.peer_id != edge.peer_id);
        until("each to know its site", Duration::from_secs(30), || {
            neighbours().all(|other| edge.peer(&other.peer_id).is_some_and(|peer| peer["site"] == "quay")).then_some(())
        });
    }
}

fn pull_together(edges: &[NodeProcess]) {
    let pulls: Vec<_> =
        edges.iter().map(|edge| edge.cli_command().args(["image", "pull", "demo/app:1"]).spawn()).collect();
    for pull in pulls {
        assert!(pull.expect("a process").wait().expect("its end").success());
    }
}

fn patch_bytes_sent(node: &NodeProcess) -> u64 {
    let status = node.status();
    let rows = status["traffic"].as_array().expect("traffic");
    let sent = rows.iter().find(|row| row["protocol"] == "patch").expect("patches")["sent_bytes"].as_u64();
    sent.expect("a number")
}

#[test]
fn edges_of_a_site_that_pull_together_fetch_once() {
    let mut fleet = Fleet::create(5);
    // Slow enough for all to begin while the first still fetches.
    fleet.nodes[0].set("network.upload_max=\"8 Mbit/s\"");
    fleet.nodes[1..].iter_mut().for_each(|edge| edge.set("site=\"quay\""));
    fleet.start();
    let (hub, edges) = fleet.nodes.split_first().expect("a hub");
    hub.import(fleet.folder.path(), &images::layout(&[images::tar(&[("app", &noise(1, 3_000_000))])]), "demo/app:1");
    edges.iter().for_each(|edge| edge.wait_holdings(&hub.peer_id, 1));
    wait_site(edges);
    pull_together(edges);
    let sent = patch_bytes_sent(hub);
    assert!((3_000_000..3_300_000).contains(&sent), "{sent} bytes of a patch of 3 MB that four want");
}

/// Each frame of the layer takes twice as long to the neighbour as a fetch may bring nothing.
#[test]
fn a_neighbour_behind_a_thin_uplink_is_waited_for() {
    let mut fleet = Fleet::create(3);
    fleet.nodes[0].set("network.upload_max=\"500 kbit/s\"");
    for edge in &mut fleet.nodes[1..] {
        edge.set("site=\"quay\"");
        edge.set("network.uplink_assumed=\"500 kbit/s\"");
        edge.set("timing.stall_timeout_s=8");
    }
    fleet.start();
    let (hub, edges) = fleet.nodes.split_first().expect("a hub");
    hub.import(fleet.folder.path(), &images::layout(&[images::tar(&[("app", &noise(1, 1_500_000))])]), "demo/app:1");
    edges.iter().for_each(|edge| edge.wait_holdings(&hub.peer_id, 1));
    wait_site(edges);
    pull_together(edges);
    let sent = patch_bytes_sent(hub);
    assert!((1_500_000..1_650_000).contains(&sent), "{sent} bytes of a layer of 1.5 MB that two want");
}
