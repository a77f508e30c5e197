//! Who is where: hubs, sites and their nodes, what links there are, and what befalls whom when. Drawn once from the seed, the
//! same for all strategies.

use std::ops::Range;

use crate::network::{LinkClass, LinkId, Micros, Network, Path};
use crate::random::Random;
use crate::scenario::{DAY, Fault, Scenario};

/// Hubs come first, then the nodes of each site.
pub struct Topology {
    pub nodes: Vec<Place>,
    pub hubs: usize,
    pub sites: Vec<Site>,
    pub pulls: Vec<Wanted>,
    pub happenings: Vec<(Micros, Happening)>,
    /// By node: whether it sends wrong bytes.
    pub lies: Vec<bool>,
    /// By node: whether it stops in the midst of what it sends.
    pub stalls: Vec<bool>,
    /// By node: until when its disk is full.
    pub disk_full_until: Vec<Micros>,
    hub_rate: u64,
    registry_rate: u64,
}

#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// None for hubs.
    pub site: Option<usize>,
}

#[derive(Clone, Debug)]
pub struct Site {
    pub nodes: Range<usize>,
    /// Which of the scenario's `sites`.
    pub group: usize,
    /// To the site, and from it.
    pub rate: u64,
    pub up_rate: u64,
    pub latency: Micros,
    pub loss_permille: u64,
    pub lan: u64,
    pub metered: bool,
    /// Whether its nodes pass patches on to other sites.
    pub passes_on: bool,
    pub hub: usize,
}

/// A pull that is to begin.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    pub node: usize,
    pub image: usize,
    pub at: Micros,
    /// After a failure.
    pub again: Micros,
}

#[derive(Clone, Copy, Debug)]
pub enum Happening {
    Off(usize),
    On(usize),
    Cut(usize),
    Healed(usize),
    /// Uplinks have so much of their rate from now on.
    Percent(u64),
}

/// The links of a network.
pub struct Links {
    hubs: Vec<[LinkId; 2]>,
    registry: LinkId,
    /// Up, down, within.
    sites: Vec<[LinkId; 3]>,
}

impl Topology {
    pub fn new(scenario: &Scenario, seed: u64) -> Self {
        let hubs = scenario.hub.count as usize;
        let mut topology = Self {
            nodes: vec![Place { site: None }; hubs],
            hubs,
            sites: Vec::new(),
            pulls: Vec::new(),
            happenings: Vec::new(),
            lies: Vec::new(),
            stalls: Vec::new(),
            disk_full_until: Vec::new(),
            hub_rate: scenario.hub.rate.bytes_per_second,
            registry_rate: scenario.registry.rate.bytes_per_second,
        };
        for (group, sites) in scenario.sites.iter().enumerate() {
            for index in 0..sites.count {
                let rate = |uplink: [crate::scenario::Rate; 2]| {
                    let [slowest, fastest] = uplink.map(|rate| rate.bytes_per_second);
                    between(slowest, fastest, index, sites.count)
                };
                let first = topology.nodes.len();
                let site = topology.sites.len();
                topology.nodes.extend((0..sites.nodes).map(|_| Place { site: Some(site) }));
                topology.sites.push(Site {
                    nodes: first..topology.nodes.len(),
                    group,
                    rate: rate(sites.uplink),
                    up_rate: rate(sites.upload.unwrap_or(sites.uplink)),
                    latency: sites.latency.micros(),
                    loss_permille: sites.loss_percent * 10,
                    lan: sites.lan.bytes_per_second,
                    metered: sites.metered,
                    passes_on: sites.reachable && !sites.metered,
                    hub: site % hubs,
                });
            }
        }
        let nodes = topology.nodes.len();
        topology.lies = vec![false; nodes];
        topology.stalls = vec![false; nodes];
        topology.disk_full_until = vec![0; nodes];
        topology.draw(scenario, &mut Random::new(seed));
        topology
    }

    /// Links for a run.
    pub fn links<C>(&self, network: &mut Network<C>) -> Links {
        let both = |network: &mut Network<C>, class, rate, latency, loss| {
            [(); 2].map(|()| network.link(class, rate, latency, loss))
        };
        let hubs = (0..self.hubs).map(|_| both(network, LinkClass::Origin, self.hub_rate, 0, 0)).collect();
        let registry = network.link(LinkClass::Origin, self.registry_rate, 0, 0);
        let sites = self.sites.iter().map(|site| {
            let class = if site.metered { LinkClass::Metered } else { LinkClass::Uplink };
            let [up, down] =
                [site.up_rate, site.rate].map(|rate| network.link(class, rate, site.latency, site.loss_permille));
            [up, down, network.link(LinkClass::Lan, site.lan, 200, 0)]
        });
        Links { hubs, registry, sites: sites.collect() }
    }

