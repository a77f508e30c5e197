//! The task that owns the engine and the swarm: turns what happens into inputs, and effects into work.
//!
//! Everything else runs in child tasks (`work`). A task speaks to the driver over one bounded channel while it works,
//! and its result is the answer that it owes. The driver waits for one thing at a time, turns it into inputs, and then
//! lets the engine take in all that wait (`queued_engine`). Nothing is awaited while the engine is at work, and when
//! the driver ends, its tasks end.

mod answering;
mod asks;
mod connections;
mod describing;
mod effects;
mod gave_way;
mod meetings;
mod network;
mod probe;
pub mod pulls;
mod queued_engine;
mod releases;
mod rollout;
mod scrubbing;
mod stopping;
mod views;
mod work;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use libp2p::Swarm;
use libp2p::request_response::OutboundRequestId;
use lighter_engine::{AskId, DiskInput, Engine, PeerInput, Settings, StreamId};

use lighter_streams::Inbound;
use lighter_types::{Moment, PeerId, broken};
use lighter_wire::Answer;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::RunError;
use crate::clock::{WallClock, unix_now};
use crate::event::{Command, Event, Order};
use crate::faults::Worker;
use crate::headers;
use crate::kept_links;
use crate::kept_lists;
use crate::network::Behaviour;
use crate::peer_access;
use crate::predictions;
use crate::shared::Shared;
use crate::transfer::{effort_of, part_on_disk, serve};
use answering::Answering;
use connections::Connections;
use describing::Describing;
use gave_way::GaveWay;
use probe::Probe;
use pulls::Pulls;
use queued_engine::QueuedEngine;
use scrubbing::Scrubbing;
use views::Warned;
use work::{Ended, Owed, Work};

/// Events that wait for the driver; senders wait beyond that.
pub const EVENTS_WAITING: usize = 1024;
/// Between two looks at what no event tells: dials due, cut-offs over, layers that the store evicted.
const UPKEEP_EVERY: Duration = Duration::from_secs(1);

/// See the module.
pub struct Driver {
    shared: Arc<Shared>,
    engine: QueuedEngine,
    swarm: Swarm<Behaviour>,
    control: lighter_streams::Control,
    connections: Connections,
    clock: WallClock,
    warned: Warned,
    events: mpsc::Receiver<Event>,
    work: Work,
    pulls: Pulls,
    gave_way: GaveWay,
    /// Questions of this node that wait for a peer.
    asks: HashMap<OutboundRequestId, AskId>,
    /// Those of the registry endpoint, which the engine does not know.
    asks_beside: HashMap<OutboundRequestId, oneshot::Sender<Answer>>,
    /// Questions of peers that wait for this node.
    questions: Answering,
    /// Streams that the engine knows, and the way to the task of each; `None` once a queue of orders overflowed.
    streams: BTreeMap<StreamId, Option<mpsc::Sender<Order>>>,
    /// Places for peers' streams, those whose request has not come yet included.
    places: Arc<Semaphore>,
    describing: Describing,
    scrubbing: Scrubbing,
    probe: Probe,
    /// Ends encodes and hashing when the node stops.
    stopping: CancellationToken,
    next_id: u64,
}

impl Driver {
    pub fn new(shared: Arc<Shared>, engine: Engine, swarm: Swarm<Behaviour>, events: mpsc::Receiver<Event>) -> Self {
        let places = Arc::new(Semaphore::new(shared.config.limits.streams_max * 2 + Settings::STREAMS_WAITING_MAX));
        Self {
            control: swarm.behaviour().stream.control(),
            connections: Connections::new(&shared.config.network.bootstrap),
            clock: WallClock::default(),
            warned: Warned::default(),
            shared,
            engine: QueuedEngine::new(engine),
            swarm,
            events,
            work: Work::default(),
            pulls: Pulls::default(),
            gave_way: GaveWay::default(),
            asks: HashMap::new(),
            asks_beside: HashMap::new(),
            questions: Answering::default(),
            streams: BTreeMap::new(),
            places,
            describing: Describing::default(),
            scrubbing: Scrubbing::default(),
            probe: Probe::default(),
            stopping: CancellationToken::new(),
            next_id: 0,
        }
    }

