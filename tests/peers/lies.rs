//! Peers that lie about what they hold, what a patch is, what a blob is, what a name stands for.
//!
//! In each test a real node asks a liar first and an honest node second. The node must name the lie, cut the liar off,
//! and end with the layer of the honest node.

use libp2p::identity::Keypair;
use lighter_node::identity::from_libp2p;
use lighter_patch::{Method, Settings, Source};
use lighter_types::{DiffId, PatchId};
use lighter_wire::{
    Answer, Documents, ImageAnswer, Message, PatchReply, PatchRequest, Refusal, Release, Request, SignedRelease,
};

use super::harness::{Memory, fleet, framed, layer, layer_from, patch, pull_events, sent, status_kib, wait_heard};
use super::hostile::{Hostile, SITE, Script, Then, card};
use crate::support::images::{self, ImageFiles};
use crate::support::{Fleet, SOON, until};

/// How a liar sends a patch of a layer whose tar is given.
type Lie = fn(&[u8], &PatchRequest) -> Vec<u8>;

/// A lie, by its name, and the message that the operator reads.
const LIES: [(&str, Lie, &str); 10] = [
    (
        "a flipped byte in a frame",
        |tar, request| {
            let mut patch = patch(request.target, tar);
            patch.payloads[0][50] ^= 1;
            sent(&patch, patch.id())
        },
        "payload of frame 0 hashes to",
    ),
    (
        "junk for a header",
        |_, _| {
            let start = PatchReply::Start { patch: PatchId::new([7; 32]), header_bytes: 200, first_frame: 0 };
            [framed(&start), vec![0xaa; 200]].concat()
        },
        "not a patch",
    ),
    (
        "another patch than it named",
        |tar, request| sent(&patch(request.target, tar), PatchId::new([7; 32])),
        "was promised",
    ),
    (
        "a header of four gigabytes",
        |_, _| framed(&PatchReply::Start { patch: PatchId::new([7; 32]), header_bytes: u32::MAX, first_frame: 0 }),
        "a header of 4294967295 bytes",
    ),
    (
        "other bytes of the same length, with good hashes",
        |tar, request| {
            let patch = patch(request.target, &vec![0x55; tar.len()]);
            sent(&patch, patch.id())
        },
        "is not the layer: ",
    ),
    (
        "a target that is larger than the layer",
        |tar, request| {
            let patch = patch(request.target, &vec![0; tar.len() + (64 << 20)]);
            sent(&patch, patch.id())
        },
        "is signed",
    ),
    (
        "a patch of another layer",
        |tar, _| {
            let patch = patch(DiffId::new([9; 32]), tar);
            sent(&patch, patch.id())
        },
        "was asked for",
    ),
    (
        "a patch by a codec that nodes never make",
        |tar, request| {
            // Where the base has nothing, the tool's frames have the codec of nodes.
            let source = Source { diff_id: request.target, bytes: &tar };
            let base = Source { diff_id: DiffId::new([8; 32]), bytes: &[tar, &[1; 512]].concat() };
            let settings = Settings { method: Method::Vcdiff, ..Settings::default() };
            let patch = lighter_patch::encode(&source, &[base], &settings, &|_| std::ops::ControlFlow::Continue(()));
            let patch = patch.expect("a patch");
            sent(&patch, patch.id())
        },
        "which nodes never make",
    ),
    ("junk for a reply", |_, _| [&8u16.to_le_bytes()[..], &[0xff; 8]].concat(), "patch reply"),
    (
        "frames that were not asked for",
        |tar, request| {
            let patch = patch(request.target, tar);
            let start = PatchReply::Start {
                patch: patch.id(),
                header_bytes: patch.header.encode().len() as u32,
                first_frame: 9,
            };
            [framed(&start), patch.header.encode()].concat()
        },
        "frames from 9 on",
    ),
];

