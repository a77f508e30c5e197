//! Peers that lie, stall, vanish and restart; disks with damage.
//!
//! Three nodes of six have the new release, and one of them has a flaw. A test pulls it to the others, and checks that
//! each ends with the right layer, at the price of no more bytes than the flaw costs.

use std::time::Duration;

use lighter_engine::{FetchFailure, Report, Settings};
use lighter_sim::test_fleet::{Flaw, Liar, StreamView, TestFleet, peer};
use lighter_types::{Bytes, DiffId};
use lighter_wire::{Announcement, Incarnation, News};

use super::{check_done, fleet, fleet_with, new, old, received, seeds, stalls_after};

/// A fleet of 6 in which nodes 0 to 2 have the new release; 3 to 5 want it. All are connected.
fn sources(seed: u64) -> TestFleet {
    let mut fleet = fleet(seed, 6, 0);
    (0..3).for_each(|node| fleet.put(node, &[new()]));
    fleet.befriend_all();
    fleet
}

/// The same; those who want the new release have no base for it.
fn sources_without_bases(seed: u64) -> TestFleet {
    let mut fleet = sources(seed);
    (3..6).for_each(|node| fleet.disk_mut(node).layers.clear());
    fleet
}

/// A node on which this layer is damaged: no patch that reads from it can be applied.
struct Damaged(DiffId);

impl Flaw for Damaged {
    fn apply(&self, bases: &[DiffId]) -> Result<(), FetchFailure> {
        if bases.contains(&self.0) { Err(FetchFailure::BaseGone(self.0)) } else { Ok(()) }
    }
}

/// Whether the requester of a stream has so many frames.
fn has(stream: StreamView, count: u32) -> bool {
    stream.frames.is_some_and(|(_, has)| has == count)
}

/// Node 1 has the documents of node 0 too, so that it may be asked for offers.
fn share_documents(fleet: &mut TestFleet) {
    let (releases, blobs) = (fleet.disk(0).releases.clone(), fleet.disk(0).blobs.clone());
    (fleet.disk_mut(1).releases, fleet.disk_mut(1).blobs) = (releases, blobs);
}

#[test]
fn liars_are_cut_off_and_the_pull_completes_from_elsewhere() {
    let mut cut_off = 0;
    for seed in seeds(8) {
        let mut fleet = if seed % 2 == 0 { sources_without_bases(seed) } else { sources(seed) };
        share_documents(&mut fleet);
        fleet.add_flaw(1, Liar);
        fleet.start();
        (3..6).for_each(|node| fleet.pull(node, 1, "app:new"));
        fleet.run_pulls();
        (3..6).for_each(|node| check_done(&fleet, node));
        for node in 3..6 {
            assert!(fleet.seen(node).cut_off.iter().all(|&liar| liar == peer(1)));
            cut_off += fleet.seen(node).cut_off.len();
        }
    }
    assert!(cut_off > 0 || seeds(8).len() == 1, "no seed met the liar");
}

#[test]
fn a_manifest_of_other_bytes_is_asked_for_elsewhere() {
    for seed in seeds(8) {
        let mut fleet = fleet(seed, 3, 2);
        share_documents(&mut fleet);
        fleet.add_flaw(1, Liar);
        fleet.start();
        fleet.pull(2, 1, "app:new");
        fleet.run_pulls();
        check_done(&fleet, 2);
    }
}

#[test]
fn a_peer_that_announces_layers_it_lacks_is_passed_over() {
    for seed in seeds(4) {
        let mut fleet = fleet(seed, 6, 5);
        fleet.start();
        for node in 1..5 {
            let digest = [old(), new()].iter().map(|card| card.diff_id).collect();
            let news = News::Full(vec![old(), new()]);
            let (incarnation, version, sequence) = (Incarnation(1_001), 9, 99);
            let boast = Announcement { incarnation, version, sequence, site: None, digest, news };
            fleet.announce_as(node, &boast);
        }
        fleet.run(Duration::from_secs(1));
        assert_eq!(fleet.engine(5).directory().holders(new().diff_id).len(), 5);
        fleet.pull(5, 1, "app:new");
        fleet.run_pulls();
        check_done(&fleet, 5);
        assert_eq!(fleet.seen(0).served, 1);
    }
}

