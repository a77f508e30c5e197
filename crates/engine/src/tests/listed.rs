//! Have-lists: when a requester lists the files of layers that the provider lacks, and what follows a list that
//! misleads.

use crate::input::{DiskInput, Input, OperatorInput, PeerInput, WorkInput};
use lighter_types::{Bytes, Card, DiffId, Effort, Moment, OciDigest};
use lighter_wire::{Answer, Holdings, Incarnation, Offer, PatchRequest, Quote, Request, Terms};

use super::sketches::{near, sketch, target};
use super::{layer, peer, step};
use crate::*;

/// A node that holds the near layer and wants the target, which peer 1 holds beside `others`.
pub struct Wanting {
    pub engine: Engine,
    pub now: u64,
}

impl Wanting {
    /// Pulls the target up to the fetch, and returns the effects that have it.
    pub fn new(others: &[Card]) -> (Self, Vec<Effect>) {
        let mut wanting = Self { engine: Engine::new(Settings::default()), now: 0 };
        wanting.step(Input::Disk(DiskInput::LayerHeld { card: near(), sketch: Some(sketch(0..31)) }));
        wanting.step(Input::Peer(PeerInput::Connected(peer(1))));
        let cards = others.iter().copied().chain([target()]).collect();
        let held = Holdings::all(Incarnation(1), 1, None, cards);
        wanting.step(Input::Work(WorkInput::Answered { ask: AskId(0), answer: Ok(Answer::Holdings(held)) }));
        wanting.step(Input::Operator(OperatorInput::PullAsked {
            pull: PullId(1),
            wanted: Wanted::Manifest(OciDigest::new([1; 32])),
        }));
        wanting.step(Input::Work(WorkInput::ImageRead {
            pull: PullId(1),
            read: ImageRead::layers(vec![target().diff_id]),
        }));
        let sketch = Some(sketch(0..32).to_bytes());
        let asked = wanting
            .step(Input::Work(WorkInput::Answered { ask: AskId(1), answer: Ok(Answer::Sketches(vec![sketch])) }));
        let effects = wanting.quote(&asked, others);
        (wanting, effects)
    }

    pub fn step(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.now += 1;
        self.engine.step(Moment(self.now), input, &mut effects);
        effects
    }

    /// Answers the question for a quote, with the bases that both hold.
    pub fn quote(&mut self, asked: &[Effect], others: &[Card]) -> Vec<Effect> {
        let ask = asked.iter().find_map(|effect| {
            let Effect::Ask { ask, request: Request::Quote { .. }, .. } = effect else { return None };
            Some(*ask)
        });
        let bases = others.iter().map(|card| card.diff_id).filter(|base| *base == near().diff_id).collect();
        let offer = Offer::Predicted { bytes: Bytes(20 << 20) };
        let quote = Quote { offer, bases, wait: std::time::Duration::ZERO, effort: None };
        self.step(Input::Work(WorkInput::Answered {
            ask: ask.expect("a question for a quote"),
            answer: Ok(Answer::Quote(quote)),
        }))
    }
}

/// The fetch that begins, and the layers whose files are listed.
#[track_caller]
pub fn fetched(effects: &[Effect]) -> (FetchId, Vec<DiffId>) {
    let fetch = effects.iter().find_map(|effect| {
        let Effect::Fetch { fetch, listed, .. } = effect else { return None };
        Some((*fetch, listed.clone()))
    });
    fetch.unwrap_or_else(|| panic!("no fetch: {effects:?}"))
}

#[test]
fn a_provider_without_the_base_is_told_its_files() {
    let (_, effects) = Wanting::new(&[]);
    assert_eq!(fetched(&effects).1, [near().diff_id]);
    let (_, effects) = Wanting::new(&[layer(9, 9, 40)]);
    assert_eq!(fetched(&effects).1, [near().diff_id], "another layer does not help");
    let (_, effects) = Wanting::new(&[near()]);
    assert_eq!(fetched(&effects).1, [], "it holds the base");
}

#[test]
fn after_a_list_that_misled_none_is_sent_and_nobody_is_blamed() {
    let (mut wanting, effects) = Wanting::new(&[]);
    let ended = wanting
        .step(Input::Work(WorkInput::FetchEnded { fetch: fetched(&effects).0, result: Err(FetchFailure::Listed) }));
    let after = if ended.iter().any(|effect| matches!(effect, Effect::Ask { .. })) {
        ended
    } else {
        wanting.now += 60_000;
        wanting.step(Input::Tick)
    };
    assert!(!after.iter().any(|effect| matches!(effect, Effect::CutOff { .. })), "{after:?}");
    let effects = wanting.quote(&after, &[]);
    assert_eq!(fetched(&effects).1, []);
}

#[test]
fn a_list_is_a_base_of_the_patch_that_is_made() {
    let mut engine = Engine::new(Settings::default());
    step(&mut engine, 1, Input::Disk(DiskInput::LayerHeld { card: target(), sketch: Some(sketch(0..32)) }));
    step(&mut engine, 2, Input::Peer(PeerInput::Connected(peer(1))));
    let list = DiffId::new([7; 32]);
    let request = PatchRequest {
        target: target().diff_id,
        bases: vec![near().diff_id],
        have: Some(list),
        resume: None,
        referable: None,
        terms: Terms::default(),
    };
    let opened = PeerInput::StreamOpened { stream: StreamId(1), from: peer(1), request: request.clone() };
    let effects = step(&mut engine, 3, Input::Peer(opened));
    let encode = effects.iter().find_map(|effect| {
        let Effect::Encode { encode, bases, .. } = effect else { return None };
        Some((*encode, bases.clone()))
    });
    let (encode, bases) = encode.expect("an encode");
    assert_eq!(bases, [list]);
    let patch = lighter_types::PatchId::new([1; 32]);
    let made = CachedPatch { patch, target: target().diff_id, bases, bytes: Bytes(1000), effort: Some(Effort::Max) };
    let took = std::time::Duration::from_secs(1);
    step(&mut engine, 4, Input::Work(WorkInput::EncodeEnded { encode, took, result: Ok(made) }));
    // The patch serves a request with the same list, and no other request.
    assert!(is_served(&mut engine, StreamId(2), request.clone()));
    assert!(!is_served(&mut engine, StreamId(3), PatchRequest { have: None, ..request }));
}

/// Opens a stream. Returns whether a patch goes over it at once.
fn is_served(engine: &mut Engine, stream: StreamId, request: PatchRequest) -> bool {
    let effects = step(engine, 5, Input::Peer(PeerInput::StreamOpened { stream, from: peer(1), request }));
    effects.iter().any(|effect| matches!(effect, Effect::Serve { .. }))
}
