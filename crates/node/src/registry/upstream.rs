//! Images out of upstream registries: resolved, brought, and kept for the clients of this node.
//!
//! ```text
//! known and young enough, and all here -> done
//! else: manifest and config from the registry -> missing layers -> peers that have them and their recipes
//!                                                               -> the registry, for the rest
//!                                             -> what there is beside the image: its index, its signatures
//!       -> a name
//! ```
//!
//! A layer counts as here when its exact blob can be made here. The registry's manifest and config are small and always
//! come from there, so that a tag means what its registry says. For layers, the peers are asked first if one of them
//! announces a missing layer: an engine's pull of that manifest brings recipes and patches. Layers of which no peer has
//! the recipe or the tar, and those that the pull did not bring, are downloaded. Every byte is checked as in an import,
//! and nothing is signed.
//!
//! The things beside the image are gathered once for each document that a tag stands for, while the layers come, and
//! again when a client asks for an artifact and the last answer is too old.

mod beside;
mod peers;
mod site;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use lighter_image::LayerDescriptor;
use lighter_registry::server::Refusal;
use lighter_registry::{Upstream, UpstreamReference};
use lighter_store::{Lease, UnixSeconds};
use lighter_types::{ImageReference, OciDigest};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::course::{Course, Gathering};
use super::is_here;
use super::work::blocking;
use crate::clock::unix_now;
use crate::config::policy::{LayerSource, Policy, Resolver};
use crate::config::upstream_settings;
use crate::images::recipes;
use crate::images::upstream::{self, Opened};
use crate::images::upstream_record::{Beside, UpstreamRecord};
use crate::shared::Shared;
use crate::site_downloads::Claim;
use crate::traffic::MeteredDial;
use site::{Turn, Wait};

/// Registries that are asked for documents at a time: each takes a thread that waits.
const ASKING_MAX: usize = 8;
/// Layers that are downloaded at a time, one of each image.
const DOWNLOADS_MAX: usize = 4;
/// Images at a time whose registries are asked for what is beside them. Each has at most 32 MiB of it in memory.
const GATHERING_MAX: usize = 4;

/// See the module.
pub struct Upstreams {
    shared: Arc<Shared>,
    client: Arc<Upstream>,
    asking: Semaphore,
    downloading: Semaphore,
    gathering: Semaphore,
}

/// An image that a client wants from upstream, as far as it is known here.
struct Known {
    name: ImageReference,
    /// The manifest, and when upstream said so.
    image: Option<(OciDigest, UpstreamRecord)>,
}

impl Known {
    /// The image if its record still counts, and how long ago upstream said so. A clock that was set back makes no
    /// answer young. A digest means the same for ever. An earlier program did not look what there is beside an image.
    fn young(&self, wanted: &UpstreamReference, policy: &Policy) -> Option<Young> {
        let (manifest, UpstreamRecord { checked, beside }) = self.image?;
        let age_s = age_s(checked)?;
        let is_young = wanted.digest().is_some() || age_s < u64::from(policy.max_age_s);
        Some(Young { manifest, checked, beside: beside?, age_s }).filter(|_| is_young)
    }

    fn beside(&self) -> Option<Beside> {
        self.image.and_then(|(_, record)| record.beside)
    }
}

/// See [`Known::young`].
#[derive(Clone, Copy)]
struct Young {
    manifest: OciDigest,
    checked: UnixSeconds,
    beside: Beside,
    age_s: u64,
}

fn age_s(checked: UnixSeconds) -> Option<u64> {
    unix_now().0.checked_sub(checked.0)
}

impl Upstreams {
    pub fn new(shared: Arc<Shared>, stop: CancellationToken) -> Self {
        let dial = Arc::new(MeteredDial::new(shared.accountant.clone()));
        let settings = upstream_settings(&shared.config.upstream);
        Self {
            client: Upstream::new(settings, dial, shared.seed() ^ shared.now().0, stop),
            asking: Semaphore::new(ASKING_MAX),
            downloading: Semaphore::new(DOWNLOADS_MAX),
            gathering: Semaphore::new(GATHERING_MAX),
            shared,
        }
    }

    /// The client of registries.
    pub fn client(&self) -> &Arc<Upstream> {
        &self.client
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
        let (asked, checked) = match known.young(wanted, policy) {
            Some(young) if self.has_documents(young).await? => {
                let Young { manifest, checked, beside, age_s } = young;
                state.send_modify(|state| {
                    (state.manifest, state.companions) = (Some(manifest), beside.companions);
                    state.gathered = Some(beside.gathered);
                    (state.age_s, state.has_documents) = (Some(age_s), true);
                });
                if self.missing_of(manifest).await?.is_empty() {
                    return Ok(());
                }
                (by_digest(&repository, beside.top)?, Some(checked))
            }
            Some(_) | None => match known.beside().filter(|_| wanted.digest().is_some()) {
                Some(beside) => (by_digest(&repository, beside.top)?, None),
                None => (wanted.clone(), None),
            },
        };
        let opened = self.open(&asked).await?;
        let is_of = |digest| digest == opened.top.digest || digest == opened.image().manifest_digest;
        if wanted.digest().is_some_and(|digest| !is_of(digest)) {
            return Err(Refusal::ManifestUnknown(wanted.to_string()));
        }
        self.bring(&known, checked.unwrap_or_else(unix_now), opened, policy, state).await
    }

