//! Images out of upstream registries: resolved, brought, and kept for the clients of this node.
//!
//! ```text
//! known and young enough, and all here -> done
//! else: manifest and config from the registry -> missing layers -> peers that have them and their recipes
//!                                                               -> the registry, for the rest
//!       -> a name
//! ```
//!
//! A layer counts as here when its exact blob can be made here. The registry's manifest and config are small and always
//! come from there, so that a tag means what its registry says. For layers, the peers are asked first if one of them
//! announces a missing layer: an engine's pull of that manifest brings recipes and patches. Layers of which no peer has
//! the recipe or the tar, and those that the pull did not bring, are downloaded. Every byte is checked as in an import,
//! and nothing is signed.

mod peers;

use std::sync::Arc;

use lighter_image::{LayerDescriptor, OpenedImage};
use lighter_registry::server::Refusal;
use lighter_registry::{Upstream, UpstreamReference};
use lighter_store::{Lease, UnixSeconds};
use lighter_types::{Blame, ImageReference, OciDigest, error_chain};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::course::Course;
use super::is_here;
use crate::clock::unix_now;
use crate::config::policy::{LayerSource, Policy, Resolver};
use crate::config::upstream_settings;
use crate::images::{self, AnyFiles, ImageSource, ImagesError, recipes};
use crate::shared::Shared;
use crate::traffic::MeteredDial;

/// Registries that are asked for documents at a time: each takes a thread that waits.
const ASKING_MAX: usize = 8;
/// Images whose layers are downloaded at a time, one layer of each.
const DOWNLOADS_MAX: usize = 4;

/// See the module.
pub struct Upstreams {
    shared: Arc<Shared>,
    client: Arc<Upstream>,
    asking: Semaphore,
    downloading: Semaphore,
}

/// An image that a client wants from upstream, as far as it is known here.
struct Known {
    name: ImageReference,
    manifest: Option<OciDigest>,
    /// When upstream said so.
    checked: Option<UnixSeconds>,
}

impl Known {
    /// How long ago upstream said so. A clock that was set back makes no answer young.
    fn age_s(&self) -> Option<u64> {
        unix_now().0.checked_sub(self.checked?.0)
    }
}

/// An image whose documents the registry gave.
struct Opened {
    source: ImageSource,
    image: OpenedImage<AnyFiles>,
}

impl Upstreams {
    pub fn new(shared: Arc<Shared>, stop: CancellationToken) -> Self {
        let dial = Arc::new(MeteredDial::new(shared.accountant.clone()));
        let settings = upstream_settings(&shared.config.upstream);
        Self {
            client: Upstream::new(settings, dial, shared.seed() ^ shared.now().0, stop),
            asking: Semaphore::new(ASKING_MAX),
            downloading: Semaphore::new(DOWNLOADS_MAX),
            shared,
        }
    }

    /// Brings an image, and tells of its course.
    ///
    /// # Errors
    /// `ManifestUnknown` if upstream has no such image; `Upstream` if it does not give it; `Failed`.
    ///
    /// Dropped midway, what is here stays without a name, and a download goes on to the end of its layer.
    pub async fn fetch(&self, wanted: &UpstreamReference, state: &watch::Sender<Course>) -> Result<(), Refusal> {
        let repository = format!("{}/{}", wanted.registry(), wanted.repository());
        let policy = self.shared.config.registry.policy(&repository);
        if !policy.resolves(Resolver::Upstream) {
            return Err(Refusal::ManifestUnknown(wanted.to_string()));
        }
        let known = self.known(&repository, wanted)?;
        let is_young = |age: u64| wanted.digest().is_some() || age < u64::from(policy.max_age_s);
        let young = match known.manifest.zip(known.age_s()).filter(|(_, age)| is_young(*age)) {
            Some((manifest, age)) if self.has_documents(manifest).await? => Some((manifest, age)),
            Some(_) | None => None,
        };
        let (opened, checked) = match young {
            Some((manifest, age_s)) => {
                state.send_modify(|state| {
                    (state.manifest, state.age_s, state.has_documents) = (Some(manifest), Some(age_s), true);
                });
                if self.missing_of(manifest).await?.is_empty() {
                    return Ok(());
                }
                (self.open(&by_digest(&repository, manifest)?).await?, known.checked)
            }
            None => (self.open(wanted).await?, None),
        };
        let manifest = opened.image.image().manifest_digest;
        if wanted.digest().is_some_and(|digest| digest != manifest) {
            // An index of several platforms: the node has one of them.
            return Err(Refusal::ManifestUnknown(wanted.to_string()));
        }
        self.bring(&known.name, checked.unwrap_or_else(unix_now), opened, policy, state).await
    }

