//! What this node does for others: quotes, patches, and the queue of patches to be made.
//!
//! A patch is looked for in the cache first: any patch of the target will do whose bases the requester holds, the
//! smallest first, unless the sketches are sure of a smaller one. Otherwise it is made, once for all who want it (single
//! flight), from those of the requester's bases that this node holds too and that help, in the requester's order: so all
//! who are asked make the same patch.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use lighter_similarity::{Prediction, keep_bases};
use lighter_types::{Bytes, Card, DiffId, PatchId, PeerId};
use lighter_wire::{Offer, PatchRequest, Quote, Refusal, Resume};

use crate::event::{CachedPatch, Effect, EncodeId, StreamId};
use crate::holdings::Holdings;
use crate::settings::Settings;

/// Target bytes a second that an encoder is taken to make until one was timed (measured: docs/PATCH.md, slowest pair).
const ENCODE_RATE_FIRST: u64 = 2_000_000;

/// The serving side.
#[derive(Debug)]
pub struct Serve {
    cache: BTreeMap<PatchId, CachedPatch>,
    by_target: BTreeMap<DiffId, Vec<PatchId>>,
    /// The patch that was made for a target and bases: it may read from fewer of them.
    made: BTreeMap<(DiffId, Vec<DiffId>), PatchId>,
    streams: BTreeMap<StreamId, Stream>,
    jobs: BTreeMap<EncodeId, Job>,
    queue: VecDeque<EncodeId>,
    running: usize,
    next_encode: u64,
    /// Target bytes a second of the encoder.
    encode_rate: u64,
    stopping: bool,
}

#[derive(Debug)]
struct Stream {
    from: PeerId,
    resume: Option<Resume>,
}

#[derive(Debug)]
struct Job {
    target: DiffId,
    bases: Vec<DiffId>,
    tar_bytes: Bytes,
    waiting: Vec<StreamId>,
    running: bool,
}

