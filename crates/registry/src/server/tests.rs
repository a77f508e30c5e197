//! The server against images in memory: each rule of the specification's pull part, and bad requests.
//!
//! Most tests call the router. Those about silent clients use connections on loopback.

mod conformance;
mod secure;

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use futures::FutureExt as _;
use lighter_types::OciDigest;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::*;

/// One repository `demo/app` with the tags 1 to 3, one manifest and one blob of a MiB.
struct Memory;

const MANIFEST: &[u8] = b"{\"schemaVersion\":2}";
const MEDIA: &str = "application/vnd.oci.image.manifest.v1+json";

fn manifest_digest() -> OciDigest {
    OciDigest::new([1; 32])
}

fn blob_digest() -> OciDigest {
    OciDigest::new([2; 32])
}

fn content() -> Vec<u8> {
    (0..1u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn known(repository: &Repository) -> Result<(), Refusal> {
    if repository.names().contains(&"demo/app".to_owned()) {
        Ok(())
    } else {
        Err(Refusal::NameUnknown(repository.name.clone()))
    }
}

impl Images for Memory {
    fn admit<'a>(&'a self, _: Option<&'a Repository>, _: Option<&'a str>) -> Answer<'a, ()> {
        async { Ok(()) }.boxed()
    }

    fn manifest(&self, repository: Repository, reference: Reference) -> Answer<'_, Document> {
        async move {
            known(&repository)?;
            match reference {
                Reference::Tag(tag) if !["1", "2", "3"].contains(&tag.as_str()) => Err(Refusal::ManifestUnknown(tag)),
                Reference::Digest(digest) if digest != manifest_digest() => {
                    Err(Refusal::ManifestUnknown(digest.to_string()))
                }
                Reference::Tag(_) | Reference::Digest(_) => Ok(Document {
                    digest: manifest_digest(),
                    media_type: MEDIA.to_owned(),
                    bytes: MANIFEST.to_vec(),
                    source: Source::of(Origin::Release),
                }),
            }
        }
        .boxed()
    }

    fn blob(&self, repository: Repository, digest: OciDigest) -> Answer<'_, Blob> {
        async move {
            known(&repository)?;
            if digest == blob_digest() {
                let source = Source { class: Some(BlobClass::Recipe), ..Source::of(Origin::Upstream) };
                Ok(Blob { reader: Arc::new(content()), source })
            } else {
                Err(Refusal::BlobUnknown(digest.to_string()))
            }
        }
        .boxed()
    }

    fn tags(&self, repository: Repository) -> Answer<'_, Vec<String>> {
        async move { known(&repository).map(|()| ["1", "2", "3"].map(str::to_owned).to_vec()) }.boxed()
    }

    fn referrers(&self, repository: Repository, _: OciDigest) -> Answer<'_, Vec<Value>> {
        async move {
            known(&repository)?;
            Ok(vec![json!({ "artifactType": "a/b", "digest": "x" }), json!({ "artifactType": "c/d", "digest": "y" })])
        }
        .boxed()
    }
}

async fn send(method: Method, path: &str, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap, Vec<u8>) {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response =
        router(Arc::new(Memory), Counts::default()).oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let body = to_bytes(response.into_body(), 4 << 20).await.unwrap();
    (status, headers, body.to_vec())
}

async fn get(path: &str) -> (StatusCode, HeaderMap, Vec<u8>) {
    send(Method::GET, path, &[]).await
}

fn code(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap();
    body["errors"][0]["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_base_says_that_this_is_a_registry() {
    let (status, headers, body) = get("/v2/").await;
    assert_eq!((status, body.as_slice()), (StatusCode::OK, &b"{}"[..]));
    assert_eq!(headers["docker-distribution-api-version"], "registry/2.0");
}

#[tokio::test]
async fn manifests_come_by_tag_and_by_digest() {
    for reference in ["2".to_owned(), manifest_digest().to_string()] {
        let path = format!("/v2/demo/app/manifests/{reference}");
        let (status, headers, body) = get(&path).await;
        assert_eq!((status, body.as_slice()), (StatusCode::OK, MANIFEST));
        assert_eq!(headers["content-type"], MEDIA);
        assert_eq!(headers["docker-content-digest"], manifest_digest().to_string());
        let (status, headers, body) = send(Method::HEAD, &path, &[]).await;
        assert_eq!((status, body.len()), (StatusCode::OK, 0));
        assert_eq!(headers["content-length"], MANIFEST.len().to_string());
        let etag = headers["etag"].to_str().unwrap().to_owned();
        let (status, _, body) = send(Method::GET, &path, &[("if-none-match", &etag)]).await;
        assert_eq!((status, body.len()), (StatusCode::NOT_MODIFIED, 0));
    }
}

#[tokio::test]
async fn a_mirror_of_another_registry_is_asked_with_its_name() {
    let (status, ..) = get("/v2/demo/app/manifests/1?ns=docker.io").await;
    assert_eq!(status, StatusCode::OK);
    // Its repository of the same path is another one.
    let (status, ..) = get("/v2/demo/app/manifests/1?ns=registry.example").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn blobs_come_whole_and_in_ranges() {
    let path = format!("/v2/demo/app/blobs/{}", blob_digest());
    let (status, headers, body) = get(&path).await;
    assert_eq!(status, StatusCode::OK);
    assert!(body == content());
    assert_eq!((&headers["accept-ranges"], &headers["content-length"]), (&"bytes".parse().unwrap(), &(1 << 20).into()));
    let (status, headers, body) = send(Method::HEAD, &path, &[]).await;
    assert_eq!((status, body.len()), (StatusCode::OK, 0));
    assert_eq!(headers["content-length"], "1048576");
    for (range, part) in
        [("bytes=0-0", 0..1), ("bytes=300000-800000", 300_000..800_001), ("bytes=-5", 1048571..1048576)]
    {
        let (status, headers, body) = send(Method::GET, &path, &[("range", range)]).await;
        assert_eq!(status, StatusCode::PARTIAL_CONTENT);
        assert_eq!(headers["content-range"], format!("bytes {}-{}/1048576", part.start, part.end - 1));
        assert!(body == content()[part]);
    }
    let (status, headers, body) = send(Method::GET, &path, &[("range", "bytes=1048576-")]).await;
    assert_eq!((status, code(&body).as_str()), (StatusCode::RANGE_NOT_SATISFIABLE, "SIZE_INVALID"));
    assert_eq!(headers["content-range"], "bytes */1048576");
    let other = [("range", "bytes=5-9"), ("if-range", "\"sha256:00\"")];
    let (status, _, body) = send(Method::GET, &path, &other).await;
    assert_eq!((status, body.len()), (StatusCode::OK, 1 << 20));
}

#[tokio::test]
async fn tags_come_in_pages() {
    let (_, headers, body) = get("/v2/demo/app/tags/list").await;
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), json!({ "name": "demo/app", "tags": ["1", "2", "3"] }));
    assert!(headers.get("link").is_none());
    let (_, headers, body) = get("/v2/demo/app/tags/list?n=1&last=1").await;
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["tags"], json!(["2"]));
    assert_eq!(headers["link"], "</v2/demo/app/tags/list?n=1&last=2>; rel=\"next\"");
    let (_, _, body) = get("/v2/demo/app/tags/list?n=0").await;
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["tags"], json!([]));
}

