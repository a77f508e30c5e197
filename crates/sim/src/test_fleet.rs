//! The virtual fleet as tests see it: build a fleet, schedule, break things, look inside.
//!
//! A [`TestFleet`] is the fleet that scenarios run on, with real engines, links and disks. Node 0 is a hub that is connected
//! to all others; each site has a slow link to itself and a latency of its own. A test puts layers on disks, starts
//! the fleet, gives engines inputs, and lets time pass. It may break nodes ([`TestFleet::kill`]), give them flaws
//! ([`TestFleet::add_flaw`]), lose messages and end streams. Afterwards it looks at engines, disks, streams and at what each
//! node did ([`Seen`]).
//!
//! Two things differ from a scenario. Announcements reach all nodes, as if gossip were passed on. And every violation of
//! the engine's contract (`fleet.rs`) fails the test at once.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;

use lighter_engine::{Effect, Engine, FetchFailure, Input, Open, OperatorInput, PullId, Report, Settings, StreamId};
use lighter_types::{Bytes, Card, DiffId, Effort, ImageReference, Moment, OciDigest, PeerId};
use lighter_wire::{Announcement, Incarnation, Release, Request, SignedRelease};

pub use crate::content::Blocks;
use crate::content::{Content, Cost, ImageContent};
pub use crate::faults::{Flaw, Liar, NoRoom, Stalling};
use crate::fleet::due::Due;
use crate::fleet::node::Node;
pub use crate::fleet::node::{Disk, node_of, peer};
use crate::fleet::pulls::{Goal, Pull};
use crate::fleet::trouble::Trouble;
use crate::fleet::{Fleet, gossip_bytes};
use crate::queue::Micros;
use crate::random::Random;
use crate::scenario::Gossip;
use crate::topology::Topology;

/// Bytes a second of the link to each node, until a test says otherwise.
const RATE: u64 = 1_250_000;
/// One way between the hub and a node; each node draws its own.
const LATENCY: (Micros, Micros) = (10_000, 40_000);
/// Making a patch of a layer, and applying it: bytes of the layer a second.
const ENCODE_RATE: u64 = 20_000_000;
const APPLY_RATE: u64 = 200_000_000;
/// The layer over its patch from a layer of the same family.
const FAMILY_SAVES: u64 = 40;
/// Until announcements and questions have settled after the start.
const SETTLING: Duration = Duration::from_secs(5);
/// Pulls that take longer never end.
const PULLS_TAKE_MAX: Duration = Duration::from_secs(3600);

pub struct TestFleet {
    fleet: Fleet,
    seed: u64,
    /// The tests' numbers of pulls, by node.
    pulls: BTreeMap<(usize, u64), PullId>,
    seen: Vec<Seen>,
}

/// What a node did since the test began.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub reports: Vec<(PullId, Report)>,
    pub announced: Vec<Announcement>,
    pub asked: Vec<Request>,
    pub encodes: usize,
    pub served: usize,
    pub referred: usize,
    /// Answers with a manifest.
    pub manifests_sent: usize,
    pub cut_off: Vec<PeerId>,
}

/// A stream as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamView {
    pub id: StreamId,
    pub from: usize,
    pub to: usize,
    /// Frames that the requester had before, and has now; absent until the provider sends.
    pub frames: Option<(u32, u32)>,
}

/// Building a fleet.
impl TestFleet {
    /// A fleet of `count` nodes, each in a site of its own. Beside the hub, each node is connected to up to `neighbours`
    /// others, drawn from the seed.
    pub fn new(seed: u64, count: usize, neighbours: usize, settings: &Settings) -> Self {
        let mut fleet = Self::with_sites(seed, &vec![1; count.saturating_sub(1)], settings);
        let mut random = Random::new(seed);
        for node in 1..count {
            for _ in 0..neighbours {
                let other = random.below(count as u64) as usize;
                if other != node && other != 0 {
                    fleet.befriend(node, other);
                }
            }
        }
        fleet
    }

    /// A hub and sites with so many nodes each. The nodes of a site are connected and share its uplink; the names of sites
    /// in their settings are the test's business.
    pub fn with_sites(seed: u64, sites: &[usize], settings: &Settings) -> Self {
        let mut random = Random::new(seed);
        let mut latency = || LATENCY.0 + random.below(LATENCY.1 - LATENCY.0);
        let sites: Vec<(usize, Micros)> = sites.iter().map(|nodes| (*nodes, latency())).collect();
        let topology = Rc::new(Topology::star(&sites, RATE));
        let node = |node: usize| {
            let settings = Settings { seed: seed + node as u64, ..settings.clone() };
            Node::new(settings, Disk::default())
        };
        let nodes: Vec<Node> = (0..topology.nodes.len()).map(node).collect();
        let seen = vec![Seen::default(); nodes.len()];
        let trouble = Trouble::new(Gossip::default(), BTreeMap::new(), seed);
        let mut fleet = Fleet::new(topology, Content::default(), nodes, trouble, &[]);
        fleet.record.seen = Some(Vec::new());
        Self { fleet, seed, pulls: BTreeMap::new(), seen }
    }

