//! The layers of an image from upstream that peers have: by a pull of the engine that gives the image no name.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lighter_image::LayerDescriptor;
use lighter_registry::server::Refusal;
use lighter_types::OciDigest;
use lighter_wire::BlobSource;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::{Upstreams, stopping};
use crate::api::PullEvent;
use crate::driver::pulls;
use crate::event::{Command, Event};
use crate::images::recipes;
use crate::registry::course::Course;
use crate::registry::work::blocking;
use crate::shared::Shared;

/// Peers that announce a layer of an image have its documents within this time, or are not waited for.
const PEERS_DOCUMENTS_MAX: Duration = Duration::from_millis(1500);
/// Between two looks whether somebody still holds the layers that are awaited from peers.
const HOLDERS_EVERY: Duration = Duration::from_secs(5);

/// A pull of the engine for layers.
pub(super) struct PeersPull {
    image: String,
    events: Option<mpsc::Receiver<PullEvent>>,
    shared: Arc<Shared>,
}

impl PeersPull {
    /// Gives it up, if it is under way. Another of the same image ends too: its flight downloads the rest.
    async fn cancel(self) {
        let (reply, cancelled) = oneshot::channel();
        let cancel = Command::Cancel { image: self.image, reply };
        if self.shared.events.send(Event::Command(cancel)).await.is_ok() {
            let _ = cancelled.await;
        }
    }
}

impl Upstreams {
    /// Has the engine pull an image if a peer announces one of its missing layers. The documents of the peers come
    /// first: with them come recipes. Without them in time, the pull is given up.
    pub(super) async fn ask_peers(
        &self,
        manifest: OciDigest,
        layers: &[LayerDescriptor],
        missing: &[usize],
    ) -> Result<Option<PeersPull>, Refusal> {
        if !self.has_holder(missing.iter().map(|&index| &layers[index])).await {
            return Ok(None);
        }
        let image = format!("the layers of {manifest}");
        let (listener, mut events) = mpsc::channel(pulls::EVENTS_WAITING);
        let pull = Command::FetchLayers { image: image.clone(), manifest, listener };
        if self.shared.events.send(Event::Command(pull)).await.is_err() {
            return Err(stopping());
        }
        let mut pull = PeersPull { image, events: None, shared: self.shared.clone() };
        let documents = async {
            while let Some(event) = events.recv().await {
                match event {
                    PullEvent::Layers { .. } => return true,
                    PullEvent::Failed { .. } | PullEvent::Done { .. } => return false,
                    PullEvent::Resolved { .. }
                    | PullEvent::Fetching { .. }
                    | PullEvent::Progress { .. }
                    | PullEvent::Retrying { .. }
                    | PullEvent::Unpacking { .. }
                    | PullEvent::Layer { .. } => {}
                }
            }
            false
        };
        if timeout(PEERS_DOCUMENTS_MAX, documents).await == Ok(true) {
            pull.events = Some(events);
            return Ok(Some(pull));
        }
        pull.cancel().await;
        Ok(None)
    }

    /// The missing layers that peers hold and whose blobs can be made here then, by their places.
    pub(super) async fn awaited_from_peers(
        &self,
        layers: &[LayerDescriptor],
        missing: &[usize],
    ) -> Result<BTreeMap<usize, LayerDescriptor>, Refusal> {
        let of_image: Vec<(usize, LayerDescriptor)> =
            missing.iter().map(|&index| (index, layers[index].clone())).collect();
        let known = blocking(&self.shared, move |shared| {
            let store = &shared.store;
            let has_source = |layer: &LayerDescriptor| recipes::source(store, layer) != BlobSource::Unknown;
            Ok(of_image.into_iter().filter(|(_, layer)| has_source(layer)).collect::<Vec<_>>())
        });
        let mut awaited = BTreeMap::new();
        for (index, layer) in known.await? {
            if self.has_holder([&layer].into_iter()).await {
                awaited.insert(index, layer);
            }
        }
        Ok(awaited)
    }

    /// Follows a pull to its end, or until nobody holds what is awaited.
    pub(super) async fn follow_peers(
        &self,
        mut pull: PeersPull,
        awaited: &BTreeMap<usize, LayerDescriptor>,
        state: &watch::Sender<Course>,
    ) {
        let Some(mut events) = pull.events.take() else { return };
        let mut missing: Vec<&LayerDescriptor> = awaited.values().collect();
        while !missing.is_empty() {
            let event = match timeout(HOLDERS_EVERY, events.recv()).await {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(_) if self.has_holder(missing.iter().copied()).await => continue,
                Err(_) => break,
            };
            match event {
                PullEvent::Layer { layer, .. } => {
                    missing
                        .retain(|awaited| ![awaited.diff_id, recipes::as_layer(&awaited.blob.digest)].contains(&layer));
                    state.send_modify(|state| state.layers += 1);
                }
                PullEvent::Unpacking { .. } => state.send_modify(|state| state.layers += 1),
                PullEvent::Done { .. } | PullEvent::Failed { .. } => break,
                PullEvent::Resolved { .. }
                | PullEvent::Layers { .. }
                | PullEvent::Fetching { .. }
                | PullEvent::Progress { .. }
                | PullEvent::Retrying { .. } => {}
            }
        }
        pull.cancel().await;
    }

    /// Whether a peer announces one of these layers: its tar, or its blob.
    pub(super) async fn has_holder(&self, layers: impl Iterator<Item = &LayerDescriptor>) -> bool {
        for name in layers.flat_map(|layer| [layer.diff_id, recipes::as_layer(&layer.blob.digest)]) {
            let (reply, holders) = oneshot::channel();
            if self.shared.events.send(Event::Command(Command::Holders(name, reply))).await.is_err() {
                return false;
            }
            if holders.await.is_ok_and(|holders| !holders.is_empty()) {
                return true;
            }
        }
        false
    }
}
