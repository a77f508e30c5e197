//! A fleet of real engines in virtual time: events ordered by moment and sequence, one seeded generator, no clock.
//!
//! What is held true at every step: an effect of the second group is answered once; fetches, encodes and streams stay
//! under their caps; a wake moment lies ahead, and no node wakes up for nothing time and again.

use crate::input::{DiskInput, Input, OperatorInput, PeerInput};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lighter_similarity::Sketch;
use lighter_types::{Bytes, Card, DiffId, ImageReference, Moment, OciDigest, PatchId, PeerId, Tlsh};
use lighter_wire::{Announcement, Incarnation, PatchRequest, Release, Request, SignedRelease};

use super::transfer::Transfer;
use crate::*;

/// Between two nodes, one way: 10 to 60 ms.
const LATENCY_MS: (u64, u64) = (10, 60);

/// What a node does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Its bytes fail their hashes.
    Lies,
    /// It stops sending after this many frames of a stream.
    Stalls(u32),
    /// It cannot write.
    FullDisk,
    /// A patch that reads from this layer cannot be applied here.
    Damaged(DiffId),
}

/// What gossip does to messages, in percent.
#[derive(Clone, Copy, Default)]
pub struct Gossip {
    pub lost: u64,
    pub repeated: u64,
    pub late: u64,
}

/// What survives a restart.
#[derive(Default)]
pub struct Disk {
    pub layers: BTreeMap<DiffId, Card>,
    pub patches: BTreeMap<PatchId, CachedPatch>,
    pub parts: BTreeMap<DiffId, Part>,
    pub blobs: BTreeSet<OciDigest>,
    pub releases: BTreeMap<ImageReference, SignedRelease>,
    /// Layers whose sketch was lost, or is another here than it should be.
    pub sketches: BTreeMap<DiffId, Option<Sketch>>,
    pub calibrations: BTreeMap<(Rule, u32), lighter_similarity::Calibration>,
    pub pace: Option<Pace>,
}

pub struct Node {
    pub engine: Engine,
    pub settings: Settings,
    pub disk: Disk,
    pub fault: Fault,
    pub online: bool,
    pub neighbours: BTreeSet<usize>,
    pub reports: Vec<(PullId, Report)>,
    pub announced: Vec<Announcement>,
    pub asked: Vec<Request>,
    pub encodes: usize,
    pub served: usize,
    pub referred: usize,
    pub blobs_told: usize,
    pub cut_off: Vec<PeerId>,
    /// Grows with each start: what was meant for an earlier life does not arrive.
    pub life: u64,
    pub wake: Option<Moment>,
    idle_wakes: u32,
    pub open: BTreeSet<Open>,
}

pub enum Event {
    Wake,
    Input { life: u64, input: Box<Input> },
    Question { from: usize, ask: AskId, life: u64, request: Request },
    Frame(StreamId),
}

/// An image of the fleet's registry of truth.
pub struct Image {
    pub config: OciDigest,
    pub layers: Vec<DiffId>,
}

/// What a layer is made of: blocks of 64 KiB, and their sketch.
#[derive(Clone)]
pub struct Content {
    pub blocks: BTreeSet<u64>,
    pub sketch: Sketch,
}

pub struct Fleet {
    pub now: Moment,
    pub nodes: Vec<Node>,
    pub gossip: Gossip,
    /// Percent of questions that are lost.
    pub asks_lost: u64,
    /// Whether all questions for sketches are.
    pub sketches_lost: bool,
    /// Bytes of a patch that cross a link in a second.
    pub rate: u64,
    pub images: BTreeMap<OciDigest, Image>,
    /// What layers are made of; a layer without has no sketch anywhere.
    pub truth: BTreeMap<DiffId, Content>,
    pub transfers: BTreeMap<StreamId, Transfer>,
    /// Hash of everything that happened (FNV-1a), if wanted.
    pub log: Option<u64>,
    pub steps: u64,
    pub questions: BTreeMap<QuestionId, (usize, u64, AskId)>,
    queue: BTreeMap<(Moment, u64), (usize, Event)>,
    next: u64,
    random: u64,
    seed: u64,
}

