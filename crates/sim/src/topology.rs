//! The places of a fleet and its timetable: hubs, sites and their nodes, the rates of their links, which node pulls
//! what when, and what faults do. Drawn once from the seed, the same for all strategies.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use lighter_types::broken;

use crate::faults::{Drawn, Flaw, Happening, Places};
use crate::network::Line;
use crate::queue::Micros;
use crate::random::Random;
use crate::scenario::{DAY, Scenario};
use crate::units::Rate;

/// Bytes a second of a link on which nothing waits.
const UNLIMITED: u64 = 1 << 40;

/// Hubs come first, then the nodes of each site.
pub struct Topology {
    pub nodes: Vec<Place>,
    pub hubs: usize,
    pub sites: Vec<Site>,
    pub pulls: Vec<Wanted>,
    pub happenings: Vec<(Micros, Happening)>,
    /// The flaws of each node; most nodes have no entry.
    pub flaws: BTreeMap<usize, Vec<Rc<dyn Flaw>>>,
    pub hub_rate: u64,
    pub registry_rate: u64,
}

#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// None for hubs.
    pub site: Option<usize>,
}

#[derive(Clone, Debug)]
pub struct Site {
    pub nodes: Range<usize>,
    /// Its number among the tables `[[sites]]` of the scenario.
    pub group: usize,
    /// The uplink to the site, and its rate from it in bytes a second.
    pub uplink: Line,
    pub up_rate: u64,
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
    /// Its number among the scenario's images.
    pub image: usize,
    pub at: Micros,
    /// From a failure until the node asks again.
    pub again: Micros,
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
            flaws: BTreeMap::new(),
            hub_rate: scenario.hub.rate.bytes_per_second,
            registry_rate: scenario.registry.rate.bytes_per_second,
        };
        for (group, sites) in scenario.sites.iter().enumerate() {
            for index in 0..sites.count {
                let first = topology.nodes.len();
                let site = topology.sites.len();
                topology.nodes.extend((0..sites.nodes).map(|_| Place { site: Some(site) }));
                topology.sites.push(Site {
                    nodes: first..topology.nodes.len(),
                    group,
                    uplink: Line {
                        bytes_per_second: between(sites.uplink, index, sites.count),
                        latency: sites.latency.micros(),
                        loss_ppm: sites.loss_percent.ppm,
                        queue: sites.queue.micros(),
                    },
                    up_rate: between(sites.upload.unwrap_or(sites.uplink), index, sites.count),
                    lan: sites.lan.bytes_per_second,
                    metered: sites.metered,
                    passes_on: sites.reachable && !sites.metered,
                    hub: site % hubs,
                });
            }
        }
        topology.draw(scenario, &mut Random::new(seed));
        topology
    }

    /// A hub and sites with so many nodes and such a latency each. The uplink of a site has this rate to it; nothing
    /// waits on other links. The tests of the engine run on it.
    pub fn star(sites: &[(usize, Micros)], rate: u64) -> Self {
        let mut topology = Self {
            nodes: vec![Place { site: None }],
            hubs: 1,
            sites: Vec::new(),
            pulls: Vec::new(),
            happenings: Vec::new(),
            flaws: BTreeMap::new(),
            hub_rate: UNLIMITED,
            registry_rate: UNLIMITED,
        };
        for (site, &(nodes, latency)) in sites.iter().enumerate() {
            let first = topology.nodes.len();
            topology.nodes.extend((0..nodes).map(|_| Place { site: Some(site) }));
            topology.sites.push(Site {
                nodes: first..topology.nodes.len(),
                group: 0,
                uplink: Line::clean(rate, latency),
                up_rate: UNLIMITED,
                lan: UNLIMITED,
                metered: false,
                passes_on: true,
                hub: 0,
            });
        }
        topology
    }

    fn draw(&mut self, scenario: &Scenario, random: &mut Random) {
        for pull in &scenario.pulls {
            let Some(image) = scenario.images.iter().position(|image| image.name == pull.image) else {
                broken("a pull of an image that the scenario does not have");
                continue;
            };
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
        let places = Places {
            site_nodes: self.hubs..self.nodes.len(),
            sites: self.sites.iter().map(|site| site.nodes.clone()).collect(),
        };
        let mut drawn = Drawn::default();
        for fault in &scenario.faults {
            fault.kind().draw(&places, random, &mut drawn);
        }
        (self.happenings, self.flaws) = (drawn.happenings, drawn.flaws);
        if let Some(window) = scenario.window {
            self.happenings.push((0, Happening::Percent(window.outside_percent)));
            for day in (0..scenario.ends_after.micros()).step_by(DAY.micros() as usize) {
                self.happenings.push((day + window.from.micros(), Happening::Percent(100)));
                self.happenings.push((day + window.to.micros(), Happening::Percent(window.outside_percent)));
            }
        }
        self.happenings.sort_by_key(|(at, _)| *at);
    }
}

/// The rate of one of `count` sites between the slowest and the fastest, evenly by their logarithm; in integers, so
/// that every machine gets the same: the interval is halved ten times.
fn between(slowest_and_fastest: [Rate; 2], index: u64, count: u64) -> u64 {
    let [slowest, fastest] = slowest_and_fastest.map(|rate| rate.bytes_per_second);
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
