//! Layers that come as their compressed blobs, to nodes that want those too: a hub has both, and node 1 pulls.
//!
//! Over a fast link nobody has the time to encode; over a thin one, and where a base helps, the layer comes by itself.

use lighter_engine::{Report, Settings};
use lighter_sim::test_fleet::{Liar, TestFleet, peer};
use lighter_types::{BytesPerSecond, Card, DiffId, Prefer};

use super::sketches::content;
use super::{layer, seeds};

/// Over such a link a patch takes longer to make than all of the layer takes to come.
const FAST: u64 = 125_000_000;

fn target() -> Card {
    layer(9, 1, 200)
}

/// The blob of the target: it does not compress.
fn blob() -> Card {
    let bytes = target().compressed_bytes;
    Card { diff_id: DiffId::new([0xb1; 32]), tar_bytes: bytes, compressed_bytes: bytes, tlsh: None }
}

/// A hub with an image of the target, and its blob; nodes 1 and 2 want blobs too.
fn fleet(seed: u64, rate: u64) -> TestFleet {
    let mut fleet = TestFleet::new(seed, 3, 0, &Settings::default());
    fleet.publish(0, "app:cold", 7, &[target()]);
    fleet.put(0, &[blob()]);
    fleet.set_blob(target().diff_id, blob());
    fleet.set_rate(rate);
    fleet.set_up_rate(rate);
    for node in 0..3 {
        fleet.wants_blobs(node);
        fleet.change_settings(node, |settings| {
            (settings.uplink_rate, settings.prefer) = (BytesPerSecond(rate), Prefer::Time);
        });
    }
    fleet
}

fn pull(fleet: &mut TestFleet) {
    fleet.start();
    fleet.pull(1, 1, "app:cold");
    fleet.run_pulls();
    assert!(matches!(fleet.end(1, 1), Some(Report::Done { .. })), "{:?}", fleet.end(1, 1));
    assert!(fleet.disk(1).layers.contains(&target().diff_id));
}

/// The layers that node 1 heard of in its reports, as a word for each.
fn heard(fleet: &TestFleet) -> Vec<(&'static str, DiffId)> {
    let reports = fleet.seen(1).reports.iter();
    let words = reports.filter_map(|(_, report)| match report {
        Report::Fetching { target, .. } => Some(("fetching", *target)),
        Report::Unpacking { target } => Some(("unpacking", *target)),
        Report::Layer { target, .. } => Some(("layer", *target)),
        _ => None,
    });
    words.collect()
}

fn has_blob(fleet: &TestFleet) -> bool {
    fleet.disk(1).layers.contains(&blob().diff_id)
}

#[test]
fn a_layer_comes_as_its_blob_where_the_link_is_fast() {
    for seed in seeds(4) {
        let mut fleet = fleet(seed, FAST);
        pull(&mut fleet);
        assert!(has_blob(&fleet));
        let id = target().diff_id;
        assert_eq!(heard(&fleet), [("fetching", id), ("unpacking", id), ("layer", id)], "the pull hears of its layer");
        let reports = fleet.seen(1).reports.iter();
        let received = reports.filter_map(|(_, report)| match report {
            Report::Layer { received, bases, .. } => Some((*received, bases.len())),
            _ => None,
        });
        let received: Vec<_> = received.collect();
        assert!(matches!(received[..], [(bytes, 0)] if bytes >= blob().tar_bytes), "{received:?}");
    }
}

#[test]
fn over_a_thin_link_or_from_a_base_the_layer_comes_by_itself() {
    for seed in seeds(4) {
        let mut thin = fleet(seed, 125_000);
        pull(&mut thin);
        assert!(!has_blob(&thin));
        let mut with_base = fleet(seed, FAST);
        (0..2).for_each(|node| with_base.put(node, &[layer(9, 2, 200)]));
        pull(&mut with_base);
        assert!(!has_blob(&with_base));
    }
}