    /// Connects two nodes; a fleet that runs learns of it when either starts.
    pub fn befriend(&mut self, one: usize, other: usize) {
        self.fleet.connections.befriend(one, other);
    }

    /// Connects every node to every other.
    pub fn befriend_all(&mut self) {
        for one in 1..self.len() {
            (1..one).for_each(|other| self.befriend(one, other));
        }
    }

    /// Gives a node a new engine with changed settings, as if the old one had never been. Its connections stay.
    pub fn change_settings(&mut self, node: usize, change: impl FnOnce(&mut Settings)) {
        let mut settings = self.engine(node).settings().clone();
        change(&mut settings);
        self.fleet.nodes[node].renew(settings);
    }

    /// Puts layers on the disk of a node. A running engine does not learn of it.
    pub fn put(&mut self, node: usize, layers: &[Card]) {
        for card in layers {
            self.add_layer(*card);
            self.fleet.nodes[node].disk.layers.insert(card.diff_id);
        }
    }

    /// Adds a layer to the world, with its patches from and to the layers of its family: those with the same first byte.
    fn add_layer(&mut self, card: Card) {
        let content = &mut self.fleet.content;
        if content.cards.contains_key(&card.diff_id) {
            return;
        }
        let family = |layer: &Card| layer.diff_id.as_bytes()[0] == card.diff_id.as_bytes()[0];
        let alike: Vec<Card> = content.cards.values().filter(|other| family(other)).copied().collect();
        content.add_layer(card);
        for other in alike {
            content.add_cost(card.diff_id, other.diff_id, family_cost(&card));
            content.add_cost(other.diff_id, card.diff_id, family_cost(&other));
        }
    }

    /// Says what a layer is made of.
    pub fn set_blocks(&mut self, layer: DiffId, blocks: Blocks) {
        self.fleet.content.made_of.insert(layer, blocks);
    }

    /// Puts an image of these layers on the disk of a node, with its release under `name`; returns its manifest.
    pub fn publish(&mut self, node: usize, name: &str, issued_s: u64, layers: &[Card]) -> OciDigest {
        let mut digest = [issued_s as u8; 32];
        digest[1] = node as u8;
        let (manifest, config) = (OciDigest::new(digest), OciDigest::new(digest.map(|byte| !byte)));
        let layer_ids = layers.iter().map(|card| card.diff_id).collect();
        self.fleet.content.images.push(ImageContent { manifest, config, documents: [0; 2], layers: layer_ids });
        self.put(node, layers);
        let reference = reference(name);
        let release = Release { reference: reference.clone(), manifest, issued_s };
        let signed = SignedRelease { release, publisher: peer(0), signature: [0; 64] };
        let disk = self.disk_mut(node);
        disk.blobs.extend([manifest, config]);
        disk.releases.insert(reference, Box::new(signed));
        manifest
    }

    /// The rate of the link to each node from now on.
    pub fn set_rate(&mut self, bytes_per_second: u64) {
        let wires = &mut self.fleet.wires;
        wires.links.set_down_rate(&mut wires.network, bytes_per_second);
    }
}

/// Scheduling.
impl TestFleet {
    /// Starts all nodes, and gives gossip and questions the time to settle.
    pub fn start(&mut self) {
        (0..self.len()).for_each(|node| self.boot(node));
        self.run(SETTLING);
    }

    /// Starts a node from its disk; pulls that did not end go on.
    pub fn boot(&mut self, node: usize) {
        self.fleet.boot(node);
        self.look();
    }

    /// The same under this incarnation, whatever those before were.
    pub fn boot_as(&mut self, node: usize, incarnation: Incarnation) {
        self.fleet.boot_as(node, incarnation);
        self.look();
    }

    /// A node pulls a name. `number` is the test's name of the pull, different for each pull of a node.
    pub fn pull(&mut self, node: usize, number: u64, name: &str) {
        self.begin(node, number, Goal::Name(Rc::new(reference(name))));
    }

    pub fn pull_manifest(&mut self, node: usize, number: u64, manifest: OciDigest) {
        self.begin(node, number, Goal::Manifest(manifest));
    }

