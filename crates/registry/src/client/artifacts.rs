//! Artifacts for a client that names their digests: a manifest of any media type, and blobs of any length.

use std::io;
use std::sync::Arc;

use lighter_image::BlobDescriptor;
use lighter_types::OciDigest;

use super::Upstream;
use super::download::Download;
use super::error::UpstreamError;
use super::manifests::Document;

/// A manifest as a registry serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    pub media_type: String,
    pub bytes: Vec<u8>,
}

impl Upstream {
    /// Gets the manifest of any kind with this digest.
    ///
    /// # Errors
    /// The last failure, when all attempts at all sources failed.
    pub async fn artifact(
        &self,
        registry: &str,
        repository: &str,
        digest: OciDigest,
    ) -> Result<Artifact, UpstreamError> {
        let Document { descriptor, bytes } = self.any_document(registry, repository, digest).await?;
        Ok(Artifact { media_type: descriptor.media_type, bytes })
    }

    /// Gets a blob. `take` gets its bytes in order; they are the blob's if all of them came.
    ///
    /// # Errors
    /// The last failure, when all attempts at all sources failed. Within: the failure of `take`.
    pub async fn blob(
        self: &Arc<Self>,
        registry: &str,
        repository: &str,
        blob: BlobDescriptor,
        mut take: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<io::Result<()>, UpstreamError> {
        let mut download = Download::new(self.clone(), registry, repository, blob);
        while let Some(bytes) = download.chunk().await? {
            if let Err(error) = take(&bytes) {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }
}
