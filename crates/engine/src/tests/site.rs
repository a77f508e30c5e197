//! A node of a site asks its neighbour before it goes outside, step by step.
//!
//! The neighbour says that the layer comes, gives up, stalls, is lost, or brings another layer; or both are about to go
//! outside at once.

use crate::input::{DiskInput, Input, OperatorInput, PeerInput, WorkInput};
use lighter_types::{Bytes, BytesPerSecond, Cause, Link, Moment, OciDigest};
use lighter_wire::{Answer, Arrival, Request};

use super::{new, old, peer};
use crate::*;

/// One node of a site, with a neighbour (peer 1) and a peer outside that has the layer (peer 2).
struct Alone {
    engine: Engine,
    now: Moment,
}

impl Alone {
    /// A node that is about to go outside and has just asked its neighbour; with the number of the question.
    fn asking() -> (Self, AskId) {
        let site = Some("quay".parse().unwrap());
        let mut alone =
            Self { engine: Engine::new(Settings { site: site.clone(), ..Settings::default() }), now: Moment(1) };
        alone.step(1, Input::Disk(DiskInput::LayerHeld { card: old(), sketch: None }));
        for (node, site, cards) in [(1, site, vec![]), (2, None, vec![new()])] {
            let effects = alone.step(1, Input::Peer(PeerInput::Connected(peer(node))));
            let holdings = lighter_wire::Holdings::all(lighter_wire::Incarnation(1), 1, site, cards);
            alone.step(
                1,
                Input::Work(WorkInput::Answered {
                    ask: ask_of(&effects).unwrap(),
                    answer: Ok(Answer::Holdings(holdings)),
                }),
            );
        }
        alone.step(
            1,
            Input::Operator(OperatorInput::PullAsked {
                pull: PullId(1),
                wanted: Wanted::Manifest(OciDigest::new([1; 32])),
            }),
        );
        let layers = ImageRead::layers(vec![new().diff_id]);
        let effects = alone.step(1, Input::Work(WorkInput::ImageRead { pull: PullId(1), read: layers }));
        let sketches = Ok(Answer::Sketches(vec![None]));
        let effects =
            alone.step(1, Input::Work(WorkInput::Answered { ask: ask_of(&effects).unwrap(), answer: sketches }));
        let ask = arrival_asked(&effects).unwrap_or_else(|| panic!("{effects:?}"));
        (alone, ask)
    }

    fn step(&mut self, after_ms: u64, input: Input) -> Vec<Effect> {
        self.now = Moment(self.now.0 + after_ms);
        let mut effects = Vec::new();
        self.engine.step(self.now, input, &mut effects);
        effects
    }

    fn answer(&mut self, ask: AskId, arrival: Arrival) -> Vec<Effect> {
        self.step(1, Input::Work(WorkInput::Answered { ask, answer: Ok(Answer::Arrival(arrival)) }))
    }

    /// The neighbour with this number for the layer asks. Returns the answer to it.
    fn asked(&mut self, number: u64) -> Option<Arrival> {
        let request = Request::Arrival { target: new().diff_id, number };
        let effects =
            self.step(1, Input::Peer(PeerInput::Asked { question: QuestionId(number), from: peer(1), request }));
        effects.iter().find_map(|effect| {
            let Effect::Answer { answer: Answer::Arrival(arrival), .. } = effect else { return None };
            Some(*arrival)
        })
    }
}

fn ask_of(effects: &[Effect]) -> Option<AskId> {
    effects.iter().find_map(|effect| if let Effect::Ask { ask, .. } = effect { Some(*ask) } else { None })
}

fn arrival_asked(effects: &[Effect]) -> Option<AskId> {
    effects.iter().find_map(|effect| {
        let Effect::Ask { ask, to, request: Request::Arrival { target, .. } } = effect else { return None };
        assert_eq!(*target, new().diff_id);
        (*to == peer(1)).then_some(*ask)
    })
}

fn is_going_outside(effects: &[Effect]) -> bool {
    effects
        .iter()
        .any(|effect| matches!(effect, Effect::Ask { to, request: Request::Quote { .. }, .. } if *to == peer(2)))
}

#[test]
fn with_no_from_all_it_goes_outside() {
    let (mut alone, ask) = Alone::asking();
    assert!(is_going_outside(&alone.answer(ask, Arrival::No)));
}

