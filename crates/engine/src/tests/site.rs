//! One fetch for a site, whoever begins when and whatever becomes of who fetches.

use std::time::Duration;

use lighter_types::{Bytes, Moment, OciDigest};
use lighter_wire::{Answer, Arrival, Request};

use super::fleet::{Fleet, peer, seeds};
use super::{check_done, new, old};
use crate::*;

/// Node 0, which has the new release, and so many others behind one uplink.
fn site(seed: u64, count: usize) -> Fleet {
    let mut fleet = Fleet::new(seed, count + 1, count, &Settings::default());
    for node in 1..=count {
        let settings = Settings { site: Some("quay".parse().unwrap()), ..fleet.nodes[node].settings.clone() };
        fleet.nodes[node].engine = Engine::new(settings.clone());
        fleet.nodes[node].settings = settings;
    }
    for (one, other) in (0..=count).flat_map(|one| (0..one).map(move |other| (one, other))) {
        fleet.nodes[one].neighbours.insert(other);
        fleet.nodes[other].neighbours.insert(one);
    }
    (0..=count).for_each(|node| fleet.put(node, &[old()]));
    fleet.publish(0, "app:new", 7, &[new()]);
    fleet.start();
    fleet
}

#[test]
fn nodes_of_a_site_that_begin_together_fetch_once() {
    for seed in seeds(20) {
        let mut fleet = site(seed, 6);
        (1..=6).for_each(|node| fleet.pull(node, 1, "app:new"));
        fleet.run_pulls();
        (1..=6).for_each(|node| check_done(&fleet, node));
        assert_eq!(fleet.nodes[0].served, 1, "seed {seed}");
    }
}

#[test]
fn who_comes_later_waits_for_who_fetches() {
    for seed in seeds(10) {
        let mut fleet = site(seed, 4);
        fleet.rate = 20_000;
        for node in 1..=4 {
            fleet.pull(node, 1, "app:new");
            fleet.run(Duration::from_millis(700));
        }
        fleet.run_pulls();
        (1..=4).for_each(|node| check_done(&fleet, node));
        assert_eq!(fleet.nodes[0].served, 1, "seed {seed}");
    }
}

#[test]
fn a_fetch_is_taken_over_when_its_node_is_lost() {
    for seed in seeds(10) {
        let mut fleet = site(seed, 4);
        fleet.rate = 20_000;
        (1..=4).for_each(|node| fleet.pull(node, 1, "app:new"));
        fleet.run(Duration::from_secs(3));
        let fetching = (1..=4).find(|&node| fleet.nodes[node].open.iter().any(|open| matches!(open, Open::Fetch(_))));
        let fetching = fetching.unwrap_or_else(|| panic!("seed {seed}: nobody fetches"));
        fleet.kill(fetching);
        fleet.nodes[fetching].engine = Engine::new(fleet.nodes[fetching].settings.clone());
        fleet.run_pulls();
        (1..=4).filter(|&node| node != fetching).for_each(|node| check_done(&fleet, node));
        assert_eq!(fleet.nodes[0].served, 2, "seed {seed}");
    }
}

/// One node of a site, with a neighbour and somebody outside who has the layer.
struct Alone {
    engine: Engine,
    now: Moment,
}

impl Alone {
    /// About to go outside: it has just asked its neighbour. With the effects of that.
    fn asking() -> (Self, AskId) {
        let site = Some("quay".parse().unwrap());
        let mut alone =
            Self { engine: Engine::new(Settings { site: site.clone(), ..Settings::default() }), now: Moment(1) };
        alone.step(1, Input::LayerHeld { card: old(), sketch: None });
        for (node, site, cards) in [(1, site, vec![]), (2, None, vec![new()])] {
            let effects = alone.step(1, Input::PeerConnected(peer(node)));
            let told = lighter_wire::Holdings { incarnation: lighter_wire::Incarnation(1), version: 1, site, cards };
            alone.step(1, Input::Answered { ask: ask_of(&effects).unwrap(), answer: Ok(Answer::Holdings(told)) });
        }
        alone.step(1, Input::PullAsked { pull: PullId(1), wanted: Wanted::Manifest(OciDigest::new([1; 32])) });
        let layers = ImageRead::Layers(vec![new().diff_id]);
        let effects = alone.step(1, Input::ImageRead { pull: PullId(1), read: layers });
        let sketches = Ok(Answer::Sketches(vec![None]));
        let effects = alone.step(1, Input::Answered { ask: ask_of(&effects).unwrap(), answer: sketches });
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
        self.step(1, Input::Answered { ask, answer: Ok(Answer::Arrival(arrival)) })
    }
}

