//! Planning by sketches in a fleet: better bases, sets of bases, and what happens when sketches do not come or lie.

use crate::input::{DiskInput, Input, OperatorInput, PeerInput, WorkInput};
use std::time::Duration;

use lighter_similarity::SketchBuilder;
use lighter_types::{Bytes, Card, DiffId, OciDigest};
use lighter_wire::{Answer, Request};

use super::fleet::{Content, Fleet, layer, peer, seeds};
use crate::*;

/// 40 MiB that compress to half, whatever it is made of.
const MIB: u64 = 40;

pub fn content(blocks: impl Iterator<Item = u64>) -> Content {
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
    Content { blocks, sketch: builder.finish() }
}

/// Layers of one family are near by TLSH, whatever their contents.
pub fn target() -> Card {
    layer(1, 1, MIB)
}

pub fn near() -> Card {
    layer(1, 2, MIB)
}

fn far(family: u8) -> Card {
    layer(family, 1, MIB)
}

/// Node 0 publishes the target; both nodes hold `bases`.
fn fleet(seed: u64, made_of: Content, bases: &[(Card, Content)]) -> Fleet {
    let mut fleet = Fleet::new(seed, 2, 1, &Settings::default());
    fleet.truth.insert(target().diff_id, made_of);
    for (card, content) in bases {
        fleet.truth.insert(card.diff_id, content.clone());
        (0..2).for_each(|node| fleet.put(node, &[*card]));
    }
    fleet.publish(0, "app:new", 7, &[target()]);
    fleet
}

/// The bases of the patch that node 1 got, and its bytes.
fn pulled(fleet: &mut Fleet) -> (Vec<DiffId>, Bytes) {
    fleet.pull(1, 1, "app:new");
    fleet.run_pulls();
    let end = fleet.nodes[1].end(1);
    assert!(matches!(end, Some(Report::Done { .. })), "{end:?}");
    let arrived = fleet.nodes[1].reports.iter().find_map(|(_, report)| match report {
        Report::Layer { bases, patch_bytes, .. } => Some((bases.clone(), *patch_bytes)),
        _ => None,
    });
    arrived.expect("a layer")
}

/// TLSH sees a near layer that has an eighth of the target, and a far one that has all of it and more.
fn superset(seed: u64) -> Fleet {
    fleet(seed, content(0..32), &[(near(), content(28..60)), (far(3), content(0..128))])
}

#[test]
fn a_superset_is_found_that_tlsh_passes_over() {
    for seed in seeds(4) {
        let mut by_sketch = superset(seed);
        by_sketch.start();
        let (bases, bytes) = pulled(&mut by_sketch);
        assert_eq!(bases, [far(3).diff_id]);
        let mut by_tlsh = superset(seed);
        by_tlsh.truth.clear();
        by_tlsh.start();
        assert_eq!(pulled(&mut by_tlsh).0, [near().diff_id]);
        let near = by_sketch.patch_of(&target(), vec![near().diff_id]).bytes;
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
    let bases: Vec<(Card, Content)> =
        (0..8).map(|part| (far(3 + part as u8), content(part * 4..part * 4 + 4))).collect();
    let mut fleet = fleet(1, content(0..32), &bases);
    fleet.start();
    assert_eq!(pulled(&mut fleet).0.len(), Settings::PATCH_BASES_MAX);
}

#[test]
fn sketches_that_nobody_has_are_done_without() {
    let mut fleet = superset(1);
    fleet.nodes[0].disk.sketches.insert(target().diff_id, None);
    fleet.start();
    assert_eq!(pulled(&mut fleet).0, [near().diff_id]);
}

#[test]
fn questions_for_sketches_that_are_lost_cost_their_timeout_and_no_more() {
    let mut fleet = superset(1);
    fleet.sketches_lost = true;
    fleet.start();
    let before = fleet.now;
    assert_eq!(pulled(&mut fleet).0, [near().diff_id]);
    let (took, encoding) = (fleet.now.since(before), Duration::from_secs(30));
    assert!(took >= Settings::SKETCH_TIMEOUT && took < Settings::SKETCH_TIMEOUT + encoding, "{took:?}");
}

/// Only the layer itself shows that its sketch was made up.
#[test]
fn a_made_up_sketch_costs_bytes_and_its_maker_is_cut_off() {
    let mut fleet = superset(1);
    fleet.nodes[0].disk.sketches.insert(target().diff_id, Some(content(28..60).sketch));
    fleet.start();
    assert!(pulled(&mut fleet).0.contains(&near().diff_id));
    assert_eq!(fleet.nodes[1].cut_off, [peer(0)]);
}

#[test]
fn what_patches_weigh_is_learned_and_kept() {
    let mut fleet = superset(1);
    fleet.start();
    pulled(&mut fleet);
    let learned: Vec<(Rule, u32)> = fleet.nodes[1].disk.calibrations.keys().copied().collect();
    assert_eq!(learned, [(Rule::Sketch, 1)]);
}

/// An engine that wants the target, which peers 1 and 2 hold; both also hold the near layer.
struct Wanting {
    engine: Engine,
    now: u64,
}

impl Wanting {
    fn new() -> Self {
        let mut wanting = Self { engine: Engine::new(Settings::default()), now: 0 };
        wanting.step(Input::Disk(DiskInput::LayerHeld { card: near(), sketch: Some(content(28..60).sketch) }));
        for node in 1..3 {
            wanting.step(Input::Peer(PeerInput::Connected(peer(node))));
            let told = lighter_wire::Holdings {
                incarnation: lighter_wire::Incarnation(1),
                version: 1,
                site: None,
                cards: vec![near(), target()],
            };
            wanting.step(Input::Work(WorkInput::Answered {
                ask: AskId(node as u64 - 1),
                answer: Ok(Answer::Holdings(told)),
            }));
        }
        wanting.step(Input::Operator(OperatorInput::PullAsked {
            pull: PullId(1),
            wanted: Wanted::Manifest(OciDigest::new([1; 32])),
        }));
        let read = ImageRead::Layers(vec![target().diff_id]);
        let effects = wanting.step(Input::Work(WorkInput::ImageRead { pull: PullId(1), read }));
        assert!(asks(&effects, |request| *request == Request::Sketches(vec![target().diff_id])), "{effects:?}");
        assert!(!asks(&effects, |request| matches!(request, Request::Quote { .. })), "before the sketch is there");
        wanting
    }

    fn step(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.now += 1;
        self.engine.step(lighter_types::Moment(self.now), input, &mut effects);
        effects
    }
}

fn asks(effects: &[Effect], what: impl Fn(&Request) -> bool) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Ask { request, .. } if what(request)))
}