impl Default for Serve {
    fn default() -> Self {
        Self {
            cache: BTreeMap::new(),
            by_target: BTreeMap::new(),
            made: BTreeMap::new(),
            streams: BTreeMap::new(),
            jobs: BTreeMap::new(),
            queue: VecDeque::new(),
            running: 0,
            next_encode: 0,
            encode_rate: ENCODE_RATE_FIRST,
            stopping: false,
        }
    }
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
        self.made.retain(|(target, _), made| *target != gone.target || *made != patch);
        if let Some(patches) = self.by_target.get_mut(&gone.target) {
            patches.retain(|&other| other != patch);
            if patches.is_empty() {
                self.by_target.remove(&gone.target);
            }
        }
    }

    /// What a patch of `target` would cost somebody who holds `bases`.
    pub fn quote(&self, target: DiffId, bases: &[DiffId], own: &Holdings) -> Result<Quote, Refusal> {
        if self.stopping {
            return Err(Refusal::Stopping);
        }
        let card = own.card(target).ok_or(Refusal::NotHeld)?;
        let usable = Usable::new(card, bases, own);
        if let Some(cached) = self.cached(target, bases, &usable) {
            let offer = Offer::Ready { patch: cached.patch, bytes: cached.bytes };
            return Ok(Quote { offer, bases: cached.bases.clone(), wait: Duration::ZERO });
        }
        let Usable { bases, prediction, .. } = usable;
        // A patch that is being made for somebody else is not made twice.
        let others = self.jobs.values().filter(|job| job.target != target || job.bases != bases);
        let wait = self.encode_time(others.map(|job| job.tar_bytes).sum::<Bytes>() + card.tar_bytes);
        Ok(Quote { offer: Offer::Predicted { bytes: prediction.bytes }, bases, wait })
    }

    pub fn stream_opened(
        &mut self,
        stream: StreamId,
        from: PeerId,
        request: &PatchRequest,
        own: &Holdings,
        settings: &Settings,
        effects: &mut Vec<Effect>,
    ) {
        if let Err(refusal) = self.admit(stream, from, request, own, settings, effects) {
            effects.push(Effect::Refuse { stream, refusal });
        }
    }

    /// The waiting streams lose one of them; work that nobody waits for any more goes on if it runs (its result is
    /// cached) and is dropped if it does not.
    pub fn stream_closed(&mut self, stream: StreamId) {
        self.streams.remove(&stream);
        for job in self.jobs.values_mut() {
            job.waiting.retain(|&waiting| waiting != stream);
        }
        self.jobs.retain(|_, job| job.running || !job.waiting.is_empty());
        self.queue.retain(|id| self.jobs.contains_key(id));
    }

    /// Those who wait for a patch that is not begun are told too: the queue moves.
    pub fn encode_progress(&self, encode: EncodeId, done: Bytes, effects: &mut Vec<Effect>) {
        for (&id, job) in self.jobs.iter().filter(|(id, job)| **id == encode || !job.running) {
            let target_bytes_done = if id == encode { done } else { Bytes::ZERO };
            effects.extend(job.waiting.iter().map(|&stream| Effect::Working { stream, target_bytes_done }));
        }
    }

    /// `patch` is `None` if it could not be made.
    pub fn encode_ended(
        &mut self,
        encode: EncodeId,
        took: Duration,
        patch: Option<CachedPatch>,
        settings: &Settings,
        effects: &mut Vec<Effect>,
    ) {
        let Some(job) = self.jobs.remove(&encode) else { return };
        self.running -= 1;
        if let Some(patch) = patch {
            self.learn_rate(job.tar_bytes, took);
            self.patch_held(patch.clone());
            if patch.bases != job.bases && self.cache.contains_key(&patch.patch) {
                self.made.insert((job.target, job.bases), patch.patch);
            }
            for stream in job.waiting {
                self.serve(stream, &patch, effects);
            }
        } else {
            let refuse = |stream| Effect::Refuse { stream, refusal: Refusal::Failed };
            effects.extend(job.waiting.into_iter().map(refuse));
        }
        self.start_queued(settings, effects);
    }

    pub fn stop(&mut self, effects: &mut Vec<Effect>) {
        self.stopping = true;
        for job in self.jobs.values_mut() {
            let refuse = |stream| Effect::Refuse { stream, refusal: Refusal::Stopping };
            effects.extend(job.waiting.drain(..).map(refuse));
        }
        self.jobs.retain(|_, job| job.running);
        self.queue.clear();
    }

    fn admit(
        &mut self,
        stream: StreamId,
        from: PeerId,
        request: &PatchRequest,
        own: &Holdings,
        settings: &Settings,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        if self.stopping {
            return Err(Refusal::Stopping);
        }
        let of_peer = self.streams.values().filter(|stream| stream.from == from).count();
        if self.streams.len() >= settings.streams_max || of_peer >= settings.streams_per_peer_max {
            return Err(Refusal::Busy);
        }
        let card = *own.card(request.target).ok_or(Refusal::NotHeld)?;
        let resumed = request.resume.and_then(|resume| self.cache.get(&resume.patch));
        let resumed = resumed.filter(|patch| patch.target == request.target);
        let usable = Usable::new(&card, &request.bases, own);
        if let Some(patch) = resumed.or_else(|| self.cached(request.target, &request.bases, &usable)).cloned() {
            self.streams.insert(stream, Stream { from, resume: request.resume });
            self.serve(stream, &patch, effects);
            return Ok(());
        }
        let bases = usable.bases;
        let same = self.jobs.iter().find(|(_, job)| job.target == request.target && job.bases == bases);
        let encode = if let Some((&encode, _)) = same {
            encode
        } else {
            if self.queue.len() >= Settings::ENCODES_QUEUED_MAX {
                return Err(Refusal::Busy);
            }
            let encode = EncodeId(self.next_encode);
            self.next_encode += 1;
            let job =
                Job { target: request.target, bases, tar_bytes: card.tar_bytes, waiting: Vec::new(), running: false };
            self.jobs.insert(encode, job);
            self.queue.push_back(encode);
            encode
        };
        self.streams.insert(stream, Stream { from, resume: request.resume });
        if let Some(job) = self.jobs.get_mut(&encode) {
            job.waiting.push(stream);
        }
        effects.push(Effect::Working { stream, target_bytes_done: Bytes::ZERO });
        self.start_queued(settings, effects);
        Ok(())
    }

    fn start_queued(&mut self, settings: &Settings, effects: &mut Vec<Effect>) {
        while self.running < settings.encodes_max {
            let Some(encode) = self.queue.pop_front() else { return };
            let Some(job) = self.jobs.get_mut(&encode) else { continue };
            job.running = true;
            self.running += 1;
            effects.push(Effect::Encode { encode, target: job.target, bases: job.bases.clone() });
        }
    }

    fn serve(&self, stream: StreamId, patch: &CachedPatch, effects: &mut Vec<Effect>) {
        let Some(waiting) = self.streams.get(&stream) else { return };
        let resume = waiting.resume.filter(|resume| resume.patch == patch.patch);
        let first_frame = resume.map_or(0, |resume| resume.first_frame);
        effects.push(Effect::Serve { stream, patch: patch.patch, first_frame });
    }

    /// The smallest cached patch of `target` that somebody with `bases` can apply. The whole layer does for anybody, but
    /// is not given to somebody for whom a smaller patch can be made, unless it is what came out when that was tried.
    fn cached(&self, target: DiffId, bases: &[DiffId], usable: &Usable) -> Option<&CachedPatch> {
        let made = self.made.get(&(target, usable.bases.clone()));
        if let Some(made) = made.and_then(|patch| self.cache.get(patch)) {
            return Some(made);
        }
        let patches = self.by_target.get(&target)?.iter().filter_map(|patch| self.cache.get(patch));
        patches
            .filter(|patch| patch.bases.iter().all(|base| bases.contains(base)))
            .filter(|patch| !patch.bases.is_empty() || usable.bases.is_empty())
            .filter(|patch| patch.bases == usable.bases || !usable.is_surely_under(patch.bytes))
            .min_by_key(|patch| (patch.bytes, patch.patch))
    }

    /// Small layers tell more of what it takes to start an encoder than of its rate.
    fn learn_rate(&mut self, tar_bytes: Bytes, took: Duration) {
        if tar_bytes >= Bytes::MIB {
            let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
            self.encode_rate = (self.encode_rate + tar_bytes.0.saturating_mul(1000) / millis) / 2;
        }
    }

    fn encode_time(&self, target_bytes: Bytes) -> Duration {
        Duration::from_millis(target_bytes.0.saturating_mul(1000) / self.encode_rate.max(1))
    }
}

/// Those of the requester's bases that a patch made here reads from.
struct Usable {
    bases: Vec<DiffId>,
    prediction: Prediction,
    by_sketch: bool,
}

impl Usable {
    fn new(target: &Card, offered: &[DiffId], own: &Holdings) -> Self {
        let sketch = own.sketch(target.diff_id);
        let held: Vec<_> = offered.iter().filter_map(|&base| Some((own.card(base)?, own.sketch(base)))).collect();
        let kept = keep_bases(target, sketch, &held, Settings::PATCH_BASES_MAX);
        let bases = kept.indices.iter().map(|&index| held[index].0.diff_id).collect();
        Self { bases, prediction: kept.prediction, by_sketch: sketch.is_some() }
    }

    /// Whether the patch will have fewer bytes even if the prediction is as far off as is to be expected. Cards alone
    /// are never that sure.
    fn is_surely_under(&self, bytes: Bytes) -> bool {
        let Prediction { bytes: predicted, sure } = self.prediction;
        self.by_sketch && predicted + Bytes(predicted.times(sure.0.into()).0 / 1024) < bytes
    }
}

#[cfg(test)]
mod tests;
