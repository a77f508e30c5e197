//! Images that clients asked for and that are on their way: one flight for each, however many clients ask for it.
//!
//! A flight by release is a pull, as the operator's ([`follow`]). A flight by upstream asks the registry that the name
//! has ([`super::upstream`]). Both tell their [`Course`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lighter_image::LayerDescriptor;
use lighter_registry::UpstreamReference;
use lighter_registry::server::{Origin, Refusal};
use lighter_store::{Store, UnixSeconds};
use lighter_types::{DiffId, ImageReference, OciDigest};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::course::{Course, Gathering};
use super::is_here;
use super::upstream::Upstreams;
use crate::api::PullEvent;
use crate::config::policy::full_name;
use crate::driver::pulls;
use crate::event::{Command, Event};
use crate::images;
use crate::images::companions::BesideLayer;
use crate::images::upstream::Top;
use crate::shared::Shared;

/// A tag that was resolved so long ago is resolved again: a client asks for the tag twice in one pull (HEAD, GET).
const FRESH: Duration = Duration::from_secs(10);
/// Flights at a time, over all clients, those included that are over and fresh.
const FLIGHTS_MAX: usize = 1024;

/// The flights that are under way, or over for less than [`FRESH`].
pub struct Flights {
    shared: Arc<Shared>,
    upstreams: Arc<Upstreams>,
    stop: CancellationToken,
    /// Its tasks end with `stop`.
    tasks: TaskTracker,
    /// By what is asked for: a reference, or `docker://` and a reference.
    flights: Mutex<BTreeMap<String, Flight>>,
}

/// One image on its way.
#[derive(Clone)]
pub struct Flight {
    began: Instant,
    origin: Origin,
    /// In the form of [`full_name`].
    repository: String,
    state: watch::Receiver<Course>,
}

