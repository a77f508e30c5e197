//! The model of a link: what becomes of each datagram, in virtual time.

use std::time::Duration;

use lighter_tests::link::{Conditions, DUPLICATE_AFTER, Delivery, Link, Outage, REORDERED_BY, Tally};

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn link(conditions: Conditions) -> Link {
    Link::new(conditions, 1)
}

/// Sends so many datagrams of 1,000 bytes, one each millisecond: what comes out.
fn send(link: &mut Link, count: u64) -> Vec<Delivery> {
    (0..count).flat_map(|index| link.send(ms(index), datagram(index))).collect()
}

/// 1,000 bytes that begin with a number.
fn datagram(index: u64) -> Vec<u8> {
    let mut bytes = vec![0; 1000];
    bytes[..8].copy_from_slice(&index.to_le_bytes());
    bytes
}

fn index_of(delivery: &Delivery) -> u64 {
    u64::from_le_bytes(delivery.bytes[..8].try_into().unwrap())
}

#[test]
fn a_link_without_conditions_changes_nothing() {
    let mut link = link(Conditions::default());
    let wanted: Vec<Delivery> = (0..100).map(|index| Delivery { at: ms(index), bytes: datagram(index) }).collect();
    assert_eq!(send(&mut link, 100), wanted);
    let all = Tally { datagrams: 100, bytes: 100_000 };
    assert_eq!((link.counts().offered, link.counts().delivered), (all, all));
    assert_eq!(all.ip_bytes(), 102_800);
}

#[test]
fn the_delay_is_added_to_every_datagram() {
    let mut link = link(Conditions { delay: ms(300), ..Conditions::default() });
    let at: Vec<Duration> = send(&mut link, 3).iter().map(|delivery| delivery.at).collect();
    assert_eq!(at, [ms(300), ms(301), ms(302)]);
}

#[test]
fn the_rate_spreads_datagrams_that_come_at_once() {
    // 1,000 bytes take 10 ms.
    let mut link = link(Conditions { bits_per_second: Some(800_000), ..Conditions::default() });
    let at: Vec<Duration> = (0..3).flat_map(|index| link.send(ms(0), datagram(index))).map(|out| out.at).collect();
    assert_eq!(at, [ms(10), ms(20), ms(30)]);
    // An idle link saves nothing up.
    assert_eq!(link.send(ms(100), datagram(3))[0].at, ms(110));
    assert_eq!(link.counts().longest_wait, ms(20));
}

#[test]
fn the_queue_drops_its_tail() {
    let mut link = link(Conditions { bits_per_second: Some(800_000), queue: ms(20), ..Conditions::default() });
    let out: Vec<u64> =
        (0..5).flat_map(|index| link.send(ms(0), datagram(index))).map(|delivery| index_of(&delivery)).collect();
    assert_eq!(out, [0, 1, 2]);
    assert_eq!(link.counts().dropped_by_queue, 2);
    // A dropped datagram takes no time of the link.
    assert_eq!(link.send(ms(10), datagram(9))[0].at, ms(40));
    assert_eq!([0.25, 0.5, 1.0].map(|share| link.counts().wait(share)), [ms(0), ms(10), ms(20)]);
}

#[test]
fn loss_is_a_share_and_the_same_for_the_same_seed() {
    let lossy = || Conditions { loss: 0.1, ..Conditions::default() };
    let fates = |seed: u64| send(&mut Link::new(lossy(), seed), 10_000);
    let first = fates(1);
    // Four standard deviations of 10,000 x 0.1.
    assert!((8880..=9120).contains(&first.len()), "{}", first.len());
    assert_eq!(first, fates(1));
    assert_ne!(first, fates(2));
}

#[test]
fn a_duplicate_comes_a_moment_later() {
    let mut link = link(Conditions { duplicated: 1.0, delay: ms(5), ..Conditions::default() });
    let out = link.send(ms(1), datagram(7));
    assert_eq!(out.iter().map(|delivery| delivery.at).collect::<Vec<_>>(), [ms(6), ms(6) + DUPLICATE_AFTER]);
    assert_eq!(out[0].bytes, out[1].bytes);
    assert_eq!(link.counts().delivered.datagrams, 2);
}

#[test]
fn later_datagrams_overtake_a_reordered_one() {
    let mut link = link(Conditions { reordered: 0.2, ..Conditions::default() });
    let mut out = send(&mut link, 1000);
    let held_back = out.iter().filter(|delivery| delivery.at == ms(index_of(delivery)) + REORDERED_BY).count();
    // Four standard deviations of 1,000 x 0.2.
    assert!((150..=250).contains(&held_back), "{held_back}");
    out.sort_by_key(|delivery| delivery.at);
    let order: Vec<u64> = out.iter().map(index_of).collect();
    assert_eq!(order.len(), 1000);
    assert!(!order.is_sorted());
}

#[test]
fn corruption_flips_one_bit() {
    let mut link = link(Conditions { corrupted: 1.0, ..Conditions::default() });
    for index in 0..100 {
        let sent = datagram(index);
        let out = link.send(ms(0), sent.clone());
        let flipped: u32 = sent.iter().zip(&out[0].bytes).map(|(sent, come)| (sent ^ come).count_ones()).sum();
        assert_eq!(flipped, 1);
    }
    assert!(link.send(ms(0), Vec::new())[0].bytes.is_empty());
}

#[test]
fn larger_datagrams_than_the_largest_vanish() {
    let mut link = link(Conditions { datagram_max: 1252, ..Conditions::default() });
    assert_eq!(link.send(ms(0), vec![0; 1252]).len(), 1);
    assert_eq!(link.send(ms(0), vec![0; 1253]), []);
    assert_eq!(link.counts().dropped_by_size, 1);
}

#[test]
fn nothing_passes_in_an_outage() {
    let between = Outage::Between { from: ms(10), until: ms(20) };
    let except = Outage::Except { up: ms(10), period: ms(60) };
    for (outage, passes) in [
        (between, &[(0, true), (9, true), (10, false), (19, false), (20, true), (70, true)][..]),
        (except, &[(0, true), (9, true), (10, false), (59, false), (60, true), (69, true), (70, false)]),
    ] {
        let mut link = link(Conditions { outages: vec![outage], ..Conditions::default() });
        for &(at, does_pass) in passes {
            assert_eq!(link.send(ms(at), datagram(0)).len(), usize::from(does_pass), "{outage:?} at {at} ms");
        }
    }
}

#[test]
fn one_property_does_not_change_the_chance_of_another() {
    let lost = |conditions: Conditions| {
        let out = send(&mut link(conditions), 1000);
        out.iter().map(index_of).collect::<std::collections::BTreeSet<u64>>()
    };
    let alone = lost(Conditions { loss: 0.1, ..Conditions::default() });
    let both = lost(Conditions { loss: 0.1, duplicated: 0.5, reordered: 0.5, ..Conditions::default() });
    assert_eq!(alone, both);
}

#[test]
fn conditions_change_in_the_middle() {
    let mut link = link(Conditions::default());
    assert_eq!(link.send(ms(0), datagram(0)).len(), 1);
    link.change(Conditions { loss: 1.0, ..Conditions::default() });
    assert_eq!(link.send(ms(1), datagram(1)), []);
    assert_eq!(link.counts().lost, 1);
    link.reset_counts();
    assert_eq!(link.counts().offered, Tally::default());
}
