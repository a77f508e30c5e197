//! The report of a run: what each strategy took, and which expectations are not met.
//!
//! The JSON form is stable. Keys are added; no key changes its meaning without a new `schema`. A strategy's figures of
//! bytes and times come from the counts of its network and from [`Times`]; the fleet of engines adds the others
//! (`fleet/outcome.rs`). Curves have at most 200 points.

use serde::Serialize;

use crate::expect::{Expect, Missed};
use crate::network::{Counts, LinkClass};
use crate::scenario::Scenario;
use crate::strategy::Strategy;

/// Raised when a key changes its meaning.
pub const SCHEMA: u32 = 3;
/// Points of a curve.
const CURVE_POINTS: usize = 200;
/// A report lists the sites of a fleet that has no more than these.
pub(crate) const SITES_LISTED_MAX: usize = 100;

#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub schema: u32,
    pub scenario: String,
    pub question: String,
    pub seed: u64,
    pub nodes: usize,
    pub strategies: Vec<StrategyReport>,
    /// Strategies that the scenario has no figures for.
    pub skipped: Vec<Strategy>,
    pub missed: Vec<Missed>,
}

#[derive(Clone, Debug, Serialize)]
pub struct StrategyReport {
    pub strategy: Strategy,
    /// Pulls that ended with the image.
    pub done: u64,
    /// Failures. The node asks again after each.
    pub failed: u64,
    /// Pulls that were under way at the end.
    pub unfinished: u64,
    pub completion: Completion,
    /// Bytes on the wire over the uplinks of all sites, both ways, with headers.
    pub uplink_bytes: u64,
    /// The part of `uplink_bytes` over uplinks that are paid for by the byte.
    pub metered_bytes: u64,
    /// Bytes on the wire that hubs or the registry sent and received, with headers.
    pub origin_bytes: u64,
    /// Bytes on the wire within sites, with headers.
    pub lan_bytes: u64,
    /// Bytes that came to a site over its uplink, talk included, over the bytes of the patches that the site needs at
    /// *default*, with headers: the maximum of all sites; 0 if no site needs a patch.
    pub uplink_patches: f64,
    /// Bytes of patches that hubs sent, over the bytes of one copy of the patches at *default*, both without headers.
    pub hub_patches: f64,
    /// As `uplink_patches`, with the bytes of both ways.
    pub uplink_patches_both_ways: f64,
    /// All bytes that hubs sent, gossip and questions included.
    pub hub_sent_bytes: u64,
    /// The time of the slowest node, less the making of its patches, over the time that its own uplink needs for them;
    /// 0 if there are none.
    pub slowest_own_uplink: f64,
    /// Gossip, questions and handshakes, over all links.
    pub talk_bytes: u64,
    /// Attempts that failed and went on elsewhere.
    pub retries: u64,
    /// Races between a late source and a second one, and the bytes that came to nodes that have the layers and were of
    /// no use: by such races, or from sources that were left.
    pub races: u64,
    pub wasted_bytes: u64,
    pub events: u64,
    /// blake3 of every event in order; absent where no engine ran.
    pub log_hash: Option<String>,
    /// Whether the run was interrupted.
    pub is_partial: bool,
    /// Breaches of the engine's contract: defects of the engine, or of the simulator. The first ten.
    pub violations: Vec<String>,
    /// Each site, in the scenario's order, if there are at most 100 and engines ran.
    pub sites: Vec<SiteReport>,
    /// Seconds after the first pull, and nodes done by then.
    pub done_curve: Vec<(f64, u64)>,
    /// Seconds after the first pull, and bytes since over uplinks, of hubs or the registry, and within sites.
    pub uplink_curve: Vec<(f64, u64)>,
    pub origin_curve: Vec<(f64, u64)>,
    pub lan_curve: Vec<(f64, u64)>,
}

/// The figures of one site.
#[derive(Clone, Debug, Serialize)]
pub struct SiteReport {
    /// Bytes on the wire of its uplink: to the site and from it.
    pub down_bytes: u64,
    pub up_bytes: u64,
    /// From the first pull until the last of its nodes was done.
    pub last_s: f64,
}

/// Seconds from when a node was to begin until it had the image.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Completion {
    pub median_s: f64,
    pub p90_s: f64,
    pub p99_s: f64,
    pub slowest_s: f64,
    /// From the first pull until the last node was done.
    pub last_s: f64,
}

