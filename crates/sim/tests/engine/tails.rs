//! Long patches from both ends: the first frames from one holder, the last ones from another.

use std::time::Duration;

use lighter_engine::{Report, Settings};
use lighter_sim::test_fleet::{Dripping, Flaw, Liar, TestFleet};
use lighter_types::{Bytes, BytesPerSecond, Card};

use super::{MINUTE, layer, seeds};

/// Uplinks send at this rate. The node that pulls receives at twice the rate.
const UPLINK: u64 = 1_250_000;

/// A layer of 100 MiB when it is compressed.
fn long() -> Card {
    layer(9, 1, 200)
}

/// Four nodes, all connected. The first `holders` of nodes 0 to 2 have the layer; node 3 wants it.
fn fleet(seed: u64, holders: usize) -> TestFleet {
    let mut fleet = TestFleet::new(seed, 4, 0, &Settings::default());
    fleet.publish(0, "app:long", 7, &[long()]);
    let (releases, blobs) = (fleet.disk(0).releases.clone(), fleet.disk(0).blobs.clone());
    for node in 0..holders {
        fleet.put(node, &[long()]);
        (fleet.disk_mut(node).releases, fleet.disk_mut(node).blobs) = (releases.clone(), blobs.clone());
    }
    fleet.set_rate(2 * UPLINK);
    fleet.set_up_rate(UPLINK);
    (0..4).for_each(|node| {
        fleet.change_settings(node, |settings| settings.uplink_rate = BytesPerSecond(2 * UPLINK));
    });
    fleet.befriend_all();
    fleet
}

/// The time that node 3 takes for the image, and the bytes that came in vain.
fn end_of_pull(fleet: &mut TestFleet) -> (Duration, Bytes) {
    let began = fleet.now();
    fleet.run_pulls();
    assert!(matches!(fleet.end(3, 1), Some(Report::Done { .. })), "{:?}", fleet.end(3, 1));
    assert!(fleet.disk(3).layers.contains(&long().diff_id));
    let wasted = fleet
        .seen(3)
        .reports
        .iter()
        .filter_map(|(_, report)| if let Report::Layer { wasted, .. } = report { Some(*wasted) } else { None });
    (fleet.now().since(began), wasted.sum())
}

fn pull(fleet: &mut TestFleet) -> (Duration, Bytes) {
    fleet.start();
    fleet.pull(3, 1, "app:long");
    end_of_pull(fleet)
}

/// The fetches that node 3 began.
fn fetches(fleet: &TestFleet) -> usize {
    fleet.seen(3).reports.iter().filter(|(_, report)| matches!(report, Report::Fetching { .. })).count()
}

#[test]
fn two_holders_of_half_the_rate_bring_a_long_patch_in_little_more_than_half_of_the_time() {
    for seed in seeds(8) {
        let (alone, _) = pull(&mut fleet(seed, 1));
        let mut fleet = fleet(seed, 2);
        let (took, wasted) = pull(&mut fleet);
        // The second one is asked after five seconds. Making the patch takes each of them ten.
        assert!(took.as_secs() * 100 < alone.as_secs() * 65, "seed {seed}: {took:?}, alone {alone:?}");
        assert_eq!(wasted, Bytes::ZERO, "seed {seed}");
        assert_eq!(fetches(&fleet), 1, "the first fetch goes on to its end");
        assert!(fleet.seen(3).cut_off.is_empty());
        fleet.check_answered();
    }
}

/// A flaw of either holder costs some time. The layer comes, and an honest one is not blamed.
fn check_flaw<F: Flaw + 'static>(flaw: impl Fn() -> F, is_liar: bool) {
    for seed in seeds(4) {
        for flawed in [0, 1] {
            let mut fleet = fleet(seed, 3);
            fleet.add_flaw(flawed, flaw());
            let (took, _) = pull(&mut fleet);
            assert!(took < MINUTE * 4, "seed {seed}, {flawed}: {took:?}");
            assert!(is_liar || fleet.seen(3).cut_off.is_empty(), "seed {seed}, {flawed}");
            fleet.check_answered();
        }
    }
}

#[test]
fn a_holder_that_drips_leaves_the_frames_to_the_other() {
    check_flaw(|| Dripping { at_once: 20 << 20, bytes_per_second: 2100 }, false);
}

#[test]
fn a_holder_that_lies_is_cut_off_and_the_layer_comes_from_the_others() {
    check_flaw(|| Liar, true);
}

#[test]
fn a_tail_outlives_the_first_fetch_and_the_first_fetch_its_tail() {
    for seed in seeds(8) {
        let mut fleet = fleet(seed, 3);
        fleet.start();
        fleet.pull(3, 1, "app:long");
        fleet.run(Duration::from_secs(40));
        let streams: Vec<_> = fleet.streams().map(|stream| stream.id).collect();
        assert_eq!(streams.len(), 2, "seed {seed}: one from each end");
        fleet.break_stream(streams[seed as usize % 2]);
        let (_, wasted) = end_of_pull(&mut fleet);
        assert!(wasted <= Bytes::MIB, "seed {seed}: {wasted}, a frame that was not whole");
        fleet.check_answered();
    }
}

#[test]
fn a_power_cut_and_a_cancelled_pull_end_both_fetches() {
    for seed in seeds(4) {
        let mut fleet = fleet(seed, 3);
        fleet.start();
        fleet.pull(3, 1, "app:long");
        fleet.run(Duration::from_secs(40));
        fleet.cancel(3, 1);
        fleet.run(Duration::from_secs(1));
        assert_eq!(fleet.streams().count(), 0, "seed {seed}");
        fleet.check_answered();
        fleet.pull(3, 2, "app:long");
        fleet.run(Duration::from_secs(20));
        fleet.kill(3);
        fleet.run(Duration::from_secs(5));
        fleet.boot(3);
        fleet.run_pulls();
        assert!(matches!(fleet.end(3, 2), Some(Report::Done { .. })), "{:?}", fleet.end(3, 2));
        fleet.check_answered();
    }
}
