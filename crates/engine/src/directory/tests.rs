//! The directory against a plain model, its caps, and the rules by which it believes gossip.
//!
//! The model keeps every announcement in plain maps. A random sequence of announcements, answers and losses goes to
//! both, and both must agree on each peer's layers after every step.

use std::collections::{BTreeMap, BTreeSet};

use lighter_types::Bytes;
use proptest::prelude::*;

use super::*;

fn card(name: u8) -> Card {
    Card { diff_id: DiffId::new([name; 32]), tar_bytes: Bytes(1000), compressed_bytes: Bytes(300), tlsh: None }
}

fn peer(name: u8) -> PeerId {
    PeerId::new([name; 32])
}

fn says(life: u64, version: u64, sequence: u64, news: News) -> Announcement {
    Announcement { incarnation: Incarnation(life), version, sequence, site: None, news }
}

fn holds(life: u64, version: u64, layers: &[u8]) -> Holdings {
    let cards = layers.iter().map(|&name| card(name)).collect();
    Holdings { incarnation: Incarnation(life), version, site: None, cards }
}

fn full(layers: &[u8]) -> News {
    News::Full(layers.iter().map(|&name| card(name)).collect())
}

fn added(layer: u8) -> News {
    News::Difference { added: vec![card(layer)], removed: vec![] }
}

/// Which of the layers 0 to 15 a peer is believed to hold.
fn layers(directory: &Directory, name: u8) -> Vec<u8> {
    (0..16).filter(|&layer| directory.is_held_by(DiffId::new([layer; 32]), peer(name))).collect()
}

/// Announcements (life, version, sequence, news) of one peer in this order; the last is heard so, and these layers are
/// believed then.
fn check(announcements: &[(u64, u64, u64, News)], heard: Heard, believed: &[u8]) {
    let mut directory = Directory::new(9);
    let mut last = Heard::Current;
    for (life, version, sequence, news) in announcements.iter().cloned() {
        last = directory.announced(peer(1), says(life, version, sequence, news), Moment(5));
    }
    assert_eq!(last, heard);
    assert_eq!(layers(&directory, 1), believed);
}

#[test]
fn gossip_moves_the_belief_or_shows_a_gap() {
    let start = (1, 1, 1, full(&[1]));
    check(&[start.clone(), (1, 2, 2, added(2))], Heard::Current, &[1, 2]);
    check(&[start.clone(), (1, 1, 2, News::Heartbeat)], Heard::Current, &[1]);
    check(&[start.clone(), (1, 2, 2, News::Heartbeat)], Heard::Behind, &[1]);
    check(&[start.clone(), (1, 3, 3, added(2))], Heard::Behind, &[1]);
    check(&[(1, 3, 3, added(2))], Heard::Behind, &[]);
    check(&[(1, 0, 1, News::Heartbeat)], Heard::Behind, &[]);
    check(&[start.clone(), (1, 2, 2, added(2)), (1, 2, 2, added(2))], Heard::Ignored, &[1, 2]);
    check(&[start.clone(), (1, 2, 3, added(2)), (1, 1, 2, full(&[5]))], Heard::Ignored, &[1, 2]);
    check(&[start.clone(), (1, 1, 9, News::Leaving)], Heard::Current, &[]);
}

#[test]
fn a_later_life_replaces_an_earlier_one_that_does_not_come_back() {
    let start = (5, 9, 90, full(&[1]));
    check(&[start.clone(), (6, 1, 1, full(&[2]))], Heard::Current, &[2]);
    check(&[start.clone(), (6, 10, 1, added(2))], Heard::Behind, &[1]);
    check(&[start.clone(), (6, 9, 1, News::Heartbeat), (5, 10, 91, added(2))], Heard::Behind, &[1]);
    check(&[start.clone(), (4, 1, 1, full(&[2]))], Heard::Behind, &[1]);
    check(&[start, (4, 1, 1, News::Leaving)], Heard::Current, &[1]);
}

