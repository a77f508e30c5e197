//! Challenges: where credentials and tokens go, and where they never go.
//!
//! Most hosts here answer 404 to whoever is authorized: so a test needs no manifest, and the failure `not found` says
//! that the authorization went well.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::network::{Asked, Network, Reply, failure};
use crate::client::Upstream;
use crate::client::error::Failure;
use crate::client::settings::{Credentials, HostSettings};

/// ann:secret
const BASIC: &str = "Basic YW5uOnNlY3JldA==";
const OWN_REALM: &str = r#"Bearer realm="https://r.example/token?x=1",service="r s",scope="repository:a/b:pull,push""#;
const OTHER_REALM: &str = r#"Basic realm="x", Bearer realm="https://auth.example/token",service="s""#;

/// A registry that wants a token of `challenge` for everything, and has nothing but the answer 404.
fn registry(challenge: &'static str) -> impl Fn(&Asked) -> Reply + Send + Sync {
    move |asked| match (asked.path().contains("/token"), asked.header("authorization")) {
        (true, _) => Reply::ok(br#"{"token":"good","expires_in":100}"#),
        (false, Some("Bearer good")) => Reply::status(404),
        (false, _) => Reply::challenge(challenge),
    }
}

async fn check_found(client: &Arc<Upstream>) {
    let found = failure(client).await;
    assert!(found.is_not_found(), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn a_token_is_asked_for_without_credentials() {
    let network = Network::new(registry(OWN_REALM));
    let client = network.client(&[("r.example", network.secure())]);
    check_found(&client).await;
    let asked = network.asked();
    assert_eq!(asked.len(), 3);
    // Pull, whatever the challenge says.
    assert_eq!(asked[1].path(), "/token?x=1&service=r+s&scope=repository%3Aa%2Fb%3Apull");
    assert!(asked[1].header("authorization").is_none());
    // The next request has the token at once.
    check_found(&client).await;
    assert_eq!(network.asked().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_when_its_time_is_over() {
    let network = Network::new(registry(OWN_REALM));
    let client = network.client(&[("r.example", network.secure())]);
    check_found(&client).await;
    tokio::time::advance(Duration::from_secs(89)).await;
    check_found(&client).await;
    assert_eq!(network.asked().len(), 4);
    tokio::time::advance(Duration::from_secs(2)).await;
    check_found(&client).await;
    assert_eq!(network.asked().len(), 7, "no request with an old token");
}

#[tokio::test(start_paused = true)]
async fn credentials_go_to_the_realm_of_the_registry_itself() {
    let network = Network::new(registry(OWN_REALM));
    check_found(&network.client(&[("r.example", network.with_login())])).await;
    let given: Vec<Option<String>> =
        network.asked().iter().map(|asked| asked.header("authorization").map(str::to_owned)).collect();
    assert_eq!(given, [None, Some(BASIC.to_owned()), Some("Bearer good".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn credentials_never_go_to_a_realm_elsewhere() {
    let network = Network::new(registry(OTHER_REALM));
    let auth = ("auth.example", network.secure());
    let found = failure(&network.client(&[("r.example", network.with_login()), auth.clone()])).await;
    assert!(matches!(&found, Failure::Realm { realm } if realm == "auth.example"), "{found:?}");
    assert!(network.asked().iter().all(|asked| asked.host == "r.example" && asked.header("authorization").is_none()));
    // Without credentials the realm is asked.
    check_found(&network.client(&[("r.example", network.secure()), auth.clone()])).await;
    // It is also asked when the settings allow it.
    let allowed = HostSettings { realm_hosts: vec!["auth.example".to_owned()], ..network.with_login() };
    check_found(&network.client(&[("r.example", allowed), auth])).await;
    let asked = network.asked();
    let at_realm: Vec<_> = asked.iter().filter(|asked| asked.host == "auth.example").collect();
    assert_eq!(at_realm.iter().map(|asked| asked.header("authorization")).collect::<Vec<_>>(), [None, Some(BASIC)]);
    let elsewhere = asked.iter().filter(|asked| asked.host != "auth.example");
    assert!(elsewhere.into_iter().all(|asked| asked.header("authorization") != Some(BASIC)));
}

#[tokio::test(start_paused = true)]
async fn a_realm_over_plain_http_is_not_asked() {
    for realm in ["http://r.example/token", "http://auth.example/token", "ftp://r.example/token", "token", ""] {
        let challenge: &'static str = format!("Bearer realm=\"{realm}\"").leak();
        let network = Network::new(registry(challenge));
        let found = failure(&network.client(&[("r.example", network.with_login())])).await;
        assert!(matches!(found, Failure::Protocol { .. }), "{realm}: {found:?}");
        assert_eq!(network.asked().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn basic_credentials_go_to_the_registry() {
    let network = Network::new(|asked| match asked.header("authorization") {
        Some(BASIC) => Reply::status(404),
        _ => Reply::challenge("Basic realm=\"x\""),
    });
    let client = network.client(&[("r.example", network.with_login())]);
    check_found(&client).await;
    check_found(&client).await;
    assert_eq!(network.asked().len(), 3, "the second request has them at once");
    // Without credentials, and with a file that has none for this registry.
    let config = network.path("config.json");
    std::fs::write(&config, "{}").unwrap();
    let empty = HostSettings { credentials: Some(Credentials::DockerConfig(config)), ..network.secure() };
    for (settings, requests) in [(network.secure(), 4), (empty, 5)] {
        let found = failure(&network.client(&[("r.example", settings)])).await;
        assert!(matches!(found, Failure::Refused { status: 401, with_credentials: false, .. }));
        assert_eq!(network.asked().len(), requests);
    }
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_says_401_for_ever_ends_at_once() {
    for (challenge, requests) in [(OWN_REALM, 3), ("Basic realm=\"x\"", 2), ("Digest realm=\"x\"", 1)] {
        let network = Network::new(move |asked| match asked.path().contains("/token") {
            true => Reply::ok(br#"{"access_token":"bad"}"#),
            false => Reply::challenge(challenge),
        });
        let found = failure(&network.client(&[("r.example", network.with_login())])).await;
        assert!(
            matches!(&found, Failure::Refused { status: 401, with_credentials: true, host } if host == "r.example")
        );
        assert_eq!(network.asked().len(), requests, "{challenge}");
    }
    let network = Network::new(|_| Reply::status(401));
    assert!(matches!(failure(&network.plain_client(&["r.example"])).await, Failure::Refused { .. }));
    let network = Network::new(|_| Reply::challenge("Bearer realm=\"x"));
    assert!(matches!(failure(&network.plain_client(&["r.example"])).await, Failure::Protocol { .. }));
}

#[tokio::test(start_paused = true)]
async fn credentials_that_expired_are_told() {
    let network = Network::new(|asked| match asked.path().contains("/token") {
        true => Reply::status(401),
        false => Reply::challenge(OWN_REALM),
    });
    let client = network.client(&[("r.example", network.with_login())]);
    let error = client.document("r.example", "a/b", "1", None).await.unwrap_err();
    assert!(matches!(error.failure, Failure::Refused { status: 401, with_credentials: true, .. }));
    assert!(error.remedy().contains("check the credentials"), "{}", error.remedy());
    assert_eq!(network.asked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_realm_that_gives_no_token_is_told() {
    for answer in ["", "{}", r#"{"token":""}"#, r#"{"token":"a\nb"}"#, "<html>"] {
        let network = Network::new(move |asked| match asked.path().contains("/token") {
            true => Reply::ok(answer.as_bytes()),
            false => Reply::challenge(OWN_REALM),
        });
        let found = failure(&network.client(&[("r.example", network.secure())])).await;
        assert!(matches!(found, Failure::Protocol { .. }), "{answer}: {found:?}");
    }
    let network = Network::new(|asked| match asked.path().contains("/token") {
        true => Reply::ok(&vec![b' '; 70_000]),
        false => Reply::challenge(OWN_REALM),
    });
    let found = failure(&network.client(&[("r.example", network.secure())])).await;
    assert!(matches!(found, Failure::Protocol { problem } if problem.contains("65536")));
}

#[tokio::test(start_paused = true)]
async fn a_realms_redirect_is_not_followed() {
    let network = Network::new(|asked| match asked.path().contains("/token") {
        true => Reply::redirect("https://auth.example/steal"),
        false => Reply::challenge(OWN_REALM),
    });
    let found = failure(&network.client(&[("r.example", network.with_login())])).await;
    assert!(matches!(found, Failure::Status { status: 307, .. }), "{found:?}");
    assert!(network.asked().iter().all(|asked| asked.host == "r.example"));
}

#[tokio::test(start_paused = true)]
async fn an_identity_token_is_changed_by_the_realm() {
    let network = Network::new(registry(OWN_REALM));
    let config = network.path("config.json");
    std::fs::write(&config, r#"{"auths":{"r.example":{"identitytoken":"i t"}}}"#).unwrap();
    let credentials = Some(Credentials::DockerConfig(config));
    check_found(&network.client(&[("r.example", HostSettings { credentials, ..network.secure() })])).await;
    let asked = &network.asked()[1];
    assert!(asked.line.starts_with("POST /token?x=1 "));
    let form =
        "grant_type=refresh_token&client_id=lighter&scope=repository%3Aa%2Fb%3Apull&refresh_token=i+t&service=r+s";
    assert_eq!((asked.body.as_str(), asked.header("authorization")), (form, None));
}

#[tokio::test(start_paused = true)]
async fn credentials_that_cannot_be_had_are_told() {
    let network = Network::new(registry(OWN_REALM));
    let missing = Credentials::DockerConfig(network.path("absent.json"));
    let settings = HostSettings { credentials: Some(missing), ..network.secure() };
    let found = failure(&network.client(&[("r.example", settings)])).await;
    assert!(matches!(found, Failure::Credentials { .. }), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn a_realm_that_is_busy_is_asked_again() {
    let count = AtomicUsize::new(0);
    let network = Network::new(move |asked| {
        let is_first = asked.path().contains("/token") && count.fetch_add(1, Ordering::Relaxed) == 0;
        if is_first { Reply::status(503) } else { registry(OWN_REALM)(asked) }
    });
    check_found(&network.client(&[("r.example", network.secure())])).await;
}
