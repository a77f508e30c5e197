//! Patches to be made: the effort of each, and the time that it takes.

use std::time::Duration;

use lighter_types::{Bytes, Card, DiffId, Effort, PeerId};

use super::uploads::{Receiver, Receivers};
use super::usable::Usable;
use super::{Serve, StreamId};
use crate::core::Core;
use crate::effort::{self, Content, EffortChoice, Undertaking, to_default};
use crate::event::{CachedPatch, Effect, Prospect, Work};
use crate::work;

#[derive(Debug)]
pub struct Job {
    pub target: DiffId,
    pub bases: Vec<DiffId>,
    pub content: Content,
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
    /// Nobody waits for the encode under way any more, and it is to end. A peer that comes now waits for another one.
    pub is_stopped: bool,
    /// The peers that pay for the encode under way, and the time that it is expected to take.
    pub charged: (Vec<PeerId>, Duration),
}

impl Serve {
    /// The cost of a patch of a held layer for a peer that holds `bases`; `None` if the layer is not held.
    pub fn prospect(&self, target: DiffId, bases: &[DiffId], core: &Core) -> Option<Prospect> {
        let card = core.holdings.card(target)?;
        let job = Job::new(card, &Usable::new(card, bases, &core.holdings));
        let cached = self.cache.smallest_from(target, &job.bases);
        let known =
            cached.and_then(|patch| Some(to_default(Content::of(card, &patch.bases), patch.effort?, patch.bytes)));
        let bytes = known.unwrap_or(job.bytes);
        let undertaking = Undertaking { bytes, ..self.undertaking(&job, None, core) };
        let encode = undertaking.encoding(Effort::Default, self.pace);
        let apply = core.applying.of(undertaking.applying(Effort::Default));
        Some(Prospect { bases: job.bases, bytes, is_known: known.is_some(), encode, apply })
    }

    /// The effort that a job runs at, or would run at if it began now and `one_more` waited for it too. A patch of
    /// which a requester has a part is made once more at the effort that it had.
    pub(super) fn effort(&self, job: &Job, one_more: Option<Receiver>, core: &Core) -> Effort {
        self.effort_by(job, || self.undertaking(job, one_more, core), core)
    }

    fn effort_by(&self, job: &Job, undertaking: impl FnOnce() -> Undertaking, core: &Core) -> Effort {
        let choice = core.settings.effort;
        let resumed = job.resumed.filter(|effort| choice == EffortChoice::Auto && *effort >= job.least);
        match job.running.or(resumed) {
            Some(effort) => effort,
            None => undertaking().best(choice.from(job.content(), job.least), self.pace),
        }
    }

    /// The time that a job takes which runs or is in the queue.
    pub(super) fn encoding_of(&self, job: &Job, core: &Core) -> Duration {
        let receivers = self.uploads.receivers(job.target, &job.bases, &self.waiting(job, None), core);
        // A job that does not run is in the queue: nobody has to look for it there.
        let queued = self.queue.len().saturating_sub(usize::from(job.running.is_none()));
        let undertaking = undertaking_of(job, receivers, queued, core);
        undertaking.encoding(self.effort_by(job, || undertaking, core), self.pace)
    }

    /// A job for all peers that wait for it, and for `one_more`.
    pub(super) fn undertaking(&self, job: &Job, one_more: Option<Receiver>, core: &Core) -> Undertaking {
        let waiting = self.waiting(job, one_more);
        self.undertaking_for(job, self.uploads.receivers(job.target, &job.bases, &waiting, core), core)
    }

    pub(super) fn waiting(&self, job: &Job, one_more: Option<Receiver>) -> Vec<Receiver> {
        let streams = work::counting(job.waiting.iter()).filter_map(|stream| self.streams.get(stream));
        let receivers = streams.map(|stream| Receiver::new(stream.from, &stream.request));
        receivers.chain(one_more).collect()
    }

    pub(super) fn undertaking_for(&self, job: &Job, receivers: Receivers, core: &Core) -> Undertaking {
        let queued = work::counting(self.queue.iter()).filter_map(|other| self.jobs.get(other));
        undertaking_of(job, receivers, queued.filter(|other| !other.is_same(job)).count(), core)
    }

    /// Learns from an encode. A small layer shows the start-up time of an encoder rather than its pace.
    pub(super) fn learn_pace(&mut self, job: &Job, patch: &CachedPatch, took: Duration, effects: &mut Vec<Effect>) {
        let Some(effort) = job.running.filter(|_| job.tar_bytes >= Bytes::MIB) else { return };
        let content = job.content();
        let bytes = to_default(content, effort, patch.bytes);
        self.pace.learn(effort::encoding(bytes, content, job.tar_bytes, effort), took);
        effects.push(Effect::KeepPace(Work::Encode, self.pace));
    }
}

/// A job for these receivers, while `queued` other jobs wait.
fn undertaking_of(job: &Job, receivers: Receivers, queued: usize, core: &Core) -> Undertaking {
    Undertaking {
        bytes: job.bytes,
        content: job.content(),
        tar_bytes: job.tar_bytes,
        rate: receivers.rate,
        copies: receivers.copies,
        slowest: receivers.slowest,
        waiting: queued as u64 / core.settings.encodes_max.max(1) as u64,
        terms: receivers.terms,
    }
}

impl Job {
    pub fn new(card: &Card, usable: &Usable) -> Self {
        Self {
            target: card.diff_id,
            bases: usable.bases.clone(),
            content: Content::of(card, &usable.bases),
            tar_bytes: card.tar_bytes,
            bytes: usable.prediction.bytes,
            least: Effort::Plain,
            resumed: None,
            waiting: Vec::new(),
            running: None,
            is_stopped: false,
            charged: (Vec::new(), Duration::ZERO),
        }
    }

    pub fn content(&self) -> Content {
        self.content
    }

    /// Whether both make a patch of one target from the same bases.
    pub fn is_same(&self, other: &Self) -> bool {
        self.target == other.target && self.bases == other.bases
    }
}