#[test]
fn an_answer_of_a_peer_outranks_gossip() {
    let mut directory = Directory::new(9);
    directory.connected(peer(1), Moment(1));
    directory.answered(peer(1), holds(5, 10, &[1, 2]), Moment(2));
    // Gossip from before the answer, told late.
    assert_eq!(directory.announced(peer(1), says(5, 8, 80, full(&[7])), Moment(3)), Heard::Current);
    assert_eq!(directory.announced(peer(1), says(5, 10, 82, added(2)), Moment(3)), Heard::Current);
    assert_eq!(layers(&directory, 1), [1, 2]);
    // An older answer of the same life; then one of a life whose clock was set back.
    directory.answered(peer(1), holds(5, 9, &[3]), Moment(4));
    assert_eq!(layers(&directory, 1), [1, 2]);
    directory.answered(peer(1), holds(4, 1, &[4]), Moment(5));
    assert_eq!(layers(&directory, 1), [4]);
    assert_eq!(directory.announced(peer(1), says(4, 2, 2, added(5)), Moment(6)), Heard::Current);
    assert_eq!(layers(&directory, 1), [4, 5]);
}

#[test]
fn a_denied_layer_comes_back_only_if_it_is_told_of_again() {
    let mut directory = Directory::new(9);
    directory.announced(peer(1), says(1, 1, 1, full(&[1, 2])), Moment(1));
    directory.denied(peer(1), card(1).diff_id);
    assert_eq!(directory.announced(peer(1), says(1, 1, 2, News::Heartbeat), Moment(2)), Heard::Current);
    assert_eq!(layers(&directory, 1), [2]);
    directory.announced(peer(1), says(1, 1, 3, full(&[1, 2])), Moment(3));
    assert_eq!(layers(&directory, 1), [1, 2]);
}

#[test]
fn the_silent_are_forgotten_and_the_connected_are_not() {
    let mut directory = Directory::new(9);
    for name in 1..4 {
        directory.announced(peer(name), says(1, 1, 1, full(&[name])), Moment(u64::from(name) * 10));
    }
    directory.connected(peer(1), Moment(10));
    directory.forget_silent(Moment(25));
    let known: Vec<PeerId> = directory.peers().map(|(id, _)| id).collect();
    assert_eq!(known, [peer(1), peer(3)]);
    directory.disconnected(peer(1));
    directory.forget_silent(Moment(25));
    assert_eq!(directory.len(), 1);
}

#[test]
fn peers_have_a_cap_that_connecting_passes_for_as_long_as_it_lasts() {
    let mut directory = Directory::new(2);
    for name in 1..4 {
        let heard = directory.announced(peer(name), says(1, 1, 1, full(&[name])), Moment(1));
        assert_eq!(heard, if name < 3 { Heard::Current } else { Heard::Ignored });
    }
    directory.answered(peer(3), holds(1, 1, &[3]), Moment(1));
    assert_eq!(directory.len(), 2);
    directory.connected(peer(3), Moment(1));
    directory.answered(peer(3), holds(1, 1, &[3]), Moment(1));
    assert_eq!((directory.len(), layers(&directory, 3)), (3, vec![3]));
    directory.disconnected(peer(3));
    assert_eq!((directory.len(), layers(&directory, 3)), (2, vec![]));
}

#[test]
fn layers_of_one_peer_have_a_cap() {
    let mut directory = Directory::new(9);
    let many = |count: usize| -> Vec<Card> {
        let card = |number: usize| {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&number.to_le_bytes());
            Card { diff_id: DiffId::new(id), ..card(0) }
        };
        (0..count).map(card).collect()
    };
    let cards = many(Settings::LAYERS_PER_PEER_MAX + 5);
    directory.announced(peer(1), says(1, 1, 1, News::Full(cards)), Moment(1));
    assert_eq!(directory.peer(peer(1)).map(Peer::layers), Some(Settings::LAYERS_PER_PEER_MAX));
}

#[test]
fn rates_are_learned_slowly() {
    let mut directory = Directory::new(9);
    directory.connected(peer(1), Moment(1));
    directory.measured(peer(1), BytesPerSecond(1000));
    directory.measured(peer(1), BytesPerSecond(2000));
    assert_eq!(directory.peer(peer(1)).and_then(Peer::rate), Some(BytesPerSecond(1300)));
}

