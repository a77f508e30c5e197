//! The work of one event grows no faster than what the node knows.
//!
//! Each test doubles one thing that a node knows, and counts the steps of one event (`work.rs`): a plan, an
//! announcement, a quote, a tick, the begin of a pull. Twice as much may take 2.5 times the steps: sorted lists take a
//! bit more than twice. The room `similarity` counts what it does for these events in tests of its own.

use lighter_types::{Moment, OciDigest, Tlsh};
use lighter_wire::{Announcement, Incarnation, News, Request};

use super::*;
use crate::work::counted;
use crate::{
    DiskInput, ImageRead, OperatorInput, PeerInput, PullId, QuestionId, Settings, StreamId, Wanted, WorkInput,
};

/// The most that the steps may grow by, in percent.
const MOST: u64 = 250;

/// The steps for twice as much, in percent of those for once as much.
fn growth(steps: impl Fn(u64) -> u64) -> u64 {
    let once = steps(1);
    assert!(once > 100, "only {once} steps were counted");
    100 * steps(2) / once
}

/// A number that tells nothing of the order: the finaliser of splitmix64.
fn mixed(number: u64) -> [u8; 32] {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^= mixed >> 27;
    let mut id = [0; 32];
    id[..8].copy_from_slice(&mixed.to_be_bytes());
    id[8..16].copy_from_slice(&number.to_be_bytes());
    id
}

fn numbered(number: u64) -> PeerId {
    PeerId::new(mixed(number))
}

/// A layer of 40 MiB. All layers are somewhat alike.
fn card(number: u64) -> Card {
    let id = mixed(number);
    let mut tlsh = [0x5a; 35];
    tlsh[10..13].copy_from_slice(&id[..3]);
    Card { diff_id: DiffId::new(id), tlsh: Some(Tlsh::new(tlsh)), ..layer(1, 1, 40) }
}

fn cards(numbers: std::ops::Range<u64>) -> Vec<Card> {
    numbers.map(card).collect()
}

/// The layer that is planned, quoted or pulled.
const TARGET: u64 = 1 << 40;

/// A node that holds these layers.
fn holding(own: std::ops::Range<u64>) -> Engine {
    let mut engine = Engine::new(Settings::default());
    for card in cards(own) {
        step(&mut engine, 1, Input::Disk(DiskInput::LayerHeld { card, sketch: None }));
    }
    engine
}

fn announces(engine: &mut Engine, from: u64, version: u64, news: News, list: &[Card]) {
    let announcement = Announcement {
        incarnation: Incarnation(1),
        version,
        sequence: version,
        site: None,
        digest: list.iter().map(|card| card.diff_id).collect(),
        news,
    };
    step(engine, 1, Input::Peer(PeerInput::Announced { from: numbered(from), announcement }));
}

/// These peers connect and hold these layers.
fn hear(engine: &mut Engine, peers: std::ops::Range<u64>, list: &[Card]) {
    for from in peers {
        step(engine, 1, Input::Peer(PeerInput::Connected(numbered(from))));
        announces(engine, from, 1, News::Full(list.to_vec()), list);
    }
}

fn plan(engine: &Engine) -> u64 {
    counted::of(|| assert!(!engine.plans(card(TARGET).diff_id, Moment(1)).is_empty()))
}

fn with_target(mut list: Vec<Card>) -> Vec<Card> {
    list.push(card(TARGET));
    list
}

#[test]
fn a_plan_grows_with_own_layers() {
    let growth = growth(|size| {
        let mut engine = holding(0..1000 * size);
        hear(&mut engine, 0..20, &with_target(cards(0..10)));
        hear(&mut engine, 20..40, &with_target(cards(500..2000)));
        plan(&engine)
    });
    assert!(growth < MOST, "{growth}");
}

#[test]
fn a_plan_grows_with_the_layers_of_peers() {
    let growth = growth(|size| {
        let mut engine = holding(0..500);
        hear(&mut engine, 0..40, &with_target(cards(400..400 + 1000 * size)));
        plan(&engine)
    });
    assert!(growth < MOST, "{growth}");
}

#[test]
fn a_plan_grows_with_peers() {
    let growth = growth(|size| {
        let mut engine = holding(0..50);
        // Some hold layers of the shortlist, some others, some none.
        for group in 0..10 {
            let peers = group * 50 * size..(group + 1) * 50 * size;
            hear(&mut engine, peers, &with_target(cards(10 * group..10 * group + 20)));
        }
        plan(&engine)
    });
    assert!(growth < MOST, "{growth}");
}

#[test]
fn an_announcement_grows_with_its_layers() {
    let growth = growth(|size| {
        let (old, new) = (cards(0..1000 * size), cards(1000 * size..2000 * size));
        let mut engine = holding(0..1);
        // The layers are known, in another order.
        hear(&mut engine, 0..2, &[&old[..], &new].concat());
        hear(&mut engine, 2..3, &old);
        let removed = old.iter().map(|card| card.diff_id).collect();
        let difference = News::Difference { added: new.iter().rev().copied().collect(), removed };
        let steps = counted::of(|| announces(&mut engine, 2, 2, difference, &new));
        assert_eq!(engine.directory().peer(numbered(2)).map(crate::Peer::layers), Some(new.len()));
        steps
    });
    assert!(growth < MOST, "{growth}");
}

