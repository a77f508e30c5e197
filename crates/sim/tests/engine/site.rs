//! A site fetches a layer once, whichever node begins first and whatever happens to it.

use std::time::Duration;

use lighter_engine::{Report, Settings};
use lighter_sim::test_fleet::{Pretender, TestFleet, peer};
use lighter_types::{Bytes, BytesPerSecond};

use super::{check_done, layer, released, seeds};

/// Node 0, which has the new release, and `count` others behind one uplink.
fn site(seed: u64, count: usize) -> TestFleet {
    let mut fleet = released(TestFleet::with_sites(seed, &[count], &Settings::default()));
    for node in 1..=count {
        fleet.change_settings(node, |settings| settings.site = Some("quay".parse().unwrap()));
    }
    fleet.start();
    fleet
}

#[test]
fn nodes_of_a_site_that_begin_together_fetch_once() {
    for seed in seeds(20) {
        let mut fleet = site(seed, 6);
        (1..=6).for_each(|node| fleet.pull(node, 1, "app:new"));
        fleet.run_pulls();
        (1..=6).for_each(|node| check_done(&fleet, node));
        assert_eq!(fleet.seen(0).served, 1, "seed {seed}");
    }
}

#[test]
fn a_late_node_waits_for_the_fetching_neighbour() {
    for seed in seeds(10) {
        let mut fleet = thin_site(seed, 20_000);
        for node in 1..=4 {
            fleet.pull(node, 1, "app:new");
            fleet.run(Duration::from_millis(700));
        }
        fleet.run_pulls();
        (1..=4).for_each(|node| check_done(&fleet, node));
        assert_eq!(fleet.seen(0).served, 1, "seed {seed}");
    }
}

/// A frame of 256 KiB takes 26 s and 105 s here, and a fetch that brings nothing for 20 s is stopped. The neighbour
/// that fetches says that the frame grows. Before, each node of such a site went outside in turn.
#[test]
fn a_site_fetches_once_however_long_a_frame_takes() {
    for (rate, seed) in [10_000, 2500].into_iter().flat_map(|rate| seeds(10).into_iter().map(move |seed| (rate, seed)))
    {
        let mut fleet = thin_site(seed, rate);
        let began = fleet.now();
        (1..=4).for_each(|node| fleet.pull(node, 1, "app:new"));
        fleet.run_pulls();
        (1..=4).for_each(|node| check_done(&fleet, node));
        assert_eq!(fleet.seen(0).served, 1, "seed {seed}, {rate} B/s");
        let alone = Bytes::MIB.at(BytesPerSecond(rate));
        let took = fleet.now().since(began);
        assert!(took < alone * 5 / 4, "seed {seed}, {rate} B/s: {took:?} for what takes {alone:?}");
    }
}

/// A node that pulls a name resolves it for others, and gives them manifest and config, before it has all of the image.
#[test]
fn a_late_node_gets_the_manifest_from_its_site() {
    for seed in seeds(10) {
        let mut fleet = site(seed, 4);
        fleet.set_rate(20_000);
        for node in 1..=4 {
            fleet.pull(node, 1, "app:new");
            fleet.run(Duration::from_secs(1));
        }
        assert!((1..=4).all(|node| fleet.end(node, 1).is_none()), "the layer is still on its way");
        assert_eq!(fleet.seen(0).manifests_sent, 1, "seed {seed}");
        fleet.run_pulls();
        (1..=4).for_each(|node| check_done(&fleet, node));
    }
}

#[test]
fn a_fetch_is_taken_over_when_its_node_is_lost() {
    for seed in seeds(10) {
        let mut fleet = thin_site(seed, 20_000);
        (1..=4).for_each(|node| fleet.pull(node, 1, "app:new"));
        fleet.run(Duration::from_secs(3));
        let fetching = fleet.streams().find(|stream| stream.from == 0).map(|stream| stream.to);
        let fetching = fetching.unwrap_or_else(|| panic!("seed {seed}: nobody fetches"));
        fleet.kill(fetching);
        fleet.run_pulls();
        (1..=4).filter(|&node| node != fetching).for_each(|node| check_done(&fleet, node));
        assert_eq!(fleet.seen(0).served, 2, "seed {seed}");
    }
}

