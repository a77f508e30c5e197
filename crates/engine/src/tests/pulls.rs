//! Quotes that cannot be true, and patches that take long to apply.

use crate::input::{DiskInput, Input, OperatorInput, PeerInput, WorkInput};
use std::time::Duration;

use lighter_types::{Bytes, OciDigest};
use lighter_wire::{Answer, Offer, Request, Terms};

use super::{layer, new, old, peer, step};
use crate::*;

/// The answer to one of the node's questions.
fn answered(ask: u64, answer: Answer) -> Input {
    Input::Work(WorkInput::Answered { ask: AskId(ask), answer: Ok(answer) })
}

/// Applying a patch of `max` can take longer than a stall: it is fetched once all the same.
#[test]
fn a_patch_that_is_all_here_does_not_stall() {
    for (bytes, stops_after_s) in [(99_999, 20), (100_000, 30 * 60)] {
        let mut engine = Engine::new(Settings::default());
        step(&mut engine, 1, Input::Disk(DiskInput::LayerHeld { card: old(), sketch: None }));
        step(&mut engine, 1, Input::Peer(PeerInput::Connected(peer(1))));
        let incarnation = lighter_wire::Incarnation(1);
        let holdings = lighter_wire::Holdings::all(incarnation, 1, None, vec![new()]);
        step(&mut engine, 1, answered(0, Answer::Holdings(holdings)));
        let wanted = Wanted::Manifest(OciDigest::new([1; 32]));
        step(&mut engine, 1, Input::Operator(OperatorInput::PullAsked { pull: PullId(1), wanted }));
        let sizes = [(new().diff_id, Bytes(77))].into();
        let read = ImageRead::Layers { layers: vec![new().diff_id], sizes, blobs: std::collections::BTreeMap::new() };
        step(&mut engine, 1, Input::Work(WorkInput::ImageRead { pull: PullId(1), read }));
        step(&mut engine, 1, answered(1, Answer::Sketches(vec![None])));
        let offer = Offer::Predicted { bytes: Bytes(100_000) };
        let quote = lighter_wire::Quote { offer, bases: vec![], wait: Duration::ZERO, effort: None };
        let effects = step(&mut engine, 1, answered(2, Answer::Quote(quote)));
        let is_sized = |effect: &Effect| matches!(effect, Effect::Fetch { signed_bytes: Some(Bytes(77)), .. });
        assert!(effects.iter().any(is_sized), "{effects:?}");
        let part = Part {
            patch: lighter_types::PatchId::new([1; 32]),
            settings: 1,
            bases: vec![],
            frames: 1,
            bytes: Bytes(bytes),
            bytes_total: Bytes(100_000),
        };
        step(&mut engine, 1000, Input::Work(WorkInput::FetchProgress { fetch: FetchId(0), part }));
        let before = step(&mut engine, 1000 * stops_after_s, Input::Tick);
        assert!(!before.contains(&Effect::StopFetch(FetchId(0))), "{bytes} bytes");
        let after = step(&mut engine, 1000 + 1000 * stops_after_s, Input::Tick);
        assert!(after.contains(&Effect::StopFetch(FetchId(0))), "{bytes} bytes");
    }
}

#[test]
fn a_quote_for_bases_that_are_not_here_is_not_taken() {
    let mut engine = Engine::new(Settings::default());
    step(&mut engine, 1, Input::Disk(DiskInput::LayerHeld { card: old(), sketch: None }));
    step(&mut engine, 1, Input::Peer(PeerInput::Connected(peer(1))));
    let holdings = lighter_wire::Holdings::all(lighter_wire::Incarnation(1), 1, None, vec![old(), new()]);
    step(&mut engine, 2, answered(0, Answer::Holdings(holdings)));
    let wanted = Wanted::Manifest(OciDigest::new([1; 32]));
    step(&mut engine, 3, Input::Operator(OperatorInput::PullAsked { pull: PullId(1), wanted }));
    let read = ImageRead::layers(vec![new().diff_id]);
    step(&mut engine, 4, Input::Work(WorkInput::ImageRead { pull: PullId(1), read }));
    let effects = step(&mut engine, 4, answered(1, Answer::Sketches(vec![None])));
    let bases = vec![old().diff_id];
    let request = Request::Quote { target: new().diff_id, bases, terms: Terms::default() };
    assert!(effects.contains(&Effect::Ask { ask: AskId(2), to: peer(1), request }));
    let quote = lighter_wire::Quote {
        offer: Offer::Predicted { bytes: Bytes(1) },
        bases: vec![layer(9, 9, 1).diff_id],
        wait: Duration::ZERO,
        effort: None,
    };
    let effects = step(&mut engine, 5, answered(2, Answer::Quote(quote)));
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Fetch { .. })), "{effects:?}");
}

/// Offers are work: a peer that asks for very many gets the image without them.
#[test]
fn offers_for_many_layers_count_as_many_messages() {
    let mut engine = Engine::new(Settings::default());
    step(&mut engine, 1, Input::Disk(DiskInput::LayerHeld { card: new(), sketch: None }));
    step(&mut engine, 1, Input::Peer(PeerInput::Connected(peer(1))));
    let holdings = lighter_wire::Holdings::all(lighter_wire::Incarnation(1), 1, None, vec![old()]);
    step(&mut engine, 1, answered(0, Answer::Holdings(holdings)));
    let documents = lighter_wire::Documents { manifest: vec![1], config: None, recipes: None };
    let layers = vec![new().diff_id; 128];
    let found = ImageFound { release: None, documents: Some(documents), layers, ..ImageFound::default() };
    let honest = Settings::MESSAGES_MAX as usize * Settings::OFFERS_PER_MESSAGE / 128;
    assert!((1..=honest as u64).all(|question| count_offers(&mut engine, question, &found) == 128));
    assert_eq!(count_offers(&mut engine, honest as u64 + 1, &found), 0);
}

/// The number of offers in the answer to a peer that asks about this image.
fn count_offers(engine: &mut Engine, question: u64, found: &ImageFound) -> usize {
    let (question, found) = (QuestionId(question), Ok(found.clone()));
    let effects = step(engine, 1, Input::Work(WorkInput::ImageLookedUp { question, from: peer(1), found }));
    let answered = effects.into_iter().find_map(|effect| {
        if let Effect::Answer { answer: Answer::Image(image), .. } = effect { Some(image.offers.len()) } else { None }
    });
    answered.unwrap()
}

/// A layer that comes right after the start is a change for a peer that knows the list of the start.
#[test]
fn a_layer_that_comes_right_after_the_start_is_a_change_of_that_list() {
    let mut engine = Engine::new(Settings::default());
    step(&mut engine, 1, Input::Disk(DiskInput::LayerHeld { card: old(), sketch: None }));
    step(&mut engine, 1, Input::Disk(DiskInput::LayersTold));
    step(&mut engine, 1, Input::Disk(DiskInput::LayerHeld { card: new(), sketch: None }));
    let request = Request::Holdings { known: Some([old().diff_id].into_iter().collect()) };
    let asked = PeerInput::Asked { question: QuestionId(1), from: peer(1), request };
    let answered = step(&mut engine, 1, Input::Peer(asked)).into_iter().find_map(|effect| {
        let Effect::Answer { answer: Answer::Holdings(holdings), .. } = effect else { return None };
        Some(holdings.list)
    });
    assert_eq!(answered, Some(lighter_wire::Listed::Unchanged), "the next announcement has the change");
}
