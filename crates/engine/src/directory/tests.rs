//! The directory against a plain model, its caps, and the rules by which it believes gossip.
//!
//! The model keeps every announcement in plain maps. A random sequence of announcements, answers and losses goes to
//! both, and both must agree on each peer's layers after every step.

use std::collections::{BTreeMap, BTreeSet};

use lighter_types::Bytes;
use lighter_wire::{Announcement, Holdings, Listed, News};
use proptest::prelude::*;

use super::*;

/// The digests of all lists of these differ: each layer has a byte of its own in them.
fn id(name: u8) -> DiffId {
    let mut id = [0; 32];
    id[usize::from(name)] = 1;
    DiffId::new(id)
}

fn card(name: u8) -> Card {
    Card { diff_id: id(name), tar_bytes: Bytes(1000), compressed_bytes: Bytes(300), tlsh: None }
}

fn peer(name: u8) -> PeerId {
    PeerId::new([name; 32])
}

/// An announcement of a peer that then holds these layers.
fn says(life: u64, version: u64, sequence: u64, news: News, held: &[u8]) -> Announcement {
    Announcement { incarnation: Incarnation(life), version, sequence, site: None, digest: digest(held), news }
}

/// An announcement of all layers.
fn tells(life: u64, version: u64, sequence: u64, held: &[u8]) -> Announcement {
    says(life, version, sequence, full(held), held)
}

fn digest(layers: &[u8]) -> ListDigest {
    layers.iter().map(|&layer| id(layer)).collect()
}

fn holds(life: u64, version: u64, layers: &[u8]) -> Holdings {
    let cards = layers.iter().map(|&name| card(name)).collect();
    Holdings::all(Incarnation(life), version, None, cards)
}

fn full(layers: &[u8]) -> News {
    News::Full(layers.iter().map(|&name| card(name)).collect())
}

fn added(layer: u8) -> News {
    News::Difference { added: vec![card(layer)], removed: vec![] }
}

/// Which of the layers 0 to 15 a peer is believed to hold.
fn layers(directory: &Directory, name: u8) -> Vec<u8> {
    (0..16).filter(|&layer| directory.is_held_by(id(layer), peer(name))).collect()
}

/// The last of these announcements of one peer is heard so, and these layers are believed then.
fn check(announcements: &[Announcement], heard: Heard, believed: &[u8]) {
    let mut directory = Directory::new(9);
    let mut last = Heard::Current;
    for announcement in announcements.iter().cloned() {
        last = directory.announced(peer(1), announcement, Moment(5));
    }
    assert_eq!(last, heard, "{announcements:?}");
    assert_eq!(layers(&directory, 1), believed, "{announcements:?}");
}

#[test]
fn gossip_moves_the_belief_or_shows_a_gap() {
    let start = tells(1, 1, 1, &[1]);
    check(&[start.clone(), more(2, 2, &[1, 2])], Heard::Current, &[1, 2]);
    check(&[start.clone(), heartbeat(1, 2, &[1])], Heard::Current, &[1]);
    check(&[start.clone(), heartbeat(2, 2, &[1, 2])], Heard::Behind, &[1]);
    check(&[start.clone(), more(3, 3, &[1, 2, 3])], Heard::Behind, &[1]);
    check(&[more(3, 3, &[1, 2])], Heard::Behind, &[]);
    check(&[heartbeat(0, 1, &[1])], Heard::Behind, &[]);
    check(&[start.clone(), more(2, 2, &[1, 2]), more(2, 2, &[1, 2])], Heard::Ignored, &[1, 2]);
    check(&[start.clone(), more(2, 3, &[1, 2]), tells(1, 1, 2, &[5])], Heard::Ignored, &[1, 2]);
    check(&[start.clone(), says(1, 1, 9, News::Leaving, &[1])], Heard::Current, &[]);
}

fn heartbeat(version: u64, sequence: u64, held: &[u8]) -> Announcement {
    says(1, version, sequence, News::Heartbeat, held)
}

fn more(version: u64, sequence: u64, held: &[u8]) -> Announcement {
    says(1, version, sequence, added(2), held)
}

