//! Whole runs: the same scenario and seed give the same events, and whatever befalls a fleet, what must hold does.

use std::ops::ControlFlow;

use lighter_sim::{Report, Scenario, Strategy, StrategyReport, run};

const SMOKE: &str = include_str!("../../../simulations/smoke.toml");

fn report(text: &str, seed: u64) -> Report {
    let scenario = Scenario::parse(text).unwrap();
    run(&scenario, seed, &mut |_, _| ControlFlow::Continue(()))
}

fn of(report: &Report, strategy: Strategy) -> &StrategyReport {
    report.strategies.iter().find(|found| found.strategy == strategy).unwrap()
}

/// The smoke scenario with something more.
fn with(more: &str) -> String {
    format!("{SMOKE}\n{more}")
}

/// What a fault may do at worst: some pulls wait or fail, but nothing that must never happen happens.
fn check_faults(more: &str, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let report = report(&with(more), seed);
        let lighter = of(&report, Strategy::Lighter);
        assert_eq!(lighter.violations, Vec::<String>::new(), "seed {seed} of\n{more}");
        assert_eq!(lighter.unfinished, 0, "seed {seed} of\n{more}");
    }
}

#[test]
fn the_same_seed_gives_the_same_events() {
    let hash = |seed| of(&report(SMOKE, seed), Strategy::Lighter).log_hash.clone().unwrap();
    assert_eq!(hash(1), hash(1));
    assert_ne!(hash(1), hash(2));
}

#[test]
fn the_smoke_scenario_meets_what_it_expects() {
    let report = report(SMOKE, 1);
    assert_eq!(report.missed, []);
    let (registry, lighter) = (of(&report, Strategy::Registry), of(&report, Strategy::Lighter));
    assert_eq!((registry.done, lighter.done), (60, 60));
    // 60 copies of 55.8 MB with headers.
    assert!(registry.uplink_bytes.abs_diff(60 * 55_756_845 * 1052 / 1000) < 1_000_000, "{}", registry.uplink_bytes);
    assert!(lighter.uplink_bytes * 30 < registry.uplink_bytes);
    let swarm = of(&report, Strategy::Swarm);
    assert!(swarm.uplink_bytes.abs_diff(registry.uplink_bytes / 3) < registry.uplink_bytes / 50);
}

#[test]
fn power_cuts_are_survived() {
    check_faults(
        "[[fault]]\nkind = \"power-cuts\"\npercent = 40\nfrom = \"60 s\"\nto = \"130 s\"\ndown = \"30 s\"",
        1..30,
    );
}

#[test]
fn nodes_that_are_off_come_later() {
    check_faults("[[fault]]\nkind = \"off\"\npercent = 30\nuntil = \"5 min\"", 1..20);
}

#[test]
fn a_liar_in_every_site_is_survived() {
    check_faults("[[fault]]\nkind = \"lies\"\nper_site = 1", 1..20);
}

#[test]
fn a_partition_is_survived() {
    check_faults("[[fault]]\nkind = \"partition\"\npercent = 50\nfrom = \"65 s\"\nto = \"100 s\"", 1..20);
}

#[test]
fn lost_and_repeated_gossip_is_survived() {
    check_faults("[gossip]\nlost_percent = 30\nrepeated_percent = 30", 1..10);
}
