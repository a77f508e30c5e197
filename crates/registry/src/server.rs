//! The pull side of the OCI distribution specification, version 1.1, for container runtimes on this host.
//!
//! The server knows HTTP: paths, ranges, error bodies, slow clients. [`Images`] knows what there is: the node
//! implements it. The server answers 2xx only with what [`Images`] gave it, and that is verified before: a runtime that
//! got a wrong body does not ask another registry (containerd #9552). For the rest it answers a quick 404, so that the
//! runtime goes on to its next registry.
//!
//! Nothing can be pushed. A path of a push is answered 405.

mod connections;
mod counts;
mod errors;
mod path;
mod range;
mod source;
#[cfg(test)]
mod tests;
mod tls;
mod users;

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::{Request, State};
use axum::http::header::{
    ACCEPT_RANGES, ALLOW, AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE,
    LINK, RANGE,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::future::BoxFuture;
use lighter_types::{OciDigest, ReadAt};
use serde_json::json;

pub use connections::{Limits, serve, serve_tls};
pub use counts::{Counts, Outcome, RequestLabels, ServerStats, Subject};
pub use errors::Refusal;
use path::{Path, Target};
pub use path::{Reference, Repository};
use range::Range;
pub use source::{BlobClass, Origin, Source};
pub use tls::Certificate;
pub use users::{Users, UsersError, is_anonymous};

/// The things that a server has for its clients.
pub trait Images: Send + Sync + 'static {
    /// Whether the client may ask: about a repository, or with none whether there is a registry for it. `authorization`
    /// is the header of that name. Nothing else is asked before.
    fn admit<'a>(&'a self, repository: Option<&'a Repository>, authorization: Option<&'a str>) -> Answer<'a, ()>;

    /// The manifest, or the index, of a tag or a digest. If the image is on its way, the answer may take as long as its
    /// documents take.
    fn manifest(&self, repository: Repository, reference: Reference) -> Answer<'_, Document>;

    /// The exact blob that a manifest of the repository names. If it is on its way, the answer may take as long as it
    /// takes.
    fn blob(&self, repository: Repository, digest: OciDigest) -> Answer<'_, Blob>;

    /// The tags of a repository, sorted.
    fn tags(&self, repository: Repository) -> Answer<'_, Vec<String>>;

    /// The descriptors of all that refers to a manifest.
    fn referrers(&self, repository: Repository, subject: OciDigest) -> Answer<'_, Vec<serde_json::Value>>;
}

/// An answer that becomes known later.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, Refusal>>;

/// A manifest or an index.
#[derive(Clone, Debug)]
pub struct Document {
    pub digest: OciDigest,
    pub media_type: String,
    pub bytes: Vec<u8>,
    pub source: Source,
}

/// A verified blob, to be read by position.
pub struct Blob {
    pub reader: Arc<dyn ReadAt + Send + Sync>,
    pub source: Source,
}

/// So many bytes of a blob are read at once.
const CHUNK_BYTES: u64 = 256 << 10;
/// The most tags in one answer.
const TAGS_MAX: usize = 1000;
const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const DISTRIBUTION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
const FILTERS: HeaderName = HeaderName::from_static("oci-filters-applied");
const SOURCE: HeaderName = HeaderName::from_static("lighter-source");

/// Serves what `images` has.
pub fn router(images: Arc<dyn Images>, counts: Counts) -> Router {
    Router::new().fallback(answer).with_state((images, counts))
}

async fn answer(State((images, counts)): State<(Arc<dyn Images>, Counts)>, request: Request) -> Response {
    // A body is not read, and none of a push matters.
    let (parts, _) = request.into_parts();
    let path = Path::parse(parts.uri.path(), parts.uri.query());
    let subject = path.as_ref().map_or(Subject::Other, |path| Subject::of(&path.target));
    let responded = match path {
        Ok(path) => respond(&*images, path, &parts).await,
        Err(refusal) => Err(refusal),
    };
    let mut response = responded.unwrap_or_else(IntoResponse::into_response);
    let source: Option<Source> = response.extensions_mut().remove();
    tracing::debug!(
        method = %parts.method,
        path = parts.uri.path(),
        status = response.status().as_u16(),
        source = source.map(|source| source.to_string()),
        "a client of the registry is answered"
    );
    if let Some(value) = source.and_then(|source| HeaderValue::try_from(source.to_string()).ok()) {
        response.headers_mut().insert(SOURCE, value);
    }
    response.headers_mut().insert(DISTRIBUTION, HeaderValue::from_static("registry/2.0"));
    // A body that is counted does not tell its length any more. An answer without one has none (RFC 9110, section 8.6).
    if let Some(length) = response.body().size_hint().exact().filter(|_| response.status() != StatusCode::NOT_MODIFIED)
    {
        response.headers_mut().entry(CONTENT_LENGTH).or_insert(length.into());
    }
    if parts.method == Method::HEAD {
        // The length stays: it is that of the body that a GET gets.
        *response.body_mut() = Body::empty();
    }
    counts.count(subject, source, response)
}

async fn respond(images: &dyn Images, path: Path, request: &Parts) -> Result<Response, Refusal> {
    let Path { repository, target } = path;
    if request.method != Method::GET && request.method != Method::HEAD {
        return Err(Refusal::ReadOnly);
    }
    let headers = &request.headers;
    let authorization = headers.get(AUTHORIZATION).map(|value| value.to_str().unwrap_or_default());
    let subject = (target != Target::Base).then_some(&repository);
    images.admit(subject, authorization).await?;
    match target {
        Target::Base => Ok(json_response(&json!({}))),
        Target::Manifest(reference) => document(images.manifest(repository, reference).await?, headers),
        Target::Blob(digest) => blob(digest, images.blob(repository, digest).await?, headers),
        Target::Tags { count, last } => {
            let name = repository.name.clone();
            Ok(tags(&name, images.tags(repository).await?, count, last.as_deref()))
        }
        Target::Referrers { subject, artifact_type } => {
            let all = images.referrers(repository, subject).await?;
            Ok(referrers(all, artifact_type.as_deref()))
        }
    }
}