    /// The name that the image has here, and what upstream named by it last. For a digest, a tag of the repository that
    /// stands for it will do.
    fn known(&self, repository: &str, wanted: &UpstreamReference) -> Result<Known, Refusal> {
        let images = self.shared.store.references().into_iter();
        let mut from_upstream = images.filter_map(|(name, image)| {
            let record = UpstreamRecord::read(&image.release_record)?;
            Some(Known { name, image: Some((image.manifest, record)) })
        });
        let (found, name) = match wanted.digest() {
            Some(digest) => {
                let is_of = |known: &Known| {
                    let top = known.beside().map(|beside| beside.top);
                    // Without its top, a tag cannot be brought by another document than the one it stands for.
                    top.is_some_and(|top| known.image.is_some_and(|(manifest, _)| [top, manifest].contains(&digest)))
                };
                let found = from_upstream.find(|known| known.name.repository() == repository && is_of(known));
                (found, upstream::name_of(repository, digest))
            }
            None => {
                let name = wanted.name();
                (from_upstream.find(|known| Some(&known.name) == name.as_ref()), name)
            }
        };
        let unknown = name.map(|name| Known { name, image: None });
        found.or(unknown).ok_or_else(|| Refusal::ManifestUnknown(wanted.to_string()))
    }

    async fn has_documents(&self, image: Young) -> Result<bool, Refusal> {
        let Young { manifest, beside, .. } = image;
        blocking(&self.shared, move |shared| {
            let has_companions = beside.companions.is_none_or(|layer| shared.store.card(&layer).is_some());
            Ok(has_companions && recipes::layers_of(&shared.store, manifest)?.is_some())
        })
        .await
    }

    async fn open(&self, wanted: &UpstreamReference) -> Result<Opened, Refusal> {
        let _place = self.asking.acquire().await.map_err(|_| stopping())?;
        let (client, handle, reference) = (self.client.clone(), Handle::current(), wanted.clone());
        let opened = blocking(&self.shared, move |_| Opened::open(&client, &handle, &reference)).await;
        opened.map_err(|refusal| match refusal {
            Refusal::ManifestUnknown(_) => Refusal::ManifestUnknown(wanted.to_string()),
            refusal => refusal,
        })
    }

    /// Brings what is missing, and names the image.
    async fn bring(
        &self,
        known: &Known,
        checked: UnixSeconds,
        opened: Opened,
        policy: &Policy,
        state: &watch::Sender<Course>,
    ) -> Result<(), Refusal> {
        let (image, top) = (opened.image().clone(), opened.top.clone());
        let store = &self.shared.store;
        let beside = known.beside().filter(|beside| beside.top == top.digest);
        let beside = beside.filter(|beside| beside.companions.is_none_or(|layer| store.card(&layer).is_some()));
        let another = opened.another();
        state.send_modify(|state| {
            (state.manifest, state.top) = (Some(image.manifest_digest), Some(top));
            match beside {
                Some(beside) => (state.companions, state.gathered) = (beside.companions, Some(beside.gathered)),
                None => state.gathering = Gathering::UnderWay,
            }
        });
        let gathered = async {
            match beside {
                // The companions that are held stay until the image names them again.
                Some(beside) => Ok((beside, beside.companions.and_then(|layer| store.lease_layer(&layer)))),
                None => {
                    let companions = known.beside().and_then(|beside| beside.companions);
                    let gathered = self.gather(another, companions).await;
                    state.send_modify(|state| match &gathered {
                        Ok((beside, _)) => {
                            (state.companions, state.gathered) = (beside.companions, Some(beside.gathered));
                            state.gathering = Gathering::Idle;
                        }
                        Err(refusal) => state.gathering = Gathering::Failed(refusal.clone()),
                    });
                    gathered
                }
            }
        };
        let (gathered, layers) = tokio::join!(gathered, self.bring_layers(opened, policy, state));
        let ((beside, _companions), _layers) = (gathered?, layers?);
        let (reference, manifest) = (known.name.clone(), image.manifest_digest);
        let record = UpstreamRecord { checked, beside: Some(beside) };
        blocking(&self.shared, move |shared| upstream::name(shared, &reference, &image, record)).await?;
        tracing::info!(image = %known.name, %manifest, "an image came from upstream for a client");
        Ok(())
    }

