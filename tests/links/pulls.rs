//! Pulls over bad links, by real nodes: each comes to its end without an operator, and the image is right.

use std::process::{Child, Stdio};
use std::time::Duration;

use lighter_tests::link::{Conditions, Outage};
use lighter_tests::relay::{Relay, Settings, udp_address};

use crate::support::images::{self, ImageFiles, noise};
use crate::support::{Address, Fleet, NodeProcess, SOON, until};

const IMAGE: &str = "demo/app:1";
/// A pull is in the middle when the relay has carried so much of [`image`].
const MIDWAY: u64 = 600_000;

/// Two layers of a megabyte each.
fn image() -> ImageFiles {
    images::layout(&[images::tar(&[("lib", &noise(1, 1_000_000))]), images::tar(&[("app", &noise(2, 1_000_000))])])
}

/// 8 Mbit/s: the pull takes two seconds and more.
fn slow() -> Conditions {
    let delay = Duration::from_millis(10);
    Conditions { delay, bits_per_second: Some(8_000_000), queue: Duration::from_millis(200), ..Conditions::default() }
}

/// A hub with the image, a relay before it, and an edge that knows of the image. Waits are short.
fn fleet(conditions: &Conditions, patience_s: u64) -> (Fleet, Relay) {
    let mut fleet = Fleet::create(2);
    for node in &mut fleet.nodes {
        node.set("timing.stall_timeout_s=3");
        node.set("timing.ask_timeout_s=3");
        node.set(format!("timing.patience_s={patience_s}"));
    }
    let folder = fleet.folder.path().to_owned();
    let [hub, edge] = &mut fleet.nodes[..] else { panic!("two nodes") };
    hub.start();
    hub.import(&folder, &image(), IMAGE);
    let target = udp_address(hub.address()).expect("an address of UDP");
    let relay = Relay::start(target, Settings::both(conditions)).expect("a relay");
    edge.bootstrap = vec![Address::of(relay.multiaddress(&hub.peer_id))];
    edge.start();
    edge.wait_holdings(&hub.peer_id, 2);
    relay.reset_counts();
    (fleet, relay)
}

fn pull_in_background(edge: &NodeProcess) -> Child {
    let mut command = edge.cli_command();
    command.args(["image", "pull", IMAGE]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("a process")
}

/// Pulls over a link of these conditions. `midway` runs in the middle of the pull.
#[track_caller]
fn check_pull(conditions: &Conditions, midway: impl FnOnce(&Relay, &Fleet)) -> Relay {
    check_patient_pull(conditions, 30, midway)
}

/// The same, by an edge that waits so long for a peer.
#[track_caller]
fn check_patient_pull(conditions: &Conditions, patience_s: u64, midway: impl FnOnce(&Relay, &Fleet)) -> Relay {
    let (mut fleet, relay) = fleet(conditions, patience_s);
    let mut pull = pull_in_background(&fleet.nodes[1]);
    until("the middle of the pull", SOON * 2, || (relay.counts().down.delivered.bytes > MIDWAY).then_some(()));
    midway(&relay, &fleet);
    assert!(pull.wait().expect("an end").success());
    let edge = &mut fleet.nodes[1];
    let images = edge.ask(&["image", "list"]);
    assert_eq!(images[0]["manifest"], image().manifest_digest(), "{images}");
    assert_eq!(edge.stop(), 0);
    let checked = edge.fsck();
    assert_eq!((&checked["layers"], &checked["findings"]), (&2.into(), &serde_json::json!([])), "{checked}");
    relay
}

#[test]
fn a_pull_survives_duplicates_reordering_and_corruption() {
    let bad = Conditions { duplicated: 0.01, reordered: 0.01, corrupted: 0.01, ..slow() };
    check_pull(&bad, |_, _| ());
}

#[test]
fn a_pull_survives_loss_in_both_directions() {
    let relay = check_pull(&Conditions { loss: 0.02, ..slow() }, |_, _| ());
    let counts = relay.counts();
    assert!(counts.up.lost > 0 && counts.down.lost > 0, "{counts:?}");
}

#[test]
fn a_pull_passes_a_link_that_loses_datagrams_over_1252_bytes() {
    let relay = check_pull(&Conditions { datagram_max: 1252, ..slow() }, |_, _| ());
    assert!(relay.counts().down.dropped_by_size > 0, "no datagram was larger");
}

#[test]
fn a_pull_passes_a_link_that_loses_datagrams_over_1200_bytes() {
    check_pull(&Conditions { datagram_max: 1200, ..slow() }, |_, _| ());
}

#[test]
fn a_pull_survives_an_mtu_that_shrinks_in_the_middle() {
    check_pull(&slow(), |relay, _| {
        let narrow = Conditions { datagram_max: 1252, ..slow() };
        relay.change(narrow.clone(), narrow);
    });
}

#[test]
fn a_pull_goes_on_when_a_nat_changes_the_port() {
    let relay = check_pull(&slow(), |relay, _| relay.rebind());
    assert_eq!(relay.rebound(), 1);
}

#[test]
fn a_pull_goes_on_after_a_short_outage() {
    check_pull(&slow(), |relay, _| {
        cut(relay);
        until("datagrams to be lost", SOON, || (relay.counts().down.dropped_by_outage > 10).then_some(()));
        relay.change(slow(), slow());
    });
}

#[test]
fn a_pull_goes_on_after_an_outage_that_ended_the_connection() {
    check_patient_pull(&slow(), 180, |relay, fleet| {
        cut(relay);
        until("the connection to end", SOON * 4, || (fleet.nodes[1].status()["peers_connected"] == 0).then_some(()));
        relay.change(slow(), slow());
    });
}

#[test]
fn a_pull_ends_over_a_link_that_is_there_for_two_seconds_in_four() {
    let outages = vec![Outage::Except { up: Duration::from_secs(2), period: Duration::from_secs(4) }];
    check_pull(&Conditions { outages, ..slow() }, |_, _| ());
}

#[test]
fn a_pull_ends_over_a_link_that_is_there_for_three_seconds_in_fifteen() {
    let outages = vec![Outage::Except { up: Duration::from_secs(3), period: Duration::from_secs(15) }];
    check_pull(&Conditions { outages, ..slow() }, |_, _| ());
}

fn cut(relay: &Relay) {
    let down = Conditions { outages: vec![Outage::Between { from: Duration::ZERO, until: Duration::MAX }], ..slow() };
    relay.change(down.clone(), down);
}
