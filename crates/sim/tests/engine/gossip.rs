//! Announcements: what nodes believe of each other, whatever becomes of messages, clocks and connections.

use std::time::Duration;

use lighter_engine::{DiskInput, Input};
use lighter_sim::test_fleet::peer;
use lighter_wire::{Announcement, Incarnation, News};

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