pub fn peer(node: usize) -> PeerId {
    // Not in the order of the nodes, as keys are not.
    let mut id = [node as u8; 32];
    id[..8].copy_from_slice(&(node as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    id[8..16].copy_from_slice(&(node as u64).to_le_bytes());
    PeerId::new(id)
}

pub fn node_of(peer: PeerId) -> usize {
    peer.as_bytes()[8..16].iter().rev().fold(0, |sum, &byte| sum << 8 | usize::from(byte))
}

/// A layer of `mib` MiB; layers of one `family` are alike, `release` tells them apart.
pub fn layer(family: u8, release: u8, mib: u64) -> Card {
    let mut id = [family; 32];
    id[1] = release;
    let mut tlsh = [family.wrapping_mul(0x35); 35];
    tlsh[34] = release;
    let bytes = Bytes::MIB.times(mib);
    Card {
        diff_id: DiffId::new(id),
        tar_bytes: bytes,
        compressed_bytes: Bytes(bytes.0 / 2),
        tlsh: Some(Tlsh::new(tlsh)),
    }
}

impl Fleet {
    /// `count` nodes; node 0 is connected to all, the others to `neighbours` more.
    pub fn new(seed: u64, count: usize, neighbours: usize, settings: &Settings) -> Self {
        let mut fleet = Self {
            now: Moment(1_000),
            nodes: Vec::new(),
            gossip: Gossip::default(),
            asks_lost: 0,
            sketches_lost: false,
            rate: 1_250_000,
            images: BTreeMap::new(),
            truth: BTreeMap::new(),
            transfers: BTreeMap::new(),
            log: None,
            steps: 0,
            questions: BTreeMap::new(),
            queue: BTreeMap::new(),
            next: 0,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            seed,
        };
        for node in 0..count {
            let settings = Settings { incarnation: Incarnation(1_000), seed: seed + node as u64, ..settings.clone() };
            fleet.nodes.push(Node::new(settings));
        }
        for node in 1..count {
            let others: Vec<usize> = (0..neighbours).map(|_| fleet.below(count as u64) as usize).collect();
            for other in others.into_iter().chain([0]).filter(|&other| other != node) {
                fleet.nodes[node].neighbours.insert(other);
                fleet.nodes[other].neighbours.insert(node);
            }
        }
        fleet
    }

    pub fn put(&mut self, node: usize, layers: &[Card]) {
        self.nodes[node].disk.layers.extend(layers.iter().map(|card| (card.diff_id, *card)));
    }

    /// Makes an image of these layers known at `node` under `name`, and returns its manifest.
    pub fn publish(&mut self, node: usize, name: &str, issued_s: u64, layers: &[Card]) -> OciDigest {
        let mut digest = [issued_s as u8; 32];
        digest[1] = node as u8;
        let (manifest, config) = (OciDigest::new(digest), OciDigest::new(digest.map(|byte| !byte)));
        self.images.insert(manifest, Image { config, layers: layers.iter().map(|card| card.diff_id).collect() });
        self.put(node, layers);
        let release = Release { reference: name.parse().unwrap(), manifest, issued_s };
        let signed = SignedRelease { release, publisher: peer(0), signature: [0; 64] };
        let disk = &mut self.nodes[node].disk;
        disk.blobs.extend([manifest, config]);
        disk.releases.insert(name.parse().unwrap(), signed);
        manifest
    }

    /// Starts everybody, and gives gossip and questions the time to settle.
    pub fn start(&mut self) {
        (0..self.nodes.len()).for_each(|node| self.boot(node));
        self.run(Duration::from_secs(5));
    }

    /// Starts a node from its disk and connects it.
    pub fn boot(&mut self, node: usize) {
        let this = &mut self.nodes[node];
        this.life += 1;
        this.online = true;
        this.open.clear();
        this.wake = None;
        this.engine = Engine::new(this.settings.clone());
        let held = |card: &Card| {
            let truth = self.truth.get(&card.diff_id).map(|content| content.sketch.clone());
            Input::Disk(DiskInput::LayerHeld {
                card: *card,
                sketch: this.disk.sketches.get(&card.diff_id).cloned().unwrap_or(truth),
            })
        };
        let mut inputs: Vec<Input> = this.disk.layers.values().map(held).collect();
        let learned = this.disk.calibrations.iter();
        inputs.extend(learned.map(|(&(rule, settings), &calibration)| {
            Input::Disk(DiskInput::CalibrationHeld { rule, settings, calibration })
        }));
        inputs.extend(this.disk.pace.map(|pace| Input::Disk(DiskInput::PaceHeld(pace))));
        inputs.extend(this.disk.patches.values().cloned().map(|patch| Input::Disk(DiskInput::PatchHeld(patch))));
        let parts = this.disk.parts.iter();
        inputs.extend(parts.map(|(&target, part)| Input::Disk(DiskInput::PartHeld { target, part: part.clone() })));
        inputs.into_iter().for_each(|input| self.step(node, input));
        for other in self.nodes[node].neighbours.clone() {
            if self.nodes[other].online && other != node {
                self.step(node, Input::Peer(PeerInput::Connected(peer(other))));
                self.step(other, Input::Peer(PeerInput::Connected(peer(node))));
            }
        }
    }

    /// The power goes: nothing in memory survives; the peers notice.
    pub fn kill(&mut self, node: usize) {
        self.nodes[node].online = false;
        self.nodes[node].life += 1;
        self.nodes[node].open.clear();
        for other in self.nodes[node].neighbours.clone() {
            if self.nodes[other].online {
                self.step(other, Input::Peer(PeerInput::Lost(peer(node))));
            }
        }
        self.break_streams(node);
    }

    /// Connects two nodes, if both are there.
    pub fn meet(&mut self, node: usize, other: usize) {
        if self.nodes[other].online {
            self.nodes[node].neighbours.insert(other);
            self.nodes[other].neighbours.insert(node);
            self.soon(node, 100, Input::Peer(PeerInput::Connected(peer(other))));
            self.soon(other, 100, Input::Peer(PeerInput::Connected(peer(node))));
        }
    }

    pub fn pull(&mut self, node: usize, pull: u64, name: &str) {
        let reference: ImageReference = name.parse().unwrap();
        let known = self.nodes[node].disk.releases.get(&reference).cloned();
        self.step(
            node,
            Input::Operator(OperatorInput::PullAsked { pull: PullId(pull), wanted: Wanted::Name { reference, known } }),
        );
    }

    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.run_until(|fleet| fleet.queue.first_key_value().is_none_or(|((at, _), _)| *at > end));
        self.now = end;
    }

    /// Until no pull is under way; at most an hour.
    pub fn run_pulls(&mut self) {
        let end = self.now + Duration::from_secs(3600);
        self.run_until(|fleet| fleet.now > end || fleet.nodes.iter().all(|node| node.engine.pulls() == 0));
        let left: Vec<usize> = (0..self.nodes.len()).filter(|&node| self.nodes[node].engine.pulls() > 0).collect();
        assert!(left.is_empty(), "pulls that never end at nodes {left:?}");
    }

    pub fn run_until(&mut self, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            let ((at, _), (node, event)) = self.queue.pop_first().expect("nodes announce for ever");
            self.now = at;
            self.happen(node, event);
        }
    }

    fn happen(&mut self, node: usize, event: Event) {
        match event {
            Event::Wake if self.nodes[node].online && self.nodes[node].wake == Some(self.now) => {
                self.nodes[node].wake = None;
                self.step(node, Input::Tick);
            }
            Event::Input { life, input } if life == self.nodes[node].life => self.step(node, *input),
            Event::Question { from, ask, life, request } if self.nodes[node].online => {
                let question = QuestionId(self.fresh());
                self.questions.insert(question, (from, life, ask));
                self.step(node, Input::Peer(PeerInput::Asked { question, from: peer(from), request }));
            }
            Event::Frame(stream) => self.frame(stream),
            Event::Wake | Event::Input { .. } | Event::Question { .. } => {}
        }
    }

    /// One step of one engine, its effects, and what must hold then.
    pub fn step(&mut self, node: usize, input: Input) {
        let tick = matches!(input, Input::Tick);
        if let Some(answered) = Open::answered(&input) {
            // The second answer to a question (it came after its timeout) is dropped by the caller.
            if !self.nodes[node].open.remove(&answered) {
                assert!(matches!(answered, Open::Ask(_)), "{answered:?} was answered twice");
                return;
            }
        }
        let mut effects = Vec::new();
        self.steps += 1;
        self.nodes[node].engine.step(self.now, input, &mut effects);
        let idle = tick && effects.iter().all(|effect| matches!(effect, Effect::WakeAt(_)));
        self.nodes[node].idle_wakes = if idle { self.nodes[node].idle_wakes + 1 } else { 0 };
        assert!(self.nodes[node].idle_wakes < 8, "node {node} wakes up for nothing");
        for effect in effects {
            if let Some(log) = &mut self.log {
                let line = format!("{:?} {node} {effect:?}", self.now);
                *log = line.bytes().fold(*log, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
            }
            self.perform(node, effect);
        }
        let this = &self.nodes[node];
        let count = |kind: fn(&Open) -> bool| this.open.iter().filter(|open| kind(open)).count();
        assert!(count(|open| matches!(open, Open::Fetch(_))) <= this.settings.fetches_max);
        assert!(count(|open| matches!(open, Open::Encode(_))) <= this.settings.encodes_max);
    }

    pub fn soon(&mut self, node: usize, delay_ms: u64, input: Input) {
        let life = self.nodes[node].life;
        self.push(self.now + Duration::from_millis(delay_ms), node, Event::Input { life, input: Box::new(input) });
    }

    pub fn push(&mut self, at: Moment, node: usize, event: Event) {
        let sequence = self.fresh();
        self.queue.insert((at, sequence), (node, event));
    }

    pub fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub fn latency(&mut self) -> u64 {
        LATENCY_MS.0 + self.below(LATENCY_MS.1 - LATENCY_MS.0)
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        percent > 0 && self.below(100) < percent
    }

    /// xorshift64*.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % limit
    }
}

