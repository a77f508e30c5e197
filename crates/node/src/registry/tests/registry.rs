//! A registry of the test's own: images in memory over plain HTTP on loopback, with a fault in what it serves.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use lighter_types::OciDigest;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio_util::task::AbortOnDropHandle;

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A fault in the registry's answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Each answer has this status.
    Status(u16),
    /// The lists of referrers have this status.
    Referrers(u16),
    /// 429, and the client shall wait an hour.
    Later,
    /// The answers to blobs have other bytes of the same length.
    OtherBytes,
    /// The answers to blobs are longer than their descriptors say.
    OtherLength,
    /// The answers to blobs end after their half.
    Half,
    /// Each answer names another place.
    Redirect(String),
    /// Nobody is let in, whatever the credentials are.
    Unauthorized,
}

#[derive(Default)]
struct Inside {
    /// Bytes and media types by path.
    served: BTreeMap<String, (String, Vec<u8>)>,
    asked: Vec<String>,
    fault: Option<Fault>,
}

impl Inside {
    /// The answer about a manifest to which nothing refers. A registry that lists no referrers at all has no such API.
    fn empty_list(&self, path: &str) -> Option<(String, Vec<u8>)> {
        let has_api = self.served.keys().any(|path| path.contains("/referrers/"));
        let list = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] }).to_string();
        (has_api && path.contains("/referrers/")).then(|| (INDEX.to_owned(), list.into_bytes()))
    }
}

pub struct TestRegistry {
    /// Its host and port.
    pub host: String,
    inside: Arc<Mutex<Inside>>,
    _server: AbortOnDropHandle<()>,
}

impl TestRegistry {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let inside = Arc::new(Mutex::new(Inside::default()));
        let router = Router::new().fallback(answer).with_state(inside.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { host, inside, _server: AbortOnDropHandle::new(server) }
    }

    /// Serves a document or a blob below its digest: its descriptor.
    pub fn put(&self, repository: &str, kind: &str, media_type: &str, bytes: &[u8]) -> Value {
        let digest = sha256(bytes);
        self.put_at(&format!("/v2/{repository}/{kind}/{digest}"), media_type, bytes);
        json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
    }

    pub fn put_at(&self, path: &str, media_type: &str, bytes: &[u8]) {
        self.inside.lock().unwrap().served.insert(path.to_owned(), (media_type.to_owned(), bytes.to_vec()));
    }

    /// The media type and the bytes at a path.
    pub fn at(&self, path: &str) -> (String, Vec<u8>) {
        self.inside.lock().unwrap().served[path].clone()
    }

    /// Adds an image of plain layers, and returns its manifest's digest.
    pub fn push(&self, repository: &str, tag: &str, layers: &[Vec<u8>]) -> String {
        let add = |kind: &str, media_type: &str, bytes: &[u8]| self.put(repository, kind, media_type, bytes);
        let diff_ids: Vec<String> = layers.iter().map(|layer| sha256(layer)).collect();
        let root = json!({ "type": "layers", "diff_ids": diff_ids });
        let config = json!({ "architecture": "amd64", "os": "linux", "rootfs": root }).to_string();
        let config = add("blobs", "application/vnd.oci.image.config.v1+json", config.as_bytes());
        let layers = layers.iter().map(|layer| add("blobs", "application/vnd.oci.image.layer.v1.tar", layer));
        let layers: Vec<_> = layers.collect();
        let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
        let manifest = manifest.to_string().into_bytes();
        add("manifests", MANIFEST, &manifest);
        let digest = sha256(&manifest);
        self.put_at(&format!("/v2/{repository}/manifests/{tag}"), MANIFEST, &manifest);
        digest
    }

    /// How many requests had this in their path.
    pub fn asked(&self, part: &str) -> usize {
        self.inside.lock().unwrap().asked.iter().filter(|path| path.contains(part)).count()
    }

    pub fn set_status(&self, status: Option<u16>) {
        self.set(status.map(Fault::Status));
    }

    pub fn set(&self, fault: Option<Fault>) {
        self.inside.lock().unwrap().fault = fault;
    }
}

async fn answer(State(inside): State<Arc<Mutex<Inside>>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let mut inside = inside.lock().unwrap();
    inside.asked.push(path.clone());
    let fault = inside.fault.clone();
    match &fault {
        Some(Fault::Status(status)) => return StatusCode::from_u16(*status).unwrap().into_response(),
        Some(Fault::Later) => return (StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, "3600")]).into_response(),
        Some(Fault::Redirect(to)) => {
            return (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, format!("{to}{path}"))]).into_response();
        }
        Some(Fault::Unauthorized) => {
            return (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Basic realm=\"x\"")]).into_response();
        }
        Some(Fault::Referrers(status)) if path.contains("/referrers/") => {
            return StatusCode::from_u16(*status).unwrap().into_response();
        }
        Some(Fault::Referrers(_) | Fault::OtherBytes | Fault::OtherLength | Fault::Half) | None => {}
    }
    let found = inside.served.get(&path).cloned();
    let Some((media_type, mut bytes)) = found.or_else(|| inside.empty_list(&path)) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let length = bytes.len();
    if media_type.contains("layer") {
        match fault {
            Some(Fault::OtherBytes) => bytes[length / 2] ^= 1,
            Some(Fault::OtherLength) => bytes.push(0),
            Some(Fault::Half) => {
                // Chunked, so that only the descriptor tells that there should be more.
                bytes.truncate(length / 2);
                let chunks = futures::stream::iter([Ok::<_, std::io::Error>(bytes)]);
                return ([(CONTENT_TYPE, media_type)], Body::from_stream(chunks)).into_response();
            }
            Some(Fault::Status(_) | Fault::Referrers(_) | Fault::Later | Fault::Redirect(_) | Fault::Unauthorized)
            | None => {}
        }
    }
    let headers = [(CONTENT_TYPE, media_type), (CONTENT_LENGTH, bytes.len().to_string())];
    (headers, bytes).into_response()
}

/// A tar with one file of noise.
pub fn noise(seed: u8, bytes: usize) -> Vec<u8> {
    let mut tar = crate::tests::tar_of_a_file(bytes);
    for (index, byte) in tar[512..512 + bytes].iter_mut().enumerate() {
        *byte ^= seed.wrapping_mul((index % 251) as u8);
    }
    tar
}

pub fn sha256(bytes: &[u8]) -> String {
    OciDigest::new(Sha256::digest(bytes).into()).to_string()
}
