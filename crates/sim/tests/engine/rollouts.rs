//! Rollouts to whole fleets, and nodes that leave.

use std::time::Duration;

use lighter_engine::{Effect, EffortChoice, Input, OperatorInput, PeerInput, PullFailure, Report, Settings, StreamId};
use lighter_sim::test_fleet::peer;
use lighter_types::{Bytes, Effort};
use lighter_wire::Refusal;

use super::{check_done, fleet, fleet_with, old, received, request, seeds};

#[test]
fn a_rolling_update_of_300_nodes_converges_and_the_hub_serves_few() {
    for seed in seeds(1) {
        let mut fleet = fleet(seed, 300, 6);
        fleet.start();
        let began = fleet.now();
        (1..300).for_each(|node| fleet.pull(node, 1, "app:new"));
        fleet.run_pulls();
        (1..300).for_each(|node| check_done(&fleet, node));
        assert_eq!(fleet.seen(0).encodes, 1);
        let (served, took) = (fleet.seen(0).served, fleet.now().since(began));
        println!("the hub served {served} of 299; all done {took:?} after the pulls began");
        assert!(served <= 96, "the hub served {served} of 299");
        assert!(took < Duration::from_secs(114), "it took {took:?}");
    }
}

#[test]
fn a_small_fleet_gets_patches_and_not_layers() {
    for seed in seeds(5) {
        // The patch has 1 MiB at the effort *default*.
        let settings = Settings { effort: EffortChoice::Always(Effort::Default), ..Settings::default() };
        let mut fleet = fleet_with(seed, 5, 4, &settings);
        fleet.start();
        for node in 1..5 {
            fleet.pull(node, 1, "app:new");
            fleet.run_pulls();
            check_done(&fleet, node);
            assert_eq!(received(&fleet, node), Bytes::MIB);
        }
        assert_eq!((0..5).map(|node| fleet.seen(node).encodes).sum::<usize>(), 1);
    }
}

#[test]
fn the_same_seed_is_the_same_story() {
    let story = |seed| {
        let mut fleet = fleet(seed, 12, 3);
        fleet.set_gossip(10, 10, 10);
        fleet.start();
        (1..12).for_each(|node| fleet.pull(node, 1, "app:new"));
        fleet.run_pulls();
        (fleet.log_hash(), fleet.now())
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
    assert_eq!(fleet.end(1, 1), Some(&Report::Failed { why: PullFailure::Stopping }));
    fleet.run(Duration::from_secs(1));
    assert!((0..4).all(|node| !fleet.engine(node).directory().is_held_by(old().diff_id, peer(1))));
    fleet.pull(1, 2, "app:new");
    assert_eq!(fleet.end(1, 2), Some(&Report::Failed { why: PullFailure::Stopping }));
    let opened = Input::Peer(PeerInput::StreamOpened {
        stream: StreamId(9_999),
        from: peer(2),
        request: request(old().diff_id, &[]),
    });
    let effects = fleet.step_alone(1, opened);
    assert_eq!(effects, [Effect::Refuse { stream: StreamId(9_999), refusal: Refusal::Stopping }]);
}
