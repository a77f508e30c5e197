//! What a run found out. The JSON form is stable: keys are added, none change their meaning without a new `schema`.

use serde::Serialize;

use crate::Strategy;
use crate::expect::Missed;
use crate::network::{Counts, LinkClass};
use crate::scenario::Scenario;

/// Raised when a key changes its meaning.
pub const SCHEMA: u32 = 3;
/// Points of a curve.
const CURVE_POINTS: usize = 200;
/// Sites that are told one by one.
pub(crate) const SITES_TOLD_MAX: usize = 100;

#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub schema: u32,
    pub scenario: String,
    pub question: String,
    pub seed: u64,
    pub nodes: usize,
    pub strategies: Vec<StrategyReport>,
    /// Those that the scenario has no figures for.
    pub skipped: Vec<Strategy>,
    pub missed: Vec<Missed>,
}

#[derive(Clone, Debug, Serialize)]
pub struct StrategyReport {
    pub strategy: Strategy,
    /// Pulls that ended with the image; failures, each of which was asked again; pulls that were under way at the end.
    pub done: u64,
    pub failed: u64,
    pub unfinished: u64,
    pub completion: Completion,
    /// Bytes on the wire, headers included: over the uplinks of all sites, both directions; sent and received by hubs or the
    /// registry; within sites.
    pub uplink_bytes: u64,
    /// Of them, those over uplinks that are paid for by the byte.
    pub metered_bytes: u64,
    pub origin_bytes: u64,
    pub lan_bytes: u64,
    /// What came to a site over its uplink, talk included, over the patches that the site needs at *default*, each with its
    /// headers: the most of all sites; 0 where there are none.
    pub uplink_patches: f64,
    /// Bytes of patches that hubs sent, over those of one copy of the patches at *default*; no headers in either.
    pub hub_patches: f64,
    /// The same with what the sites sent: both directions of the busiest uplink.
    pub uplink_patches_both_ways: f64,
    /// All that hubs sent, gossip and questions included.
    pub hub_sent_bytes: u64,
    /// What the slowest node took, less the making of the patches, over what its own uplink needs for them; 0 where there are
    /// none.
    pub slowest_own_uplink: f64,
    /// Gossip, questions and handshakes, over all links.
    pub talk_bytes: u64,
    /// Attempts that failed and went on elsewhere.
    pub retries: u64,
    pub events: u64,
    /// blake3 of every event in order; absent where no engine ran.
    pub log_hash: Option<String>,
    /// Whether the run was interrupted.
    pub is_partial: bool,
    /// What must never happen and did: bugs of the engine, or of the simulator. The first ten.
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

/// What one site came to.
#[derive(Clone, Debug, Serialize)]
pub struct SiteReport {
    /// Bytes on the wire of its uplink: to the site, and from it.
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
    /// What a network and the times of a run tell; the rest is empty.
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
}

/// When pulls began and ended, in microseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times {
    /// Of each pull that ended: when it was to begin, when it was done, and its number.
    pub ended: Vec<(u64, u64, usize)>,
}

impl Times {
    pub fn completion(&self) -> Completion {
        let mut took: Vec<u64> = self.ended.iter().map(|(began, done, _)| done - began).collect();
        took.sort_unstable();
        let Some(last) = took.len().checked_sub(1) else { return Completion::default() };
        let at = |percent: usize| seconds(took[last * percent / 100]);
        let done = self.ended.iter().map(|(_, done, _)| *done).max().unwrap_or_default();
        let last_s = seconds(done - self.began());
        Completion { median_s: at(50), p90_s: at(90), p99_s: at(99), slowest_s: at(100), last_s }
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

/// Bytes over links of these classes since `began`, summed up.
pub(crate) fn curve(counts: &Counts, classes: &[LinkClass], began: u64) -> Vec<(f64, u64)> {
    let first = (began / 1_000_000) as usize;
    let mut sum = 0;
    let sums = counts.series(classes).into_iter().skip(first).enumerate().map(|(second, bytes)| {
        sum += bytes;
        (second as f64 + 1.0, sum)
    });
    thinned(sums.collect())
}

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