#[test]
fn wrong_bytes_cut_the_sender_off_and_the_layer_comes_from_elsewhere() {
    let liars: Vec<Keypair> = LIES.iter().map(|_| Keypair::generate_ed25519()).collect();
    let mut fleet = fleet(&liars);
    let folder = fleet.folder.path().to_owned();
    let [hub, victim] = &mut fleet.nodes[..] else { panic!("two nodes") };
    for (index, ((what, lie, words), key)) in LIES.into_iter().zip(liars).enumerate() {
        let tar = layer(index);
        let card = card(&tar, &images::sha256(&tar));
        let name = format!("demo/app:{index}");
        hub.import(&folder, &images::layout(std::slice::from_ref(&tar)), &name);
        let liar = Hostile::start(key, victim.address(), Script::bargain(vec![card], move |ask| lie(&tar, ask)));
        wait_heard(victim, &liar);
        let events = pull_events(victim, &name);
        let retry = events.iter().find(|event| event["event"] == "retrying");
        let retry = retry.unwrap_or_else(|| panic!("{what}: no attempt failed: {events:?}"));
        assert_eq!(retry["from"], liar.peer_id.as_str(), "{what}");
        assert!(retry["why"].as_str().unwrap().contains(words), "{what}: {retry}");
        assert_eq!(layer_from(&events), hub.peer_id, "{what}");
        let row = victim.peer(&liar.peer_id).unwrap_or_else(|| panic!("{what}: the liar is forgotten"));
        assert_eq!(row["cut_off"], true, "{what}");
        until("the liar's connection to be closed", SOON, || liar.seen().disconnected.then_some(()));
        let log = victim.log();
        let told = log.lines().any(|line| line.contains("cutting off a peer") && line.contains(&liar.peer_id));
        assert!(told, "{what}: not in the log");
    }
    let peak = status_kib(victim.pid().expect("a running node"), "VmHWM:");
    assert!(peak < 300 << 10, "{peak} KiB at the most");
    assert_eq!(victim.peer(&hub.peer_id).unwrap()["cut_off"], false);
    assert_eq!(victim.stop(), 0);
    victim.fsck();
}

/// Neither is a lie that can be proved: the peer is asked later, and the layer comes from elsewhere.
#[track_caller]
fn check_passed_over(script: impl FnOnce(&[u8]) -> Script, words: &str) -> (Fleet, Hostile) {
    let key = Keypair::generate_ed25519();
    let fleet = fleet(std::slice::from_ref(&key));
    let [hub, victim] = &fleet.nodes[..] else { panic!("two nodes") };
    let tar = layer(1);
    hub.import(fleet.folder.path(), &images::layout(std::slice::from_ref(&tar)), "demo/app:1");
    let peer = Hostile::start(key, victim.address(), script(&tar));
    wait_heard(victim, &peer);
    let memory = Memory::of(victim);
    let events = pull_events(victim, "demo/app:1");
    memory.check("the pull");
    assert_eq!(layer_from(&events), hub.peer_id);
    assert!(peer.seen().questions > 1, "it was asked for more than its holdings");
    if !words.is_empty() {
        let retry = events.iter().find(|event| event["event"] == "retrying").expect("an attempt that failed");
        assert_eq!(retry["from"], peer.peer_id.as_str());
        assert!(retry["why"].as_str().unwrap().contains(words), "{retry}");
    }
    assert_eq!(victim.peer(&peer.peer_id).unwrap()["cut_off"], false);
    (fleet, peer)
}

#[test]
fn a_peer_that_tells_a_wrong_length_makes_no_liars_of_others() {
    let key = Keypair::generate_ed25519();
    let fleet = fleet(std::slice::from_ref(&key));
    let [hub, victim] = &fleet.nodes[..] else { panic!("two nodes") };
    let tar = layer(1);
    let short = card(&tar[..10], &images::sha256(&tar));
    let refused = |_: &PatchRequest| framed(&PatchReply::Refused(Refusal::NotHeld));
    let liar = Hostile::start(key, victim.address(), Script::bargain(vec![short], refused));
    wait_heard(victim, &liar);
    hub.import(fleet.folder.path(), &images::layout(&[tar]), "demo/app:1");
    victim.wait_holdings(&hub.peer_id, 1);
    assert_eq!(layer_from(&pull_events(victim, "demo/app:1")), hub.peer_id);
    assert_eq!(victim.peer(&hub.peer_id).unwrap()["cut_off"], false);
}

