//! Referrals: which nodes pass patches on, and requesters whose relay is gone, lies or stops.

use std::time::Duration;

use lighter_engine::{Report, Setback, Settings};
use lighter_sim::test_fleet::{Liar, Pretender, TestFleet};
use lighter_wire::Request;

use super::{check_done, fleet, seeds, stalls_after};

/// All but the hub pull the new release at once.
fn roll_out(fleet: &mut TestFleet) {
    fleet.start();
    (1..fleet.len()).for_each(|node| fleet.pull(node, 1, "app:new"));
}

#[test]
fn a_hub_sends_a_few_copies_and_names_who_has_them() {
    for seed in seeds(8) {
        let mut fleet = fleet(seed, 40, 0);
        roll_out(&mut fleet);
        fleet.run_pulls();
        (1..40).for_each(|node| check_done(&fleet, node));
        let hub = fleet.seen(0);
        assert_eq!((hub.served, hub.referred, hub.encodes), (3, 36, 1));
        let busiest = (1..40).map(|node| fleet.seen(node).served).max();
        assert!(busiest <= Some(6), "one relay served {busiest:?} of 36");
    }
}

/// A requester visits a relay for a patch. It does not ask what else the relay holds, however much the relay announces.
#[test]
fn a_named_relay_is_not_asked_for_its_holdings() {
    let mut fleet = fleet(1, 40, 0);
    roll_out(&mut fleet);
    fleet.run_pulls();
    fleet.run(Duration::from_secs(60));
    let asked =
        |node: usize| fleet.seen(node).asked.iter().filter(|asked| matches!(asked, Request::Holdings { .. })).count();
    let visitors: Vec<usize> = (1..40).filter(|&node| fleet.seen(node).served == 0).collect();
    assert!(visitors.len() > 10, "{visitors:?}");
    assert!(visitors.iter().all(|&node| asked(node) == 1), "they ask the hub alone");
}

#[test]
fn a_hub_that_refers_nobody_serves_all() {
    let mut fleet = fleet(1, 20, 0);
    fleet.change_settings(0, |settings| settings.copies_max = 0);
    roll_out(&mut fleet);
    fleet.run_pulls();
    assert_eq!((fleet.seen(0).served, fleet.seen(0).referred), (19, 0));
}

#[test]
fn a_node_that_passes_nothing_on_is_not_named() {
    let mut fleet = fleet(1, 20, 0);
    (1..20).for_each(|node| fleet.change_settings(node, |settings| settings.passes_on = false));
    roll_out(&mut fleet);
    fleet.run_pulls();
    assert_eq!((fleet.seen(0).served, fleet.seen(0).referred), (19, 0));
}

/// A relay that vanishes takes the streams of its followers with it. All pulls end well by other ways; no circle of
/// nodes waits for each other.
#[test]
fn relays_that_vanish_are_replaced() {
    for seed in seeds(20) {
        let mut fleet = fleet(seed, 30, 0);
        // A frame takes a second.
        fleet.set_rate(1 << 20);
        roll_out(&mut fleet);
        for round in 0..4 {
            fleet.run(Duration::from_secs(2));
            let busy = (1..30).filter(|&node| fleet.is_online(node) && fleet.seen(node).served > 0);
            if let Some(relay) = busy.max_by_key(|&node| (fleet.seen(node).served, node)) {
                fleet.kill(relay);
                if round % 2 == 0 {
                    fleet.boot(relay);
                }
            }
        }
        fleet.run_pulls();
        (1..30).filter(|&node| fleet.is_online(node)).for_each(|node| check_done(&fleet, node));
    }
}

#[test]
fn relays_that_lie_or_stop_are_left() {
    for seed in seeds(20) {
        let mut lying = fleet(seed, 20, 0);
        (1..20).step_by(3).for_each(|node| lying.add_flaw(node, Liar));
        let mut stopping = fleet(seed, 20, 0);
        (1..20).step_by(3).for_each(|node| stopping.add_flaw(node, stalls_after(1)));
        for mut fleet in [lying, stopping] {
            roll_out(&mut fleet);
            fleet.run_pulls();
            (1..20).for_each(|node| check_done(&fleet, node));
        }
    }
}

/// A third of the relays send nothing. A node meets one of them at most.
#[test]
fn relays_that_send_nothing_cost_seconds_once() {
    let mut slowest = Duration::ZERO;
    for seed in seeds(20) {
        let mut fleet = fleet(seed, 20, 0);
        (1..20).step_by(3).for_each(|node| fleet.add_flaw(node, Pretender::default()));
        let began = fleet.now();
        roll_out(&mut fleet);
        fleet.run_pulls();
        (1..20).for_each(|node| check_done(&fleet, node));
        slowest = slowest.max(fleet.now().since(began));
        for node in 1..20 {
            let left = fleet.seen(node).reports.iter();
            let left = left.filter(|(_, report)| matches!(report, Report::Retrying { why: Setback::Slow, .. }));
            assert!(left.count() <= 1, "seed {seed}: node {node} met a second silent relay");
        }
        assert!(fleet.now().since(began) < Duration::from_secs(60), "seed {seed}: {:?}", fleet.now().since(began));
    }
    assert!(slowest > Settings::SILENT_MAX || seeds(20).len() == 1, "nobody met a silent relay");
}