#[tokio::test]
async fn referrers_are_an_index_and_can_be_filtered() {
    let path = format!("/v2/demo/app/referrers/{}", manifest_digest());
    let (_, headers, body) = get(&path).await;
    assert_eq!(headers["content-type"], "application/vnd.oci.image.index.v1+json");
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["manifests"].as_array().unwrap().len(), 2);
    let (_, headers, body) = get(&format!("{path}?artifactType=c%2Fd")).await;
    assert_eq!(headers["oci-filters-applied"], "artifactType");
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["manifests"][0]["digest"], "y");
}

#[tokio::test]
async fn refusals_have_the_codes_of_the_specification() {
    let unknown = OciDigest::new([9; 32]);
    for (path, status, expected) in [
        ("/v2/demo/app/manifests/9".to_owned(), StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"),
        (format!("/v2/demo/app/manifests/{unknown}"), StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"),
        (format!("/v2/demo/app/blobs/{unknown}"), StatusCode::NOT_FOUND, "BLOB_UNKNOWN"),
        (format!("/v2/other/blobs/{unknown}"), StatusCode::NOT_FOUND, "NAME_UNKNOWN"),
        ("/v2/demo/app/blobs/md5:1".to_owned(), StatusCode::BAD_REQUEST, "DIGEST_INVALID"),
        ("/v2/UP/manifests/1".to_owned(), StatusCode::BAD_REQUEST, "NAME_INVALID"),
        ("/v2/_catalog".to_owned(), StatusCode::NOT_FOUND, "UNSUPPORTED"),
    ] {
        let (found, headers, body) = get(&path).await;
        assert_eq!((found, code(&body).as_str()), (status, expected), "{path}");
        assert_eq!(headers["content-type"], "application/json");
    }
}

#[tokio::test]
async fn nothing_can_be_pushed() {
    let blob = format!("/v2/demo/app/blobs/{}", blob_digest());
    for (method, path) in [
        (Method::POST, "/v2/demo/app/blobs/uploads/"),
        (Method::PUT, "/v2/demo/app/manifests/1"),
        (Method::PATCH, "/v2/demo/app/blobs/uploads/1"),
        (Method::DELETE, &blob),
    ] {
        let (status, headers, body) = send(method, path, &[]).await;
        assert_eq!((status, code(&body).as_str()), (StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED"), "{path}");
        assert_eq!(headers["allow"], "GET, HEAD");
    }
}

/// A server on a port of its own, with these limits.
async fn served(limits: Limits) -> (std::net::SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (
        address,
        tokio::spawn(serve(listener, router(Arc::new(Memory), Counts::default()), limits, CancellationToken::new())),
    )
}

#[tokio::test]
async fn silent_clients_give_their_places_back() {
    let limits = Limits { connections_max: 2, request_timeout: Duration::from_millis(50), ..Limits::default() };
    let (address, _server) = served(limits).await;
    // Some say nothing, some begin a request, and all wait for longer than they may.
    let mut silent = Vec::new();
    for n in 0..6 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        if n % 2 == 0 {
            stream.write_all(b"GET /v2/ HT").await.unwrap();
        }
        silent.push(stream);
    }
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"GET /v2/ HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn clients_that_do_not_read_give_their_places_back() {
    let limits = Limits { connections_max: 1, stall_timeout: Duration::from_millis(50), ..Limits::default() };
    let (address, _server) = served(limits).await;
    let ask = format!("GET /v2/demo/app/blobs/{} HTTP/1.1\r\nhost: x\r\n\r\n", blob_digest()).repeat(64);
    let mut stalled = TcpStream::connect(address).await.unwrap();
    stalled.write_all(ask.as_bytes()).await.unwrap();
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"GET /v2/ HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop(stalled);
}
