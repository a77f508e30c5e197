//! Pulls as the operator sees them: their listeners, their events, and their survival of a restart.
//!
//! A pull is in the store from the moment it is asked for until it ends, so a node that starts takes up the pulls of
//! its last life. A plan is a pull that is cancelled as soon as its layers are known. It then waits here until the
//! sketches of its layers are there, or for a few seconds.

mod kind;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lighter_engine::{OperatorInput, PullFailure, PullId, Report, Wanted};
use lighter_store::{Lease, Store};
use lighter_types::{Bytes, DiffId, ImageReference, OciDigest, broken};
use tokio::sync::{mpsc, oneshot};

use super::Driver;
use super::work::{Ended, Owed};
use crate::api::{ImagePlan, Problem, ProblemKind, PullEvent};
use crate::images;
use crate::releases::ReleaseError;
use crate::traffic::Traffic;
use kind::kind_of;

/// The pulls of this node, and the plans that wait for an answer.
#[derive(Default)]
pub struct Pulls {
    running: BTreeMap<PullId, RunningPull>,
    plans: Vec<WaitingPlan>,
    /// Why the releases of a name that peers have do not count: [`REFUSED_MAX`] names.
    refused: BTreeMap<ImageReference, ReleaseError>,
    /// Something happened since the waiting plans were looked at that may make one of them complete.
    are_plans_due: bool,
}

impl Pulls {
    pub fn iter(&self) -> impl Iterator<Item = (&PullId, &RunningPull)> {
        self.running.iter()
    }

    /// A peer has a release that does not count.
    pub fn add_refused(&mut self, reference: &ImageReference, why: &ReleaseError) {
        // A release that nobody signed says nothing about the fleet.
        let is_made_up = matches!(why, ReleaseError::NotSigned { .. } | ReleaseError::Mixed { .. });
        if !is_made_up && (self.refused.len() < REFUSED_MAX || self.refused.contains_key(reference)) {
            self.refused.insert(reference.clone(), why.clone());
        }
    }

    /// Whether only the plans of this pull are wanted.
    pub fn is_plan(&self, id: PullId) -> bool {
        self.running.get(&id).is_some_and(|pull| matches!(pull.audience, Audience::Planner(_)))
    }

    /// Whether the image of this pull gets a name when its layers are here.
    pub fn gives_name(&self, id: PullId) -> bool {
        !self.running.get(&id).is_some_and(|pull| matches!(pull.audience, Audience::Keeper(_)))
    }

    /// The manifests of the images that are being pulled, as far as they are known.
    pub fn manifests(&self) -> Vec<OciDigest> {
        self.running.values().filter_map(|pull| pull.manifest).collect()
    }
}

/// A pull under way.
pub struct RunningPull {
    pub image: String,
    audience: Audience,
    started: Instant,
    layers_started: BTreeMap<DiffId, Instant>,
    /// This node's traffic before it.
    traffic: Traffic,
    pub last: Option<PullEvent>,
    manifest: Option<OciDigest>,
    pub companions: Option<DiffId>,
    /// The layers of the image that are here: what the pull counts on stays.
    leases: BTreeMap<DiffId, Lease>,
}

impl RunningPull {
    fn lease(&mut self, store: &Store, layers: &[DiffId]) {
        self.leases.extend(layers.iter().filter_map(|layer| Some((*layer, store.lease_layer(layer)?))));
    }
}

/// The audience of a pull's events.
enum Audience {
    Nobody,
    Listener(mpsc::Sender<PullEvent>),
    /// The layers are wanted, and no name.
    Keeper(mpsc::Sender<PullEvent>),
    /// Nothing is to be fetched: the plans are wanted.
    Planner(oneshot::Sender<Result<ImagePlan, Problem>>),
}

/// A plan whose layers are known; who holds them is still being asked.
pub struct WaitingPlan {
    image: String,
    manifest: OciDigest,
    layers: Vec<DiffId>,
    reply: oneshot::Sender<Result<ImagePlan, Problem>>,
    until: Instant,
}

/// Events that wait for a slow listener.
pub const EVENTS_WAITING: usize = 1024;

/// Names for which it is remembered why releases do not count.
const REFUSED_MAX: usize = 64;

