//! What fleets use today, as flows over the same links: no plans, no gossip, no faults but those of the links. Each is taken
//! at its best: what it needs to know, it knows at once.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use lighter_types::DiffId;

use crate::Strategy;
use crate::content::{Content, Cost};
use crate::network::{Flow, Micros, Network, Path};
use crate::report::{StrategyReport, Times, uplink_curve};
use crate::scenario::Scenario;
use crate::topology::{Happening, Links, Topology};

/// What comes of time passing.
enum Due {
    Begin(usize),
    Piece { pull: usize, bytes: u64 },
    Done(usize),
}

/// Who brings an image into a site, and the pulls that wait for that; none waits once it is there.
struct Bringing {
    node: usize,
    waiting: Option<Vec<usize>>,
}

struct Run<'a> {
    topology: &'a Topology,
    content: Content,
    strategy: Strategy,
    network: Network<Due>,
    links: Links,
    flows: Vec<Option<Flow>>,
    /// By site and image.
    bringing: BTreeMap<(usize, usize), Bringing>,
    /// By target and base: when the central server has made the patch.
    made: BTreeMap<(DiffId, Option<DiffId>), Micros>,
    /// When the central server is free to make the next.
    encoder_free: Micros,
    begins: Vec<Micros>,
    times: Times,
    held: Vec<Vec<DiffId>>,
}

