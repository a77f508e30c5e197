//! The fleet of real engines: what they ask for is done in virtual time, and what comes of it is told to them.
//!
//! Held in every step: an effect that wants an answer gets one; fetches and encodes stay under their caps; a wake moment lies
//! ahead; what is committed is complete, and none of it came from a node that sends wrong bytes. What breaks this is
//! noted in the report.

mod due;
mod effects;
mod events;
mod life;
mod meetings;
mod outcome;
mod streams;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use lighter_engine::{
    AskFailure, AskId, CachedPatch, Effect, Engine, Input, LocalFailure, Open, OperatorInput, Pace, Part, PeerInput,
    PullId, QuestionId, Report, Rule, Settings, StreamId, Wanted, WorkInput,
};
use lighter_similarity::Calibration;
use lighter_types::{Bytes, DiffId, ImageReference, Moment, OciDigest, PatchId, PeerId};
use lighter_wire::SignedRelease;

use crate::content::Content;
use crate::network::{Micros, Network};
use crate::random::Random;
use crate::report::{StrategyReport, Times};
use crate::scenario::Scenario;
use crate::topology::{Links, Topology};
use due::Due;
use streams::Stream;

/// Progress is told each time that so many events passed.
pub const PROGRESS_EVENTS: u64 = 16_384;
/// Violations that a report tells.
const VIOLATIONS_MAX: usize = 10;

/// What survives a restart.
#[derive(Default)]
struct Disk {
    layers: BTreeSet<DiffId>,
    patches: BTreeMap<PatchId, CachedPatch>,
    parts: BTreeMap<DiffId, Part>,
    blobs: BTreeSet<OciDigest>,
    releases: BTreeMap<ImageReference, Box<SignedRelease>>,
    calibrations: BTreeMap<(Rule, u32), Calibration>,
    pace: Option<Pace>,
    /// Pulls that were acknowledged and not ended.
    pulls: BTreeSet<usize>,
}

struct Node {
    engine: Engine,
    disk: Disk,
    is_online: bool,
    life: u32,
    wake: Option<Moment>,
    open: BTreeSet<Open>,
}

struct Fleet<'a> {
    scenario: &'a Scenario,
    topology: &'a Topology,
    content: Content,
    network: Network<Due>,
    links: Links,
    nodes: Vec<Node>,
    /// The hub of each site, and the nodes that each hub is connected to beside other hubs.
    hub_of: Vec<usize>,
    members: Vec<Vec<usize>>,
    is_cut: Vec<bool>,
    /// Connections between nodes that were referred to each other, by either end.
    met: BTreeMap<usize, BTreeSet<usize>>,
    /// Who tries to connect, in which life, to whom.
    dialing: BTreeSet<(usize, u32, usize)>,
    streams: BTreeMap<StreamId, Stream>,
    /// Streams by each of their ends.
    streams_of: BTreeMap<usize, BTreeSet<StreamId>>,
    questions: BTreeMap<QuestionId, (usize, u32, AskId)>,
    next: u64,
    /// Empty between steps.
    effects: Vec<Effect>,
    /// Empty ones, for what will be due: most of what a fleet allocates.
    #[expect(clippy::vec_box, reason = "the boxes are what is kept")]
    boxes: Vec<Box<Input>>,
    random: Random,
    log: blake3::Hasher,
    times: Times,
    /// When the last pull of each site was done.
    site_ended: Vec<Micros>,
    ended: Vec<bool>,
    left: usize,
    failed: u64,
    retries: u64,
    talk_bytes: u64,
    /// Bytes of patches that hubs sent.
    hub_stream_bytes: u64,
    /// The longest that making a patch of each layer took.
    encodes: BTreeMap<DiffId, Micros>,
    violations: Vec<String>,
}

