//! Reads the figures of the store.
//!
//! A disk that hangs holds up whoever asks the store. So the driver and the admin API never do: a worker reads the
//! figures, for the driver every few seconds and for an answer of the admin API when it is asked. An answer waits for a
//! moment only, and then has the last figures and their age.

use std::sync::Arc;
use std::time::Duration;

use lighter_store::Store;
use lighter_types::OciDigest;
use tokio::time::timeout;

use crate::clock::unix_now;
use crate::shared::Shared;
use crate::store_figures::Figures;
use crate::store_status;

/// How long an answer waits for new figures. Reading them takes a millisecond where the disk is well.
const FRESH_TIMEOUT: Duration = Duration::from_secs(2);

/// Reads the figures. Blocks.
pub fn read(shared: &Shared) {
    let store = &shared.store;
    let is_held = |reference: &_| store.reference(reference).is_some();
    shared.figures.set(Figures {
        status: store_status(store),
        lacking: lacking(store),
        releases: shared.releases.warnings(&shared.config, unix_now(), is_held),
    });
}

/// Has the figures read anew, and waits for that during a moment at most: whether they are new. If this is dropped
/// midway, they are read all the same.
pub async fn refresh(shared: &Arc<Shared>) -> bool {
    let reading = shared.figures.reading.clone();
    let fresh = async {
        let reading = reading.lock_owned().await;
        let shared = shared.clone();
        // A panic of the worker leaves the last figures.
        let _ = tokio::task::spawn_blocking(move || {
            read(&shared);
            drop(reading);
        })
        .await;
    };
    timeout(FRESH_TIMEOUT, fresh).await.is_ok()
}

/// The images that name something which is not held, each manifest once.
pub fn lacking(store: &Store) -> Vec<(String, OciDigest)> {
    let mut lacking: Vec<(String, OciDigest)> = Vec::new();
    for (reference, image) in store.references() {
        let has_documents = [image.manifest, image.config].iter().all(|digest| store.blob_bytes(digest).is_some());
        let is_whole = has_documents && image.layers.iter().all(|layer| store.card(layer).is_some());
        if !is_whole && lacking.iter().all(|(_, manifest)| *manifest != image.manifest) {
            lacking.push((reference.to_string(), image.manifest));
        }
    }
    lacking
}
