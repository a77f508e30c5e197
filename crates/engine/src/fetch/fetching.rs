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
    /// The rate of this node's uplink.
    uplink: BytesPerSecond,
    /// The bytes of a frame that is passed on, as this node predicts them, or as another peer quotes them.
    frame: Bytes,
    watch: Watch,
    /// The fetch is not held against its plan before this moment.
    pub look_at: Moment,
    /// A second source said that it has to make the patch too: the node waited for that once.
    pub was_patient: bool,
    /// The peer says that something of the patch came to it, or to one of those before it.
    has_word: bool,
    /// The first word of a peer that passes the patch on, since bytes last came here.
    first_word: Option<Bytes>,
    /// Its last word that counted.
    word: Bytes,
    /// When a word last counted, or when the fetch began.
    grew_at: Moment,
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
        let mut fetching = Self {
            fetch,
            on_disk,
            total: on_disk + plan.bytes,
            uplink,
            frame: frame_max(plan.bytes),
            watch: Watch::new(Settings::PACE_WINDOW, on_disk, now),
            look_at: now,
            was_patient: false,
            has_word: false,
            first_word: None,
            word: Bytes::ZERO,
            grew_at: now,
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
        };
        fetching.watch = Watch::new(fetching.window(), on_disk, now);
        fetching
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
        let grows_by = if self.has_bytes { self.watch.window_ends() } else { self.silent_at() };
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
        if !self.has_bytes {
            return self.is_silent(now).then_some(Late::Silent);
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

    /// When the first byte is late. A peer that passes the patch on has the time of its frames, and more while the
    /// patch grows where it comes from: a relay as long again, a neighbour half of it.
    pub fn silent_at(&self) -> Moment {
        let working = self.plan.wait.min(Settings::WORKING_MAX) * Settings::PACE_SLACK;
        let (quiet, window) = match self.way {
            Way::Quoted => (Settings::SILENT_MAX + working, Duration::ZERO),
            Way::Named(_) => (Settings::SILENT_MAX + working, self.window()),
            Way::Neighbour if self.has_word => (Settings::NEIGHBOUR_SILENT_MAX, self.window()),
            Way::Neighbour => (Settings::NEIGHBOUR_SILENT_MAX, Duration::ZERO),
        };
        let latest = self.started + quiet + window;
        let more = if matches!(self.way, Way::Neighbour) { window / 2 } else { window };
        latest.max((self.grew_at + quiet).min(latest + more))
    }

    /// The time over which the pace is looked at. A patch that is passed on comes by whole frames, from relay to relay,
    /// and each relay has an uplink like this node's.
    fn window(&self) -> Duration {
        match self.way {
            Way::Quoted => Settings::PACE_WINDOW,
            Way::Named(_) | Way::Neighbour => {
                self.frame.at(self.uplink).saturating_mul(Settings::RELAYS_ABOVE).saturating_add(Settings::PACE_WINDOW)
            }
        }
    }

    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Another peer quotes so many bytes for a patch that is passed on. If its frames are twice as large as predicted,
    /// or more, the time for them begins anew, and is longer: four times at most, since frames have a bound. Whether it
    /// did.
    pub fn begin_anew_if_larger(&mut self, quoted: Bytes, now: Moment) -> bool {
        let frame = frame_max(quoted);
        let is_larger = !matches!(self.way, Way::Quoted) && frame >= self.frame.times(2);
        if is_larger {
            self.frame = frame;
            self.watch = Watch::new(self.window(), self.watch.bytes(), now);
        }
        is_larger
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
        self.total - self.watch.bytes()
    }

    /// The bytes that came by this fetch.
    pub fn received(&self) -> Bytes {
        if self.has_bytes { self.watch.bytes() - self.on_disk } else { Bytes::ZERO }
    }

    fn timeout(&self, settings: &Settings) -> Duration {
        if self.is_whole { Settings::WORKING_MAX } else { settings.stall_timeout }
    }

    /// The provider still makes the patch, or waits for it as this node does. `done` grows with each byte that comes to
    /// it or to one of those before it. `total` is the patch's size, once its header is here.
    pub fn working(&mut self, done: Bytes, total: Option<Bytes>, now: Moment) {
        self.total = total.unwrap_or(self.total);
        if !matches!(self.way, Way::Quoted) {
            self.heard(done, now);
        }
        if !self.has_bytes && now.since(self.started) < Settings::WORKING_MAX {
            self.checked = now;
        }
    }

    /// A peer passes on whole frames, and over a thin uplink a frame takes longer than a fetch may bring nothing. So
    /// its word counts for the frames on their way to it, and no further: one for each relay. A part of a frame is the
    /// least that counts.
    fn heard(&mut self, done: Bytes, now: Moment) {
        self.has_word |= done > Bytes::ZERO;
        let frame = frame_max(self.total);
        if self.first_word.is_none() {
            // A peer that began anew counts from 0.
            self.word = self.word.min(done);
        }
        let first = *self.first_word.get_or_insert(done);
        let done = done.min(first + frame.times(Settings::RELAYS_ABOVE.into()));
        if done >= self.word + Bytes(frame.0 / Settings::WORDS_OF_A_FRAME) {
            self.word = done;
            (self.checked, self.grew_at) = (now, now);
        }
    }

    /// `bytes` of `total` are here. Fewer than before mean that another patch began.
    pub fn progress(&mut self, bytes: Bytes, total: Bytes, now: Moment) {
        self.is_whole = bytes >= total;
        self.total = total;
        if !std::mem::replace(&mut self.has_bytes, true) {
            // The time before the first byte is not that of the link. Another patch than that on disk begins at 0.
            self.on_disk = self.on_disk.min(bytes);
            self.watch = Watch::new(self.window(), self.on_disk, now);
        }
        self.watch.reached(bytes, now);
        if bytes < self.checked_bytes || bytes - self.checked_bytes >= Bytes(Settings::STALL_BYTES) {
            self.checked = now;
            self.checked_bytes = bytes;
            self.first_word = None;
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