/// How long a plan waits for a holder of each layer.
const PLAN_PATIENCE: Duration = Duration::from_secs(3);

/// Keys of the unfinished pulls in the store; the rest of the key is the image as the operator wrote it.
const STATE_PREFIX: &[u8] = b"pull/";

/// Remembers that an image is being pulled.
pub fn remember(store: &Store, image: &str) -> Result<(), lighter_store::StoreError> {
    store.put_state(&[STATE_PREFIX, image.as_bytes()].concat(), &[])
}

/// The pulls that were under way when the node ended.
pub fn unfinished(store: &Store) -> Vec<String> {
    let states = store.states(STATE_PREFIX).unwrap_or_else(|error| {
        tracing::error!(%error, "the unfinished pulls cannot be read");
        Vec::new()
    });
    states.into_iter().filter_map(|(key, _)| image_of(&key)).collect()
}

fn image_of(key: &[u8]) -> Option<String> {
    String::from_utf8(key.strip_prefix(STATE_PREFIX)?.to_vec()).ok()
}

/// Reads an operator's text: `sha256:...`, `repository@sha256:...` or a reference.
pub fn wanted(store: &Store, image: &str) -> Result<Wanted, Problem> {
    let digest = image.split_once('@').map_or(image, |(_, digest)| digest);
    if digest.starts_with("sha256:") {
        return digest.parse().map(Wanted::Manifest).map_err(|error| Problem::new(ProblemKind::Request, error));
    }
    let reference = image.parse::<ImageReference>().map_err(|error| Problem::new(ProblemKind::Request, error))?;
    let known = images::release_of(store, &reference);
    Ok(Wanted::Name { reference, known })
}

impl Driver {
    pub(super) fn pull(&mut self, image: String, wanted: Wanted, listener: Option<mpsc::Sender<PullEvent>>) {
        self.begin(image, wanted, listener.map_or(Audience::Nobody, Audience::Listener));
    }

    pub(super) fn fetch_layers(&mut self, image: String, manifest: OciDigest, listener: mpsc::Sender<PullEvent>) {
        self.begin(image, Wanted::Manifest(manifest), Audience::Keeper(listener));
    }

    /// Gives up all pulls of an image; false if there is none.
    pub(super) fn cancel(&mut self, image: &str) -> bool {
        let of_image = self.pulls.iter().filter(|(_, pull)| pull.image == image);
        let ids: Vec<PullId> = of_image.map(|(&id, _)| id).collect();
        for &id in &ids {
            self.engine.push(OperatorInput::PullCancelled(id));
        }
        !ids.is_empty()
    }

    pub(super) fn plan(&mut self, image: String, wanted: Wanted, reply: oneshot::Sender<Result<ImagePlan, Problem>>) {
        self.begin(image, wanted, Audience::Planner(reply));
    }

    fn begin(&mut self, image: String, wanted: Wanted, audience: Audience) {
        // A release that is on disk but not believed any more does not count.
        let wanted = match wanted {
            Wanted::Name { reference, known } => {
                self.pulls.refused.remove(&reference);
                Wanted::Name { reference, known: known.filter(|release| self.counts(release)) }
            }
            manifest @ Wanted::Manifest(_) => manifest,
        };
        let pull = PullId(self.next_id());
        let manifest = match &wanted {
            Wanted::Manifest(digest) => Some(*digest),
            Wanted::Name { .. } => None,
        };
        let running = RunningPull {
            image,
            audience,
            started: Instant::now(),
            layers_started: BTreeMap::new(),
            traffic: self.shared.accountant.total(),
            last: None,
            manifest,
            companions: None,
            leases: BTreeMap::new(),
        };
        self.pulls.running.insert(pull, running);
        self.engine.push(OperatorInput::PullAsked { pull, wanted });
    }

