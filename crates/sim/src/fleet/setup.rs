//! The nodes of a scenario as they are before the first event.

use std::rc::Rc;

use lighter_engine::Settings;
use lighter_types::{BytesPerSecond, ImageReference};
use lighter_wire::{Incarnation, Release, SignedRelease};

use super::node::{Disk, Node, peer};
use crate::content::Content;
use crate::scenario::Scenario;
use crate::topology::Topology;

/// The names of a scenario's images.
pub fn names(scenario: &Scenario) -> Vec<Rc<ImageReference>> {
    // The scenario's check refused what is no reference.
    scenario.images.iter().filter_map(|image| image.name.parse().ok().map(Rc::new)).collect()
}

/// All nodes, each with the images that it holds from the beginning.
pub fn nodes(
    scenario: &Scenario,
    topology: &Topology,
    content: &Content,
    names: &[Rc<ImageReference>],
    seed: u64,
) -> Vec<Node> {
    let node = |node: usize| {
        let settings = settings(scenario, topology, node, seed);
        Node::new(settings, disk(scenario, topology, content, names, node))
    };
    (0..topology.nodes.len()).map(node).collect()
}

fn disk(
    scenario: &Scenario,
    topology: &Topology,
    content: &Content,
    names: &[Rc<ImageReference>],
    node: usize,
) -> Disk {
    let mut disk = Disk::default();
    let held = topology.nodes[node].site.map(|site| &scenario.sites[topology.sites[site].group].holds);
    for (index, (name, image)) in names.iter().zip(&content.images).enumerate() {
        // Hubs hold all images.
        if held.is_some_and(|held| !held.contains(&scenario.images[index].name)) {
            continue;
        }
        disk.layers.extend(&image.layers);
        disk.blobs.extend([image.manifest, image.config]);
        let release = Release { reference: (**name).clone(), manifest: image.manifest, issued_s: index as u64 + 1 };
        let signed = SignedRelease { release, publisher: peer(0), signature: [0; 64] };
        disk.releases.insert((**name).clone(), Box::new(signed));
    }
    disk
}

/// The settings of a node, by its place.
fn settings(scenario: &Scenario, topology: &Topology, node: usize, seed: u64) -> Settings {
    let mut settings = Settings {
        incarnation: Incarnation(1_000),
        seed: seed.wrapping_mul(1_000_003).wrapping_add(node as u64),
        effort: scenario.effort.choice(),
        ..Settings::default()
    };
    if let Some(number) = topology.nodes[node].site {
        let site = &topology.sites[number];
        settings.site = format!("site-{number}").parse().ok();
        settings.uplink_rate = BytesPerSecond(site.rate);
        settings.upload_max = scenario.sites[site.group].upload.map(|_| BytesPerSecond(site.up_rate));
        settings.passes_on = site.passes_on;
    }
    settings
}
