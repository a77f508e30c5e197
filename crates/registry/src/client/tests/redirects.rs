//! Redirects: followed without credentials, to HTTPS, and not for ever.

use super::network::{Asked, Network, Reply, download, failure, noise};
use crate::client::error::Failure;

fn with_cdn(bytes: Vec<u8>, to: &'static str) -> impl Fn(&Asked) -> Reply + Send + Sync {
    move |asked| match (asked.host.as_str(), asked.header("authorization")) {
        ("cdn.example", None) => Reply::ok(&bytes),
        ("cdn.example", Some(_)) => Reply::status(400),
        (_, None) => Reply::challenge("Basic realm=\"x\""),
        (_, Some(_)) => Reply::redirect(to),
    }
}

#[tokio::test(start_paused = true)]
async fn a_blob_comes_from_elsewhere_without_credentials() {
    let bytes = noise(5000);
    let network = Network::new(with_cdn(bytes.clone(), "https://cdn.example/x?sig=a%2Fb"));
    let client = network.client(&[("r.example", network.with_login()), ("cdn.example", network.secure())]);
    assert!(download(&client, &bytes).await.unwrap() == bytes);
    let last = network.asked().pop().unwrap();
    assert_eq!((last.host.as_str(), last.path(), last.port), ("cdn.example", "/x?sig=a%2Fb", 443));
    assert!(last.header("authorization").is_none() && last.header("cookie").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_redirect_within_the_registry_keeps_them() {
    let network = Network::new(|asked| match (asked.path(), asked.header("authorization")) {
        (_, None) => Reply::challenge("Basic realm=\"x\""),
        ("/v2/a/b/manifests/1", _) => Reply::redirect("../manifests/2"),
        ("/v2/a/b/manifests/2", _) => Reply::status(404),
        _ => Reply::status(400),
    });
    let found = failure(&network.client(&[("r.example", network.with_login())])).await;
    assert!(found.is_not_found(), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn plain_http_is_for_configured_hosts_alone() {
    for to in [
        "http://cdn.example/x",
        "http://r.example/x",
        "http://127.0.0.1/x",
        "ftp://cdn.example/x",
        "file:///etc/passwd",
    ] {
        let network = Network::new(with_cdn(noise(10), to));
        let client = network.client(&[("r.example", network.with_login())]);
        let error = download(&client, &noise(10)).await.unwrap_err();
        assert!(matches!(&error.failure, Failure::Protocol { .. }), "{to}: {error:?}");
        assert!(network.asked().iter().all(|asked| asked.host == "r.example" && asked.port == 443), "{to}");
    }
    // Not even from plain HTTP, unless the other host is configured so as well.
    let bytes = noise(10);
    let handler = |bytes: Vec<u8>| {
        move |asked: &Asked| match asked.host.as_str() {
            "cdn.example" => Reply::ok(&bytes),
            _ => Reply::redirect("http://cdn.example/x"),
        }
    };
    let network = Network::new(handler(bytes.clone()));
    let error = download(&network.plain_client(&["r.example"]), &bytes).await.unwrap_err();
    assert!(matches!(error.failure, Failure::Protocol { .. }));
    assert!(download(&network.plain_client(&["r.example", "cdn.example"]), &bytes).await.unwrap() == bytes);
}

#[tokio::test(start_paused = true)]
async fn a_redirect_never_leads_from_https_to_http() {
    let network = Network::new(with_cdn(noise(10), "http://cdn.example/x"));
    let plain = crate::client::settings::HostSettings { is_insecure: true, ..Default::default() };
    let client = network.client(&[("r.example", network.with_login()), ("cdn.example", plain)]);
    let error = download(&client, &noise(10)).await.unwrap_err();
    assert!(matches!(error.failure, Failure::Protocol { .. }));
    assert!(network.asked().iter().all(|asked| asked.host == "r.example"));
}

#[tokio::test(start_paused = true)]
async fn redirects_in_a_circle_end() {
    let network = Network::new(|_| Reply::redirect("/again"));
    let found = failure(&network.plain_client(&["r.example"])).await;
    assert!(matches!(&found, Failure::Protocol { problem } if problem.contains("more than 5 times")), "{found:?}");
    assert_eq!((network.asked().len(), network.dials()), (6, 1));
    let network = Network::new(|_| Reply::status(302));
    assert!(matches!(failure(&network.plain_client(&["r.example"])).await, Failure::Protocol { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_elsewhere_is_not_answered_with_credentials() {
    let network = Network::new(|asked| match (asked.host.as_str(), asked.header("authorization")) {
        ("cdn.example", _) => Reply::challenge("Basic realm=\"x\""),
        (_, None) => Reply::challenge("Basic realm=\"x\""),
        (_, Some(_)) => Reply::redirect("https://cdn.example/x"),
    });
    let client = network.client(&[("r.example", network.with_login()), ("cdn.example", network.with_login())]);
    let found = failure(&client).await;
    assert!(matches!(&found, Failure::Refused { host, .. } if host == "cdn.example"), "{found:?}");
    let cdn: Vec<_> = network.asked().into_iter().filter(|asked| asked.host == "cdn.example").collect();
    assert_eq!((cdn.len(), cdn[0].header("authorization")), (1, None));
}
