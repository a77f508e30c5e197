//! A transfer under way.

use std::time::Duration;

use lighter_types::{Bytes, BytesPerSecond, Moment, PatchId, PeerId};

use crate::core::Step;
use crate::event::{Effect, FetchFailure, FetchId};
use crate::planner::Plan;
use crate::settings::Settings;

/// A patch that another peer than its sender named: that peer answers for what comes of it.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    pub by: PeerId,
    pub patch: PatchId,
    pub settings: u32,
}

/// Why this peer is fetched from.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    /// Its quote was the best.
    Quoted,
    /// Another peer named it.
    Named(Named),
    /// It is behind the same uplink, and the layer comes through it.
    Neighbour,
}

#[derive(Debug)]
pub struct Fetching {
    pub fetch: FetchId,
    pub plan: Plan,
    pub way: Way,
    pub stop: Stop,
    pub started: Moment,
    /// When the first bytes came, and how many were there before.
    pub first_bytes: Option<(Moment, Bytes)>,
    /// Since when less than [`Settings::STALL_BYTES`] came.
    pub checked: Moment,
    /// What was there then.
    pub checked_bytes: Bytes,
    pub bytes: Bytes,
    /// All has come: what is left is work of this machine.
    is_whole: bool,
    /// Whether it brought more than there ever was.
    pub moved: bool,
}

/// Whether a fetch was told to stop, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    No,
    Stalled,
    /// Nobody wanted it any more.
    Abandoned,
}

impl Fetching {
    pub fn new(fetch: FetchId, plan: Plan, way: Way, on_disk: Bytes, now: Moment) -> Self {
        Self {
            fetch,
            plan,
            way,
            stop: Stop::No,
            started: now,
            first_bytes: None,
            checked: now,
            checked_bytes: on_disk,
            bytes: on_disk,
            is_whole: false,
            moved: false,
        }
    }

    /// Who answers for wrong bytes. Of a result: who named the patch, since who passed it on could not know; nobody, if a
    /// neighbour passed on what somebody else had named.
    pub fn liar(&self, failure: &FetchFailure) -> Option<PeerId> {
        match (self.way, failure) {
            (Way::Named(named), FetchFailure::WrongResult { patch, .. }) if *patch == named.patch => Some(named.by),
            (Way::Neighbour, FetchFailure::WrongResult { .. }) => None,
            _ => Some(self.plan.peer),
        }
    }

    pub fn check_stall(&mut self, step: &mut Step<'_>) {
        if step.now.since(self.checked) >= self.timeout(&step.core.settings) {
            self.stop(Stop::Stalled, step.effects);
        }
    }

    pub fn stop(&mut self, why: Stop, effects: &mut Vec<Effect>) {
        if self.stop == Stop::No {
            self.stop = why;
            effects.push(Effect::StopFetch(self.fetch));
        }
    }

    /// A fetch that was told to stop has no deadline: its end is on the way.
    pub fn deadline(&self, settings: &Settings) -> Option<Moment> {
        (self.stop == Stop::No).then(|| self.checked + self.timeout(settings))
    }

    fn timeout(&self, settings: &Settings) -> Duration {
        if self.is_whole { Settings::WORKING_MAX } else { settings.stall_timeout }
    }

    pub fn working(&mut self, now: Moment) {
        if now.since(self.started) < Settings::WORKING_MAX {
            self.checked = now;
        }
    }

    /// So much of `total` is there. Less than before is the beginning of another patch.
    pub fn progress(&mut self, bytes: Bytes, total: Bytes, now: Moment) {
        self.is_whole = bytes >= total;
        self.first_bytes.get_or_insert((now, bytes));
        if bytes < self.checked_bytes || bytes - self.checked_bytes >= Bytes(Settings::STALL_BYTES) {
            self.checked = now;
            self.checked_bytes = bytes;
        }
        self.bytes = bytes;
    }

    /// Transfers too short to tell a rate by teach nothing; nor does what is passed on, which comes no faster than it
    /// comes there.
    pub fn learn_rate(&self, step: &mut Step<'_>) {
        let Some((since, before)) = self.first_bytes.filter(|_| matches!(self.way, Way::Quoted)) else { return };
        let took = step.now.since(since);
        let received = self.bytes - before;
        if took >= Duration::from_secs(1) && received > Bytes::KIB.times(64) {
            let rate = u128::from(received.0) * 1000 / took.as_millis();
            step.core.directory.measured(self.plan.peer, BytesPerSecond(u64::try_from(rate).unwrap_or(u64::MAX)));
        }
    }
}