#[test]
fn a_stalled_transfer_goes_on_elsewhere_from_where_it_was() {
    let mut stalled = 0;
    for seed in seeds(8) {
        let mut fleet = sources_without_bases(seed);
        share_documents(&mut fleet);
        fleet.add_flaw(1, stalls_after(7));
        fleet.start();
        fleet.pull(3, 1, "app:new");
        fleet.run_pulls();
        check_done(&fleet, 3);
        let from_other = received(&fleet, 3);
        let retried = fleet.seen(3).reports.iter().any(|(_, report)| matches!(report, Report::Retrying { .. }));
        let expected = new().compressed_bytes - if retried { Bytes::MIB.times(7) } else { Bytes::ZERO };
        assert_eq!(from_other, expected);
        stalled += usize::from(retried);
    }
    assert!(stalled > 0 || seeds(8).len() == 1, "no seed met the stalling peer");
}

#[test]
fn a_thin_link_is_no_stall() {
    let mut fleet = fleet(1, 2, 1);
    // A frame takes 105 seconds.
    fleet.set_rate(10_000);
    fleet.start();
    fleet.pull(1, 1, "app:new");
    fleet.run_pulls();
    check_done(&fleet, 1);
    assert!(!fleet.seen(1).reports.iter().any(|(_, report)| matches!(report, Report::Retrying { .. })));
}

#[test]
fn a_provider_that_vanishes_is_replaced() {
    for seed in seeds(6) {
        let mut fleet = sources_without_bases(seed);
        fleet.start();
        fleet.pull(3, 1, "app:new");
        fleet.run_until(|fleet| fleet.streams().any(|stream| has(stream, 5)));
        let provider = fleet.streams().next().unwrap().from;
        fleet.kill(provider);
        fleet.run_pulls();
        check_done(&fleet, 3);
        assert_eq!(received(&fleet, 3), new().compressed_bytes - Bytes::MIB.times(5));
    }
}

/// A link that breaks after every few frames: each attempt brings something, so none is the last.
#[test]
fn a_link_that_keeps_breaking_gets_there() {
    let mut fleet = fleet(1, 2, 1);
    fleet.disk_mut(1).layers.clear();
    fleet.start();
    fleet.pull(1, 1, "app:new");
    for _ in 0..18 {
        let before = fleet.seen(0).served;
        fleet.run_until(|fleet| {
            fleet.seen(0).served > before
                && fleet.streams().any(|stream| stream.frames.is_some_and(|(had, has)| has > had))
        });
        let stream = fleet.streams().next().unwrap().id;
        fleet.break_stream(stream);
    }
    fleet.run_pulls();
    check_done(&fleet, 1);
    assert_eq!(received(&fleet, 1), Bytes::MIB.times(2));
}

/// A fleet of two whose only provider is away from the middle of a patch on.
fn without_its_provider(seed: u64, away: Duration) -> TestFleet {
    let mut fleet = fleet(seed, 2, 1);
    fleet.disk_mut(1).layers.clear();
    fleet.change_settings(1, |settings| settings.away = away);
    fleet.start();
    fleet.pull(1, 1, "app:new");
    fleet.run_until(|fleet| fleet.streams().any(|stream| has(stream, 9)));
    fleet.kill(0);
    fleet
}

