//! What this node does for others: quotes, patches, and the queue of patches to be made.
//!
//! A patch is looked for in the cache first: any patch of the target will do whose bases the requester holds, the
//! smallest first, unless the sketches are sure of a smaller one. Otherwise it is made, once for all who want it (single
//! flight), from those of the requester's bases that this node holds too and that help, in the requester's order: so all
//! who are asked make the same patch.
//!
//! At which effort is decided when the encode begins (effort.rs). A cached patch is served whatever its effort; only if the
//! effort is this module's to choose, and the requester would be done noticeably sooner with a patch that is yet to be
//! made at a higher effort, is that made: so each set of bases is encoded at most once at each effort. Who has a part of a
//! patch that is not here gets the same one: then it is made by the settings that the resume names.

mod following;
mod jobs;
mod referrals;
mod uploads;
mod usable;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use lighter_types::{Bytes, BytesPerSecond, DiffId, Effort, Moment, PatchId, PeerId};
use lighter_wire::{Offer, PatchRequest, Quote, Referable, Refusal};

use crate::effort::Pace;
use crate::event::{CachedPatch, Effect, EncodeId, StreamId};
use crate::planner::{View, is_near};
use crate::settings::Settings;
pub use following::Coming;
use jobs::Job;
use referrals::Referrals;
use uploads::Uploads;
use usable::Usable;

/// Who asks for a quote tells of its uplink when it asks for the patch.
const UNTOLD: Referable = Referable { uplink: BytesPerSecond(u64::MAX), passes_on: true };

/// The serving side.
#[derive(Debug, Default)]
pub struct Serve {
    cache: BTreeMap<PatchId, CachedPatch>,
    by_target: BTreeMap<DiffId, Vec<PatchId>>,
    /// The patch that was made for a target and bases, and at which effort last. It may read from fewer of them.
    made: BTreeMap<(DiffId, Vec<DiffId>), (PatchId, Effort)>,
    streams: BTreeMap<StreamId, Stream>,
    jobs: BTreeMap<EncodeId, Job>,
    queue: VecDeque<EncodeId>,
    running: usize,
    next_encode: u64,
    pace: Pace,
    uploads: Uploads,
    referrals: Referrals,
    stopping: bool,
}

/// A stream that a peer opened.
#[derive(Clone, Copy, Debug)]
pub struct Opened<'a> {
    pub stream: StreamId,
    pub from: PeerId,
    pub request: &'a PatchRequest,
    /// Of the layer that is asked for, if it is not held.
    pub coming: Coming<'a>,
}

#[derive(Debug)]
struct Stream {
    from: PeerId,
    request: PatchRequest,
    /// The layer is just coming here: what comes of it is passed on.
    follows: bool,
    /// The patch that goes over it; absent as long as nothing does.
    served: Option<PatchId>,
    is_done: bool,
}

impl Serve {
    pub fn patch_held(&mut self, patch: CachedPatch) {
        if self.cache.len() >= Settings::PATCHES_MAX || self.cache.contains_key(&patch.patch) {
            return;
        }
        self.by_target.entry(patch.target).or_default().push(patch.patch);
        self.cache.insert(patch.patch, patch);
    }

    pub fn patch_gone(&mut self, patch: PatchId) {
        let Some(gone) = self.cache.remove(&patch) else { return };
        self.made.retain(|(target, _), (made, _)| *target != gone.target || *made != patch);
        if let Some(patches) = self.by_target.get_mut(&gone.target) {
            patches.retain(|&other| other != patch);
            if patches.is_empty() {
                self.by_target.remove(&gone.target);
            }
        }
    }

    /// What was learned in an earlier life.
    pub fn pace_held(&mut self, pace: Pace) {
        self.pace = pace;
    }

    /// What a patch of `target` would cost a peer that holds `bases`.
    pub fn quote(&self, from: PeerId, target: DiffId, bases: &[DiffId], view: View<'_>) -> Result<Quote, Refusal> {
        if self.stopping {
            return Err(Refusal::Stopping);
        }
        let card = view.own.card(target).ok_or(Refusal::NotHeld)?;
        let usable = Usable::new(card, bases, view.own);
        let cached = self.cached(target, bases, &usable);
        let job = match cached {
            None => Job::new(card, &usable),
            Some(cached) => match self.improvement(cached, (from, Some(UNTOLD)), card, &usable, view) {
                Some(job) => job,
                None => {
                    let offer = Offer::Ready { patch: cached.patch, bytes: cached.bytes };
                    return Ok(Quote { offer, bases: cached.bases.clone(), wait: Duration::ZERO });
                }
            },
        };
        // A patch that is being made for somebody else is not made twice.
        let others = self.jobs.values().filter(|other| !other.is_same(&job));
        let before: Duration = others.map(|other| self.encoding(other, view)).sum();
        let wait = before + self.encoding(&job, view);
        Ok(Quote { offer: Offer::Predicted { bytes: usable.prediction.bytes }, bases: usable.bases, wait })
    }