/// Both indexes say the same, and no card is left that nobody holds.
fn check_indexes(directory: &Directory, model: &BTreeMap<u8, BTreeSet<u8>>) {
    let mut held = BTreeSet::new();
    for name in 0..4 {
        let expected: Vec<u8> = model.get(&name).into_iter().flatten().copied().collect();
        assert_eq!(layers(directory, name), expected);
        assert_eq!(directory.peer(peer(name)).map_or(0, Peer::layers), expected.len());
        held.extend(expected);
    }
    assert_eq!(directory.by_id.len(), held.len());
    assert_eq!(directory.cards.len(), held.len());
    assert_eq!(directory.peers.len(), directory.by_peer.len());
    for (id, &index) in &directory.by_id {
        let known = &directory.cards[index as usize];
        assert_eq!(known.card.diff_id, *id);
        assert!(known.holders.is_sorted() && !known.holders.is_empty());
        assert!(directory.holding(*id).all(|holder| Directory::holds_index(holder.peer, index)));
    }
}

#[derive(Clone, Debug)]
enum Act {
    Full(Vec<u8>),
    Difference(Vec<u8>, Vec<u8>),
    Told(Vec<u8>),
    Denied(u8),
    Forget,
}

fn act() -> impl Strategy<Value = Act> {
    let layers = || proptest::collection::vec(0u8..16, 0..6);
    prop_oneof![
        layers().prop_map(Act::Full),
        (layers(), layers()).prop_map(|(added, removed)| Act::Difference(added, removed)),
        layers().prop_map(Act::Told),
        (0u8..16).prop_map(Act::Denied),
        Just(Act::Forget),
    ]
}

proptest! {
    #[test]
    fn is_the_plain_model(acts in proptest::collection::vec((0u8..4, act()), 0..60)) {
        let mut directory = Directory::new(4);
        let mut model: BTreeMap<u8, BTreeSet<u8>> = BTreeMap::new();
        for (step, (name, act)) in acts.into_iter().enumerate() {
            let version = step as u64 + 1;
            match act {
                Act::Full(layers) => {
                    directory.announced(peer(name), says(1, version, version, full(&layers)), Moment(1));
                    model.insert(name, layers.into_iter().collect());
                }
                Act::Difference(more, less) => {
                    let known = directory.peer(peer(name)).and_then(|peer| peer.believed).map(|(_, version)| version);
                    let news = News::Difference {
                        added: more.iter().map(|&name| card(name)).collect(),
                        removed: less.iter().map(|&name| DiffId::new([name; 32])).collect(),
                    };
                    let next = known.map_or(1, |known| known + 1);
                    let heard = directory.announced(peer(name), says(1, next, version, news), Moment(1));
                    if known.is_some() {
                        prop_assert_eq!(heard, Heard::Current);
                        let held = model.entry(name).or_default();
                        held.retain(|layer| !less.contains(layer));
                        held.extend(more);
                    } else {
                        prop_assert_eq!(heard, Heard::Behind);
                    }
                }
                Act::Told(layers) => {
                    directory.answered(peer(name), holds(1, version, &layers), Moment(1));
                    model.insert(name, layers.into_iter().collect());
                }
                Act::Denied(layer) => {
                    directory.denied(peer(name), card(layer).diff_id);
                    model.entry(name).or_default().remove(&layer);
                }
                Act::Forget => {
                    directory.forget(peer(name));
                    model.remove(&name);
                }
            }
            check_indexes(&directory, &model);
        }
    }
}

#[test]
fn a_forgotten_peer_holds_nothing_and_frees_its_place() {
    let mut directory = Directory::new(9);
    for name in [3, 1, 2] {
        directory.answered(peer(name), holds(1, 1, &[1, 2]), Moment(1));
    }
    let layer = DiffId::new([1; 32]);
    directory.forget(peer(1));
    directory.answered(peer(4), holds(1, 1, &[1]), Moment(1));
    let holding: Vec<PeerId> = directory.holding(layer).map(|holder| holder.id).collect();
    assert_eq!(holding, [peer(3), peer(4), peer(2)]);
    assert!(!directory.is_held_by(layer, peer(1)) && directory.is_held_by(layer, peer(4)));
    assert!(!directory.is_held_by(DiffId::new([2; 32]), peer(4)));
    assert!(directory.holding(layer).all(|holder| std::ptr::eq(holder.peer, directory.peer(holder.id).unwrap())));
}