#[test]
fn a_list_with_the_digest_that_a_peer_names_is_its_list_whatever_was_missed() {
    check(&[says(1, 7, 1, News::Heartbeat, &[])], Heard::Current, &[]);
    check(&[says(1, 7, 1, added(2), &[2])], Heard::Current, &[2]);
    let start = tells(5, 9, 90, &[1]);
    check(&[start.clone(), says(5, 11, 99, News::Heartbeat, &[1])], Heard::Current, &[1]);
    check(&[start.clone(), says(6, 1, 1, News::Heartbeat, &[1])], Heard::Current, &[1]);
    check(&[start.clone(), says(6, 2, 3, added(2), &[1, 2])], Heard::Current, &[1, 2]);
    let swap = News::Difference { added: vec![card(2)], removed: vec![id(1), id(3)] };
    check(&[start.clone(), says(6, 4, 3, swap, &[2])], Heard::Current, &[2]);
}

#[test]
fn a_later_life_replaces_an_earlier_one_that_does_not_come_back() {
    let start = tells(5, 9, 90, &[1]);
    check(&[start.clone(), tells(6, 1, 1, &[2])], Heard::Current, &[2]);
    check(&[start.clone(), says(6, 10, 1, added(2), &[2])], Heard::Behind, &[1]);
    let late = [start.clone(), says(6, 9, 1, News::Heartbeat, &[2]), says(5, 10, 91, added(2), &[1, 2])];
    check(&late, Heard::Behind, &[1]);
    check(&[start.clone(), tells(4, 1, 1, &[2])], Heard::Behind, &[1]);
    check(&[start.clone(), says(4, 1, 1, News::Leaving, &[])], Heard::Current, &[1]);
}

#[test]
fn an_answer_of_a_peer_outranks_gossip() {
    let mut directory = Directory::new(9);
    directory.connected(peer(1), Moment(1));
    directory.answered(peer(1), holds(5, 10, &[1, 2]), Moment(2));
    // Gossip from before the answer, told late.
    assert_eq!(directory.announced(peer(1), tells(5, 8, 80, &[7]), Moment(3)), Heard::Current);
    assert_eq!(directory.announced(peer(1), says(5, 10, 82, added(2), &[1, 2]), Moment(3)), Heard::Current);
    assert_eq!(layers(&directory, 1), [1, 2]);
    // An older answer of the same life; then one of a life whose clock was set back.
    directory.answered(peer(1), holds(5, 9, &[3]), Moment(4));
    assert_eq!(layers(&directory, 1), [1, 2]);
    directory.answered(peer(1), holds(4, 1, &[4]), Moment(5));
    assert_eq!(layers(&directory, 1), [4]);
    assert_eq!(directory.announced(peer(1), says(4, 2, 2, added(5), &[4, 5]), Moment(6)), Heard::Current);
    assert_eq!(layers(&directory, 1), [4, 5]);
}

/// An answer with the changes since the list that was asked for.
fn changed(life: u64, version: u64, more: &[u8], less: &[u8], held: &[u8]) -> Holdings {
    let added = more.iter().map(|&name| card(name)).collect();
    let removed = less.iter().map(|&name| id(name)).collect();
    let list =
        if more.is_empty() && less.is_empty() { Listed::Unchanged } else { Listed::Difference { added, removed } };
    Holdings { incarnation: Incarnation(life), version, site: None, digest: digest(held), list }
}

#[test]
fn an_answer_moves_the_known_list_or_changes_nothing() {
    let mut directory = Directory::new(9);
    assert_eq!(answered(&mut directory, changed(1, 1, &[], &[], &[1])), (Taken::Mismatch, vec![]));
    assert_eq!(answered(&mut directory, holds(1, 1, &[1])), (Taken::Taken, vec![1]));
    assert_eq!(answered(&mut directory, changed(2, 4, &[2, 3], &[], &[1, 2, 3])), (Taken::Taken, vec![1, 2, 3]));
    assert_eq!(answered(&mut directory, changed(2, 5, &[4], &[1], &[2, 3, 4, 5])), (Taken::Mismatch, vec![1, 2, 3]));
    assert_eq!(answered(&mut directory, changed(2, 6, &[3], &[1, 9], &[2, 3])), (Taken::Taken, vec![2, 3]));
    assert_eq!(answered(&mut directory, changed(3, 1, &[], &[], &[2, 3])), (Taken::Taken, vec![2, 3]));
    // An announcement of a later version came first.
    assert_eq!(answered(&mut directory, changed(3, 0, &[9], &[], &[9])), (Taken::Taken, vec![2, 3]));
}

