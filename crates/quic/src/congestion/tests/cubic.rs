//! TCP's Cubic (RFC 9438) as a rival on the link: slow start, one reduction a round trip, no pacing.

use std::time::{Duration, Instant};

use super::link::PACKET;

const C: f64 = 0.4;
const BETA: f64 = 0.7;

pub struct Cubic {
    /// In packets.
    window: f64,
    threshold: f64,
    window_max: f64,
    epoch: Option<Instant>,
    reduced_at: Instant,
}

impl Cubic {
    pub fn new(now: Instant) -> Self {
        Self { window: 10.0, threshold: f64::MAX, window_max: 0.0, epoch: None, reduced_at: now }
    }

    pub fn window(&self) -> u64 {
        (self.window * PACKET as f64) as u64
    }

    pub fn acknowledged(&mut self, now: Instant, round_trip: Duration) {
        if self.window < self.threshold {
            self.window += 1.0;
            return;
        }
        let epoch = *self.epoch.get_or_insert(now);
        let t = (now - epoch + round_trip).as_secs_f64();
        let k = (self.window_max * (1.0 - BETA) / C).cbrt();
        let cubic = C * (t - k).powi(3) + self.window_max;
        let reno = self.window_max * BETA + 3.0 * (1.0 - BETA) / (1.0 + BETA) * t / round_trip.as_secs_f64();
        let target = cubic.max(reno).clamp(self.window, self.window * 1.5);
        self.window += (target - self.window) / self.window;
    }

    pub fn lost(&mut self, now: Instant, sent: Instant) {
        if sent <= self.reduced_at {
            return;
        }
        self.reduced_at = now;
        self.window_max = self.window;
        self.window = (self.window * BETA).max(2.0);
        self.threshold = self.window;
        self.epoch = None;
    }
}
