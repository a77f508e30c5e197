//! A transfer under way.

use std::time::Duration;

use lighter_types::{Bytes, Moment, PatchId, PeerId};

use crate::core::Step;
use crate::event::{Effect, FetchId};
use crate::planner::Plan;
use crate::settings::Settings;

/// A patch that another peer than its sender named: the namer answers for the result.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    pub by: PeerId,
    pub patch: PatchId,
    pub settings: u32,
}

/// Why the node fetches from this peer.
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
    /// Whether bytes came.
    pub has_bytes: bool,
    /// The moment since which less than [`Settings::STALL_BYTES`] came.
    checked: Moment,
    /// The bytes that were there at that moment.
    checked_bytes: Bytes,
    /// The whole patch is here: the rest is work of this machine.
    is_whole: bool,
}

/// Whether the engine asked a fetch to stop, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    No,
    Stalled,
    /// No pull wanted it any more.
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
            has_bytes: false,
            checked: now,
            checked_bytes: on_disk,
            is_whole: false,
        }
    }

    /// The peer that answers for the result of a patch: the peer that named the patch, since a peer that passes it on
    /// cannot know. Nobody answers for a patch that came through a neighbour, since another peer named it.
    pub fn answers_for(&self, patch: PatchId) -> Option<PeerId> {
        match self.way {
            Way::Named(named) if patch == named.patch => Some(named.by),
            Way::Named(_) | Way::Quoted => Some(self.plan.peer),
            Way::Neighbour => None,
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

    /// A fetch that was asked to stop has no deadline: its end is on the way.
    pub fn deadline(&self, settings: &Settings) -> Option<Moment> {
        (self.stop == Stop::No).then(|| self.checked + self.timeout(settings))
    }

    fn timeout(&self, settings: &Settings) -> Duration {
        if self.is_whole { Settings::WORKING_MAX } else { settings.stall_timeout }
    }

    /// The provider is still making the patch.
    pub fn working(&mut self, now: Moment) {
        if now.since(self.started) < Settings::WORKING_MAX {
            self.checked = now;
        }
    }

    /// `bytes` of `total` are here. Fewer than before mean that another patch began.
    pub fn progress(&mut self, bytes: Bytes, total: Bytes, now: Moment) {
        self.is_whole = bytes >= total;
        self.has_bytes = true;
        if bytes < self.checked_bytes || bytes - self.checked_bytes >= Bytes(Settings::STALL_BYTES) {
            self.checked = now;
            self.checked_bytes = bytes;
        }
    }
}
