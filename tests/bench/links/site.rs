//! A hub and its edges on this machine, with or without a bad link before each edge.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use lighter_tests::images::{self, ImageFiles, Media};
use lighter_tests::relay::{Relay, Settings, udp_address};

use crate::Bencher;
use crate::nodes::{Identity, Node};

/// The name of the image to pull.
pub const IMAGE: &str = "bench/links:1";

/// Running nodes. Each edge has a connection to the hub alone.
pub struct Site {
    pub hub: Node,
    pub edges: Vec<Node>,
    /// The link of each edge that has one.
    pub relays: Vec<Relay>,
    lighter: PathBuf,
    dir: PathBuf,
    /// The hub first.
    starts: Vec<(Identity, Vec<String>)>,
}

impl Site {
    /// Starts a hub with no image, and an edge for each link.
    pub fn start(bencher: &Bencher, name: &str, links: &[Option<Settings>]) -> Result<Self> {
        Self::start_set(bencher, name, links, &[])
    }

    /// The same, with this set at every node.
    pub fn start_set(bencher: &Bencher, name: &str, links: &[Option<Settings>], set: &[String]) -> Result<Self> {
        let dir = bencher.work.join(format!("links-{name}"));
        let lighter = bencher.lighter.clone();
        let create = |index| Identity::create(&lighter, dir.join(format!("node{index}")));
        let mut identities = (0..=links.len()).map(create).collect::<Result<Vec<_>>>()?.into_iter();
        let members: Vec<String> = identities.as_slice().iter().map(|identity| identity.peer_id.clone()).collect();
        let settings = |listen: &str, bootstrap: &[String]| {
            let mut settings = vec![
                format!("network.listen=[{listen:?}]"),
                format!("network.bootstrap={bootstrap:?}"),
                "network.mdns=false".to_owned(),
                "network.upload_max=unlimited".to_owned(),
                format!("fleet.members={members:?}"),
                format!("fleet.publishers={:?}", &members[..1]),
                "log.format=json".to_owned(),
                "log.filter=info".to_owned(),
            ];
            settings.extend_from_slice(set);
            settings.extend_from_slice(&bencher.settings);
            settings
        };
        let any_port = "/ip4/127.0.0.1/udp/0/quic-v1";
        let hub_identity = identities.next().context("a hub's identity")?;
        let hub = Node::start(&lighter, &hub_identity, None, &settings(any_port, &[]))?;
        let listen = hub.status()?.listen.first().cloned().context("the hub does not listen")?;
        // The next start takes the same port.
        let hub_settings = settings(&listen, &[]);
        let target = udp_address(&listen).with_context(|| format!("{listen} is not an address of UDP"))?;
        let hub_id = hub_identity.peer_id.clone();
        let starts = vec![(hub_identity, hub_settings)];
        let mut site = Self { hub, edges: Vec::new(), relays: Vec::new(), lighter, dir, starts };
        for (identity, link) in identities.zip(links) {
            let address = match link {
                Some(link) => {
                    let relay = Relay::start(target, link.clone())?;
                    let address = relay.multiaddress(&hub_id);
                    site.relays.push(relay);
                    address
                }
                None => format!("{listen}/p2p/{hub_id}"),
            };
            let settings = settings(any_port, &[address]);
            site.edges.push(Node::start(&site.lighter, &identity, None, &settings)?);
            site.starts.push((identity, settings));
        }
        Ok(site)
    }

    /// Imports an image at the hub and waits until every edge knows of its layers.
    pub fn release(&self, image: &ImageFiles) -> Result<()> {
        import(&self.hub, &self.dir, image, IMAGE)?;
        self.wait_until_known()
    }

    pub fn wait_until_known(&self) -> Result<()> {
        let layers = self.hub.status()?.layers;
        self.edges.iter().try_for_each(|edge| edge.wait_for_peers(1, layers))
    }

    /// Imports an image at one node.
    pub fn import(&self, node: &Node, image: &ImageFiles, name: &str) -> Result<()> {
        import(node, &self.dir, image, name)
    }

    /// Starts the hub again, which was stopped.
    pub fn restart_hub(&mut self) -> Result<()> {
        let (identity, settings) = &self.starts[0];
        self.hub = Node::start(&self.lighter, identity, None, settings)?;
        Ok(())
    }

    /// Stops an edge.
    pub fn stop_edge(&mut self, index: usize) {
        drop(self.edges.remove(index));
    }

    /// Starts an edge that was stopped.
    pub fn start_edge(&mut self, index: usize) -> Result<()> {
        let (identity, settings) = &self.starts[index + 1];
        self.edges.insert(index, Node::start(&self.lighter, identity, None, settings)?);
        Ok(())
    }

    /// Ends the nodes and removes their files.
    pub fn end(self) -> Result<()> {
        let dir = self.dir.clone();
        drop(self);
        Ok(std::fs::remove_dir_all(dir)?)
    }
}

fn import(node: &Node, dir: &Path, image: &ImageFiles, name: &str) -> Result<()> {
    let layout = tempfile::tempdir_in(dir)?;
    image.write_to(layout.path());
    node.import(layout.path(), name)
}

/// An image of gzip layers with one file each, of bytes that do not compress.
pub fn noise_image(seed: u64, layers: usize, bytes: usize) -> ImageFiles {
    let tar = |index: usize| images::tar(&[("data", &images::noise(seed * 1000 + index as u64, bytes))]);
    images::layout_of(&(0..layers).map(|index| (tar(index), Media::Gzip)).collect::<Vec<_>>())
}

/// The bytes of the image's layers as its manifest tells them.
pub fn blob_bytes(image: &ImageFiles) -> u64 {
    let manifest = image.manifest();
    let layers = manifest["layers"].as_array().map_or(&[][..], Vec::as_slice);
    layers.iter().filter_map(|layer| layer["size"].as_u64()).sum()
}