fn json_response(value: &serde_json::Value) -> Response {
    ([(CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

fn document(document: Document, asked: &HeaderMap) -> Result<Response, Refusal> {
    let Document { digest, media_type, bytes, source } = document;
    let Ok(media_type) = HeaderValue::from_str(&media_type) else {
        return Err(Refusal::Failed("the manifest's media type is no header value".to_owned()));
    };
    if has_etag(asked, &digest) {
        return Ok(not_modified(&digest));
    }
    let length = bytes.len();
    let mut response = bytes.into_response();
    response.extensions_mut().insert(source);
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    set_digest(response.headers_mut(), &digest);
    Ok(response)
}

fn blob(digest: OciDigest, Blob { reader, source }: Blob, asked: &HeaderMap) -> Result<Response, Refusal> {
    if has_etag(asked, &digest) {
        return Ok(not_modified(&digest));
    }
    let total = reader.len().0;
    let range = match asked.get(RANGE) {
        // RFC 9110, section 13.1.5: the range counts only if the client has the beginning of this very blob.
        Some(_) if asked.get(IF_RANGE).is_some_and(|tag| *tag != etag(&digest)) => Range::All,
        Some(range) => Range::parse(range, total),
        None => Range::All,
    };
    let (status, start, bytes) = match range {
        Range::All => (StatusCode::OK, 0, total),
        Range::Part { start, bytes } => (StatusCode::PARTIAL_CONTENT, start, bytes),
        Range::Outside => return Ok(outside(total)),
    };
    let mut response = Response::new(Body::from_stream(chunks(reader, start, bytes)));
    *response.status_mut() = status;
    response.extensions_mut().insert(source);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CONTENT_LENGTH, bytes.into());
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if status == StatusCode::PARTIAL_CONTENT
        && let Ok(value) = HeaderValue::try_from(format!("bytes {start}-{}/{total}", start + bytes - 1))
    {
        headers.insert(CONTENT_RANGE, value);
    }
    set_digest(headers, &digest);
    Ok(response)
}

/// RFC 9110, section 15.5.17.
fn outside(total: u64) -> Response {
    let mut response = Refusal::Range.into_response();
    if let Ok(value) = HeaderValue::try_from(format!("bytes */{total}")) {
        response.headers_mut().insert(CONTENT_RANGE, value);
    }
    response
}

/// The bytes of a range, one piece after the other. A read that fails ends the connection: the client sees a body that
/// is too short.
fn chunks(
    reader: Arc<dyn ReadAt + Send + Sync>,
    start: u64,
    bytes: u64,
) -> impl futures::Stream<Item = io::Result<Vec<u8>>> {
    futures::stream::unfold((reader, start, start + bytes), |(reader, at, end)| async move {
        if at >= end {
            return None;
        }
        let length = (end - at).min(CHUNK_BYTES);
        let read = tokio::task::spawn_blocking(move || {
            let mut chunk = vec![0; length as usize];
            let read = reader.read_exact_at(&mut chunk, at).map(|()| chunk);
            (reader, read)
        });
        match read.await {
            Ok((reader, Ok(chunk))) => Some((Ok(chunk), (reader, at + length, end))),
            Ok((reader, Err(error))) => {
                tracing::error!(%error, "a blob that is being served cannot be read");
                Some((Err(error), (reader, end, end)))
            }
            Err(_) => None,
        }
    })
}

fn etag(digest: &OciDigest) -> String {
    format!("\"{digest}\"")
}

fn has_etag(asked: &HeaderMap, digest: &OciDigest) -> bool {
    let known = asked.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    known.is_some_and(|known| known.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag(digest)))
}

fn not_modified(digest: &OciDigest) -> Response {
    let mut response = StatusCode::NOT_MODIFIED.into_response();
    set_digest(response.headers_mut(), digest);
    response
}

fn set_digest(headers: &mut HeaderMap, digest: &OciDigest) {
    for (name, value) in [(DIGEST, digest.to_string()), (ETAG, etag(digest))] {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
}

/// The tags behind `last`, at most `count` of them, and where the others are.
fn tags(name: &str, all: Vec<String>, count: Option<usize>, last: Option<&str>) -> Response {
    let count = count.unwrap_or(TAGS_MAX).min(TAGS_MAX);
    let mut rest: Vec<String> = all.into_iter().filter(|tag| last.is_none_or(|last| tag.as_str() > last)).collect();
    let has_more = rest.len() > count;
    rest.truncate(count);
    let mut response = json_response(&json!({ "name": name, "tags": rest }));
    if has_more
        && let Some(last) = rest.last()
        && let Ok(link) = HeaderValue::try_from(format!("</v2/{name}/tags/list?n={count}&last={last}>; rel=\"next\""))
    {
        response.headers_mut().insert(LINK, link);
    }
    response
}

fn referrers(mut all: Vec<serde_json::Value>, artifact_type: Option<&str>) -> Response {
    if let Some(wanted) = artifact_type {
        all.retain(|descriptor| descriptor["artifactType"] == wanted);
    }
    let index = json!({
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": all,
    });
    let mut response = ([(CONTENT_TYPE, INDEX)], index.to_string()).into_response();
    if artifact_type.is_some() {
        response.headers_mut().insert(FILTERS, HeaderValue::from_static("artifactType"));
    }
    response
}

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The methods that the server knows.
fn allow(headers: &mut HeaderMap) {
    headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
}
