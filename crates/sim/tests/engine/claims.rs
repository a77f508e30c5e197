//! Peers that lie about sizes: no pull ends for it, and those whose lie shows are cut off at the first.

use lighter_engine::Report;
use lighter_sim::test_fleet::{Claiming, TestFleet, peer};

use super::{check_done, fleet, new, seeds};

/// Nodes 0 to 2 have the new release, and node 1 claims; 3 to 5 pull it.
fn pulled(seed: u64, claiming: Claiming) -> TestFleet {
    let mut fleet = fleet(seed, 6, 0);
    (0..3).for_each(|node| fleet.put(node, &[new()]));
    fleet.befriend_all();
    fleet.add_flaw(1, claiming);
    fleet.start();
    (3..6).for_each(|node| fleet.pull(node, 1, "app:new"));
    fleet.run_pulls();
    (3..6).for_each(|node| check_done(&fleet, node));
    fleet
}

/// How often a node gave up on what node 1 sent.
fn offences(fleet: &TestFleet, node: usize) -> usize {
    let reports = fleet.seen(node).reports.iter();
    reports.filter(|(_, report)| matches!(report, Report::Retrying { from, .. } if *from == peer(1))).count()
}

#[test]
fn a_size_that_shows_as_a_lie_costs_one_offence() {
    let mut met = 0;
    for claiming in [Claiming::Payloads, Claiming::SignedLayer] {
        for seed in seeds(8) {
            let fleet = pulled(seed, claiming);
            for node in 3..6 {
                let offences = offences(&fleet, node);
                assert!(offences <= 1, "{offences} offences");
                assert_eq!(fleet.seen(node).cut_off.len(), offences);
                assert!(fleet.seen(node).cut_off.iter().all(|&liar| liar == peer(1)));
                met += offences;
            }
        }
    }
    assert!(met > 0 || seeds(8).len() == 1, "no seed met the liar");
}

#[test]
fn a_claim_that_may_be_true_is_passed_over() {
    let mut met = 0;
    for seed in seeds(8) {
        let fleet = pulled(seed, Claiming::UnsignedLayer);
        for node in 3..6 {
            let offences = offences(&fleet, node);
            assert!(offences <= 3, "{offences} offences");
            assert!(fleet.seen(node).cut_off.is_empty());
            met += offences;
        }
    }
    assert!(met > 0 || seeds(8).len() == 1, "no seed met the claim");
}
