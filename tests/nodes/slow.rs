//! An edge with an eighth of a core: its pace goes with its questions, so that it is sent what it applies in time.
//!
//! Needs root: the edge runs in a control group with a quota.

use crate::support::group::ControlGroup;
use crate::support::images::{self, noise};
use crate::support::{Fleet, NodeProcess, SOON, until};

/// The time that work takes at this node, in percent of a usual machine's, as the node measured it at its first start.
#[track_caller]
fn pace_percent(node: &NodeProcess) -> u64 {
    until("the node to know its pace", SOON, || {
        let log = node.log();
        let line = log.lines().find(|line| line.contains("the time that work takes here"))?;
        line.rsplit("percent=").next()?.split_whitespace().next()?.parse().ok()
    })
}

/// The effort of the patch that the node's plan would fetch first.
#[track_caller]
fn planned_effort(node: &NodeProcess) -> String {
    let plan = node.ask(&["plan", "demo/app:2"]);
    plan["layers"][0]["plans"][0]["effort"].as_str().unwrap_or_else(|| panic!("no effort in {plan}")).to_owned()
}

#[test]
fn a_slow_edge_is_not_sent_what_it_applies_for_long() {
    let slow_core = ControlGroup::of_an_eighth_of_a_core("slow");
    let mut fleet = Fleet::create(3);
    // A thin uplink: the fewest bytes are soonest for a machine that applies them at the usual pace.
    for node in &mut fleet.nodes {
        node.set("network.uplink_assumed=\"400 kbit/s\"");
        node.set("transfer.prefer=\"time\"");
    }
    let folder = fleet.folder.path().to_owned();
    let [hub, usual, slow] = &mut fleet.nodes[..] else { panic!("three nodes") };
    hub.start();
    usual.start();
    let command = slow_core.command(&slow.run_command());
    slow.spawn(command);
    slow.wait_ready();
    let (usual_percent, slow_percent) = (pace_percent(usual), pace_percent(slow));
    assert!(slow_percent >= 300, "{slow_percent} % for an eighth of a core, {usual_percent} % for all");

    let release = |release| {
        let parts = [("kept", noise(1, 512 << 10)), ("new", noise(release, 1 << 20))];
        images::layout(&[images::tar(&parts.each_ref().map(|(name, bytes)| (*name, &bytes[..])))])
    };
    let (first, second) = (release(2), release(3));
    for node in [&*hub, &*usual, &*slow] {
        node.import(&folder, &first, "demo/app:1");
    }
    hub.import(&folder, &second, "demo/app:2");
    usual.wait_holdings(&hub.peer_id, 2);
    slow.wait_holdings(&hub.peer_id, 2);
    assert_ne!(planned_effort(slow), "max");
    // On a machine that is busy, the other edge may have found itself slow too.
    if usual_percent.max(pace_percent(hub)) < 150 {
        assert_eq!(planned_effort(usual), "max");
    }
    slow.pull("demo/app:2");
    assert_eq!(slow.stop(), 0);
}
