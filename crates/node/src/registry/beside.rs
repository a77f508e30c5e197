//! Serves the companions of images: the index that a tag stands for, the documents of other platforms, signatures and
//! other artifacts, and the list of what refers to a manifest.
//!
//! They lie in one layer for each image ([`companions`]), whose sha256 a publisher signed. The node serves a document
//! or a blob under a repository if an image of the repository has it among its companions. It compares the digest
//! again.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use lighter_image::{CompanionSlice, Companions};
use lighter_registry::server::{Blob, BlobClass, Document, Origin, Refusal, Repository, Source};
use lighter_store::LayerReader;
use lighter_types::{Bytes, DiffId, OciDigest, ReadAt};
use serde_json::Value;

use super::{Registry, known_as, media_type, names_of};
use crate::images::ImagesError;
use crate::images::companions::{self, Opened, open};
use crate::shared::{FileBase, Shared};

/// A publisher signed the companions with the release.
const SOURCE: Source = Source { origin: Origin::Release, age_s: None, class: None };

impl Registry {
    /// The document that an image's tag stands for: the index above its manifest, if it has one.
    pub(super) async fn top(
        &self,
        manifest: OciDigest,
        layer: Option<DiffId>,
        source: Source,
    ) -> Result<Document, Refusal> {
        let Some(layer) = layer else { return self.document(manifest, source).await };
        let found = self.blocking(move |shared| {
            let Some(opened) = open(&shared.store, layer)? else { return Ok(None) };
            let top = opened.companions.top();
            if top == manifest {
                let bytes = shared.store.blob(&manifest)?;
                return Ok(bytes.map(|bytes| Document { digest: top, media_type: media_type(&bytes), bytes, source }));
            }
            document(&opened, top)
        });
        found.await?.ok_or_else(|| Refusal::ManifestUnknown(manifest.to_string()))
    }

    /// A manifest or an index among the companions of a repository's images.
    pub(super) async fn document_beside(
        &self,
        repository: &Repository,
        digest: OciDigest,
    ) -> Result<Option<Document>, Refusal> {
        self.first_beside(repository, move |opened| document(opened, digest)).await
    }

    /// The document with a tag of an artifact: cosign's, or that of the list of referrers.
    pub(super) async fn tagged_beside(
        &self,
        repository: &Repository,
        tag: String,
    ) -> Result<Option<Document>, Refusal> {
        let find = move |opened: &Opened| match opened.companions.tagged(&tag) {
            Some(digest) => document(opened, digest),
            None => Ok(None),
        };
        self.first_beside(repository, find).await
    }

    /// A blob among the companions of a repository's images.
    pub(super) async fn blob_beside(
        &self,
        repository: &Repository,
        digest: OciDigest,
    ) -> Result<Option<Blob>, Refusal> {
        let layers = self.layers_beside(repository).await?;
        self.blocking(move |shared| {
            for layer in layers {
                let Some(opened) = open(&shared.store, layer)? else { continue };
                let Some(slice) = opened.companions.blob(&digest) else { continue };
                Companions::check_blob(&opened.bundle, slice, &digest)?;
                let source = Source { class: Some(BlobClass::Document), ..SOURCE };
                let reader = Arc::new(Part { bundle: opened.bundle, slice });
                return Ok(Some(Blob { reader, source }));
            }
            Ok(None)
        })
        .await
    }

    /// The descriptors of all that refers to a manifest, by digest.
    pub(super) async fn referrers_beside(
        &self,
        repository: &Repository,
        subject: OciDigest,
    ) -> Result<Vec<Value>, Refusal> {
        let layers = self.layers_beside(repository).await?;
        let found = self.blocking(move |shared| {
            let mut found = BTreeMap::new();
            for_each(shared, &layers, |opened| {
                for descriptor in opened.companions.referrers(&subject) {
                    found.insert(descriptor["digest"].as_str().unwrap_or_default().to_owned(), descriptor.clone());
                }
            })?;
            Ok(found)
        });
        Ok(found.await?.into_values().collect())
    }

    /// The tags of the artifacts of a repository's images.
    pub(super) async fn tags_beside(&self, repository: &Repository) -> Result<BTreeSet<String>, Refusal> {
        let layers = self.layers_beside(repository).await?;
        self.blocking(move |shared| {
            let mut tags = BTreeSet::new();
            for_each(shared, &layers, |opened| tags.extend(opened.companions.tags().map(str::to_owned)))?;
            Ok(tags)
        })
        .await
    }

    /// The layers with the companions of a repository's images, those on their way included.
    async fn layers_beside(&self, repository: &Repository) -> Result<BTreeSet<DiffId>, Refusal> {
        let names = names_of(repository);
        let mut layers = self.flights.companions(&known_as(repository));
        layers.extend(self.blocking(move |shared| Ok(companions::of_repositories(&shared.store, &names))).await?);
        Ok(layers)
    }

    /// The first document that one of the repository's companions has.
    async fn first_beside(
        &self,
        repository: &Repository,
        find: impl Fn(&Opened) -> Result<Option<Document>, ImagesError> + Send + 'static,
    ) -> Result<Option<Document>, Refusal> {
        let layers = self.layers_beside(repository).await?;
        self.blocking(move |shared| {
            for layer in layers {
                let Some(opened) = open(&shared.store, layer)? else { continue };
                if let Some(document) = find(&opened)? {
                    return Ok(Some(document));
                }
            }
            Ok(None)
        })
        .await
    }
}

fn for_each(shared: &Shared, layers: &BTreeSet<DiffId>, mut look: impl FnMut(&Opened)) -> Result<(), ImagesError> {
    for layer in layers {
        if let Some(opened) = open(&shared.store, *layer)? {
            look(&opened);
        }
    }
    Ok(())
}

fn document(opened: &Opened, digest: OciDigest) -> Result<Option<Document>, ImagesError> {
    let Some((media_type, _)) = opened.companions.document(&digest) else { return Ok(None) };
    let bytes = opened.companions.read_document(&opened.bundle, &digest)?;
    Ok(Some(Document { digest, media_type: media_type.to_owned(), bytes, source: SOURCE }))
}

/// A part of a layer.
struct Part {
    bundle: FileBase<LayerReader>,
    slice: CompanionSlice,
}

impl ReadAt for Part {
    fn len(&self) -> Bytes {
        self.slice.bytes
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if offset.checked_add(buffer.len() as u64).is_none_or(|end| end > self.slice.bytes.0) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.bundle.read_exact_at(buffer, self.slice.offset + offset)
    }
}
