//! Transfers show what a link is. A node knows it after a restart, and `peer list` shows it.

use std::time::Duration;

use lighter_tests::link::Conditions;
use lighter_tests::relay::{Relay, Settings, udp_address};
use serde_json::Value;

use crate::support::images::{self, noise};
use crate::support::{Address, Fleet, NodeProcess, SOON, until};

const ROUND_TRIP_MS: u64 = 60;
const BYTES_PER_SECOND: u64 = 500_000;

fn link(node: &NodeProcess, peer: &NodeProcess) -> Value {
    node.peer(&peer.peer_id).expect("a peer that was heard of")
}

#[test]
fn both_ends_learn_the_link_and_know_it_after_a_restart() {
    let mut fleet = Fleet::create(2);
    let folder = fleet.folder.path().to_owned();
    let [hub, edge] = &mut fleet.nodes[..] else { panic!("two nodes") };
    hub.start();
    hub.import(&folder, &images::layout(&[images::tar(&[("app", &noise(1, 1_500_000))])]), "demo/app:1");
    let conditions = Conditions {
        delay: Duration::from_millis(ROUND_TRIP_MS / 2),
        bits_per_second: Some(BYTES_PER_SECOND * 8),
        queue: Duration::from_millis(500),
        ..Conditions::default()
    };
    let target = udp_address(hub.address()).expect("an address of UDP");
    let relay = Relay::start(target, Settings::both(&conditions)).expect("a relay");
    edge.bootstrap = vec![Address::of(relay.multiaddress(&hub.peer_id))];
    edge.start();
    edge.wait_holdings(&hub.peer_id, 1);
    let before = link(edge, hub);
    assert!(before["round_trip_ms"].as_u64() >= Some(ROUND_TRIP_MS) && before["rate"].is_null(), "{before}");

    edge.pull("demo/app:1");
    let from_hub = link(edge, hub);
    // A busy machine receives and sends more slowly than the link: the bounds are wide.
    let is_near = |rate: &Value| rate.as_u64().is_some_and(|rate| (50_000..2 * BYTES_PER_SECOND).contains(&rate));
    assert!(is_near(&from_hub["rate"]), "{from_hub}");
    let to_edge = until("the hub to learn", SOON, || {
        let peer = link(hub, edge);
        (!peer["rate_up"].is_null()).then_some(peer)
    });
    assert!(is_near(&to_edge["rate_up"]), "{to_edge}");
    assert!(to_edge["lost_per_mille"].is_u64(), "{to_edge}");

    assert_eq!(edge.stop(), 0);
    edge.start();
    edge.wait_holdings(&hub.peer_id, 1);
    assert_eq!(link(edge, hub)["rate"], from_hub["rate"]);
}
