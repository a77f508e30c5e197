//! Patches to be made: the effort of each, and the time that it takes.

use std::time::Duration;

use lighter_types::{Bytes, BytesPerSecond, Card, DiffId, Effort};

use super::uploads::{Receiver, Receivers};
use super::usable::Usable;
use super::{Serve, StreamId};
use crate::core::Core;
use crate::effort::{EffortChoice, Undertaking, is_later, to_default};
use crate::event::{CachedPatch, Effect, Prospect};
use crate::settings::Settings;

#[derive(Debug)]
pub struct Job {
    pub target: DiffId,
    pub bases: Vec<DiffId>,
    pub tar_bytes: Bytes,
    /// Bytes that the patch would have at the default effort.
    pub bytes: Bytes,
    /// The lowest effort for which there is no patch yet.
    pub least: Effort,
    /// The effort of the patch of which a requester has a part.
    pub resumed: Option<Effort>,
    /// The streams that wait for the patch.
    pub waiting: Vec<StreamId>,
    /// The effort of the encode under way; absent while the job is queued.
    pub running: Option<Effort>,
}

impl Serve {
    /// The cost of a patch of a held layer for a peer that holds `bases`; `None` if the layer is not held.
    pub fn prospect(&self, target: DiffId, bases: &[DiffId], core: &Core) -> Option<Prospect> {
        let card = core.holdings.card(target)?;
        let job = Job::new(card, &Usable::new(card, bases, &core.holdings));
        let cached = self.cache.smallest_from(target, &job.bases);
        let known = cached.and_then(|patch| Some(to_default(patch.effort?, patch.bytes)));
        let bytes = known.unwrap_or(job.bytes);
        let undertaking = Undertaking { bytes, ..self.undertaking(&job, None, core) };
        let encode = undertaking.encoding(Effort::Default, self.pace);
        let apply = undertaking.applying(Effort::Default, self.pace);
        Some(Prospect { bases: job.bases, bytes, is_known: known.is_some(), encode, apply })
    }

    /// The effort that a job runs at, or would run at if it began now. A patch of which a requester has a part is made
    /// once more at the effort that it had.
    pub(super) fn effort(&self, job: &Job, core: &Core) -> Effort {
        let choice = core.settings.effort;
        let resumed = job.resumed.filter(|effort| choice == EffortChoice::Auto && *effort >= job.least);
        match job.running.or(resumed) {
            Some(effort) => effort,
            None => choice.choose(&self.undertaking(job, None, core), self.pace, job.least),
        }
    }

    pub(super) fn encoding(&self, job: &Job, core: &Core) -> Duration {
        self.undertaking(job, None, core).encoding(self.effort(job, core), self.pace)
    }

    /// The time that the encodes before a new job take. A job that makes the same patch for another peer is none of
    /// them.
    pub(super) fn encoding_before(&self, job: &Job, core: &Core) -> Duration {
        let others = self.jobs.values().filter(|other| !other.is_same(job));
        others.map(|other| self.encoding(other, core)).sum()
    }

    /// A job for all peers that wait for it, and for `one_more`.
    fn undertaking(&self, job: &Job, one_more: Option<Receiver>, core: &Core) -> Undertaking {
        let waiting = self.waiting(job, one_more);
        self.undertaking_for(job, self.uploads.receivers(job.target, &job.bases, &waiting, core), core)
    }

    fn waiting(&self, job: &Job, one_more: Option<Receiver>) -> Vec<Receiver> {
        let streams = job.waiting.iter().filter_map(|stream| self.streams.get(stream));
        let receivers = streams.map(|stream| Receiver { peer: stream.from, referable: stream.request.referable });
        receivers.chain(one_more).collect()
    }

    fn undertaking_for(&self, job: &Job, receivers: Receivers, core: &Core) -> Undertaking {
        let queued = self.queue.iter().filter_map(|other| self.jobs.get(other)).filter(|other| !other.is_same(job));
        Undertaking {
            bytes: job.bytes,
            tar_bytes: job.tar_bytes,
            rate: receivers.rate,
            copies: receivers.copies,
            uplink: receivers.uplink,
            waiting: queued.count() as u64 / core.settings.encodes_max.max(1) as u64,
        }
    }

    /// The job that makes a smaller patch from the same bases than the cached one, if the receiver is done sooner with
    /// the smaller patch.
    pub(super) fn improvement(
        &self,
        cached: &CachedPatch,
        receiver: Receiver,
        card: &Card,
        usable: &Usable,
        core: &Core,
    ) -> Option<Job> {
        let is_full = self.queue.len() >= Settings::ENCODES_QUEUED_MAX;
        if core.settings.effort != EffortChoice::Auto || is_full {
            return None;
        }
        // A patch of another encoder has no effort here.
        let effort = cached.effort?;
        let made = self.cache.made(cached.target, &usable.bases);
        let is_of_these = cached.bases == usable.bases || made.is_some_and(|(patch, _)| patch == cached.patch);
        if !is_of_these {
            return None;
        }
        let tried = made.map_or(effort, |(_, tried)| effort.max(tried));
        let least = Effort::ALL.into_iter().find(|other| *other > tried)?;
        let job = Job { bytes: to_default(effort, cached.bytes), least, ..Job::new(card, usable) };
        // A job that does not pay for the most receivers there may be does not pay for those there are. To count those
        // takes a look at every peer.
        let most = self.uploads.link(&self.waiting(&job, Some(receiver)), core);
        let does_pay = self.does_pay(cached.bytes, effort, &job, self.undertaking_for(&job, most, core))
            && self.does_pay(cached.bytes, effort, &job, self.undertaking(&job, Some(receiver), core));
        does_pay.then_some(job)
    }

    /// Whether the last receiver of an undertaking is done noticeably sooner with the job's patch than with the patch
    /// of these bytes that is there.
    fn does_pay(&self, bytes: Bytes, effort: Effort, job: &Job, undertaking: Undertaking) -> bool {
        let best = EffortChoice::Auto.choose(&undertaking, self.pace, job.least);
        let now = undertaking.receiving(effort, bytes, self.pace);
        is_later(now, undertaking.until_done(best, self.pace))
    }

    /// Learns from an encode. A small layer shows the start-up time of an encoder rather than its pace.
    pub(super) fn learn_pace(&mut self, job: &Job, patch: &CachedPatch, took: Duration, effects: &mut Vec<Effect>) {
        let Some(effort) = job.running.filter(|_| job.tar_bytes >= Bytes::MIB) else { return };
        let (bytes, tar_bytes) = (to_default(effort, patch.bytes), job.tar_bytes);
        let undertaking =
            Undertaking { bytes, tar_bytes, rate: BytesPerSecond(1), copies: 1, uplink: None, waiting: 0 };
        self.pace.learn(&undertaking, effort, took);
        effects.push(Effect::KeepPace(self.pace));
    }
}

impl Job {
    pub fn new(card: &Card, usable: &Usable) -> Self {
        Self {
            target: card.diff_id,
            bases: usable.bases.clone(),
            tar_bytes: card.tar_bytes,
            bytes: usable.prediction.bytes,
            least: Effort::Fast,
            resumed: None,
            waiting: Vec::new(),
            running: None,
        }
    }

    /// Whether both make a patch of one target from the same bases.
    pub fn is_same(&self, other: &Self) -> bool {
        self.target == other.target && self.bases == other.bases
    }
}
