//! The second source of a layer, beside the one that is late.

use lighter_types::{Bytes, BytesPerSecond, Moment, PatchId};

use super::fetching::{Fetching, Stop};
use super::pace::{Late, rate_over};
use crate::event::{AskId, Part};
use crate::planner::Plan;
use crate::settings::Settings;

/// The second source of a layer.
#[derive(Debug)]
pub enum Second {
    /// It is asked for a quote, since the first is late.
    Asked {
        ask: AskId,
        plan: Box<Plan>,
        late: Late,
    },
    Racing(Box<Rival>),
}

/// A fetch beside the first one.
#[derive(Debug)]
pub struct Rival {
    pub fetching: Fetching,
    /// The bytes that it may bring before the race is decided.
    pub bytes_max: Bytes,
    /// When its first bytes came, and the bytes that both had then: of the first fetch and of this one.
    pub start: Option<(Moment, Bytes, Bytes)>,
    /// The patch that it brings, once bytes of it came.
    pub patch: Option<PatchId>,
}

impl Rival {
    /// When the race is looked at if nothing happens.
    pub fn deadline(&self, settings: &Settings) -> Option<Moment> {
        let decided = self.start.map_or(self.fetching.silent_at(), |(began, ..)| began + Settings::RACE_TIME);
        (self.fetching.stop == Stop::No).then(|| decided.min(self.fetching.stalls(settings)))
    }

    /// Whether it wins, and the paces of the first fetch and of this one; `None` while it is too soon to say.
    pub fn decide(&self, first: &Fetching, now: Moment) -> Option<(bool, [BytesPerSecond; 2])> {
        let (began, first_bytes, bytes) = self.start?;
        let time = now.since(began);
        let is_whole = self.fetching.is_whole();
        if !is_whole && self.fetching.received() < self.bytes_max && time < Settings::RACE_TIME {
            return None;
        }
        // Bytes that came before the first news of it are left out, unless there are no others.
        let came = self.fetching.watch().bytes() - bytes;
        let came = if came == Bytes::ZERO { self.fetching.received() } else { came };
        let time = time.max(Settings::PACE_WINDOW / 10);
        let pace = rate_over(came, time);
        let of_first =
            rate_over(first.watch().bytes() - first_bytes, time).max(first.watch().pace().unwrap_or_default());
        let wins = is_whole || self.fetching.rest().at(pace).saturating_mul(2) < first.rest().at(of_first);
        Some((wins, [of_first, pace]))
    }

    /// This part of a patch is here, and `first` bytes of the first fetch.
    pub fn progress(&mut self, part: Part, first: Bytes, now: Moment) {
        self.fetching.progress(part.bytes, part.bytes_total, now);
        self.start.get_or_insert((now, first, part.bytes));
        self.patch = Some(part.patch);
    }
}
