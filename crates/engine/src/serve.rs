//! The work of this node for other nodes: quotes, patches, and the queue of patches to be made.
//!
//! The node serves a patch from its cache, or makes one for all that want it (single flight): `supply.rs` chooses. A
//! patch that is made reads from those of the requester's bases that this node holds too and that help, in the
//! requester's order: so all providers that are asked make the same patch.
//!
//! The node decides the effort when the encode begins (`effort.rs`). A requester that has a part of a patch that is not
//! here gets the same patch: the node makes it by the settings that the resume names.
//!
//! `jobs.rs` holds the patches to be made, `queue.rs` and `turns.rs` their order, `usable.rs` chooses the bases,
//! `uploads.rs` learns the rates, `referrals.rs` names a relay instead of sending, `gathering.rs` has requests for a
//! long patch wait for each other, and `following.rs` passes on a patch that is still coming.

mod cache;
mod following;
mod gathering;
mod jobs;
mod queue;
mod referrals;
mod supply;
mod turns;
mod uploads;
mod usable;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use lighter_types::{Bytes, BytesPerSecond, Card, DiffId, Link, Pace, PatchId, PeerId, broken};
use lighter_wire::{LAYER_OFFERS_MAX, LayerOffer, Offer, PatchRequest, Quote, Referable, Refusal, Terms};

use crate::core::{Core, Step};
use crate::directory::Peer;
use crate::effort::from_default;
use crate::event::{CachedPatch, Effect, EncodeId, StreamId};
use crate::planner;
use crate::settings::Settings;
use cache::Cache;
pub use following::Coming;
use gathering::Gathering;
use jobs::Job;
use referrals::Referrals;
use supply::{Supply, Wanted};
use turns::Turns;
use uploads::{Receiver, Uploads};
use usable::Usable;

/// A request for a quote does not name the requester's uplink; the request for the patch does.
const UPLINK_UNKNOWN: Referable = Referable { uplink: BytesPerSecond(u64::MAX), passes_on: true };

/// The serving side.
#[derive(Debug, Default)]
pub struct Serve {
    cache: Cache,
    /// At most [`Settings::streams_max`] and [`Settings::STREAMS_WAITING_MAX`].
    streams: BTreeMap<StreamId, Stream>,
    /// Those that run, and those in the queue.
    jobs: BTreeMap<EncodeId, Job>,
    /// At most [`Settings::ENCODES_QUEUED_MAX`].
    queue: VecDeque<EncodeId>,
    turns: Turns,
    running: usize,
    next_encode: u64,
    pace: Pace,
    uploads: Uploads,
    referrals: Referrals,
    gathering: Gathering,
    is_stopping: bool,
}

/// A stream that a peer opened.
#[derive(Clone, Copy, Debug)]
pub struct Opened<'a> {
    pub stream: StreamId,
    pub from: PeerId,
    pub request: &'a PatchRequest,
    /// Whether the requested layer is coming here, if it is not held.
    pub coming: Coming<'a>,
}

#[derive(Debug)]
struct Stream {
    from: PeerId,
    request: PatchRequest,
    is_small: bool,
    /// The layer is still coming here: the node passes on what it has of the patch.
    follows: bool,
    /// The patch that goes over the stream; absent while the peer waits.
    served: Option<PatchId>,
    is_done: bool,
}

impl Serve {
    pub fn patch_held(&mut self, patch: CachedPatch) {
        self.cache.hold(patch);
    }

    pub fn patch_gone(&mut self, patch: PatchId) {
        self.cache.forget(patch);
    }

    /// Takes up the pace that an earlier life learned.
    pub fn pace_held(&mut self, pace: Pace) {
        self.pace = pace;
    }

    /// The cost of a patch of `target` for a peer that holds `bases`.
    pub fn quote(
        &self,
        from: PeerId,
        terms: Terms,
        target: DiffId,
        bases: &[DiffId],
        core: &Core,
    ) -> Result<Quote, Refusal> {
        if self.is_stopping {
            return Err(Refusal::Stopping);
        }
        let card = core.holdings.card(target).ok_or(Refusal::NotHeld)?;
        let usable = Usable::new(card, bases, &core.holdings);
        let receiver = Receiver { peer: from, referable: Some(UPLINK_UNKNOWN), terms };
        Ok(match self.supply(&Wanted { card, offered: bases, usable: &usable, receiver }, core) {
            Supply::Ready(CachedPatch { patch, bytes, bases, effort, .. }) => {
                Quote { offer: Offer::Ready { patch, bytes }, bases, wait: Duration::ZERO, effort }
            }
            Supply::ToBeMade(job) => {
                let effort = self.effort(&job, Some(receiver), core);
                let encoding = self.undertaking(&job, Some(receiver), core).encoding(effort, self.pace);
                Quote {
                    offer: Offer::Predicted { bytes: from_default(job.content(), effort, job.bytes) },
                    bases: usable.bases,
                    wait: self.encoding_before(&job, from, core) + encoding,
                    effort: Some(effort),
                }
            }
        })
    }

