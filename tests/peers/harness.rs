//! Shared by the tests of lying peers: a fleet that lets them in, patches made by hand, checks of the end of a pull.

use libp2p::identity::Keypair;
use lighter_patch::{Patch, Settings, Source};
use lighter_types::{DiffId, PatchId};
use lighter_wire::{Message, PatchReply};
use serde_json::Value;

use super::hostile::{Hostile, SITE};
use crate::support::images::{self, noise};
use crate::support::{Fleet, NodeProcess};

/// The most that a node may take over its idle memory, whatever a peer sends.
const OVER_IDLE_KIB_MAX: u64 = 64 << 10;

/// A hub and a victim that let `liars` in; none runs.
pub fn members(liars: &[Keypair]) -> Fleet {
    let mut fleet = Fleet::create(2);
    let ids = fleet.nodes.iter().map(|node| node.peer_id.clone());
    let members: Vec<String> = ids.chain(liars.iter().map(|key| key.public().to_peer_id().to_string())).collect();
    for node in &mut fleet.nodes {
        for setting in ["timing.stall_timeout_s=2", "timing.ask_timeout_s=2", "timing.patience_s=15"] {
            node.set(setting);
        }
        node.set(format!("fleet.members={members:?}"));
    }
    fleet.nodes[1].set(format!("site={SITE}"));
    fleet
}

/// A hub and a victim that run, and let `liars` in.
pub fn fleet(liars: &[Keypair]) -> Fleet {
    let mut fleet = members(liars);
    fleet.start();
    fleet
}

/// The whole of `content` as a patch that says it rebuilds `target`.
pub fn patch(target: DiffId, content: &[u8]) -> Patch {
    patch_from(target, content, &[])
}

/// The same from bases, which are named as the caller says.
pub fn patch_from(target: DiffId, content: &[u8], bases: &[(DiffId, &[u8])]) -> Patch {
    let source = Source { diff_id: target, bytes: &content };
    let bases: Vec<Source<'_>> = bases.iter().map(|(diff_id, bytes)| Source { diff_id: *diff_id, bytes }).collect();
    lighter_patch::encode(&source, &bases, &Settings::default(), &|_| std::ops::ControlFlow::Continue(()))
        .expect("a patch")
}

/// A message as it stands on a patch stream.
pub fn framed(message: &impl Message) -> Vec<u8> {
    let bytes = message.encode().expect("a small message");
    [&(bytes.len() as u16).to_le_bytes()[..], &bytes].concat()
}

/// Start, header and frames of a patch, with the name it has or another.
pub fn sent(patch: &Patch, name: PatchId) -> Vec<u8> {
    sent_raw(&patch.header.encode(), name, &patch.payloads)
}

/// The same of a header that no encoder made.
pub fn sent_raw(header: &[u8], name: PatchId, payloads: &[Vec<u8>]) -> Vec<u8> {
    let start = PatchReply::Start { patch: name, header_bytes: header.len() as u32, first_frame: 0 };
    let frames = payloads.iter().map(|payload| [&framed(&PatchReply::Frame)[..], payload].concat());
    [&framed(&start), header, &frames.collect::<Vec<_>>().concat()].concat()
}

/// A layer of noise.
pub fn layer(seed: usize) -> Vec<u8> {
    images::tar(&[("app", &noise(seed as u64, 300_000))])
}

pub fn diff_id(tar: &[u8]) -> DiffId {
    images::sha256(tar).parse().expect("a DiffId")
}

/// Waits until the victim knows that the liar holds something.
pub fn wait_heard(victim: &NodeProcess, liar: &Hostile) {
    victim.wait_holdings(&liar.peer_id, 1);
}

/// Pulls, and says what the command told on the way.
#[track_caller]
pub fn pull_events(victim: &NodeProcess, name: &str) -> Vec<Value> {
    victim.cli(&["-o", "jsonl", "image", "pull", name]).ok().json_lines()
}

/// The peer that the layer came from.
#[track_caller]
pub fn layer_from(events: &[Value]) -> &str {
    events.iter().find(|event| event["event"] == "layer").expect("a layer")["from"].as_str().expect("a peer")
}

/// The pull had to turn away from the liar, with these words, and did not from anybody else; the layer is the hub's.
#[track_caller]
pub fn check_turned_away(events: &[Value], liar: &Hostile, hub: &NodeProcess, what: &str, words: &str) {
    let retries: Vec<&Value> = events.iter().filter(|event| event["event"] == "retrying").collect();
    let first = retries.first().unwrap_or_else(|| panic!("{what}: no attempt failed: {events:?}"));
    assert!(retries.len() <= 3, "{what}: {retries:?}");
    assert!(retries.iter().all(|retry| retry["from"] == liar.peer_id.as_str()), "{what}: {retries:?}");
    assert!(first["why"].as_str().expect("a reason").contains(words), "{what}: {first}");
    assert_eq!(layer_from(events), hub.peer_id, "{what}");
}

/// Whether a node has cut a peer off. The peer must be known.
#[track_caller]
pub fn is_cut_off(node: &NodeProcess, peer_id: &str) -> bool {
    let row = node.peer(peer_id).unwrap_or_else(|| panic!("{peer_id} is forgotten:\n{}", node.log()));
    row["cut_off"].as_bool().expect("yes or no")
}

/// The memory of a node, from when it was idle on.
pub struct Memory {
    pid: u32,
    idle_kib: u64,
}

impl Memory {
    pub fn of(node: &NodeProcess) -> Self {
        let pid = node.pid().expect("a running node");
        // The kernel forgets the peak (proc(5), clear_refs).
        std::fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("a peak that is reset");
        Self { pid, idle_kib: status_kib(pid, "VmRSS:") }
    }

    /// The most that was resident since, over what was when idle.
    pub fn over_idle_kib(&self) -> u64 {
        status_kib(self.pid, "VmHWM:").saturating_sub(self.idle_kib)
    }

    #[track_caller]
    pub fn check(&self, what: &str) {
        let (over, idle) = (self.over_idle_kib(), self.idle_kib);
        assert!(over <= OVER_IDLE_KIB_MAX, "{what}: {over} KiB over {idle} KiB");
    }
}

/// A figure of `/proc/<pid>/status`.
pub fn status_kib(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find(|line| line.starts_with(name)).expect("its memory");
    line.split_whitespace().nth(1).and_then(|count| count.parse().ok()).expect("a number")
}