    pub(super) fn report(&mut self, id: PullId, report: &Report) {
        if let Report::Layers { layers, .. } = report
            && self.answer_planner(id, layers)
        {
            return;
        }
        let event = self.event_of(id, report);
        // A pull that was only asked for its plans is over before the engine reports its end.
        let Some(pull) = self.pulls.running.get_mut(&id) else { return };
        if let Some(event) = event {
            if let Audience::Listener(listener) | Audience::Keeper(listener) = &pull.audience {
                // A listener that does not keep up misses progress; room is kept for the rest.
                let is_progress = matches!(event, PullEvent::Progress { .. });
                if !is_progress || listener.capacity() > EVENTS_WAITING / 2 {
                    let _ = listener.try_send(event.clone());
                }
            }
            pull.last = Some(event);
        }
        let failure = match report {
            Report::Done { .. } => None,
            Report::Failed { why } => Some(why),
            Report::Resolved { .. }
            | Report::Layers { .. }
            | Report::Fetching { .. }
            | Report::Progress { .. }
            | Report::Retrying { .. }
            | Report::Unpacking { .. }
            | Report::Raced { .. }
            | Report::Layer { .. } => return,
        };
        if let Some(pull) = self.pulls.running.remove(&id) {
            self.pull_ended(pull, failure);
        }
    }

    fn pull_ended(&mut self, pull: RunningPull, failure: Option<&PullFailure>) {
        match (pull.audience, failure) {
            (Audience::Planner(reply), Some(why)) => {
                let _ = reply.send(Err(self.problem(why)));
                return;
            }
            // Whoever keeps the layers says when the image is whole.
            (Audience::Keeper(_), None) => {}
            (Audience::Nobody | Audience::Listener(_) | Audience::Planner(_), None) => {
                tracing::info!(image = pull.image, took_ms = pull.started.elapsed().as_millis(), "pulled");
            }
            // Whoever asked is told. A container runtime asks for each image under several names.
            (Audience::Listener(_), Some(why @ (PullFailure::NotResolved { .. } | PullFailure::Stopping))) => {
                tracing::debug!(image = pull.image, %why, "a pull failed");
            }
            (Audience::Keeper(_), Some(why)) => tracing::debug!(image = pull.image, %why, "peers do not have it all"),
            (Audience::Nobody | Audience::Listener(_), Some(why)) => {
                tracing::warn!(image = pull.image, %why, "a pull failed");
            }
        }
        // Another pull of the same image goes on; and a stopping node takes its pulls up again.
        let is_stopping = matches!(failure, Some(PullFailure::Stopping));
        if is_stopping || self.pulls.running.values().any(|other| other.image == pull.image) {
            return;
        }
        let shared = self.shared.clone();
        self.work.spawn_blocking(Owed::Nothing, move || {
            if let Err(error) = shared.store.delete_state(&[STATE_PREFIX, pull.image.as_bytes()].concat()) {
                tracing::warn!(%error, image = pull.image, "a finished pull will be looked at again after a restart");
            }
            Ended::Nothing
        });
    }

    /// Whether the pull was only asked for its plans; then it is over.
    fn answer_planner(&mut self, id: PullId, layers: &[DiffId]) -> bool {
        let planned = self.pulls.running.extract_if(id..=id, |_, pull| matches!(pull.audience, Audience::Planner(_)));
        let Some((_, RunningPull { image, manifest, audience: Audience::Planner(reply), .. })) = planned.last() else {
            return false;
        };
        match manifest {
            Some(manifest) => {
                let until = Instant::now() + PLAN_PATIENCE;
                self.pulls.plans.push(WaitingPlan { image, manifest, layers: layers.to_vec(), reply, until });
            }
            None => broken("a plan of an image whose manifest is not known"),
        }
        self.engine.push(OperatorInput::PullCancelled(id));
        self.review_plans();
        true
    }

    /// Asks the engine for the sketches that the waiting plans lack. Once the engine has taken that in, the driver
    /// answers the plans that are complete.
    pub(super) fn review_plans(&mut self) {
        let layers: Vec<DiffId> = self.pulls.plans.iter().flat_map(|plan| plan.layers.iter().copied()).collect();
        if !layers.is_empty() {
            self.engine.push(OperatorInput::SketchesWanted(layers));
            self.pulls.are_plans_due = true;
        }
    }

