//! Serves the companions of images: the index that a tag stands for, the documents of other platforms, signatures and
//! other artifacts, and the list of what refers to a manifest.
//!
//! They lie in one layer for each image ([`companions`]), whose sha256 a publisher signed, or which this node made of
//! what upstream has. The node serves a document or a blob under a repository if an image of the repository has it
//! among its companions. It compares the digest again. While upstream is asked what it has beside an image, requests
//! for such things wait; an answer about artifacts counts as long as one about a tag.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use lighter_image::{CompanionSlice, Companions, subject_of_tag};
use lighter_registry::server::{Blob, BlobClass, Document, Origin, Refusal, Repository, Source};
use lighter_store::{LayerReader, Store};
use lighter_types::{Bytes, DiffId, ImageReference, OciDigest, ReadAt};
use serde_json::Value;
use tokio::time::timeout;

use super::work::blocking;
use super::{RETRY_AFTER_S, Registry, known_as, media_type, names_of};
use crate::clock::unix_now;
use crate::config::policy::{Resolver, WhenAway};
use crate::images::ImagesError;
use crate::images::companions::{self, BesideLayer, Opened, open};
use crate::images::upstream::Top;
use crate::images::upstream_record::UpstreamRecord;
use crate::shared::{FileBase, Shared};

/// The party that named the companions: a publisher signed them with the release, or upstream has them.
fn source_of(is_released: bool) -> Source {
    Source::of(if is_released { Origin::Release } else { Origin::Upstream })
}

/// The document that upstream's name stands for.
pub(super) fn document_of(top: &Top, source: Source) -> Document {
    let Top { digest, media_type, bytes } = top;
    Document { digest: *digest, media_type: media_type.clone(), bytes: bytes.clone(), source }
}

impl Registry {
    /// The document that an image's tag stands for: the index above its manifest, if it has one.
    pub(super) async fn top(
        &self,
        manifest: OciDigest,
        layer: Option<DiffId>,
        source: Source,
    ) -> Result<Document, Refusal> {
        let Some(layer) = layer else { return self.document(manifest, source).await };
        let found = blocking(&self.shared, move |shared| {
            let Some(opened) = open(&shared.store, layer)? else { return Ok(None) };
            let top = opened.companions.top();
            if top == manifest {
                let bytes = shared.store.blob(&manifest)?;
                return Ok(bytes.map(|bytes| Document { digest: top, media_type: media_type(&bytes), bytes, source }));
            }
            document(&opened, top, source)
        });
        found.await?.ok_or_else(|| Refusal::ManifestUnknown(manifest.to_string()))
    }

    /// A manifest or an index among the companions of a repository's images.
    pub(super) async fn document_beside(
        &self,
        repository: &Repository,
        digest: OciDigest,
    ) -> Result<Option<Document>, Refusal> {
        self.beside(repository, None, move |opened, source| document(&opened, digest, source)).await
    }

    /// The document with a tag of an artifact: cosign's, or that of the list of referrers.
    pub(super) async fn tagged_beside(
        &self,
        repository: &Repository,
        tag: String,
    ) -> Result<Option<Document>, Refusal> {
        let subject = subject_of_tag(&tag);
        let find = move |opened: Opened, source| match opened.companions.tagged(&tag) {
            Some(digest) => document(&opened, digest, source),
            None => Ok(None),
        };
        self.beside(repository, subject, find).await
    }

    /// A blob among the companions of a repository's images.
    pub(super) async fn blob_beside(
        &self,
        repository: &Repository,
        digest: OciDigest,
    ) -> Result<Option<Blob>, Refusal> {
        let find = move |opened: Opened, source| {
            let Some(slice) = opened.companions.blob(&digest) else { return Ok(None) };
            Companions::check_blob(&opened.bundle, slice, &digest)?;
            let source = Source { class: Some(BlobClass::Document), ..source };
            let reader = Arc::new(Part { bundle: opened.bundle, slice });
            Ok(Some(Blob { reader, source }))
        };
        self.beside(repository, None, find).await
    }

    /// The descriptors of all that refers to a manifest, by digest.
    pub(super) async fn referrers_beside(
        &self,
        repository: &Repository,
        subject: OciDigest,
    ) -> Result<Vec<Value>, Refusal> {
        let trouble = self.ask_again(repository, subject).await?;
        let layers = self.layers_beside(repository).await?.iter().map(|beside| beside.layer).collect();
        let found = blocking(&self.shared, move |shared| {
            let mut found = BTreeMap::new();
            for_each(shared, &layers, |opened| {
                for descriptor in opened.companions.referrers(&subject) {
                    found.insert(descriptor["digest"].as_str().unwrap_or_default().to_owned(), descriptor.clone());
                }
            })?;
            Ok(found)
        });
        let found = found.await?;
        match trouble {
            Some(trouble) if found.is_empty() || self.policy(repository).when_upstream_is_away == WhenAway::Fail => {
                Err(trouble)
            }
            Some(_) | None => Ok(found.into_values().collect()),
        }
    }