/// Runs a strategy; `None` if the scenario has no figures for it.
pub fn run(
    scenario: &Scenario,
    topology: &Topology,
    strategy: Strategy,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Option<StrategyReport> {
    if strategy == Strategy::Chunks && scenario.patches.iter().any(|patch| patch.chunks.is_none()) {
        return None;
    }
    let mut network = Network::new(topology.pulls.len());
    let links = topology.links(&mut network);
    let held = scenario.sites.iter().map(|sites| {
        let images = scenario.images.iter().filter(|image| sites.holds.contains(&image.name));
        images
            .flat_map(|image| &image.layers)
            .map(|name| DiffId::new(*blake3::hash(name.as_bytes()).as_bytes()))
            .collect()
    });
    let mut run = Run {
        topology,
        content: Content::new(scenario),
        strategy,
        network,
        links,
        flows: vec![None; topology.pulls.len()],
        bringing: BTreeMap::new(),
        made: BTreeMap::new(),
        encoder_free: 0,
        begins: topology.pulls.iter().map(|pull| pull.at).collect(),
        times: Times::default(),
        held: held.collect(),
    };
    run.wait_for_power();
    for (index, &at) in run.begins.iter().enumerate() {
        run.network.due(at, Due::Begin(index));
    }
    let mut is_partial = false;
    while let Some(due) = run.network.next() {
        if run.network.now > scenario.ends_after.micros() {
            break;
        }
        if run.network.events.is_multiple_of(65_536) && progress(run.network.now / 1000).is_break() {
            is_partial = true;
            break;
        }
        run.happen(due);
    }
    Some(run.report(is_partial))
}

impl Run<'_> {
    /// A node that is off when it should begin begins when it is on again.
    fn wait_for_power(&mut self) {
        for (pull, begins) in self.topology.pulls.iter().zip(&mut self.begins) {
            let mut off = false;
            for (at, happening) in &self.topology.happenings {
                match happening {
                    Happening::Off(node) if *node == pull.node && *at <= *begins => off = true,
                    Happening::On(node) if *node == pull.node && *at <= *begins => off = false,
                    Happening::On(node) if *node == pull.node && off => {
                        *begins = *at;
                        break;
                    }
                    _ => {}
                }
            }
        }
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Begin(pull) => self.begin(pull),
            Due::Piece { pull, bytes } => {
                let Some(flow) = &mut self.flows[pull] else { return };
                flow.take(bytes);
                flow.pump(&mut self.network, u64::MAX, |bytes| Due::Piece { pull, bytes });
                if flow.is_done() {
                    let apply = self.costs(pull).iter().map(|(_, cost)| cost.apply).max().unwrap_or_default() / 2;
                    self.network.due(self.network.now + apply, Due::Done(pull));
                }
            }
            Due::Done(pull) => self.done(pull),
        }
    }

    fn begin(&mut self, pull: usize) {
        let wanted = self.topology.pulls[pull];
        let bytes = self.bytes(pull);
        let path = match (self.strategy, self.topology.nodes[wanted.node].site) {
            (Strategy::Swarm, Some(site)) => match self.bringing.get_mut(&(site, wanted.image)) {
                None => {
                    let bringing = Bringing { node: wanted.node, waiting: Some(Vec::new()) };
                    self.bringing.insert((site, wanted.image), bringing);
                    self.links.registry_path(self.topology, wanted.node)
                }
                Some(Bringing { waiting: Some(waiting), .. }) => return waiting.push(pull),
                Some(Bringing { node, waiting: None }) => self.links.path(self.topology, *node, wanted.node),
            },
            (Strategy::CentralDelta, site) => {
                let ready = self.make(pull);
                if ready > self.network.now {
                    return self.network.due(ready, Due::Begin(pull));
                }
                let hub = site.map_or(0, |site| self.topology.sites[site].hub);
                self.links.path(self.topology, hub, wanted.node)
            }
            _ => self.links.registry_path(self.topology, wanted.node),
        };
        self.start(pull, path, bytes);
    }

    fn start(&mut self, pull: usize, path: Path, bytes: u64) {
        if bytes == 0 {
            return self.network.due(self.network.now, Due::Done(pull));
        }
        let mut flow = Flow::new(&self.network, path, bytes);
        flow.pump(&mut self.network, u64::MAX, |bytes| Due::Piece { pull, bytes });
        self.flows[pull] = Some(flow);
    }

    fn done(&mut self, pull: usize) {
        let wanted = self.topology.pulls[pull];
        self.times.ended.push((wanted.at, self.network.now));
        self.flows[pull] = None;
        let Some(site) = self.topology.nodes[wanted.node].site else { return };
        let Some(bringing) = self.bringing.get_mut(&(site, wanted.image)) else { return };
        let (bringer, waiting) = (bringing.node, bringing.waiting.take().unwrap_or_default());
        for other in waiting {
            let path = self.links.path(self.topology, bringer, self.topology.pulls[other].node);
            let bytes = self.bytes(other);
            self.start(other, path, bytes);
        }
    }

    /// When the central server has all patches of a pull: one after the other, each once.
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

    /// The layers that a pull is for and the node lacks, with what this strategy sends of each.
    fn costs(&self, pull: usize) -> Vec<(DiffId, Cost)> {
        let held = self.held_by(pull);
        let image = &self.content.images[self.topology.pulls[pull].image];
        let missing = image.layers.iter().filter(|layer| !held.contains(layer));
        let cost = |&layer: &DiffId| {
            let cost = match self.strategy {
                Strategy::Registry | Strategy::Swarm => self.content.whole(layer),
                Strategy::CentralDelta | Strategy::Chunks | Strategy::Lighter => {
                    self.content.cheapest(layer, held.iter().copied()).1
                }
            };
            (layer, cost)
        };
        missing.map(cost).collect()
    }

    fn bytes(&self, pull: usize) -> u64 {
        let bytes = |cost: &Cost| match self.strategy {
            Strategy::Chunks => cost.chunks.unwrap_or(cost.bytes),
            _ => cost.bytes,
        };
        self.costs(pull).iter().map(|(_, cost)| bytes(cost)).sum()
    }

    fn report(self, is_partial: bool) -> StrategyReport {
        let done = self.times.ended.len() as u64;
        let began = self.topology.pulls.iter().map(|pull| pull.at).min().unwrap_or_default();
        let counts = &self.network.counts;
        StrategyReport {
            strategy: self.strategy,
            done,
            failed: 0,
            unfinished: self.topology.pulls.len() as u64 - done,
            completion: self.times.completion(),
            uplink_bytes: counts.uplink,
            origin_bytes: counts.origin,
            lan_bytes: counts.lan,
            uplink_patches: 0.0,
            hub_patches: 0.0,
            talk_bytes: 0,
            retries: 0,
            events: self.network.events,
            log_hash: None,
            is_partial,
            violations: Vec::new(),
            sites: Vec::new(),
            done_curve: self.times.done_curve(),
            uplink_curve: uplink_curve(&counts.series, began),
        }
    }
}
