//! Peers that flood or send junk of their own accord, and strangers.

use libp2p::identity::Keypair;
use lighter_wire::{Announcement, Incarnation, Message, News, PatchRequest, Request, Terms};

use super::hostile::{Deed, Hostile, Script};
use crate::support::images::{self, noise};
use crate::support::{Fleet, NodeProcess, SOON, until};

/// A victim that lets `peers` in, and holds an image.
fn victim(peers: &[Keypair], settings: &[&str]) -> Fleet {
    let mut fleet = Fleet::create(1);
    let ids = peers.iter().map(|key| key.public().to_peer_id().to_string());
    let members: Vec<String> = ids.chain([fleet.nodes[0].peer_id.clone()]).collect();
    fleet.nodes[0].set(format!("fleet.members={members:?}"));
    for setting in settings {
        fleet.nodes[0].set(*setting);
    }
    fleet.nodes[0].start();
    let image = images::layout(&[images::tar(&[("app", &noise(1, 100_000))])]);
    fleet.nodes[0].import(fleet.folder.path(), &image, "demo/app:1");
    fleet
}

fn quiet() -> Script {
    Script::bargain(Vec::new(), |_| Vec::new())
}

fn holdings() -> Vec<u8> {
    Request::Holdings { known: None }.encode().expect("a small request")
}

/// The node is well, and serves an honest question.
#[track_caller]
fn check_well(node: &mut NodeProcess, peer: &Hostile) {
    assert!(node.is_running(), "{}", node.log());
    assert!(!node.log().contains("panicked"), "{}", node.log());
    let before = peer.seen().answers;
    peer.does(Deed::Ask(holdings()));
    until("an answer", SOON, || (peer.seen().answers > before).then_some(()));
}

#[test]
fn a_flood_of_questions_cuts_the_peer_off() {
    let keys = [Keypair::generate_ed25519(), Keypair::generate_ed25519()];
    let mut fleet = victim(&keys, &["timing.cut_off_s=5"]);
    let [flooding, honest] = keys;
    let node = &mut fleet.nodes[0];
    let flooding = Hostile::start(flooding, node.address(), quiet());
    let honest = Hostile::start(honest, node.address(), quiet());
    node.wait_peers(2);
    // As many at a time as the victim works at; far more than ten times what one peer may ask in ten seconds.
    until("the flood to be noticed", SOON, || {
        let seen = flooding.seen();
        if seen.disconnected {
            return Some(());
        }
        for _ in 0..1000 {
            flooding.does(Deed::Ask(holdings()));
        }
        until("some answers", SOON, || {
            let now = flooding.seen();
            (now.disconnected || now.answers + now.failures >= seen.answers + seen.failures + 1000).then_some(())
        });
        None
    });
    assert_eq!(node.peer(&flooding.peer_id).expect("its row")["cut_off"], true);
    let log = node.log();
    let line = log.lines().find(|line| line.contains("cutting off a peer")).expect("a line in the log");
    assert!(line.contains("a flood of messages") && line.contains(&flooding.peer_id), "{line}");
    check_well(node, &honest);
    until("the cut-off to end", SOON, || {
        node.peer(&flooding.peer_id).is_none_or(|peer| peer["cut_off"] == false).then_some(())
    });
}

#[test]
fn junk_on_every_protocol_is_refused() {
    let keys = [Keypair::generate_ed25519()];
    let mut fleet = victim(&keys, &[]);
    let [key] = keys;
    let node = &mut fleet.nodes[0];
    let peer = Hostile::start(key, node.address(), quiet());
    node.wait_peers(1);
    for junk in [Vec::new(), vec![0xff; 10], vec![0; 1025], vec![1; 1 << 20]] {
        peer.does(Deed::Ask(junk.clone()));
        peer.does(Deed::Gossip(junk.clone()));
        peer.does(Deed::Stream(junk.clone()));
        peer.does(Deed::Stream([&u16::MAX.to_le_bytes()[..], &junk].concat()));
    }
    // Well formed, and nonsense: a removal of what was never added, a version from the future, a layer nobody has.
    let target = lighter_types::DiffId::new([5; 32]);
    let announcement = Announcement {
        incarnation: Incarnation(u64::MAX),
        version: u64::MAX,
        sequence: u64::MAX,
        site: None,
        digest: lighter_wire::ListDigest::default(),
        news: News::Difference { added: Vec::new(), removed: vec![target] },
    };
    peer.does(Deed::Gossip(announcement.encode().expect("a small announcement")));
    let request = PatchRequest {
        target,
        bases: vec![target; 8],
        have: None,
        resume: None,
        referable: None,
        terms: Terms::default(),
    };
    let request = request.encode().expect("a small request");
    peer.does(Deed::Stream([&(request.len() as u16).to_le_bytes()[..], &request].concat()));
    until("the junk to be refused", SOON, || (peer.seen().failures == 4).then_some(()));
    check_well(node, &peer);
}

#[test]
fn streams_without_a_request_do_not_keep_others_out() {
    let keys = [Keypair::generate_ed25519()];
    let mut fleet = victim(&keys, &["limits.streams_max=2"]);
    let [key] = keys;
    let node = &mut fleet.nodes[0];
    let peer = Hostile::start(key, node.address(), quiet());
    node.wait_peers(1);
    for _ in 0..4000 {
        peer.does(Deed::Stream(vec![1]));
    }
    check_well(node, &peer);
    let pid = node.pid().expect("a running node");
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("its threads").count();
    assert!(threads < 100, "{threads} threads");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    let kib: u64 = resident.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(kib < 128 << 10, "{kib} KiB resident");
}

#[test]
fn a_stranger_is_refused_and_gets_nothing() {
    let member = Keypair::generate_ed25519();
    let mut fleet = victim(std::slice::from_ref(&member), &[]);
    let node = &mut fleet.nodes[0];
    let stranger = Hostile::start(Keypair::generate_ed25519(), node.address(), quiet());
    for _ in 0..3 {
        stranger.does(Deed::Ask(holdings()));
    }
    until("the stranger to be refused", SOON, || {
        let seen = stranger.seen();
        (seen.disconnected && seen.failures >= 3).then_some(())
    });
    let seen = stranger.seen();
    assert_eq!((seen.answers, seen.questions, seen.streams), (0, 0, 0), "{seen:?}");
    assert!(node.peer(&stranger.peer_id).is_none());
    let log = node.log();
    let refused = |line: &str| line.contains("a connection was refused") && line.contains(&stranger.peer_id);
    assert!(log.lines().any(refused), "{log}");
    let member = Hostile::start(member, node.address(), quiet());
    node.wait_peers(1);
    check_well(node, &member);
}