    /// The cost of a patch for each of these layers that this node holds and the peer lacks, as far as gossip says what
    /// the peer holds. The bases are those that the peer would choose.
    pub fn offers(&self, from: PeerId, terms: Terms, layers: &[DiffId], core: &Core) -> Vec<LayerOffer> {
        if !core.directory.peer(from).is_some_and(Peer::is_known) {
            return Vec::new();
        }
        let shared = planner::shared_layers(from, core);
        let offers = layers.iter().enumerate().filter_map(|(place, &layer)| {
            let card = core.holdings.card(layer).filter(|_| !core.directory.is_held_by(layer, from))?;
            let bases = planner::shared_bases(card, &shared, core);
            let quote = self.quote(from, terms, layer, &bases, core).ok()?;
            Some(LayerOffer { layer: u16::try_from(place).ok()?, quote })
        });
        offers.take(LAYER_OFFERS_MAX).collect()
    }

    pub fn stream_opened(&mut self, opened: Opened<'_>, step: &mut Step<'_>) {
        if let Err(refusal) = self.admit(opened, step) {
            step.effects.push(Effect::Refuse { stream: opened.stream, refusal });
        }
    }

    /// A patch went over a stream to its end, and showed this of the link.
    pub fn stream_served(&mut self, stream: StreamId, link: Link, step: &mut Step<'_>) {
        let Some(served) = self.streams.get_mut(&stream) else { return broken("a served stream that is not open") };
        served.is_done = true;
        let from = served.from;
        step.learn_link(from, link);
        if let Some(rate) = link.up {
            let side = step.core.is_near(from);
            let served = self.streams.values().filter(|stream| stream.served.is_some()).map(|stream| stream.from);
            let sharing: BTreeSet<PeerId> = served.filter(|&peer| step.core.is_near(peer) == side).collect();
            self.uploads.learn(from, rate, sharing.len() as u64, step.core);
        }
    }

    /// A stream is over. An encode that no stream waits for any more is dropped, unless it runs: then its result goes
    /// into the cache.
    pub fn stream_closed(&mut self, stream: StreamId, step: &mut Step<'_>) {
        if let Some(Stream { from, request, served: Some(patch), is_done: false, .. }) = self.streams.remove(&stream) {
            self.referrals.copy_broke((patch, request.order_of(patch)), from, step.core);
        }
        self.gathering.forget(stream);
        for job in self.jobs.values_mut() {
            job.waiting.retain(|&waiting| waiting != stream);
        }
        self.jobs.retain(|_, job| job.running.is_some() || !job.waiting.is_empty());
        self.queue.retain(|id| self.jobs.contains_key(id));
        self.stop_unwanted(step.effects);
    }

    /// Tells the streams that wait for this encode, and those that wait for an encode in the queue: the queue moves.
    pub fn encode_progress(&self, encode: EncodeId, done: Bytes, effects: &mut Vec<Effect>) {
        for (&id, job) in self.jobs.iter().filter(|(id, job)| **id == encode || job.running.is_none()) {
            let done = if id == encode { done } else { Bytes::ZERO };
            effects.extend(job.waiting.iter().map(|&stream| Effect::Working { stream, done }));
        }
    }

    /// `patch` is `None` if it could not be made. Then a larger patch from the same bases will do, if there is one.
    pub fn encode_ended(&mut self, encode: EncodeId, took: Duration, patch: Option<CachedPatch>, step: &mut Step<'_>) {
        let Some(job) = self.jobs.remove(&encode) else { return broken("an encode ended that does not run") };
        self.running -= 1;
        self.settle(&job, took);
        if let Some(patch) = &patch {
            self.learn_pace(&job, patch, took, step.effects);
            self.cache.hold(patch.clone());
            if let Some(effort) = job.running {
                self.cache.remember_made(job.target, &job.bases, patch, effort);
            }
        }
        match self.cache.smallest_from(job.target, &job.bases).cloned().or(patch) {
            Some(patch) => self.give_all(job.waiting, &patch, step),
            None => {
                for stream in job.waiting {
                    step.effects.push(Effect::Refuse { stream, refusal: Refusal::Failed });
                }
            }
        }
        self.start_queued(step);
    }

