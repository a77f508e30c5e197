//! The virtual fleet as tests see it: build a fleet, schedule, break things, look inside.
//!
//! A [`TestFleet`] is the fleet that scenarios run on, with real engines, links and disks. Node 0 is a hub that is
//! connected to all others; each site has a slow link to itself and a latency of its own. A test puts layers on disks,
//! starts the fleet, gives engines inputs, and lets time pass. It may break nodes ([`TestFleet::kill`]), give them
//! flaws ([`TestFleet::add_flaw`]), lose messages and end streams. Afterwards it looks at engines, disks, streams and
//! at what each node did ([`Seen`]).
//!
//! Two things differ from a scenario. Announcements reach all nodes, as if gossip were passed on. And every violation
//! of the engine's contract (`fleet.rs`) fails the test at once.

mod breakage;
mod look;
mod schedule;

use std::collections::BTreeMap;
use std::rc::Rc;

use lighter_engine::{PullId, Settings};
use lighter_types::{Card, DiffId, ImageReference, OciDigest};
use lighter_wire::{Release, SignedRelease};

pub use crate::content::Blocks;
use crate::content::{Blob, Content, Cost, ImageContent};
pub use crate::faults::{
    Claiming, DatingBack, Dripping, Flaw, Flooding, Liar, Misdescribing, NoRoom, OtherBase, Pretender, Stalling,
};
use crate::fleet::Fleet;
use crate::fleet::node::Node;
pub use crate::fleet::node::{Disk, peer};
use crate::fleet::trouble::Trouble;
use crate::queue::Micros;
use crate::random::Random;
use crate::scenario::Gossip;
use crate::topology::Topology;
pub use look::{Seen, StreamView};

/// Bytes a second of the link to each node, until a test says otherwise.
const RATE: u64 = 1_250_000;
/// One way between the hub and a node; each node draws its own.
const LATENCY: (Micros, Micros) = (10_000, 40_000);
/// Making a patch of a layer, and applying it: bytes of the layer a second.
const ENCODE_RATE: u64 = 20_000_000;
const APPLY_RATE: u64 = 200_000_000;
/// The layer over its patch from a layer of the same family.
const FAMILY_SAVES: u64 = 40;

/// The fleet of one test. Its functions are in the files of this folder.
pub struct TestFleet {
    fleet: Fleet,
    seed: u64,
    /// The tests' numbers of pulls, by node.
    pulls: BTreeMap<(usize, u64), PullId>,
    seen: Vec<Seen>,
}

impl TestFleet {
    /// A fleet of `count` nodes, each in a site of its own. Beside the hub, each node is connected to up to
    /// `neighbours` others, drawn from the seed.
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

    /// A hub and sites with so many nodes each. The nodes of a site are connected and share its uplink; the test
    /// sets the names of sites in their settings.
    pub fn with_sites(seed: u64, sites: &[usize], settings: &Settings) -> Self {
        let mut random = Random::new(seed);
        let mut star: Vec<(usize, Micros)> = Vec::new();
        for &nodes in sites {
            star.push((nodes, LATENCY.0 + random.below(LATENCY.1 - LATENCY.0)));
        }
        let topology = Rc::new(Topology::star(&star, RATE));
        let mut nodes = Vec::new();
        for node in 0..topology.nodes.len() {
            let settings = Settings { seed: seed + node as u64, ..settings.clone() };
            nodes.push(Node::new(settings, Disk::default()));
        }
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

    /// Adds a layer to the world, with its patches from and to the layers of its family: those with the same first
    /// byte.
    fn add_layer(&mut self, card: Card) {
        let content = &mut self.fleet.content;
        if content.cards.contains_key(&card.diff_id) {
            return;
        }
        let family = card.diff_id.as_bytes()[0];
        let alike = content.cards.values().filter(|other| other.diff_id.as_bytes()[0] == family);
        let alike: Vec<Card> = alike.copied().collect();
        content.add_layer(card);
        for other in alike {
            content.add_cost(card.diff_id, other.diff_id, family_cost(&card));
            content.add_cost(other.diff_id, card.diff_id, family_cost(&other));
        }
    }

    /// Sets the content of a layer.
    pub fn set_blocks(&mut self, layer: DiffId, blocks: Blocks) {
        self.fleet.content.made_of.insert(layer, blocks);
    }

    /// A layer has this compressed blob, which nodes may hold as a layer.
    pub fn set_blob(&mut self, layer: DiffId, card: Card) {
        self.fleet.content.blobs.insert(layer, Blob { card, is_good: true });
    }

    /// The blob that images name for a layer has another one in it.
    pub fn spoil_blob(&mut self, layer: DiffId) {
        self.fleet.content.blobs.entry(layer).and_modify(|blob| blob.is_good = false);
    }

    /// A node wants the blobs of its layers too.
    pub fn wants_blobs(&mut self, node: usize) {
        self.fleet.nodes[node].wants_blobs = true;
    }

    /// Puts an image of these layers on the disk of a node, with its release under `name`; returns its manifest.
    pub fn publish(&mut self, node: usize, name: &str, issued_s: u64, layers: &[Card]) -> OciDigest {
        self.publish_with(node, name, issued_s, layers, None)
    }

    /// The same, with a layer for the image's companions.
    pub fn publish_with(
        &mut self,
        node: usize,
        name: &str,
        issued_s: u64,
        layers: &[Card],
        companions: Option<Card>,
    ) -> OciDigest {
        let mut digest = [issued_s as u8; 32];
        digest[1] = node as u8;
        let (manifest, config) = (OciDigest::new(digest), OciDigest::new(digest.map(|byte| !byte)));
        let layer_ids = layers.iter().map(|card| card.diff_id).collect();
        self.fleet.content.images.push(ImageContent { manifest, config, documents: [0; 2], layers: layer_ids });
        self.put(node, layers);
        self.put(node, companions.as_slice());
        let reference = reference(name);
        let companions = companions.map(|card| card.diff_id);
        let release = Release { reference: reference.clone(), manifest, issued_s, companions, bounds: None };
        let signed = SignedRelease { release, publisher: peer(0), signature: [0; 64], cosignatures: Vec::new() };
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

    /// The rate of the link from each node from now on.
    pub fn set_up_rate(&mut self, bytes_per_second: u64) {
        let wires = &mut self.fleet.wires;
        wires.links.set_up_rate(&mut wires.network, bytes_per_second);
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
