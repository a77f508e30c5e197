//! The registry endpoint: what this node's images are to a container runtime.
//!
//! The policy of a repository says who resolves a tag, and in which order: signed releases, as a pull by name, or the
//! upstream registry. Each starts a flight ([`flights`]), and all requests for the same image share it. The manifest is
//! answered when the image's documents are here, with the index that the tag stands for ([`beside`]); a blob when its
//! layer is. Where nobody has the image, the runtime gets a quick 404 and goes on to its next registry.
//!
//! A blob is served under a repository that names it only, to a client that the policy admits ([`access`]), and after
//! it was rebuilt and had its digest once ([`blobs`]); that begins while the layer comes ([`ahead`]).

mod access;
mod ahead;
mod artifacts;
mod beside;
mod blobs;
mod course;
mod endpoint;
mod flights;
mod resolve;
#[cfg(test)]
mod tests;
mod upstream;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use lighter_image::{LayerDescriptor, parse_manifest};
use lighter_registry::UpstreamReference;
use lighter_registry::server::{
    Answer, Blob, BlobClass, Document, Images, Origin, Reference, Refusal, Repository, Source, Users,
};
use lighter_types::OciDigest;
use lighter_wire::BlobSource;
use tokio::time::timeout;

use crate::config::policy::{Policy, Resolver, full_name};
use crate::images::{self, ImagesError, recipes};
use crate::shared::Shared;
use ahead::Ahead;
use artifacts::Artifacts;
use beside::document_of;
use blobs::Blobs;
pub use endpoint::Endpoint;
use flights::Flights;
use resolve::UPSTREAM_TIMEOUT;
use upstream::Upstreams;
use work::blocking;

struct Registry {
    shared: Arc<Shared>,
    flights: Flights,
    upstreams: Arc<Upstreams>,
    blobs: Blobs,
    ahead: Ahead,
    artifacts: Artifacts,
    users: Option<Arc<Users>>,
}

impl Images for Registry {
    fn admit<'a>(&'a self, repository: Option<&'a Repository>, authorization: Option<&'a str>) -> Answer<'a, ()> {
        access::admit(&self.shared.config.registry, self.users.as_deref(), repository, authorization).boxed()
    }

    fn manifest(&self, repository: Repository, reference: Reference) -> Answer<'_, Document> {
        async move {
            match reference {
                Reference::Tag(tag) => self.by_tag(&repository, &tag).await,
                Reference::Digest(digest) => self.by_digest(&repository, digest).await,
            }
        }
        .boxed()
    }

    fn blob(&self, repository: Repository, digest: OciDigest) -> Answer<'_, Blob> {
        async move { self.find_blob(&repository, digest).await }.boxed()
    }

    fn tags(&self, repository: Repository) -> Answer<'_, Vec<String>> {
        async move {
            let names = names_of(&repository);
            let mut tags: BTreeSet<String> = blocking(&self.shared, move |shared| tags(shared, &names)).await?;
            tags.extend(self.tags_beside(&repository).await?);
            if tags.is_empty() { Err(Refusal::NameUnknown(repository.name)) } else { Ok(tags.into_iter().collect()) }
        }
        .boxed()
    }

    fn referrers(&self, repository: Repository, subject: OciDigest) -> Answer<'_, Vec<serde_json::Value>> {
        async move {
            let found = self.referrers_beside(&repository, subject).await?;
            // The specification asks for an empty index where nothing refers to a manifest.
            if found.is_empty() { self.tags(repository).await.map(|_| found) } else { Ok(found) }
        }
        .boxed()
    }
}

impl Registry {
    fn policy(&self, repository: &Repository) -> &Policy {
        self.shared.config.registry.policy(&known_as(repository))
    }

