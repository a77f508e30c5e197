//! Announcements: what nodes believe of each other, whatever becomes of messages, clocks and connections.
//!
//! A list of layers has a digest. A list that both ends know is not sent again, also after a restart of either; a
//! changed one costs its changes.

use std::time::Duration;

use lighter_engine::{DiskInput, Input, OperatorInput};
use lighter_sim::test_fleet::{TestFleet, peer};
use lighter_types::{Card, DiffId};
use lighter_wire::{Announcement, Incarnation, News, Request};

use super::{MINUTE, check_directories, check_done, fleet, holders, layer, old, seeds};

#[test]
fn gossip_that_is_lost_repeated_and_reordered_still_converges() {
    for seed in seeds(4) {
        let mut fleet = fleet(seed, 25, 3);
        fleet.set_gossip(30, 30, 50);
        fleet.lose_asks(5);
        fleet.start();
        (1..25).for_each(|node| fleet.pull(node, 1, "app:new"));
        fleet.run_pulls();
        (1..25).for_each(|node| check_done(&fleet, node));
        // Each change is announced ten times at least, and an announcement is lost three times of ten.
        fleet.run(MINUTE * 450);
        fleet.set_gossip(0, 0, 0);
        fleet.lose_asks(0);
        fleet.run(MINUTE * 165);
        check_directories(&fleet);
    }
}

#[test]
fn a_silent_node_is_forgotten_in_time() {
    let mut fleet = fleet(1, 4, 3);
    fleet.start();
    fleet.kill(3);
    fleet.run(MINUTE * 45);
    assert!(fleet.engine(0).directory().peer(peer(3)).is_some());
    fleet.run(MINUTE * 45);
    assert!((0..3).all(|node| fleet.engine(node).directory().peer(peer(3)).is_none()));
}

#[test]
fn a_node_whose_clock_was_set_back_is_known_again_when_it_connects() {
    let mut fleet = fleet(1, 4, 3);
    fleet.start();
    fleet.kill(3);
    fleet.put(3, &[layer(9, 9, 1)]);
    fleet.boot_as(3, Incarnation(10));
    fleet.run(Duration::from_secs(5));
    let knows = |node: usize| holders(fleet.engine(node), layer(9, 9, 1).diff_id) == [peer(3)];
    assert!(fleet.neighbours(3).into_iter().all(knows));
}

/// No connection was lost, gossip is of an earlier life than believed: the peer is asked.

#[test]
fn a_clock_set_back_behind_a_living_connection_is_found_out_by_asking() {
    let mut fleet = fleet(1, 3, 2);
    fleet.start();
    fleet.change_settings(2, |settings| settings.incarnation = Incarnation(10));
    fleet.step(2, Input::Disk(DiskInput::LayerHeld { card: layer(9, 9, 1), sketch: None }));
    fleet.step(2, Input::Tick);
    fleet.run(MINUTE * 2);
    assert_eq!(holders(fleet.engine(0), layer(9, 9, 1).diff_id), [peer(2)]);
}

#[test]
fn a_silent_new_peer_is_asked_until_it_answers() {
    let mut fleet = fleet(1, 3, 2);
    fleet.set_gossip(100, 0, 0);
    fleet.lose_asks(100);
    fleet.start();
    assert_eq!(holders(fleet.engine(0), old().diff_id), []);
    fleet.lose_asks(0);
    fleet.run(MINUTE * 2);
    check_directories(&fleet);
}

#[test]
fn a_start_is_one_announcement_and_rest_is_a_heartbeat_in_a_quarter_of_an_hour() {
    let mut fleet = fleet(1, 3, 2);
    fleet.start();
    let cards = |announcement: &Announcement| match &announcement.news {
        News::Full(cards) => cards.len(),
        News::Difference { .. } | News::Heartbeat | News::Leaving => 0,
    };
    assert_eq!(fleet.seen(0).announced.iter().map(cards).collect::<Vec<_>>(), [2]);
    let before = fleet.seen(0).announced.len();
    fleet.run(MINUTE * 300);
    assert!((20..=23).contains(&(fleet.seen(0).announced.len() - before)));
}

/// The bytes of all messages while `act` goes on and ten minutes after.
fn talk(fleet: &mut TestFleet, act: impl FnOnce(&mut TestFleet)) -> u64 {
    fleet.run(MINUTE * 11);
    let before = fleet.talk_bytes();
    act(fleet);
    fleet.run(MINUTE * 10);
    fleet.talk_bytes() - before
}

/// A hub with 1,000 layers and an edge that knows them: their list has 86 KB.
fn with_a_long_list() -> TestFleet {
    let mut fleet = fleet(1, 2, 1);
    fleet.put(0, &(0..1000).map(distinct).collect::<Vec<_>>());
    fleet.start();
    check_directories(&fleet);
    fleet
}

