//! The endpoint in front of an upstream registry of the test's own, with nodes in this process.
//!
//! A test's registry answers over plain HTTP on loopback and counts what it is asked. A `Client` asks the endpoint's
//! router, as hyper would. A new one stands for a time later: what the last one's flights remember is gone.

mod beside;
mod faults;
mod registry;
mod site;

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use libp2p::Multiaddr;
use lighter_registry::server::{Counts, Repository, Users, router};
use lighter_types::{ImageReference, PeerId};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::{Registry, known_as, names_of};
use crate::config::policy::{LayerSource, Policy, Resolver, WhenAway, full_name};
use crate::config::{Config, UpstreamHost};
use crate::event::{Command, Event};
use crate::shared::Shared;
use crate::tests::Place;
use crate::{Node, RunError, api};
use registry::{TestRegistry, noise};

/// A node in this process whose endpoint is asked directly.
struct TestNode {
    shared: Arc<Shared>,
    stop: CancellationToken,
    ended: JoinHandle<Result<(), RunError>>,
    _place: Place,
}

impl TestNode {
    /// A node that asks `upstream` by this policy.
    async fn start(upstream: &TestRegistry, policy: Policy) -> Self {
        let place = Place::create();
        let members = [place.peer_id];
        Self::start_in(place, upstream, policy, &members, Vec::new()).await
    }

    async fn start_in(
        place: Place,
        upstream: &TestRegistry,
        policy: Policy,
        members: &[PeerId],
        bootstrap: Vec<Multiaddr>,
    ) -> Self {
        let mut config = place.config(members, bootstrap);
        config.upstream.insert(upstream.host.clone(), UpstreamHost { insecure: true, ..UpstreamHost::default() });
        config.registry.policy = vec![policy];
        Self::start_with(place, config).await
    }

    async fn start_with(place: Place, config: Config) -> Self {
        let node = Node::start(config).await.unwrap();
        let (shared, stop) = (node.shared.clone(), CancellationToken::new());
        let ended = tokio::spawn(node.run(stop.clone()));
        Self { shared, stop, ended, _place: place }
    }

    fn client(&self) -> Client {
        let users: Option<Arc<Users>> = None;
        let (registry, counts) = (Registry::new(self.shared.clone(), users, self.stop.clone()), Counts::default());
        Client { router: router(Arc::new(registry), counts.clone()), counts }
    }

