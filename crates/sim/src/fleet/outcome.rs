//! The report of a run of engines.

use std::collections::{BTreeMap, BTreeSet};

use lighter_types::DiffId;

use super::Fleet;
use crate::network::on_wire;
use crate::report::{SITES_LISTED_MAX, SiteReport, StrategyReport, seconds};
use crate::scenario::Scenario;
use crate::strategy::Strategy;

pub fn report(scenario: &Scenario, fleet: &Fleet) -> StrategyReport {
    let began = fleet.topology.pulls.iter().map(|pull| pull.at).min().unwrap_or_default();
    let (pulls, network) = (fleet.topology.pulls.len(), &fleet.wires.network);
    StrategyReport {
        failed: fleet.pulls.failed,
        uplink_patches: uplink_patches(scenario, fleet, |[_, down]| down),
        uplink_patches_both_ways: uplink_patches(scenario, fleet, |[up, down]| up + down),
        hub_sent_bytes: (0..fleet.topology.hubs).map(|hub| fleet.wires.links.hub_sent(network, hub)).sum(),
        hub_patches: hub_patches(scenario, fleet),
        slowest_own_uplink: slowest_own_uplink(scenario, fleet),
        talk_bytes: fleet.record.talk_bytes,
        retries: fleet.pulls.retries,
        races: fleet.pulls.races,
        wasted_bytes: fleet.pulls.wasted_bytes,
        events: network.events,
        log_hash: Some(fleet.record.log_hash()),
        violations: fleet.record.violations.clone(),
        sites: sites(fleet, began),
        ..StrategyReport::new(Strategy::Lighter, &network.counts, &fleet.pulls.times, pulls, began)
    }
}

fn sites(fleet: &Fleet, began: u64) -> Vec<SiteReport> {
    let count = fleet.topology.sites.len();
    if count > SITES_LISTED_MAX {
        return Vec::new();
    }
    let reports = (0..count).map(|site| {
        let [up_bytes, down_bytes] = fleet.wires.links.uplink_carried(&fleet.wires.network, site);
        SiteReport { down_bytes, up_bytes, last_s: seconds(fleet.pulls.site_ended[site].saturating_sub(began)) }
    });
    reports.collect()
}

/// The layers of these images that the nodes of a group of sites lack, each with the bytes of its smallest patch.
fn needs(scenario: &Scenario, fleet: &Fleet, group: usize, images: &BTreeSet<usize>) -> BTreeMap<DiffId, u64> {
    let holds = &scenario.sites[group].holds;
    let held = scenario.images.iter().zip(&fleet.content.images);
    let held: BTreeSet<DiffId> =
        held.filter(|(image, _)| holds.contains(&image.name)).flat_map(|(_, content)| content.layers.clone()).collect();
    let wanted = images.iter().flat_map(|image| &fleet.content.images[*image].layers);
    let missing = wanted.filter(|layer| !held.contains(layer));
    missing.map(|&layer| (layer, fleet.content.cheapest(layer, held.iter().copied()).1.bytes)).collect()
}

/// The bytes that an uplink carried, of the ways that count, over the bytes of the patches that the site needs: the
/// maximum of all sites.
fn uplink_patches(scenario: &Scenario, fleet: &Fleet, counted: impl Fn([u64; 2]) -> u64) -> f64 {
    let mut images: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for pull in &fleet.topology.pulls {
        if let Some(site) = fleet.topology.nodes[pull.node].site {
            images.entry(site).or_default().insert(pull.image);
        }
    }
    let of_site = images.iter().map(|(&site, images)| {
        let bytes: u64 = needs(scenario, fleet, fleet.topology.sites[site].group, images).values().sum();
        let carried = counted(fleet.wires.links.uplink_carried(&fleet.wires.network, site));
        if bytes == 0 { 0.0 } else { carried as f64 / on_wire(bytes) as f64 }
    });
    of_site.fold(0.0, f64::max)
}

/// The bytes of patches that hubs sent, over those of one copy of all patches that sites need.
fn hub_patches(scenario: &Scenario, fleet: &Fleet) -> f64 {
    let images: BTreeSet<usize> = fleet.topology.pulls.iter().map(|pull| pull.image).collect();
    let groups: BTreeSet<usize> = fleet.topology.sites.iter().map(|site| site.group).collect();
    let mut bytes: BTreeMap<(DiffId, u64), u64> = BTreeMap::new();
    for group in groups {
        bytes.extend(needs(scenario, fleet, group, &images).into_iter().map(|(layer, bytes)| ((layer, bytes), bytes)));
    }
    let copy: u64 = bytes.values().sum();
    if copy == 0 { 0.0 } else { fleet.record.hub_stream_bytes as f64 / copy as f64 }
}

/// The time of the slowest node, less the making of its patches, over the time that its own uplink needs for them.
fn slowest_own_uplink(scenario: &Scenario, fleet: &Fleet) -> f64 {
    let slowest = fleet.pulls.times.ended.iter().max_by_key(|(began, ended, _)| ended - began);
    let Some((took, pull)) = slowest.map(|(began, ended, pull)| (ended - began, *pull)) else { return 0.0 };
    let pull = &fleet.topology.pulls[pull];
    let Some(site) = fleet.topology.nodes[pull.node].site.map(|site| &fleet.topology.sites[site]) else { return 0.0 };
    let needed = needs(scenario, fleet, site.group, &BTreeSet::from([pull.image]));
    let making: u64 = needed.keys().filter_map(|layer| fleet.record.encodes.get(layer)).sum();
    let sending = on_wire(needed.values().sum()) * 1_000_000 / site.uplink.bytes_per_second;
    if sending == 0 { 0.0 } else { took.saturating_sub(making) as f64 / sending as f64 }
}
