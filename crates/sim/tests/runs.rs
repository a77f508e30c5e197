//! Whole runs: the same scenario and seed give the same events, and no fault makes a fleet break an invariant.
//!
//! The log of a run has a hash over all its events. Equal hashes show equal runs; the committed baselines hold the hash
//! of each scenario.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a variable of the environment names the one seed to run"
)]
#![allow(clippy::unwrap_used)]

use std::ops::ControlFlow;

use lighter_sim::{Report, Scenario, Strategy, StrategyReport, run};

const SMOKE: &str = include_str!("../../../simulations/smoke.toml");

fn report(text: &str, seed: u64) -> Report {
    let scenario = Scenario::parse(text, |_| unreachable!()).unwrap();
    run(&scenario, seed, &mut |_, _| ControlFlow::Continue(()))
}

fn of(report: &Report, strategy: Strategy) -> &StrategyReport {
    report.strategies.iter().find(|found| found.strategy == strategy).unwrap()
}

/// The smoke scenario with more tables.
fn with(more: &str) -> String {
    format!("{SMOKE}\n{more}")
}

/// A fault may make pulls wait or fail. It breaks no invariant, and all pulls end in time.
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

/// The hash is the same on every machine. A change of the engine on purpose needs a new baseline (docs/SIMULATION.md).
#[test]
fn the_committed_baseline_is_what_happens() {
    let baseline = include_str!("../../../simulations/baselines/smoke.jsonl");
    let hash = of(&report(SMOKE, 1), Strategy::Lighter).log_hash.clone().unwrap();
    assert!(baseline.contains(&hash), "the events have hash {hash}");
}

/// A runtime asks for the exact blob: it has to be rebuilt first. Registry pulls bring it as it is.
#[test]
fn blobs_are_rebuilt_before_a_runtime_can_unpack_them() {
    let rebuilt = SMOKE.replacen("tar = 17592320", "tar = 17592320\nrebuild = \"30 s\"", 1);
    let [plain, rebuilt] = [SMOKE, &rebuilt].map(|text| report(text, 1));
    let medians = |strategy| [&plain, &rebuilt].map(|report| of(report, strategy).completion.median_s);
    let [before, after] = medians(Strategy::Lighter);
    assert!((after - before - 30.0).abs() < 1.0, "{before} {after}");
    let [before, after] = medians(Strategy::Registry);
    assert!((after - before).abs() < 1e-9, "{before} {after}");
}

