//! Blobs are rebuilt ahead: while the layers of an image that a client asked for still come, and when they are there.
//!
//! A client asks for one blob after another, or for a few at a time. Without this, each rebuild would begin when its
//! layer is whole and the client has come to it.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use lighter_image::LayerDescriptor;
use lighter_types::OciDigest;
use lighter_wire::BlobSource;
use tokio::sync::mpsc;

use super::work::blocking;
use super::{Registry, is_here};
use crate::images::recipes;

/// Images that wait until their layers are looked at. More are served without that.
const WAITING_MAX: usize = 64;

/// The images whose blobs are to be rebuilt ahead.
pub struct Ahead {
    wanted: mpsc::Sender<OciDigest>,
    /// Taken by the one task that works on them.
    waiting: tokio::sync::Mutex<mpsc::Receiver<OciDigest>>,
}

impl Default for Ahead {
    fn default() -> Self {
        let (wanted, waiting) = mpsc::channel(WAITING_MAX);
        Self { wanted, waiting: tokio::sync::Mutex::new(waiting) }
    }
}

impl Ahead {
    /// A client asked for the image with this manifest, and it is on its way.
    pub fn want(&self, manifest: OciDigest) {
        let _ = self.wanted.try_send(manifest);
    }
}

impl Registry {
    /// Rebuilds blobs ahead, for as long as it is polled.
    pub(super) async fn work_ahead(self: &Arc<Self>) {
        let mut waiting = self.ahead.waiting.lock().await;
        let mut under_way = BTreeSet::new();
        let mut images = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(manifest) = waiting.recv() => {
                    if under_way.insert(manifest) {
                        images.push(async move {
                            self.rebuild_image(manifest).await;
                            manifest
                        });
                    }
                }
                Some(manifest) = images.next() => drop(under_way.remove(&manifest)),
                else => return,
            }
        }
    }

    /// Rebuilds the blobs of those layers of an image that are not here yet.
    async fn rebuild_image(&self, manifest: OciDigest) {
        let coming = blocking(&self.shared, move |shared| {
            let layers = recipes::layers_of(&shared.store, manifest)?.unwrap_or_default();
            let coming = layers.into_iter().filter(|layer| !is_here(shared, layer));
            let with_recipes = coming.filter_map(|layer| match recipes::source(&shared.store, &layer) {
                BlobSource::Recipe(recipe) => Some((layer, recipe)),
                BlobSource::Plain | BlobSource::Verbatim | BlobSource::Unknown => None,
            });
            Ok(with_recipes.collect::<Vec<_>>())
        });
        // The client that asks for a blob hears of a failure.
        let Ok(coming) = coming.await else { return };
        let rebuilds = coming.into_iter().map(|(layer, recipe)| self.rebuild_coming(manifest, layer, recipe));
        rebuilds.collect::<FuturesUnordered<_>>().collect::<()>().await;
    }

    async fn rebuild_coming(&self, manifest: OciDigest, layer: LayerDescriptor, recipe: Vec<u8>) {
        let tar = tokio::select! {
            () = self.flights.arrival(manifest, &layer) => None,
            tar = self.shared.growing.begins(layer.diff_id) => Some(tar),
        };
        if let Some(tar) = tar {
            if self.blobs.rebuild_ahead(&layer, recipe, tar).await {
                return;
            }
            self.flights.arrival(manifest, &layer).await;
        }
        // A layer that did not come has no blob.
        let _ = self.blobs.open(&layer).await;
    }
}
