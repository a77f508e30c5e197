//! The engine in a fleet: whole pulls and rollouts, in virtual time, on the fleet that scenarios run on.
//!
//! Tests of one engine, step by step, stand beside it (`crates/engine/src/tests`). The fleet checks the engine's
//! contract in every step: each effect that wants an answer is answered exactly once, no timer lies in the past, the
//! last wake moment counts, no node is woken for nothing, fetches, encodes and streams keep their caps. Each test runs
//! on a few seeds; `LIGHTER_FLEET_SEED` runs one seed alone.

#![allow(clippy::unwrap_used, clippy::panic)]

mod blobs;
mod claims;
mod faults;
mod gossip;
mod paces;
mod pulls;
mod referrals;
mod rollouts;
mod site;
mod sketches;
mod tails;

use std::time::Duration;

use lighter_engine::{CachedPatch, Engine, Peer, PullId, Report, Settings};
use lighter_sim::test_fleet::{Stalling, TestFleet, peer};
use lighter_types::{Bytes, Card, DiffId, Effort, PatchId, PeerId, Tlsh};
use lighter_wire::{PatchRequest, Terms};

const MINUTE: Duration = Duration::from_secs(60);

/// The seeds to try: the one in the environment, or the first `count`.
#[expect(clippy::disallowed_methods, reason = "the environment names the one seed to replay")]
fn seeds(count: u64) -> Vec<u64> {
    let one = std::env::var("LIGHTER_FLEET_SEED").ok().and_then(|text| text.parse().ok());
    one.map_or_else(|| (1..=count).collect(), |seed| vec![seed])
}

/// A layer of `mib` MiB; layers of one `family` are alike, `release` tells them apart.
fn layer(family: u8, release: u8, mib: u64) -> Card {
    let mut id = [family; 32];
    id[1] = release;
    let mut tlsh = [family.wrapping_mul(0x35); 35];
    tlsh[34] = release;
    let bytes = Bytes::MIB.times(mib);
    Card {
        diff_id: DiffId::new(id),
        tar_bytes: bytes,
        compressed_bytes: Bytes(bytes.0 / 2),
        tlsh: Some(Tlsh::new(tlsh)),
    }
}

fn old() -> Card {
    layer(1, 1, 40)
}

fn new() -> Card {
    layer(1, 2, 40)
}

/// A patch of the new layer from the old one, of 1 MiB.
fn new_from_old() -> CachedPatch {
    CachedPatch {
        patch: PatchId::new([0xff; 32]),
        target: new().diff_id,
        bases: vec![old().diff_id],
        bytes: Bytes::MIB,
        effort: Some(Effort::Default),
    }
}

/// A request for a whole layer or a patch, as a peer would send it.
fn request(target: DiffId, bases: &[DiffId]) -> PatchRequest {
    PatchRequest { target, bases: bases.to_vec(), have: None, resume: None, referable: None, terms: Terms::default() }
}

/// `count` nodes that hold the old release; node 0 has the new one too.
fn fleet(seed: u64, count: usize, neighbours: usize) -> TestFleet {
    fleet_with(seed, count, neighbours, &Settings::default())
}

fn fleet_with(seed: u64, count: usize, neighbours: usize, settings: &Settings) -> TestFleet {
    released(TestFleet::new(seed, count, neighbours, settings))
}

/// Gives all nodes the old release, and node 0 the new one.
fn released(mut fleet: TestFleet) -> TestFleet {
    (0..fleet.len()).for_each(|node| fleet.put(node, &[old()]));
    fleet.publish(0, "app:new", 7, &[new()]);
    fleet
}

/// A node that stops after so many frames of 1 MiB of each stream.
fn stalls_after(frames: u64) -> Stalling {
    Stalling { after_bytes: frames << 20 }
}

fn check_done(fleet: &TestFleet, node: usize) {
    let end = fleet.end(node, 1);
    assert!(matches!(end, Some(Report::Done { .. })), "node {node}: {end:?}");
    assert!(fleet.engine(node).holdings().holds(new().diff_id));
    assert!(fleet.disk(node).layers.contains(&new().diff_id));
}

/// The nodes that an engine believes to hold a layer, in order.
fn holders(engine: &Engine, layer: DiffId) -> Vec<PeerId> {
    let mut holders: Vec<PeerId> = engine.directory().holding(layer).map(|holder| holder.id).collect();
    holders.sort();
    holders
}

/// Every node believes of every node that it is connected to exactly what that node holds.
fn check_directories(fleet: &TestFleet) {
    let online: Vec<usize> = (0..fleet.len()).filter(|&node| fleet.is_online(node)).collect();
    for layer in (0..fleet.len()).flat_map(|node| fleet.disk(node).layers.iter().copied()) {
        for &node in &online {
            let engine = fleet.engine(node);
            let is_connected = |id: &PeerId| engine.directory().peer(*id).is_some_and(Peer::is_connected);
            let holds = |other: &usize| *other != node && fleet.disk(*other).layers.contains(&layer);
            let mut truth: Vec<PeerId> = online.iter().copied().filter(holds).map(peer).filter(is_connected).collect();
            truth.sort();
            let mut believed = holders(engine, layer);
            believed.retain(is_connected);
            assert_eq!(believed, truth, "node {node}, {layer}");
        }
    }
}

/// The bytes of patches that a node received, of all layers.
fn received(fleet: &TestFleet, node: usize) -> Bytes {
    let received = |(_, report): &(PullId, Report)| {
        let Report::Layer { received, .. } = report else { return None };
        Some(*received)
    };
    fleet.seen(node).reports.iter().filter_map(received).sum()
}
