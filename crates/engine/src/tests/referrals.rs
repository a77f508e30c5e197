//! Referrals: who passes patches on, what becomes of those whose relay is gone or lies, and who answers for a result.

use crate::input::{Input, PeerInput, WorkInput};
use std::time::Duration;

use lighter_types::PatchId;
use lighter_wire::{Refusal, Request};

use super::fleet::{Fault, Fleet, peer, seeds};
use super::listed::{Wanting, fetched};
use super::sketches::near;
use super::{check_done, fleet};
use crate::*;

/// All but the hub pull the new release at once.
fn roll_out(fleet: &mut Fleet) {
    fleet.start();
    (1..fleet.nodes.len()).for_each(|node| fleet.pull(node, 1, "app:new"));
}

#[test]
fn a_hub_sends_a_few_copies_and_names_who_has_them() {
    for seed in seeds(8) {
        let mut fleet = fleet(seed, 40, 0);
        roll_out(&mut fleet);
        fleet.run_pulls();
        (1..40).for_each(|node| check_done(&fleet, node));
        let hub = &fleet.nodes[0];
        assert_eq!((hub.served, hub.referred, hub.encodes), (3, 36, 1));
        let busiest = fleet.nodes[1..].iter().map(|node| node.served).max();
        assert!(busiest <= Some(6), "one relay served {busiest:?} of 36");
    }
}

/// A relay is visited for a patch; what else it holds is nobody's business, however much it announces meanwhile.
#[test]
fn who_is_named_is_not_asked_what_it_holds() {
    let mut fleet = fleet(1, 40, 0);
    roll_out(&mut fleet);
    fleet.run_pulls();
    fleet.run(Duration::from_secs(60));
    let asked = |node: usize| fleet.nodes[node].asked.iter().filter(|asked| **asked == Request::Holdings).count();
    let visitors: Vec<usize> = (1..40).filter(|&node| fleet.nodes[node].served == 0).collect();
    assert!(visitors.len() > 10, "{visitors:?}");
    assert!(visitors.iter().all(|&node| asked(node) == 1), "they ask the hub alone");
}

#[test]
fn a_hub_that_refers_nobody_serves_all() {
    let mut fleet = fleet(1, 20, 0);
    fleet.nodes[0].settings.copies_max = 0;
    roll_out(&mut fleet);
    fleet.run_pulls();
    assert_eq!((fleet.nodes[0].served, fleet.nodes[0].referred), (19, 0));
}

#[test]
fn who_passes_nothing_on_is_not_named() {
    let mut fleet = fleet(1, 20, 0);
    fleet.nodes[1..].iter_mut().for_each(|node| node.settings.passes_on = false);
    roll_out(&mut fleet);
    fleet.run_pulls();
    assert_eq!((fleet.nodes[0].served, fleet.nodes[0].referred), (19, 0));
}

/// Relays that vanish take their followers' streams with them; all end well by other ways, and nobody waits in a circle.
#[test]
fn relays_that_vanish_are_replaced() {
    for seed in seeds(20) {
        let mut fleet = fleet(seed, 30, 0);
        // A frame takes a second.
        fleet.rate = 1 << 20;
        roll_out(&mut fleet);
        for round in 0..4 {
            fleet.run(Duration::from_secs(2));
            let busy = (1..30).filter(|&node| fleet.nodes[node].online && fleet.nodes[node].served > 0);
            if let Some(relay) = busy.max_by_key(|&node| (fleet.nodes[node].served, node)) {
                fleet.kill(relay);
                if round % 2 == 0 {
                    fleet.boot(relay);
                    fleet.pull(relay, 2, "app:new");
                }
            }
        }
        fleet.run_pulls();
        (1..30).filter(|&node| fleet.nodes[node].online).for_each(|node| check_done(&fleet, node));
    }
}

#[test]
fn relays_that_lie_or_stop_are_left() {
    for seed in seeds(20) {
        for fault in [Fault::Lies, Fault::Stalls(1)] {
            let mut fleet = fleet(seed, 20, 0);
            (1..20).step_by(3).for_each(|node| fleet.nodes[node].fault = fault);
            roll_out(&mut fleet);
            fleet.run_pulls();
            (1..20).for_each(|node| check_done(&fleet, node));
        }
    }
}

const NAMED: PatchId = PatchId::new([9; 32]);

/// A node whose provider named peer 2, and that fetches from it.
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
    match effect {
        Effect::Fetch { from, request, .. } => Some((*from, request.clone())),
        _ => None,
    }
}

fn cut_off(effects: &[Effect]) -> Vec<lighter_types::PeerId> {
    let cut_off = |effect: &Effect| match effect {
        Effect::CutOff { peer, .. } => Some(*peer),
        _ => None,
    };
    effects.iter().filter_map(cut_off).collect()
}

#[test]
fn who_named_a_patch_answers_for_its_result() {
    let wrong = |patch| FetchFailure::WrongResult { patch, what: "another sha256".to_owned() };
    let blamed = |failure| {
        let (mut wanting, fetch) = referred();
        cut_off(&wanting.step(Input::Work(WorkInput::FetchEnded { fetch, result: Err(failure) })))
    };
    assert_eq!(blamed(wrong(NAMED)), [peer(1)], "the relay passed on what it could not know");
    assert_eq!(blamed(wrong(PatchId::new([8; 32]))), [peer(2)], "a patch of its own");
    assert_eq!(blamed(FetchFailure::Lied(Lie::Unreadable { why: "a frame of other bytes".to_owned() })), [peer(2)]);
    assert_eq!(blamed(FetchFailure::Refused(Refusal::NotHeld)), []);
}

#[test]
fn who_cannot_be_reached_is_given_up_and_its_namer_asked_again() {
    let (mut wanting, effects) = Wanting::new(&[near()]);
    let referred = FetchFailure::Referred { to: peer(2), patch: NAMED, settings: 7 };
    wanting.step(Input::Work(WorkInput::FetchEnded { fetch: fetched(&effects).0, result: Err(referred) }));
    let effects = wanting.step(Input::Peer(PeerInput::Unreachable(peer(2))));
    let asked = |effect: &Effect| matches!(effect, Effect::Ask { to, .. } if *to == peer(1));
    assert!(effects.iter().any(asked), "{effects:?}");
}

#[test]
fn what_is_named_and_silent_is_given_up_in_time() {
    let (mut wanting, effects) = Wanting::new(&[near()]);
    let referred = FetchFailure::Referred { to: peer(2), patch: NAMED, settings: 7 };
    wanting.step(Input::Work(WorkInput::FetchEnded { fetch: fetched(&effects).0, result: Err(referred) }));
    wanting.now += 10_000;
    let effects = wanting.step(Input::Tick);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Ask { .. })), "{effects:?}");
}