    /// The first thing that `find` finds among the companions of a repository's images, those that come included. With
    /// a subject, it is an artifact of that manifest.
    async fn beside<T: Send + 'static>(
        &self,
        repository: &Repository,
        subject: Option<OciDigest>,
        find: impl Fn(Opened, Source) -> Result<Option<T>, ImagesError> + Send + Sync + 'static,
    ) -> Result<Option<T>, Refusal> {
        let find = Arc::new(find);
        let trouble = match subject {
            Some(subject) => self.ask_again(repository, subject).await?,
            None => {
                if let Some(found) = self.first_beside(repository, find.clone()).await? {
                    return Ok(Some(found));
                }
                self.gathered(repository).await?
            }
        };
        let found = self.first_beside(repository, find).await?;
        match trouble {
            Some(trouble) if found.is_none() || self.policy(repository).when_upstream_is_away == WhenAway::Fail => {
                Err(trouble)
            }
            Some(_) | None => Ok(found),
        }
    }

    /// Has upstream asked again what refers to a manifest, if it named an image with that manifest and its last answer
    /// is too old. Returns why it does not say so.
    async fn ask_again(&self, repository: &Repository, subject: OciDigest) -> Result<Option<Refusal>, Refusal> {
        let policy = self.policy(repository);
        if policy.resolves(Resolver::Upstream) {
            let (names, max_age_s) = (names_of(repository), u64::from(policy.max_age_s));
            let named = blocking(&self.shared, move |shared| stale(&shared.store, &names, subject, max_age_s)).await?;
            for name in named {
                self.flights.beside_upstream(&name)?;
            }
        }
        self.gathered(repository).await
    }

    /// As [`super::flights::Flights::gathered`], with the limit of every wait.
    async fn gathered(&self, repository: &Repository) -> Result<Option<Refusal>, Refusal> {
        let waiting = Duration::from_secs(self.shared.config.registry.wait_s.into());
        let gathered = timeout(waiting, self.flights.gathered(&known_as(repository))).await;
        gathered.map_err(|_| Refusal::Late { retry_after_s: RETRY_AFTER_S })
    }

    /// The tags of the artifacts of a repository's images.
    pub(super) async fn tags_beside(&self, repository: &Repository) -> Result<BTreeSet<String>, Refusal> {
        let layers = self.layers_beside(repository).await?.iter().map(|beside| beside.layer).collect();
        blocking(&self.shared, move |shared| {
            let mut tags = BTreeSet::new();
            for_each(shared, &layers, |opened| tags.extend(opened.companions.tags().map(str::to_owned)))?;
            Ok(tags)
        })
        .await
    }

    /// The layers with the companions of a repository's images, those on their way included; the newest first, and what
    /// an image names before what comes.
    async fn layers_beside(&self, repository: &Repository) -> Result<Vec<BesideLayer>, Refusal> {
        let names = names_of(repository);
        let coming = self.flights.companions(&known_as(repository));
        let held = blocking(&self.shared, move |shared| Ok(companions::of_repositories(&shared.store, &names)));
        let mut layers = held.await?;
        layers.extend(coming);
        layers.sort_by_key(|beside| std::cmp::Reverse(beside.since));
        Ok(layers)
    }

    async fn first_beside<T: Send + 'static>(
        &self,
        repository: &Repository,
        find: Arc<impl Fn(Opened, Source) -> Result<Option<T>, ImagesError> + Send + Sync + 'static>,
    ) -> Result<Option<T>, Refusal> {
        let layers = self.layers_beside(repository).await?;
        blocking(&self.shared, move |shared| {
            for BesideLayer { layer, is_released, .. } in layers {
                let Some(opened) = open(&shared.store, layer)? else { continue };
                if let Some(found) = find(opened, source_of(is_released))? {
                    return Ok(Some(found));
                }
            }
            Ok(None)
        })
        .await
    }
}

/// The images that upstream named with this manifest, or with something that refers to it, and of which it was last
/// asked longer ago what there is beside them.
fn stale(
    store: &Store,
    names: &[String],
    subject: OciDigest,
    max_age_s: u64,
) -> Result<Vec<ImageReference>, ImagesError> {
    let now = unix_now();
    let mut stale = Vec::new();
    for (name, image) in store.references() {
        let record = UpstreamRecord::read(&image.release_record);
        let Some(beside) = record.and_then(|record| record.beside) else { continue };
        // A clock that was set back makes no answer young.
        let is_young = now.0.checked_sub(beside.gathered.0).is_some_and(|age| age < max_age_s);
        if is_young || !names.iter().any(|known| known == name.repository()) {
            continue;
        }
        let opened = beside.companions.map(|layer| open(store, layer)).transpose()?.flatten();
        let is_beside = opened.is_some_and(|opened| opened.companions.document(&subject).is_some());
        if is_beside || [beside.top, image.manifest].contains(&subject) {
            stale.push(name);
        }
    }
    Ok(stale)
}

fn for_each(shared: &Shared, layers: &BTreeSet<DiffId>, mut look: impl FnMut(&Opened)) -> Result<(), ImagesError> {
    for layer in layers {
        if let Some(opened) = open(&shared.store, *layer)? {
            look(&opened);
        }
    }
    Ok(())
}

fn document(opened: &Opened, digest: OciDigest, source: Source) -> Result<Option<Document>, ImagesError> {
    let Some((media_type, _)) = opened.companions.document(&digest) else { return Ok(None) };
    let bytes = opened.companions.read_document(&opened.bundle, &digest)?;
    Ok(Some(Document { digest, media_type: media_type.to_owned(), bytes, source }))
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
