//! Peers that lie, stall, vanish and restart; disks with damage.

use std::time::Duration;

use lighter_types::Bytes;
use lighter_wire::{Announcement, Incarnation, News};

use super::fleet::{Fault, Fleet, peer, seeds};
use super::{check_done, fleet, new, old, received};
use crate::*;

/// A fleet of 6 in which nodes 0 to 2 have the new release; 3 to 5 want it.
fn sources(seed: u64, fault: Fault, whole: bool) -> Fleet {
    let mut fleet = fleet(seed, 6, 5);
    (0..3).for_each(|node| fleet.put(node, &[new()]));
    for node in 0..6 {
        fleet.nodes[node].neighbours = (0..6).filter(|&other| other != node).collect();
    }
    fleet.nodes[1].fault = fault;
    if whole {
        (3..6).for_each(|node| fleet.nodes[node].disk.layers.clear());
    }
    fleet
}

#[test]
fn liars_are_cut_off_and_the_pull_completes_from_elsewhere() {
    let mut cut_off = 0;
    for seed in seeds(8) {
        let mut fleet = sources(seed, Fault::Lies, seed % 2 == 0);
        fleet.start();
        (3..6).for_each(|node| fleet.pull(node, 1, "app:new"));
        fleet.run_pulls();
        (3..6).for_each(|node| check_done(&fleet, node));
        for node in 3..6 {
            assert!(fleet.nodes[node].cut_off.iter().all(|&liar| liar == peer(1)));
            cut_off += fleet.nodes[node].cut_off.len();
        }
    }
    assert!(cut_off > 0 || seeds(8).len() == 1, "no seed met the liar");
}

#[test]
fn a_manifest_of_other_bytes_is_asked_for_elsewhere() {
    for seed in seeds(8) {
        let mut fleet = fleet(seed, 3, 2);
        let releases = fleet.nodes[0].disk.releases.clone();
        fleet.nodes[1].disk.releases = releases;
        fleet.nodes[1].fault = Fault::Lies;
        fleet.start();
        fleet.pull(2, 1, "app:new");
        fleet.run_pulls();
        check_done(&fleet, 2);
    }
}

#[test]
fn who_announces_what_it_does_not_hold_is_passed_over() {
    for seed in seeds(4) {
        let mut fleet = fleet(seed, 6, 5);
        fleet.start();
        for node in 1..5 {
            let news = News::Full(vec![old(), new()]);
            let boast = Announcement { incarnation: Incarnation(1_000), version: 9, sequence: 99, site: None, news };
            fleet.spread(node, &boast);
        }
        fleet.run(Duration::from_secs(1));
        assert_eq!(fleet.nodes[5].engine.directory().holders(new().diff_id).len(), 5);
        fleet.pull(5, 1, "app:new");
        fleet.run_pulls();
        check_done(&fleet, 5);
        assert_eq!(fleet.nodes[0].served, 1);
    }
}

#[test]
fn a_stalled_transfer_goes_on_elsewhere_from_where_it_was() {
    let mut stalled = 0;
    for seed in seeds(8) {
        let mut fleet = sources(seed, Fault::Stalls(7), true);
        fleet.start();
        fleet.pull(3, 1, "app:new");
        fleet.run_pulls();
        check_done(&fleet, 3);
        let from_other = received(&fleet, 3);
        let retried = fleet.nodes[3].reports.iter().any(|(_, report)| matches!(report, Report::Retrying { .. }));
        let expected = new().compressed_bytes - if retried { Bytes::MIB.times(7) } else { Bytes::ZERO };
        assert_eq!(from_other, expected);
        stalled += usize::from(retried);
    }
    assert!(stalled > 0 || seeds(8).len() == 1, "no seed met the stalling peer");
}

#[test]
fn a_thin_link_is_no_stall() {
    let mut fleet = fleet(1, 2, 1);
    // A frame takes 105 seconds.
    fleet.rate = 10_000;
    fleet.start();
    fleet.pull(1, 1, "app:new");
    fleet.run_pulls();
    check_done(&fleet, 1);
    assert!(!fleet.nodes[1].reports.iter().any(|(_, report)| matches!(report, Report::Retrying { .. })));
}

