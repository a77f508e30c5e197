//! Announcements, answers and the history of the own list.

use lighter_types::Bytes;

use super::*;

fn id(seed: u16) -> DiffId {
    // Digests of lists are sums of these: no two lists of the tests have the same.
    let mut id = [0; 32];
    let spread = u128::from(seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    id[..16].copy_from_slice(&(spread ^ spread >> 61).wrapping_mul(spread | 1).to_le_bytes());
    id[16..18].copy_from_slice(&seed.to_le_bytes());
    DiffId::new(id)
}

fn card(seed: u16) -> Card {
    Card { diff_id: id(seed), tar_bytes: Bytes(1000), compressed_bytes: Bytes(300), tlsh: None }
}

/// Holdings that these layers were in at the start.
fn begun(layers: std::ops::Range<u16>) -> Holdings {
    let mut own = Holdings::default();
    for seed in layers {
        own.add(card(seed));
    }
    own.begin();
    own
}

fn announce(own: &mut Holdings) -> Announcement {
    own.announcement(&Settings::default(), false)
}

fn digest(layers: impl IntoIterator<Item = u16>) -> ListDigest {
    layers.into_iter().map(id).collect()
}

#[test]
fn first_a_short_list_then_differences_then_heartbeats() {
    let mut own = Holdings::default();
    own.add(card(1));
    let first = announce(&mut own);
    assert_eq!((first.version, first.digest, first.news), (1, digest([1]), News::Full(vec![card(1)])));
    own.add(card(2));
    own.remove(id(1));
    let second = announce(&mut own);
    assert_eq!((second.version, second.digest), (2, digest([2])));
    assert_eq!(second.news, News::Difference { added: vec![card(2)], removed: vec![id(1)] });
    let third = announce(&mut own);
    assert_eq!((third.version, third.digest, third.news), (2, digest([2]), News::Heartbeat));
    assert!(third.sequence > second.sequence);
}

#[test]
fn a_list_that_is_not_short_is_never_announced() {
    let mut own = begun(0..5);
    for full in [false, true] {
        let announcement = own.announcement(&Settings::default(), full);
        assert_eq!((announcement.version, announcement.digest), (1, digest(0..5)));
        assert_eq!(announcement.news, News::Heartbeat);
    }
}

#[test]
fn a_layer_added_and_removed_between_announcements_is_not_announced() {
    let mut own = Holdings::default();
    announce(&mut own);
    own.add(card(1));
    own.remove(id(1));
    assert_eq!(announce(&mut own).news, News::Heartbeat);
}

#[test]
fn an_answer_is_what_was_held_at_its_version() {
    let mut own = begun(1..2);
    own.add(card(2));
    own.remove(id(1));
    assert_eq!((own.version(), own.digest(), own.listed(None)), (1, digest([1]), Listed::All(vec![card(1)])));
    assert_eq!(own.listed(Some(digest([1]))), Listed::Unchanged);
    announce(&mut own);
    assert_eq!((own.version(), own.digest(), own.listed(None)), (2, digest([2]), Listed::All(vec![card(2)])));
}

#[test]
fn a_list_of_the_start_and_each_since_is_known_by_its_digest() {
    let mut own = begun(0..9);
    let mut known = vec![digest(0..9)];
    for seed in 20..24 {
        own.add(card(seed));
        own.remove(id(seed - 20));
        announce(&mut own);
        known.push(own.digest());
    }
    // A layer that comes and goes, and one that goes and comes.
    own.add(card(30));
    own.remove(id(8));
    announce(&mut own);
    own.remove(id(30));
    own.add(card(8));
    announce(&mut own);
    assert_eq!(own.listed(Some(own.digest())), Listed::Unchanged);
    for (missed, known) in known.into_iter().rev().enumerate() {
        let Listed::Difference { added, removed } = own.listed(Some(known)) else {
            assert_eq!((missed, own.listed(Some(known))), (0, Listed::Unchanged));
            continue;
        };
        assert_eq!((added.len(), removed.len()), (missed, missed));
        let mut reached = known;
        added.iter().for_each(|card| reached.add(card.diff_id));
        removed.iter().for_each(|layer| reached.remove(*layer));
        assert_eq!(reached, own.digest());
    }
    assert!(matches!(own.listed(Some(digest([99]))), Listed::All(cards) if cards.len() == 9));
}

#[test]
fn changes_that_are_more_than_the_list_give_the_list() {
    let mut own = begun(0..9);
    for seed in 0..8 {
        own.remove(id(seed));
    }
    announce(&mut own);
    assert_eq!(own.listed(Some(digest(0..9))), Listed::All(vec![card(8)]));
}

#[test]
fn the_history_forgets_what_is_beyond_its_cap() {
    let mut own = begun(0..2000);
    (2000..2000 + Settings::CHANGES_MAX as u16).for_each(|seed| add_and_announce(&mut own, seed));
    assert!(matches!(own.listed(Some(digest(0..2000))), Listed::Difference { .. }));
    add_and_announce(&mut own, 9999);
    assert_eq!(own.changes.len(), Settings::CHANGES_MAX);
    assert!(matches!(own.listed(Some(digest(0..2000))), Listed::All(_)));
    assert!(matches!(own.listed(Some(digest(0..2001))), Listed::Difference { .. }));
}

fn add_and_announce(own: &mut Holdings, seed: u16) {
    own.add(card(seed));
    announce(own);
}

#[test]
fn news_that_does_not_fit_becomes_a_heartbeat_of_a_new_version() {
    let mut own = begun(0..1);
    announce(&mut own);
    for seed in 1..2000 {
        own.add(card(seed));
    }
    let announcement = announce(&mut own);
    assert_eq!((announcement.version, announcement.digest, announcement.news), (2, digest(0..2000), News::Heartbeat));
}

#[test]
fn a_card_that_is_completed_is_announced_again() {
    let tlsh = Some(lighter_types::Tlsh::new([7; 35]));
    let mut own = begun(0..5);
    announce(&mut own);
    let digest = own.digest();
    let complete = Card { tlsh, ..card(3) };
    assert!(own.describe(complete));
    assert_eq!(own.card(id(3)), Some(&complete));
    let again = announce(&mut own);
    assert_eq!((again.version, again.digest), (2, digest));
    assert_eq!(again.news, News::Difference { added: vec![complete], removed: Vec::new() });
    // A peer that knows the list lacks no layer of it.
    assert_eq!(own.listed(Some(digest)), Listed::Unchanged);
    assert_eq!(announce(&mut own).news, News::Heartbeat);
    // Nothing changes a digest, or describes what is not held.
    assert!(!own.describe(Card { tlsh: Some(lighter_types::Tlsh::new([8; 35])), ..card(3) }));
    assert!(!own.describe(Card { tlsh, ..card(9) }));
    // A layer that was not announced yet is announced once.
    own.add(card(6));
    let complete = Card { tlsh, ..card(6) };
    assert!(own.describe(complete));
    assert_eq!(announce(&mut own).news, News::Difference { added: vec![complete], removed: Vec::new() });
    own.add(card(7));
    announce(&mut own);
    assert!(own.describe(Card { tlsh, ..card(7) }));
    own.remove(id(7));
    assert_eq!(announce(&mut own).news, News::Difference { added: Vec::new(), removed: vec![id(7)] });
}