    pub fn stream_opened(&mut self, opened: Opened<'_>, now: Moment, view: View<'_>, effects: &mut Vec<Effect>) {
        if let Err(refusal) = self.admit(opened, now, view, effects) {
            effects.push(Effect::Refuse { stream: opened.stream, refusal });
        }
    }

    /// A patch went over a stream to its end: that tells what the link carries.
    pub fn stream_served(&mut self, stream: StreamId, bytes: Bytes, took: Duration, view: View<'_>) {
        let Some(served) = self.streams.get_mut(&stream) else { return };
        served.is_done = true;
        let from = served.from;
        let near = |peer: PeerId| is_near(peer, view);
        let side = near(from);
        let sharing = self.streams.values().filter(|other| other.served.is_some() && near(other.from) == side).count();
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.uploads.learn(from, bytes, millis, sharing as u64, view);
    }

    /// The waiting streams lose one of them; work that nobody waits for any more goes on if it runs (its result is
    /// cached) and is dropped if it does not.
    pub fn stream_closed(&mut self, stream: StreamId, view: View<'_>) {
        if let Some(Stream { from, served: Some(patch), is_done: false, .. }) = self.streams.remove(&stream) {
            self.copy_broke(patch, from, view);
        }
        for job in self.jobs.values_mut() {
            job.waiting.retain(|&waiting| waiting != stream);
        }
        self.jobs.retain(|_, job| job.running.is_some() || !job.waiting.is_empty());
        self.queue.retain(|id| self.jobs.contains_key(id));
    }

    /// Those who wait for a patch that is not begun are told too: the queue moves.
    pub fn encode_progress(&self, encode: EncodeId, done: Bytes, effects: &mut Vec<Effect>) {
        for (&id, job) in self.jobs.iter().filter(|(id, job)| **id == encode || job.running.is_none()) {
            let target_bytes_done = if id == encode { done } else { Bytes::ZERO };
            effects.extend(job.waiting.iter().map(|&stream| Effect::Working { stream, target_bytes_done }));
        }
    }

    /// `patch` is `None` if it could not be made: then a larger one from the same bases does, if there is one.
    pub fn encode_ended(
        &mut self,
        encode: EncodeId,
        took: Duration,
        patch: Option<CachedPatch>,
        now: Moment,
        view: View<'_>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(job) = self.jobs.remove(&encode) else { return };
        self.running -= 1;
        if let Some(patch) = &patch {
            self.learn_pace(&job, patch, took, effects);
            self.keep_made(&job, patch);
        }
        match self.of(job.target, &job.bases).cloned().or(patch) {
            Some(patch) => self.give_all(job.waiting, &patch, now, view, effects),
            None => {
                let refuse = |stream| Effect::Refuse { stream, refusal: Refusal::Failed };
                effects.extend(job.waiting.into_iter().map(refuse));
            }
        }
        self.start_queued(view, effects);
    }

    pub fn stop(&mut self, effects: &mut Vec<Effect>) {
        self.stopping = true;
        let waiting = self.streams.iter().filter(|(_, stream)| stream.served.is_none()).map(|(&stream, _)| stream);
        effects.extend(waiting.map(|stream| Effect::Refuse { stream, refusal: Refusal::Stopping }));
        self.jobs.values_mut().for_each(|job| job.waiting.clear());
        self.jobs.retain(|_, job| job.running.is_some());
        self.queue.clear();
    }

    fn admit(
        &mut self,
        opened: Opened<'_>,
        now: Moment,
        view: View<'_>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let Opened { stream, from, request, .. } = opened;
        if self.stopping {
            return Err(Refusal::Stopping);
        }
        let settings = view.settings;
        let of_peer = self.streams.values().filter(|stream| stream.from == from).count();
        // Most of those who may be referred only wait.
        let waiting_max = request.referable.map_or(0, |_| Settings::STREAMS_WAITING_MAX);
        if self.streams.len() >= settings.streams_max + waiting_max || of_peer >= settings.streams_per_peer_max {
            return Err(Refusal::Busy);
        }
        let Some(card) = view.own.card(request.target) else {
            return self.follow(opened, view, effects);
        };
        let resumed = request.resume.and_then(|resume| self.cache.get(&resume.patch));
        let resumed = resumed.filter(|patch| patch.target == request.target);
        let mut usable = Usable::new(card, &request.bases, view.own);
        let mut offered = request.bases.clone();
        // The base that a have-list stands for is at hand with the list.
        if let Some(list) = request.have {
            usable.bases.push(list);
            offered.push(list);
        }
        let cached = self.cached(request.target, &offered, &usable);
        let better = cached.and_then(|cached| self.improvement(cached, (from, request.referable), card, &usable, view));
        let ready = resumed.or(cached.filter(|_| better.is_none())).cloned();
        let admitted = Stream::new(from, request);
        if let Some(patch) = ready {
            self.streams.insert(stream, admitted);
            self.give(stream, &patch, now, view, effects);
            return Ok(());
        }
        let resumed = request.resume.and_then(|resume| settings.effort_of(resume.settings));
        let job = Job { resumed, ..better.unwrap_or_else(|| Job::new(card, &usable)) };
        let encode = self.enqueue(job)?;
        self.streams.insert(stream, admitted);
        if let Some(job) = self.jobs.get_mut(&encode) {
            job.waiting.push(stream);
        }
        effects.push(Effect::Working { stream, target_bytes_done: Bytes::ZERO });
        self.start_queued(view, effects);
        Ok(())
    }