#[test]
fn a_provider_that_vanishes_is_replaced() {
    for seed in seeds(6) {
        let mut fleet = sources(seed, Fault::None, true);
        fleet.start();
        fleet.pull(3, 1, "app:new");
        fleet.run_until(|fleet| fleet.transfers.values().any(|transfer| transfer.next_frame == 5));
        let provider = fleet.transfers.values().next().unwrap().from.0;
        fleet.kill(provider);
        fleet.run_pulls();
        check_done(&fleet, 3);
        assert_eq!(received(&fleet, 3), new().compressed_bytes - Bytes::MIB.times(5));
    }
}

/// A link that breaks after every few frames: each attempt brings something, so none is the last.
#[test]
fn a_link_that_keeps_breaking_gets_there() {
    let mut fleet = fleet(1, 2, 1);
    fleet.nodes[1].disk.layers.clear();
    fleet.start();
    fleet.pull(1, 1, "app:new");
    for _ in 0..18 {
        let before = fleet.nodes[0].served;
        fleet.run_until(|fleet| {
            fleet.nodes[0].served > before
                && fleet.transfers.values().any(|transfer| transfer.next_frame > transfer.first_frame)
        });
        let stream = *fleet.transfers.first_key_value().unwrap().0;
        fleet.end(stream, Err(FetchFailure::Lost));
    }
    fleet.run_pulls();
    check_done(&fleet, 1);
    assert_eq!(received(&fleet, 1), Bytes::MIB.times(2));
}

#[test]
fn a_restart_goes_on_from_the_disk() {
    for seed in seeds(4) {
        let mut fleet = sources(seed, Fault::None, true);
        fleet.start();
        fleet.pull(3, 1, "app:new");
        fleet.run_until(|fleet| fleet.transfers.values().any(|transfer| transfer.next_frame == 9));
        fleet.kill(3);
        fleet.run(Duration::from_secs(3));
        fleet.nodes[3].settings.incarnation = Incarnation(2_000);
        fleet.boot(3);
        fleet.pull(3, 1, "app:new");
        fleet.run_pulls();
        check_done(&fleet, 3);
        assert_eq!(received(&fleet, 3), new().compressed_bytes - Bytes::MIB.times(9));
    }
}

#[test]
fn a_damaged_base_is_planned_without() {
    for seed in seeds(4) {
        let mut fleet = fleet(seed, 3, 2);
        fleet.nodes[1].fault = Fault::Damaged(old().diff_id);
        fleet.start();
        fleet.pull(1, 1, "app:new");
        fleet.run_pulls();
        check_done(&fleet, 1);
        assert!(!fleet.nodes[1].engine.holdings().holds(old().diff_id));
        assert_eq!(received(&fleet, 1), new().compressed_bytes);
    }
}

#[test]
fn a_busy_hub_is_waited_for() {
    let mut fleet = Fleet::new(1, 12, 0, &Settings { streams_max: 1, ..Settings::default() });
    (0..12).for_each(|node| fleet.put(node, &[old()]));
    fleet.publish(0, "app:new", 7, &[new()]);
    fleet.rate = 50_000;
    fleet.start();
    // Nobody is connected to anybody else, and each transfer takes 20 seconds.
    (1..12).for_each(|node| fleet.pull(node, 1, "app:new"));
    fleet.run_pulls();
    (1..12).for_each(|node| check_done(&fleet, node));
    assert_eq!(fleet.nodes[0].served, 11);
}

#[test]
fn everything_at_once() {
    for seed in seeds(3) {
        let mut fleet = sources(seed, Fault::Lies, false);
        fleet.nodes[2].fault = Fault::Stalls(0);
        fleet.gossip = super::Gossip { lost: 20, repeated: 20, late: 20 };
        fleet.asks_lost = 10;
        fleet.start();
        (3..6).for_each(|node| fleet.pull(node, 1, "app:new"));
        fleet.run(Duration::from_secs(4));
        fleet.kill(4);
        fleet.nodes[4].settings.incarnation = Incarnation(3_000);
        fleet.boot(4);
        fleet.pull(4, 1, "app:new");
        fleet.run_pulls();
        (3..6).for_each(|node| check_done(&fleet, node));
    }
}