#[test]
fn an_announcement_grows_with_the_holders_of_its_layers() {
    let growth = growth(|size| {
        let list = cards(0..100);
        let mut engine = holding(0..1);
        hear(&mut engine, 0..200 * size, &list);
        counted::of(|| announces(&mut engine, 0, 2, News::Full(list[..50].to_vec()), &list[..50]))
    });
    assert!(growth < MOST, "{growth}");
}

/// A question for a quote from the node's own bases.
fn quote(engine: &mut Engine) -> u64 {
    let request =
        Request::Quote { target: card(TARGET).diff_id, bases: vec![card(0).diff_id], terms: Terms::default() };
    let question = PeerInput::Asked { question: QuestionId(1), from: numbered(0), request };
    counted::of(|| {
        let effects = step(engine, 1, Input::Peer(question));
        let is_quoted =
            |effect: &Effect| matches!(effect, Effect::Answer { answer: lighter_wire::Answer::Quote(_), .. });
        assert!(effects.iter().any(is_quoted), "{effects:?}");
    })
}

/// A node that holds the target and these layers.
fn providing(own: std::ops::Range<u64>) -> Engine {
    let mut engine = holding(own);
    step(&mut engine, 1, Input::Disk(DiskInput::LayerHeld { card: card(TARGET), sketch: None }));
    engine
}

#[test]
fn a_quote_grows_with_the_holders_of_its_base() {
    let growth = growth(|size| {
        let mut engine = providing(0..1);
        hear(&mut engine, 0..500 * size, &cards(0..10));
        quote(&mut engine)
    });
    assert!(growth < MOST, "{growth}");
}

#[test]
fn a_quote_grows_with_the_peers_that_wait_and_with_holders() {
    let growth = growth(|size| {
        let mut engine = providing(0..1);
        hear(&mut engine, 0..100 * size, &cards(0..10));
        for from in 0..100 * size {
            open(&mut engine, from, card(TARGET));
        }
        quote(&mut engine)
    });
    assert!(growth < MOST, "{growth}");
}

/// A peer wants a patch from the node's first layer, and may be referred: so more than a few may wait.
fn open(engine: &mut Engine, from: u64, target: Card) {
    let referable = Some(engine.settings().referable());
    let request = PatchRequest { referable, ..request(target.diff_id, &[card(0).diff_id]) };
    let opened = PeerInput::StreamOpened { stream: StreamId(from), from: numbered(from), request };
    let effects = step(engine, 1, Input::Peer(opened));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Working { .. })), "{effects:?}");
}

#[test]
fn a_quote_grows_with_encodes_that_wait() {
    let growth = growth(|size| {
        let mut engine = providing(0..100);
        for number in 1..=30 * size {
            open(&mut engine, number, card(number));
        }
        quote(&mut engine)
    });
    assert!(growth < MOST, "{growth}");
}

#[test]
fn a_tick_grows_with_peers_that_fell_silent() {
    let growth = growth(|size| {
        let list = cards(0..50);
        let mut engine = holding(0..1);
        for from in 0..200 * size {
            announces(&mut engine, from, 1, News::Full(list.clone()), &list);
        }
        let later = 1000 * 3600 * 2;
        let steps = counted::of(|| drop(step(&mut engine, later, Input::Tick)));
        assert!(engine.directory().is_empty());
        steps
    });
    assert!(growth < MOST, "{growth}");
}

/// Wants an image of these layers. Returns the steps of the last input.
fn pull(engine: &mut Engine, layers: &[Card]) -> u64 {
    let wanted = Wanted::Manifest(OciDigest::new([1; 32]));
    step(engine, 1, Input::Operator(OperatorInput::PullAsked { pull: PullId(1), wanted }));
    let read = ImageRead::layers(layers.iter().map(|card| card.diff_id).collect());
    counted::of(|| drop(step(engine, 1, Input::Work(WorkInput::ImageRead { pull: PullId(1), read }))))
}

#[test]
fn a_pull_grows_with_the_layers_of_its_image() {
    let growth = growth(|size| pull(&mut holding(0..1), &cards(1..1 + 250 * size)));
    assert!(growth < MOST, "{growth}");
}

#[test]
fn a_tick_grows_with_wanted_layers() {
    for peers in [0, 3] {
        let growth = growth(|size| {
            let mut engine = holding(0..50);
            let image = cards(40..50 + 250 * size);
            hear(&mut engine, 0..peers, &image);
            pull(&mut engine, &image);
            counted::of(|| drop(step(&mut engine, 2, Input::Tick)))
        });
        assert!(growth < MOST, "{growth}");
    }
}
