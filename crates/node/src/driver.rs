//! The task that owns the engine and the swarm: turns what happens into inputs, and effects into work.
//!
//! Everything else runs in child tasks of its [`JoinSet`] and speaks to it over one bounded channel. Nothing is awaited
//! while the engine is at work, and when the driver ends, its tasks end.

mod effects;
mod meetings;
mod network;
pub mod pulls;
mod rollout;
mod views;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use libp2p::request_response::{OutboundRequestId, ResponseChannel};
use libp2p::{StreamProtocol, Swarm};
use lighter_engine::{
    AskId, DiskInput, Effect, Engine, FetchId, Input, OperatorInput, PeerInput, PullId, QuestionId, Settings, StreamId,
    WorkInput,
};
use lighter_types::{Bytes, DiffId, Moment, PeerId};
use lighter_wire::{Answer, PATCH_PROTOCOL};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::event::{Command, Event, Order};
use crate::network::Behaviour;
use crate::predictions;
use crate::shared::Shared;
use crate::transfer::{effort_of, part_on_disk, serve};
use meetings::Meetings;
use network::Dialer;
use pulls::{RunningPull, WaitingPlan};

/// Events that wait for the driver; senders wait beyond that.
pub const EVENTS_WAITING: usize = 1024;
/// Between two looks at what no event tells: dials due, cut-offs over, layers that the store evicted.
const UPKEEP_EVERY: Duration = Duration::from_secs(1);
/// How long a stopping node waits for its tasks.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the last announcement has to leave.
const LEAVE_TIMEOUT: Duration = Duration::from_millis(300);

/// See the module.
pub struct Driver {
    shared: Arc<Shared>,
    engine: Engine,
    swarm: Swarm<Behaviour>,
    control: libp2p_stream::Control,
    events: mpsc::Receiver<Event>,
    tasks: JoinSet<()>,
    /// Ends encodes when the node stops.
    stopping: CancellationToken,
    wake_at: Option<Moment>,
    orders: BTreeMap<StreamId, mpsc::Sender<Order>>,
    fetches: BTreeMap<FetchId, CancellationToken>,
    asks: HashMap<OutboundRequestId, AskId>,
    questions: BTreeMap<QuestionId, ResponseChannel<Answer>>,
    pulls: BTreeMap<PullId, RunningPull>,
    plans: Vec<WaitingPlan>,
    cut_off: BTreeMap<PeerId, Moment>,
    dialer: Dialer,
    meetings: Meetings,
    /// When the first connection to each connected peer was made.
    connected_at: BTreeMap<PeerId, std::time::Instant>,
    /// Places for peers' streams, those whose request has not come yet included.
    places: Arc<Semaphore>,
    next_id: u64,
    /// Identities that two running nodes use.
    twins: BTreeSet<PeerId>,
}

impl Driver {
    pub fn new(shared: Arc<Shared>, engine: Engine, swarm: Swarm<Behaviour>, events: mpsc::Receiver<Event>) -> Self {
        let dialer = Dialer::new(&shared.config.network.bootstrap);
        let places = Arc::new(Semaphore::new(shared.config.limits.streams_max * 2 + Settings::STREAMS_WAITING_MAX));
        Self {
            control: swarm.behaviour().stream.new_control(),
            shared,
            engine,
            swarm,
            events,
            tasks: JoinSet::new(),
            stopping: CancellationToken::new(),
            wake_at: None,
            orders: BTreeMap::new(),
            fetches: BTreeMap::new(),
            asks: HashMap::new(),
            questions: BTreeMap::new(),
            pulls: BTreeMap::new(),
            plans: Vec::new(),
            cut_off: BTreeMap::new(),
            dialer,
            meetings: Meetings::default(),
            connected_at: BTreeMap::new(),
            places,
            next_id: 0,
            twins: BTreeSet::new(),
        }
    }

    /// Runs until `stop` is cancelled, then stops in good order: peers are told, what is unfinished is on disk.
    pub async fn run(mut self, stop: CancellationToken) {
        self.load();
        let accepting = self.control.accept(StreamProtocol::new(PATCH_PROTOCOL));
        // The protocol is registered once, here.
        let Ok(mut streams) = accepting else { return };
        let mut upkeep = tokio::time::interval(UPKEEP_EVERY);
        loop {
            let wake = self.wake_at.map(|moment| self.instant(moment));
            tokio::select! {
                event = self.swarm.select_next_some() => self.swarm_event(event),
                Some(event) = self.events.recv() => self.event(event),
                Some((peer, stream)) = streams.next() => self.accept(&peer, stream),
                Some(ended) = self.tasks.join_next(), if !self.tasks.is_empty() => report_panic(ended),
                () = sleep_until(wake), if wake.is_some() => {
                    self.wake_at = None;
                    self.step(Input::Tick);
                }
                _ = upkeep.tick() => self.upkeep(),
                () = stop.cancelled() => break,
            }
        }
        self.stop().await;
    }

    /// Tells the engine what is on disk, and takes up the pulls that were under way.
    fn load(&mut self) {
        let store = self.shared.store.clone();
        for card in store.cards() {
            let sketch = predictions::sketch(&store, &card.diff_id);
            self.step(Input::Disk(DiskInput::LayerHeld { card, sketch }));
        }
        for patch in store.patches() {
            let (target, bases, effort) = (patch.key.target, patch.key.bases, effort_of(patch.key.settings));
            let held = lighter_engine::CachedPatch { patch: patch.patch_id, target, bases, bytes: patch.bytes, effort };
            self.step(Input::Disk(DiskInput::PatchHeld(held)));
        }
        for partial in store.partial_patches() {
            if let Some(part) = part_on_disk(&store, &partial) {
                self.step(Input::Disk(DiskInput::PartHeld { target: partial.key.target, part }));
            }
        }
        for (rule, settings, calibration) in predictions::kept(&store) {
            self.step(Input::Disk(DiskInput::CalibrationHeld { rule, settings, calibration }));
        }
        if let Some(pace) = predictions::kept_pace(&store) {
            self.step(Input::Disk(DiskInput::PaceHeld(pace)));
        }
        for image in pulls::unfinished(&store) {
            match pulls::wanted(&store, &image) {
                Ok(wanted) => {
                    tracing::info!(image, "taking up a pull that was under way");
                    self.pull(image, wanted, None);
                }
                Err(problem) => tracing::warn!(image, problem = problem.message, "an unfinished pull was dropped"),
            }
        }
    }

