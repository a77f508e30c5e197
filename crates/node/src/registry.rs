//! The registry endpoint: what this node's images are to a container runtime on the same host.
//!
//! A tag is resolved as a pull resolves it: by signed releases, of which the newest counts. So a request for a tag
//! starts a pull of the image ([`flights`]), and all requests for the same image share it. The manifest is answered
//! when the image's documents are here, with the index that the tag stands for ([`beside`]); a blob when its layer is.
//! Where no peer has the image, the runtime gets a 404 after two seconds at most and goes on to its next registry.
//!
//! A blob is served under a repository that names it only, and after it was rebuilt and had its digest once
//! ([`blobs`]).

mod beside;
mod blobs;
mod flights;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures::FutureExt as _;
use lighter_image::{LayerDescriptor, parse_manifest, subject_of_tag};
use lighter_registry::server::{Answer, Blob, Document, Images, Limits, Reference, Refusal, Repository, router, serve};
use lighter_types::{ImageReference, OciDigest};
use lighter_wire::BlobSource;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::StartError;
use crate::config::Config;
use crate::images::{ImagesError, companions, recipes};
use crate::shared::Shared;
use blobs::Blobs;
use flights::{Flight, Flights};

/// A runtime that is told "not here" after more than two seconds looks stuck to its user (containerd #10624).
const RESOLVE_TIMEOUT: Duration = Duration::from_millis(1500);

/// The endpoint, bound and not served yet; none if the configuration names no address.
pub struct Endpoint(Option<TcpListener>);

impl Endpoint {
    /// # Errors
    /// If the port is taken or cannot be had.
    pub async fn bind(config: &Config) -> Result<Self, StartError> {
        if config.registry.listen.is_empty() {
            return Ok(Self(None));
        }
        let address = config.registry.listen.clone();
        let listener = TcpListener::bind(&address).await.map_err(|why| StartError::RegistryPort { address, why })?;
        // The machine chooses the port if the configuration has 0.
        if let Ok(address) = listener.local_addr() {
            tracing::info!(%address, "the registry listens");
        }
        Ok(Self(Some(listener)))
    }

    /// Serves until `stop` is cancelled.
    pub async fn serve(self, shared: Arc<Shared>, stop: CancellationToken) {
        let Some(listener) = self.0 else { return };
        let limits = Limits { connections_max: shared.config.registry.connections_max, ..Limits::default() };
        let registry = Arc::new(Registry {
            flights: Flights::new(shared.clone(), stop.clone()),
            blobs: Blobs::new(shared.clone()),
            shared,
        });
        let router: Router = router(registry.clone());
        tokio::select! {
            () = serve(listener, router, limits, stop) => {}
            () = registry.blobs.forget_idle() => {}
        }
    }
}

struct Registry {
    shared: Arc<Shared>,
    flights: Flights,
    blobs: Blobs,
}

impl Images for Registry {
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
            let names = repository.names();
            let mut tags: BTreeSet<String> = self.blocking(move |shared| tags(shared, &names)).await?;
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
    async fn by_tag(&self, repository: &Repository, tag: &str) -> Result<Document, Refusal> {
        let unknown = || Refusal::ManifestUnknown(format!("{}:{tag}", repository.name));
        if subject_of_tag(tag).is_some() {
            // No peer is asked for an artifact: it comes with its image.
            return self.tagged_beside(repository, tag.to_owned()).await?.ok_or_else(unknown);
        }
        let references: Vec<ImageReference> =
            repository.names().iter().filter_map(|name| format!("{name}:{tag}").parse().ok()).collect();
        // At once: each may take as long as the slowest peer.
        let flights: Vec<Flight> = references.iter().map(|reference| self.flights.of(reference)).collect();
        let resolved =
            futures::future::join_all(flights.iter().map(|flight| timeout(RESOLVE_TIMEOUT, flight.resolved())));
        let resolved = resolved.await;
        let waiting = Duration::from_secs(self.shared.config.registry.wait_s.into());
        for (flight, resolved) in flights.iter().zip(resolved) {
            let Ok(Some((manifest, companions))) = resolved else { continue };
            match timeout(waiting, flight.has_documents(&self.shared.store)).await {
                Ok(true) => return self.top(manifest, companions).await,
                Ok(false) => {}
                Err(_) => return Err(Refusal::Late { retry_after_s: RETRY_AFTER_S }),
            }
        }
        // No peer answers: the release that is here counts.
        let held = references.iter().find_map(|reference| self.shared.store.reference(reference));
        match held {
            Some(image) => self.top(image.manifest, companions::of_record(&image.release_record)).await,
            None => Err(unknown()),
        }
    }

    async fn by_digest(&self, repository: &Repository, digest: OciDigest) -> Result<Document, Refusal> {
        let known = self.manifests(repository).await?;
        if known.contains(&digest) {
            return self.document(digest).await;
        }
        let beside = self.document_beside(repository, digest).await?;
        beside.ok_or_else(|| Refusal::ManifestUnknown(format!("{}@{digest}", repository.name)))
    }