impl Flights {
    pub fn new(shared: Arc<Shared>, upstreams: Arc<Upstreams>, stop: CancellationToken) -> Self {
        Self { shared, upstreams, stop, tasks: TaskTracker::new(), flights: Mutex::default() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Flight>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pull of an image by its release: the one under way, or a new one.
    pub fn by_release(&self, reference: &ImageReference) -> Result<Flight, Refusal> {
        let (shared, wanted) = (self.shared.clone(), reference.clone());
        let course = Course::default();
        self.join(reference.to_string(), Origin::Release, reference.repository(), course, |state| async move {
            follow(&shared, wanted, &state).await;
        })
    }

    /// An image out of its upstream registry: the flight under way, or a new one.
    pub fn by_upstream(&self, reference: &UpstreamReference) -> Result<Flight, Refusal> {
        let (upstreams, wanted) = (self.upstreams.clone(), reference.clone());
        let repository = format!("{}/{}", reference.registry(), reference.repository());
        self.join(reference.to_string(), Origin::Upstream, &repository, Course::default(), |state| async move {
            if let Err(refusal) = upstreams.fetch(&wanted, &state).await {
                tracing::debug!(image = %wanted, why = %refusal, "a client's image does not come from upstream");
                state.send_modify(|state| state.failure = Some(refusal));
            }
        })
    }

    /// The question to upstream what there is beside an image that is here: the one under way, or a new one.
    pub fn beside_upstream(&self, name: &ImageReference) -> Result<Flight, Refusal> {
        let (upstreams, wanted) = (self.upstreams.clone(), name.clone());
        let course = Course { gathering: Gathering::UnderWay, ..Course::default() };
        self.join(format!("beside {name}"), Origin::Upstream, name.repository(), course, |state| async move {
            if let Err(refusal) = upstreams.gather_again(&wanted, &state).await {
                tracing::debug!(image = %wanted, why = %refusal, "upstream does not say what it has beside an image");
            }
        })
    }

    fn join<F: Future<Output = ()> + Send + 'static>(
        &self,
        key: String,
        origin: Origin,
        repository: &str,
        course: Course,
        work: impl FnOnce(Arc<watch::Sender<Course>>) -> F,
    ) -> Result<Flight, Refusal> {
        let mut flights = self.lock();
        flights.retain(|_, flight| !flight.is_over() || flight.began.elapsed() < FRESH);
        if let Some(flight) = flights.get(&key) {
            return Ok(flight.clone());
        }
        if flights.len() >= FLIGHTS_MAX {
            return Err(Refusal::Late { retry_after_s: super::RETRY_AFTER_S });
        }
        let (sender, state) = watch::channel(course);
        let flight = Flight { began: Instant::now(), origin, repository: full_name(repository), state };
        flights.insert(key, flight.clone());
        let (sender, stop) = (Arc::new(sender), self.stop.clone());
        let work = work(sender.clone());
        self.tasks.spawn(async move {
            let over = Over(sender);
            tokio::select! {
                () = work => {}
                () = stop.cancelled() => {}
            }
            drop(over);
        });
        Ok(flight)
    }

    /// The manifests of images of this repository that are on their way, and who named them.
    pub fn manifests(&self, repository: &str) -> BTreeMap<OciDigest, Origin> {
        let flights = self.lock();
        let named = flights.values().filter(|flight| flight.repository == repository);
        named.filter_map(|flight| Some((flight.state.borrow().manifest?, flight.origin))).collect()
    }

    /// The layers with the companions of images of this repository that are on their way. A release on its way is newer
    /// than what is here.
    pub fn companions(&self, repository: &str) -> Vec<BesideLayer> {
        let flights = self.lock();
        let named = flights.values().filter(|flight| flight.repository == repository);
        let layers = named.filter_map(|flight| {
            let state = flight.state.borrow();
            let since = state.gathered.unwrap_or(UnixSeconds(u64::MAX));
            let is_released = flight.origin == Origin::Release;
            Some(BesideLayer { layer: state.companions?, is_released, since })
        });
        layers.collect()
    }

    /// The document with this digest, if upstream gave it for an image of this repository that is on its way.
    pub fn top(&self, repository: &str, digest: OciDigest) -> Option<Arc<Top>> {
        let flights = self.lock();
        let named = flights.values().filter(|flight| flight.repository == repository);
        named.filter_map(|flight| flight.state.borrow().top.clone()).find(|top| top.digest == digest)
    }

    /// Waits until upstream is asked no more for what there is beside images of this repository. Returns why it did not
    /// say so, if that happened lately.
    pub async fn gathered(&self, repository: &str) -> Option<Refusal> {
        let of_repository = |find: fn(&Course) -> bool| {
            let flights = self.lock();
            let mut named = flights.values().filter(|flight| flight.repository == repository);
            named.find(|flight| find(&flight.state.borrow())).cloned()
        };
        while let Some(mut flight) = of_repository(Course::is_gathering) {
            // A sender that is gone is over too.
            let _ = flight.state.wait_for(|state| !state.is_gathering()).await;
        }
        match of_repository(|state| matches!(state.gathering, Gathering::Failed(_)))?.state().gathering {
            Gathering::Failed(refusal) => Some(refusal),
            Gathering::Idle | Gathering::UnderWay => None,
        }
    }

    /// Whether some flight brings an image.
    pub fn is_coming(&self, manifest: OciDigest) -> bool {
        self.lock().values().any(|flight| flight.brings(manifest))
    }

    /// Waits until a layer of an image is here, or no flight brings it.
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

    /// The reason why an image did not come, if a flight failed lately.
    pub fn failure(&self, manifest: OciDigest) -> Option<Refusal> {
        let flights = self.lock();
        let mut failed = flights.values().filter(|flight| flight.state.borrow().manifest == Some(manifest));
        failed.find_map(|flight| flight.state.borrow().failure.clone())
    }
}

/// Says that a flight is over, however its task ends.
struct Over(Arc<watch::Sender<Course>>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.send_modify(|state| state.is_over = true);
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

    /// The manifest that the tag stands for, and the image's companions; none if nobody says so.
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

    pub fn state(&self) -> Course {
        self.state.borrow().clone()
    }
}

/// Starts a pull and tells of its course.
async fn follow(shared: &Arc<Shared>, reference: ImageReference, state: &watch::Sender<Course>) {
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
            PullEvent::Layer { .. } | PullEvent::Unpacking { .. } => state.send_modify(|state| state.layers += 1),
            PullEvent::Done { .. } => return,
            PullEvent::Failed { problem } => {
                tracing::debug!(%reference, why = problem.message, "a client's image is not here");
                return;
            }
            PullEvent::Fetching { .. } | PullEvent::Progress { .. } | PullEvent::Retrying { .. } => {}
        }
    }
}
