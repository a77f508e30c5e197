//! The links of a topology in a network, and the path between two nodes.
//!
//! Each hub has a link either way, each site has an uplink either way and a link within. Two nodes of a site talk over
//! the link within; all others over the link of the sender and the link of the receiver.

use crate::network::{Line, LinkClass, LinkId, Network, Path};
use crate::queue::Micros;
use crate::topology::Topology;

/// One way within a site.
const LAN_LATENCY: Micros = 200;

pub struct Links {
    /// From each hub, and to it.
    hubs: Vec<[LinkId; 2]>,
    registry: LinkId,
    /// For each site: up, down, within.
    sites: Vec<[LinkId; 3]>,
}

impl Links {
    /// Lays the links of a topology.
    pub fn new<C>(topology: &Topology, network: &mut Network<C>) -> Self {
        let of_hub = Line::clean(topology.hub_rate, 0);
        let hubs = (0..topology.hubs).map(|_| [of_hub; 2].map(|line| network.link(LinkClass::Origin, line))).collect();
        let registry = network.link(LinkClass::Origin, Line::clean(topology.registry_rate, 0));
        let mut sites = Vec::new();
        for site in &topology.sites {
            let class = if site.metered { LinkClass::Metered } else { LinkClass::Uplink };
            let [up, down] = [site.up_rate, site.uplink.bytes_per_second]
                .map(|bytes_per_second| network.link(class, Line { bytes_per_second, ..site.uplink }));
            sites.push([up, down, network.link(LinkClass::Lan, Line::clean(site.lan, LAN_LATENCY))]);
        }
        Self { hubs, registry, sites }
    }

    /// Gives all uplinks this percentage of their rate.
    pub fn throttle<C>(&self, topology: &Topology, network: &mut Network<C>, percent: u64) {
        for (links, site) in self.sites.iter().zip(&topology.sites) {
            network.set_rate(links[0], site.up_rate * percent / 100);
            network.set_rate(links[1], site.uplink.bytes_per_second * percent / 100);
        }
    }

    /// The uplink of a site loses so many of a million packets, either way.
    pub fn set_loss<C>(&self, network: &mut Network<C>, site: usize, loss_ppm: u64) {
        self.sites[site][..2].iter().for_each(|link| network.set_loss(*link, loss_ppm));
    }

    /// Gives all uplinks this rate to their sites.
    pub fn set_down_rate<C>(&self, network: &mut Network<C>, bytes_per_second: u64) {
        self.sites.iter().for_each(|links| network.set_rate(links[1], bytes_per_second));
    }

    /// The rate from each site and each hub from now on.
    pub fn set_up_rate<C>(&self, network: &mut Network<C>, bytes_per_second: u64) {
        let up = self.sites.iter().map(|links| links[0]).chain(self.hubs.iter().map(|links| links[0]));
        up.for_each(|link| network.set_rate(link, bytes_per_second));
    }

    /// The path from one node to another.
    pub fn path(&self, topology: &Topology, from: usize, to: usize) -> Path {
        match (topology.nodes[from].site, topology.nodes[to].site) {
            (Some(from), Some(to)) if from == to => Path::one(self.sites[from][2]),
            (Some(from), Some(to)) => Path::two(self.sites[from][0], self.sites[to][1]),
            (None, Some(to)) => Path::two(self.hubs[from][0], self.sites[to][1]),
            (Some(from), None) => Path::two(self.sites[from][0], self.hubs[to][1]),
            (None, None) => Path::two(self.hubs[from][0], self.hubs[to][1]),
        }
    }

    /// The path from the registry to a node.
    pub fn registry_path(&self, topology: &Topology, to: usize) -> Path {
        let down =
            topology.nodes[to].site.map_or(self.hubs[to.min(self.hubs.len() - 1)][1], |site| self.sites[site][1]);
        Path::two(self.registry, down)
    }

    /// The bytes that a hub sent.
    pub fn hub_sent<C>(&self, network: &Network<C>, hub: usize) -> u64 {
        network.carried(self.hubs[hub][0])
    }

    /// The bytes that a site's uplink carried: from the site, and to it.
    pub fn uplink_carried<C>(&self, network: &Network<C>, site: usize) -> [u64; 2] {
        [0, 1].map(|way| network.carried(self.sites[site][way]))
    }
}