    /// Runs until `stop` is cancelled, then stops in good order: peers are told, what is unfinished is on disk.
    ///
    /// # Errors
    /// If the protocol for patches was registered before: a defect.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), RunError> {
        let mut streams = self.swarm.behaviour().stream.accept().ok_or(RunError::Registered)?;
        self.load();
        let mut upkeep = tokio::time::interval(UPKEEP_EVERY);
        loop {
            self.settle();
            let wake = self.engine.wake_at().map(|moment| self.instant(moment));
            tokio::select! {
                event = self.swarm.select_next_some() => self.swarm_event(event),
                Some(event) = self.events.recv() => self.event(event),
                // Without a place, streams stay in their queue, and the peers beyond it are told.
                Some(inbound) = streams.next(), if self.places.available_permits() > 0 => self.accept(inbound),
                ended = self.work.next_ended() => self.task_ended(ended),
                () = sleep_until(wake), if wake.is_some() => self.engine.push_tick(),
                _ = upkeep.tick() => self.upkeep(),
                () = stop.cancelled() => break,
            }
        }
        // Streams that wait are reset: their peers ask elsewhere.
        drop(streams);
        self.stop().await;
        Ok(())
    }

    /// Tells the engine what is on disk, and takes up the pulls that were under way.
    fn load(&mut self) {
        let store = self.shared.store.clone();
        for card in store.cards() {
            let sketch = predictions::sketch(&store, &card.diff_id);
            self.disk(DiskInput::LayerHeld { card, sketch });
        }
        self.disk(DiskInput::LayersTold);
        self.describe_left();
        for patch in store.patches() {
            let (target, bases, effort) = (patch.key.target, patch.key.bases.clone(), effort_of(patch.key.settings));
            let (patch, bytes) = (patch.patch_id, headers::patch_bytes(&store, &patch));
            let held = lighter_engine::CachedPatch { patch, target, bases, bytes, effort };
            self.disk(DiskInput::PatchHeld(held));
        }
        for partial in store.partial_patches() {
            if let Some(part) = part_on_disk(&store, &partial) {
                self.disk(DiskInput::PartHeld { target: partial.key.target, part });
            }
        }
        for (scope, calibration) in predictions::kept(&store) {
            self.disk(DiskInput::CalibrationHeld { scope, calibration });
        }
        let paces = predictions::kept_paces(&store);
        if paces.is_empty() {
            self.measure_pace();
        }
        for (work, pace) in paces {
            self.disk(DiskInput::PaceHeld(work, pace));
        }
        for (peer, link) in kept_links::kept(&store) {
            self.disk(DiskInput::LinkHeld { peer, link });
        }
        for list in kept_lists::kept(&store) {
            self.disk(DiskInput::ListHeld(list));
        }
        for image in pulls::unfinished(&store) {
            match pulls::wanted(&store, &image) {
                Ok(wanted) => {
                    tracing::info!(image, "taking up a pull that was under way");
                    self.pull(image, wanted, None);
                    self.settle();
                }
                Err(problem) => tracing::warn!(image, problem = problem.message, "an unfinished pull was dropped"),
            }
        }
    }

    /// Tells the engine one thing that is on disk. At the start there are more of them than the queue holds.
    fn disk(&mut self, input: DiskInput) {
        self.engine.push(input);
        self.settle();
    }

    /// Steps the engine until no input waits, performs the effects of each step before the next, and then answers the
    /// plans that are complete. The only place that steps the engine; performing an effect adds inputs and never comes
    /// here.
    fn settle(&mut self) {
        while let Some(effects) = self.engine.step_next(self.shared.now()) {
            for effect in effects {
                self.perform(effect);
            }
        }
        self.answer_plans();
    }

    /// Tells the engine which layers the store no longer holds, before it hears of anything that may count on them; and
    /// the operator, which releases gave way.
    fn forget_gone(&mut self) {
        self.gave_way.take(&self.shared.store);
        for layer in self.shared.store.take_gone_layers() {
            self.engine.push(DiskInput::LayerGone(layer));
        }
    }

    fn event(&mut self, event: Event) {
        self.forget_gone();
        match event {
            Event::Input(input) => self.push(input),
            Event::StreamOpened { from, request, orders, .. }
                if !peer_access::may_have_layer(&self.shared, from, request.target) =>
            {
                // The engine never hears of it. The queue of a new stream has room.
                let _ = orders.try_send(Order::Refuse(lighter_wire::Refusal::NotHeld));
            }
            Event::StreamOpened { stream, from, mut request, orders } => {
                if let Some(referable) = &mut request.referable {
                    referable.passes_on &= self.connections.meetings.is_reachable(from);
                }
                self.streams.insert(stream, Some(orders));
                self.engine.push(PeerInput::StreamOpened { stream, from, request });
            }
            Event::Referred { to, addresses } => self.connections.meetings.named(to, addresses),
            Event::Command(command) => self.command(command),
        }
    }

    /// A task ended. Take in the events that it sent before: the progress of a fetch comes before its end.
    fn task_ended(&mut self, ended: Ended) {
        for _ in 0..EVENTS_WAITING {
            let Ok(event) = self.events.try_recv() else { break };
            self.event(event);
            self.settle();
        }
        self.forget_gone();
        match ended {
            Ended::Input(input) => self.push(*input),
            Ended::Described => self.described(),
            Ended::Scrubbed { damaged } => self.scrubbed(damaged),
            Ended::Probed => self.probe.ended(),
            Ended::Answer { question, answer } => self.answer(question, answer),
            Ended::StreamClosed(stream) => {
                // The engine never heard of a stream whose request did not come.
                if self.streams.remove(&stream).is_some() {
                    self.engine.push(PeerInput::StreamClosed(stream));
                }
            }
            Ended::Nothing => {}
        }
    }

    fn command(&mut self, command: Command) {
        // A reply that nobody waits for any more is dropped.
        match command {
            Command::Status(reply) => drop(reply.send(self.status())),
            Command::Peers(reply) => drop(reply.send(self.peers())),
            Command::Holders(layer, reply) => drop(reply.send(self.holders(layer))),
            Command::Neighbours(reply) => drop(reply.send(self.neighbours())),
            Command::Ask { to, request, reply } => self.ask_beside(to, request, reply),
            Command::Pull { image, wanted, listener } => self.pull(image, wanted, listener),
            Command::FetchLayers { image, manifest, listener } => self.fetch_layers(image, manifest, listener),
            Command::Scrub(reply) => drop(reply.send(self.begin_scrub())),
            Command::Cancel { image, reply } => drop(reply.send(self.cancel(&image))),
            Command::Rollout { from, to, reply } => drop(reply.send(self.rollout(from, to))),
            Command::Plan { image, wanted, reply } => self.plan(image, wanted, reply),
        }
    }

    fn accept(&mut self, inbound: Inbound) {
        let Inbound { peer, stream, place: share } = inbound;
        // Other keys than ed25519 only come to an open fleet, and no node of this program has one.
        let Some(from) = crate::identity::from_libp2p(&peer) else { return };
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            return broken("a stream was taken without a place for it");
        };
        let id = StreamId(self.next_id());
        let shared = self.shared.clone();
        self.work.spawn(Owed::StreamClosed(id), async move {
            serve(id, from, stream, share, shared).await;
            drop(place);
            Ended::StreamClosed(id)
        });
    }

    fn upkeep(&mut self) {
        self.shared.faults.strike(Worker::Driver);
        self.shared.accountant.look(std::time::Instant::now());
        for (from, streams) in self.shared.accountant.openings.take() {
            self.engine.push(PeerInput::StreamsAccepted { from, streams });
        }
        if let Some(jump) = self.clock.look(unix_now(), self.shared.now()) {
            tracing::warn!("this machine's clock {jump}");
        }
        self.shared.releases.set_trouble(self.clock_trouble());
        self.log_warnings();
        self.probe_store();
        self.scrub_and_mend();
        self.forget_gone();
        for peer in self.connections.take_readmitted(self.shared.now()) {
            if let Some(peer) = crate::identity::to_libp2p(peer) {
                self.swarm.behaviour_mut().cut_off.unblock_peer(peer);
            }
        }
        for (peer, _) in self.engine.directory().peers().filter(|(_, peer)| peer.has_twin()) {
            self.connections.add_twin(peer);
        }
        for (peer, times) in self.connections.meetings.doubled(std::time::Instant::now()) {
            if !self.connections.doubled(peer, times) {
                tracing::info!(%peer, "it connected anew before its old connection ended: both are closed");
                self.disconnect(peer);
            }
        }
        self.connections.dialer.dial_due(&mut self.swarm);
        self.review_plans();
    }

    fn disconnect(&mut self, peer: PeerId) {
        if let Some(peer) = crate::identity::to_libp2p(peer) {
            // Fails only if it is gone.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
    }

    fn instant(&self, moment: Moment) -> Instant {
        Instant::from_std(self.shared.started) + Duration::from_millis(moment.0)
    }

    fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

async fn sleep_until(moment: Option<Instant>) {
    if let Some(moment) = moment {
        tokio::time::sleep_until(moment).await;
    }
}

#[cfg(test)]
mod tests;
