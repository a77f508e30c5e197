//! The engine in a fleet: what DESIGN.md, "How an image arrives", promises, in virtual time.

mod effects;
mod faults;
mod fleet;
mod listed;
mod pulls;
mod referrals;
mod site;
mod sketches;
mod transfer;

use crate::input::{DiskInput, Input, OperatorInput, PeerInput};
use std::time::Duration;

use lighter_types::{Bytes, Card, DiffId, Moment, PeerId};

use crate::*;
use fleet::{Fleet, Gossip, layer, peer, seeds};

const MINUTE: Duration = Duration::from_secs(60);

fn old() -> Card {
    layer(1, 1, 40)
}

fn new() -> Card {
    layer(1, 2, 40)
}

/// `count` nodes that hold the old release; node 0 has the new one too.
fn fleet(seed: u64, count: usize, neighbours: usize) -> Fleet {
    let mut fleet = Fleet::new(seed, count, neighbours, &Settings::default());
    (0..count).for_each(|node| fleet.put(node, &[old()]));
    fleet.publish(0, "app:new", 7, &[new()]);
    fleet
}

fn check_done(fleet: &Fleet, node: usize) {
    let end = fleet.nodes[node].end(1);
    assert!(matches!(end, Some(Report::Done { .. })), "node {node}: {end:?}");
    assert!(fleet.nodes[node].engine.holdings().holds(new().diff_id));
    assert!(fleet.nodes[node].disk.layers.contains_key(&new().diff_id));
}

/// Who is believed to hold a layer, in order.
fn holders(engine: &Engine, layer: DiffId) -> Vec<PeerId> {
    let mut holders: Vec<PeerId> = engine.directory().holding(layer).map(|holder| holder.id).collect();
    holders.sort();
    holders
}

/// What every node believes of every other is what the other holds.
fn check_directories(fleet: &Fleet) {
    let all: Vec<DiffId> = fleet.nodes.iter().flat_map(|node| node.disk.layers.keys().copied()).collect();
    for (node, this) in fleet.nodes.iter().enumerate().filter(|(_, this)| this.online) {
        for &layer in &all {
            let others = (0..fleet.nodes.len()).filter(|&other| other != node && fleet.nodes[other].online);
            let mut truth: Vec<_> =
                others.filter(|&other| fleet.nodes[other].disk.layers.contains_key(&layer)).map(peer).collect();
            truth.sort();
            assert_eq!(holders(&this.engine, layer), truth, "node {node}, {layer}");
        }
    }
}

fn received(fleet: &Fleet, node: usize) -> Bytes {
    let received = |report: &Report| match report {
        Report::Layer { received, .. } => Some(*received),
        _ => None,
    };
    fleet.nodes[node].reports.iter().filter_map(|(_, report)| received(report)).sum()
}

#[test]
fn a_rolling_update_of_300_nodes_converges_and_the_hub_serves_few() {
    for seed in seeds(1) {
        let mut fleet = fleet(seed, 300, 6);
        fleet.start();
        (1..300).for_each(|node| fleet.pull(node, 1, "app:new"));
        fleet.run_pulls();
        (1..300).for_each(|node| check_done(&fleet, node));
        assert_eq!(fleet.nodes[0].encodes, 1);
        println!(
            "the hub served {} of 299; all done {:?} after the pulls began",
            fleet.nodes[0].served,
            fleet.now.since(Moment(6_000))
        );
        assert!(fleet.nodes[0].served <= 96, "the hub served {} of 299", fleet.nodes[0].served);
        assert!(fleet.now < Moment(2 * 60_000), "it took until {:?}", fleet.now);
    }
}

#[test]
fn a_small_fleet_gets_patches_and_not_layers() {
    for seed in seeds(5) {
        let mut fleet = fleet(seed, 5, 4);
        fleet.start();
        for node in 1..5 {
            fleet.pull(node, 1, "app:new");
            fleet.run_pulls();
            check_done(&fleet, node);
            assert_eq!(received(&fleet, node), Bytes::MIB);
        }
        assert_eq!(fleet.nodes.iter().map(|node| node.encodes).sum::<usize>(), 1);
    }
}

#[test]
fn gossip_that_is_lost_repeated_and_reordered_still_converges() {
    for seed in seeds(4) {
        let mut fleet = fleet(seed, 25, 3);
        fleet.gossip = Gossip { lost: 30, repeated: 30, late: 50 };
        fleet.asks_lost = 5;
        fleet.start();
        (1..25).for_each(|node| fleet.pull(node, 1, "app:new"));
        fleet.run_pulls();
        (1..25).for_each(|node| check_done(&fleet, node));
        // The last changes: all is told of ten times at least, lost three times of ten.
        fleet.run(MINUTE * 450);
        fleet.gossip = Gossip::default();
        fleet.asks_lost = 0;
        fleet.run(MINUTE * 165);
        check_directories(&fleet);
    }
}

