//! Referrals: the requester is sent to a relay, which cannot be reached, is silent, or sends another result.

use crate::input::{Input, PeerInput, WorkInput};
use lighter_types::{Cause, PatchId};
use lighter_wire::Refusal;

use super::listed::{Wanting, fetched};
use super::peer;
use super::sketches::near;
use crate::*;

const NAMED: PatchId = PatchId::new([9; 32]);

/// A node whose provider named peer 2 as the relay. The node fetches from it.
fn referred() -> (Wanting, FetchId) {
    let (mut wanting, effects) = Wanting::new(&[near()]);
    let referred = FetchFailure::Referred { to: peer(2), patch: NAMED, settings: 7 };
    let effects =
        wanting.step(Input::Work(WorkInput::FetchEnded { fetch: fetched(&effects).0, result: Err(referred) }));
    assert!(effects.contains(&Effect::Connect(peer(2))), "{effects:?}");
    let effects = wanting.step(Input::Peer(PeerInput::Connected(peer(2))));
    let (from, request) = effects.iter().find_map(fetch).expect("a fetch");
    assert_eq!(from, peer(2));
    assert_eq!(request.referable, None, "it is referred once");
    let resume = request.resume.expect("the patch that was named");
    assert_eq!((resume.patch, resume.first_frame, resume.settings), (NAMED, 0, 7));
    let (id, _) = fetched(&effects);
    (wanting, id)
}

fn fetch(effect: &Effect) -> Option<(lighter_types::PeerId, lighter_wire::PatchRequest)> {
    let Effect::Fetch { from, request, .. } = effect else { return None };
    Some((*from, request.clone()))
}

fn cut_off(effects: &[Effect]) -> Vec<lighter_types::PeerId> {
    let mut peers = Vec::new();
    for effect in effects {
        if let Effect::CutOff { peer, .. } = effect {
            peers.push(*peer);
        }
    }
    peers
}

fn cause(text: &'static str) -> Cause {
    Cause::new(std::io::Error::other(text))
}

#[test]
fn the_namer_of_a_patch_answers_for_its_result() {
    assert_eq!(blamed(wrong_result(NAMED)), [peer(1)], "the relay passed on what it could not know");
    assert_eq!(blamed(wrong_result(PatchId::new([8; 32]))), [peer(2)], "a patch of its own");
    assert_eq!(blamed(FetchFailure::Lied(Lie::Unreadable(cause("a frame of other bytes")))), [peer(2)]);
    assert_eq!(blamed(FetchFailure::Refused(Refusal::NotHeld)), []);
}

/// The peers that are cut off if a fetch from the relay fails so.
fn blamed(failure: FetchFailure) -> Vec<lighter_types::PeerId> {
    let (mut wanting, fetch) = referred();
    cut_off(&wanting.step(Input::Work(WorkInput::FetchEnded { fetch, result: Err(failure) })))
}

fn wrong_result(patch: PatchId) -> FetchFailure {
    FetchFailure::WrongResult { patch, why: cause("another sha256") }
}

#[test]
fn an_unreachable_relay_is_given_up_and_its_namer_asked_again() {
    let (mut wanting, effects) = Wanting::new(&[near()]);
    let referred = FetchFailure::Referred { to: peer(2), patch: NAMED, settings: 7 };
    wanting.step(Input::Work(WorkInput::FetchEnded { fetch: fetched(&effects).0, result: Err(referred) }));
    let effects = wanting.step(Input::Peer(PeerInput::Unreachable(peer(2))));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Ask { to, .. } if *to == peer(1))), "{effects:?}");
}

#[test]
fn a_silent_relay_is_given_up_in_time() {
    let (mut wanting, effects) = Wanting::new(&[near()]);
    let referred = FetchFailure::Referred { to: peer(2), patch: NAMED, settings: 7 };
    wanting.step(Input::Work(WorkInput::FetchEnded { fetch: fetched(&effects).0, result: Err(referred) }));
    wanting.now += 10_000;
    let effects = wanting.step(Input::Tick);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Ask { .. })), "{effects:?}");
}
