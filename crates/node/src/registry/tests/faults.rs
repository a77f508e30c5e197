//! Registries that lie, refuse or break, seen through the endpoint.
//!
//! A client never gets a 2xx for what is not right, and is told the registry, the repository, the step and a remedy.
//! Faults that pass are repeated by the client of registries, so their tests take its waits: some seconds.

use axum::http::StatusCode;

use super::registry::{Fault, TestRegistry, noise, sha256};
use super::{TestNode, path, policy};
use crate::config::UpstreamHost;
use crate::tests::Place;

/// A registry with this fault: what a client hears that asks for the tag, or with the documents here, for the layer.
async fn check(fault: Fault, expected: &[&str]) {
    let upstream = TestRegistry::start().await;
    let layer = noise(1, 100_000);
    upstream.push("demo/app", "1", std::slice::from_ref(&layer));
    let is_in_layer = matches!(fault, Fault::OtherBytes | Fault::OtherLength | Fault::Half);
    upstream.set(Some(fault.clone()));
    let node = TestNode::start(&upstream, policy(&upstream)).await;
    let (client, path) = (node.client(), path(&upstream));
    let mut answer = client.get(&format!("{path}/manifests/1")).await;
    if is_in_layer {
        assert_eq!(answer.status, StatusCode::OK, "{fault:?}: {}", answer.text());
        answer = client.get(&format!("{path}/blobs/{}", sha256(&layer))).await;
    }
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{fault:?}: {}", answer.text());
    let text = answer.text();
    for part in [&upstream.host, "demo/app"].into_iter().chain(expected.iter().copied()) {
        assert!(text.contains(part), "{fault:?}: {part:?} is not in {text}");
    }
    // Once the registry is right, a later client gets the image.
    upstream.set(None);
    assert!(node.client().pull(&path, "1").await == [layer], "{fault:?}");
    node.end().await;
}

macro_rules! faults {
    ($($name:ident: $fault:expr => $expected:expr;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                check($fault, &$expected).await;
            }
        )*
    };
}

faults! {
    a_registry_that_sends_other_bytes_is_found_out: Fault::OtherBytes => ["the tar in layer", "do not use what"];
    a_registry_that_sends_another_length_is_found_out: Fault::OtherLength => ["get blob"];
    a_registry_that_sends_half_of_a_blob_is_found_out: Fault::Half => ["get blob"];
    a_registry_that_lets_nobody_in_is_named: Fault::Unauthorized => ["get manifest 1", "401", "auth_file"];
    a_registry_that_asks_to_wait_for_an_hour_is_named: Fault::Later => ["get manifest 1", "429", "3600 s"];
    a_registry_that_fails_is_named: Fault::Status(503) => ["get manifest 1", "503", "name a mirror"];
    a_registry_that_sends_its_clients_elsewhere_is_named:
        Fault::Redirect("http://elsewhere.example".to_owned()) => ["get manifest 1", "elsewhere.example"];
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_credentials_and_a_registry_without_tls_are_named() {
    let upstream = TestRegistry::start().await;
    upstream.set(Some(Fault::Unauthorized));
    let folder = tempfile::tempdir().unwrap();
    let password_file = folder.path().join("password");
    std::fs::write(&password_file, "expired").unwrap();
    let expired = UpstreamHost { insecure: true, username: "ann".to_owned(), password_file, ..UpstreamHost::default() };
    let secure = UpstreamHost::default();
    for (settings, expected) in
        [(expired, ["these credentials", "their rights"]), (secure, ["cannot be reached", "insecure"])]
    {
        let place = Place::create();
        let mut config = place.config(&[place.peer_id], Vec::new());
        config.upstream.insert(upstream.host.clone(), settings);
        config.registry.policy = vec![policy(&upstream)];
        let node = TestNode::start_with(place, config).await;
        let answer = node.client().get(&format!("{}/manifests/1", path(&upstream))).await;
        assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{}", answer.text());
        for part in expected {
            assert!(answer.text().contains(part), "{part:?} is not in {}", answer.text());
        }
        node.end().await;
    }
}