/// A site of 4 that knows its uplink of so many bytes a second.
fn thin_site(seed: u64, rate: u64) -> TestFleet {
    let mut fleet = released(TestFleet::with_sites(seed, &[4], &Settings::default()));
    for node in 1..=4 {
        fleet.change_settings(node, |settings| {
            settings.site = Some("quay".parse().unwrap());
            settings.uplink_rate = BytesPerSecond(rate);
        });
    }
    fleet.start();
    fleet.set_rate(rate);
    fleet
}

/// A neighbour says that every layer comes through it, and sends nothing; or says too that so much of it is there.
#[test]
fn a_neighbour_that_pretends_costs_seconds_once() {
    for bytes_per_second in [0, 1000, 100_000_000] {
        for seed in seeds(6) {
            let mut fleet = site(seed, 4);
            let more = [layer(2, 1, 40), layer(3, 1, 40), layer(4, 1, 40)];
            fleet.publish(0, "app:more", 8, &more);
            fleet.add_flaw(1, Pretender { bytes_per_second });
            let began = fleet.now();
            (2..=4).for_each(|node| fleet.pull(node, 1, "app:new"));
            fleet.run_pulls();
            let took = fleet.now().since(began);
            (2..=4).for_each(|node| check_done(&fleet, node));
            assert!(took < Duration::from_secs(45), "seed {seed}, {bytes_per_second}: {took:?}");
            // All of them doubt the neighbour by now, so nothing is asked of it.
            let asked = |fleet: &TestFleet| fleet.seen(2).reports.len();
            let before = asked(&fleet);
            (2..=4).for_each(|node| fleet.pull(node, 2, "app:more"));
            fleet.run_pulls();
            for node in 2..=4 {
                let reports = &fleet.seen(node).reports;
                let through = reports.iter().filter(|(_, report)| {
                    matches!(report, Report::Fetching { target, from, .. }
                        if *from == peer(1) && more.iter().any(|card| card.diff_id == *target))
                });
                assert_eq!(through.count(), 0, "seed {seed}, node {node}");
            }
            assert!(asked(&fleet) > before);
        }
    }
}

/// With a list of the site's nodes, a member that names the site is no neighbour.
#[test]
fn a_member_that_is_not_listed_is_no_neighbour() {
    for seed in seeds(4) {
        let mut fleet = site(seed, 4);
        for node in 2..=4 {
            fleet.change_settings(node, |settings| settings.neighbours = (2..=4).map(peer).collect());
        }
        fleet.start();
        fleet.add_flaw(1, Pretender::default());
        let began = fleet.now();
        (2..=4).for_each(|node| fleet.pull(node, 1, "app:new"));
        fleet.run_pulls();
        (2..=4).for_each(|node| check_done(&fleet, node));
        assert!(fleet.now().since(began) < Duration::from_secs(8), "seed {seed}: {:?}", fleet.now().since(began));
        assert_eq!(fleet.seen(0).served, 1, "seed {seed}: the site's own nodes fetch once");
    }
}

/// The operator named an uplink sixty times as fast as it is: each node tries it once, and lets the neighbour go on.
#[test]
fn over_an_uplink_that_is_thinner_than_assumed_a_neighbour_stays() {
    for seed in seeds(4) {
        let mut fleet = site(seed, 4);
        fleet.set_rate(20_000);
        (1..=4).for_each(|node| fleet.pull(node, 1, "app:new"));
        fleet.run_pulls();
        for node in 1..=4 {
            check_done(&fleet, node);
            let wasted = fleet
                .seen(node)
                .reports
                .iter()
                .map(|(_, report)| if let Report::Layer { wasted, .. } = report { wasted.0 } else { 0 });
            let wasted: u64 = wasted.sum();
            // Second sources may bring 256 KiB and a tenth of the layer in vain.
            assert!(wasted < 300_000, "seed {seed}, node {node}: {wasted}");
        }
    }
}

#[test]
fn a_site_is_done_when_its_first_node_is() {
    let mut fleet = site(1, 4);
    fleet.set_rate(100_000);
    (1..=4).for_each(|node| fleet.pull(node, 1, "app:new"));
    let ended = |fleet: &TestFleet| (1..=4).filter(|&node| fleet.end(node, 1).is_some()).count();
    fleet.run_until(|fleet| ended(fleet) > 0);
    let first = fleet.now();
    fleet.run_pulls();
    // A frame takes ten seconds, and all nodes pass the last one on as it comes.
    assert!(fleet.now().since(first) < Duration::from_secs(11), "{:?}", fleet.now().since(first));
}
