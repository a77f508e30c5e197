//! Mirrors: in order, with their own settings, and left out after a failure.

use std::sync::Arc;
use std::time::Duration;

use super::network::{Asked, Network, Reply, download, noise};
use crate::client::Upstream;
use crate::client::settings::HostSettings;

fn plain() -> HostSettings {
    HostSettings { is_insecure: true, ..HostSettings::default() }
}

fn with_mirrors(network: &Arc<Network>, mirrors: &[&str]) -> Arc<Upstream> {
    let mirrors: Vec<String> = mirrors.iter().map(|mirror| (*mirror).to_owned()).collect();
    let registry = HostSettings { mirrors, ..plain() };
    network.client(&[
        ("r.example", registry),
        ("m.example", plain()),
        ("n.example", plain()),
        ("gone.example", plain()),
    ])
}

fn hosts(network: &Network) -> Vec<String> {
    network.asked().into_iter().map(|asked| asked.host).collect()
}

/// Every host has the blob but those that `fails` answers for.
fn network(bytes: &[u8], fails: impl Fn(&Asked) -> Option<Reply> + Send + Sync + 'static) -> Arc<Network> {
    let bytes = bytes.to_vec();
    Network::new(move |asked| fails(asked).unwrap_or_else(|| Reply::ok(&bytes)))
}

#[tokio::test(start_paused = true)]
async fn the_first_mirror_serves() {
    let bytes = noise(100);
    let network = network(&bytes, |_| None);
    assert!(download(&with_mirrors(&network, &["m.example", "n.example"]), &bytes).await.unwrap() == bytes);
    assert_eq!(hosts(&network), ["m.example"]);
    assert!(network.asked()[0].path().ends_with("?ns=r.example"));
}

#[tokio::test(start_paused = true)]
async fn the_next_one_serves_what_a_mirror_has_not() {
    let bytes = noise(100);
    for status in [404, 403, 401, 400] {
        let network = network(&bytes, move |asked| (asked.host != "r.example").then(|| Reply::status(status)));
        assert!(download(&with_mirrors(&network, &["m.example", "n.example"]), &bytes).await.unwrap() == bytes);
        assert_eq!(hosts(&network), ["m.example", "n.example", "r.example"], "{status}");
        assert!(!network.asked()[2].path().contains("ns="));
    }
}

#[tokio::test(start_paused = true)]
async fn a_mirror_that_fails_is_asked_twice_and_then_left_out_for_a_minute() {
    let bytes = noise(100);
    let network = network(&bytes, |asked| (asked.host == "m.example").then(|| Reply::status(500)));
    let client = with_mirrors(&network, &["gone.example", "m.example"]);
    assert!(download(&client, &bytes).await.unwrap() == bytes);
    assert_eq!(hosts(&network), ["m.example", "m.example", "r.example"]);
    assert!(download(&client, &bytes).await.unwrap() == bytes);
    assert_eq!(hosts(&network).len(), 4);
    tokio::time::advance(Duration::from_secs(61)).await;
    assert!(download(&client, &bytes).await.unwrap() == bytes);
    assert_eq!(hosts(&network).len(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_blob_that_breaks_at_a_mirror_goes_on_at_the_registry() {
    let bytes = noise(100);
    let half = bytes[..60].to_vec();
    let network = network(&bytes, move |asked| match (asked.host.as_str(), asked.header("range")) {
        ("m.example", None) => Some(Reply::raw("200 OK\nContent-Length: 100", &half, super::network::Then::Close)),
        ("m.example", Some(_)) => Some(Reply::status(500)),
        _ => None,
    });
    assert!(download(&with_mirrors(&network, &["m.example"]), &bytes).await.unwrap() == bytes);
    assert_eq!(hosts(&network), ["m.example", "m.example", "r.example"]);
    assert_eq!(network.asked()[2].header("range"), Some("bytes=60-"));
}

#[tokio::test(start_paused = true)]
async fn credentials_of_the_registry_do_not_go_to_its_mirror() {
    let bytes = noise(100);
    let served = bytes.clone();
    let network = Network::new(move |asked| match (asked.host.as_str(), asked.header("authorization")) {
        ("r.example", Some(_)) => Reply::ok(&served),
        _ => Reply::challenge("Basic realm=\"x\""),
    });
    let mirrors = vec!["m.example".to_owned()];
    let registry = HostSettings { mirrors, credentials: Some(network.login()), ..plain() };
    let client = network.client(&[("r.example", registry), ("m.example", plain())]);
    assert!(download(&client, &bytes).await.unwrap() == bytes);
    let asked = network.asked();
    assert!(
        asked.iter().filter(|asked| asked.host == "m.example").all(|asked| asked.header("authorization").is_none())
    );
}
