//! Planning by sketches in a fleet: better bases, sets of bases, and sketches that do not come or are wrong.

use std::time::Duration;

use lighter_engine::{EffortChoice, Report, Rule, Scope, Settings};
use lighter_sim::test_fleet::{Blocks, Flaw, TestFleet, peer};
use lighter_similarity::{Sketch, SketchBuilder};
use lighter_types::{Bytes, Card, DiffId, Effort};
use lighter_wire::Request;

use super::{layer, seeds};

/// 40 MiB that compress to half, whatever they are made of.
const MIB: u64 = 40;

/// A layer of these blocks.
pub fn content(blocks: impl Iterator<Item = u64>) -> Blocks {
    let blocks = blocks.collect::<std::collections::BTreeSet<u64>>();
    let mut builder = SketchBuilder::new();
    for &block in &blocks {
        let mut state = block.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let bytes = std::iter::repeat_with(|| {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            state.wrapping_mul(0x2545_f491_4f6c_dd1d)
        });
        builder.push(&bytes.take(8 << 10).flat_map(u64::to_le_bytes).collect::<Vec<u8>>());
    }
    Blocks { blocks, sketch: builder.finish() }
}

/// Layers of one family are near by TLSH, whatever their contents.
fn target() -> Card {
    layer(1, 1, MIB)
}

fn near() -> Card {
    layer(1, 2, MIB)
}

fn far(family: u8) -> Card {
    layer(family, 1, MIB)
}

/// Node 0 publishes the target. Node 2 holds it too and makes no offer, so that node 1 asks for sketches. All hold
/// `bases`.
fn fleet(seed: u64, made_of: Blocks, bases: &[(Card, Blocks)]) -> TestFleet {
    let mut fleet = fleet_without_sketches(seed, &bases.iter().map(|(card, _)| *card).collect::<Vec<_>>());
    fleet.set_blocks(target().diff_id, made_of);
    for (card, content) in bases {
        fleet.set_blocks(card.diff_id, content.clone());
    }
    fleet
}

fn fleet_without_sketches(seed: u64, bases: &[Card]) -> TestFleet {
    let mut fleet = TestFleet::new(seed, 3, 2, &Settings::default());
    (0..3).for_each(|node| fleet.put(node, bases));
    fleet.publish(0, "app:new", 7, &[target()]);
    fleet.put(2, &[target()]);
    fleet
}

/// The bases of the patch that node 1 got, and its bytes.
fn pulled(fleet: &mut TestFleet) -> (Vec<DiffId>, Bytes) {
    fleet.pull(1, 1, "app:new");
    fleet.run_pulls();
    let end = fleet.end(1, 1);
    assert!(matches!(end, Some(Report::Done { .. })), "{end:?}");
    let arrived = fleet.seen(1).reports.iter().find_map(|(_, report)| {
        let Report::Layer { bases, patch_bytes, .. } = report else { return None };
        Some((bases.clone(), *patch_bytes))
    });
    arrived.unwrap()
}

/// TLSH sees a near layer that has an eighth of the target, and a far one that has all of it and more.
fn superset(seed: u64) -> TestFleet {
    fleet(seed, content(0..32), &[(near(), content(28..60)), (far(3), content(0..128))])
}

fn superset_without_sketches(seed: u64) -> TestFleet {
    fleet_without_sketches(seed, &[near(), far(3)])
}

/// A node that has another sketch of the target than the right one, or none.
struct OtherSketch(Option<Sketch>);

impl Flaw for OtherSketch {
    fn sketch(&self, layer: DiffId, sketch: Option<Sketch>) -> Option<Sketch> {
        if layer == target().diff_id { self.0.clone() } else { sketch }
    }
}

#[test]
fn a_superset_is_found_that_tlsh_passes_over() {
    for seed in seeds(4) {
        let mut by_sketch = superset(seed);
        by_sketch.start();
        let (bases, bytes) = pulled(&mut by_sketch);
        assert_eq!(bases, [far(3).diff_id]);
        let mut by_tlsh = superset_without_sketches(seed);
        by_tlsh.start();
        assert_eq!(pulled(&mut by_tlsh).0, [near().diff_id]);
        let near = by_sketch.patch_bytes(target().diff_id, &[near().diff_id]);
        assert!(bytes.times(100) < near, "{bytes} and {near}");
    }
}

