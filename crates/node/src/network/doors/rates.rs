//! How often something happens, for each of many: so many at once, and one in some time after that.
//!
//! The generic cell rate algorithm (ITU-T I.371): one moment is all that is kept of each, and nothing once that moment
//! is past.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Keys that are counted at a time. Beyond, the one whose count is the lowest is forgotten.
const KEYS_MAX: usize = 4096;

/// See the module.
pub struct Rates<K> {
    /// The time that all of `at once` takes at the rate.
    depth: Duration,
    every: Duration,
    /// When all that happened would be over, at the rate.
    until: BTreeMap<K, Instant>,
}

impl<K: Ord + Copy> Rates<K> {
    pub fn new(at_once: u32, every: Duration) -> Self {
        Self { depth: every * at_once, every, until: BTreeMap::new() }
    }

    /// Whether it happened too often.
    pub fn is_over(&self, key: K, now: Instant) -> bool {
        self.until.get(&key).is_some_and(|until| until.saturating_duration_since(now) + self.every > self.depth)
    }

    /// It happens once more.
    pub fn count(&mut self, key: K, now: Instant) {
        if self.until.len() >= KEYS_MAX {
            self.until.retain(|_, until| *until > now);
        }
        if self.until.len() >= KEYS_MAX
            && let Some((&lowest, _)) = self.until.iter().min_by_key(|(_, until)| **until)
        {
            self.until.remove(&lowest);
        }
        let until = self.until.entry(key).or_insert(now);
        *until = (*until).max(now) + self.every;
    }

    #[cfg(test)]
    pub fn held(&self) -> usize {
        self.until.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_at_once_and_then_one_in_some_time() {
        let (mut rates, now, second) = (Rates::new(3, Duration::from_secs(1)), Instant::now(), Duration::from_secs(1));
        let mut happens = |key: u32, at: Instant| {
            let is_over = rates.is_over(key, at);
            if !is_over {
                rates.count(key, at);
            }
            !is_over
        };
        assert_eq!([0; 5].map(|_| happens(1, now)), [true, true, true, false, false]);
        assert!(happens(2, now));
        assert_eq!([0; 2].map(|_| happens(1, now + second)), [true, false]);
        assert_eq!([0; 4].map(|_| happens(1, now + second * 60)), [true, true, true, false]);
    }

    #[test]
    fn keys_are_forgotten() {
        let (mut rates, now) = (Rates::new(3, Duration::from_secs(1)), Instant::now());
        (0..KEYS_MAX + 10).for_each(|key| rates.count(key, now));
        assert_eq!(rates.held(), KEYS_MAX);
        rates.count(0, now + Duration::from_secs(2));
        assert_eq!(rates.held(), 1);
    }
}