fn claims(tar: &[u8]) -> Vec<lighter_types::Card> {
    vec![card(tar, &images::sha256(tar))]
}

#[test]
fn a_peer_that_refuses_what_it_announced_is_passed_over() {
    let refused = |_: &PatchRequest| framed(&PatchReply::Refused(Refusal::NotHeld));
    check_passed_over(|tar| Script::bargain(claims(tar), refused), "the peer does not hold the item");
}

/// Nobody, nowhere; addresses that are none; and a port that nobody listens on.
#[test]
fn a_peer_that_refers_to_nobody_is_passed_over() {
    let nobody = Keypair::generate_ed25519().public().to_peer_id();
    let nobody = from_libp2p(&nobody).expect("an ed25519 key");
    let closed: libp2p::Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().expect("an address");
    for addresses in [vec![], vec![vec![0xff; 112]; 8], vec![closed.to_vec()]] {
        let key = Keypair::generate_ed25519();
        let fleet = fleet(std::slice::from_ref(&key));
        let [hub, victim] = &fleet.nodes[..] else { panic!("two nodes") };
        let tar = layer(1);
        let patch = PatchId::new([7; 32]);
        let referred = PatchReply::Referred { peer: nobody, patch, settings: 1, addresses };
        let liar = Hostile::start(key, victim.address(), Script::bargain(claims(&tar), move |_| framed(&referred)));
        wait_heard(victim, &liar);
        hub.import(fleet.folder.path(), &images::layout(&[tar]), "demo/app:1");
        victim.wait_holdings(&hub.peer_id, 1);
        assert_eq!(layer_from(&pull_events(victim, "demo/app:1")), hub.peer_id);
        assert!(liar.seen().streams > 0, "it was asked for the patch");
        assert_eq!(victim.peer(&liar.peer_id).unwrap()["cut_off"], false);
    }
}

#[test]
fn a_peer_that_stalls_in_a_frame_is_passed_over() {
    check_passed_over(
        |tar| {
            let owned = tar.to_vec();
            let half = move |request: &PatchRequest| {
                let patch = patch(request.target, &owned);
                let mut bytes = sent(&patch, patch.id());
                bytes.truncate(bytes.len() / 2);
                bytes
            };
            Script { then: Then::Hangs, ..Script::bargain(claims(tar), half) }
        },
        "it stalled",
    );
}

#[test]
fn a_peer_that_hangs_up_in_a_frame_is_passed_over() {
    check_passed_over(
        |tar| {
            let owned = tar.to_vec();
            let half = move |request: &PatchRequest| {
                let patch = patch(request.target, &owned);
                let mut bytes = sent(&patch, patch.id());
                bytes.truncate(bytes.len() / 2);
                bytes
            };
            Script::bargain(claims(tar), half)
        },
        "lost",
    );
}

/// Answers what it holds, and this to everything else.
fn then(tar: &[u8], other: Option<Vec<u8>>) -> Script {
    let mut script = Script::bargain(claims(tar), |_| Vec::new());
    let mut honest = script.answer;
    script.answer = Box::new(move |request| match request {
        Request::Holdings { .. } => honest(request),
        _ => other.clone(),
    });
    script
}

#[test]
fn a_peer_that_answers_with_junk_is_passed_over() {
    check_passed_over(|tar| then(tar, Some(vec![0xff; 3000])), "");
}

#[test]
fn a_peer_that_never_answers_is_passed_over() {
    check_passed_over(|tar| then(tar, None), "");
}

#[test]
fn a_peer_that_answers_without_end_is_passed_over() {
    // Twice what the victim's memory may grow by.
    let (_victim, peer) = check_passed_over(|tar| then(tar, Some(vec![4; 128 << 20])), "");
    until("the victim to stop reading", SOON, || (peer.seen().unread > 0).then_some(()));
}