/// The first peer that is asked answers with this: is it cut off for it, and is the other asked for the sketch?
fn check_answer(answer: Result<Answer, AskFailure>, is_offence: bool) {
    let mut wanting = Wanting::new();
    let effects = wanting.step(Input::Work(WorkInput::Answered { ask: AskId(2), answer: answer.clone() }));
    let cut_off = effects.iter().any(|effect| matches!(effect, Effect::CutOff { .. }));
    assert_eq!(cut_off, is_offence, "{answer:?}: {effects:?}");
    assert!(asks(&effects, |request| matches!(request, Request::Sketches(_))), "{answer:?}: {effects:?}");
    let effects =
        wanting.step(Input::Work(WorkInput::Answered { ask: AskId(3), answer: Err(AskFailure::Unreachable) }));
    let quotes = |request: &Request| matches!(request, Request::Quote { bases, .. } if bases == &[near().diff_id]);
    assert!(asks(&effects, quotes), "planning goes on by TLSH: {effects:?}");
}

#[test]
fn answers_that_are_no_sketches_are_told_apart() {
    let sketch = content(0..2).sketch.to_bytes();
    let one = |bytes: Vec<u8>| Ok(Answer::Sketches(vec![Some(bytes)]));
    check_answer(one(vec![1; 40]), true);
    check_answer(one(sketch[..sketch.len() - 1].to_vec()), true);
    check_answer(one([&sketch[..], &[0]].concat()), true);
    check_answer(Ok(Answer::Sketches(vec![])), true);
    check_answer(Ok(Answer::Sketches(vec![Some(sketch.clone()), Some(sketch.clone())])), true);
    // A newer peer, one without, one that is busy, and one that answers something else.
    check_answer(one([&[2], &sketch[1..]].concat()), false);
    check_answer(Ok(Answer::Sketches(vec![None])), false);
    check_answer(Ok(Answer::Refused(lighter_wire::Refusal::Busy)), false);
    check_answer(Ok(Answer::Blob { bytes: vec![1], config: None }), false);
    check_answer(Err(AskFailure::Malformed), false);
}

#[test]
fn a_good_sketch_is_planned_with_at_once() {
    let mut wanting = Wanting::new();
    let sketch = content(28..60).sketch.to_bytes();
    let effects = wanting
        .step(Input::Work(WorkInput::Answered { ask: AskId(2), answer: Ok(Answer::Sketches(vec![Some(sketch)])) }));
    assert!(asks(&effects, |request| matches!(request, Request::Quote { .. })), "{effects:?}");
    let plans = wanting.engine.plans(target().diff_id, lighter_types::Moment(wanting.now));
    assert!(plans[0].forecast.by_sketch.is_some_and(|by_sketch| by_sketch.bytes < Bytes(16 << 10)), "{plans:?}");
    assert_eq!((plans[0].forecast.rule(), &plans[0].bases[..]), (Rule::Sketch, &[near().diff_id][..]));
}

#[test]
fn sketches_of_own_layers_are_told_and_no_others() {
    let mut wanting = Wanting::new();
    let request = Request::Sketches(vec![target().diff_id, near().diff_id]);
    let effects = wanting.step(Input::Peer(PeerInput::Asked { question: QuestionId(1), from: peer(1), request }));
    let told = Answer::Sketches(vec![None, Some(content(28..60).sketch.to_bytes())]);
    assert!(effects.contains(&Effect::Answer { question: QuestionId(1), answer: told }), "{effects:?}");
}

#[test]
fn many_layers_are_asked_for_together() {
    let mut fleet = Fleet::new(1, 2, 1, &Settings::default());
    fleet.put(1, &[near()]);
    let layers: Vec<Card> = (10..30).map(far).collect();
    fleet.publish(0, "app:new", 7, &layers);
    fleet.start();
    fleet.pull(1, 1, "app:new");
    fleet.run_pulls();
    let asked = fleet.nodes[1].asked.iter().filter_map(|request| match request {
        Request::Sketches(layers) => Some(layers.len()),
        _ => None,
    });
    assert_eq!(asked.collect::<Vec<_>>(), [16, 4]);
}