/// An outage of an hour, in which the provider is even forgotten: nobody has to ask again.
#[test]
fn a_pull_goes_on_where_it_was_after_an_outage_of_an_hour() {
    for seed in seeds(4) {
        let mut fleet = without_its_provider(seed, Duration::from_secs(2 * 3600));
        fleet.run(Duration::from_secs(3600 + 600));
        assert!(fleet.end(1, 1).is_none(), "{:?}", fleet.end(1, 1));
        fleet.boot(0);
        fleet.run_pulls();
        check_done(&fleet, 1);
        let received = received(&fleet, 1);
        assert!(received <= new().compressed_bytes - Bytes::MIB.times(9), "{received}");
    }
}

#[test]
fn a_provider_that_never_comes_back_ends_the_pull_at_last() {
    let mut fleet = without_its_provider(1, Duration::from_secs(1800));
    let before = fleet.now();
    fleet.run_pulls();
    assert!(matches!(fleet.end(1, 1), Some(Report::Failed { .. })), "{:?}", fleet.end(1, 1));
    let took = fleet.now().since(before);
    assert!((1800..1900).contains(&took.as_secs()), "{took:?}");
}

#[test]
fn a_restart_goes_on_from_the_disk() {
    for seed in seeds(4) {
        let mut fleet = sources_without_bases(seed);
        fleet.start();
        fleet.pull(3, 1, "app:new");
        fleet.run_until(|fleet| fleet.streams().any(|stream| has(stream, 9)));
        fleet.kill(3);
        fleet.run(Duration::from_secs(3));
        fleet.boot(3);
        fleet.run_pulls();
        check_done(&fleet, 3);
        assert_eq!(received(&fleet, 3), new().compressed_bytes - Bytes::MIB.times(9));
    }
}

#[test]
fn a_damaged_base_is_planned_without() {
    for seed in seeds(4) {
        let mut fleet = fleet(seed, 3, 2);
        fleet.add_flaw(1, Damaged(old().diff_id));
        fleet.start();
        fleet.pull(1, 1, "app:new");
        fleet.run_pulls();
        check_done(&fleet, 1);
        assert!(!fleet.engine(1).holdings().holds(old().diff_id));
        assert_eq!(received(&fleet, 1), new().compressed_bytes);
    }
}

#[test]
fn a_busy_hub_is_waited_for() {
    // The hub refers nobody, so that it has to send all copies itself.
    let mut fleet = fleet_with(1, 12, 0, &Settings { streams_max: 1, copies_max: 0, ..Settings::default() });
    fleet.set_rate(50_000);
    fleet.start();
    // Nobody is connected to anybody else, and each transfer takes 20 seconds.
    (1..12).for_each(|node| fleet.pull(node, 1, "app:new"));
    fleet.run_pulls();
    (1..12).for_each(|node| check_done(&fleet, node));
    assert_eq!(fleet.seen(0).served, 11);
}

#[test]
fn everything_at_once() {
    for seed in seeds(3) {
        let mut fleet = sources(seed);
        fleet.add_flaw(1, Liar);
        fleet.add_flaw(2, stalls_after(0));
        fleet.set_gossip(20, 20, 20);
        fleet.lose_asks(10);
        fleet.start();
        (3..6).for_each(|node| fleet.pull(node, 1, "app:new"));
        fleet.run(Duration::from_secs(4));
        fleet.kill(4);
        fleet.boot(4);
        fleet.run_pulls();
        (3..6).for_each(|node| check_done(&fleet, node));
    }
}

/// Whatever fails, each effect that wants an answer gets one; the fleet checks that none gets two.
#[test]
fn every_effect_is_answered() {
    for seed in seeds(8) {
        let mut fleet = sources(seed);
        fleet.add_flaw(1, Liar);
        fleet.add_flaw(2, stalls_after(0));
        fleet.set_gossip(20, 20, 20);
        fleet.lose_asks(20);
        fleet.start();
        (3..6).for_each(|node| fleet.pull(node, 1, "app:new"));
        fleet.run(Duration::from_secs(2));
        fleet.kill(5);
        fleet.run_pulls();
        fleet.lose_asks(0);
        fleet.check_answered();
    }
}
