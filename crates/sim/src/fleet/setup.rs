//! The nodes of a scenario as they are before the first event.

use std::rc::Rc;

use lighter_engine::Settings;
use lighter_types::{BytesPerSecond, ImageReference, broken};
use lighter_wire::{Incarnation, Release, SignedRelease};

use super::node::{Disk, Node, peer};
use crate::content::Content;
use crate::scenario::Scenario;
use crate::topology::Topology;

/// The names of a scenario's images.
pub fn names(scenario: &Scenario) -> Vec<Rc<ImageReference>> {
    let mut names = Vec::new();
    for image in &scenario.images {
        match image.name.parse() {
            Ok(name) => names.push(Rc::new(name)),
            Err(_) => broken("the scenario's check let a name through that is no reference"),
        }
    }
    names
}

/// The material of a scenario's nodes.
pub struct Setup<'a> {
    pub scenario: &'a Scenario,
    pub topology: &'a Topology,
    pub content: &'a Content,
    pub names: &'a [Rc<ImageReference>],
    pub seed: u64,
}

impl Setup<'_> {
    /// All nodes, each with the images that it holds from the beginning.
    pub fn nodes(&self) -> Vec<Node> {
        (0..self.topology.nodes.len()).map(|node| Node::new(self.settings(node), self.disk(node))).collect()
    }

    fn disk(&self, node: usize) -> Disk {
        let mut disk = Disk::default();
        let site = self.topology.nodes[node].site.map(|site| &self.topology.sites[site]);
        for (index, (name, image)) in self.names.iter().zip(&self.content.images).enumerate() {
            // Hubs hold all images: they imported them.
            let is_held = site
                .is_none_or(|site| self.scenario.sites[site.group].holds.contains(&self.scenario.images[index].name));
            if is_held {
                disk.layers.extend(&image.layers);
                let headers = image.layers.iter().filter_map(|&layer| self.content.header(layer, site.is_none()));
                disk.patches.extend(headers.map(|patch| (patch.patch, patch)));
                disk.blobs.extend([image.manifest, image.config]);
                let (reference, issued_s) = ((**name).clone(), index as u64 + 1);
                let manifest = image.manifest;
                let release =
                    Release { reference: reference.clone(), manifest, issued_s, companions: None, bounds: None };
                let signed =
                    SignedRelease { release, publisher: peer(0), signature: [0; 64], cosignatures: Vec::new() };
                disk.releases.insert(reference, Box::new(signed));
            }
        }
        disk
    }

    /// The settings of a node, by its place.
    fn settings(&self, node: usize) -> Settings {
        let mut settings = Settings {
            incarnation: Incarnation(1_000),
            seed: self.seed.wrapping_mul(1_000_003).wrapping_add(node as u64),
            effort: self.scenario.effort.choice(),
            ..Settings::default()
        };
        if let Some(number) = self.topology.nodes[node].site {
            let site = &self.topology.sites[number];
            settings.site = format!("site-{number}").parse().ok();
            settings.uplink_rate = BytesPerSecond(site.uplink.bytes_per_second);
            settings.upload_max = self.scenario.sites[site.group].upload.map(|_| BytesPerSecond(site.up_rate));
            settings.passes_on = site.passes_on;
        }
        settings
    }
}