#[test]
fn the_same_seed_is_the_same_story() {
    let story = |seed| {
        let mut fleet = fleet(seed, 12, 3);
        fleet.log = Some(0);
        fleet.gossip = Gossip { lost: 10, repeated: 10, late: 10 };
        fleet.start();
        (1..12).for_each(|node| fleet.pull(node, 1, "app:new"));
        fleet.run_pulls();
        (fleet.log, fleet.steps, fleet.now)
    };
    for seed in seeds(2) {
        assert_eq!(story(seed), story(seed));
        assert_ne!(story(seed), story(seed + 1));
    }
}

#[test]
fn a_node_that_leaves_is_forgotten_at_once_and_does_no_more() {
    let mut fleet = fleet(1, 4, 3);
    fleet.start();
    fleet.pull(1, 1, "app:new");
    fleet.step(1, Input::Operator(OperatorInput::Stop));
    assert_eq!(fleet.nodes[1].end(1), Some(&Report::Failed { why: PullFailure::Stopping }));
    fleet.run(Duration::from_secs(1));
    assert!((0..4).all(|node| !fleet.nodes[node].engine.directory().is_held_by(old().diff_id, peer(1))));
    fleet.pull(1, 2, "app:new");
    assert_eq!(fleet.nodes[1].end(2), Some(&Report::Failed { why: PullFailure::Stopping }));
    let mut effects = Vec::new();
    let opened = Input::Peer(PeerInput::StreamOpened {
        stream: StreamId(9_999),
        from: peer(2),
        request: fleet::request(old().diff_id, &[]),
    });
    fleet.nodes[1].engine.step(fleet.now, opened, &mut effects);
    assert_eq!(effects, [Effect::Refuse { stream: StreamId(9_999), refusal: lighter_wire::Refusal::Stopping }]);
}

#[test]
fn a_silent_node_is_forgotten_in_time() {
    let mut fleet = fleet(1, 4, 3);
    fleet.start();
    fleet.kill(3);
    fleet.run(MINUTE * 45);
    assert!(fleet.nodes[0].engine.directory().peer(peer(3)).is_some());
    fleet.run(MINUTE * 45);
    assert!((0..3).all(|node| fleet.nodes[node].engine.directory().peer(peer(3)).is_none()));
}

#[test]
fn a_node_whose_clock_was_set_back_is_known_again_when_it_connects() {
    let mut fleet = fleet(1, 4, 3);
    fleet.start();
    fleet.kill(3);
    fleet.nodes[3].settings.incarnation = lighter_wire::Incarnation(10);
    fleet.put(3, &[layer(9, 9, 1)]);
    fleet.boot(3);
    fleet.run(Duration::from_secs(5));
    let knows = |node: usize| holders(&fleet.nodes[node].engine, layer(9, 9, 1).diff_id) == [peer(3)];
    assert!(fleet.nodes[3].neighbours.iter().all(|&node| knows(node)));
}

/// No connection was lost, gossip is of an earlier life than believed: the peer is asked.
#[test]
fn a_clock_set_back_behind_a_living_connection_is_found_out_by_asking() {
    let mut fleet = fleet(1, 3, 2);
    fleet.start();
    fleet.nodes[2].settings.incarnation = lighter_wire::Incarnation(10);
    fleet.nodes[2].engine = Engine::new(fleet.nodes[2].settings.clone());
    fleet.step(2, Input::Disk(DiskInput::LayerHeld { card: layer(9, 9, 1), sketch: None }));
    fleet.step(2, Input::Tick);
    fleet.run(MINUTE * 2);
    assert_eq!(holders(&fleet.nodes[0].engine, layer(9, 9, 1).diff_id), [peer(2)]);
}

#[test]
fn who_connects_and_never_announces_is_asked_until_it_answers() {
    let mut fleet = fleet(1, 3, 2);
    fleet.gossip.lost = 100;
    fleet.asks_lost = 100;
    fleet.start();
    assert_eq!(holders(&fleet.nodes[0].engine, old().diff_id), []);
    fleet.asks_lost = 0;
    fleet.run(MINUTE * 2);
    check_directories(&fleet);
}

#[test]
fn a_start_is_one_announcement_and_rest_is_a_heartbeat_in_a_quarter_of_an_hour() {
    let mut fleet = fleet(1, 3, 2);
    fleet.start();
    let cards = |announcement: &lighter_wire::Announcement| match &announcement.news {
        lighter_wire::News::Full(cards) => cards.len(),
        _ => 0,
    };
    assert_eq!(fleet.nodes[0].announced.iter().map(cards).collect::<Vec<_>>(), [2]);
    let before = fleet.nodes[0].announced.len();
    fleet.run(MINUTE * 300);
    assert!((20..=23).contains(&(fleet.nodes[0].announced.len() - before)));
}
