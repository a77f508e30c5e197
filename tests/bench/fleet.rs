//! A hub and edges in network namespaces, ready to be measured.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::Bencher;
use crate::namespaces::Namespace;
use crate::nodes::{Identity, Node};

/// The transport of the connections between nodes.
#[derive(Clone, Copy, Debug)]
pub enum Transport {
    Quic,
    Tcp,
}

impl Transport {
    pub const ALL: [Self; 2] = [Self::Quic, Self::Tcp];

    fn address(self, ip: &str) -> String {
        match self {
            Self::Quic => format!("/ip4/{ip}/udp/4410/quic-v1"),
            Self::Tcp => format!("/ip4/{ip}/tcp/4410"),
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Quic => "QUIC",
            Self::Tcp => "TCP",
        }
    }
}

/// The namespace, address and site of a node.
pub struct Place<'a> {
    pub namespace: &'a Namespace,
    pub ip: &'a str,
    pub site: &'a str,
}

/// Running nodes, the hub first. Each edge dials the hub and the earlier edges of its site.
pub struct Fleet {
    pub nodes: Vec<Node>,
    identities: Vec<Identity>,
    settings: Vec<Vec<String>>,
    namespaces: Vec<String>,
}

impl Fleet {
    /// Starts a node in every place. `more` are further settings for all nodes.
    pub fn start(bencher: &Bencher, dir: &Path, transport: Transport, places: &[Place], more: &[&str]) -> Result<Self> {
        let create = |index| Identity::create(&bencher.lighter, dir.join(format!("node{index}")));
        let identities = (0..places.len()).map(create).collect::<Result<Vec<_>>>()?;
        let quoted = |text: &String| format!("{text:?}");
        let members: Vec<String> = identities.iter().map(|identity| quoted(&identity.peer_id)).collect();
        let mut fleet = Self { nodes: Vec::new(), identities, settings: Vec::new(), namespaces: Vec::new() };
        let mut addresses: Vec<(&str, String)> = Vec::new();
        for (place, identity) in places.iter().zip(&fleet.identities) {
            let address = transport.address(place.ip);
            let near = addresses.iter().enumerate().filter(|(index, (site, _))| *index == 0 || *site == place.site);
            let bootstrap: Vec<String> = near.map(|(_, (_, address))| address.clone()).collect();
            let mut settings = vec![
                format!("network.listen=[{address:?}]"),
                format!("network.bootstrap=[{}]", bootstrap.join(",")),
                "network.mdns=false".to_owned(),
                "network.upload_max=unlimited".to_owned(),
                format!("fleet.members=[{}]", members.join(",")),
                format!("fleet.publishers=[{}]", members[0]),
                format!("site={}", place.site),
                "log.format=json".to_owned(),
                "log.filter=info,lighter_node=debug".to_owned(),
            ];
            settings.extend(more.iter().map(|&setting| setting.to_owned()));
            settings.extend_from_slice(&bencher.settings);
            fleet.nodes.push(Node::start(&bencher.lighter, identity, Some(&place.namespace.name), &settings)?);
            addresses.push((place.site, quoted(&format!("{address}/p2p/{}", identity.peer_id))));
            fleet.settings.push(settings);
            fleet.namespaces.push(place.namespace.name.clone());
        }
        Ok(fleet)
    }

    /// Stops a node and starts it again.
    pub fn restart(&mut self, lighter: &Path, index: usize) -> Result<()> {
        drop(self.nodes.remove(index));
        let (namespace, settings) = (&self.namespaces[index], &self.settings[index]);
        let node = Node::start(lighter, &self.identities[index], Some(namespace), settings)?;
        self.nodes.insert(index, node);
        Ok(())
    }

    /// Imports the old release on every node and the new one on the hub. Waits until all edges know of it.
    pub fn release(&self, layouts: &[PathBuf; 2]) -> Result<()> {
        for node in &self.nodes {
            node.import(&layouts[0], OLD)?;
        }
        let (hub, edges) = (&self.nodes[0], &self.nodes[1..]);
        hub.import(&layouts[1], NEW)?;
        let layers = hub.status()?.layers;
        for edge in edges {
            edge.wait_for_peers(1, layers)?;
        }
        Ok(())
    }
}

pub const OLD: &str = "bench/nginx:1.22.1-9";
pub const NEW: &str = "bench/nginx:1.22.1-11";