#[test]
fn a_peer_that_does_not_answer_is_not_waited_for() {
    let (mut alone, _) = Alone::asking();
    assert!(!is_going_outside(&alone.step(900, Input::Tick)));
    assert!(is_going_outside(&alone.step(200, Input::Tick)));
}

/// The fetch that begins, from the neighbour.
#[track_caller]
fn fetching(effects: &[Effect]) -> FetchId {
    let fetch = effects.iter().find_map(|effect| {
        let Effect::Fetch { fetch, from, request, .. } = effect else { return None };
        assert_eq!((*from, request.resume, request.referable), (peer(1), None, None));
        Some(*fetch)
    });
    assert!(!is_going_outside(effects), "{effects:?}");
    fetch.unwrap_or_else(|| panic!("no fetch: {effects:?}"))
}

#[test]
fn a_fetching_node_passes_the_patch_on() {
    let (mut alone, ask) = Alone::asking();
    fetching(&alone.answer(ask, Arrival::Coming { received: Bytes::ZERO }));
    let (mut alone, ask) = Alone::asking();
    fetching(&alone.answer(ask, Arrival::Held));
}

#[test]
fn a_neighbour_that_gives_up_or_is_lost_is_asked_again_with_all_others() {
    for failure in [FetchFailure::Refused(lighter_wire::Refusal::NotHeld), FetchFailure::Lost(LostCause::Unsupported)] {
        let (mut alone, ask) = Alone::asking();
        let fetch = fetching(&alone.answer(ask, Arrival::Coming { received: Bytes(1) }));
        let effects = alone.step(1, Input::Work(WorkInput::FetchEnded { fetch, result: Err(failure) }));
        let ask = arrival_asked(&effects).unwrap_or_else(|| panic!("{effects:?}"));
        assert!(is_going_outside(&alone.answer(ask, Arrival::No)));
    }
}

#[test]
fn a_neighbour_whose_transfers_end_early_is_not_asked_for_ever() {
    let (mut alone, mut ask) = Alone::asking();
    let lost = || Err(FetchFailure::Lost(LostCause::EndedEarly(crate::failure::FetchStep::Frames)));
    let mut losses = 0;
    loop {
        let fetch = fetching(&alone.answer(ask, Arrival::Held));
        losses += 1;
        let effects = alone.step(1, Input::Work(WorkInput::FetchEnded { fetch, result: lost() }));
        match arrival_asked(&effects) {
            Some(again) => ask = again,
            None => break assert!(is_going_outside(&effects), "{effects:?}"),
        }
    }
    assert_eq!(losses, Settings::NEIGHBOUR_LOSSES_MAX);
}

/// A neighbour passes a patch on no faster than the patch comes to it. That says nothing of the neighbour's own rate.
#[test]
fn a_patch_that_a_neighbour_passes_on_gives_no_rate() {
    let (mut alone, ask) = Alone::asking();
    let fetch = fetching(&alone.answer(ask, Arrival::Coming { received: Bytes(1) }));
    let (patch, bases) = (lighter_types::PatchId::new([9; 32]), vec![old().diff_id]);
    for (frames, bytes) in [(1, Bytes::KIB), (2, Bytes::MIB)] {
        let part = Part { patch, settings: 1, bases: bases.clone(), frames, bytes, bytes_total: Bytes::MIB };
        alone.step(10_000, Input::Work(WorkInput::FetchProgress { fetch, part }));
    }
    let cached = CachedPatch { patch, target: new().diff_id, bases, bytes: Bytes::MIB, effort: None };
    let link = Link { down: Some(BytesPerSecond(1000)), ..Link::default() };
    let fetched = Fetched {
        card: new(),
        sketch: None,
        patch: cached,
        settings: 1,
        received: Bytes::MIB,
        applying: std::time::Duration::ZERO,
        link,
    };
    alone.step(1, Input::Work(WorkInput::FetchEnded { fetch, result: Ok(fetched) }));
    assert!(alone.engine.holdings().holds(new().diff_id));
    assert_eq!(alone.engine.link(peer(1)), Link::default());
}

