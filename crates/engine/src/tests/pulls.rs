//! Quotes that cannot be true, and patches that take long to apply.

use crate::input::{DiskInput, Input, OperatorInput, PeerInput, WorkInput};
use std::time::Duration;

use lighter_types::{Bytes, Moment, OciDigest};
use lighter_wire::{Answer, Offer, Request, Terms};

use super::{layer, new, old, peer};
use crate::*;

/// Applying a patch of `max` can take longer than a stall: it is fetched once all the same.
#[test]
fn a_patch_that_is_all_here_does_not_stall() {
    for (bytes, stops_after_s) in [(99_999, 20), (100_000, 30 * 60)] {
        let mut engine = Engine::new(Settings::default());
        let mut step = |now: u64, input| {
            let mut effects = Vec::new();
            engine.step(Moment(now), input, &mut effects);
            effects
        };
        step(1, Input::Disk(DiskInput::LayerHeld { card: old(), sketch: None }));
        step(1, Input::Peer(PeerInput::Connected(peer(1))));
        let incarnation = lighter_wire::Incarnation(1);
        let holdings = lighter_wire::Holdings::all(incarnation, 1, None, vec![new()]);
        step(1, Input::Work(WorkInput::Answered { ask: AskId(0), answer: Ok(Answer::Holdings(holdings)) }));
        step(
            1,
            Input::Operator(OperatorInput::PullAsked {
                pull: PullId(1),
                wanted: Wanted::Manifest(OciDigest::new([1; 32])),
            }),
        );
        step(1, Input::Work(WorkInput::ImageRead { pull: PullId(1), read: ImageRead::Layers(vec![new().diff_id]) }));
        step(1, Input::Work(WorkInput::Answered { ask: AskId(1), answer: Ok(Answer::Sketches(vec![None])) }));
        let offer = Offer::Predicted { bytes: Bytes(100_000) };
        let quote = lighter_wire::Quote { offer, bases: vec![], wait: Duration::ZERO, effort: None };
        let effects = step(1, Input::Work(WorkInput::Answered { ask: AskId(2), answer: Ok(Answer::Quote(quote)) }));
        assert!(effects.iter().any(|effect| matches!(effect, Effect::Fetch { .. })), "{effects:?}");
        let part = Part {
            patch: lighter_types::PatchId::new([1; 32]),
            settings: 1,
            bases: vec![],
            frames: 1,
            bytes: Bytes(bytes),
            bytes_total: Bytes(100_000),
        };
        step(1000, Input::Work(WorkInput::FetchProgress { fetch: FetchId(0), part }));
        let stops = |effects: &[Effect]| effects.contains(&Effect::StopFetch(FetchId(0)));
        assert!(!stops(&step(1000 * stops_after_s, Input::Tick)));
        assert!(stops(&step(1000 + 1000 * stops_after_s, Input::Tick)), "{bytes} bytes");
    }
}

#[test]
fn a_quote_for_bases_that_are_not_here_is_not_taken() {
    let mut engine = Engine::new(Settings::default());
    let mut step = |now: u64, input| {
        let mut effects = Vec::new();
        engine.step(Moment(now), input, &mut effects);
        effects
    };
    step(1, Input::Disk(DiskInput::LayerHeld { card: old(), sketch: None }));
    step(1, Input::Peer(PeerInput::Connected(peer(1))));
    let holdings = lighter_wire::Holdings::all(lighter_wire::Incarnation(1), 1, None, vec![old(), new()]);
    step(2, Input::Work(WorkInput::Answered { ask: AskId(0), answer: Ok(Answer::Holdings(holdings)) }));
    let wanted = Wanted::Manifest(OciDigest::new([1; 32]));
    step(3, Input::Operator(OperatorInput::PullAsked { pull: PullId(1), wanted }));
    step(4, Input::Work(WorkInput::ImageRead { pull: PullId(1), read: ImageRead::Layers(vec![new().diff_id]) }));
    let effects = step(4, Input::Work(WorkInput::Answered { ask: AskId(1), answer: Ok(Answer::Sketches(vec![None])) }));
    let bases = vec![old().diff_id];
    let request = Request::Quote { target: new().diff_id, bases, terms: Terms::default() };
    assert!(effects.contains(&Effect::Ask { ask: AskId(2), to: peer(1), request }));
    let quote = lighter_wire::Quote {
        offer: Offer::Predicted { bytes: Bytes(1) },
        bases: vec![layer(9, 9, 1).diff_id],
        wait: Duration::ZERO,
        effort: None,
    };
    let effects = step(5, Input::Work(WorkInput::Answered { ask: AskId(2), answer: Ok(Answer::Quote(quote)) }));
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Fetch { .. })), "{effects:?}");
}

/// Offers are work: a peer that asks for very many gets the image without them.
#[test]
fn offers_for_many_layers_count_as_many_messages() {
    let mut engine = Engine::new(Settings::default());
    let mut step = |input| {
        let mut effects = Vec::new();
        engine.step(Moment(1), input, &mut effects);
        effects
    };
    step(Input::Disk(DiskInput::LayerHeld { card: new(), sketch: None }));
    step(Input::Peer(PeerInput::Connected(peer(1))));
    let holdings = lighter_wire::Holdings::all(lighter_wire::Incarnation(1), 1, None, vec![old()]);
    step(Input::Work(WorkInput::Answered { ask: AskId(0), answer: Ok(Answer::Holdings(holdings)) }));
    let documents = lighter_wire::Documents { manifest: vec![1], config: None };
    let layers = vec![new().diff_id; 128];
    let found = ImageFound { release: None, documents: Some(documents), layers, ..ImageFound::default() };
    let mut offers = |question: u64| {
        let (question, found) = (QuestionId(question), Ok(found.clone()));
        let effects = step(Input::Work(WorkInput::ImageLookedUp { question, from: peer(1), found }));
        let answered = effects.into_iter().find_map(|effect| {
            if let Effect::Answer { answer: Answer::Image(image), .. } = effect {
                Some(image.offers.len())
            } else {
                None
            }
        });
        answered.unwrap()
    };
    let honest = Settings::MESSAGES_MAX as usize * Settings::OFFERS_PER_MESSAGE / 128;
    assert!((1..=honest as u64).all(|question| offers(question) == 128));
    assert_eq!(offers(honest as u64 + 1), 0);
}

/// A layer that comes right after the start is a change for a peer that knows the list of the start.
#[test]
fn a_layer_that_comes_right_after_the_start_is_a_change_of_that_list() {
    let mut engine = Engine::new(Settings::default());
    let mut step = |input| {
        let mut effects = Vec::new();
        engine.step(Moment(1), input, &mut effects);
        effects
    };
    step(Input::Disk(DiskInput::LayerHeld { card: old(), sketch: None }));
    step(Input::Disk(DiskInput::LayersTold));
    step(Input::Disk(DiskInput::LayerHeld { card: new(), sketch: None }));
    let request = Request::Holdings { known: Some([old().diff_id].into_iter().collect()) };
    let asked = PeerInput::Asked { question: QuestionId(1), from: peer(1), request };
    let answered = step(Input::Peer(asked)).into_iter().find_map(|effect| {
        let Effect::Answer { answer: Answer::Holdings(holdings), .. } = effect else { return None };
        Some(holdings.list)
    });
    assert_eq!(answered, Some(lighter_wire::Listed::Unchanged), "the next announcement has the change");
}