    /// The name that the image has here, and the manifest that upstream named by it last. For a digest, a tag of the
    /// repository that stands for it will do.
    fn known(&self, repository: &str, wanted: &UpstreamReference) -> Result<Known, Refusal> {
        let images = self.shared.store.references().into_iter();
        let mut from_upstream = images.filter_map(|(name, image)| {
            let checked = images::upstream_record::checked_at(&image.release_record)?;
            Some(Known { name, manifest: Some(image.manifest), checked: Some(checked) })
        });
        let (found, name) = match wanted.digest() {
            Some(digest) => (
                from_upstream.find(|known| known.name.repository() == repository && known.manifest == Some(digest)),
                images::upstream::name_of(repository, digest),
            ),
            None => {
                let name = wanted.name();
                (from_upstream.find(|known| Some(&known.name) == name.as_ref()), name)
            }
        };
        let unknown = name.map(|name| Known { name, manifest: None, checked: None });
        found.or(unknown).ok_or_else(|| Refusal::ManifestUnknown(wanted.to_string()))
    }

    async fn has_documents(&self, manifest: OciDigest) -> Result<bool, Refusal> {
        self.blocking(move |shared| Ok(recipes::layers_of(&shared.store, manifest)?.is_some())).await
    }

    async fn open(&self, wanted: &UpstreamReference) -> Result<Opened, Refusal> {
        let _place = self.asking.acquire().await.map_err(|_| stopping())?;
        let source = ImageSource::registry(self.client.clone(), Handle::current(), wanted.clone());
        let name = wanted.to_string();
        self.blocking(move |_| {
            let image = images::upstream::open(&source)?;
            Ok(Opened { source, image })
        })
        .await
        .map_err(|refusal| match refusal {
            Refusal::ManifestUnknown(_) => Refusal::ManifestUnknown(name),
            refusal => refusal,
        })
    }

    /// Brings the layers that are missing, and names the image.
    async fn bring(
        &self,
        name: &ImageReference,
        checked: UnixSeconds,
        mut opened: Opened,
        policy: &Policy,
        state: &watch::Sender<Course>,
    ) -> Result<(), Refusal> {
        let image = opened.image.image().clone();
        let manifest = image.manifest_digest;
        state.send_modify(|state| state.manifest = Some(manifest));
        // Layers that are here stay until the image names them.
        let mut leases = self.lease(&image.layers).await?;
        let missing = self.missing(&image.layers).await?;
        let from_peers = match policy.fetches(LayerSource::Peers) {
            true => self.ask_peers(manifest, &image.layers, &missing).await?,
            false => None,
        };
        let kept = image.clone();
        self.blocking(move |shared| images::upstream::keep_documents(shared, &kept)).await?;
        state.send_modify(|state| state.has_documents = true);
        if let Some(pull) = from_peers {
            let awaited = self.awaited_from_peers(&image.layers, &missing).await?;
            let others: Vec<usize> = missing.iter().copied().filter(|index| !awaited.contains_key(index)).collect();
            let ((), downloaded) =
                tokio::join!(self.follow_peers(pull, &awaited, state), self.download(opened, &others, policy, state));
            opened = downloaded?;
            leases.extend(self.lease(&image.layers).await?);
        }
        let missing = self.missing(&image.layers).await?;
        self.download(opened, &missing, policy, state).await?;
        if let Some(&index) = self.missing(&image.layers).await?.first() {
            let digest = image.layers[index].blob.digest;
            return Err(Refusal::Upstream(format!("no peer gives the blob {digest}, and `fetch` leaves out upstream")));
        }
        leases.extend(self.lease(&image.layers).await?);
        let reference = name.clone();
        self.blocking(move |shared| images::upstream::name(shared, &reference, &image, checked)).await?;
        tracing::info!(image = %name, %manifest, "an image came from upstream for a client");
        drop(leases);
        Ok(())
    }

