//! Manifests and indexes: kinds, digests, limits, and answers that are none.

use super::network::{Network, Reply, Then, digest, failure};
use crate::client::error::Failure;

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";

fn manifest(extra: &str) -> Vec<u8> {
    format!(r#"{{"schemaVersion":2,"config":{{}},"layers":[]{extra}}}"#).into_bytes()
}

/// The outcome for the manifest `1` when the registry answers so.
async fn outcome(head: &str, body: &[u8]) -> Result<String, Failure> {
    let (head, body) = (head.to_owned(), body.to_owned());
    let network = Network::new(move |_| Reply::new(&head, &body));
    let client = network.plain_client(&["r.example"]);
    match client.document("r.example", "a/b", "1", None).await {
        Ok(document) => Ok(document.descriptor.media_type),
        Err(error) => Err(error.failure),
    }
}

#[tokio::test(start_paused = true)]
async fn a_manifest_is_asked_for_by_tag_or_digest() {
    let body = manifest("");
    let network = Network::new(|_| Reply::new(&format!("200 OK\nContent-Type: {OCI}"), &manifest("")));
    let client = network.plain_client(&["r.example:5000"]);
    for (asked, expected) in [("1".to_owned(), None), (digest(&body).to_string(), Some(digest(&body)))] {
        let document = client.document("r.example:5000", "a/b", &asked, expected).await.unwrap();
        assert_eq!((document.bytes, document.descriptor.digest), (body.clone(), digest(&body)));
        assert_eq!(document.descriptor.bytes.0, body.len() as u64);
    }
    let asked = network.asked();
    assert_eq!(asked[0].line, "GET /v2/a/b/manifests/1 HTTP/1.1");
    assert_eq!(asked[1].path(), format!("/v2/a/b/manifests/{}", digest(&body)));
    assert_eq!((asked[0].header("host"), asked[0].port), (Some("r.example:5000"), 5000));
    assert!(asked[0].header("authorization").is_none());
    for kind in ["oci.image.index.v1", "oci.image.manifest.v1", "docker.distribution.manifest.v2"] {
        assert!(asked[0].header("accept").unwrap().contains(kind));
    }
    assert_eq!(network.dials(), 1, "one connection for both requests");
}

#[tokio::test(start_paused = true)]
async fn kinds_are_those_of_oci_and_docker() {
    for accepted in [OCI, "application/vnd.docker.distribution.manifest.v2+json; charset=utf-8"] {
        let found = outcome(&format!("200 OK\nContent-Type: {accepted}"), &manifest("")).await;
        assert_eq!(found.unwrap(), accepted.split(';').next().unwrap());
    }
    let schema1 = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    for other in [schema1, "text/html", "application/json", ""] {
        let found = outcome(&format!("200 OK\nContent-Type: {other}"), &manifest("")).await;
        assert!(matches!(found, Err(Failure::Protocol { problem }) if problem.contains(other)), "{other}");
    }
    assert!(matches!(outcome("200 OK", &manifest("")).await, Err(Failure::Protocol { .. })));
}

#[tokio::test(start_paused = true)]
async fn ambiguous_documents_are_refused() {
    let head = format!("200 OK\nContent-Type: {OCI}");
    let both = manifest(r#","manifests":[]"#);
    assert!(matches!(outcome(&head, &both).await, Err(Failure::Protocol { problem }) if problem.contains("at once")));
    let other = manifest(r#","mediaType":"application/vnd.oci.image.index.v1+json""#);
    assert!(matches!(outcome(&head, &other).await, Err(Failure::Wrong { .. })));
    assert!(outcome(&head, &manifest(&format!(r#","mediaType":"{OCI}""#))).await.is_ok());
    assert!(matches!(outcome(&head, b"<html>").await, Err(Failure::Protocol { .. })));
}

#[tokio::test(start_paused = true)]
async fn digests_are_compared() {
    let head = |digest: &str| format!("200 OK\nContent-Type: {OCI}\nDocker-Content-Digest: {digest}");
    let (body, other) = (manifest(""), digest(b"other"));
    assert!(outcome(&head(&digest(&body).to_string()), &body).await.is_ok());
    assert!(matches!(outcome(&head(&other.to_string()), &body).await, Err(Failure::Wrong { .. })));
    assert!(matches!(outcome(&head("sha256:12"), &body).await, Err(Failure::Protocol { .. })));
    // Another algorithm cannot be compared; the sha256 of the bytes decides.
    assert!(outcome(&head("sha512:12"), &body).await.is_ok());
    let network = Network::new(|_| Reply::new(&format!("200 OK\nContent-Type: {OCI}"), &manifest("")));
    let client = network.plain_client(&["r.example"]);
    let error = client.document("r.example", "a/b", &other.to_string(), Some(other)).await.unwrap_err();
    assert!(matches!(error.failure, Failure::Wrong { .. }));
    assert_eq!(network.asked().len(), 1, "a lie is not asked for again");
}

#[tokio::test(start_paused = true)]
async fn a_document_has_at_most_4_mib() {
    let head = format!("200 OK\nContent-Type: {OCI}");
    let padded = |bytes: usize| {
        let body = manifest(&format!(r#","x":"{}""#, "x".repeat(bytes)));
        let missing = (4 << 20) - body.len();
        [body, vec![b' '; missing]].concat()
    };
    assert!(outcome(&head, &padded(100)).await.is_ok());
    let over = [padded(100), b" ".to_vec()].concat();
    assert!(matches!(outcome(&head, &over).await, Err(Failure::Protocol { problem }) if problem.contains("4194304")));
}

#[tokio::test(start_paused = true)]
async fn failures_name_registry_repository_step_and_remedy() {
    let network = Network::new(|asked| match asked.path() {
        "/v2/a/b/manifests/absent" => Reply::status(404),
        _ => Reply::status(403),
    });
    let client = network.plain_client(&["r.example"]);
    let error = client.document("r.example", "a/b", "absent", None).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot get manifest absent of a/b from r.example");
    assert!(error.failure.is_not_found() && error.remedy().contains("the tag"));
    let error = client.document("r.example", "a/b", "private", None).await.unwrap_err();
    let text = lighter_types::error_chain(&error);
    assert_eq!(text, "cannot get manifest private of a/b from r.example: r.example refuses (403) without credentials");
    assert!(error.remedy().contains("auth_file") && error.remedy().contains("[upstream.\"r.example\"]"));
    assert_eq!(network.asked().len(), 2, "neither is asked for again");
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_not_there_is_told_after_five_attempts() {
    let network = Network::new(|_| Reply::status(500));
    let client = network.plain_client(&["gone.example"]);
    let error = client.document("gone.example", "a/b", "1", None).await.unwrap_err();
    assert!(matches!(error.failure, Failure::Unreachable { .. }) && error.remedy().contains("insecure"));
    assert_eq!(network.dials(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_sends_nothing_ends_in_time() {
    let network = Network::new(|_| Reply::silence());
    let started = tokio::time::Instant::now();
    let found = failure(&network.plain_client(&["r.example"])).await;
    assert!(matches!(found, Failure::Stalled { received: 0, .. }));
    // Five times 20 s, and the waits between them.
    assert!((100..110).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_speaks_no_http_is_told() {
    let network = Network::new(|_| Reply::raw("banana\nx", b"", Then::Close));
    let found = failure(&network.plain_client(&["r.example"])).await;
    assert!(matches!(found, Failure::Broken { .. }), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn a_certificate_of_nobody_is_refused() {
    let network = Network::new(|_| Reply::status(404));
    let found = failure(&network.client(&[])).await;
    assert!(
        matches!(&found, Failure::Unreachable { source } if source.to_string().contains("certificate")),
        "{found:?}"
    );
    assert_eq!((network.asked().len(), network.dials()), (0, 1), "it will be no other at the next attempt");
    // With its own CA the same registry answers.
    assert!(failure(&network.client(&[("r.example", network.secure())])).await.is_not_found());
    let mut other = network.secure();
    other.ca = Some(network.path("password"));
    let found = failure(&network.client(&[("r.example", other)])).await;
    assert!(matches!(found, Failure::Unreachable { .. }));
}