    /// Waits until an image has its name here: the last layer is served before.
    async fn until_named(&self, name: &ImageReference) {
        while self.shared.store.reference(name).is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn status(&self) -> api::Status {
        crate::store_reading::refresh(&self.shared).await;
        let (reply, status) = oneshot::channel();
        assert!(self.shared.events.send(Event::Command(Command::Status(reply))).await.is_ok());
        status.await.unwrap()
    }

    async fn until(&self, condition: impl Fn(&api::Status) -> bool) -> api::Status {
        loop {
            let status = self.status().await;
            if condition(&status) {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn address(&self) -> Multiaddr {
        let status = self.until(|status| !status.listen.is_empty()).await;
        format!("{}/p2p/{}", status.listen[0], self.shared.identity.peer_id()).parse().unwrap()
    }

    async fn end(self) {
        self.stop.cancel();
        self.ended.await.unwrap().unwrap();
    }
}

struct Client {
    router: axum::Router,
    counts: Counts,
}

struct Response {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Client {
    async fn get(&self, path: &str) -> Response {
        self.ask(Method::GET, path).await
    }

    async fn ask(&self, method: Method, path: &str) -> Response {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let body = to_bytes(response.into_body(), 16 << 20).await.unwrap().to_vec();
        Response { status, headers, body }
    }

    /// Gets a manifest and all blobs that it names, as a runtime does: the layers.
    async fn pull(&self, path: &str, tag: &str) -> Vec<Vec<u8>> {
        let manifest = self.get(&format!("{path}/manifests/{tag}")).await;
        assert_eq!(manifest.status, StatusCode::OK, "{}", manifest.text());
        let parsed: Value = serde_json::from_slice(&manifest.body).unwrap();
        let digest = |descriptor: &Value| descriptor["digest"].as_str().unwrap().to_owned();
        let config = self.get(&format!("{path}/blobs/{}", digest(&parsed["config"]))).await;
        assert_eq!(config.status, StatusCode::OK);
        let mut layers = Vec::new();
        for layer in parsed["layers"].as_array().unwrap() {
            let layer = self.get(&format!("{path}/blobs/{}", digest(layer))).await;
            assert_eq!(layer.status, StatusCode::OK, "{}", layer.text());
            layers.push(layer.body);
        }
        layers
    }
}

impl Response {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn source(&self) -> &str {
        self.headers.get("lighter-source").map_or("", |value| value.to_str().unwrap())
    }
}

/// All repositories of the registry come from there.
fn policy(upstream: &TestRegistry) -> Policy {
    Policy {
        repositories: vec![format!("{}/*", upstream.host).parse().unwrap()],
        resolve: vec![Resolver::Upstream],
        ..Policy::default()
    }
}

/// The image that most tests pull.
fn name(upstream: &TestRegistry) -> ImageReference {
    format!("{}/demo/app:1", upstream.host).parse().unwrap()
}

fn path(upstream: &TestRegistry) -> String {
    format!("/v2/{}/demo/app", upstream.host)
}

/// A client that calls a private repository of a registry one of Docker Hub does not get around its policy.
#[test]
fn all_names_of_a_repository_have_one_policy() {
    let repository = |name: &str, registry: Option<&str>| Repository {
        name: name.to_owned(),
        registry: registry.map(str::to_owned),
    };
    let inner = repository("registry.example/secret/app", Some("docker.io"));
    assert_eq!(names_of(&inner), ["docker.io/registry.example/secret/app"]);
    for (name, registry) in [
        ("nginx", None),
        ("library/nginx", None),
        ("library/nginx", Some("docker.io")),
        ("docker.io/library/nginx", None),
        ("nginx", Some("index.docker.io")),
        ("registry.example/secret/app", None),
        ("docker.io/registry.example/app", None),
        ("registry.example/library/app", Some("docker.io")),
        ("library/registry.example/app", Some("docker.io")),
    ] {
        let repository = repository(name, registry);
        let names = names_of(&repository);
        assert!(names.iter().all(|name| full_name(name) == known_as(&repository)), "{names:?}");
        assert!(names.contains(&known_as(&repository)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_that_no_release_names_comes_from_upstream_once_for_all_clients() {
    let upstream = TestRegistry::start().await;
    let layers = [noise(1, 200_000), noise(2, 90_000)];
    let digest = upstream.push("demo/app", "1", &layers);
    let node = TestNode::start(&upstream, policy(&upstream)).await;
    let (client, path) = (Arc::new(node.client()), path(&upstream));
    let clients = (0..20).map(|_| {
        let (client, path) = (client.clone(), path.clone());
        tokio::spawn(async move { client.pull(&path, "1").await })
    });
    for pulled in futures::future::join_all(clients).await {
        assert!(pulled.unwrap() == layers);
    }
    assert_eq!((upstream.asked("/manifests/1"), upstream.asked("/blobs/")), (1, 3), "config and layers come once");
    let manifest = client.get(&format!("{path}/manifests/1")).await;
    assert_eq!((manifest.source(), &manifest.headers["docker-content-digest"]), ("upstream", &digest.parse().unwrap()));
    let blob = client.get(&format!("{path}/blobs/{}", registry::sha256(&layers[0]))).await;
    assert_eq!(blob.source(), "upstream; blob=plain");
    // By digest too, and another repository does not have it.
    assert_eq!(client.get(&format!("{path}/manifests/{digest}")).await.source(), "upstream");
    let other = format!("/v2/{}/demo/other/manifests/{digest}", upstream.host);
    assert_eq!(client.get(&other).await.status, StatusCode::NOT_FOUND);
    let stats = client.counts.stats();
    let sent: u64 = stats.body_bytes.values().sum();
    assert!(sent > 20 * 290_000, "{stats:?}");
    // No release was signed: a peer that asks for the name hears nothing.
    node.until_named(&name(&upstream)).await;
    assert_eq!(crate::images::release_of(&node.shared.store, &name(&upstream)), None);
    node.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_counts_for_its_age_and_then_upstream_is_asked_again() {
    let upstream = TestRegistry::start().await;
    upstream.push("demo/app", "1", &[noise(1, 50_000)]);
    let node = TestNode::start(&upstream, Policy { max_age_s: 3600, ..policy(&upstream) }).await;
    let path = path(&upstream);
    node.client().pull(&path, "1").await;
    node.until_named(&name(&upstream)).await;
    let later = node.client();
    later.pull(&path, "1").await;
    assert!(later.get(&format!("{path}/manifests/1")).await.source().starts_with("upstream; age="));
    assert_eq!((upstream.asked("/manifests/1"), upstream.asked("/blobs/")), (1, 2));
    node.end().await;

    let node = TestNode::start(&upstream, Policy { max_age_s: 0, ..policy(&upstream) }).await;
    node.client().pull(&path, "1").await;
    node.until_named(&name(&upstream)).await;
    // The tag moves. The layer that both images have is not downloaded again.
    let (kept, new) = (noise(1, 50_000), noise(3, 60_000));
    upstream.push("demo/app", "1", &[kept.clone(), new.clone()]);
    let before = upstream.asked("/blobs/");
    assert!(node.client().pull(&path, "1").await == [kept, new]);
    assert_eq!(upstream.asked("/blobs/"), before + 2, "the config and the new layer");
    node.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_without_a_policy_is_not_asked_for_upstream() {
    let upstream = TestRegistry::start().await;
    upstream.push("demo/app", "1", &[noise(1, 50_000)]);
    let elsewhere =
        Policy { repositories: vec![format!("{}/other/*", upstream.host).parse().unwrap()], ..policy(&upstream) };
    let node = TestNode::start(&upstream, elsewhere).await;
    let client = node.client();
    assert_eq!(client.get(&format!("{}/manifests/1", path(&upstream))).await.status, StatusCode::NOT_FOUND);
    assert_eq!(upstream.asked("/"), 0);
    let absent = client.get(&format!("/v2/{}/other/app/manifests/1", upstream.host)).await;
    assert_eq!((absent.status, upstream.asked("/manifests/")), (StatusCode::NOT_FOUND, 1));
    assert!(absent.text().contains("MANIFEST_UNKNOWN"));
    node.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_answer_counts_while_upstream_is_away_if_the_policy_says_so() {
    let upstream = TestRegistry::start().await;
    let layer = noise(1, 50_000);
    upstream.push("demo/app", "1", std::slice::from_ref(&layer));
    let last = Policy { max_age_s: 0, ..policy(&upstream) };
    let fail = Policy { when_upstream_is_away: WhenAway::Fail, ..last.clone() };
    let nodes = [TestNode::start(&upstream, last).await, TestNode::start(&upstream, fail).await];
    for node in &nodes {
        node.client().pull(&path(&upstream), "1").await;
        node.until_named(&name(&upstream)).await;
    }
    upstream.set_status(Some(418));
    let [last, fail] = &nodes;
    let client = last.client();
    let manifest = client.get(&format!("{}/manifests/1", path(&upstream))).await;
    assert!(manifest.source().starts_with("last-known; age="), "{}", manifest.source());
    assert!(client.pull(&path(&upstream), "1").await == [layer]);
    let refused = fail.client().get(&format!("{}/manifests/1", path(&upstream))).await;
    assert_eq!(refused.status, StatusCode::BAD_GATEWAY);
    // A tag that upstream no longer has is gone, whatever was known.
    upstream.set_status(Some(404));
    let gone = last.client().get(&format!("{}/manifests/1", path(&upstream))).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    for node in nodes {
        node.end().await;
    }
}

/// A hub that pulled an image through, and an edge that knows it.
async fn hub_and_edge(upstream: &TestRegistry, edge: Policy) -> (TestNode, TestNode) {
    let places = [Place::create(), Place::create()];
    let members = places.each_ref().map(|place| place.peer_id);
    let [hub_place, edge_place] = places;
    let hub = TestNode::start_in(hub_place, upstream, policy(upstream), &members, Vec::new()).await;
    hub.client().pull(&path(upstream), "1").await;
    hub.until_named(&name(upstream)).await;
    let bootstrap = vec![hub.address().await];
    let edge = TestNode::start_in(edge_place, upstream, edge, &members, bootstrap).await;
    edge.until(|status| status.peers_connected == 1).await;
    // The hub's layers are known at the edge when its announcement is taken in.
    let layer = crate::images::layers_of(&hub.shared.store, &hub.shared.store.references()[0].0).unwrap()[0];
    loop {
        let (reply, holders) = oneshot::channel();
        assert!(edge.shared.events.send(Event::Command(Command::Holders(layer, reply))).await.is_ok());
        if !holders.await.unwrap().is_empty() {
            return (hub, edge);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn layers_that_a_peer_holds_are_not_downloaded() {
    let upstream = TestRegistry::start().await;
    let layers = [noise(1, 200_000), noise(2, 90_000)];
    upstream.push("demo/app", "1", &layers);
    let (hub, edge) = hub_and_edge(&upstream, policy(&upstream)).await;
    let before = upstream.asked("/blobs/");
    assert!(edge.client().pull(&path(&upstream), "1").await == layers);
    assert_eq!(upstream.asked("/blobs/"), before + 1, "the config alone");
    // It is kept under its own name, not under its digest.
    edge.until_named(&name(&upstream)).await;
    let names: Vec<String> = edge.shared.store.references().iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(names, [format!("{}/demo/app:1", upstream.host)]);
    edge.end().await;
    hub.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_without_peers_downloads_and_one_without_upstream_does_not() {
    let upstream = TestRegistry::start().await;
    let layers = [noise(1, 100_000)];
    upstream.push("demo/app", "1", &layers);
    let alone = Policy { fetch: vec![LayerSource::Upstream], ..policy(&upstream) };
    let (hub, edge) = hub_and_edge(&upstream, alone).await;
    let before = upstream.asked("/blobs/");
    assert!(edge.client().pull(&path(&upstream), "1").await == layers);
    assert_eq!(upstream.asked("/blobs/"), before + 2);
    edge.end().await;
    hub.end().await;
    let peers = Policy { fetch: vec![LayerSource::Peers], ..policy(&upstream) };
    let node = TestNode::start(&upstream, peers).await;
    let client = node.client();
    let manifest = client.get(&format!("{}/manifests/1", path(&upstream))).await;
    assert_eq!(manifest.status, StatusCode::OK);
    let blob = client.get(&format!("{}/blobs/{}", path(&upstream), registry::sha256(&layers[0]))).await;
    assert_eq!(blob.status, StatusCode::BAD_GATEWAY);
    assert!(blob.text().contains("no peer gives"), "{}", blob.text());
    node.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_layer_that_was_removed_here_comes_again() {
    let upstream = TestRegistry::start().await;
    let layer = noise(1, 50_000);
    upstream.push("demo/app", "1", std::slice::from_ref(&layer));
    let node = TestNode::start(&upstream, Policy { max_age_s: 3600, ..policy(&upstream) }).await;
    let path = path(&upstream);
    node.client().pull(&path, "1").await;
    node.until_named(&name(&upstream)).await;
    let diff_id = crate::images::layers_of(&node.shared.store, &name(&upstream)).unwrap()[0];
    node.shared.store.quarantine_layer(&diff_id).unwrap();
    let blob = node.client().get(&format!("{path}/blobs/{}", registry::sha256(&layer))).await;
    assert!(blob.status == StatusCode::OK && blob.body == layer, "{}", blob.text());
    node.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_a_policy_leaves_out_gets_neither_layers_nor_documents() {
    let upstream = TestRegistry::start().await;
    let layers = [noise(1, 100_000)];
    upstream.push("demo/app", "1", &layers);
    let places = [Place::create(), Place::create()];
    let members = places.each_ref().map(|place| place.peer_id);
    let [hub_place, edge_place] = places;
    let only_hub = Policy { members: vec![members[0]], ..policy(&upstream) };
    let hub = TestNode::start_in(hub_place, &upstream, only_hub, &members, Vec::new()).await;
    hub.client().pull(&path(&upstream), "1").await;
    hub.until_named(&name(&upstream)).await;
    let bootstrap = vec![hub.address().await];
    let edge = TestNode::start_in(edge_place, &upstream, policy(&upstream), &members, bootstrap).await;
    edge.until(|status| status.peers_connected == 1).await;
    let before = upstream.asked("/blobs/");
    assert!(edge.client().pull(&path(&upstream), "1").await == layers);
    assert_eq!(upstream.asked("/blobs/"), before + 2, "all comes from upstream");
    // The edge asks for the very layer, and is told that it is not held.
    let layer = crate::images::layers_of(&hub.shared.store, &hub.shared.store.references()[0].0).unwrap()[0];
    assert!(!crate::peer_access::may_have_layer(&hub.shared, members[1], layer));
    assert!(crate::peer_access::may_have_layer(&hub.shared, members[0], layer));
    edge.end().await;
    hub.end().await;
}