    /// One step of the engine, and all that follows from it.
    fn step(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.engine.step(self.shared.now(), input, &mut effects);
        for effect in effects {
            self.perform(effect);
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Input(input) => {
                match &input {
                    Input::Peer(PeerInput::StreamClosed(stream)) => {
                        self.orders.remove(stream);
                    }
                    Input::Work(WorkInput::FetchEnded { fetch, .. }) => {
                        self.fetches.remove(fetch);
                    }
                    _ => {}
                }
                self.step(input);
            }
            Event::StreamOpened { stream, from, mut request, orders } => {
                if let Some(referable) = &mut request.referable {
                    referable.passes_on &= self.meetings.is_reachable(from);
                }
                self.orders.insert(stream, orders);
                self.step(Input::Peer(PeerInput::StreamOpened { stream, from, request }));
            }
            Event::Referred { to, addresses } => self.meetings.named(to, addresses),
            Event::Answered { question, answer } => self.perform(Effect::Answer { question, answer }),
            Event::Command(command) => self.command(command),
        }
    }

    fn command(&mut self, command: Command) {
        // A reply that nobody waits for any more is dropped.
        match command {
            Command::Status(reply) => drop(reply.send(self.status())),
            Command::Peers(reply) => drop(reply.send(self.peers())),
            Command::Holders(layer, reply) => drop(reply.send(self.holders(layer))),
            Command::Pull { image, wanted, listener } => self.pull(image, wanted, listener),
            Command::Cancel { image, reply } => drop(reply.send(self.cancel(&image))),
            Command::Rollout { from, to, reply } => drop(reply.send(self.rollout(from, to))),
            Command::Plan { image, wanted, reply } => self.plan(image, wanted, reply),
        }
    }

    fn accept(&mut self, peer: &libp2p::PeerId, stream: libp2p::Stream) {
        let Some(from) = crate::identity::from_libp2p(peer) else { return };
        // Without a place, the stream is dropped: the peer asks elsewhere.
        let Ok(place) = self.places.clone().try_acquire_owned() else { return };
        let id = StreamId(self.next_id());
        let shared = self.shared.clone();
        self.tasks.spawn(async move {
            serve(id, from, stream, shared).await;
            drop(place);
        });
    }

    fn upkeep(&mut self) {
        for layer in self.shared.store.take_gone_layers() {
            self.step(Input::Disk(DiskInput::LayerGone(layer)));
        }
        let now = self.shared.now();
        let over: Vec<PeerId> =
            self.cut_off.iter().filter(|(_, until)| **until <= now).map(|(&peer, _)| peer).collect();
        for peer in over {
            self.cut_off.remove(&peer);
            if let Some(peer) = crate::identity::to_libp2p(peer) {
                self.swarm.behaviour_mut().cut_off.unblock_peer(peer);
            }
        }
        for (peer, times) in self.meetings.doubled(std::time::Instant::now()) {
            if !self.notice_twins(peer, times) {
                tracing::info!(%peer, "it connected anew before its old connection ended: both are closed");
                self.disconnect(peer);
            }
        }
        self.dialer.dial_due(&mut self.swarm);
        self.answer_plans();
    }

    fn disconnect(&mut self, peer: PeerId) {
        if let Some(peer) = crate::identity::to_libp2p(peer) {
            // Fails only if it is gone.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
    }

    async fn stop(&mut self) {
        tracing::info!("stopping");
        self.step(Input::Operator(OperatorInput::Stop));
        self.stopping.cancel();
        self.fetches.values().for_each(CancellationToken::cancel);
        // The last announcement leaves while the swarm is polled; tasks end while their events are taken.
        let leaving = tokio::time::sleep(LEAVE_TIMEOUT);
        tokio::pin!(leaving);
        let ending = tokio::time::sleep(STOP_TIMEOUT);
        tokio::pin!(ending);
        let mut has_left = false;
        while !(has_left && self.fetches.is_empty()) {
            tokio::select! {
                _ = self.swarm.select_next_some() => {}
                Some(event) = self.events.recv() => self.event(event),
                Some(ended) = self.tasks.join_next(), if !self.tasks.is_empty() => report_panic(ended),
                () = &mut leaving, if !has_left => has_left = true,
                () = &mut ending => break,
            }
        }
        self.tasks.abort_all();
    }

    fn instant(&self, moment: Moment) -> Instant {
        Instant::from_std(self.shared.started) + Duration::from_millis(moment.0)
    }

    fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// The most bytes that a layer can have, as far as the fleet says; without a word of it, what the store can hold.
    fn tar_bytes_max(&self, target: DiffId) -> Bytes {
        let announced = self.engine.directory().card(target).map(|card| card.tar_bytes);
        announced.unwrap_or(self.shared.config.store.bytes_max.0)
    }
}

async fn sleep_until(moment: Option<Instant>) {
    if let Some(moment) = moment {
        tokio::time::sleep_until(moment).await;
    }
}

fn report_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a task of this node panicked; please report this bug");
    }
}
