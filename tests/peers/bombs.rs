//! Patches whose payloads decode to far more than they have, one of each codec: the victim's memory stays within its
//! bound, and the layer comes from elsewhere.

use std::time::Duration;

use libp2p::identity::Keypair;
use lighter_patch::{Method, Settings, Source};
use lighter_types::{DiffId, Effort, PatchId};

use super::harness::{Memory, check_turned_away, diff_id, fleet, is_cut_off, pull_events, sent, sent_raw, wait_heard};
use super::hostile::{Hostile, Script, card};
use crate::support::images::{self, noise};
use crate::support::until;

const MIB: usize = 1 << 20;
const LAYER_MIB: usize = 17;
/// The longest range of a frame but those of the delta codec (docs/PATCH.md).
const RANGE_BYTES: usize = 16 * MIB;

/// A layer that is large and that the hub packs quickly: one piece of noise, over and over.
fn layer(seed: u64) -> Vec<u8> {
    images::tar(&[("app", &noise(seed, MIB / 4).repeat(4 * LAYER_MIB))])
}

/// A frame: codec, base, length of its range, payload.
type Frame = (u8, u8, usize, Vec<u8>);

/// A patch as it stands on a stream, put together from docs/PATCH.md and not by the code under test.
fn by_hand(target: DiffId, bases: &[(DiffId, usize)], frames: &[Frame]) -> Vec<u8> {
    let target_bytes: usize = frames.iter().map(|(_, _, range, _)| range).sum();
    let mut header = b"\xB1LIGHTER".to_vec();
    header.extend([2, 0, bases.len() as u8, 0]);
    header.extend((frames.len() as u32).to_le_bytes());
    header.extend([0; 8]);
    header.extend((target_bytes as u64).to_le_bytes());
    header.extend(target.as_bytes());
    for (base, bytes) in bases {
        header.extend(base.as_bytes());
        header.extend((*bytes as u64).to_le_bytes());
    }
    for (codec, base, range, payload) in frames {
        header.extend([*codec, *base]);
        header.extend((*range as u32).to_le_bytes());
        header.extend((payload.len() as u32).to_le_bytes());
        header.extend(blake3::hash(payload).as_bytes());
    }
    let payloads: Vec<Vec<u8>> = frames.iter().map(|(_, _, _, payload)| payload.clone()).collect();
    let name = PatchId::new(*blake3::hash(&header).as_bytes());
    sent_raw(&header, name, &payloads)
}

/// Frames that cover so many bytes.
fn covering(bytes: usize, codec: u8, payload: impl Fn(usize) -> Vec<u8>) -> Vec<Frame> {
    let starts = (0..bytes).step_by(RANGE_BYTES);
    starts.map(|start| RANGE_BYTES.min(bytes - start)).map(|range| (codec, 255, range, payload(range))).collect()
}

fn zstd_of_zeros(bytes: usize) -> Vec<u8> {
    zstd::bulk::compress(&vec![0; bytes], 3).expect("memory")
}

/// A patch by the encoder of nodes, of other content than the layer's.
fn delta(target: DiffId, content: &[u8], effort: Effort) -> Vec<u8> {
    let settings = Settings { method: Method::Delta(effort), ..Settings::default() };
    let source = Source { diff_id: target, bytes: &content };
    let patch = lighter_patch::encode(&source, &[], &settings, &|_| std::ops::ControlFlow::Continue(()));
    let patch = patch.expect("a patch");
    sent(&patch, patch.id())
}

/// A bomb, by its name, and the message that the operator reads.
type Bomb = (&'static str, fn(&[u8]) -> Vec<u8>, &'static str);

const BOMBS: [Bomb; 6] = [
    (
        "stored: ranges of 16 MiB from a hundred bytes each",
        |tar| by_hand(diff_id(tar), &[], &covering(tar.len(), 0, |_| vec![7; 100])),
        "length",
    ),
    (
        "zstd: zeros to the last byte of each range",
        |tar| by_hand(diff_id(tar), &[], &covering(tar.len(), 1, zstd_of_zeros)),
        "is not the layer",
    ),
    (
        "zstd: four times as many zeros as the range has",
        |tar| by_hand(diff_id(tar), &[], &covering(tar.len(), 1, |range| zstd_of_zeros(4 * range))),
        "zstd",
    ),
    (
        "vcdiff: copies of one byte, without end",
        |tar| {
            let frames = covering(tar.len(), 2, |_| vec![0x9f, 0xff, 0x7f]);
            let frames: Vec<Frame> =
                frames.into_iter().map(|(codec, _, range, bytes)| (codec, 0, range, bytes)).collect();
            by_hand(diff_id(tar), &[(DiffId::new([8; 32]), 1 << 40)], &frames)
        },
        "which nodes never make",
    ),
    ("delta, light: zeros", |tar| delta(diff_id(tar), &vec![0; tar.len()], Effort::Fast), "is not the layer"),
    ("delta, full: zeros", |tar| delta(diff_id(tar), &vec![0; tar.len()], Effort::Max), "is not the layer"),
];

#[test]
fn bombs_of_each_codec_stay_within_the_memory_and_cut_the_sender_off() {
    let liars = BOMBS.map(|_| Keypair::generate_ed25519());
    let fleet = fleet(&liars);
    let [hub, victim] = &fleet.nodes[..] else { panic!("two nodes") };
    for (index, ((what, bomb, words), key)) in BOMBS.into_iter().zip(liars).enumerate() {
        let tar = layer(index as u64);
        let name = format!("demo/bomb:{index}");
        hub.import(fleet.folder.path(), &images::layout(std::slice::from_ref(&tar)), &name);
        let claimed = card(&tar, &images::sha256(&tar));
        let bytes = bomb(&tar);
        assert!(bytes.len() < MIB, "{what}: {} bytes", bytes.len());
        let liar = Hostile::start(key, victim.address(), Script::bargain(vec![claimed], move |_| bytes.clone()));
        wait_heard(victim, &liar);
        victim.wait_holdings(&hub.peer_id, index as u64 + 1);
        let memory = Memory::of(victim);
        let events = pull_events(victim, &name);
        memory.check(what);
        check_turned_away(&events, &liar, hub, what, words);
        assert!(is_cut_off(victim, &liar.peer_id), "{what}");
        until("the liar to be gone", Duration::from_secs(30), || liar.seen().disconnected.then_some(()));
    }
    assert!(!is_cut_off(victim, &hub.peer_id));
}
