//! An image of several platforms with signatures and attestations that comes from upstream by a policy: its clients see
//! what upstream shows, byte by byte.
//!
//! No cosign is at hand: a signature is made as cosign and notation write it, and the requests are those of a verifier.

use axum::http::{Method, StatusCode};
use lighter_image::Platform;
use serde_json::{Value, json};

use super::registry::{Fault, INDEX, MANIFEST, TestRegistry, noise, sha256};
use super::{Client, TestNode, name, path, policy};
use crate::config::policy::{Policy, WhenAway};

const REPOSITORY: &str = "demo/app";

/// An image for two platforms in a registry, and what refers to it.
struct Signed {
    /// Digests.
    index: String,
    own: String,
    other: String,
    other_layer: String,
    /// An attestation that refers to the own platform's manifest.
    attestation: String,
    layers: Vec<Vec<u8>>,
}

fn digest(descriptor: &Value) -> String {
    descriptor["digest"].as_str().unwrap().to_owned()
}

/// The tag of cosign's signature.
fn signature_tag(digest: &str) -> String {
    format!("{}.sig", digest.replace(':', "-"))
}

/// Adds an artifact with one blob: its manifest's descriptor and bytes.
fn put_artifact(upstream: &TestRegistry, kind: &str, payload: &[u8], subject: Option<Value>) -> (Value, Vec<u8>) {
    let config = upstream.put(REPOSITORY, "blobs", "application/vnd.oci.empty.v1+json", b"{}");
    let blob = upstream.put(REPOSITORY, "blobs", kind, payload);
    let mut manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [blob] });
    if let Some(subject) = subject {
        manifest["subject"] = subject;
        manifest["artifactType"] = kind.into();
    }
    let manifest = manifest.to_string().into_bytes();
    (upstream.put(REPOSITORY, "manifests", MANIFEST, &manifest), manifest)
}

/// Signs a manifest as cosign does.
fn sign(upstream: &TestRegistry, subject: &str, payload: &str) {
    let kind = "application/vnd.dev.cosign.simplesigning.v1+json";
    let (_, manifest) = put_artifact(upstream, kind, payload.as_bytes(), None);
    upstream.put_at(&format!("/v2/{REPOSITORY}/manifests/{}", signature_tag(subject)), MANIFEST, &manifest);
}

fn push(upstream: &TestRegistry) -> Signed {
    let layers = vec![noise(1, 120_000), noise(2, 60_000)];
    let other_layer = noise(9, 50_000);
    let own = upstream.push(REPOSITORY, "own", &layers);
    let other = upstream.push(REPOSITORY, "other", std::slice::from_ref(&other_layer));
    let (os_of_this_machine, architecture) = {
        let platform = Platform::host().to_string();
        let (os, architecture) = platform.split_once('/').unwrap();
        (os.to_owned(), architecture.split('/').next().unwrap().to_owned())
    };
    let entry = |digest: &str, architecture: &str| {
        let (_, bytes) = upstream.at(&format!("/v2/{REPOSITORY}/manifests/{digest}"));
        let platform = json!({ "os": os_of_this_machine, "architecture": architecture });
        json!({ "mediaType": MANIFEST, "digest": digest, "size": bytes.len(), "platform": platform })
    };
    let manifests = [entry(&other, "riscv64"), entry(&own, &architecture)];
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests }).to_string().into_bytes();
    upstream.put_at(&format!("/v2/{REPOSITORY}/manifests/1"), INDEX, &index);
    let index = digest(&upstream.put(REPOSITORY, "manifests", INDEX, &index));
    sign(upstream, &index, "the index is ours");
    let subject = json!({ "mediaType": MANIFEST, "digest": own, "size": 1 });
    let (attestation, _) = put_artifact(upstream, "application/vnd.in-toto+json", b"built by us", Some(subject));
    let list = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [attestation] });
    upstream.put_at(&format!("/v2/{REPOSITORY}/referrers/{own}"), INDEX, list.to_string().as_bytes());
    let attestation = digest(&attestation);
    Signed { index, own, other, other_layer: sha256(&other_layer), attestation, layers }
}

/// Checks that the node answers GET and HEAD of a document as upstream does.
async fn same_document(upstream: &TestRegistry, client: &Client, reference: &str) -> Vec<u8> {
    let (media_type, bytes) = upstream.at(&format!("/v2/{REPOSITORY}/manifests/{reference}"));
    for method in [Method::GET, Method::HEAD] {
        let answer = client.ask(method.clone(), &format!("{}/manifests/{reference}", path(upstream))).await;
        assert_eq!(answer.status, StatusCode::OK, "{method} {reference}: {}", answer.text());
        assert_eq!(answer.headers["content-type"], media_type.as_str(), "{method} {reference}");
        assert_eq!(answer.headers["docker-content-digest"], sha256(&bytes).as_str(), "{method} {reference}");
        assert_eq!(answer.headers["content-length"], bytes.len().to_string().as_str(), "{method} {reference}");
        assert_eq!(answer.source().split(';').next(), Some("upstream"), "{method} {reference}");
        assert!(method == Method::HEAD || answer.body == bytes, "{reference}");
    }
    bytes
}