/// Peer 1 answers with this. Returns the judgement, and the layers that are believed then.
fn answered(directory: &mut Directory, holdings: Holdings) -> (Taken, Vec<u8>) {
    let taken = directory.answered(peer(1), holdings, Moment(1));
    (taken, layers(directory, 1))
}

#[test]
fn a_peer_that_comes_back_with_the_list_that_it_had_is_believed_at_once() {
    let mut directory = Directory::new(9);
    directory.answered(peer(1), holds(5, 3, &[1, 2]), Moment(1));
    directory.announced(peer(1), says(5, 3, 9, News::Leaving, &[1, 2]), Moment(2));
    assert!(directory.is_empty() && layers(&directory, 1).is_empty());
    assert_eq!(directory.known_list(peer(1)), Some(digest(&[1, 2])));
    directory.connected(peer(1), Moment(3));
    assert!(layers(&directory, 1).is_empty());
    let back = says(6, 1, 1, News::Heartbeat, &[1, 2]);
    assert_eq!(directory.announced(peer(1), back, Moment(4)), Heard::Current);
    assert_eq!(layers(&directory, 1), [1, 2]);
    assert_eq!(directory.remembered.lists().count(), 0);
    directory.forget(peer(1));
    assert_eq!(directory.answered(peer(1), changed(7, 1, &[3], &[1], &[2, 3]), Moment(5)), Taken::Taken);
    assert_eq!(layers(&directory, 1), [2, 3]);
}

#[test]
fn a_list_of_another_digest_than_its_peer_names_is_believed_without_further_questions() {
    let mut directory = Directory::new(9);
    let lie = Holdings { digest: digest(&[9]), ..holds(1, 1, &[1]) };
    assert_eq!(directory.answered(peer(1), lie, Moment(1)), Taken::Taken);
    assert_eq!(directory.lists().count(), 0);
    let heartbeat = says(1, 1, 1, News::Heartbeat, &[9]);
    assert_eq!(directory.announced(peer(1), heartbeat, Moment(2)), Heard::Current);
    assert_eq!(directory.announced(peer(1), says(1, 2, 2, added(2), &[9, 2]), Moment(3)), Heard::Current);
    assert_eq!(layers(&directory, 1), [1, 2]);
    // A difference that gives the digest ends the doubt.
    assert_eq!(directory.announced(peer(1), says(1, 3, 3, added(3), &[1, 2, 3]), Moment(3)), Heard::Current);
    assert_eq!(directory.lists().collect::<Vec<_>>(), [(peer(1), digest(&[1, 2, 3]), 3)]);
    assert_eq!(directory.announced(peer(1), says(1, 4, 4, added(4), &[9]), Moment(3)), Heard::Behind);
    assert_eq!(layers(&directory, 1), [1, 2, 3]);
}

#[test]
fn a_denied_layer_comes_back_only_if_it_is_told_of_again() {
    let mut directory = Directory::new(9);
    directory.announced(peer(1), tells(1, 1, 1, &[1, 2]), Moment(1));
    directory.denied(peer(1), card(1).diff_id);
    let heartbeat = says(1, 1, 2, News::Heartbeat, &[1, 2]);
    assert_eq!(directory.announced(peer(1), heartbeat, Moment(2)), Heard::Current);
    assert_eq!(layers(&directory, 1), [2]);
    directory.announced(peer(1), tells(1, 1, 3, &[1, 2]), Moment(3));
    assert_eq!(layers(&directory, 1), [1, 2]);
}

