//! Whether packets wait in a queue, by the latest round trips.

use std::time::Duration;

/// Packets wait if the smallest of this many round trips in a row is longer than the shortest by an eighth, within
/// bounds.
const SAMPLES: u32 = 8;
const WAIT_MIN: Duration = Duration::from_millis(8);
const WAIT_MAX: Duration = Duration::from_millis(40);

/// The smallest of the latest round trips, and how many they are.
#[derive(Clone, Debug)]
pub struct Waiting {
    smallest: Duration,
    samples: u32,
}

impl Default for Waiting {
    fn default() -> Self {
        Self { smallest: Duration::MAX, samples: 0 }
    }
}

impl Waiting {
    pub fn add(&mut self, round_trip: Duration) {
        if self.samples == SAMPLES {
            *self = Self::default();
        }
        self.smallest = self.smallest.min(round_trip);
        self.samples += 1;
    }

    /// Whether packets wait, where this is the shortest round trip.
    pub fn is_beyond(&self, shortest: Duration) -> bool {
        self.samples == SAMPLES && self.smallest > shortest + (shortest / 8).clamp(WAIT_MIN, WAIT_MAX)
    }
}