/// The cards have no TLSH digest yet, as right after an import. The hub knows the base by its sketches, and offers a
/// patch from it together with the image.
#[test]
fn a_base_that_only_the_provider_knows_of_counts() {
    for seed in seeds(4) {
        let mut fleet = fleet(seed, FAST);
        let (new, old) = (Card { tlsh: None, ..layer(8, 1, 200) }, Card { tlsh: None, ..layer(8, 2, 200) });
        let of_new = Card { diff_id: DiffId::new([0xb8; 32]), ..blob() };
        fleet.set_blocks(new.diff_id, content(0..100));
        fleet.set_blocks(old.diff_id, content(1..101));
        (0..2).for_each(|node| fleet.put(node, &[old]));
        fleet.publish(0, "app:next", 9, &[new]);
        fleet.put(0, &[of_new]);
        fleet.set_blob(new.diff_id, of_new);
        fleet.start();
        fleet.pull(1, 1, "app:next");
        fleet.run_pulls();
        assert!(matches!(fleet.end(1, 1), Some(Report::Done { .. })), "{:?}", fleet.end(1, 1));
        assert!(!fleet.disk(1).layers.contains(&of_new.diff_id), "seed {seed}");
    }
}

#[test]
fn a_blob_much_larger_than_the_layer_is_left() {
    let mut fleet = fleet(1, FAST);
    let larger = Card { compressed_bytes: target().tar_bytes, tar_bytes: target().tar_bytes, ..blob() };
    let larger = Card { diff_id: DiffId::new([0xb2; 32]), ..larger };
    fleet.put(0, &[larger]);
    fleet.set_blob(target().diff_id, larger);
    pull(&mut fleet);
    assert!(!fleet.disk(1).layers.contains(&larger.diff_id));
}

/// A blob from a peer that keeps silent costs one wait, and the layer comes by itself.
#[test]
fn a_peer_that_sends_nothing_of_a_blob_costs_one_attempt() {
    for seed in seeds(4) {
        let mut fleet = fleet(seed, FAST);
        fleet.befriend_all();
        let silent = Card { diff_id: DiffId::new([0xb3; 32]), ..blob() };
        fleet.set_blob(target().diff_id, silent);
        fleet.put(2, &[silent]);
        fleet.add_flaw(2, super::stalls_after(0));
        let began = fleet.now();
        pull(&mut fleet);
        let id = target().diff_id;
        assert_eq!(heard(&fleet), [("fetching", id), ("fetching", id), ("layer", id)]);
        assert!(fleet.now().since(began) < super::MINUTE, "{:?}", fleet.now().since(began));
    }
}

/// A neighbour has the layer and no blob: what is near is not fetched from afar.
#[test]
fn a_layer_of_the_site_comes_before_a_blob_from_outside() {
    let mut fleet = TestFleet::with_sites(1, &[2], &Settings::default());
    fleet.publish(0, "app:cold", 7, &[target()]);
    fleet.put(0, &[blob()]);
    fleet.put(2, &[target()]);
    fleet.set_blob(target().diff_id, blob());
    fleet.wants_blobs(1);
    for node in 1..3 {
        fleet.change_settings(node, |settings| {
            (settings.site, settings.prefer) = (Some("quay".parse().unwrap()), Prefer::Time);
        });
    }
    fleet.befriend(1, 2);
    pull(&mut fleet);
    assert!(!has_blob(&fleet));
}

#[test]
fn a_blob_that_is_another_layer_costs_its_bytes_and_no_more() {
    for seed in seeds(4) {
        let mut fleet = fleet(seed, FAST);
        fleet.spoil_blob(target().diff_id);
        pull(&mut fleet);
        let id = target().diff_id;
        assert_eq!(heard(&fleet), [("fetching", id), ("unpacking", id), ("fetching", id), ("layer", id)]);
    }
}

#[test]
fn a_layer_comes_by_itself_if_its_blob_cannot_be_had() {
    for seed in seeds(4) {
        let mut fleet = fleet(seed, FAST);
        // It says that it holds the blob, and does not.
        fleet.start();
        fleet.disk_mut(0).layers.remove(&blob().diff_id);
        fleet.pull(1, 1, "app:cold");
        fleet.run_pulls();
        assert!(matches!(fleet.end(1, 1), Some(Report::Done { .. })), "{:?}", fleet.end(1, 1));
        assert!(fleet.disk(1).layers.contains(&target().diff_id) && !has_blob(&fleet));
    }
}

