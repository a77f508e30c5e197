//! Members that spam gossip, repeat what others signed, and send messages that are too large or none.

use libp2p::identity::Keypair;
use lighter_node::identity::Identity;
use lighter_wire::{Announcement, Incarnation, ListDigest, Message, News};

use super::harness::{Memory, fleet, is_cut_off, layer, layer_from, pull_events};
use super::hostile::{Deed, Hostile, Script, pubsub};
use crate::support::images;
use crate::support::{NodeProcess, SOON, until};

/// Messages of a flood between two looks, of which there are fifty a second.
const MESSAGES_AT_ONCE: u64 = 200;
const OVERSIZE: usize = 12 << 20;

fn quiet(victim: &NodeProcess, key: Keypair) -> Hostile {
    let liar = Hostile::start(key, victim.address(), Script::bargain(Vec::new(), |_| Vec::new()));
    until("the liar to connect", SOON, || victim.peer(&liar.peer_id).filter(|peer| peer["connected"] == true));
    liar
}

/// An announcement of a node that started long ago.
fn heartbeat(sequence: u64, news: News) -> Vec<u8> {
    let digest = ListDigest::default();
    let announcement = Announcement { incarnation: Incarnation(1), version: 1, sequence, site: None, digest, news };
    announcement.encode().expect("a small announcement")
}

/// Sends messages until the victim has cut the liar off: some for each number, one number after the other.
#[track_caller]
fn flood(victim: &NodeProcess, liar: &Hostile, what: &str, messages: impl Fn(u64) -> Deed) {
    let mut number = 0;
    until(what, SOON, || {
        if liar.seen().disconnected {
            return Some(());
        }
        (0..MESSAGES_AT_ONCE).for_each(|_| {
            number += 1;
            liar.does(messages(number));
        });
        None
    });
    assert!(is_cut_off(victim, &liar.peer_id), "{what}");
    let log = victim.log();
    let line = log.lines().find(|line| line.contains("cutting off a peer") && line.contains(&liar.peer_id));
    assert!(line.is_some_and(|line| line.contains("a flood of messages")), "{what}: {line:?}");
}

#[test]
fn gossip_without_end_is_cut_off_and_what_others_signed_counts_for_nobody() {
    let liars = [(); 4].map(|()| Keypair::generate_ed25519());
    let fleet = fleet(&liars);
    let [hub, victim] = &fleet.nodes[..] else { panic!("two nodes") };
    hub.import(fleet.folder.path(), &images::layout(&[layer(1)]), "demo/app:1");
    victim.wait_holdings(&hub.peer_id, 1);
    let memory = Memory::of(victim);
    let [spams, repeats, forges, oversizes] = liars;

    let liar = quiet(victim, spams);
    flood(victim, &liar, "its own heartbeats", |number| Deed::Gossip(heartbeat(number, News::Heartbeat)));

    // Messages that the hub signed, as somebody who listened for months has them: that it leaves, and that it is alive.
    let of_hub = Identity::open(&hub.data_dir).expect("the hub's key").keypair();
    let liar = quiet(victim, repeats);
    flood(victim, &liar, "the hub's heartbeats", |number| {
        let news = if number == 1 { News::Leaving } else { News::Heartbeat };
        Deed::GossipRaw(pubsub::frame(&pubsub::signed(&of_hub, number, &heartbeat(number, news))))
    });
    assert!(!is_cut_off(victim, &hub.peer_id), "whose words were repeated");
    assert_eq!(victim.peer(&hub.peer_id).expect("its row")["layers"], 1);

    // The node learns nothing of messages whose signature is wrong: their bytes count.
    let liar = quiet(victim, forges);
    let mut forged = pubsub::signed(&of_hub, 1, &heartbeat(1, News::Heartbeat));
    forged.last_mut().into_iter().for_each(|byte| *byte ^= 1);
    // A field of the data that a later one takes the place of.
    forged.splice(..0, pubsub::field(2, &vec![0; 50_000]));
    let frame = pubsub::frame(&forged).repeat(2);
    flood(victim, &liar, "forged messages", |_| Deed::GossipRaw(frame.clone()));

    // A message that is too large ends the stream that it came on.
    let liar = quiet(victim, oversizes);
    liar.does(Deed::GossipRaw(pubsub::frame(&vec![0; OVERSIZE])));
    until("the stream to end", SOON, || (liar.seen().gossip_ends > 0).then_some(()));

    memory.check("floods of gossip");
    assert_eq!(layer_from(&pull_events(victim, "demo/app:1")), hub.peer_id);
    assert!(!is_cut_off(victim, &hub.peer_id));
}