    /// Brings the layers that are missing: leases of all.
    async fn bring_layers(
        &self,
        mut opened: Opened,
        policy: &Policy,
        state: &watch::Sender<Course>,
    ) -> Result<Vec<Lease>, Refusal> {
        let image = opened.image().clone();
        // Layers that are here stay until the image names them.
        let mut leases = self.lease(&image.layers).await?;
        let missing = self.missing(&image.layers).await?;
        let from_peers = match policy.fetches(LayerSource::Peers) {
            true => self.ask_peers(image.manifest_digest, &image.layers, &missing).await?,
            false => None,
        };
        let kept = image.clone();
        blocking(&self.shared, move |shared| upstream::keep_documents(shared, &kept)).await?;
        state.send_modify(|state| state.has_documents = true);
        if let Some(pull) = from_peers {
            let awaited = self.awaited_from_peers(&image.layers, &missing).await?;
            let others: Vec<usize> = missing.iter().copied().filter(|index| !awaited.contains_key(index)).collect();
            let ((), downloaded) =
                tokio::join!(self.follow_peers(pull, &awaited, state), self.download(opened, &others, policy, state));
            // The layers that come through the site are asked for again below.
            (opened, _) = downloaded?;
            leases.extend(self.lease(&image.layers).await?);
        }
        let missing = self.missing(&image.layers).await?;
        let (opened, waits) = self.download(opened, &missing, policy, state).await?;
        self.await_site(opened, waits, state).await?;
        if let Some(&index) = self.missing(&image.layers).await?.first() {
            let digest = image.layers[index].blob.digest;
            return Err(Refusal::Upstream(format!("no peer gives the blob {digest}, and `fetch` leaves out upstream")));
        }
        leases.extend(self.lease(&image.layers).await?);
        Ok(leases)
    }

    /// Downloads layers, one after the other, but for those that come through the site: their waits.
    async fn download(
        &self,
        mut opened: Opened,
        layers: &[usize],
        policy: &Policy,
        state: &watch::Sender<Course>,
    ) -> Result<(Opened, BTreeMap<usize, Wait>), Refusal> {
        let mut waits = BTreeMap::new();
        if !policy.fetches(LayerSource::Upstream) {
            return Ok((opened, waits));
        }
        for &index in layers {
            let turn = match policy.fetches(LayerSource::Peers) {
                true => self.turn(&opened.image().layers[index]).await,
                false => Turn::Alone,
            };
            let claim = match turn {
                Turn::Own(claim) => Some(claim),
                Turn::Alone => None,
                Turn::Other { .. } => {
                    waits.insert(index, Wait::new(Instant::now()));
                    continue;
                }
            };
            opened = self.download_one(opened, index, claim, state).await?;
        }
        Ok((opened, waits))
    }

    async fn download_one(
        &self,
        mut opened: Opened,
        index: usize,
        claim: Option<Claim>,
        state: &watch::Sender<Course>,
    ) -> Result<Opened, Refusal> {
        let _place = self.downloading.acquire().await.map_err(|_| stopping())?;
        let opened = blocking(&self.shared, move |shared| {
            // Another flight may have brought it meanwhile.
            if !is_here(shared, &opened.image().layers[index]) {
                opened.bring_layer(shared, index, &mut |bytes| claim.iter().for_each(|claim| claim.received(bytes)))?;
            }
            claim.into_iter().for_each(Claim::finish);
            Ok(opened)
        });
        let opened = opened.await?;
        state.send_modify(|state| state.layers += 1);
        Ok(opened)
    }

    /// The places of the layers whose exact blobs cannot be made here.
    async fn missing(&self, layers: &[LayerDescriptor]) -> Result<Vec<usize>, Refusal> {
        let layers = layers.to_vec();
        blocking(&self.shared, move |shared| {
            Ok(layers.iter().enumerate().filter(|(_, layer)| !is_here(shared, layer)).map(|(index, _)| index).collect())
        })
        .await
    }

    async fn missing_of(&self, manifest: OciDigest) -> Result<Vec<usize>, Refusal> {
        let layers =
            blocking(&self.shared, move |shared| Ok(recipes::layers_of(&shared.store, manifest)?.unwrap_or_default()));
        self.missing(&layers.await?).await
    }

    async fn lease(&self, layers: &[LayerDescriptor]) -> Result<Vec<Lease>, Refusal> {
        let layers = layers.to_vec();
        blocking(&self.shared, move |shared| Ok(upstream::lease(shared, &layers))).await
    }
}

/// The reference of an image of a repository by its digest.
pub fn by_digest(repository: &str, manifest: OciDigest) -> Result<UpstreamReference, Refusal> {
    format!("docker://{repository}@{manifest}").parse().map_err(|_| Refusal::ManifestUnknown(manifest.to_string()))
}

fn stopping() -> Refusal {
    Refusal::Failed("this node is stopping".to_owned())
}