    async fn by_digest(&self, repository: &Repository, digest: OciDigest) -> Result<Document, Refusal> {
        if let Some(origin) = self.manifests(repository).await?.get(&digest) {
            return self.document(digest, Source::of(*origin)).await;
        }
        if let Some(beside) = self.document_beside(repository, digest).await? {
            return Ok(beside);
        }
        if let Some(top) = self.flights.top(&known_as(repository), digest) {
            return Ok(document_of(&top, Source::of(Origin::Upstream)));
        }
        let policy = self.policy(repository);
        if policy.resolves(Resolver::Upstream) {
            if let Some(known) = self.known_artifact(repository, digest) {
                return Ok(known);
            }
            let image = self.by_upstream(&upstream::by_digest(&known_as(repository), digest)?, policy).await;
            return match image {
                Err(failure @ Refusal::Upstream(_)) => self.artifact(repository, digest, failure).await,
                image => image,
            };
        }
        Err(Refusal::ManifestUnknown(format!("{}@{digest}", repository.name)))
    }

    async fn document(&self, manifest: OciDigest, source: Source) -> Result<Document, Refusal> {
        let bytes = blocking(&self.shared, move |shared| Ok(shared.store.blob(&manifest)?)).await?;
        let bytes = bytes.ok_or_else(|| Refusal::ManifestUnknown(manifest.to_string()))?;
        Ok(Document { digest: manifest, media_type: media_type(&bytes), bytes, source })
    }

    /// The manifests of the repository's images, those on their way included, and who named them.
    async fn manifests(&self, repository: &Repository) -> Result<BTreeMap<OciDigest, Origin>, Refusal> {
        let names = names_of(repository);
        let mut manifests = self.flights.manifests(&known_as(repository));
        let held = blocking(&self.shared, move |shared| {
            let images = shared.store.references();
            let named =
                images.into_iter().filter(|(reference, _)| names.iter().any(|name| name == reference.repository()));
            let origin = |record: &[u8]| match images::upstream_record::checked_at(record) {
                Some(_) => Origin::Upstream,
                None => Origin::Release,
            };
            Ok(named.map(|(_, image)| (image.manifest, origin(&image.release_record))).collect::<Vec<_>>())
        });
        manifests.extend(held.await?);
        Ok(manifests)
    }

    async fn find_blob(&self, repository: &Repository, digest: OciDigest) -> Result<Blob, Refusal> {
        let manifests = self.manifests(repository).await?;
        let known: BTreeSet<OciDigest> = manifests.keys().copied().collect();
        let found = blocking(&self.shared, move |shared| find(shared, &known, digest)).await?;
        let Some((manifest, found)) = found else {
            let found = match self.blob_beside(repository, digest).await? {
                Some(beside) => Some(beside),
                None => self.blob_of_artifact(repository, digest).await?,
            };
            return found.ok_or_else(|| Refusal::BlobUnknown(digest.to_string()));
        };
        let source = Source::of(manifests.get(&manifest).copied().unwrap_or(Origin::Release));
        let layer = match found {
            Found::Document(bytes) => {
                return Ok(Blob {
                    reader: Arc::new(bytes),
                    source: Source { class: Some(BlobClass::Document), ..source },
                });
            }
            Found::Layer(layer) => layer,
        };
        self.await_layer(repository, manifest, source.origin, &layer).await?;
        let (reader, class) = self.blobs.open(&layer).await?;
        Ok(Blob { reader, source: Source { class: Some(class), ..source } })
    }

    /// Waits until a layer is here or does not come. One that upstream has and that is gone here comes again.
    async fn await_layer(
        &self,
        repository: &Repository,
        manifest: OciDigest,
        origin: Origin,
        layer: &LayerDescriptor,
    ) -> Result<(), Refusal> {
        let wanted = layer.clone();
        let is_here_now = blocking(&self.shared, move |shared| Ok(is_here(shared, &wanted))).await?;
        if is_here_now {
            return Ok(());
        }
        let is_from_upstream = origin == Origin::Upstream && self.policy(repository).resolves(Resolver::Upstream);
        if is_from_upstream && !self.flights.is_coming(manifest) && self.flights.failure(manifest).is_none() {
            let flight = self.flights.by_upstream(&upstream::by_digest(&known_as(repository), manifest)?)?;
            // Until it has its manifest, nobody knows that it brings the layer.
            let _ = timeout(UPSTREAM_TIMEOUT, flight.resolved()).await;
        }
        let waiting = Duration::from_secs(self.shared.config.registry.wait_s.into());
        let arrived = timeout(waiting, self.flights.arrival(manifest, layer));
        arrived.await.map_err(|_| Refusal::Late { retry_after_s: RETRY_AFTER_S })?;
        let wanted = layer.clone();
        let is_here_now = blocking(&self.shared, move |shared| Ok(is_here(shared, &wanted))).await?;
        match self.flights.failure(manifest) {
            Some(failure) if !is_here_now => Err(failure),
            Some(_) | None => Ok(()),
        }
    }
}