impl Node {
    fn new(settings: Settings) -> Self {
        Self {
            engine: Engine::new(settings.clone()),
            settings,
            disk: Disk::default(),
            fault: Fault::None,
            online: false,
            neighbours: BTreeSet::new(),
            reports: Vec::new(),
            announced: Vec::new(),
            asked: Vec::new(),
            encodes: 0,
            served: 0,
            referred: 0,
            blobs_told: 0,
            cut_off: Vec::new(),
            life: 0,
            wake: None,
            idle_wakes: 0,
            open: BTreeSet::new(),
        }
    }

    /// How a pull ended, if it did.
    pub fn end(&self, pull: u64) -> Option<&Report> {
        let ends = |report: &Report| matches!(report, Report::Done { .. } | Report::Failed { .. });
        self.reports.iter().find(|(id, report)| *id == PullId(pull) && ends(report)).map(|(_, report)| report)
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay with: LIGHTER_FLEET_SEED={} cargo test -p lighter-engine", self.seed);
        }
    }
}

/// The seeds to try: the one in the environment, or the first `count`.
#[expect(clippy::disallowed_methods, reason = "the environment names the one seed to replay")]
pub fn seeds(count: u64) -> Vec<u64> {
    let one = std::env::var("LIGHTER_FLEET_SEED").ok().and_then(|text| text.parse().ok());
    one.map_or_else(|| (1..=count).collect(), |seed| vec![seed])
}

/// A request for a whole layer or a patch, as a peer would send it.
pub fn request(target: DiffId, bases: &[DiffId]) -> PatchRequest {
    PatchRequest { target, bases: bases.to_vec(), have: None, resume: None, referable: None }
}