    fn draw(&mut self, scenario: &Scenario, random: &mut Random) {
        for pull in &scenario.pulls {
            let Some(image) = scenario.images.iter().position(|image| image.name == pull.image) else { continue };
            let count = self.sites.len() as u64;
            for (index, site) in self.sites.iter().enumerate() {
                let percent = index as u64 * 100 / count.max(1);
                if (pull.sites_from_percent..pull.sites_to_percent).contains(&percent) {
                    for node in site.nodes.clone() {
                        let at = pull.at.micros() + random.below(pull.spread.micros());
                        self.pulls.push(Wanted { node, image, at, again: pull.again.micros() });
                    }
                }
            }
        }
        scenario.faults.iter().for_each(|fault| self.draw_fault(fault, random));
        if let Some(window) = scenario.window {
            self.happenings.push((0, Happening::Percent(window.outside_percent)));
            for day in (0..scenario.ends_after.micros()).step_by(DAY.micros() as usize) {
                self.happenings.push((day + window.from.micros(), Happening::Percent(100)));
                self.happenings.push((day + window.to.micros(), Happening::Percent(window.outside_percent)));
            }
        }
        self.happenings.sort_by_key(|(at, _)| *at);
    }

    fn draw_fault(&mut self, fault: &Fault, random: &mut Random) {
        let site_nodes = self.hubs..self.nodes.len();
        match *fault {
            Fault::Off { percent, until } => {
                for node in site_nodes.filter(|_| random.happens(percent * 10)) {
                    self.happenings.push((0, Happening::Off(node)));
                    self.happenings.push((until.micros(), Happening::On(node)));
                }
            }
            Fault::PowerCuts { percent, from, to, down } => {
                for node in site_nodes {
                    if !random.happens(percent * 10) {
                        continue;
                    }
                    let at = from.micros() + random.below(to.micros().saturating_sub(from.micros()));
                    self.happenings.push((at, Happening::Off(node)));
                    self.happenings.push((at + down.micros(), Happening::On(node)));
                }
            }
            Fault::Churn { percent, from, to, every, down } => {
                let pause = every.micros().max(1);
                for node in site_nodes {
                    if !random.happens(percent * 10) {
                        continue;
                    }
                    let mut at = from.micros() + random.below(pause);
                    while at < to.micros() {
                        self.happenings.push((at, Happening::Off(node)));
                        self.happenings.push((at + down.micros(), Happening::On(node)));
                        at += down.micros() + pause / 2 + random.below(pause);
                    }
                }
            }
            Fault::HubLost { hub, at } => self.happenings.push((at.micros(), Happening::Off(hub as usize))),
            Fault::Lies { per_site } => {
                for site in &self.sites {
                    site.nodes.clone().take(per_site as usize).for_each(|node| self.lies[node] = true);
                }
            }
            Fault::Stalls { per_site } => {
                for site in &self.sites {
                    site.nodes.clone().take(per_site as usize).for_each(|node| self.stalls[node] = true);
                }
            }
            Fault::DiskFull { percent, until } => {
                for node in site_nodes.filter(|_| random.happens(percent * 10)) {
                    self.disk_full_until[node] = until.micros();
                }
            }
            Fault::Partition { percent, from, to } => {
                for site in (0..self.sites.len()).filter(|_| random.happens(percent * 10)) {
                    self.happenings.push((from.micros(), Happening::Cut(site)));
                    self.happenings.push((to.micros(), Happening::Healed(site)));
                }
            }
        }
    }
}

impl Links {
    /// Gives all uplinks so much of their rate.
    pub fn throttle<C>(&self, topology: &Topology, network: &mut Network<C>, percent: u64) {
        for (links, site) in self.sites.iter().zip(&topology.sites) {
            network.set_rate(links[0], site.up_rate * percent / 100);
            network.set_rate(links[1], site.rate * percent / 100);
        }
    }

    /// From one node to another.
    pub fn path(&self, topology: &Topology, from: usize, to: usize) -> Path {
        match (topology.nodes[from].site, topology.nodes[to].site) {
            (Some(from), Some(to)) if from == to => Path::one(self.sites[from][2]),
            (Some(from), Some(to)) => Path::two(self.sites[from][0], self.sites[to][1]),
            (None, Some(to)) => Path::two(self.hubs[from][0], self.sites[to][1]),
            (Some(from), None) => Path::two(self.sites[from][0], self.hubs[to][1]),
            (None, None) => Path::two(self.hubs[from][0], self.hubs[to][1]),
        }
    }

    pub fn registry_path(&self, topology: &Topology, to: usize) -> Path {
        let down =
            topology.nodes[to].site.map_or(self.hubs[to.min(self.hubs.len() - 1)][1], |site| self.sites[site][1]);
        Path::two(self.registry, down)
    }

    /// All that a hub sent.
    pub fn hub_sent<C>(&self, network: &Network<C>, hub: usize) -> u64 {
        network.carried(self.hubs[hub][0])
    }

    /// Bytes that a site's uplink carried: from it, and to it.
    pub fn uplink_carried<C>(&self, network: &Network<C>, site: usize) -> [u64; 2] {
        [0, 1].map(|way| network.carried(self.sites[site][way]))
    }
}

/// The rate of one of `count` sites between the slowest and the fastest, evenly by their logarithm; in integers, so that
/// every machine gets the same: the interval is halved ten times.
fn between(slowest: u64, fastest: u64, index: u64, count: u64) -> u64 {
    let (mut low, mut high) = (slowest, fastest);
    let mut place = if count > 1 { index * 1024 / (count - 1) } else { 512 };
    for _ in 0..10 {
        let middle = (u128::from(low) * u128::from(high)).isqrt() as u64;
        if place >= 512 {
            low = middle;
            place = (place - 512) * 2;
        } else {
            high = middle;
            place *= 2;
        }
    }
    if index + 1 == count && count > 1 { fastest } else { low }
}