/// Runs the fleet until every pull ended, or until the scenario's end.
pub fn run(
    scenario: &Scenario,
    topology: &Topology,
    seed: u64,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> StrategyReport {
    let mut fleet = Fleet::new(scenario, topology, seed);
    fleet.start();
    let mut is_partial = false;
    while fleet.left > 0 {
        let Some(due) = fleet.network.next() else { break };
        if fleet.network.now > scenario.ends_after.micros() {
            break;
        }
        if fleet.network.events.is_multiple_of(PROGRESS_EVENTS) && progress(fleet.network.now / 1000).is_break() {
            is_partial = true;
            break;
        }
        fleet.happen(due);
    }
    fleet.report(is_partial)
}

/// A node's name: not in the order of the nodes, as keys are not.
fn peer(node: usize) -> PeerId {
    let mut id = [0x5a; 32];
    id[..8].copy_from_slice(&(node as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    id[8..16].copy_from_slice(&(node as u64).to_le_bytes());
    PeerId::new(id)
}

fn node_of(peer: PeerId) -> usize {
    peer.as_bytes()[8..16].iter().rev().fold(0, |sum, &byte| sum << 8 | usize::from(byte))
}

impl<'a> Fleet<'a> {
    fn new(scenario: &'a Scenario, topology: &'a Topology, seed: u64) -> Self {
        let mut network = Network::new(topology.pulls.len());
        let links = topology.links(&mut network);
        let mut members = vec![Vec::new(); topology.hubs];
        for site in &topology.sites {
            members[site.hub].extend(site.nodes.clone());
        }
        let mut fleet = Self {
            scenario,
            topology,
            content: Content::new(scenario),
            network,
            links,
            nodes: Vec::new(),
            hub_of: topology.sites.iter().map(|site| site.hub).collect(),
            members,
            is_cut: vec![false; topology.sites.len()],
            met: BTreeMap::new(),
            dialing: BTreeSet::new(),
            streams: BTreeMap::new(),
            streams_of: BTreeMap::new(),
            questions: BTreeMap::new(),
            next: 0,
            effects: Vec::new(),
            boxes: Vec::new(),
            random: Random::new(seed ^ 0x5111),
            log: blake3::Hasher::new(),
            times: Times::default(),
            site_ended: vec![0; topology.sites.len()],
            ended: vec![false; topology.pulls.len()],
            left: topology.pulls.len(),
            failed: 0,
            retries: 0,
            talk_bytes: 0,
            hub_stream_bytes: 0,
            encodes: BTreeMap::new(),
            violations: Vec::new(),
        };
        fleet.nodes = (0..topology.nodes.len()).map(|node| fleet.node(node, seed)).collect();
        fleet
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Wake(node) => {
                let now = self.now();
                let this = &mut self.nodes[node];
                if this.is_online && this.wake.is_some_and(|wake| wake <= now) {
                    this.wake = None;
                    self.step(node, Input::Tick);
                }
            }
            Due::Input { node, life, input } => {
                let input = self.unboxed(input);
                if self.nodes[node].life == life {
                    self.step(node, input);
                }
            }
            Due::Late { from, to, bytes, input } => {
                let input = self.unboxed(input);
                self.tell(from, to, bytes, input);
            }
            Due::Question { to, from, life, ask, request } if self.nodes[to].is_online => {
                let question = QuestionId(self.fresh());
                self.questions.insert(question, (from, life, ask));
                self.step(to, Input::Peer(PeerInput::Asked { question, from: peer(from), request: *request }));
            }
            Due::Question { .. } => {}
            Due::AskTimeout { node, life, ask } if self.nodes[node].life == life => {
                self.step(node, Input::Work(WorkInput::Answered { ask, answer: Err(AskFailure::Unreachable) }));
            }
            Due::AskTimeout { .. } => {}
            Due::Opened(stream) => self.opened(stream),
            Due::Piece { stream, bytes } => self.piece(stream, bytes),
            Due::Applied(stream) => self.applied(stream),
            Due::DiskFull(stream) => {
                let (path, needed, free) = ("/data".into(), Bytes::MIB, Bytes::ZERO);
                self.end_stream(stream, Err(LocalFailure::DiskFull { path, needed, free }.into()));
            }
            Due::Begin(pull) => self.begin(pull),
            Due::Happens(index) => self.befall(self.topology.happenings[index].1),
            Due::Noticed { node, life } if self.nodes[node].life == life && !self.nodes[node].is_online => {
                self.notice(node);
            }
            Due::Noticed { .. } => {}
            Due::CutNoticed(site) => self.notice_cut(site),
            Due::Dialed { from, life, to } => self.dialed(from, life, to),
            Due::Answered { from, life, to } => self.answered(from, life, to),
            Due::Met { from, life, to } => self.meet(from, life, to),
            Due::Idle { one, other } => self.idle(one, other),
        }
    }

    /// A node that is off begins when it is on.
    fn begin(&mut self, pull: usize) {
        let wanted = self.topology.pulls[pull];
        let node = wanted.node;
        self.nodes[node].disk.pulls.insert(pull);
        if self.nodes[node].is_online {
            self.pull(pull);
        }
    }

    fn pull(&mut self, pull: usize) {
        let wanted = self.topology.pulls[pull];
        // Checked when the scenario was read.
        let Ok(reference) = self.scenario.images[wanted.image].name.parse::<ImageReference>() else { return };
        let known = self.nodes[wanted.node].disk.releases.get(&reference).map(|known| (**known).clone());
        let wanted_image = Wanted::Name { reference, known };
        self.step(
            wanted.node,
            Input::Operator(OperatorInput::PullAsked { pull: PullId(pull as u64), wanted: wanted_image }),
        );
    }

    /// One step of one engine, its effects, and what must hold then.
    fn step(&mut self, node: usize, input: Input) {
        if let Some(answered) = Open::answered(&input)
            && !self.nodes[node].open.remove(&answered)
        {
            // The second answer to a question came after its timeout.
            if !matches!(answered, Open::Ask(_)) {
                self.violation(node, &format!("{answered:?} was answered twice"));
            }
            return;
        }
        let now = self.now();
        let mut effects = std::mem::take(&mut self.effects);
        self.nodes[node].engine.step(now, input, &mut effects);
        for effect in effects.drain(..) {
            self.note(node, &effect);
            self.perform(node, effect);
        }
        self.effects = effects;
    }

    /// An operator learns of a pull.
    fn heard(&mut self, node: usize, pull: PullId, report: &Report) {
        let index = pull.0 as usize;
        match report {
            Report::Retrying { .. } => self.retries += 1,
            Report::Done { .. } => {
                self.times.ended.push((self.topology.pulls[index].at, self.network.now, index));
                if let Some(site) = self.topology.nodes[node].site {
                    self.site_ended[site] = self.network.now;
                }
                self.end(node, index);
            }
            Report::Failed { .. } => {
                self.failed += 1;
                self.nodes[node].disk.pulls.remove(&index);
                let at = self.network.now + self.topology.pulls[index].again.max(1_000_000);
                self.network.due(at, Due::Begin(index));
            }
            _ => {}
        }
    }

    fn end(&mut self, node: usize, pull: usize) {
        self.nodes[node].disk.pulls.remove(&pull);
        if std::mem::replace(&mut self.ended[pull], true) {
            self.violation(node, "a pull ended twice");
        } else {
            self.left -= 1;
        }
    }

    fn violation(&mut self, node: usize, what: &str) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(format!("after {} ms, node {node}: {what}", self.network.now / 1000));
        }
    }

    fn now(&self) -> Moment {
        // Not from 0: an engine may look back.
        Moment(1_000_000 + self.network.now / 1000)
    }

    /// The network's time of one of the engine's moments.
    fn micros(at: Moment) -> Micros {
        at.0.saturating_sub(1_000_000).saturating_mul(1000)
    }

    fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The nodes that a node is connected to while all are well: those of its site and its hub; of a hub, all whose hub it
    /// is, and the other hubs.
    fn neighbours(&self, node: usize) -> Vec<usize> {
        match self.topology.nodes[node].site {
            Some(site) => {
                let mates = self.topology.sites[site].nodes.clone().filter(|mate| *mate != node);
                std::iter::once(self.hub_of[site]).chain(mates).collect()
            }
            None => {
                let others = (0..self.topology.hubs).filter(|other| *other != node);
                others.chain(self.members[node].iter().copied()).collect()
            }
        }
    }

    fn is_reachable(&self, from: usize, to: usize) -> bool {
        let sites = [from, to].map(|node| self.topology.nodes[node].site);
        sites[0] == sites[1] || sites.into_iter().flatten().all(|site| !self.is_cut[site])
    }

    /// Settings of a node, of its place and seed.
    fn settings(&self, node: usize, seed: u64) -> Settings {
        let mut settings = Settings {
            incarnation: lighter_wire::Incarnation(1_000),
            seed: seed.wrapping_mul(1_000_003).wrapping_add(node as u64),
            effort: self.scenario.effort.choice(),
            ..Settings::default()
        };
        if let Some(site) = self.topology.nodes[node].site {
            settings.site = format!("site-{site}").parse().ok();
            settings.uplink_rate = lighter_types::BytesPerSecond(self.topology.sites[site].rate);
            settings.upload_max = self.scenario.sites[self.topology.sites[site].group]
                .upload
                .map(|_| self.topology.sites[site].up_rate)
                .map(lighter_types::BytesPerSecond);
            settings.passes_on = self.topology.sites[site].passes_on;
        }
        settings
    }
}