    fn begin(&mut self, node: usize, number: u64, goal: Goal) {
        let pull = Pull { node, goal, at: self.fleet.wires.now(), again: None, is_ended: false };
        let pull = self.fleet.pulls.add(pull);
        let before = self.pulls.insert((node, number), PullId(pull as u64));
        assert!(before.is_none(), "node {node} has two pulls {number}");
        self.fleet.begin_pull(pull);
        self.look();
    }

    pub fn cancel(&mut self, node: usize, number: u64) {
        let pull = self.pulls[&(node, number)];
        self.step(node, Input::Operator(OperatorInput::PullCancelled(pull)));
    }

    /// Gives an engine an input now; its effects are performed.
    pub fn step(&mut self, node: usize, input: Input) {
        self.fleet.step(node, input);
        self.look();
    }

    /// Gives an engine an input now, and returns its effects but for `WakeAt`. They are not performed: nobody else hears.
    pub fn step_alone(&mut self, node: usize, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        let now = self.now();
        self.fleet.nodes[node].engine.step(now, input, &mut effects);
        effects.retain(|effect| !matches!(effect, Effect::WakeAt(_)));
        effects
    }

    /// Lets so much time pass.
    pub fn run(&mut self, time: Duration) {
        self.fleet.wires.after(time.as_micros() as u64, Due::Pause);
        while self.next().is_continue() {}
    }

    /// Lets time pass until no node that is online has a pull.
    pub fn run_pulls(&mut self) {
        let end = self.now() + PULLS_TAKE_MAX;
        self.run_until(|fleet| fleet.now() > end || !(0..fleet.len()).any(|node| fleet.is_pulling(node)));
        let left: Vec<usize> = (0..self.len()).filter(|&node| self.is_pulling(node)).collect();
        assert!(left.is_empty(), "pulls that never end at nodes {left:?}");
    }

    fn is_pulling(&self, node: usize) -> bool {
        self.is_online(node) && self.engine(node).pulls() > 0
    }

    /// Lets time pass until something is so.
    pub fn run_until(&mut self, is_so: impl Fn(&Self) -> bool) {
        while !is_so(self) {
            let _ = self.next();
        }
    }

    /// Lets the next event happen, unless it is a pause.
    fn next(&mut self) -> ControlFlow<()> {
        match self.fleet.wires.network.next() {
            None => unreachable!("an engine that runs has a timer"),
            Some(Due::Pause) => ControlFlow::Break(()),
            Some(due) => {
                self.fleet.happen(due);
                self.look();
                ControlFlow::Continue(())
            }
        }
    }
}

/// Breaking things.
impl TestFleet {
    /// The power of a node goes: nothing in memory survives. The other nodes notice at once.
    pub fn kill(&mut self, node: usize) {
        self.fleet.nodes[node].stop();
        self.fleet.notice(node);
        self.look();
    }

    pub fn add_flaw(&mut self, node: usize, flaw: impl Flaw + 'static) {
        self.fleet.trouble.add_flaw(node, Rc::new(flaw));
    }

    /// What gossip does to announcements from now on, in percent: those that are lost, repeated and late.
    pub fn set_gossip(&mut self, lost_percent: u64, repeated_percent: u64, late_percent: u64) {
        self.fleet.trouble.gossip = Gossip { lost_percent, repeated_percent, late_percent };
    }

    /// How many of all questions get lost from now on.
    pub fn lose_asks(&mut self, percent: u64) {
        self.fleet.trouble.asks_lost_percent = percent;
    }

    /// How many of the questions for sketches get lost from now on.
    pub fn lose_sketch_asks(&mut self, percent: u64) {
        self.fleet.trouble.sketch_asks_lost_percent = percent;
    }

    /// A stream breaks.
    pub fn break_stream(&mut self, id: StreamId) {
        self.fleet.end_stream(id, Err(FetchFailure::Lost));
        self.look();
    }

    /// Announces something in the name of a node.
    pub fn announce_as(&mut self, node: usize, announcement: &Announcement) {
        for other in (0..self.len()).filter(|other| *other != node) {
            self.gossip(node, other, announcement);
        }
    }

    fn gossip(&mut self, node: usize, other: usize, announcement: &Announcement) {
        if self.is_online(other) {
            self.fleet.gossip(node, other, gossip_bytes(announcement), announcement);
        }
    }
}

/// Looking inside.
impl TestFleet {
    /// Nodes, online or not.
    pub fn len(&self) -> usize {
        self.fleet.nodes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.fleet.nodes.is_empty()
    }

    /// The engines' time.
    pub fn now(&self) -> Moment {
        self.fleet.wires.moment()
    }

    /// Two runs with the same hash of all effects are one run.
    pub fn log_hash(&self) -> String {
        self.fleet.record.log_hash()
    }

    pub fn engine(&self, node: usize) -> &Engine {
        &self.fleet.nodes[node].engine
    }