#[test]
fn the_smoke_scenario_meets_what_it_expects() {
    let report = report(SMOKE, 1);
    assert_eq!(report.missed, []);
    let (registry, lighter) = (of(&report, Strategy::Registry), of(&report, Strategy::Lighter));
    assert_eq!((registry.done, lighter.done), (60, 60));
    // 60 copies of 55.8 MB with headers.
    assert!(registry.uplink_bytes.abs_diff(60 * 55_756_845 * 1043 / 1000) < 1_000_000, "{}", registry.uplink_bytes);
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
fn a_provider_that_stops_in_every_site_is_survived() {
    check_faults("[[fault]]\nkind = \"stalls\"\nper_site = 1", 1..20);
}

#[test]
fn a_provider_that_ends_early_in_every_site_is_survived() {
    check_faults("[[fault]]\nkind = \"truncates\"\nper_site = 1", 1..20);
}

#[test]
fn nodes_that_come_and_go_are_survived() {
    check_faults(
        "[[fault]]\nkind = \"churn\"\npercent = 40\nfrom = \"60 s\"\nto = \"5 min\"\nevery = \"30 s\"\ndown = \"20 s\"",
        1..20,
    );
}

#[test]
fn a_hub_that_is_lost_is_replaced_by_the_next() {
    let fault = with("[[fault]]\nkind = \"hub-lost\"\nhub = 0\nat = \"65 s\"");
    for seed in 1..10 {
        let report = report(&fault.replace("[hub]", "[hub]\ncount = 2"), seed);
        let lighter = of(&report, Strategy::Lighter);
        assert_eq!((lighter.violations.len(), lighter.unfinished), (0, 0), "seed {seed}");
    }
}

#[test]
fn full_disks_are_survived() {
    check_faults("[[fault]]\nkind = \"disk-full\"\npercent = 40\nuntil = \"3 min\"", 1..20);
}

#[test]
fn a_partition_is_survived() {
    check_faults("[[fault]]\nkind = \"partition\"\npercent = 50\nfrom = \"65 s\"\nto = \"100 s\"", 1..20);
}

/// Shorter than a connection's patience: nothing is cut off, and no pull fails.
#[test]
fn outages_that_nobody_notices_break_nothing() {
    let outages =
        "[[fault]]\nkind = \"outages\"\npercent = 100\nfrom = \"0 s\"\nto = \"1 h\"\nevery = \"20 s\"\ndown = \"5 s\"";
    check_faults(outages, 1..10);
    let report = report(&with(outages), 1);
    assert_eq!(of(&report, Strategy::Lighter).retries, 0);
}

#[test]
fn outages_that_connections_do_not_survive_are_survived() {
    check_faults(
        "[[fault]]\nkind = \"outages\"\npercent = 50\nfrom = \"0 s\"\nto = \"10 min\"\nevery = \"3 min\"\ndown = \"70 s\"",
        1..10,
    );
}

#[test]
fn fades_are_survived_and_cost_bytes() {
    let fades = |loss: u64| {
        format!(
            "[[fault]]\nkind = \"fades\"\npercent = 100\nfrom = \"0 s\"\nto = \"1 h\"\nevery = \"20 s\"\nlasts = \"19 s\"\n\
             loss_percent = {loss}"
        )
    };
    check_faults(&fades(10), 1..10);
    let bytes = |loss| of(&report(&with(&fades(loss)), 1), Strategy::Registry).uplink_bytes;
    let [clean, lossy] = [0, 10].map(bytes);
    assert!((105..112).contains(&(lossy * 100 / clean)), "{clean} and {lossy}");
}

/// The slowest pull of the smoke scenario with other links of 8 Mbit/s, by strategy.
fn slowest(links: &str, strategy: Strategy) -> f64 {
    let text = SMOKE
        .replace("latency = \"40 ms\"", links)
        .replace("[\"1 Mbit/s\", \"20 Mbit/s\"]", "[\"8 Mbit/s\", \"8 Mbit/s\"]");
    of(&report(&text, 1), strategy).completion.slowest_s
}

/// Our congestion control bears what makes TCP's give way. Nobody is referred here: visits go over TCP.
#[test]
fn loss_costs_others_more_than_us() {
    let links = |loss: u64| format!("reachable = false\nlatency = \"40 ms\"\nloss_percent = {loss}");
    let [clean, lossy] = [0, 2].map(links);
    let ratio = |strategy| slowest(&lossy, strategy) / slowest(&clean, strategy);
    let (ours, registry) = (ratio(Strategy::Lighter), ratio(Strategy::Registry));
    assert!(ours < 1.2 && registry > 1.5, "{ours} and {registry}");
}

#[test]
fn a_far_link_costs_round_trips() {
    let [near, far] = ["latency = \"10 ms\"", "latency = \"300 ms\""].map(|links| slowest(links, Strategy::Lighter));
    assert!(far > near + 2.0 * 0.58, "a question, a request and the growth: {near} and {far} s");
}

#[test]
fn lost_and_repeated_gossip_is_survived() {
    check_faults("[gossip]\nlost_percent = 30\nrepeated_percent = 30\nlate_percent = 30", 1..10);
}

/// Outside its window a release has a tenth of the uplinks.
#[test]
fn a_window_is_kept() {
    let alone = |more: &str| of(&report(&with(more), 1), Strategy::Registry).completion.slowest_s;
    let window =
        |from: &str, to: &str| alone(&format!("[window]\nfrom = \"{from}\"\nto = \"{to}\"\noutside_percent = 10"));
    let (always, within, outside) = (alone(""), window("0 s", "1 h"), window("1 h", "2 h"));
    assert!((always - within).abs() < 1.0, "{always} and {within} s");
    assert!(outside > 3000.0 && outside < always * 10.0, "{outside} s; nothing but the last of it is within");
}

#[test]
fn an_uplink_may_have_two_rates() {
    let slowest = |upload: &str| {
        let text = SMOKE.replace("latency = ", &format!("{upload}latency = "));
        of(&report(&text, 1), Strategy::Lighter).completion.slowest_s
    };
    let (same, slow) = (slowest(""), slowest("upload = [\"8 kbit/s\", \"8 kbit/s\"]\n"));
    assert!(slow > same + 1.0, "questions take their time at 8 kbit/s: {same} and {slow} s");
}

/// Faults that were found once. Each file describes its fault and how it was found.
#[test]
fn found_faults_stay_mended() {
    for text in [
        include_str!("../../../simulations/regressions/slow-apply.toml"),
        include_str!("../../../simulations/regressions/whole-part.toml"),
    ] {
        let scenario = Scenario::parse(text, |_| unreachable!()).unwrap();
        let report = run(&scenario, scenario.seed, &mut |_, _| ControlFlow::Continue(()));
        assert_eq!(report.missed, [], "{}", scenario.name);
        let lighter = of(&report, Strategy::Lighter);
        assert_eq!((lighter.violations.len(), lighter.retries), (0, 0), "{}", scenario.name);
    }
}

/// Every kind of trouble at once, another mix for each seed. `LIGHTER_SIM_SEED` runs one seed alone.
#[test]
fn ten_thousand_small_fleets_in_all_kinds_of_trouble_end_well() {
    const TROUBLE: &str = r#"
[gossip]
lost_percent = 20
repeated_percent = 20
late_percent = 20

[[fault]]
kind = "power-cuts"
percent = 30
from = "60 s"
to = "130 s"
down = "25 s"

[[fault]]
kind = "off"
percent = 15
until = "3 min"

[[fault]]
kind = "lies"
per_site = 1

[[fault]]
kind = "disk-full"
percent = 10
until = "90 s"

[[fault]]
kind = "partition"
percent = 30
from = "70 s"
to = "95 s"
"#;
    let text = with(TROUBLE)
        .replace("count = 20", "count = 4")
        .replace("[expect]\nunfinished_max = 0\nlast_done_max = \"10 min\"", "");
    let scenario = Scenario::parse(&text, |_| unreachable!()).unwrap();
    let one = std::env::var("LIGHTER_SIM_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let seeds = one.map_or(1..=10_000, |seed| seed..=seed);
    for seed in seeds {
        let report = run(&scenario, seed, &mut |_, _| ControlFlow::Continue(()));
        let lighter = of(&report, Strategy::Lighter);
        let replay = format!("LIGHTER_SIM_SEED={seed} cargo test -p lighter-sim ten_thousand shows it again");
        assert_eq!(lighter.violations, Vec::<String>::new(), "{replay}");
        assert_eq!(lighter.unfinished, 0, "{replay}");
    }
}

#[test]
fn a_provider_that_drips_in_every_site_is_survived() {
    check_faults("[[fault]]\nkind = \"drips\"\nper_site = 1", 1..20);
}

#[test]
fn a_neighbour_that_pretends_in_every_site_is_survived() {
    check_faults("[[fault]]\nkind = \"pretends\"\nper_site = 1", 1..20);
}