fn ask_of(effects: &[Effect]) -> Option<AskId> {
    effects.iter().find_map(|effect| if let Effect::Ask { ask, .. } = effect { Some(*ask) } else { None })
}

fn arrival_asked(effects: &[Effect]) -> Option<AskId> {
    effects.iter().find_map(|effect| match effect {
        Effect::Ask { ask, to, request: Request::Arrival { target, .. } } if *to == peer(1) => {
            assert_eq!(*target, new().diff_id);
            Some(*ask)
        }
        _ => None,
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
fn who_does_not_answer_is_not_waited_for() {
    let (mut alone, _) = Alone::asking();
    assert!(!is_going_outside(&alone.step(900, Input::Tick)));
    assert!(is_going_outside(&alone.step(200, Input::Tick)));
}

#[test]
fn who_fetches_is_waited_for_as_long_as_bytes_come() {
    let (mut alone, mut ask) = Alone::asking();
    for round in 0..30u64 {
        let effects = alone.answer(ask, Arrival::Coming { received: Bytes(round / 10) });
        assert!(!is_going_outside(&effects), "round {round}");
        assert!(arrival_asked(&alone.step(4000, Input::Tick)).is_none());
        ask = arrival_asked(&alone.step(1000, Input::Tick)).unwrap();
    }
    let mut rounds = 0;
    while !is_going_outside(&alone.answer(ask, Arrival::Coming { received: Bytes(100) })) {
        ask = arrival_asked(&alone.step(5000, Input::Tick)).unwrap();
        rounds += 1;
    }
    assert!((55..65).contains(&rounds), "{rounds} rounds of 5 s");
}

#[test]
fn who_gives_up_is_not_waited_for() {
    let (mut alone, ask) = Alone::asking();
    alone.answer(ask, Arrival::Coming { received: Bytes(1) });
    let ask = arrival_asked(&alone.step(5000, Input::Tick)).unwrap();
    // The whole site is asked again: another may fetch by now.
    let ask = arrival_asked(&alone.answer(ask, Arrival::No)).unwrap();
    assert!(is_going_outside(&alone.answer(ask, Arrival::No)));
}

#[test]
fn who_is_lost_is_not_waited_for() {
    let (mut alone, ask) = Alone::asking();
    alone.answer(ask, Arrival::Coming { received: Bytes(1) });
    let effects = alone.step(1, Input::PeerLost(peer(1)));
    assert!(is_going_outside(&effects), "{effects:?}");
}

#[test]
fn who_holds_it_is_asked_what_it_holds() {
    let (mut alone, ask) = Alone::asking();
    let effects = alone.answer(ask, Arrival::Held);
    let asked =
        |effect: &Effect| matches!(effect, Effect::Ask { to, request: Request::Holdings, .. } if *to == peer(1));
    assert!(effects.iter().any(asked) && !is_going_outside(&effects), "{effects:?}");
}

/// Of two that are about to go, the lower number goes; of one that goes and one that is about to, the first.
#[test]
fn the_lower_number_goes_and_who_goes_already() {
    let (mut alone, ask) = Alone::asking();
    let told = |alone: &mut Alone, number| {
        let request = Request::Arrival { target: new().diff_id, number };
        let effects = alone.step(1, Input::Asked { question: QuestionId(number), from: peer(1), request });
        effects.iter().find_map(|effect| match effect {
            Effect::Answer { answer: Answer::Arrival(arrival), .. } => Some(*arrival),
            _ => None,
        })
    };
    let coming = Some(Arrival::Coming { received: Bytes::ZERO });
    assert_eq!((told(&mut alone, u64::MAX), told(&mut alone, 0)), (coming, Some(Arrival::No)));
    // The one with the lower number had said no before it began.
    assert!(!is_going_outside(&alone.answer(ask, Arrival::No)));
    let (mut alone, ask) = Alone::asking();
    assert!(is_going_outside(&alone.answer(ask, Arrival::No)));
    assert_eq!((told(&mut alone, 0), told(&mut alone, u64::MAX)), (coming, coming));
    alone.step(1, Input::LayerHeld { card: new(), sketch: None });
    assert_eq!(told(&mut alone, 0), Some(Arrival::Held));
}
