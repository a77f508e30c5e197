//! The strategies that fleets use today, beside ours.
//!
//! A pull is one flow of bytes over the same links: from the registry, from a node of the same site, or from a hub. It
//! goes over TCP with the kernel's default congestion control. The strategies plan nothing and ask nothing: each knows
//! at once what it needs to know. They go through the same power cuts, partitions and losses of hubs as the engines do
//! (`Run::perform_happening`): the flow of a node that goes off is lost and begins again, a flow over a cut uplink
//! waits. They have no part in the flaws of nodes (`faults.rs`).

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use lighter_types::{DiffId, broken};

use crate::congestion::{CUBIC, Pace};
use crate::content::{Content, Cost, layer_id};
use crate::faults::Happening;
use crate::links::Links;
use crate::network::{Flow, Network, Path};
use crate::queue::Micros;
use crate::report::{StrategyReport, Times};
use crate::scenario::Scenario;
use crate::strategy::Strategy;
use crate::topology::Topology;

/// The events of the queue. An attempt that is over has no more events.
enum Due {
    Begin(usize),
    Piece {
        pull: usize,
        attempt: u64,
        bytes: u64,
    },
    Done {
        pull: usize,
        attempt: u64,
    },
    Happens(usize),
    /// An uplink that was away since then is in use again.
    Reopened {
        site: usize,
        since: Micros,
    },
}

/// The progress of a pull.
#[derive(Clone, Default)]
struct Pull {
    is_wanted: bool,
    is_done: bool,
    /// Grows with each loss of the flow: pieces of an earlier attempt are lost.
    attempt: u64,
    /// Its bytes, over a connection of their own.
    flow: Option<(Flow, Pace)>,
}

impl Pull {
    fn may_begin(&self) -> bool {
        self.is_wanted && !self.is_done && self.flow.is_none()
    }
}

/// The node that brings an image into a site.
struct Bringing {
    node: usize,
    /// The pulls that wait for the image; absent once it is there.
    waiting: Option<Vec<usize>>,
}

struct Run<'a> {
    topology: &'a Topology,
    content: Content,
    strategy: Strategy,
    network: Network<Due>,
    links: Links,
    pulls: Vec<Pull>,
    is_off: Vec<bool>,
    /// By site: since when its uplink is away.
    cut_since: Vec<Option<Micros>>,
    retries: u64,
    /// By site and image.
    bringing: BTreeMap<(usize, usize), Bringing>,
    /// By target and base: the moment at which the central server has made the patch.
    made: BTreeMap<(DiffId, Option<DiffId>), Micros>,
    /// The moment from which the central server can make the next patch.
    encoder_free: Micros,
    times: Times,
    /// The layers that the nodes of each table `[[sites]]` hold from the beginning.
    held: Vec<Vec<DiffId>>,
}

/// `progress` is called each time that so many events passed.
const PROGRESS_EVENTS: u64 = 65_536;

