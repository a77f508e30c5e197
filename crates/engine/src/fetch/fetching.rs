//! A transfer under way: the peer, the reason for it, and its bytes.
//!
//! A transfer that brings next to nothing stalls, and is stopped (`check_stall`). One that brings less than the node
//! expects is late (`late`): the pace of its bytes is held against the link (`pace.rs`). Until the first byte, the time
//! is held against the work that the peer quoted.

use std::time::Duration;

use lighter_types::{Bytes, BytesPerSecond, Moment, PatchId, PeerId};

use super::pace::{Late, Watch};
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
    /// The bytes that were on disk when it began, and those of the whole patch.
    on_disk: Bytes,
    total: Bytes,
    /// The bytes of the patch that are here.
    here: Bytes,
    /// The rate of this node's uplink.
    uplink: BytesPerSecond,
    watch: Watch,
    /// The fetch is not held against its plan before this moment.
    pub look_at: Moment,
    /// A second source said that it has to make the patch too: the node waited for that once.
    pub was_patient: bool,
    /// The bytes that a peer that passes the patch on says it has of it, as far as its word counts.
    claimed: Bytes,
    /// Its word when the next frame was last seen to grow.
    checked_claim: Bytes,
    /// Its header and frames go to disk, so others can have them. A second source keeps them in memory at first.
    pub may_pass_on: bool,
    /// The rate that a race showed to be all that there is.
    pub expected_max: Option<BytesPerSecond>,
}

/// Whether the engine asked a fetch to stop, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    No,
    Stalled,
    /// Another source was faster.
    Slow,
    /// It was started beside another source, which was faster.
    Beaten,
    /// No pull wanted it any more.
    Abandoned,
}

