//! Artifacts that a client asks for by their own digests, and that come beside no image which is known here: Helm
//! charts, WebAssembly modules, signatures of another image. They come from upstream where the policy asks upstream.
//!
//! The manifest is compared with its digest and kept in memory; its blobs are compared with theirs and kept as rebuilt
//! blobs are ([`super::blobs`]). Nothing is stored, named or announced. A blob is served under a repository of which an
//! artifact that is kept names it: a client asks for the manifest first.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use lighter_image::{BlobDescriptor, Document as Fields};
use lighter_registry::UpstreamReference;
use lighter_registry::server::{Blob, BlobClass, Document, Origin, Refusal, Repository, Source};
use lighter_types::{OciDigest, error_chain};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::resolve::UPSTREAM_TIMEOUT;
use super::{Registry, known_as, upstream};
use crate::config::policy::Resolver;

/// Manifests that are kept, the latest asked for. One has 4 MiB at most.
const KEPT_MAX: usize = 256;
const KEPT_BYTES_MAX: usize = 32 << 20;
/// Artifacts that upstream is asked for at a time.
const ASKING_MAX: usize = 8;

/// See the module.
pub struct Artifacts {
    kept: Mutex<VecDeque<Arc<Kept>>>,
    asking: Semaphore,
}

/// The manifest of an artifact.
struct Kept {
    /// In the form of [`known_as`].
    repository: String,
    document: Document,
    blobs: Vec<BlobDescriptor>,
}

impl Default for Artifacts {
    fn default() -> Self {
        Self { kept: Mutex::default(), asking: Semaphore::new(ASKING_MAX) }
    }
}

impl Artifacts {
    /// The latest manifest of a repository for which this holds.
    fn find(&self, repository: &str, is_meant: impl Fn(&Kept) -> bool) -> Option<Arc<Kept>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let place = kept.iter().position(|kept| kept.repository == repository && is_meant(kept))?;
        let found = kept.remove(place)?;
        kept.push_front(found.clone());
        Some(found)
    }

    fn keep(&self, artifact: Kept) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_front(Arc::new(artifact));
        let mut bytes = 0;
        let fitting = kept.iter().take(KEPT_MAX).take_while(|kept| {
            bytes += kept.document.bytes.len();
            bytes <= KEPT_BYTES_MAX
        });
        let count = fitting.count();
        kept.truncate(count);
    }
}

impl Registry {
    /// The manifest of an artifact that was asked for before.
    pub(super) fn known_artifact(&self, repository: &Repository, digest: OciDigest) -> Option<Document> {
        let kept = self.artifacts.find(&known_as(repository), |kept| kept.document.digest == digest)?;
        Some(kept.document.clone())
    }

    /// The manifest of an artifact from upstream. `failure` is why no image with this digest comes from there.
    pub(super) async fn artifact(
        &self,
        repository: &Repository,
        digest: OciDigest,
        failure: Refusal,
    ) -> Result<Document, Refusal> {
        let wanted = upstream::by_digest(&known_as(repository), digest)?;
        let asking = async {
            let _place = self.artifacts.asking.acquire().await;
            self.upstreams.client().artifact(wanted.registry(), wanted.repository(), digest).await
        };
        let Ok(found) = timeout(UPSTREAM_TIMEOUT, asking).await else { return Err(failure) };
        let found = match found {
            Ok(found) => found,
            Err(error) if error.failure.is_not_found() => return Err(Refusal::ManifestUnknown(wanted.to_string())),
            Err(_) => return Err(failure),
        };
        // A document of a kind that nobody here knows names no blobs.
        let fields = Fields::read(&wanted.to_string(), &found.bytes).ok();
        if fields.as_ref().is_some_and(|fields| fields.is_of_image(&found.bytes, &digest)) {
            return Err(failure);
        }
        let (media_type, bytes, source) = (found.media_type, found.bytes, Source::of(Origin::Upstream));
        let document = Document { digest, media_type, bytes, source };
        let blobs = fields.map_or(Vec::new(), |fields| fields.blobs);
        self.artifacts.keep(Kept { repository: known_as(repository), document: document.clone(), blobs });
        Ok(document)
    }

    /// A blob of an artifact that was asked for before, from upstream.
    pub(super) async fn blob_of_artifact(
        &self,
        repository: &Repository,
        digest: OciDigest,
    ) -> Result<Option<Blob>, Refusal> {
        if !self.policy(repository).resolves(Resolver::Upstream) {
            return Ok(None);
        }
        let names = |kept: &Kept| kept.blobs.iter().any(|blob| blob.digest == digest);
        let Some(kept) = self.artifacts.find(&known_as(repository), names) else { return Ok(None) };
        let Some(blob) = kept.blobs.iter().find(|blob| blob.digest == digest) else { return Ok(None) };
        let from = upstream::by_digest(&known_as(repository), kept.document.digest)?;
        let reader = self.blobs.downloaded(blob, self.download(&from, blob)).await?;
        Ok(Some(Blob { reader, source: Source { class: Some(BlobClass::Verbatim), ..Source::of(Origin::Upstream) } }))
    }

    /// Downloads a blob into a spool.
    async fn download(&self, from: &UpstreamReference, blob: &BlobDescriptor) -> Result<lighter_store::Spool, Refusal> {
        let failed = |error: &dyn std::error::Error| Refusal::Failed(error_chain(error));
        let mut spool = self.shared.store.create_spool().map_err(|error| failed(&error))?;
        // Writes of some 16 KiB into the page cache: they do not wait for the disk.
        let take = |bytes: &[u8]| spool.append(bytes).map_err(std::io::Error::other);
        let client = self.upstreams.client();
        match client.blob(from.registry(), from.repository(), blob.clone(), take).await {
            Ok(Ok(())) => Ok(spool),
            Ok(Err(error)) => Err(failed(&error)),
            Err(error) if error.failure.is_not_found() => Err(Refusal::BlobUnknown(blob.digest.to_string())),
            Err(error) => Err(Refusal::Upstream(format!("{}; {}", error_chain(&error), error.remedy()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(number: u8, bytes: usize) -> Kept {
        let digest = OciDigest::new([number; 32]);
        let source = Source::of(Origin::Upstream);
        let document = Document { digest, media_type: "a/b".to_owned(), bytes: vec![0; bytes], source };
        Kept { repository: "registry.example/a".to_owned(), document, blobs: Vec::new() }
    }

    #[test]
    fn the_artifacts_asked_for_longest_ago_make_room() {
        let artifacts = Artifacts::default();
        let find = |number: u8| {
            let is_meant = |kept: &Kept| kept.document.digest == OciDigest::new([number; 32]);
            artifacts.find("registry.example/a", is_meant).is_some()
        };
        (1..=8).for_each(|number| artifacts.keep(artifact(number, 4 << 20)));
        assert!(find(1), "eight of the largest");
        artifacts.keep(artifact(9, 1));
        assert!(find(1) && !find(2) && find(9), "the one before the latest question went");
        for number in 0..=255 {
            artifacts.keep(artifact(number, 1));
        }
        assert_eq!(artifacts.kept.lock().unwrap().len(), KEPT_MAX);
        assert!(artifacts.find("registry.example/b", |_| true).is_none());
    }
}