    /// Downloads layers, one after the other.
    async fn download(
        &self,
        mut opened: Opened,
        layers: &[usize],
        policy: &Policy,
        state: &watch::Sender<Course>,
    ) -> Result<Opened, Refusal> {
        if layers.is_empty() || !policy.fetches(LayerSource::Upstream) {
            return Ok(opened);
        }
        let _place = self.downloading.acquire().await.map_err(|_| stopping())?;
        for &index in layers {
            opened = self
                .blocking(move |shared| {
                    // Another flight may have brought it meanwhile.
                    if !is_here(shared, &opened.image.image().layers[index]) {
                        images::upstream::bring_layer(shared, &opened.source, &mut opened.image, index)?;
                    }
                    Ok(opened)
                })
                .await?;
            state.send_modify(|state| state.layers += 1);
        }
        Ok(opened)
    }

    /// The places of the layers whose exact blobs cannot be made here.
    async fn missing(&self, layers: &[LayerDescriptor]) -> Result<Vec<usize>, Refusal> {
        let layers = layers.to_vec();
        self.blocking(move |shared| {
            Ok(layers.iter().enumerate().filter(|(_, layer)| !is_here(shared, layer)).map(|(index, _)| index).collect())
        })
        .await
    }

    async fn missing_of(&self, manifest: OciDigest) -> Result<Vec<usize>, Refusal> {
        let layers = self.blocking(move |shared| Ok(recipes::layers_of(&shared.store, manifest)?.unwrap_or_default()));
        self.missing(&layers.await?).await
    }

    async fn lease(&self, layers: &[LayerDescriptor]) -> Result<Vec<Lease>, Refusal> {
        let layers = layers.to_vec();
        self.blocking(move |shared| Ok(images::upstream::lease(shared, &layers))).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, ImagesError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let shared = self.shared.clone();
        let done = tokio::task::spawn_blocking(move || work(&shared)).await;
        let done = done.map_err(|_| Refusal::Failed("a worker of this node panicked".to_owned()))?;
        done.map_err(|error| refusal(&error))
    }
}

/// The reference of an image of a repository by its digest.
pub fn by_digest(repository: &str, manifest: OciDigest) -> Result<UpstreamReference, Refusal> {
    format!("docker://{repository}@{manifest}").parse().map_err(|_| Refusal::ManifestUnknown(manifest.to_string()))
}

fn stopping() -> Refusal {
    Refusal::Failed("this node is stopping".to_owned())
}

/// The text for a client: a registry's failure with its registry, repository, step and remedy.
fn refusal(error: &ImagesError) -> Refusal {
    match error {
        ImagesError::Upstream(error) if error.failure.is_not_found() => Refusal::ManifestUnknown(error_chain(error)),
        ImagesError::Upstream(error) => Refusal::Upstream(format!("{}; {}", error_chain(error), error.remedy())),
        // The registry's bytes are not what its documents say.
        ImagesError::Source { source, .. } if source.blame() != Blame::Machine => {
            let remedy = "do not use what its registry serves there: ask the registry's operator";
            Refusal::Upstream(format!("{}; {remedy}", error_chain(error)))
        }
        ImagesError::Source { .. }
        | ImagesError::Image(_)
        | ImagesError::Open { .. }
        | ImagesError::NoFile { .. }
        | ImagesError::Store(_)
        | ImagesError::NoName { .. }
        | ImagesError::OnlyTag { .. }
        | ImagesError::SeveralNames { .. }
        | ImagesError::BadName { .. }
        | ImagesError::Unknown(_)
        | ImagesError::Exists(_)
        | ImagesError::NotExact(_)
        | ImagesError::SizesDiffer { .. }
        | ImagesError::Gone(_) => {
            let error = error_chain(error);
            tracing::error!(error, "an image from upstream cannot be kept");
            Refusal::Failed(error)
        }
    }
}