/// A layer whose DiffId looks like a digest: digests of lists are sums of these.
fn distinct(number: u64) -> Card {
    let mut card = layer(9, 9, 1);
    let mut id = [0; 32];
    for (place, chunk) in id.chunks_exact_mut(8).enumerate() {
        let seed = (number * 4 + place as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        chunk.copy_from_slice(&(seed ^ seed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9).to_le_bytes());
    }
    card.diff_id = DiffId::new(id);
    card
}

#[test]
fn a_list_that_both_ends_know_is_not_sent_after_a_restart_of_either() {
    for restarted in [0, 1] {
        let mut fleet = with_a_long_list();
        let bytes = talk(&mut fleet, |fleet| {
            fleet.kill(restarted);
            fleet.boot(restarted);
        });
        check_directories(&fleet);
        assert!((100..2_000).contains(&bytes), "{bytes}");
    }
}

#[test]
fn one_layer_more_is_all_that_is_sent_of_a_list_after_a_restart_of_either() {
    for restarted in [0, 1] {
        let mut fleet = with_a_long_list();
        let bytes = talk(&mut fleet, |fleet| {
            // Nobody hears of the layer but by a question.
            fleet.set_gossip(100, 0, 0);
            fleet.kill(1);
            if restarted == 0 {
                fleet.kill(0);
                fleet.boot(0);
                fleet.run(Duration::from_secs(2));
            }
            fleet.put(0, &[distinct(5000)]);
            fleet.step(0, Input::Disk(DiskInput::LayerHeld { card: distinct(5000), sketch: None }));
            fleet.run(Duration::from_secs(2));
            fleet.boot(1);
        });
        assert_eq!(holders(fleet.engine(1), distinct(5000).diff_id), [peer(0)]);
        check_directories(&fleet);
        assert!((100..2_500).contains(&bytes), "{bytes}");
    }
}

#[test]
fn a_peer_that_left_and_comes_back_with_its_list_is_not_asked_for_it() {
    let mut fleet = with_a_long_list();
    let bytes = talk(&mut fleet, |fleet| {
        fleet.step(0, Input::Operator(OperatorInput::Stop));
        fleet.run(Duration::from_secs(1));
        assert!(holders(fleet.engine(1), distinct(0).diff_id).is_empty());
        fleet.kill(0);
        fleet.run(MINUTE * 120);
        fleet.boot(0);
    });
    check_directories(&fleet);
    assert!((100..5_000).contains(&bytes), "{bytes}");
}

#[test]
fn a_lie_about_a_digest_costs_two_questions_for_each_announcement_at_most() {
    let mut fleet = with_a_long_list();
    let asked = |fleet: &TestFleet| fleet.seen(1).asked.iter().filter(|asked| is_for_holdings(asked)).count();
    for sequence in 0..10 {
        let before = asked(&fleet);
        let (incarnation, version) = (Incarnation(1_001), 50 + sequence);
        let digest = [distinct(7000 + sequence).diff_id].into_iter().collect();
        let (site, news) = (None, News::Heartbeat);
        fleet.announce_as(0, &Announcement { incarnation, version, sequence: version, site, digest, news });
        fleet.run(MINUTE);
        assert!((1..=2).contains(&(asked(&fleet) - before)));
    }
    check_directories(&fleet);
}

fn is_for_holdings(request: &Request) -> bool {
    matches!(request, Request::Holdings { .. })
}

#[test]
fn directories_are_right_after_any_losses_changes_and_restarts() {
    for seed in seeds(12) {
        let mut fleet = fleet(seed, 6, 5);
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut draw = move |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        fleet.set_gossip(30, 20, 30);
        fleet.lose_asks(30);
        fleet.start();
        for _ in 0..60 {
            let node = draw(6) as usize;
            let card = distinct(draw(12));
            match draw(6) {
                0 if fleet.is_online(node) => fleet.kill(node),
                0 | 1 if !fleet.is_online(node) => fleet.boot(node),
                _ if !fleet.is_online(node) => {}
                1 => fleet.step(node, Input::Operator(OperatorInput::Stop)),
                2 if fleet.disk(node).layers.contains(&card.diff_id) => {
                    fleet.disk_mut(node).layers.remove(&card.diff_id);
                    fleet.step(node, Input::Disk(DiskInput::LayerGone(card.diff_id)));
                }
                _ => {
                    fleet.put(node, &[card]);
                    fleet.step(node, Input::Disk(DiskInput::LayerHeld { card, sketch: None }));
                }
            }
            fleet.run(Duration::from_millis(draw(40_000)));
        }
        fleet.set_gossip(0, 0, 0);
        fleet.lose_asks(0);
        for node in 0..6 {
            if fleet.is_online(node) {
                fleet.kill(node);
            }
            fleet.boot(node);
        }
        fleet.run(MINUTE * 165);
        check_directories(&fleet);
    }
}
