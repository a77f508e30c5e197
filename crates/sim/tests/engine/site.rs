//! A site fetches a layer once, whichever node begins first and whatever happens to it.

use std::time::Duration;

use lighter_engine::Settings;
use lighter_sim::test_fleet::TestFleet;

use super::{check_done, released, seeds};

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
        let mut fleet = site(seed, 4);
        fleet.set_rate(20_000);
        for node in 1..=4 {
            fleet.pull(node, 1, "app:new");
            fleet.run(Duration::from_millis(700));
        }
        fleet.run_pulls();
        (1..=4).for_each(|node| check_done(&fleet, node));
        assert_eq!(fleet.seen(0).served, 1, "seed {seed}");
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
        let mut fleet = site(seed, 4);
        fleet.set_rate(20_000);
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