/// Checks a manifest and all blobs that it names.
async fn same_artifact(upstream: &TestRegistry, client: &Client, reference: &str) {
    let manifest: Value = serde_json::from_slice(&same_document(upstream, client, reference).await).unwrap();
    for blob in manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]) {
        let (_, bytes) = upstream.at(&format!("/v2/{REPOSITORY}/blobs/{}", digest(blob)));
        let answer = client.get(&format!("{}/blobs/{}", path(upstream), digest(blob))).await;
        assert!(answer.status == StatusCode::OK && answer.body == bytes, "{blob}: {}", answer.text());
    }
}

/// Checks all that a runtime and a verifier of signatures ask for, by the tag `1`.
async fn same_as_upstream(upstream: &TestRegistry, client: &Client, image: &Signed) {
    let top = same_document(upstream, client, "1").await;
    assert_eq!(sha256(&top), image.index);
    for reference in [&image.index, &image.own, &image.other] {
        same_document(upstream, client, reference).await;
    }
    assert!(client.pull(&path(upstream), &image.own).await == image.layers);
    same_artifact(upstream, client, &signature_tag(&image.index)).await;
    same_artifact(upstream, client, &image.attestation).await;
    let list = client.get(&format!("{}/referrers/{}", path(upstream), image.own)).await;
    let list: Value = serde_json::from_slice(&list.body).unwrap();
    let listed: Vec<String> = list["manifests"].as_array().unwrap().iter().map(digest).collect();
    assert_eq!(listed, std::slice::from_ref(&image.attestation));
    let absent = client.get(&format!("{}/manifests/{}", path(upstream), signature_tag(&image.own))).await;
    assert_eq!(absent.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_of_several_platforms_and_its_signatures_are_those_of_upstream() {
    let upstream = TestRegistry::start().await;
    let image = push(&upstream);
    let node = TestNode::start(&upstream, Policy { max_age_s: 3600, ..policy(&upstream) }).await;
    same_as_upstream(&upstream, &node.client(), &image).await;
    node.until_named(&name(&upstream)).await;
    // Later, all of it is here. Upstream is away.
    upstream.set_status(Some(418));
    let before = upstream.asked("/");
    same_as_upstream(&upstream, &node.client(), &image).await;
    assert_eq!(upstream.asked("/"), before);
    assert_eq!(upstream.asked(&image.other_layer), 0, "the layers of another platform do not come");
    let names: Vec<String> = node.shared.store.references().iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(names, [name(&upstream).to_string()]);
    node.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_asked_for_by_the_digest_of_its_index_comes_with_it() {
    let upstream = TestRegistry::start().await;
    let image = push(&upstream);
    let node = TestNode::start(&upstream, Policy { max_age_s: 3600, ..policy(&upstream) }).await;
    let client = node.client();
    same_document(&upstream, &client, &image.index).await;
    assert!(client.pull(&path(&upstream), &image.own).await == image.layers);
    same_artifact(&upstream, &client, &signature_tag(&image.index)).await;
    node.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_signature_is_found_once_the_last_answer_is_too_old() {
    let upstream = TestRegistry::start().await;
    let image = push(&upstream);
    let old = TestNode::start(&upstream, Policy { max_age_s: 3600, ..policy(&upstream) }).await;
    let young = TestNode::start(&upstream, Policy { max_age_s: 0, ..policy(&upstream) }).await;
    for node in [&old, &young] {
        node.client().pull(&path(&upstream), &image.own).await;
        same_document(&upstream, &node.client(), "1").await;
        node.until_named(&name(&upstream)).await;
    }
    // cosign signs again: the tag of the index's signature moves, the platform's manifest gets its first one.
    sign(&upstream, &image.index, "and it is good");
    sign(&upstream, &image.own, "this platform too");
    let asked = upstream.asked(&format!("/manifests/{}", image.other));
    for subject in [&image.index, &image.own] {
        same_artifact(&upstream, &young.client(), &signature_tag(subject)).await;
    }
    assert_eq!(upstream.asked(&format!("/manifests/{}", image.other)), asked, "documents come once");
    let absent = old.client().get(&format!("{}/manifests/{}", path(&upstream), signature_tag(&image.own))).await;
    assert_eq!(absent.status, StatusCode::NOT_FOUND);
    young.end().await;
    old.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn artifacts_follow_the_policy_while_upstream_is_away() {
    let upstream = TestRegistry::start().await;
    let image = push(&upstream);
    let last = Policy { max_age_s: 0, ..policy(&upstream) };
    let fail = Policy { when_upstream_is_away: WhenAway::Fail, ..last.clone() };
    let nodes = [TestNode::start(&upstream, last).await, TestNode::start(&upstream, fail).await];
    for node in &nodes {
        same_as_upstream(&upstream, &node.client(), &image).await;
        node.until_named(&name(&upstream)).await;
    }
    upstream.set_status(Some(418));
    let signature = format!("{}/manifests/{}", path(&upstream), signature_tag(&image.index));
    let absent = format!("{}/manifests/{}", path(&upstream), signature_tag(&image.own));
    let list = format!("{}/referrers/{}", path(&upstream), image.own);
    let [last, fail] = &nodes;
    for (node, path, expected) in [
        (last, &signature, StatusCode::OK),
        (last, &list, StatusCode::OK),
        // Nobody knows whether there is one by now.
        (last, &absent, StatusCode::BAD_GATEWAY),
        (fail, &signature, StatusCode::BAD_GATEWAY),
        (fail, &list, StatusCode::BAD_GATEWAY),
    ] {
        let answer = node.client().get(path).await;
        assert_eq!(answer.status, expected, "{path}: {}", answer.text());
    }
    for node in nodes {
        node.end().await;
    }
}

/// An image that lost its signatures that way would be refused everywhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_whose_artifacts_upstream_does_not_list_gets_no_name() {
    let upstream = TestRegistry::start().await;
    let image = push(&upstream);
    upstream.set(Some(Fault::Referrers(503)));
    let node = TestNode::start(&upstream, policy(&upstream)).await;
    let client = node.client();
    same_document(&upstream, &client, "1").await;
    let signature = client.get(&format!("{}/manifests/{}", path(&upstream), signature_tag(&image.index))).await;
    assert_eq!(signature.status, StatusCode::BAD_GATEWAY, "{}", signature.text());
    assert!(signature.text().contains("list what refers to"), "{}", signature.text());
    assert!(node.shared.store.references().is_empty());
    upstream.set(None);
    same_as_upstream(&upstream, &node.client(), &image).await;
    node.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_artifact_without_an_image_comes_by_its_own_digest() {
    let upstream = TestRegistry::start().await;
    let (module, _) = put_artifact(&upstream, "application/vnd.wasm.content.layer.v1+wasm", b"a module", None);
    // Some other kind of document, which names nothing that is known here.
    let other = upstream.put(REPOSITORY, "manifests", "application/vnd.example.thing.v7+json", br#"{"thing":1}"#);
    let node = TestNode::start(&upstream, policy(&upstream)).await;
    let client = node.client();
    same_artifact(&upstream, &client, &digest(&module)).await;
    same_document(&upstream, &client, &digest(&other)).await;
    let asked = upstream.asked("/");
    same_artifact(&upstream, &client, &digest(&module)).await;
    assert_eq!(upstream.asked("/"), asked, "it is kept");
    // Upstream has in another repository neither the artifact nor its blob.
    let elsewhere = format!("/v2/{}/demo/other", upstream.host);
    for path in [format!("manifests/{}", digest(&module)), format!("blobs/{}", sha256(b"a module"))] {
        assert_eq!(client.get(&format!("{elsewhere}/{path}")).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    let absent = client.get(&format!("{}/manifests/{}", path(&upstream), sha256(b"nobody has it"))).await;
    assert_eq!(absent.status, StatusCode::NOT_FOUND, "{}", absent.text());
    // An image that breaks its promises stays a failure of upstream.
    let layer = json!({ "mediaType": "application/x-other", "digest": sha256(b"x"), "size": 1 });
    let config = upstream.put(REPOSITORY, "blobs", "application/vnd.oci.image.config.v1+json", b"{}");
    let broken = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] }).to_string();
    let broken = upstream.put(REPOSITORY, "manifests", MANIFEST, broken.as_bytes());
    let refused = client.get(&format!("{}/manifests/{}", path(&upstream), digest(&broken))).await;
    assert_eq!(refused.status, StatusCode::BAD_GATEWAY, "{}", refused.text());
    assert!(node.shared.store.references().is_empty(), "nothing has a name");
    upstream.set(Some(Fault::OtherBytes));
    let node_again = node.client();
    same_document(&upstream, &node_again, &digest(&other)).await;
    let blob = node_again.get(&format!("{}/blobs/{}", path(&upstream), sha256(b"a module"))).await;
    assert_eq!(blob.status, StatusCode::NOT_FOUND, "its manifest was not asked for");
    same_document(&upstream, &node_again, &digest(&module)).await;
    let blob = node_again.get(&format!("{}/blobs/{}", path(&upstream), sha256(b"a module"))).await;
    assert_eq!(blob.status, StatusCode::BAD_GATEWAY, "{}", blob.text());
    node.end().await;
}