    pub fn stop(&mut self, effects: &mut Vec<Effect>) {
        self.is_stopping = true;
        let waiting = self.streams.iter().filter(|(_, stream)| stream.served.is_none()).map(|(&stream, _)| stream);
        effects.extend(waiting.map(|stream| Effect::Refuse { stream, refusal: Refusal::Stopping }));
        self.gathering.clear();
        self.jobs.values_mut().for_each(|job| job.waiting.clear());
        self.jobs.retain(|_, job| job.running.is_some());
        self.queue.clear();
    }

    fn admit(&mut self, opened: Opened<'_>, step: &mut Step<'_>) -> Result<(), Refusal> {
        let Opened { stream, from, request, .. } = opened;
        self.check_room(from, request, step.core)?;
        let Some(&card) = step.core.holdings.card(request.target) else { return self.follow(opened, step) };
        let supply = self.supply_request(&card, from, request, step.core);
        match supply {
            Supply::Ready(patch) => {
                self.streams.insert(stream, Stream::new(from, request, step.core));
                if !self.gather(stream, (from, request), &patch, step) {
                    self.give(stream, &patch, step);
                }
            }
            Supply::ToBeMade(job) => {
                self.enqueue(job, (from, stream), step.effects)?;
                self.streams.insert(stream, Stream::new(from, request, step.core));
                step.effects.push(Effect::Working { stream, done: Bytes::ZERO });
                self.start_queued(step);
                self.stop_unwanted(step.effects);
            }
        }
        Ok(())
    }

    /// # Errors
    /// The node stops, or as many streams are open as may be, to all peers or to this one. Small layers have places of
    /// their own.
    fn check_room(&self, from: PeerId, request: &PatchRequest, core: &Core) -> Result<(), Refusal> {
        if self.is_stopping {
            return Err(Refusal::Stopping);
        }
        let is_small = is_small(request.target, core);
        let of_kind = self.streams.values().filter(|stream| stream.is_small == is_small);
        let (all, of_peer) =
            of_kind.fold((0, 0), |(all, of_peer), stream| (all + 1, of_peer + usize::from(stream.from == from)));
        let (all_max, of_peer_max) = if is_small {
            (Settings::SMALL_STREAMS_MAX, Settings::SMALL_FETCHES_MAX)
        } else {
            // Most streams of peers that may be referred only wait.
            let waiting_max = if request.referable.is_some() { Settings::STREAMS_WAITING_MAX } else { 0 };
            (core.settings.streams_max + waiting_max, core.settings.streams_per_peer_max)
        };
        if all >= all_max || of_peer >= of_peer_max { Err(Refusal::BUSY) } else { Ok(()) }
    }

    /// The patch to give for a request: the one that it resumes, if that is in the cache, else any that will do.
    fn supply_request(&self, card: &Card, from: PeerId, request: &PatchRequest, core: &Core) -> Supply {
        let resumed = request.resume.and_then(|resume| self.cache.get(resume.patch));
        if let Some(patch) = resumed.filter(|patch| patch.target == request.target) {
            return Supply::Ready(patch.clone());
        }
        let mut usable = Usable::new(card, &request.bases, &core.holdings);
        let mut offered = request.bases.clone();
        // The base that a have-list stands for comes with the list.
        if let Some(list) = request.have {
            usable.bases.push(list);
            offered.push(list);
        }
        let receiver = Receiver::new(from, request);
        match self.supply(&Wanted { card, offered: &offered, usable: &usable, receiver }, core) {
            Supply::Ready(patch) => Supply::Ready(patch),
            Supply::ToBeMade(job) => {
                let resumed = request.resume.and_then(|resume| core.settings.effort_of(resume.settings));
                Supply::ToBeMade(Job { resumed, ..job })
            }
        }
    }

    /// Sends the patch over the stream.
    fn send(&mut self, stream: StreamId, patch: &CachedPatch, effects: &mut Vec<Effect>) {
        let Some(waiting) = self.streams.get_mut(&stream) else {
            return broken("a patch for a stream that is not open");
        };
        waiting.served = Some(patch.patch);
        let resume = waiting.request.resume.filter(|resume| resume.patch == patch.patch);
        let first_frame = resume.map_or(0, |resume| resume.first_frame);
        effects.push(Effect::Serve { stream, patch: patch.patch, first_frame });
    }
}

impl Stream {
    fn new(from: PeerId, request: &PatchRequest, core: &Core) -> Self {
        let is_small = is_small(request.target, core);
        Self { from, request: request.clone(), is_small, follows: false, served: None, is_done: false }
    }
}

/// Whether a held layer is small: its stream takes little memory and ends soon.
fn is_small(layer: DiffId, core: &Core) -> bool {
    core.holdings.card(layer).is_some_and(|card| card.compressed_bytes <= Settings::SMALL_LAYER_BYTES)
}

#[cfg(test)]
mod tests;
