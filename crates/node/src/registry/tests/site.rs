//! Nodes of one site that want the same image from upstream: each blob crosses the uplink once.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::oneshot;

use super::registry::{MANIFEST, TestRegistry, noise, sha256};
use super::{Place, TestNode, path, policy};
use crate::config::{Site, UpstreamHost};
use crate::event::{Command, Event};
use crate::images::recipes;
use crate::site_downloads::Claim;

/// `gzip -n -6` of 4,096 bytes of 7.
const GZIP: [u8; 39] = [
    0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0xed, 0xc1, 0x31, 0x0d, 0x00, 0x00, 0x00, 0xc3, 0xa0,
    0xb3, 0xfe, 0x1d, 0xcf, 0xc7, 0x02, 0x14, 0x00, 0x00, 0x00, 0xf0, 0x6e, 0x57, 0xb6, 0xd6, 0x5b, 0x00, 0x10, 0x00,
    0x00,
];

impl TestNode {
    async fn neighbours(&self) -> usize {
        let (reply, neighbours) = oneshot::channel();
        assert!(self.shared.events.send(Event::Command(Command::Neighbours(reply))).await.is_ok());
        neighbours.await.unwrap().len()
    }

    /// As if this node downloaded a blob.
    fn claim(&self, blob: &str) -> Claim {
        let name = recipes::as_layer(&blob.parse().unwrap());
        let claim = self.shared.site_downloads.claim(name, 0).ok().unwrap();
        assert!(claim.begins());
        claim
    }
}

/// Two nodes of a site that know each other.
async fn site(upstream: &TestRegistry) -> [TestNode; 2] {
    let places = [Place::create(), Place::create()];
    let members = places.each_ref().map(|place| place.peer_id);
    let mut nodes: Vec<TestNode> = Vec::new();
    for place in places {
        let bootstrap = match nodes.first() {
            Some(first) => vec![first.address().await],
            None => Vec::new(),
        };
        let mut config = place.config(&members, bootstrap);
        config.site = Site(Some("harbour".parse().unwrap()));
        config.upstream.insert(upstream.host.clone(), UpstreamHost { insecure: true, ..UpstreamHost::default() });
        config.registry.policy = vec![policy(upstream)];
        // As a node with an endpoint: it keeps the blobs that no recipe makes.
        config.registry.keep_blobs = true;
        nodes.push(TestNode::start_with(place, config).await);
    }
    for node in &nodes {
        while node.neighbours().await == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    nodes.try_into().unwrap_or_else(|_| panic!("two nodes"))
}

async fn end(nodes: [TestNode; 2]) {
    for node in nodes {
        node.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_of_a_site_that_ask_together_download_each_layer_once() {
    let upstream = TestRegistry::start().await;
    let layers: Vec<Vec<u8>> = (1..5).map(|seed| noise(seed, 100_000)).collect();
    upstream.push("demo/app", "1", &layers);
    let nodes = site(&upstream).await;
    let pulls = nodes.each_ref().map(|node| {
        let (client, path) = (Arc::new(node.client()), path(&upstream));
        tokio::spawn(async move { client.pull(&path, "1").await })
    });
    for pulled in pulls {
        assert!(pulled.await.unwrap() == layers);
    }
    for layer in &layers {
        assert_eq!(upstream.asked(&sha256(layer)), 1);
    }
    end(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_downloads_what_stops_coming_through_its_neighbour() {
    let upstream = TestRegistry::start().await;
    let layers = [noise(1, 100_000), noise(2, 100_000)];
    let blobs = layers.each_ref().map(|layer| sha256(layer));
    upstream.push("demo/app", "1", &layers);
    let nodes = site(&upstream).await;
    let claim = nodes[0].claim(&blobs[0]);
    let client = nodes[1].client();
    client.get(&format!("{}/manifests/1", path(&upstream))).await;
    // The second layer comes after the question for the first one.
    client.get(&format!("{}/blobs/{}", path(&upstream), blobs[1])).await;
    assert_eq!(upstream.asked(&blobs[0]), 0, "the neighbour is waited for");
    drop(claim);
    let blob = client.get(&format!("{}/blobs/{}", path(&upstream), blobs[0])).await;
    assert!(blob.body == layers[0], "{}", blob.text());
    end(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compressed_layer_comes_through_a_neighbour_with_its_recipe() {
    let upstream = TestRegistry::start().await;
    let put = |kind: &str, media_type: &str, bytes: &[u8]| upstream.put("demo/app", kind, media_type, bytes);
    let root = json!({ "type": "layers", "diff_ids": [sha256(&[7; 4096])] });
    let config = json!({ "architecture": "amd64", "os": "linux", "rootfs": root }).to_string();
    let config = put("blobs", "application/vnd.oci.image.config.v1+json", config.as_bytes());
    let layer = put("blobs", "application/vnd.oci.image.layer.v1.tar+gzip", &GZIP);
    let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] });
    let manifest = manifest.to_string().into_bytes();
    put("manifests", MANIFEST, &manifest);
    upstream.put_at("/v2/demo/app/manifests/1", MANIFEST, &manifest);
    let nodes = site(&upstream).await;
    // The second node has the documents before the first knows the recipe.
    let claim = nodes[0].claim(&sha256(&GZIP));
    let second = nodes[1].client();
    second.get(&format!("{}/manifests/1", path(&upstream))).await;
    claim.finish();
    assert!(nodes[0].client().pull(&path(&upstream), "1").await == [GZIP]);
    let blob = second.get(&format!("{}/blobs/{}", path(&upstream), sha256(&GZIP))).await;
    assert!(blob.body == GZIP, "{}", blob.text());
    assert_eq!(blob.source(), "upstream; blob=recipe");
    assert_eq!(upstream.asked(&sha256(&GZIP)), 1);
    end(nodes).await;
}