/// Runs a strategy other than ours; `None` if the scenario has no figures for it.
pub fn run(
    scenario: &Scenario,
    topology: &Topology,
    strategy: Strategy,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Option<StrategyReport> {
    if strategy == Strategy::Chunks && scenario.patches.iter().any(|patch| patch.chunks.is_none()) {
        return None;
    }
    let mut run = Run::new(scenario, topology, strategy);
    let mut is_partial = false;
    while run.times.ended.len() < topology.pulls.len()
        && let Some(due) = run.network.next()
    {
        if run.network.now > scenario.ends_after.micros() {
            break;
        }
        if run.network.events.is_multiple_of(PROGRESS_EVENTS) && progress(run.network.now / 1000).is_break() {
            is_partial = true;
            break;
        }
        run.happen(due);
    }
    Some(StrategyReport { is_partial, ..run.report() })
}

impl<'a> Run<'a> {
    /// A run with its timetable in the queue.
    fn new(scenario: &Scenario, topology: &'a Topology, strategy: Strategy) -> Self {
        let mut network = Network::new(topology.pulls.len());
        let links = Links::new(topology, &mut network);
        for (index, (at, _)) in topology.happenings.iter().enumerate() {
            network.due(*at, Due::Happens(index));
        }
        for (index, pull) in topology.pulls.iter().enumerate() {
            network.due(pull.at, Due::Begin(index));
        }
        let mut held = Vec::new();
        for sites in &scenario.sites {
            let images = scenario.images.iter().filter(|image| sites.holds.contains(&image.name));
            held.push(images.flat_map(|image| &image.layers).map(|layer| layer_id(layer)).collect());
        }
        Self {
            topology,
            content: Content::new(scenario),
            strategy,
            network,
            links,
            pulls: vec![Pull::default(); topology.pulls.len()],
            is_off: vec![false; topology.nodes.len()],
            cut_since: vec![None; topology.sites.len()],
            retries: 0,
            bringing: BTreeMap::new(),
            made: BTreeMap::new(),
            encoder_free: 0,
            times: Times::default(),
            held,
        }
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Begin(pull) => {
                self.pulls[pull].is_wanted = true;
                self.begin(pull);
            }
            Due::Piece { pull, attempt, bytes } if self.pulls[pull].attempt == attempt => self.piece(pull, bytes),
            Due::Done { pull, attempt } if self.pulls[pull].attempt == attempt => self.done(pull),
            Due::Piece { .. } | Due::Done { .. } => {}
            Due::Happens(index) => self.perform_happening(self.topology.happenings[index].1),
            Due::Reopened { site, since } => self.reopen(site, since),
        }
    }

    /// Bytes of a pull arrive. When all are there, half of the longest application is left to do.
    fn piece(&mut self, pull: usize, bytes: u64) {
        let Some((flow, _)) = &mut self.pulls[pull].flow else { return broken("a piece of a pull without a flow") };
        flow.take(bytes);
        if flow.is_done() {
            let apply = self.costs(pull).iter().map(|(_, cost)| cost.apply).max().unwrap_or_default() / 2;
            let attempt = self.pulls[pull].attempt;
            self.network.due(self.network.now + apply, Due::Done { pull, attempt });
        } else {
            self.pump(pull);
        }
    }

    fn perform_happening(&mut self, happening: Happening) {
        match happening {
            Happening::Off(node) => {
                self.is_off[node] = true;
                self.lose_flows(|run, pull| run.topology.pulls[pull].node == node || run.source(pull) == Some(node));
                self.hand_over(node);
            }
            Happening::On(node) => {
                self.is_off[node] = false;
                self.begin_again(|run, pull| run.topology.pulls[pull].node == node);
            }
            Happening::Cut(site) => self.cut_since[site] = Some(self.network.now),
            Happening::Percent(percent) => self.links.throttle(self.topology, &mut self.network, percent),
            Happening::Loses(site, loss) => {
                let loss_ppm = loss.map_or(self.topology.sites[site].uplink.loss_ppm, |loss| loss.ppm);
                self.links.set_loss(&mut self.network, site, loss_ppm);
            }
            Happening::Healed(site) => {
                let Some(since) = self.cut_since[site] else { return };
                let path = self.links.registry_path(self.topology, self.topology.sites[site].nodes.start);
                let silence = CUBIC.silence_after(self.network.now - since, &self.network.route(path));
                self.network.due(self.network.now + silence, Due::Reopened { site, since });
            }
        }
    }

    /// Flows go on over an uplink, unless it went away once more. Their senders find it with the next probe, and begin
    /// as new ones do.
    fn reopen(&mut self, site: usize, since: Micros) {
        if self.cut_since[site].take_if(|cut| *cut == since).is_none() {
            return;
        }
        let nodes = self.topology.sites[site].nodes.clone();
        for pull in (0..self.pulls.len()).filter(|pull| nodes.contains(&self.topology.pulls[*pull].node)) {
            if let Some((_, pace)) = &mut self.pulls[pull].flow {
                *pace = Pace::new(CUBIC);
            }
            self.pump(pull);
        }
    }

    /// Some flows are lost. Their pulls begin again if their node is on.
    fn lose_flows(&mut self, is_lost: impl Fn(&Self, usize) -> bool) {
        let flowing = (0..self.pulls.len()).filter(|&pull| self.pulls[pull].flow.is_some());
        let lost: Vec<usize> = flowing.filter(|&pull| is_lost(self, pull)).collect();
        for &pull in &lost {
            self.retries += 1;
            self.pulls[pull].attempt += 1;
            self.pulls[pull].flow = None;
        }
        self.begin_again(|_, pull| lost.contains(&pull));
    }

    /// Begins the pulls among these that are wanted, not done and without a flow.
    fn begin_again(&mut self, are: impl Fn(&Self, usize) -> bool) {
        let open = (0..self.pulls.len()).filter(|&pull| self.pulls[pull].may_begin());
        let pulls: Vec<usize> = open.filter(|&pull| are(self, pull)).collect();
        pulls.into_iter().for_each(|pull| self.begin(pull));
    }

    /// Another node brings the images that a node which is gone was to bring into its site.
    fn hand_over(&mut self, node: usize) {
        let of_node = self.bringing.iter().filter(|(_, bringing)| bringing.node == node);
        let orphaned: Vec<(usize, usize)> = of_node.map(|(&key, _)| key).collect();
        for key in orphaned {
            let waiting = self.bringing.remove(&key).and_then(|bringing| bringing.waiting).unwrap_or_default();
            waiting.into_iter().for_each(|pull| self.begin(pull));
        }
    }

    /// The hub that patches come from, under a central server.
    fn source(&self, pull: usize) -> Option<usize> {
        let site = self.topology.nodes[self.topology.pulls[pull].node].site;
        (self.strategy == Strategy::CentralDelta).then(|| site.map_or(0, |site| self.topology.sites[site].hub))
    }

    fn begin(&mut self, pull: usize) {
        let wanted = self.topology.pulls[pull];
        if self.is_off[wanted.node] || self.pulls[pull].flow.is_some() || self.pulls[pull].is_done {
            return;
        }
        let bytes = self.bytes(pull);
        let path = match (self.strategy, self.topology.nodes[wanted.node].site) {
            (Strategy::Swarm, Some(site)) => match self.bringing.get_mut(&(site, wanted.image)) {
                None => {
                    let bringing = Bringing { node: wanted.node, waiting: Some(Vec::new()) };
                    self.bringing.insert((site, wanted.image), bringing);
                    self.links.registry_path(self.topology, wanted.node)
                }
                Some(Bringing { node, .. }) if *node == wanted.node => {
                    self.links.registry_path(self.topology, wanted.node)
                }
                Some(Bringing { waiting: Some(waiting), .. }) => return waiting.push(pull),
                Some(Bringing { node, waiting: None }) => self.links.path(self.topology, *node, wanted.node),
            },
            (Strategy::CentralDelta, _) => {
                let ready = self.make(pull);
                if ready > self.network.now {
                    return self.network.due(ready, Due::Begin(pull));
                }
                // Without a hub the pull waits for ever.
                let first = self.source(pull).unwrap_or_default();
                let hubs = (0..self.topology.hubs).map(|step| (first + step) % self.topology.hubs);
                let Some(hub) = hubs.into_iter().find(|hub| !self.is_off[*hub]) else { return };
                self.links.path(self.topology, hub, wanted.node)
            }
            (Strategy::Registry | Strategy::Chunks | Strategy::Lighter, _) | (Strategy::Swarm, None) => {
                self.links.registry_path(self.topology, wanted.node)
            }
        };
        self.start(pull, path, bytes);
    }

    fn start(&mut self, pull: usize, path: Path, bytes: u64) {
        let attempt = self.pulls[pull].attempt;
        if bytes == 0 {
            return self.network.due(self.network.now, Due::Done { pull, attempt });
        }
        let pace = Pace::new(CUBIC);
        self.pulls[pull].flow = Some((Flow::new(&self.network, &pace, path, bytes), pace));
        self.pump(pull);
    }

    /// Sends more, unless the site is cut off.
    fn pump(&mut self, pull: usize) {
        let site = self.topology.nodes[self.topology.pulls[pull].node].site;
        let state = &mut self.pulls[pull];
        let attempt = state.attempt;
        let is_cut = site.is_some_and(|site| self.cut_since[site].is_some());
        if let Some((flow, pace)) = state.flow.as_mut().filter(|(flow, _)| !(is_cut && flow.path.is_far())) {
            flow.pump(&mut self.network, pace, u64::MAX, |bytes| Due::Piece { pull, attempt, bytes });
        }
    }

    fn done(&mut self, pull: usize) {
        let wanted = self.topology.pulls[pull];
        self.times.ended.push((wanted.at, self.network.now, pull));
        (self.pulls[pull].flow, self.pulls[pull].is_done) = (None, true);
        let Some(site) = self.topology.nodes[wanted.node].site else { return };
        let Some(bringing) = self.bringing.get_mut(&(site, wanted.image)) else { return };
        let waiting = bringing.waiting.take().unwrap_or_default();
        waiting.into_iter().for_each(|other| self.begin(other));
    }

    /// The moment at which the central server has made all patches of a pull. It makes each once, one after the other.
    fn make(&mut self, pull: usize) -> Micros {
        let mut ready = 0;
        for (target, cost) in self.costs(pull) {
            let base = self.content.cheapest(target, self.held_by(pull)).0;
            let now = self.network.now;
            let free = &mut self.encoder_free;
            let made = self.made.entry((target, base)).or_insert_with(|| {
                *free = (*free).max(now) + cost.encode;
                *free
            });
            ready = ready.max(*made);
        }
        ready
    }

    fn held_by(&self, pull: usize) -> Vec<DiffId> {
        let site = self.topology.nodes[self.topology.pulls[pull].node].site;
        site.map_or_else(Vec::new, |site| self.held[self.topology.sites[site].group].clone())
    }

    /// The layers that a pull is for and the node lacks, with the cost of what this strategy sends of each.
    fn costs(&self, pull: usize) -> Vec<(DiffId, Cost)> {
        let held = self.held_by(pull);
        let image = &self.content.images[self.topology.pulls[pull].image];
        let missing = image.layers.iter().filter(|layer| !held.contains(layer));
        missing.map(|&layer| (layer, self.cost(layer, &held))).collect()
    }

    /// The cost of what this strategy sends of a layer to a node that holds these.
    fn cost(&self, layer: DiffId, held: &[DiffId]) -> Cost {
        match self.strategy {
            Strategy::Registry | Strategy::Swarm => self.content.whole(layer),
            Strategy::CentralDelta | Strategy::Chunks | Strategy::Lighter => {
                self.content.cheapest(layer, held.iter().copied()).1
            }
        }
    }

    fn bytes(&self, pull: usize) -> u64 {
        let bytes = self.costs(pull).into_iter().map(|(_, cost)| match self.strategy {
            Strategy::Chunks => cost.chunks.unwrap_or(cost.bytes),
            Strategy::Registry | Strategy::Swarm | Strategy::CentralDelta | Strategy::Lighter => cost.bytes,
        });
        bytes.sum()
    }

    fn report(self) -> StrategyReport {
        let began = self.topology.pulls.iter().map(|pull| pull.at).min().unwrap_or_default();
        let (counts, pulls) = (&self.network.counts, self.topology.pulls.len());
        let events = self.network.events;
        let report = StrategyReport::new(self.strategy, counts, &self.times, pulls, began);
        StrategyReport { events, retries: self.retries, ..report }
    }
}
