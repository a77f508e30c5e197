//! Nodes of one site: what comes over the uplink comes once.

use std::time::Duration;

use crate::support::images::{self, noise};
use crate::support::{Fleet, until};

/// Has all edges pull a layer of so many bytes of noise from the hub, at once and as one site; each asks for it once.
/// Returns the bytes of patches that the hub sent.
fn pull_as_a_site(mut fleet: Fleet, bytes: usize) -> u64 {
    fleet.nodes[1..].iter_mut().for_each(|edge| edge.set("site=\"quay\""));
    fleet.start();
    let (hub, edges) = fleet.nodes.split_first().expect("a hub");
    hub.import(fleet.folder.path(), &images::layout(&[images::tar(&[("app", &noise(1, bytes))])]), "demo/app:1");
    edges.iter().for_each(|edge| edge.wait_holdings(&hub.peer_id, 1));
    for edge in edges {
        let neighbours = || edges.iter().filter(|other| other.peer_id != edge.peer_id);
        until("each to know its site", Duration::from_secs(30), || {
            neighbours().all(|other| edge.peer(&other.peer_id).is_some_and(|peer| peer["site"] == "quay")).then_some(())
        });
    }
    let pulls: Vec<_> =
        edges.iter().map(|edge| edge.cli_command().args(["image", "pull", "demo/app:1"]).spawn()).collect();
    for pull in pulls {
        assert!(pull.expect("a process").wait().expect("its end").success());
    }
    let status = hub.status();
    let rows = status["traffic"].as_array().expect("traffic");
    let sent = rows.iter().find(|row| row["protocol"] == "patch").expect("patches")["sent_bytes"].as_u64();
    for edge in edges {
        // One that left its neighbour and came back has asked twice.
        assert_eq!(edge.log().matches("fetch: a patch comes").count(), 1, "{}", edge.peer_id);
    }
    sent.expect("a number")
}

#[test]
fn edges_of_a_site_that_pull_together_fetch_once() {
    let mut fleet = Fleet::create(5);
    // Slow enough for all to begin while the first still fetches.
    fleet.nodes[0].set("network.upload_max=\"8 Mbit/s\"");
    let sent = pull_as_a_site(fleet, 3_000_000);
    assert!((3_000_000..3_300_000).contains(&sent), "{sent} bytes of a patch of 3 MB that four want");
}

/// Each frame of 1 MiB takes 13 s to the neighbour, and a fetch may bring nothing for 8.
#[test]
fn a_neighbour_behind_a_thin_uplink_is_waited_for() {
    let mut fleet = Fleet::create(3);
    fleet.nodes[0].set("network.upload_max=\"640 kbit/s\"");
    for edge in &mut fleet.nodes[1..] {
        edge.set("network.uplink_assumed=\"640 kbit/s\"");
        edge.set("timing.stall_timeout_s=8");
    }
    let sent = pull_as_a_site(fleet, 2_200_000);
    assert!((2_200_000..2_420_000).contains(&sent), "{sent} bytes of a layer of 2.2 MB that two want");
}