#[test]
fn a_layer_merged_of_two_is_patched_from_both() {
    for seed in seeds(4) {
        let bases = [(far(3), content(0..20)), (far(4), content(20..32)), (far(5), content(90..120))];
        let mut fleet = fleet(seed, content(0..32), &bases);
        fleet.start();
        let (bases, bytes) = pulled(&mut fleet);
        assert_eq!(bases, [far(3).diff_id, far(4).diff_id], "the larger share first");
        assert!(bytes < Bytes(64 << 10), "{bytes}");
    }
}

#[test]
fn no_more_bases_are_taken_than_a_patch_may_have() {
    let bases: Vec<(Card, Blocks)> =
        (0..8).map(|part| (far(3 + part as u8), content(part * 4..part * 4 + 4))).collect();
    let mut fleet = fleet(1, content(0..32), &bases);
    fleet.start();
    assert_eq!(pulled(&mut fleet).0.len(), Settings::PATCH_BASES_MAX);
}

#[test]
fn sketches_that_nobody_has_are_done_without() {
    let mut fleet = superset(1);
    [0, 2].into_iter().for_each(|node| fleet.add_flaw(node, OtherSketch(None)));
    fleet.start();
    assert_eq!(pulled(&mut fleet).0, [near().diff_id]);
}

#[test]
fn questions_for_sketches_that_are_lost_cost_their_timeout_and_no_more() {
    let mut fleet = superset(1);
    fleet.lose_sketch_asks(100);
    fleet.start();
    let before = fleet.now();
    assert_eq!(pulled(&mut fleet).0, [far(3).diff_id], "as node 0 offered");
    let (took, encoding) = (fleet.now().since(before), Duration::from_secs(30));
    assert!(took >= Settings::SKETCH_TIMEOUT && took < Settings::SKETCH_TIMEOUT + encoding, "{took:?}");
}

/// Only the layer itself shows that its sketch was made up.
#[test]
fn a_made_up_sketch_costs_bytes_and_its_maker_is_cut_off() {
    let mut fleet = superset(1);
    [0, 2].into_iter().for_each(|node| fleet.add_flaw(node, OtherSketch(Some(content(28..60).sketch))));
    fleet.start();
    assert!(pulled(&mut fleet).0.contains(&near().diff_id));
    assert!([[peer(0)], [peer(2)]].contains(&fleet.seen(1).cut_off[..].try_into().unwrap()), "one was asked");
}

#[test]
fn the_calibration_is_learned_and_kept() {
    let mut fleet = superset(1);
    for node in [0, 2] {
        fleet.change_settings(node, |settings| settings.effort = EffortChoice::Always(Effort::Fast));
    }
    fleet.start();
    pulled(&mut fleet);
    let learned: Vec<Scope> = fleet.disk(1).calibrations.keys().copied().collect();
    assert_eq!(learned, [Scope::Encoder(Rule::Sketch, 1), Scope::Lineage(target().diff_id)]);
}

#[test]
fn many_layers_are_asked_for_together() {
    let mut fleet = TestFleet::new(1, 3, 2, &Settings::default());
    fleet.put(1, &[near()]);
    let layers: Vec<Card> = (10..30).map(far).collect();
    fleet.publish(0, "app:new", 7, &layers);
    fleet.put(2, &layers);
    fleet.start();
    fleet.pull(1, 1, "app:new");
    fleet.run_pulls();
    let asked = fleet.seen(1).asked.iter().filter_map(|request| {
        let Request::Sketches(layers) = request else { return None };
        Some(layers.len())
    });
    let asked: Vec<usize> = asked.collect();
    assert_eq!(asked.iter().sum::<usize>(), 2 * layers.len(), "of both holders, as the first has no sketch");
    assert!(asked.len() <= 4, "{asked:?}");
}
