//! When this node announces its holdings: soon after they change, and as a heartbeat.

use std::time::Duration;

use lighter_types::Moment;

use crate::core::Step;
use crate::event::Effect;
use crate::settings::Settings;

/// The timer of announcements.
#[derive(Debug)]
pub struct Announcer {
    /// Absent before the first step.
    at: Option<Moment>,
    announced: u64,
    /// The state of the jitter's generator; never zero.
    jitter: u64,
}

impl Announcer {
    pub fn new(seed: u64) -> Self {
        Self { at: None, announced: 0, jitter: seed | 1 }
    }

    pub fn next_deadline(&self) -> Option<Moment> {
        self.at
    }

    /// The holdings changed: announces them once [`Settings::GATHER`] is over.
    pub fn announce_soon(&mut self, now: Moment) {
        let soon = now + Settings::GATHER;
        self.at = Some(self.at.map_or(soon, |at| at.min(soon)));
    }

    /// Announces if it is time to, and forgets what is over: silent peers and cut-offs.
    pub fn advance(&mut self, step: &mut Step<'_>) {
        // At its start the caller names the layers on disk one by one. They go into one announcement.
        if step.now < *self.at.get_or_insert(step.now + Settings::GATHER) {
            return;
        }
        let full = self.announced.is_multiple_of(Settings::FULL_EVERY);
        self.announced += 1;
        let settings = &step.core.settings;
        step.effects.push(Effect::Announce(step.core.holdings.announcement(settings, full)));
        let interval = settings.announce_interval;
        self.at = Some(step.now + self.jittered(interval));
        let silence = u64::try_from((interval * Settings::SILENT_INTERVALS).as_millis()).unwrap_or(u64::MAX);
        step.core.directory.forget_silent(Moment(step.now.0.saturating_sub(silence)));
        step.core.cut_offs.forget_ended(step.now);
    }

    /// Up to a tenth less than the interval, so that nodes that started together do not announce together for ever.
    fn jittered(&mut self, interval: Duration) -> Duration {
        let tenth = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX) / 10;
        interval - Duration::from_millis(self.random() % tenth.max(1))
    }

    /// xorshift64 (Marsaglia 2003): jitter needs no better generator.
    fn random(&mut self) -> u64 {
        self.jitter ^= self.jitter << 13;
        self.jitter ^= self.jitter >> 7;
        self.jitter ^= self.jitter << 17;
        self.jitter
    }
}