/// Over a thin uplink a neighbour may wait as this node does: that nothing comes is no reason to doubt its word
/// (docs/decisions/0031-neighbours.md). Only a race tells.
#[test]
fn a_neighbour_that_stalls_without_a_race_is_not_doubted() {
    let (mut alone, ask) = Alone::asking();
    let fetch = fetching(&alone.answer(ask, Arrival::Coming { received: Bytes(1) }));
    let (patch, bases) = (lighter_types::PatchId::new([9; 32]), vec![old().diff_id]);
    let part = Part { patch, settings: 1, bases, frames: 1, bytes: Bytes::KIB, bytes_total: Bytes::MIB };
    alone.step(1000, Input::Work(WorkInput::FetchProgress { fetch, part }));
    let stall_ms = Settings::default().stall_timeout.as_millis() as u64;
    let effects = alone.step(stall_ms, Input::Tick);
    assert!(effects.contains(&Effect::StopFetch(fetch)), "{effects:?}");
    let stopped = WorkInput::FetchEnded { fetch, result: Err(FetchFailure::Stopped) };
    let effects = alone.step(1, Input::Work(stopped));
    assert!(arrival_asked(&effects).is_some(), "its word counts as before: {effects:?}");
}

/// A neighbour that waits for the next frame says that it grows, there or at a relay before it. Its word counts for as
/// many frames as there are relays at most, and each part of a frame once.
#[test]
fn a_neighbour_with_a_growing_frame_does_not_stall_and_its_word_has_an_end() {
    let (mut alone, ask) = Alone::asking();
    let fetch = fetching(&alone.answer(ask, Arrival::Coming { received: Bytes(1) }));
    let (patch, bases, total) = (lighter_types::PatchId::new([9; 32]), vec![old().diff_id], Bytes::MIB);
    let part = Part { patch, settings: 1, bases, frames: 1, bytes: Bytes::KIB.times(256), bytes_total: total };
    alone.step(1000, Input::Work(WorkInput::FetchProgress { fetch, part }));
    let mut says = |done| {
        let said = Input::Work(WorkInput::FetchWorking { fetch, done, total: Some(total) });
        let effects = alone.step(15_000, said);
        effects.contains(&Effect::StopFetch(fetch))
    };
    let frames = u64::from(Settings::RELAYS_ABOVE);
    for part in 0..=16 * frames {
        assert!(!says(Bytes::KIB.times(300 + 16 * part)), "{part} times 16 KiB");
    }
    assert!(!says(Bytes::MIB.times(100)), "the last time that counted was 15 s ago");
    assert!(says(Bytes::MIB.times(200)));
}

/// The neighbour may have passed on what another provider had promised.
#[test]
fn a_neighbour_by_whom_another_layer_came_is_not_cut_off_and_not_asked_again() {
    let (mut alone, ask) = Alone::asking();
    let fetch = fetching(&alone.answer(ask, Arrival::Coming { received: Bytes(1) }));
    let why = Cause::new(std::io::Error::other("another sha256"));
    let result = Err(FetchFailure::WrongResult { patch: lighter_types::PatchId::new([9; 32]), why });
    let effects = alone.step(1, Input::Work(WorkInput::FetchEnded { fetch, result }));
    assert!(is_going_outside(&effects) && arrival_asked(&effects).is_none(), "{effects:?}");
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::CutOff { .. })));
}

/// A patch that comes through a neighbour is not promised to others.
#[test]
fn a_patch_from_a_neighbour_is_passed_on_to_nobody() {
    let (mut alone, ask) = Alone::asking();
    fetching(&alone.answer(ask, Arrival::Coming { received: Bytes(1) }));
    let request = super::request(new().diff_id, &[old().diff_id]);
    let effects = alone.step(1, Input::Peer(PeerInput::StreamOpened { stream: StreamId(1), from: peer(1), request }));
    let refused = Effect::Refuse { stream: StreamId(1), refusal: lighter_wire::Refusal::NotHeld };
    assert!(effects.contains(&refused), "{effects:?}");
}

/// Two nodes are about to go outside: the one with the lower number goes. A node that already goes comes before both.
#[test]
fn the_lower_number_goes_and_who_goes_already() {
    let (mut alone, ask) = Alone::asking();
    let coming = Some(Arrival::Coming { received: Bytes::ZERO });
    assert_eq!((alone.asked(u64::MAX), alone.asked(0)), (coming, Some(Arrival::No)));
    // The one with the lower number had said no before it began.
    assert!(!is_going_outside(&alone.answer(ask, Arrival::No)));
    let (mut alone, ask) = Alone::asking();
    assert!(is_going_outside(&alone.answer(ask, Arrival::No)));
    assert_eq!((alone.asked(0), alone.asked(u64::MAX)), (coming, coming));
    alone.step(1, Input::Disk(DiskInput::LayerHeld { card: new(), sketch: None }));
    assert_eq!(alone.asked(0), Some(Arrival::Held));
}
