//! TLS, users, and the counts of a server.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use super::*;

/// Writes a new certificate for `localhost` with its key, and returns it.
fn write_certificate(chain: &Path, key: &Path) -> CertificateDer<'static> {
    let pair = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&pair).unwrap();
    std::fs::write(chain, certificate.pem()).unwrap();
    std::fs::write(key, pair.serialize_pem()).unwrap();
    CertificateDer::from_pem_file(chain).unwrap()
}

fn connector(trusted: &CertificateDer<'static>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    TlsConnector::from(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// The first line of the answer to a request over TLS; `None` if the client does not trust the server.
async fn ask(address: std::net::SocketAddr, trusted: &CertificateDer<'static>) -> Option<String> {
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = connector(trusted).connect(name, stream).await.ok()?;
    stream.write_all(b"GET /v2/ HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // The server may close without TLS's own goodbye.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap().lines().next().map(str::to_owned)
}

#[tokio::test]
async fn a_server_over_tls_takes_a_renewed_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let [chain, key] = ["chain.pem", "key.pem"].map(|name| folder.path().join(name));
    let old = write_certificate(&chain, &key);
    let certificate = Certificate::open(&chain, &key).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (served, router) = (certificate.clone(), router(Arc::new(Memory), Counts::default()));
    let server = tokio::spawn(async move {
        serve_tls(listener, &served, router, Limits::default(), CancellationToken::new()).await.unwrap();
    });
    assert_eq!(ask(address, &old).await.as_deref(), Some("HTTP/1.1 200 OK"));
    let new = write_certificate(&chain, &key);
    certificate.reload().unwrap();
    assert_eq!(ask(address, &new).await.as_deref(), Some("HTTP/1.1 200 OK"));
    assert_eq!(ask(address, &old).await, None);
    // A key of another certificate changes nothing, and neither does a file that is none.
    std::fs::write(&key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    assert!(certificate.reload().is_err());
    std::fs::write(&key, "no key").unwrap();
    let error = certificate.reload().unwrap_err().to_string();
    assert!(error.contains("key.pem"), "{error}");
    assert_eq!(ask(address, &new).await.as_deref(), Some("HTTP/1.1 200 OK"));
    server.abort();
}

#[tokio::test]
async fn a_client_that_speaks_no_tls_gives_its_place_back() {
    let folder = tempfile::tempdir().unwrap();
    let [chain, key] = ["chain.pem", "key.pem"].map(|name| folder.path().join(name));
    let trusted = write_certificate(&chain, &key);
    let certificate = Certificate::open(&chain, &key).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let limits = Limits { connections_max: 1, request_timeout: Duration::from_millis(50), ..Limits::default() };
    let router = router(Arc::new(Memory), Counts::default());
    let server = tokio::spawn(async move {
        serve_tls(listener, &certificate, router, limits, CancellationToken::new()).await.unwrap();
    });
    // One says nothing, one speaks HTTP.
    let _silent = TcpStream::connect(address).await.unwrap();
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"GET /v2/ HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert_eq!(ask(address, &trusted).await.as_deref(), Some("HTTP/1.1 200 OK"));
    server.abort();
}

/// A registry for one user, who is in the header.
struct Private {
    was_asked: AtomicBool,
}

impl Images for Private {
    fn admit<'a>(&'a self, _: Option<&'a Repository>, authorization: Option<&'a str>) -> Answer<'a, ()> {
        async move {
            match authorization {
                Some("Basic ann") => Ok(()),
                Some(_) => Err(Refusal::Denied("demo/app".to_owned())),
                None => Err(Refusal::Unauthorized),
            }
        }
        .boxed()
    }

    fn manifest(&self, repository: Repository, reference: Reference) -> Answer<'_, Document> {
        self.was_asked.store(true, Ordering::Relaxed);
        async move { Memory.manifest(repository, reference).await }.boxed()
    }

    fn blob(&self, repository: Repository, digest: OciDigest) -> Answer<'_, Blob> {
        self.was_asked.store(true, Ordering::Relaxed);
        async move { Memory.blob(repository, digest).await }.boxed()
    }

    fn tags(&self, repository: Repository) -> Answer<'_, Vec<String>> {
        self.was_asked.store(true, Ordering::Relaxed);
        async move { Memory.tags(repository).await }.boxed()
    }

    fn referrers(&self, repository: Repository, subject: OciDigest) -> Answer<'_, Vec<Value>> {
        self.was_asked.store(true, Ordering::Relaxed);
        async move { Memory.referrers(repository, subject).await }.boxed()
    }
}

#[tokio::test]
async fn nothing_is_asked_for_a_client_that_is_not_admitted() {
    let private = Arc::new(Private { was_asked: AtomicBool::new(false) });
    let counts = Counts::default();
    let digest = manifest_digest();
    let paths = [
        "/v2/demo/app/manifests/1".to_owned(),
        format!("/v2/demo/app/blobs/{}", blob_digest()),
        "/v2/demo/app/tags/list".to_owned(),
        format!("/v2/demo/app/referrers/{digest}"),
    ];
    for path in &paths {
        for (header, status) in [(None, StatusCode::UNAUTHORIZED), (Some("Basic eve"), StatusCode::FORBIDDEN)] {
            let request = Request::builder().uri(path);
            let request = header.into_iter().fold(request, |request, value| request.header("authorization", value));
            let request = request.body(Body::empty()).unwrap();
            let response = router(private.clone(), counts.clone()).oneshot(request).await.unwrap();
            assert_eq!(response.status(), status, "{path}");
            if status == StatusCode::UNAUTHORIZED {
                assert_eq!(response.headers()["www-authenticate"], "Basic realm=\"lighter\"");
            }
        }
    }
    assert!(!private.was_asked.load(Ordering::Relaxed));
    let request = Request::builder().uri(&paths[1]).header("authorization", "Basic ann");
    let request = request.body(Body::empty()).unwrap();
    let response = router(private.clone(), counts.clone()).oneshot(request).await.unwrap();
    assert_eq!(response.headers()["lighter-source"], "upstream; blob=recipe");
    assert_eq!(response.headers()["content-length"], content().len().to_string());
    let body = to_bytes(response.into_body(), 4 << 20).await.unwrap();
    let stats = counts.stats();
    let of_blobs = |outcome, source| stats.requests.get(&(Subject::Blob, outcome, source)).copied();
    assert_eq!(of_blobs(Outcome::Served, Some(Origin::Upstream)), Some(1));
    assert_eq!((of_blobs(Outcome::Unauthorized, None), of_blobs(Outcome::Denied, None)), (Some(1), Some(1)));
    assert_eq!(stats.body_bytes[&Some(BlobClass::Recipe)], body.len() as u64);
}
