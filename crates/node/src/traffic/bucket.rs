//! A token bucket that many streams draw from and whose rate can change at any time.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lighter_types::BytesPerSecond;

/// A bucket holds what flows in this time: short enough that a burst does not fill a modem's queue.
const BURST: Duration = Duration::from_millis(100);
/// And at least one packet, so that any rate makes progress.
const BURST_BYTES_MIN: f64 = 1500.0;

/// Tokens, one for a byte.
#[derive(Debug)]
pub struct Bucket {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rate: Option<BytesPerSecond>,
    /// Below zero when more was taken than was there, as by a read whose size is known only after it.
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    /// `None` is no cap.
    pub fn new(rate: Option<BytesPerSecond>) -> Self {
        Self { state: Mutex::new(State { rate, tokens: 0.0, filled: Instant::now() }) }
    }

    pub fn rate(&self) -> Option<BytesPerSecond> {
        self.state().rate
    }

    pub fn set_rate(&self, rate: Option<BytesPerSecond>) {
        let mut state = self.state();
        state.fill(Instant::now());
        state.rate = rate;
    }

    /// Bytes that may go now, at most `wanted`, at least 1.
    ///
    /// # Errors
    /// The time to wait before asking again.
    pub fn available(&self, wanted: usize, now: Instant) -> Result<usize, Duration> {
        let mut state = self.state();
        let Some(rate) = state.rate else { return Ok(wanted) };
        state.fill(now);
        if state.tokens >= 1.0 {
            return Ok(wanted.min(state.tokens as usize).max(1));
        }
        // Wait for a packet's worth, not for single bytes.
        let missing = (burst(rate).min(BURST_BYTES_MIN) - state.tokens).max(1.0);
        Err(Duration::from_secs_f64((missing / rate.0 as f64).min(1.0)).max(Duration::from_millis(1)))
    }

    pub fn take(&self, bytes: usize) {
        let mut state = self.state();
        if state.rate.is_some() {
            state.tokens -= bytes as f64;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn fill(&mut self, now: Instant) {
        let Some(rate) = self.rate else {
            self.filled = now;
            self.tokens = 0.0;
            return;
        };
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + passed * rate.0 as f64).min(burst(rate));
        self.filled = now;
    }
}

fn burst(rate: BytesPerSecond) -> f64 {
    (rate.0 as f64 * BURST.as_secs_f64()).max(BURST_BYTES_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_measured_from_the_flow() {
        let bucket = Bucket::new(Some(BytesPerSecond(10_000)));
        let start = bucket.state().filled;
        let mut now = start;
        let mut flowed = 0;
        while now < start + Duration::from_secs(10) {
            match bucket.available(4096, now) {
                Ok(bytes) => {
                    bucket.take(bytes);
                    flowed += bytes;
                }
                Err(wait) => now += wait,
            }
        }
        // At the end up to a packet is still waited for.
        assert!((98_500..=100_000).contains(&flowed), "{flowed}");
    }

    #[test]
    fn a_new_rate_counts_at_once() {
        let bucket = Bucket::new(Some(BytesPerSecond(1)));
        let now = Instant::now();
        bucket.take(1000);
        assert!(bucket.available(10, now).is_err());
        bucket.set_rate(None);
        assert_eq!(bucket.available(10, now), Ok(10));
        assert_eq!(bucket.rate(), None);
    }
}
