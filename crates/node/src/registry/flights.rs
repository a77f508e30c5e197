//! Pulls that clients of the registry started: one for each image, however many clients ask for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lighter_image::LayerDescriptor;
use lighter_store::Store;
use lighter_types::{DiffId, ImageReference, OciDigest};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::is_here;
use crate::api::PullEvent;
use crate::driver::pulls;
use crate::event::{Command, Event};
use crate::images;
use crate::shared::Shared;

/// A tag that was resolved so long ago is resolved again: a client asks for the tag twice in one pull (HEAD, GET).
const FRESH: Duration = Duration::from_secs(10);

/// The pulls of clients, under way or over for less than [`FRESH`].
pub struct Flights {
    shared: Arc<Shared>,
    stop: CancellationToken,
    /// Its tasks end with `stop`.
    tasks: TaskTracker,
    /// Bounded: those that are over go when the next one begins, and the engine bounds the pulls under way.
    flights: Mutex<BTreeMap<ImageReference, Flight>>,
}

/// One pull.
#[derive(Clone)]
pub struct Flight {
    began: Instant,
    state: watch::Receiver<State>,
}

#[derive(Clone, Debug, Default)]
struct State {
    manifest: Option<OciDigest>,
    /// The layer with what comes beside the image.
    companions: Option<DiffId>,
    /// Manifest and config are on disk.
    has_documents: bool,
    /// Layers that arrived: each may be the one that somebody waits for.
    layers: usize,
    is_over: bool,
}

impl Flights {
    pub fn new(shared: Arc<Shared>, stop: CancellationToken) -> Self {
        Self { shared, stop, tasks: TaskTracker::new(), flights: Mutex::default() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<ImageReference, Flight>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pull of an image: the one under way, or a new one.
    pub fn of(&self, reference: &ImageReference) -> Flight {
        let mut flights = self.lock();
        flights.retain(|_, flight| !flight.is_over() || flight.began.elapsed() < FRESH);
        if let Some(flight) = flights.get(reference) {
            return flight.clone();
        }
        let (sender, state) = watch::channel(State::default());
        let flight = Flight { began: Instant::now(), state };
        flights.insert(reference.clone(), flight.clone());
        let (shared, stop, reference) = (self.shared.clone(), self.stop.clone(), reference.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                () = follow(&shared, reference, &sender) => {}
                () = stop.cancelled() => {}
            }
            sender.send_modify(|state| state.is_over = true);
        });
        flight
    }

    /// The manifests of images of these repositories that are on their way.
    pub fn manifests(&self, names: &[String]) -> BTreeSet<OciDigest> {
        let flights = self.lock();
        let named = flights.iter().filter(|(reference, _)| names.iter().any(|name| name == reference.repository()));
        named.filter_map(|(_, flight)| flight.state.borrow().manifest).collect()
    }

    /// The layers with the companions of images of these repositories that are on their way.
    pub fn companions(&self, names: &[String]) -> BTreeSet<DiffId> {
        let flights = self.lock();
        let named = flights.iter().filter(|(reference, _)| names.iter().any(|name| name == reference.repository()));
        named.filter_map(|(_, flight)| flight.state.borrow().companions).collect()
    }

    /// Waits until a layer of an image is here, or no pull brings it.
    pub async fn arrival(&self, manifest: OciDigest, layer: &LayerDescriptor) {
        loop {
            let under_way = {
                let flights = self.lock();
                let mut of_image = flights.values().filter(|flight| flight.brings(manifest));
                of_image.next().cloned()
            };
            let Some(mut flight) = under_way else { return };
            // Marked as seen before the disk is looked at, so that no change in between is missed.
            flight.state.borrow_and_update();
            let (shared, wanted) = (self.shared.clone(), layer.clone());
            let looked = tokio::task::spawn_blocking(move || is_here(&shared, &wanted)).await;
            if looked.unwrap_or(true) || flight.state.changed().await.is_err() {
                return;
            }
        }
    }
}

impl Flight {
    fn is_over(&self) -> bool {
        self.state.borrow().is_over
    }

    fn brings(&self, manifest: OciDigest) -> bool {
        let state = self.state.borrow();
        state.manifest == Some(manifest) && !state.is_over
    }

    /// The manifest that the tag stands for, and the image's companions; none if no release of it is found.
    pub async fn resolved(&self) -> Option<(OciDigest, Option<DiffId>)> {
        let mut state = self.state.clone();
        let found = state.wait_for(|state| state.manifest.is_some() || state.is_over).await;
        found.ok().and_then(|state| Some((state.manifest?, state.companions)))
    }

    /// Waits until manifest, config and companions are here; whether they are.
    pub async fn has_documents(&self, store: &Store) -> bool {
        let mut state = self.state.clone();
        let is_here = |companions: Option<DiffId>| companions.is_none_or(|layer| store.card(&layer).is_some());
        // Every layer that arrives changes the state.
        let found = state.wait_for(|state| state.has_documents && is_here(state.companions) || state.is_over).await;
        found.is_ok_and(|state| state.has_documents && is_here(state.companions))
    }
}

/// Starts a pull and tells of its course.
async fn follow(shared: &Arc<Shared>, reference: ImageReference, state: &watch::Sender<State>) {
    let (listener, mut events) = mpsc::channel(pulls::EVENTS_WAITING);
    let (store, name) = (shared.store.clone(), reference.clone());
    let known = tokio::task::spawn_blocking(move || images::release_of(&store, &name)).await.ok().flatten();
    let wanted = lighter_engine::Wanted::Name { reference: reference.clone(), known };
    let pull = Command::Pull { image: reference.to_string(), wanted, listener: Some(listener) };
    if shared.events.send(Event::Command(pull)).await.is_err() {
        return;
    }
    while let Some(event) = events.recv().await {
        match event {
            PullEvent::Resolved { manifest, companions } => {
                state.send_modify(|state| (state.manifest, state.companions) = (Some(manifest), companions));
            }
            PullEvent::Layers { .. } => state.send_modify(|state| state.has_documents = true),
            PullEvent::Layer { .. } => state.send_modify(|state| state.layers += 1),
            PullEvent::Done { .. } => return,
            PullEvent::Failed { problem } => {
                tracing::debug!(%reference, why = problem.message, "a client's image is not here");
                return;
            }
            PullEvent::Fetching { .. } | PullEvent::Progress { .. } | PullEvent::Retrying { .. } => {}
        }
    }
}