impl Fetching {
    /// `uplink` is the rate of this node's uplink: a frame that is passed on comes over one like it.
    pub fn new(fetch: FetchId, plan: Plan, way: Way, on_disk: Bytes, (now, uplink): (Moment, BytesPerSecond)) -> Self {
        let window = match way {
            Way::Quoted => Settings::PACE_WINDOW,
            // Bytes come by whole frames, from relay to relay.
            Way::Named(_) => Settings::PACE_WINDOW + frame_max(plan.bytes).at(uplink) * Settings::RELAYS_ABOVE,
            // It says every few seconds how much came to it.
            Way::Neighbour => Settings::PACE_WINDOW * 3,
        };
        Self {
            fetch,
            on_disk,
            total: on_disk + plan.bytes,
            here: on_disk,
            uplink,
            watch: Watch::new(window, on_disk, now),
            look_at: now,
            was_patient: false,
            claimed: Bytes::ZERO,
            checked_claim: Bytes::ZERO,
            may_pass_on: true,
            expected_max: None,
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

    /// The peer that named this one.
    pub fn namer(&self) -> Option<PeerId> {
        if let Way::Named(named) = self.way { Some(named.by) } else { None }
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

    /// When the fetch is looked at if nothing happens. One that was asked to stop has no deadline: its end is on the
    /// way.
    pub fn deadline(&self, settings: &Settings) -> Option<Moment> {
        let stalls = self.stalls(settings);
        let grows_by = if self.has_grown() { self.watch.window_ends() } else { self.silent_at() };
        let grows_by = if self.has_bytes { grows_by } else { grows_by.min(self.silent_at()) };
        let look = together(self.look_at.max(grows_by));
        (self.stop == Stop::No).then(|| if self.is_whole { stalls } else { stalls.min(look) })
    }

    /// When the fetch stalls if nothing comes.
    pub fn stalls(&self, settings: &Settings) -> Moment {
        self.checked + self.timeout(settings)
    }

    /// Whether the fetch is late, for a link of which `expected` is expected.
    pub fn late(&mut self, now: Moment, expected: BytesPerSecond) -> Option<Late> {
        self.watch.roll(now);
        if self.stop != Stop::No || self.is_whole || now < self.look_at {
            return None;
        }
        if self.is_silent(now) {
            return Some(Late::Silent);
        }
        if !self.has_grown() {
            return None;
        }
        let expected = self.expected_max.map_or(expected, |max| max.min(expected));
        self.watch.late(self.total, expected, self.slack())
    }

    /// Whether nothing came in the time that the first byte may take.
    pub fn is_silent(&self, now: Moment) -> bool {
        !self.has_bytes && self.silent_at() <= now
    }

    /// A peer that passes a patch on gets it over its own uplink, and others get it too.
    fn slack(&self) -> u32 {
        match self.way {
            Way::Quoted => Settings::PACE_SLACK,
            Way::Named(_) | Way::Neighbour => Settings::PACE_SLACK_FOLLOWED,
        }
    }

    /// Whether anything came since the fetch began, here or to the neighbour by its own word.
    fn has_grown(&self) -> bool {
        self.has_bytes || matches!(self.way, Way::Neighbour) && self.claimed > Bytes::ZERO
    }

    /// When the first byte is late.
    pub fn silent_at(&self) -> Moment {
        self.started + self.silent_max()
    }

    /// How long the first byte may take.
    fn silent_max(&self) -> Duration {
        let working = self.plan.wait.min(Settings::WORKING_MAX) * Settings::PACE_SLACK;
        match self.way {
            Way::Quoted => Settings::SILENT_MAX + working,
            Way::Named(_) => Settings::SILENT_MAX + working + self.watch.window(),
            Way::Neighbour if self.claimed > Bytes::ZERO => Settings::NEIGHBOUR_SILENT_MAX + self.first_frame_max(),
            Way::Neighbour => Settings::NEIGHBOUR_SILENT_MAX,
        }
    }

    /// How long the first frame may take to a neighbour that says that it grows: others may share the uplink. A patch
    /// may be several times as large as it was predicted to be.
    fn first_frame_max(&self) -> Duration {
        frame_max(self.total.min(self.plan.bytes.times(4))).at(self.uplink) * Settings::RELAYS_ABOVE
    }

    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// The bytes of the whole patch, as far as is known.
    pub fn total(&self) -> Bytes {
        self.total
    }

    /// The bytes that are still to come.
    pub fn rest(&self) -> Bytes {
        self.total - self.here
    }

    /// The bytes that came by this fetch.
    pub fn received(&self) -> Bytes {
        if self.has_bytes { self.here - self.on_disk } else { Bytes::ZERO }
    }

    fn timeout(&self, settings: &Settings) -> Duration {
        if self.is_whole { Settings::WORKING_MAX } else { settings.stall_timeout }
    }

    /// The provider still makes the patch, or waits for it as this node does, and has so much of it. `total` is known
    /// once the header is here.
    pub fn working(&mut self, done: Bytes, total: Option<Bytes>, now: Moment) {
        self.total = total.unwrap_or(self.total);
        if !matches!(self.way, Way::Quoted) {
            self.claims(done, now);
        }
        if !self.has_bytes && now.since(self.started) < Settings::WORKING_MAX {
            self.checked = now;
        }
    }

    /// So much of a patch that is passed on came to the peer. It passes on whole frames: its word counts for the next of
    /// them, and no further.
    fn claims(&mut self, bytes: Bytes, now: Moment) {
        let frame = frame_max(self.total);
        let from = if self.has_bytes { self.here } else { Bytes::ZERO };
        self.claimed = self.claimed.max(bytes.min(from + frame));
        if matches!(self.way, Way::Neighbour) {
            let there = if self.has_bytes { self.here.max(self.claimed) } else { self.on_disk + self.claimed };
            self.watch.reached(there, now);
        }
        // Over a thin uplink a frame takes longer than a fetch may bring nothing.
        if self.has_bytes && self.claimed >= from.max(self.checked_claim) + Bytes(frame.0 / 16) {
            self.checked = now;
            self.checked_claim = self.claimed;
        }
    }

    /// `bytes` of `total` are here. Fewer than before mean that another patch began.
    pub fn progress(&mut self, bytes: Bytes, total: Bytes, now: Moment) {
        self.is_whole = bytes >= total;
        self.total = total;
        let is_first = !std::mem::replace(&mut self.has_bytes, true);
        if is_first {
            // The time before the first byte is not that of the link. Another patch than that on disk begins at 0.
            self.on_disk = self.on_disk.min(bytes);
            self.watch = Watch::new(self.watch.window(), self.on_disk, now);
        }
        if is_first || bytes < self.here {
            (self.claimed, self.checked_claim) = (Bytes::ZERO, Bytes::ZERO);
        }
        self.here = bytes;
        self.watch.reached(bytes.max(self.claimed), now);
        if bytes < self.checked_bytes || bytes - self.checked_bytes >= Bytes(Settings::STALL_BYTES) {
            self.checked = now;
            self.checked_bytes = bytes;
        }
    }
}

/// The next moment at which all fetches are looked at: a node does not wake up for each of them.
fn together(at: Moment) -> Moment {
    let every_ms = Settings::PACE_WINDOW.as_millis() as u64;
    Moment(at.0.next_multiple_of(every_ms))
}

/// The most bytes of a frame that is passed on: frames are a fourth of the patch, within bounds (docs/PATCH.md).
fn frame_max(patch: Bytes) -> Bytes {
    Bytes(patch.0 / 4).clamp(Bytes::KIB.times(64), Bytes::MIB)
}
