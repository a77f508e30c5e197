//! Peers that lie about bases: patches for another base than the victim has, and sketches by which it would choose the
//! wrong one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use libp2p::identity::Keypair;
use lighter_patch::Patch;
use lighter_similarity::SketchBuilder;
use lighter_types::{Card, DiffId};
use lighter_wire::{Answer, Message, Request};

use super::harness::{
    check_turned_away, diff_id, fleet, is_cut_off, layer_from, patch_from, pull_events, sent, wait_heard,
};
use super::hostile::{Hostile, Script, card};
use crate::support::images::{self, noise, two_releases};
use crate::support::{Fleet, NodeProcess, SOON, until};

const LAYER_BYTES: usize = 400_000;

/// A patch of the second release, given both.
type WrongBase = fn(&[u8], &[u8]) -> Patch;

/// A lie about the base, by its name, and the message that the operator reads.
const WRONG_BASES: [(&str, WrongBase, &str); 3] = [
    (
        "a base that the victim did not offer",
        |first, second| patch_from(diff_id(second), second, &[(DiffId::new([8; 32]), first)]),
        "that was not offered",
    ),
    (
        "other bytes under the name of a base that it has",
        |first, second| {
            let other = noise(99, first.len());
            let shared = first.len().min(second.len()) / 2;
            let target = [&other[..shared], &second[shared..]].concat();
            patch_from(diff_id(second), &target, &[(diff_id(first), &other)])
        },
        "is not the layer",
    ),
    (
        "a base that it has, in another length",
        |first, second| patch_from(diff_id(second), second, &[(diff_id(first), &[first, &[0; 512]].concat())]),
        "has",
    ),
];

/// Both releases of an image, of which the victim has the first and the hub both.
fn releases(fleet: &Fleet, index: usize) -> (Vec<u8>, Vec<u8>, String) {
    let [hub, victim] = &fleet.nodes[..] else { panic!("two nodes") };
    let (first, second) = two_releases(index as u64 + 1, LAYER_BYTES);
    let folder = fleet.folder.path();
    hub.import(folder, &images::layout(std::slice::from_ref(&first)), &format!("demo/app:{index}a"));
    victim.pull(&format!("demo/app:{index}a"));
    // A layer is a base once it has a digest, which is made behind its commit.
    let base = images::sha256(&first);
    until("a digest", SOON, || victim.ask(&["layer", "show", &base])["tlsh"].is_string().then_some(()));
    let name = format!("demo/app:{index}b");
    hub.import(folder, &images::layout(std::slice::from_ref(&second)), &name);
    (first, second, name)
}

#[test]
fn patches_for_another_base_cut_the_sender_off() {
    let liars = WRONG_BASES.map(|_| Keypair::generate_ed25519());
    let fleet = fleet(&liars);
    let [hub, victim] = &fleet.nodes[..] else { panic!("two nodes") };
    for (index, ((what, lie, words), key)) in WRONG_BASES.into_iter().zip(liars).enumerate() {
        let (first, second, name) = releases(&fleet, index);
        // The hub may not have made its digest yet, and without one the victim knows no base.
        let claimed = with_tlsh_of(&second, &second);
        let says = move |_: &lighter_wire::PatchRequest| {
            let patch = lie(&first, &second);
            sent(&patch, patch.id())
        };
        let liar = Hostile::start(key, victim.address(), Script::bargain(vec![claimed], says));
        wait_heard(victim, &liar);
        let events = pull_events(victim, &name);
        check_turned_away(&events, &liar, hub, what, words);
        assert!(is_cut_off(victim, &liar.peer_id), "{what}");
        assert!(liar.seen().streams <= 3, "{what}");
    }
    assert!(!is_cut_off(victim, &hub.peer_id));
}

/// The sketch of a layer as a liar tells it.
type Sketched = fn() -> Vec<Option<Vec<u8>>>;

/// The sketch of something else.
fn other_sketch() -> Vec<u8> {
    let mut sketch = SketchBuilder::new();
    sketch.push(&noise(77, LAYER_BYTES));
    sketch.finish().to_bytes()
}

const SKETCHES: [(&str, Sketched, &str); 3] = [
    ("half of a sketch", || vec![Some(other_sketch()[..40].to_vec())], "sketch of layer"),
    ("the sketches of more layers than were asked for", || vec![None; 16], "16 sketches of 1 layers"),
    ("the sketch of another layer", || vec![Some(other_sketch())], "a sketch that is not that of layer"),
];

/// The card of a layer, with the TLSH digest of some bytes.
fn with_tlsh_of(bytes: &[u8], tar: &[u8]) -> Card {
    let mut hasher = lighter_similarity::TlshHasher::new();
    hasher.update(bytes);
    Card { tlsh: hasher.finish(), ..card(tar, &images::sha256(tar)) }
}

#[test]
fn false_sketches_cost_no_more_than_the_layer_and_cut_the_sender_off() {
    let liars = SKETCHES.map(|_| Keypair::generate_ed25519());
    let fleet = fleet(&liars);
    let [hub, victim] = &fleet.nodes[..] else { panic!("two nodes") };
    for (index, ((what, sketches, words), key)) in SKETCHES.into_iter().zip(liars).enumerate() {
        let (_, second, name) = releases(&fleet, 10 + index);
        let mut script = Script::bargain(vec![with_tlsh_of(&noise(55, LAYER_BYTES), &second)], |_| Vec::new());
        let mut bargain = script.answer;
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        script.answer = Box::new(move |request| match request {
            Request::Sketches(_) => {
                counted.fetch_add(1, Ordering::Relaxed);
                Some(Answer::Sketches(sketches()).encode().expect("a small answer"))
            }
            Request::Quote { .. } => None,
            Request::Holdings { .. } | Request::Image(_) | Request::Blob { .. } | Request::Arrival { .. } => {
                bargain(request)
            }
        });
        let liar = Hostile::start(key, victim.address(), script);
        wait_heard(victim, &liar);
        // Planning asks for sketches also where the offers of others would do.
        victim.ask(&["plan", &name]);
        until("the question for a sketch", SOON, || (asked.load(Ordering::Relaxed) > 0).then_some(()));
        let received = patch_bytes(victim);
        let events = pull_events(victim, &name);
        assert_eq!(layer_from(&events), hub.peer_id, "{what}");
        let received = patch_bytes(victim) - received;
        assert!(received < LAYER_BYTES as u64, "{what}: {received} bytes");
        assert!(is_cut_off(victim, &liar.peer_id), "{what}: {:?}", liar.seen());
        let log = victim.log();
        let of_liar = |line: &&str| line.contains("cutting off a peer") && line.contains(&liar.peer_id);
        let line = log.lines().find(of_liar).unwrap_or_else(|| panic!("{what}: not in the log"));
        assert!(line.contains(words), "{what}: {line}");
    }
    assert!(!is_cut_off(victim, &hub.peer_id));
}

/// The bytes of patches that a node received.
fn patch_bytes(node: &NodeProcess) -> u64 {
    let status = node.status();
    let rows = status["traffic"].as_array().expect("traffic");
    let patches = rows.iter().find(|row| row["protocol"] == "patch").expect("patches");
    patches["received_bytes"].as_u64().expect("a number")
}
