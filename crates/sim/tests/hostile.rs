//! Liars of several kinds in every site: each pull ends, not much later than without them.

#![allow(clippy::unwrap_used)]

use std::ops::ControlFlow;

use lighter_sim::{Scenario, Strategy, StrategyReport, run};

const HOSTILE: &str = include_str!("../../../simulations/hostile.toml");
const BESIEGED: &str = include_str!("../../../simulations/besieged.toml");

/// The outcome of a scenario for our strategy.
fn report(text: &str, seed: u64) -> StrategyReport {
    let scenario = Scenario::parse(text, |_| unreachable!()).unwrap();
    let report = run(&scenario, seed, &mut |_, _| ControlFlow::Continue(()));
    report.strategies.into_iter().find(|found| found.strategy == Strategy::Lighter).unwrap()
}

/// The scenario without its faults.
fn clean(scenario: &str) -> String {
    let (before, rest) = scenario.split_once("[[fault]]").unwrap();
    let (_, after) = rest.split_once("[expect]").unwrap();
    format!("{before}[expect]{after}")
}

/// The bar for hostile fleets: twice the time without liars, and 30 s, for the median node and the last. So many nodes
/// flood others, and pull nothing. Returns in how many of five seeds somebody met a liar.
fn check_bar(scenario: &str, flooding: u64) -> u64 {
    let clean = clean(scenario);
    let mut met = 0;
    for seed in 1..6 {
        let (hostile, clean) = (report(scenario, seed), report(&clean, seed));
        assert_eq!(hostile.violations, Vec::<String>::new(), "seed {seed}");
        assert_eq!((hostile.unfinished, hostile.done + flooding), (flooding, clean.done), "seed {seed}");
        let (median, of_clean) = (hostile.completion.median_s, clean.completion.median_s);
        assert!(median <= 2.0 * of_clean + 30.0, "seed {seed}: {median} s, and {of_clean} s without liars");
        let (p99, of_clean) = (hostile.completion.p99_s, clean.completion.p99_s);
        assert!(p99 <= 2.0 * of_clean + 30.0, "seed {seed}: {p99} s, and {of_clean} s without liars");
        met += u64::from(hostile.log_hash != clean.log_hash);
    }
    met
}

#[test]
fn liars_of_all_kinds_delay_pulls_within_the_bar() {
    assert_eq!(check_bar(HOSTILE, 0), 5);
}

#[test]
fn floods_old_releases_wrong_patches_false_cards_and_cut_patches_delay_pulls_within_the_bar() {
    assert_eq!(check_bar(BESIEGED, 6), 5);
}

/// The scenario with one hostile member in each site, of each kind that others can meet.
fn each_kind(scenario: &str) -> Vec<String> {
    let clean = clean(scenario);
    let kinds = ["pretends", "lies", "stalls", "truncates", "drips", "stale", "wrong-results", "false-cards"];
    let claims = ["payloads", "signed-layer", "unsigned-layer"].map(|of| format!("claims\"\nof = \"{of}"));
    let faults = kinds.map(str::to_owned).into_iter().chain(claims);
    let with = |kind| clean.replacen("[expect]", &format!("[[fault]]\nkind = \"{kind}\"\nper_site = 1\n\n[expect]"), 1);
    faults.map(with).collect()
}

#[test]
fn each_kind_alone_delays_pulls_within_the_bar() {
    for scenario in each_kind(BESIEGED) {
        assert_ne!(check_bar(&scenario, 0), 0, "nobody met a liar in {scenario}");
    }
}

/// Frames of a large patch take so long over the thinnest uplink that a site which fetches it twice is late.
#[test]
fn each_kind_alone_delays_pulls_of_large_patches_within_the_bar() {
    for times in [10, 40] {
        let patches =
            [236_188, 267_289].map(|bytes| (format!("bytes = {bytes}"), format!("bytes = {}", bytes * times)));
        let large = patches.iter().fold(BESIEGED.to_owned(), |scenario, (bytes, large)| {
            assert!(scenario.contains(bytes), "{bytes}");
            scenario.replace(bytes, large)
        });
        for scenario in each_kind(&large) {
            check_bar(&scenario, 0);
        }
    }
}