    /// The encode that makes this, which may be under way already.
    fn enqueue(&mut self, job: Job) -> Result<EncodeId, Refusal> {
        if let Some((&encode, _)) = self.jobs.iter().find(|(_, other)| other.is_same(&job)) {
            return Ok(encode);
        }
        if self.queue.len() >= Settings::ENCODES_QUEUED_MAX {
            return Err(Refusal::Busy);
        }
        let encode = EncodeId(self.next_encode);
        self.next_encode += 1;
        self.jobs.insert(encode, job);
        self.queue.push_back(encode);
        Ok(encode)
    }

    fn start_queued(&mut self, view: View<'_>, effects: &mut Vec<Effect>) {
        while self.running < view.settings.encodes_max {
            let Some(encode) = self.queue.pop_front() else { return };
            let Some(job) = self.jobs.get(&encode) else { continue };
            let effort = self.effort(job, view);
            effects.push(Effect::Encode { encode, target: job.target, bases: job.bases.clone(), effort });
            if let Some(job) = self.jobs.get_mut(&encode) {
                job.running = Some(effort);
            }
            self.running += 1;
        }
    }

    fn serve(&mut self, stream: StreamId, patch: &CachedPatch, effects: &mut Vec<Effect>) {
        let Some(waiting) = self.streams.get_mut(&stream) else { return };
        waiting.served = Some(patch.patch);
        let resume = waiting.request.resume.filter(|resume| resume.patch == patch.patch);
        let first_frame = resume.map_or(0, |resume| resume.first_frame);
        effects.push(Effect::Serve { stream, patch: patch.patch, first_frame });
    }

    /// The smallest cached patch of `target` that somebody with `bases` can apply. The whole layer does for anybody, but
    /// is not given to somebody for whom a smaller patch can be made, unless it is what came out when that was tried.
    fn cached(&self, target: DiffId, bases: &[DiffId], usable: &Usable) -> Option<&CachedPatch> {
        let made = self.made.get(&(target, usable.bases.clone())).and_then(|(patch, _)| self.cache.get(patch));
        if let Some(made) = made.filter(|made| made.bases != usable.bases) {
            return Some(made);
        }
        let patches = self.by_target.get(&target)?.iter().filter_map(|patch| self.cache.get(patch));
        patches
            .filter(|patch| patch.bases.iter().all(|base| bases.contains(base)))
            .filter(|patch| !patch.bases.is_empty() || usable.bases.is_empty())
            .filter(|patch| patch.bases == usable.bases || !usable.is_surely_under(patch.bytes))
            .min_by_key(|patch| (patch.bytes, patch.patch))
    }

    /// The smallest cached patch that these bases give.
    fn of(&self, target: DiffId, bases: &[DiffId]) -> Option<&CachedPatch> {
        let patches = self.by_target.get(&target)?.iter().filter_map(|patch| self.cache.get(patch));
        let made = self.made.get(&(target, bases.to_vec())).and_then(|(patch, _)| self.cache.get(patch));
        patches.filter(|patch| patch.bases == bases).chain(made).min_by_key(|patch| (patch.bytes, patch.patch))
    }

    /// Takes in what a job made, and remembers the smaller of it and of what the same bases gave before.
    fn keep_made(&mut self, job: &Job, patch: &CachedPatch) {
        self.patch_held(patch.clone());
        let Some(effort) = job.running.filter(|_| self.cache.contains_key(&patch.patch)) else { return };
        let smallest =
            self.of(job.target, &job.bases).filter(|other| other.bytes < patch.bytes).map(|other| other.patch);
        self.made.insert((job.target, job.bases.clone()), (smallest.unwrap_or(patch.patch), effort));
    }
}

impl Stream {
    fn new(from: PeerId, request: &PatchRequest) -> Self {
        Self { from, request: request.clone(), follows: false, served: None, is_done: false }
    }
}

#[cfg(test)]
mod tests;
