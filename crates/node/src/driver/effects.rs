//! Performs the engine's effects.
//!
//! Performing never steps the engine: an effect that is answered at once adds an input to the queue.

use std::time::{Duration, Instant};

use libp2p::gossipsub::{IdentTopic, PublishError};
use libp2p::swarm::DialError;
use lighter_engine::{
    AskFailure, AskId, DiskInput, Effect, FetchId, Offence, PeerInput, PullId, QuestionId, StreamId, Work, WorkInput,
};
use lighter_image::BUNDLE_BYTES_MAX;
use lighter_store::{Store, StoreError};
use lighter_types::{Bytes, DiffId, OciDigest, PeerId};
use lighter_wire::{Answer, Message, PatchRequest, Refusal, Request, SignedRelease};

use super::Driver;
use super::work::{Ended, Owed};
use crate::event::Order;
use crate::faults::Worker;
use crate::identity::to_libp2p;
use crate::images;
use crate::kept_links;
use crate::kept_lists;
use crate::predictions;
use crate::shared::Shared;
use crate::speed;
use crate::transfer::{Beside, EncodeJob, FetchJob, encode, fetch};

impl Driver {
    pub(super) fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Announce(announcement) => self.announce(&announcement),
            Effect::Answer { question, answer } => self.answer(question, answer),
            Effect::AnswerFromStore { question, request } => {
                self.blocking(Owed::Answer(question), move |shared| {
                    shared.faults.strike(Worker::AnswerFromStore);
                    Ended::Answer { question, answer: answer_from_store(&shared.store, &request) }
                });
            }
            Effect::Working { stream, done } => self.order(stream, Order::Working { done }),
            Effect::Serve { stream, patch, first_frame } => self.order(stream, Order::Serve { patch, first_frame }),
            Effect::Refuse { stream, refusal } => self.order(stream, Order::Refuse(refusal)),
            Effect::Refer { stream, to, patch, settings } => {
                let addresses = self.connections.meetings.addresses(to);
                self.order(stream, Order::Refer { to, patch, settings, addresses });
            }
            Effect::Connect(peer) => self.connect(peer),
            Effect::CutOff { peer, lasting, offence } => self.cut_off(peer, lasting, &offence),
            Effect::StopFetch(fetch) => self.work.stop_fetch(fetch),
            Effect::StopEncode(encode) => self.work.stop_encode(encode),
            Effect::Report { pull, report } => self.report(pull, &report),
            Effect::KeepCalibration { scope, calibration } => {
                self.keep("what a patch taught", move |store| predictions::keep(store, scope, &calibration));
            }
            Effect::KeepPace(work, pace) => {
                self.keep("how fast this machine is", move |store| predictions::keep_pace(store, work, pace));
            }
            Effect::KeepLink { peer, link } => {
                self.keep("what transfers showed", move |store| kept_links::keep(store, peer, link));
            }
            Effect::KeepLists(lists) => {
                self.keep("what peers hold", move |store| kept_lists::keep(store, &lists));
            }
            Effect::WakeAt(moment) => self.engine.set_wake_at(moment),
            Effect::Ask { ask, to, request } => self.ask(ask, to, request),
            Effect::Fetch { fetch, from, request, listed, beside, signed_bytes } => {
                self.fetch((fetch, beside), from, request, (listed, signed_bytes));
            }
            Effect::Encode { encode: id, target, bases, effort } => {
                let job = EncodeJob { encode: id, target, bases, effort };
                let stopping = self.work.begin_encode(id, &self.stopping);
                let owed = Owed::Encode { encode: id, began: Instant::now() };
                self.blocking(owed, move |shared| encode(&job, &stopping, shared).into());
            }
            Effect::Unpack { layer, blob, signed_bytes } => self.unpack(layer, blob, signed_bytes),
            Effect::LookUpImage { question, from, request, release } => {
                let handovers = self.handovers(&request);
                self.blocking(Owed::ImageLookedUp(question, from), move |shared| {
                    shared.faults.strike(Worker::LookUpImage);
                    let found = images::look_up(&shared.store, &request, release, handovers);
                    WorkInput::ImageLookedUp { question, from, found }.into()
                });
            }
            Effect::ReadImage { pull, manifest } => {
                let read = if self.pulls.is_plan(pull) { images::read } else { images::read_for_pull };
                self.blocking(Owed::ImageRead(pull), move |shared| {
                    shared.faults.strike(Worker::ReadImage);
                    WorkInput::ImageRead { pull, read: read(shared, manifest) }.into()
                });
            }
            Effect::KeepBlob { pull, digest, documents } => self.blocking(Owed::BlobKept(pull), move |shared| {
                shared.faults.strike(Worker::KeepBlob);
                let result = images::keep(shared, digest, &documents);
                WorkInput::BlobKept { pull, result }.into()
            }),
            Effect::CommitImage { pull, manifest, release } => self.commit_image(pull, manifest, release),
        }
    }

    fn unpack(&mut self, layer: DiffId, blob: DiffId, signed_bytes: Option<Bytes>) {
        let tar_bytes_max = signed_bytes.unwrap_or_else(|| self.tar_bytes_max(layer));
        let manifests = self.pulls.manifests();
        let stopping = self.stopping.clone();
        self.blocking(Owed::Unpacked(layer), move |shared| {
            let held = images::unpack(shared, (layer, blob), &manifests, tar_bytes_max, &stopping);
            WorkInput::Unpacked { layer, held }.into()
        });
    }

    /// Names an image whose layers are held. A pull for its layers alone ends without.
    fn commit_image(&mut self, pull: PullId, manifest: OciDigest, release: Option<SignedRelease>) {
        if !self.pulls.gives_name(pull) {
            return self.engine.push(WorkInput::ImageCommitted { pull, result: Ok(()) });
        }
        self.blocking(Owed::ImageCommitted(pull), move |shared| {
            shared.faults.strike(Worker::CommitImage);
            let result = images::commit(shared, manifest, release.as_ref());
            WorkInput::ImageCommitted { pull, result }.into()
        });
    }

    /// Answers a peer's question.
    pub(super) fn answer(&mut self, question: QuestionId, answer: Answer) {
        // A question whose peer left meanwhile has no channel any more.
        if let Some(channel) = self.questions.answer(question, &answer) {
            // Fails only if the peer is gone.
            let _ = self.swarm.behaviour_mut().ask.send_response(channel, answer);
        }
        self.tell_questions();
    }

    fn fetch(
        &mut self,
        (id, beside): (FetchId, Option<lighter_engine::Beside>),
        from: PeerId,
        request: PatchRequest,
        (listed, signed_bytes): (Vec<DiffId>, Option<Bytes>),
    ) {
        let beside = beside.and_then(|beside| {
            let over = self.work.end_of_fetch(beside.fetch)?;
            Some(Beside { over, bytes_max: beside.bytes_max })
        });
        let cancelled = self.work.begin_fetch(id);
        let tar_bytes_max = self.tar_bytes_max(request.target);
        let manifests = self.pulls.manifests();
        let job =
            FetchJob { fetch: id, from, request, listed, tar_bytes_max, signed_bytes, manifests, cancelled, beside };
        let (control, shared) = (self.control.clone(), self.shared.clone());
        self.work.spawn(Owed::Fetch(id), async move { fetch(job, control, shared).await.into() });
    }

    fn cut_off(&mut self, peer: PeerId, lasting: Duration, offence: &Offence) {
        tracing::warn!(%peer, %offence, lasting_s = lasting.as_secs(), "cutting off a peer");
        self.connections.cut_off(peer, self.shared.now() + lasting);
        if let Some(peer) = to_libp2p(peer) {
            self.swarm.behaviour_mut().cut_off.block_peer(peer);
        }
    }

    pub(super) fn blocking(&mut self, owed: Owed, work: impl FnOnce(&Shared) -> Ended + Send + 'static) {
        let shared = self.shared.clone();
        self.work.spawn_blocking(owed, move || work(&shared));
    }

    /// Finds out how fast this machine is. Later work teaches more.
    pub(super) fn measure_pace(&mut self) {
        self.blocking(Owed::Nothing, |shared| {
            let pace = speed::measure();
            let percent = pace.of(Duration::from_secs(100)).as_secs();
            tracing::debug!(percent, "the time that work takes here, of a usual machine's");
            shared.input_blocking(DiskInput::PaceHeld(Work::Encode, pace));
            Ended::Input(Box::new(DiskInput::PaceHeld(Work::Apply, pace).into()))
        });
    }

    /// Keeps what the node learned; without it, only what comes after the next start is worse.
    fn keep(&mut self, what: &'static str, keep: impl FnOnce(&Store) -> Result<(), StoreError> + Send + 'static) {
        self.blocking(Owed::Nothing, move |shared| {
            if let Err(error) = keep(&shared.store) {
                tracing::warn!(%error, "{what} is forgotten when this node stops");
            }
            Ended::Nothing
        });
    }

    fn announce(&mut self, announcement: &lighter_wire::Announcement) {
        let Ok(bytes) = announcement.encode() else {
            tracing::error!("an announcement is over its limit");
            return;
        };
        self.connections.announced();
        let topic = IdentTopic::new(lighter_wire::ANNOUNCE_TOPIC);
        match self.swarm.behaviour_mut().home.inner.gossip.publish(topic, bytes) {
            Ok(_) | Err(PublishError::NoPeersSubscribedToTopic) => {}
            Err(error) => tracing::debug!(%error, "an announcement did not leave"),
        }
    }

    fn order(&mut self, stream: StreamId, order: Order) {
        // The stream may have ended before the engine hears of it, or its queue may have overflowed.
        let Some(Some(orders)) = self.streams.get(&stream) else { return };
        let is_progress = matches!(order, Order::Working { .. });
        let lost = orders.try_send(order).is_err();
        if lost && !is_progress {
            // A full queue of progress: the stream hears that it is over when its queue closes.
            self.streams.insert(stream, None);
        }
    }

    /// Connects to a peer that a provider named. If that fails, the engine goes on elsewhere.
    pub(super) fn connect(&mut self, peer: PeerId) {
        let quic_first = self.engine.has_bad_link();
        let Some(options) = self.connections.meetings.dial(peer, quic_first) else {
            tracing::debug!(%peer, "a peer that was named has no more addresses");
            return self.engine.push(PeerInput::Unreachable(peer));
        };
        if let Some(peer) = to_libp2p(peer).filter(|peer| !self.connections.dialer.keeps(peer)) {
            self.swarm.behaviour_mut().home.visit(peer);
        }
        match self.swarm.dial(options) {
            // It is being connected to.
            Ok(()) | Err(DialError::DialPeerConditionFalse(_)) => {}
            Err(error) => {
                tracing::debug!(%peer, %error, "did not dial");
                self.engine.push(PeerInput::Unreachable(peer));
            }
        }
    }

    fn ask(&mut self, ask: AskId, to: PeerId, request: Request) {
        let Some(peer) = to_libp2p(to) else {
            return self.engine.push(WorkInput::Answered { ask, answer: Err(AskFailure::Unreachable) });
        };
        let id = self.swarm.behaviour_mut().ask.send_request(&peer, request);
        self.asks.insert(id, ask);
    }

    /// The most bytes that a layer can have, as far as the fleet says; without a word of it, what the store can hold.
    /// An image's companions have a limit of their own.
    fn tar_bytes_max(&self, target: DiffId) -> Bytes {
        let announced = self.engine.directory().card(target).map(|card| card.tar_bytes);
        let announced = announced.unwrap_or(self.shared.config.store.bytes_max.0);
        let are_companions = self.pulls.iter().any(|(_, pull)| pull.companions == Some(target));
        if are_companions { announced.min(BUNDLE_BYTES_MAX) } else { announced }
    }
}

fn answer_from_store(store: &Store, request: &Request) -> Answer {
    let answer = match request {
        Request::Blob { digest, bytes_max } => match images::blob_answer(store, *digest, *bytes_max as usize) {
            Ok(answer) => answer,
            Err(error) => {
                tracing::error!(%digest, %error, "a blob cannot be read");
                return Answer::Refused(Refusal::Failed);
            }
        },
        // The engine answers these itself.
        Request::Holdings { .. }
        | Request::Image(_)
        | Request::Quote { .. }
        | Request::Sketches(_)
        | Request::Arrival { .. } => None,
    };
    answer.unwrap_or(Answer::Refused(Refusal::NotHeld))
}