#[test]
fn a_blob_whose_stream_broke_goes_on_where_it_was() {
    for seed in seeds(4) {
        let mut fleet = fleet(seed, FAST);
        fleet.start();
        fleet.pull(1, 1, "app:cold");
        let came = |fleet: &TestFleet| fleet.streams().find(|stream| stream.frames.is_some_and(|(_, has)| has > 10));
        fleet.run_until(|fleet| came(fleet).is_some());
        let stream = came(&fleet).unwrap().id;
        fleet.break_stream(stream);
        fleet.run_pulls();
        assert!(matches!(fleet.end(1, 1), Some(Report::Done { .. })), "{:?}", fleet.end(1, 1));
        let received = super::received(&fleet, 1);
        assert!(has_blob(&fleet) && received < blob().tar_bytes, "{received}");
    }
}

#[test]
fn a_wrong_result_of_the_blob_cuts_its_maker_off_and_the_layer_comes_from_another() {
    let mut liars_met = 0;
    for seed in seeds(8) {
        let mut fleet = fleet(seed, FAST);
        fleet.befriend_all();
        fleet.put(2, &[target(), blob()]);
        fleet.add_flaw(2, Liar);
        pull(&mut fleet);
        liars_met += usize::from(fleet.seen(1).cut_off.contains(&peer(2)));
    }
    assert!(liars_met > 0, "no seed met the liar");
}

#[test]
fn a_blob_that_is_here_brings_its_layer_without_a_byte() {
    let mut fleet = fleet(1, 125_000);
    fleet.put(1, &[blob()]);
    pull(&mut fleet);
    assert_eq!(heard(&fleet), [("unpacking", target().diff_id)]);
}

#[test]
fn a_blob_that_is_wanted_by_itself_brings_its_layer_over_every_link() {
    for seed in seeds(4) {
        let mut fleet = fleet(seed, 125_000);
        fleet.publish(0, "app:both", 8, &[target(), blob()]);
        fleet.start();
        fleet.pull(1, 1, "app:both");
        fleet.run_pulls();
        assert!(matches!(fleet.end(1, 1), Some(Report::Done { .. })), "{:?}", fleet.end(1, 1));
        let (id, of_blob) = (target().diff_id, blob().diff_id);
        let mut heard = heard(&fleet);
        heard.sort();
        assert_eq!(heard, [("fetching", of_blob), ("layer", id), ("layer", of_blob), ("unpacking", id)]);
        assert!(super::received(&fleet, 1) < blob().tar_bytes.times(2), "the layer cost nothing");
    }
}

/// An image may name two layers as each other's blobs.
#[test]
fn a_circle_of_blobs_holds_nothing_up() {
    for seed in seeds(4) {
        let mut fleet = fleet(seed, FAST);
        fleet.publish(0, "app:both", 8, &[target(), blob()]);
        fleet.set_blob(blob().diff_id, target());
        for layer in [target(), blob()] {
            fleet.spoil_blob(layer.diff_id);
        }
        fleet.start();
        fleet.pull(1, 1, "app:both");
        fleet.run_pulls();
        assert!(matches!(fleet.end(1, 1), Some(Report::Done { .. })), "{:?}", fleet.end(1, 1));
    }
}

#[test]
fn two_pulls_share_the_blob_and_one_of_them_may_end() {
    for seed in seeds(4) {
        for cancelled in [1, 2] {
            let mut fleet = fleet(seed, FAST);
            fleet.publish(0, "app:other", 8, &[target()]);
            fleet.start();
            fleet.pull(1, 1, "app:cold");
            fleet.pull(1, 2, "app:other");
            fleet.run(std::time::Duration::from_millis(400));
            fleet.cancel(1, cancelled);
            fleet.run_pulls();
            let kept = 3 - cancelled;
            assert!(matches!(fleet.end(1, kept), Some(Report::Done { .. })), "{:?}", fleet.end(1, kept));
            assert!(has_blob(&fleet));
        }
    }
}

#[test]
fn a_pull_that_is_cancelled_leaves_no_fetch_of_the_blob() {
    let mut fleet = fleet(1, FAST);
    fleet.start();
    fleet.pull(1, 1, "app:cold");
    fleet.run(std::time::Duration::from_millis(400));
    fleet.cancel(1, 1);
    fleet.run(std::time::Duration::from_secs(60));
    assert!(!has_blob(&fleet) && fleet.end(1, 1).is_some());
    fleet.pull(1, 2, "app:cold");
    fleet.run_pulls();
    assert!(has_blob(&fleet), "what came goes on");
}