    pub fn disk(&self, node: usize) -> &Disk {
        &self.fleet.nodes[node].disk
    }

    pub fn disk_mut(&mut self, node: usize) -> &mut Disk {
        &mut self.fleet.nodes[node].disk
    }

    pub fn is_online(&self, node: usize) -> bool {
        self.fleet.nodes[node].is_online
    }

    /// The nodes that a node has standing connections to.
    pub fn neighbours(&self, node: usize) -> Vec<usize> {
        self.fleet.neighbours(node)
    }

    /// The effects of a node that wait for their answer.
    pub fn open(&self, node: usize) -> impl Iterator<Item = Open> {
        self.fleet.nodes[node].open()
    }

    /// All streams, in the order in which they were opened.
    pub fn streams(&self) -> impl Iterator<Item = StreamView> {
        self.fleet.streams.all().map(|(id, stream)| {
            let frames = stream.sending.as_ref().map(|sending| {
                let [had, has] = [sending.had, sending.bytes_there()].map(|bytes| sending.part(bytes).frames);
                (had, has)
            });
            StreamView { id, from: stream.from.0, to: stream.to.0, frames }
        })
    }

    /// The bytes of the patch that an encoder makes of these bases at the effort *default*.
    pub fn patch_bytes(&self, target: DiffId, bases: &[DiffId]) -> Bytes {
        self.fleet.content.patch(target, bases, Effort::Default).0.bytes
    }

    /// What a node did.
    pub fn seen(&self, node: usize) -> &Seen {
        &self.seen[node]
    }

    /// How a pull ended, if it did.
    pub fn end(&self, node: usize, number: u64) -> Option<&Report> {
        let pull = self.pulls.get(&(node, number))?;
        let ends = |report: &Report| matches!(report, Report::Done { .. } | Report::Failed { .. });
        let mut reports = self.seen[node].reports.iter();
        reports.find(|(id, report)| id == pull && ends(report)).map(|(_, report)| report)
    }

    /// Takes in what engines asked for since the last look: passes announcements on, and fails at a violation.
    fn look(&mut self) {
        let violations = &self.fleet.record.violations;
        assert!(violations.is_empty(), "{violations:?}");
        let effects = self.fleet.record.seen.replace(Vec::new()).unwrap_or_default();
        for (node, effect) in effects {
            if let Effect::Announce(announcement) = &effect {
                let direct: BTreeSet<usize> = self.neighbours(node).into_iter().chain([node]).collect();
                for other in (0..self.len()).filter(|other| !direct.contains(other)) {
                    self.gossip(node, other, announcement);
                }
            }
            self.note(node, effect);
        }
    }

    fn note(&mut self, node: usize, effect: Effect) {
        let seen = &mut self.seen[node];
        match effect {
            Effect::Announce(announcement) => seen.announced.push(announcement),
            Effect::Report { pull, report } => seen.reports.push((pull, report)),
            Effect::Ask { request, .. } => seen.asked.push(request),
            Effect::CutOff { peer, .. } => seen.cut_off.push(peer),
            Effect::Encode { .. } => seen.encodes += 1,
            Effect::Serve { .. } => seen.served += 1,
            Effect::Refer { .. } => seen.referred += 1,
            Effect::AnswerFromStore { request: Request::Blob { digest, .. }, .. } => {
                seen.manifests_sent += usize::from(self.fleet.nodes[node].disk.blobs.contains(&digest));
            }
            Effect::AnswerFromStore { .. }
            | Effect::Answer { .. }
            | Effect::Working { .. }
            | Effect::Refuse { .. }
            | Effect::Connect(_)
            | Effect::StopFetch(_)
            | Effect::KeepCalibration { .. }
            | Effect::KeepPace(_)
            | Effect::WakeAt(_)
            | Effect::Fetch { .. }
            | Effect::ReadImage { .. }
            | Effect::KeepBlob { .. }
            | Effect::CommitImage { .. } => {}
        }
    }
}

impl Drop for TestFleet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("LIGHTER_FLEET_SEED={} cargo test -p lighter-sim --test engine shows it again", self.seed);
        }
    }
}

/// A name that a test writes.
fn reference(name: &str) -> ImageReference {
    match name.parse() {
        Ok(reference) => reference,
        Err(error) => unreachable!("{name:?} is no reference: {error}"),
    }
}

/// The cost of a patch of a layer from another of its family.
fn family_cost(target: &Card) -> Cost {
    let bytes = target.tar_bytes.0;
    Cost {
        bytes: bytes / FAMILY_SAVES,
        encode: bytes * 1_000_000 / ENCODE_RATE,
        apply: bytes * 1_000_000 / APPLY_RATE,
        chunks: None,
    }
}