#[test]
fn a_manifest_with_another_digest_cuts_the_sender_off() {
    // A whole image, and not the one that was asked for.
    check_false_documents(|_, other| Documents {
        manifest: images::to_bytes(&other.manifest()),
        config: None,
        recipes: None,
    });
}

#[test]
fn a_config_that_the_manifest_does_not_name_cuts_the_sender_off() {
    check_false_documents(|image, _| {
        let config = Some(b"{\"architecture\":\"amd64\"}".to_vec());
        Documents { manifest: images::to_bytes(&image.manifest()), config, recipes: None }
    });
}

/// A peer gives these documents, made from the image that is asked for and another one.
fn check_false_documents(documents: impl FnOnce(&ImageFiles, &ImageFiles) -> Documents) {
    let mut fleet = Fleet::create(2);
    let key = Keypair::generate_ed25519();
    let liar_id = key.public().to_peer_id().to_string();
    let members = vec![fleet.nodes[0].peer_id.clone(), fleet.nodes[1].peer_id.clone(), liar_id];
    for node in &mut fleet.nodes {
        node.set(format!("fleet.members={members:?}"));
    }
    // A node asks its neighbours first, and the liar says that it is one.
    fleet.nodes[1].set(format!("site={SITE}"));
    fleet.start();
    let [hub, victim] = &fleet.nodes[..] else { panic!("two nodes") };
    let tar = layer(1);
    let (image, other) = (images::layout(std::slice::from_ref(&tar)), images::layout(&[layer(2)]));
    let manifest = hub.import(fleet.folder.path(), &image, "demo/app:1");
    let answer = ImageAnswer { documents: Some(documents(&image, &other)), ..ImageAnswer::default() };
    let script = then(&tar, Some(Answer::Image(Box::new(answer)).encode().expect("a small answer")));
    let liar = Hostile::start(key, victim.address(), script);
    wait_heard(victim, &liar);
    let events = pull_events(victim, &manifest);
    assert_eq!(layer_from(&events), hub.peer_id);
    assert_eq!(victim.peer(&liar.peer_id).unwrap()["cut_off"], true);
    let log = victim.log();
    let line = log.lines().find(|line| line.contains("cutting off a peer")).expect("a line in the log");
    assert!(line.contains(&liar.peer_id) && line.contains("manifest or config"), "{line}");
}

#[test]
fn a_release_that_is_not_signed_by_a_publisher_is_not_believed() {
    let key = Keypair::generate_ed25519();
    let fleet = fleet(std::slice::from_ref(&key));
    let [hub, victim] = &fleet.nodes[..] else { panic!("two nodes") };
    let tar = layer(1);
    let good = hub.import(fleet.folder.path(), &images::layout(std::slice::from_ref(&tar)), "demo/app:1");
    let bad = hub.import(fleet.folder.path(), &images::layout(&[layer(2)]), "demo/other:1");
    let release = Release {
        reference: "demo/app:1".parse().expect("a reference"),
        manifest: bad.parse().expect("a digest"),
        issued_s: u64::MAX,
        companions: None,
        bounds: None,
    };
    // In the hub's name, with a signature that is none.
    let publisher = hub.peer_id.parse().expect("a PeerId");
    let forged = SignedRelease { release, publisher, signature: [3; 64], cosignatures: Vec::new() };
    let script = then(
        &tar,
        Some(
            Answer::Image(Box::new(ImageAnswer { release: Some(forged), ..ImageAnswer::default() }))
                .encode()
                .expect("a small answer"),
        ),
    );
    let liar = Hostile::start(key, victim.address(), script);
    wait_heard(victim, &liar);
    let pulled = victim.pull("demo/app:1");
    assert_eq!(pulled["manifest"], good.as_str());
    assert!(liar.seen().questions > 1, "it was asked");
    assert_eq!(victim.ask(&["image", "show", "demo/app:1"])["manifest"], good.as_str());
}