    /// Answers the plans that are complete, and those that have waited long enough for a holder of the layers that are
    /// missing. Called when no input waits.
    pub(super) fn answer_plans(&mut self) {
        if !std::mem::take(&mut self.pulls.are_plans_due) {
            return;
        }
        for plan in std::mem::take(&mut self.pulls.plans) {
            // Plans for a layer get no better once its sketch has come, or no peer gives it.
            let now = self.shared.now();
            let is_awaited = plan.layers.iter().any(|&layer| self.engine.awaits_sketch(layer, now));
            let layers: Vec<_> = plan.layers.iter().map(|&layer| self.layer_plan(layer)).collect();
            let is_complete = !is_awaited && layers.iter().all(|layer| layer.held || !layer.plans.is_empty());
            if is_complete || plan.until <= Instant::now() {
                let _ = plan.reply.send(Ok(ImagePlan { image: plan.image, manifest: plan.manifest, layers }));
            } else {
                self.pulls.plans.push(plan);
            }
        }
    }

    /// A failed pull as the admin API shows it. A wrong clock is told with it: it explains much of what an operator
    /// finds next.
    fn problem(&self, why: &PullFailure) -> Problem {
        let kind = kind_of(why);
        let why = format!("{why}{}", self.why_not_resolved(why));
        match self.clock_trouble().filter(|_| kind == ProblemKind::Network) {
            Some(trouble) => Problem::new(kind, format!("{why}; also, {trouble}")),
            None => Problem::new(kind, why),
        }
    }

    /// The reason on this side for which no release was found, if it was seen.
    fn why_not_resolved(&self, why: &PullFailure) -> String {
        let PullFailure::NotResolved { reference, .. } = why else { return String::new() };
        match self.pulls.refused.get(reference) {
            Some(why) => format!("; there is one {why}"),
            None if self.shared.config.fleet.publishers.is_empty() => {
                "; fleet.publishers is empty: only releases by this node count".to_owned()
            }
            None => String::new(),
        }
    }

    fn event_of(&mut self, id: PullId, report: &Report) -> Option<PullEvent> {
        if let Report::Failed { why } = report {
            return Some(PullEvent::Failed { problem: self.problem(why) });
        }
        let total = self.shared.accountant.total();
        let store = self.shared.store.clone();
        let pull = self.pulls.running.get_mut(&id)?;
        Some(match report {
            Report::Resolved { manifest, companions } => {
                (pull.manifest, pull.companions) = (Some(*manifest), *companions);
                PullEvent::Resolved { manifest: *manifest, companions: *companions }
            }
            Report::Layers { layers, held } => {
                pull.lease(&store, held);
                PullEvent::Layers { layers: layers.clone(), held: held.clone() }
            }
            Report::Fetching { target, from, bases, bytes, exact } => {
                pull.layers_started.entry(*target).or_insert_with(Instant::now);
                PullEvent::Fetching { layer: *target, from: *from, bases: bases.clone(), bytes: *bytes, exact: *exact }
            }
            Report::Progress { target, received, total } => {
                PullEvent::Progress { layer: *target, received_bytes: *received, total_bytes: *total }
            }
            Report::Unpacking { target } => PullEvent::Unpacking { layer: *target },
            Report::Retrying { target, from, why } => {
                PullEvent::Retrying { layer: *target, from: *from, why: why.to_string() }
            }
            Report::Layer { target, from, bases, patch_bytes, received, wasted: _ } => {
                pull.lease(&store, std::slice::from_ref(target));
                let card = self.engine.holdings().card(*target);
                let started = pull.layers_started.get(target).copied().unwrap_or(pull.started);
                PullEvent::Layer {
                    layer: *target,
                    from: *from,
                    bases: bases.clone(),
                    tar_bytes: card.map_or(Bytes::ZERO, |card| card.tar_bytes),
                    compressed_bytes: pull
                        .manifest
                        .and_then(|manifest| images::compressed_bytes(&store, manifest, *target))
                        .or(card.map(|card| card.compressed_bytes))
                        .unwrap_or(Bytes::ZERO),
                    patch_bytes: *patch_bytes,
                    received_bytes: *received,
                    took_ms: millis(started),
                }
            }
            Report::Done { manifest } => PullEvent::Done {
                manifest: *manifest,
                sent_bytes: total.sent - pull.traffic.sent,
                received_bytes: total.received - pull.traffic.received,
                took_ms: millis(pull.started),
            },
            // The source that was left is told by its own event.
            Report::Raced { .. } | Report::Failed { .. } => return None,
        })
    }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