/// A client may come again after so many seconds for what is on its way.
const RETRY_AFTER_S: u32 = 10;

/// A blob of an image.
enum Found {
    Document(Vec<u8>),
    Layer(LayerDescriptor),
}

/// Looks for a blob in the images with these manifests.
fn find(
    shared: &Shared,
    manifests: &BTreeSet<OciDigest>,
    digest: OciDigest,
) -> Result<Option<(OciDigest, Found)>, ImagesError> {
    let store = &shared.store;
    for &manifest in manifests {
        let Some(bytes) = store.blob(&manifest)? else { continue };
        if manifest == digest {
            return Ok(Some((manifest, Found::Document(bytes))));
        }
        let Ok(parsed) = parse_manifest(&bytes, &manifest) else { continue };
        if parsed.config.digest == digest {
            return Ok(store.blob(&digest)?.map(|bytes| (manifest, Found::Document(bytes))));
        }
        if !parsed.layers.iter().any(|blob| blob.digest == digest) {
            continue;
        }
        let layers = recipes::layers_of(store, manifest)?.unwrap_or_default();
        if let Some(layer) = layers.into_iter().find(|layer| layer.blob.digest == digest) {
            return Ok(Some((manifest, Found::Layer(layer))));
        }
    }
    Ok(None)
}

/// The name of a repository in policies and at its registry.
fn known_as(repository: &Repository) -> String {
    match &repository.registry {
        Some(registry) => full_name(&format!("{registry}/{}", repository.name)),
        None => full_name(&repository.name),
    }
}

/// The names under which this node may know a repository. All of them have the policy of [`known_as`]. A name that
/// means another repository alone, as `registry.example/a` of Docker Hub does, is none of them.
fn names_of(repository: &Repository) -> Vec<String> {
    let mut names = repository.names();
    let full = known_as(repository);
    names.retain(|name| full_name(name) == full);
    if !names.contains(&full) {
        names.push(full);
    }
    names
}

/// A tag of a repository at its registry.
fn upstream_of(repository: &Repository, tag: &str) -> Result<UpstreamReference, Refusal> {
    let text = format!("docker://{}:{tag}", known_as(repository));
    text.parse().map_err(|_| Refusal::ManifestUnknown(format!("{}:{tag}", repository.name)))
}

fn tags(shared: &Shared, names: &[String]) -> Result<BTreeSet<String>, ImagesError> {
    let images = shared.store.references();
    let named = images.iter().filter(|(reference, _)| names.iter().any(|name| name == reference.repository()));
    let tags = named.map(|(reference, _)| reference.tag().to_owned());
    Ok(tags.filter(|tag| !images::upstream::is_digest_tag(tag)).collect())
}

/// The media type that a manifest says it has. One without says nothing, as OCI allowed; then it is OCI's.
fn media_type(manifest: &[u8]) -> String {
    let parsed: Option<serde_json::Value> = serde_json::from_slice(manifest).ok();
    let named = parsed.as_ref().and_then(|manifest| manifest["mediaType"].as_str());
    named.unwrap_or("application/vnd.oci.image.manifest.v1+json").to_owned()
}

/// Whether a layer's exact blob is here, or can be made now.
fn is_here(shared: &Shared, layer: &LayerDescriptor) -> bool {
    let store = &shared.store;
    if recipes::is_kept(store, layer) {
        return true;
    }
    match recipes::source(store, layer) {
        BlobSource::Plain | BlobSource::Recipe(_) => store.card(&layer.diff_id).is_some(),
        BlobSource::Verbatim | BlobSource::Unknown => false,
    }
}
