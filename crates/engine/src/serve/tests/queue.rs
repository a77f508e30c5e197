//! The order of patches to be made, and the places of peers in the queue.

use super::*;

const LOUD: PeerId = PeerId::new([101; 32]);
const CALM: PeerId = PeerId::new([102; 32]);

impl Server {
    /// Ends the encode that runs, and says which one comes next.
    fn next_after(&mut self, encode: u64) -> Option<u64> {
        let effects = self.ended(encode, None);
        effects.iter().find_map(|effect| if let Effect::Encode { encode, .. } = effect { Some(encode.0) } else { None })
    }
}

#[test]
fn much_work_for_a_peer_delays_another_by_one_patch() {
    let mut server = Server::new();
    let alone = server.quote(9, &[8]).unwrap().wait;
    // Four requests at once, as many as a peer may have, each for another patch.
    for base in 2..6 {
        server.open_from(LOUD, 1, &[base], None);
    }
    let wait = server.quote(9, &[8]).unwrap().wait;
    assert_eq!(wait.as_secs(), (alone * 2).as_secs(), "a peer hears of the patch under way and of its own");
    assert_eq!(server.open_from(CALM, 9, &[8], None), [working(4, 0)]);
    assert_eq!(server.next_after(0), Some(4));
    assert_eq!(server.next_after(4), Some(1), "and then it goes on");
}

#[test]
fn an_encode_that_nobody_waits_for_ends_as_soon_as_another_patch_waits() {
    let stopped = Effect::StopEncode(EncodeId(0));
    let mut server = Server::new();
    server.open_from(LOUD, 1, &[2], None);
    server.open_from(CALM, 1, &[2], None);
    assert_eq!((server.closed(0), server.closed(1)), (vec![], vec![]), "one waits, then nobody does");
    assert_eq!(server.open_from(CALM, 9, &[8], None), [working(2, 0), stopped.clone()]);
    // The encode that ends is of no use to those who come now.
    assert_eq!(server.open_from(LOUD, 1, &[2], None), [working(3, 0)]);
    assert_eq!(server.closed(9), [], "it is told once");
    assert_eq!((server.next_after(0), server.next_after(1)), (Some(1), Some(2)));
    assert_eq!(server.open_from(CALM, 9, &[8], None), [working(4, 0)]);
    assert_eq!(server.closed(3), [Effect::StopEncode(EncodeId(2))], "another patch waits already");
}

#[test]
fn a_patch_that_costs_more_than_expected_is_paid_for() {
    let mut server = Server::new();
    server.open_from(LOUD, 1, &[2], None);
    server.open_from(LOUD, 1, &[3], None);
    for base in 2..5 {
        server.open_from(CALM, 9, &[base], None);
    }
    server.took = server.quote(9, &[8]).unwrap().wait * 100;
    assert_eq!(server.next_after(0), Some(2));
    server.took = Duration::from_secs(1);
    assert_eq!([2, 3, 4].map(|encode| server.next_after(encode)), [Some(3), Some(4), Some(1)]);
    assert_eq!(server.next_after(1), None);
    assert_eq!(server.serve.turns.held(), 0, "without work there are no debts");
}

#[test]
fn a_patch_comes_at_the_turn_of_any_peer_that_waits_for_it() {
    let mut server = Server::new();
    for base in 2..6 {
        server.open_from(LOUD, 1, &[base], None);
    }
    assert_eq!(server.open_from(CALM, 1, &[5], None), [working(4, 0)]);
    assert_eq!(server.next_after(0), Some(3));
}

#[test]
fn a_full_queue_takes_a_place_from_the_peer_with_the_most() {
    let mut server = Server::new();
    server.core.settings.streams_per_peer_max = 1000;
    server.core.settings.streams_max = 1000;
    for target in 10..100 {
        let bytes = Bytes::MIB;
        server.core.holdings.add(Card { diff_id: id(target), tar_bytes: bytes, compressed_bytes: bytes, tlsh: None });
    }
    let queued = Settings::ENCODES_QUEUED_MAX as u64;
    for stream in 0..=queued {
        server.open_from(LOUD, 10 + stream as u8, &[], None);
    }
    assert_eq!(server.open_from(LOUD, 98, &[], None), [refuse(queued + 1, Refusal::BUSY)]);
    let effects = server.open_from(CALM, 99, &[], None);
    assert_eq!(effects, [refuse(queued, Refusal::BUSY), working(queued + 2, 0)]);
    assert_eq!(server.serve.queue.len() as u64, queued);
    assert_eq!(server.next_after(0), Some(queued + 1), "and has the next turn");
}