    async fn document(&self, manifest: OciDigest) -> Result<Document, Refusal> {
        let bytes = self.blocking(move |shared| Ok(shared.store.blob(&manifest)?)).await?;
        let bytes = bytes.ok_or_else(|| Refusal::ManifestUnknown(manifest.to_string()))?;
        Ok(Document { digest: manifest, media_type: media_type(&bytes), bytes })
    }

    /// The manifests of the repository's images, those on their way included.
    async fn manifests(&self, repository: &Repository) -> Result<BTreeSet<OciDigest>, Refusal> {
        let names = repository.names();
        let mut manifests = self.flights.manifests(&names);
        let held = self.blocking(move |shared| {
            let images = shared.store.references();
            let named =
                images.into_iter().filter(|(reference, _)| names.iter().any(|name| name == reference.repository()));
            Ok(named.map(|(_, image)| image.manifest).collect::<Vec<_>>())
        });
        manifests.extend(held.await?);
        Ok(manifests)
    }

    async fn find_blob(&self, repository: &Repository, digest: OciDigest) -> Result<Blob, Refusal> {
        let manifests = self.manifests(repository).await?;
        let found = self.blocking(move |shared| find(shared, &manifests, digest)).await?;
        let (manifest, layer) = match found {
            Found::Document(bytes) => return Ok(Blob(Arc::new(bytes))),
            Found::Layer { manifest, layer } => (manifest, layer),
            Found::Nothing => {
                let beside = self.blob_beside(repository, digest).await?;
                return beside.ok_or_else(|| Refusal::BlobUnknown(digest.to_string()));
            }
        };
        let waiting = Duration::from_secs(self.shared.config.registry.wait_s.into());
        let arrived = timeout(waiting, self.flights.arrival(manifest, &layer));
        arrived.await.map_err(|_| Refusal::Late { retry_after_s: RETRY_AFTER_S })?;
        self.blobs.open(&layer).await
    }

    /// Runs work that reads the disk.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, ImagesError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let shared = self.shared.clone();
        let done = tokio::task::spawn_blocking(move || work(&shared)).await;
        let done = done.map_err(|_| Refusal::Failed("a worker of this node panicked".to_owned()))?;
        done.map_err(|error| {
            let error = lighter_types::error_chain(&error);
            tracing::error!(error, "the registry cannot read what it has");
            Refusal::Failed(error)
        })
    }
}

/// A client may come again after so many seconds for what is on its way.
const RETRY_AFTER_S: u32 = 10;

/// Where a blob stands.
enum Found {
    Document(Vec<u8>),
    Layer { manifest: OciDigest, layer: LayerDescriptor },
    Nothing,
}

/// Looks for a blob in the images with these manifests.
fn find(shared: &Shared, manifests: &BTreeSet<OciDigest>, digest: OciDigest) -> Result<Found, ImagesError> {
    let store = &shared.store;
    for &manifest in manifests {
        let Some(bytes) = store.blob(&manifest)? else { continue };
        if manifest == digest {
            return Ok(Found::Document(bytes));
        }
        let Ok(parsed) = parse_manifest(&bytes, &manifest) else { continue };
        if parsed.config.digest == digest {
            return Ok(store.blob(&digest)?.map_or(Found::Nothing, Found::Document));
        }
        if !parsed.layers.iter().any(|blob| blob.digest == digest) {
            continue;
        }
        let layers = recipes::layers_of(store, manifest)?.unwrap_or_default();
        if let Some(layer) = layers.into_iter().find(|layer| layer.blob.digest == digest) {
            return Ok(Found::Layer { manifest, layer });
        }
    }
    Ok(Found::Nothing)
}

fn tags(shared: &Shared, names: &[String]) -> Result<BTreeSet<String>, ImagesError> {
    let images = shared.store.references();
    let named = images.iter().filter(|(reference, _)| names.iter().any(|name| name == reference.repository()));
    Ok(named.map(|(reference, _)| reference.tag().to_owned()).collect())
}

/// The media type that a manifest says it has. One without says nothing, as OCI allowed; then it is OCI's.
fn media_type(manifest: &[u8]) -> String {
    let parsed: Option<serde_json::Value> = serde_json::from_slice(manifest).ok();
    let named = parsed.as_ref().and_then(|manifest| manifest["mediaType"].as_str());
    named.unwrap_or("application/vnd.oci.image.manifest.v1+json").to_owned()
}

/// Whether a layer's exact blob can be made here now.
fn is_here(shared: &Shared, layer: &LayerDescriptor) -> bool {
    let store = &shared.store;
    match recipes::source(store, layer) {
        BlobSource::Plain | BlobSource::Recipe(_) => store.card(&layer.diff_id).is_some(),
        BlobSource::Verbatim => store.card(&recipes::as_layer(&layer.blob.digest)).is_some(),
        BlobSource::Unknown => false,
    }
}
