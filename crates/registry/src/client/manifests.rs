//! Manifests and indexes: by tag or digest, at most 4 MiB, checked against every digest that names them.

use hyper::header::CONTENT_TYPE;
use hyper::{HeaderMap, StatusCode};
use lighter_image::{BlobDescriptor, DOCUMENT_BYTES_MAX};
use lighter_types::{Bytes, OciDigest};
use serde::Deserialize;
use serde::de::IgnoredAny;
use sha2::{Digest, Sha256};

use super::Upstream;
use super::ask::Ask;
use super::attempts::Attempts;
use super::error::{Failure, UpstreamError};

/// The accepted documents, OCI's and Docker's.
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";
/// The same for an artifact, which may be of any other kind.
const ACCEPT_ANY: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json, */*";
/// A media type has at most 127 characters on either side of its slash (RFC 6838, section 4.2).
const MEDIA_TYPE_MAX: usize = 255;
/// The header with the digest of a manifest (OCI distribution spec, "Pulling manifests").
const CONTENT_DIGEST: &str = "docker-content-digest";

/// A manifest or an index as a registry serves it.
#[derive(Clone, Debug)]
pub(super) struct Document {
    pub(super) descriptor: BlobDescriptor,
    pub(super) bytes: Vec<u8>,
}

/// The fields that say of what kind a document is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kind {
    media_type: Option<String>,
    manifests: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    config: Option<IgnoredAny>,
}

impl Upstream {
    /// Gets the manifest or the index that `reference` (a tag or a digest) names.
    ///
    /// # Errors
    /// The last failure, when all attempts at all sources failed.
    pub(super) async fn document(
        &self,
        registry: &str,
        repository: &str,
        reference: &str,
        digest: Option<OciDigest>,
    ) -> Result<Document, UpstreamError> {
        self.accepted_document(registry, repository, reference, (digest, ACCEPT)).await
    }

    /// Gets the manifest of any media type with this digest.
    ///
    /// # Errors
    /// As [`Self::document`].
    pub(super) async fn any_document(
        &self,
        registry: &str,
        repository: &str,
        digest: OciDigest,
    ) -> Result<Document, UpstreamError> {
        self.accepted_document(registry, repository, &digest.to_string(), (Some(digest), ACCEPT_ANY)).await
    }

    async fn accepted_document(
        &self,
        registry: &str,
        repository: &str,
        reference: &str,
        (digest, accept): (Option<OciDigest>, &'static str),
    ) -> Result<Document, UpstreamError> {
        let mut attempts = Attempts::new(self.sources(registry));
        loop {
            let path = format!("manifests/{reference}");
            let ask = Ask { source: attempts.source(), repository, path, accept, from: 0 };
            let failure = match self.document_once(&ask, digest).await {
                Ok(document) => return Ok(document),
                Err(failure) => failure,
            };
            attempts.after(failure, self).await.map_err(|failure| UpstreamError {
                registry: attempts.source().host.as_str().into(),
                repository: repository.into(),
                step: format!("get manifest {reference}").into(),
                failure,
            })?;
        }
    }

    async fn document_once(&self, ask: &Ask<'_>, digest: Option<OciDigest>) -> Result<Document, Failure> {
        let mut answer = self.exchange(ask).await?;
        if answer.status != StatusCode::OK {
            return Err(Failure::protocol("it answers with a part where the whole was asked for"));
        }
        let bytes = answer.body.read(DOCUMENT_BYTES_MAX.0).await?;
        let found = OciDigest::new(Sha256::digest(&bytes).into());
        if let Some(expected) = digest.filter(|expected| *expected != found) {
            return Err(wrong("sha256 of the manifest", expected, found));
        }
        check_digest(&answer.headers, found)?;
        let media_type = match ask.accept {
            ACCEPT_ANY => any_media_type(&answer.headers)?,
            _ => media_type(&answer.headers, &bytes)?,
        };
        let descriptor = BlobDescriptor { digest: found, media_type, bytes: Bytes(bytes.len() as u64) };
        Ok(Document { descriptor, bytes })
    }
}

/// The digest that the registry itself names must be that of the bytes, unless it is of another algorithm.
fn check_digest(headers: &HeaderMap, found: OciDigest) -> Result<(), Failure> {
    let named = headers.get(CONTENT_DIGEST).and_then(|header| header.to_str().ok());
    match named.filter(|named| named.starts_with("sha256:")).map(str::parse::<OciDigest>) {
        Some(Ok(named)) if named != found => {
            Err(wrong("sha256 of the manifest by Docker-Content-Digest", named, found))
        }
        Some(Err(_)) => Err(Failure::protocol("its Docker-Content-Digest is no digest")),
        Some(Ok(_)) | None => Ok(()),
    }
}

/// The media type by the answer, of a document of any kind.
fn any_media_type(headers: &HeaderMap) -> Result<String, Failure> {
    let header = headers.get(CONTENT_TYPE).and_then(|header| header.to_str().ok()).unwrap_or_default();
    let media_type = header.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if !media_type.contains('/') || media_type.len() > MEDIA_TYPE_MAX {
        let shown: String = header.escape_debug().take(80).collect();
        return Err(Failure::protocol(format!("its answer has no media type, but {shown:?}")));
    }
    Ok(media_type)
}

/// The media type by the answer. The document must not say otherwise, nor be of two kinds at once: clients could
/// disagree about what was signed (CVE-2021-41190).
fn media_type(headers: &HeaderMap, bytes: &[u8]) -> Result<String, Failure> {
    let header = headers.get(CONTENT_TYPE).and_then(|header| header.to_str().ok()).unwrap_or_default();
    let media_type = header.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if !ACCEPT.split(", ").any(|accepted| accepted == media_type) {
        let shown: String = header.escape_debug().take(80).collect();
        return Err(Failure::protocol(format!("its answer is no OCI or Docker manifest, but {shown:?}")));
    }
    let kind: Kind = serde_json::from_slice(bytes).map_err(|_| Failure::protocol("its manifest is not JSON"))?;
    if kind.manifests.is_some() && (kind.layers.is_some() || kind.config.is_some()) {
        return Err(Failure::protocol("its document is a manifest and an index at once"));
    }
    match kind.media_type {
        Some(inner) if inner != media_type => Err(wrong("media type of the manifest", inner, media_type)),
        _ => Ok(media_type),
    }
}

fn wrong(what: &'static str, expected: impl ToString, found: impl ToString) -> Failure {
    Failure::Wrong { what, expected: expected.to_string(), found: found.to_string() }
}
