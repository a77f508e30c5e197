//! Sources that send too slowly: a second source is tried beside them, and the faster one is kept.

use std::time::Duration;

use lighter_engine::{Report, Settings};
use lighter_sim::test_fleet::{Dripping, Pretender, TestFleet, peer};
use lighter_types::{Bytes, DiffId, PeerId};

use super::{check_done, fleet, layer, new, received, seeds};

/// A fleet of 4 in which nodes 0 to 2 have the new release, and node 1 has the documents too. Node 3 wants it, and has
/// no base for it. All are connected.
fn sources(seed: u64) -> TestFleet {
    let mut fleet = fleet(seed, 4, 0);
    (0..3).for_each(|node| fleet.put(node, &[new()]));
    let (releases, blobs) = (fleet.disk(0).releases.clone(), fleet.disk(0).blobs.clone());
    (fleet.disk_mut(1).releases, fleet.disk_mut(1).blobs) = (releases, blobs);
    fleet.disk_mut(3).layers.clear();
    fleet.befriend_all();
    fleet
}

/// The races of a node, each with the sender that was late and the one that was kept, and the bytes of no use.
fn races(fleet: &TestFleet, node: usize) -> (Vec<(PeerId, PeerId)>, Bytes) {
    let (mut races, mut in_vain) = (Vec::new(), Bytes::ZERO);
    for (_, report) in &fleet.seen(node).reports {
        match report {
            Report::Raced { late, kept, .. } => races.push((*late, *kept)),
            Report::Layer { wasted, .. } => in_vain += *wasted,
            Report::Resolved { .. }
            | Report::Layers { .. }
            | Report::Fetching { .. }
            | Report::Progress { .. }
            | Report::Retrying { .. }
            | Report::Unpacking { .. }
            | Report::Done { .. }
            | Report::Failed { .. } => {}
        }
    }
    (races, in_vain)
}

/// The peer that node 3 asked first for a layer.
fn sender(fleet: &TestFleet, layer: DiffId) -> PeerId {
    let mut senders = fleet.seen(3).reports.iter().filter_map(|(_, report)| match report {
        Report::Fetching { target, from, .. } if *target == layer => Some(*from),
        _ => None,
    });
    senders.next().unwrap()
}

/// The most bytes of a layer that may be of no use, and the frame that was on its way.
fn in_vain_max() -> Bytes {
    Bytes(new().compressed_bytes.0 / 10) + Settings::RACE_BYTES + Bytes::MIB
}

/// The time that node 3 takes for the image.
fn pull(fleet: &mut TestFleet) -> Duration {
    fleet.start();
    let began = fleet.now();
    fleet.pull(3, 1, "app:new");
    fleet.run_pulls();
    check_done(fleet, 3);
    fleet.now().since(began)
}

#[test]
fn a_dripping_source_is_left_for_a_second_one() {
    let mut met = 0;
    for seed in seeds(8) {
        let clean = pull(&mut sources(seed));
        for flaw in [(0, 210), (0, 2100), (3 << 20, 210), (19 << 20, 210)] {
            let mut fleet = sources(seed);
            fleet.add_flaw(1, Dripping { at_once: flaw.0, bytes_per_second: flaw.1 });
            let took = pull(&mut fleet);
            let (races, in_vain) = races(&fleet, 3);
            assert!(took <= clean * 2 + Duration::from_secs(30), "seed {seed}, {flaw:?}: {took:?}, clean {clean:?}");
            assert!(in_vain <= in_vain_max(), "seed {seed}, {flaw:?}: {in_vain}");
            assert!(races.iter().all(|(late, kept)| *late == peer(1) && *kept != peer(1)), "seed {seed}, {flaw:?}");
            met += races.len();
            assert!(fleet.seen(3).cut_off.is_empty(), "a slow peer is no liar");
        }
    }
    assert!(met > 0 || seeds(8).len() == 1, "no seed met the dripping peer");
}

/// The link is slow, and no peer is to blame: the first source stays, and the node learns what its link gives.
#[test]
fn over_a_thin_link_the_first_source_stays() {
    for seed in seeds(4) {
        let mut fleet = sources(seed);
        // A fiftieth of the rate that is assumed.
        fleet.set_rate(25_000);
        pull(&mut fleet);
        let (races, in_vain) = races(&fleet, 3);
        assert!(races.len() <= 1 && races.iter().all(|(late, kept)| late == kept), "seed {seed}: {races:?}");
        assert!(in_vain <= Settings::RACE_BYTES, "seed {seed}: {in_vain}");
        assert!(received(&fleet, 3) >= new().compressed_bytes);
    }
}

/// A second source that sends nothing, as the first does, leaves its place to a third. The node asks neither of them as
/// long as there are others.
#[test]
fn sources_that_send_nothing_cost_seconds_each() {
    let mut met = 0;
    for seed in seeds(12) {
        let clean = pull(&mut sources(seed));
        let mut fleet = sources(seed);
        let more = layer(2, 1, 40);
        fleet.publish(0, "app:more", 8, &[more]);
        (1..3).for_each(|node| fleet.put(node, &[more]));
        let silent = [seed as usize % 3, (seed as usize + 1) % 3];
        silent.iter().for_each(|&node| fleet.add_flaw(node, Pretender::default()));
        let took = pull(&mut fleet);
        assert!(took <= clean + Duration::from_secs(50), "seed {seed}: {took:?}, clean {clean:?}");
        let first = sender(&fleet, new().diff_id);
        if silent.iter().any(|&node| first == peer(node)) {
            met += 1;
            fleet.pull(3, 2, "app:more");
            fleet.run_pulls();
            check_done(&fleet, 3);
            assert_ne!(sender(&fleet, more.diff_id), first, "seed {seed}");
        }
    }
    assert!(met > 0 || seeds(12).len() == 1, "no seed met a silent peer");
}

#[test]
fn every_fetch_is_answered_whichever_source_breaks() {
    for seed in seeds(8) {
        let mut fleet = sources(seed);
        (0..3).for_each(|node| fleet.add_flaw(node, Dripping { at_once: 1 << 20, bytes_per_second: 3000 }));
        fleet.start();
        fleet.pull(3, 1, "app:new");
        for _ in 0..20 {
            fleet.run(Duration::from_secs(3));
            let streams: Vec<_> = fleet.streams().collect();
            if let Some(stream) = streams.get(seed as usize % 2) {
                fleet.break_stream(stream.id);
            }
        }
        fleet.cancel(3, 1);
        fleet.check_answered();
    }
}