#[test]
fn a_list_is_whole_again_when_the_peer_says_that_a_denied_layer_is_gone() {
    let mut directory = Directory::new(9);
    directory.announced(peer(1), tells(1, 1, 1, &[1, 2]), Moment(1));
    directory.denied(peer(1), card(1).diff_id);
    assert_eq!(directory.lists().count(), 0);
    let gone = News::Difference { added: vec![], removed: vec![id(1)] };
    assert_eq!(directory.announced(peer(1), says(1, 2, 2, gone, &[2]), Moment(2)), Heard::Current);
    assert_eq!(directory.lists().collect::<Vec<_>>(), [(peer(1), digest(&[2]), 1)]);
}

#[test]
fn the_silent_are_forgotten_and_the_connected_are_not() {
    let mut directory = Directory::new(9);
    for name in 1..4 {
        directory.announced(peer(name), tells(1, 1, 1, &[name]), Moment(u64::from(name) * 10));
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
fn peers_that_are_forgotten_together_leave_what_others_hold_and_nothing_else() {
    let mut directory = Directory::new(9);
    assert!(directory.is_empty());
    for (name, held) in [(1, &[1, 2][..]), (2, &[1, 2, 3]), (3, &[1])] {
        directory.announced(peer(name), tells(1, 1, 1, held), Moment(5));
    }
    directory.connected(peer(3), Moment(5));
    // A peer that was heard at that very moment is not silent.
    directory.forget_silent(Moment(5));
    assert_eq!((directory.len(), directory.is_empty()), (3, false));
    directory.forget_silent(Moment(6));
    check_indexes(&directory, &BTreeMap::from([(3, BTreeSet::from([1]))]));
    let holding: Vec<PeerId> = directory.holding(id(1)).map(|holder| holder.id).collect();
    assert_eq!(holding, [peer(3)]);
    assert!(directory.card(id(2)).is_none() && directory.card(id(3)).is_none());
}

#[test]
fn a_list_that_changed_is_told_once_and_another_word_of_the_same_list_is_not() {
    let mut directory = Directory::new(9);
    assert!(!directory.take_changed());
    directory.announced(peer(1), tells(1, 1, 1, &[1]), Moment(1));
    // Two changes between two questions are one, and a list that stays the same does not undo them.
    directory.announced(peer(1), more(2, 2, &[1, 2]), Moment(2));
    directory.answered(peer(1), holds(1, 2, &[1, 2]), Moment(3));
    assert!(directory.take_changed());
    assert!(!directory.take_changed());
    directory.answered(peer(1), holds(1, 2, &[1, 2]), Moment(4));
    directory.announced(peer(1), heartbeat(2, 3, &[1, 2]), Moment(5));
    assert!(!directory.take_changed());
}

#[test]
fn peers_have_a_cap_that_connecting_passes_for_as_long_as_it_lasts() {
    let mut directory = Directory::new(2);
    for name in 1..4 {
        let heard = directory.announced(peer(name), tells(1, 1, 1, &[name]), Moment(1));
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
    let cards = many_cards(Settings::LAYERS_PER_PEER_MAX + 5);
    directory.answered(peer(1), Holdings::all(Incarnation(1), 1, None, cards), Moment(1));
    assert_eq!(directory.peer(peer(1)).map(Peer::layers), Some(Settings::LAYERS_PER_PEER_MAX));
    // It is not whole: it is not kept, and its differences are believed by their version.
    assert_eq!(directory.lists().count(), 0);
    let gone = News::Difference { added: vec![], removed: vec![many_cards(1)[0].diff_id] };
    assert_eq!(directory.announced(peer(1), says(1, 2, 1, gone, &[]), Moment(2)), Heard::Current);
    assert_eq!(directory.peer(peer(1)).map(Peer::layers), Some(Settings::LAYERS_PER_PEER_MAX - 1));
}

#[test]
fn a_card_has_the_most_bytes_that_a_holder_says() {
    let mut directory = Directory::new(9);
    let says = |tar: u64, compressed: u64| {
        let card = Card { tar_bytes: Bytes(tar), compressed_bytes: Bytes(compressed), ..card(3) };
        Holdings::all(Incarnation(1), 1, None, vec![card])
    };
    for (name, tar, compressed) in [(1, 1000, 1), (2, 1000, 300), (3, 10, 20)] {
        directory.answered(peer(name), says(tar, compressed), Moment(1));
    }
    let known = directory.card(id(3)).unwrap();
    assert_eq!((known.tar_bytes, known.compressed_bytes), (Bytes(1000), Bytes(300)));
}

fn many_cards(count: usize) -> Vec<Card> {
    let mut cards = Vec::new();
    for number in 0..count {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&number.to_le_bytes());
        cards.push(Card { diff_id: DiffId::new(id), ..card(0) });
    }
    cards
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

fn set(layers: Vec<u8>) -> Vec<u8> {
    BTreeSet::from_iter(layers).into_iter().collect()
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        some_layers().prop_map(|layers| Act::Full(set(layers))),
        (some_layers(), some_layers()).prop_map(|(added, removed)| {
            let removed = removed.into_iter().filter(|layer| !added.contains(layer)).collect();
            Act::Difference(set(added), set(removed))
        }),
        some_layers().prop_map(|layers| Act::Told(set(layers))),
        (0u8..16).prop_map(Act::Denied),
        Just(Act::Forget),
    ]
}

fn some_layers() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(0u8..16, 0..6)
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
                    directory.announced(peer(name), tells(1, version, version, &layers), Moment(1));
                    model.insert(name, layers.into_iter().collect());
                }
                Act::Difference(more, less) => {
                    let known = directory.peer(peer(name)).and_then(|peer| peer.believed).map(|(_, version)| version);
                    let news = News::Difference {
                        added: more.iter().map(|&name| card(name)).collect(),
                        removed: less.iter().map(|&name| id(name)).collect(),
                    };
                    let next = known.map_or(1, |known| known + 1);
                    let mut held = model.get(&name).cloned().unwrap_or_default();
                    held.retain(|layer| !less.contains(layer));
                    held.extend(more);
                    let held_now: Vec<u8> = held.iter().copied().collect();
                    let heard = directory.announced(peer(name), says(1, next, version, news, &held_now), Moment(1));
                    // The list of a peer that was forgotten may be remembered.
                    if known.is_some() || heard == Heard::Current {
                        prop_assert_eq!(heard, Heard::Current);
                        model.insert(name, held);
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
    let layer = id(1);
    directory.forget(peer(1));
    directory.answered(peer(4), holds(1, 1, &[1]), Moment(1));
    let holding: Vec<PeerId> = directory.holding(layer).map(|holder| holder.id).collect();
    assert_eq!(holding, [peer(3), peer(4), peer(2)]);
    assert!(!directory.is_held_by(layer, peer(1)) && directory.is_held_by(layer, peer(4)));
    assert!(!directory.is_held_by(id(2), peer(4)));
    assert!(directory.holding(layer).all(|holder| std::ptr::eq(holder.peer, directory.peer(holder.id).unwrap())));
}

#[test]
fn a_digest_that_the_first_card_lacks_is_taken_from_a_later_one() {
    let complete = |digest: u8| Card { tlsh: Some(lighter_types::Tlsh::new([digest; 35])), ..card(1) };
    let mut directory = Directory::new(9);
    directory.announced(peer(1), tells(1, 1, 1, &[1]), Moment(1));
    assert_eq!(directory.card(id(1)), Some(&card(1)));
    let again = |digest| News::Difference { added: vec![complete(digest)], removed: Vec::new() };
    assert_eq!(directory.announced(peer(1), says(1, 2, 2, again(7), &[1]), Moment(2)), Heard::Current);
    assert_eq!(directory.card(id(1)), Some(&complete(7)));
    assert_eq!(layers(&directory, 1), [1]);
    // Another one changes nothing any more.
    assert_eq!(directory.announced(peer(1), says(1, 3, 3, again(8), &[1]), Moment(3)), Heard::Current);
    assert_eq!(directory.card(id(1)), Some(&complete(7)));
}
