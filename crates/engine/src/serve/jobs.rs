//! Patches to be made: at which effort, for whom, and how long it takes.

use std::time::Duration;

use lighter_types::{Bytes, BytesPerSecond, Card, DiffId, Effort, PeerId};
use lighter_wire::Referable;

use super::uploads::Receivers;
use super::usable::Usable;
use super::{Serve, StreamId};
use crate::effort::{EffortChoice, Undertaking, is_later, to_default};
use crate::event::{CachedPatch, Effect, Prospect};
use crate::planner::View;
use crate::settings::Settings;

#[derive(Debug)]
pub struct Job {
    pub target: DiffId,
    pub bases: Vec<DiffId>,
    pub tar_bytes: Bytes,
    /// Of the patch, as it would be at the default effort.
    pub bytes: Bytes,
    /// Below it, there is a patch already.
    pub least: Effort,
    /// Of a patch that somebody has a part of.
    pub resumed: Option<Effort>,
    pub waiting: Vec<StreamId>,
    /// Set when it begins.
    pub running: Option<Effort>,
}

impl Serve {
    /// What a patch of a held layer would cost somebody who holds `bases`; `None` if the layer is not held.
    pub fn prospect(&self, target: DiffId, bases: &[DiffId], view: View<'_>) -> Option<Prospect> {
        let card = view.own.card(target)?;
        let job = Job::new(card, &Usable::new(card, bases, view.own));
        let known = self.of(target, &job.bases).and_then(|patch| Some(to_default(patch.effort?, patch.bytes)));
        let bytes = known.unwrap_or(job.bytes);
        let undertaking = Undertaking { bytes, ..self.undertaking(&job, None, view) };
        let encode = undertaking.encoding(Effort::Default, self.pace);
        let apply = undertaking.applying(Effort::Default, self.pace);
        Some(Prospect { bases: job.bases, bytes, is_known: known.is_some(), encode, apply })
    }

    /// The effort that a job runs at, or would if it began now. What somebody has a part of is made again as it was.
    pub(super) fn effort(&self, job: &Job, view: View<'_>) -> Effort {
        let choice = view.settings.effort;
        let resumed = job.resumed.filter(|effort| choice == EffortChoice::Auto && *effort >= job.least);
        let choose = || choice.choose(&self.undertaking(job, None, view), self.pace, job.least);
        job.running.or(resumed).unwrap_or_else(choose)
    }

    pub(super) fn encoding(&self, job: &Job, view: View<'_>) -> Duration {
        self.undertaking(job, None, view).encoding(self.effort(job, view), self.pace)
    }

    /// A job for all who wait for it, and `for_one` more.
    pub(super) fn undertaking(
        &self,
        job: &Job,
        for_one: Option<(PeerId, Option<Referable>)>,
        view: View<'_>,
    ) -> Undertaking {
        let waiting = self.waiting(job, for_one);
        self.undertaking_for(job, self.uploads.receivers(job.target, &job.bases, &waiting, view), view)
    }

    fn waiting(&self, job: &Job, for_one: Option<(PeerId, Option<Referable>)>) -> Vec<(PeerId, Option<Referable>)> {
        let streams = job.waiting.iter().filter_map(|stream| self.streams.get(stream));
        streams.map(|stream| (stream.from, stream.request.referable)).chain(for_one).collect()
    }

    fn undertaking_for(&self, job: &Job, receivers: Receivers, view: View<'_>) -> Undertaking {
        let queued = self.queue.iter().filter_map(|other| self.jobs.get(other)).filter(|other| !other.is_same(job));
        Undertaking {
            bytes: job.bytes,
            tar_bytes: job.tar_bytes,
            rate: receivers.rate,
            copies: receivers.copies,
            uplink: receivers.uplink,
            waiting: queued.count() as u64 / view.settings.encodes_max.max(1) as u64,
        }
    }

    /// The job that makes a smaller patch from the same bases than the cached one, if a peer is done sooner with it than
    /// with what is there.
    pub(super) fn improvement(
        &self,
        cached: &CachedPatch,
        from: (PeerId, Option<Referable>),
        card: &Card,
        usable: &Usable,
        view: View<'_>,
    ) -> Option<Job> {
        let (effort, is_full) = (cached.effort?, self.queue.len() >= Settings::ENCODES_QUEUED_MAX);
        let made = self.made.get(&(cached.target, usable.bases.clone()));
        let is_of_these = cached.bases == usable.bases || made.is_some_and(|(patch, _)| *patch == cached.patch);
        if view.settings.effort != EffortChoice::Auto || !is_of_these || is_full {
            return None;
        }
        let tried = made.map_or(effort, |(_, tried)| effort.max(*tried));
        let least = Effort::ALL.into_iter().find(|other| *other > tried)?;
        let job = Job { bytes: to_default(effort, cached.bytes), least, ..Job::new(card, usable) };
        let pays = |undertaking: Undertaking| {
            let best = EffortChoice::Auto.choose(&undertaking, self.pace, least);
            let now = undertaking.receiving(effort, cached.bytes, self.pace);
            is_later(now, undertaking.until_done(best, self.pace))
        };
        // What does not pay for all whom it might be for, pays for nobody; counting them takes a look at every peer.
        let most = self.uploads.link(&self.waiting(&job, Some(from)), view);
        let does_pay = pays(self.undertaking_for(&job, most, view)) && pays(self.undertaking(&job, Some(from), view));
        does_pay.then_some(job)
    }

    /// Small layers tell more of what it takes to start an encoder than of its pace.
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
