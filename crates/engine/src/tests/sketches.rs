//! Questions for sketches: what is asked of whom, and what becomes of each kind of answer.

use crate::input::{DiskInput, Input, OperatorInput, PeerInput, WorkInput};
use lighter_similarity::{Sketch, SketchBuilder};
use lighter_types::{Bytes, Card, OciDigest};
use lighter_wire::{Answer, Request};

use super::{layer, peer};
use crate::*;

/// 40 MiB that compress to half, whatever it is made of.
const MIB: u64 = 40;

pub fn sketch(blocks: impl Iterator<Item = u64>) -> Sketch {
    let mut builder = SketchBuilder::new();
    for block in blocks {
        let mut state = block.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let bytes = std::iter::repeat_with(|| {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            state.wrapping_mul(0x2545_f491_4f6c_dd1d)
        });
        builder.push(&bytes.take(8 << 10).flat_map(u64::to_le_bytes).collect::<Vec<u8>>());
    }
    builder.finish()
}

/// Layers of one family are near by TLSH, whatever their contents.
pub fn target() -> Card {
    layer(1, 1, MIB)
}

pub fn near() -> Card {
    layer(1, 2, MIB)
}

/// An engine that wants the target, which peers 1 and 2 hold; both also hold the near layer.
struct Wanting {
    engine: Engine,
    now: u64,
}

impl Wanting {
    fn new() -> Self {
        let mut wanting = Self { engine: Engine::new(Settings::default()), now: 0 };
        wanting.step(Input::Disk(DiskInput::LayerHeld { card: near(), sketch: Some(sketch(28..60)) }));
        for node in 1..3 {
            wanting.step(Input::Peer(PeerInput::Connected(peer(node))));
            let holdings = lighter_wire::Holdings::all(lighter_wire::Incarnation(1), 1, None, vec![near(), target()]);
            wanting.step(Input::Work(WorkInput::Answered {
                ask: AskId(node as u64 - 1),
                answer: Ok(Answer::Holdings(holdings)),
            }));
        }
        wanting.step(Input::Operator(OperatorInput::PullAsked {
            pull: PullId(1),
            wanted: Wanted::Manifest(OciDigest::new([1; 32])),
        }));
        let read = ImageRead::layers(vec![target().diff_id]);
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
    let plans_on =
        asks(&effects, |request| matches!(request, Request::Quote { bases, .. } if bases == &[near().diff_id]));
    assert!(plans_on, "planning goes on by TLSH: {effects:?}");
}

#[test]
fn answers_that_are_no_sketches_are_told_apart() {
    let sketch = sketch(0..2).to_bytes();
    for bytes in [vec![4; 60], sketch[..sketch.len() - 1].to_vec(), [&sketch[..], &[0]].concat()] {
        check_answer(Ok(Answer::Sketches(vec![Some(bytes)])), true);
    }
    check_answer(Ok(Answer::Sketches(vec![])), true);
    check_answer(Ok(Answer::Sketches(vec![Some(sketch.clone()), Some(sketch.clone())])), true);
    // A newer peer, an older one, one without, one that is busy, and one that answers something else.
    check_answer(Ok(Answer::Sketches(vec![Some([&[5], &sketch[1..]].concat())])), false);
    check_answer(Ok(Answer::Sketches(vec![Some([&[3], &sketch[1..]].concat())])), false);
    check_answer(Ok(Answer::Sketches(vec![None])), false);
    check_answer(Ok(Answer::Refused(lighter_wire::Refusal::BUSY)), false);
    check_answer(Ok(Answer::Blob { bytes: vec![1], config: None }), false);
    check_answer(Err(AskFailure::Malformed), false);
}

#[test]
fn a_good_sketch_is_planned_with_at_once() {
    let mut wanting = Wanting::new();
    let sketch = sketch(28..60).to_bytes();
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
    let answer = Answer::Sketches(vec![None, Some(sketch(28..60).to_bytes())]);
    assert!(effects.contains(&Effect::Answer { question: QuestionId(1), answer }), "{effects:?}");
}