impl StrategyReport {
    /// A report with the figures that the counts of a network and the times of a run give. The others are 0 or empty.
    pub(crate) fn new(strategy: Strategy, counts: &Counts, times: &Times, pulls: usize, began: u64) -> Self {
        let (uplink, metered) = (counts.of(LinkClass::Uplink), counts.of(LinkClass::Metered));
        Self {
            strategy,
            done: times.ended.len() as u64,
            failed: 0,
            unfinished: (pulls - times.ended.len()) as u64,
            completion: times.completion(),
            uplink_bytes: uplink + metered,
            metered_bytes: metered,
            origin_bytes: counts.of(LinkClass::Origin),
            lan_bytes: counts.of(LinkClass::Lan),
            uplink_patches: 0.0,
            hub_patches: 0.0,
            uplink_patches_both_ways: 0.0,
            hub_sent_bytes: 0,
            slowest_own_uplink: 0.0,
            talk_bytes: 0,
            retries: 0,
            races: 0,
            wasted_bytes: 0,
            events: 0,
            log_hash: None,
            is_partial: false,
            violations: Vec::new(),
            sites: Vec::new(),
            done_curve: times.done_curve(),
            uplink_curve: curve(counts, &[LinkClass::Uplink, LinkClass::Metered], began),
            origin_curve: curve(counts, &[LinkClass::Origin], began),
            lan_curve: curve(counts, &[LinkClass::Lan], began),
        }
    }
}

impl Report {
    pub(crate) fn new(scenario: &Scenario, seed: u64, nodes: usize) -> Self {
        Self {
            schema: SCHEMA,
            scenario: scenario.name.clone(),
            question: scenario.question.clone(),
            seed,
            nodes,
            strategies: Vec::new(),
            skipped: Vec::new(),
            missed: Vec::new(),
        }
    }

    /// Notes every expectation that this report does not meet.
    pub(crate) fn note_missed(&mut self, expect: &Expect) {
        let Some(lighter) = self.of(Strategy::Lighter) else { return };
        let registry = self.of(Strategy::Registry).map_or(0, |registry| registry.uplink_bytes);
        let found = [
            ("unfinished_max", lighter.unfinished as f64, expect.unfinished_max.map(|most| most as f64)),
            ("last_done_max", lighter.completion.last_s, expect.last_done_max.map(|most| most.millis as f64 / 1000.0)),
            (
                "registry_uplink_part_max",
                lighter.uplink_bytes as f64 / registry.max(1) as f64,
                expect.registry_uplink_part_max,
            ),
            ("uplink_patches_max", lighter.uplink_patches, expect.uplink_patches_max),
            ("hub_patches_max", lighter.hub_patches, expect.hub_patches_max),
            ("slowest_own_uplink_max", lighter.slowest_own_uplink, expect.slowest_own_uplink_max),
            (
                "metered_bytes_max",
                lighter.metered_bytes as f64,
                expect.metered_bytes_max.as_ref().map(|most| most.0 as f64),
            ),
        ];
        let missed = found.into_iter().filter_map(|(key, found, most)| {
            let most = most?;
            (found > most).then_some(Missed { key, found, most })
        });
        self.missed = missed.collect();
    }

    fn of(&self, strategy: Strategy) -> Option<&StrategyReport> {
        self.strategies.iter().find(|report| report.strategy == strategy)
    }
}

/// The moments at which pulls began and ended, in microseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times {
    /// Each pull that ended: the moment at which it was to begin, the moment at which it was done, its number.
    pub ended: Vec<(u64, u64, usize)>,
}

impl Times {
    pub fn completion(&self) -> Completion {
        let mut took: Vec<u64> = self.ended.iter().map(|(began, done, _)| done - began).collect();
        took.sort_unstable();
        let Some(last) = took.len().checked_sub(1) else { return Completion::default() };
        let [median_s, p90_s, p99_s, slowest_s] = [50, 90, 99, 100].map(|percent| seconds(took[last * percent / 100]));
        let done = self.ended.iter().map(|(_, done, _)| *done).max().unwrap_or_default();
        let last_s = seconds(done - self.began());
        Completion { median_s, p90_s, p99_s, slowest_s, last_s }
    }

    pub fn began(&self) -> u64 {
        self.ended.iter().map(|(began, ..)| *began).min().unwrap_or_default()
    }

    pub fn done_curve(&self) -> Vec<(f64, u64)> {
        let began = self.began();
        let mut done: Vec<u64> = self.ended.iter().map(|(_, done, _)| done - began).collect();
        done.sort_unstable();
        let all = done.iter().enumerate().map(|(index, done)| (seconds(*done), index as u64 + 1)).collect();
        thinned(all)
    }
}

/// The sum of bytes over links of these classes since `began`, second by second.
pub(crate) fn curve(counts: &Counts, classes: &[LinkClass], began: u64) -> Vec<(f64, u64)> {
    let first = (began / 1_000_000) as usize;
    let mut sum = 0;
    let sums = counts.series(classes).into_iter().skip(first).enumerate().map(|(second, bytes)| {
        sum += bytes;
        (second as f64 + 1.0, sum)
    });
    thinned(sums.collect())
}

/// At most [`CURVE_POINTS`] of these points, and the last.
fn thinned(all: Vec<(f64, u64)>) -> Vec<(f64, u64)> {
    let step = all.len().div_ceil(CURVE_POINTS).max(1);
    let last = all.last().copied();
    let mut few: Vec<(f64, u64)> = all.into_iter().step_by(step).collect();
    if few.last() != last.as_ref() {
        few.extend(last);
    }
    few
}

pub(crate) fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}
