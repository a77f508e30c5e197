//! Bytes that are acknowledged together, beyond what the path delivers in the time.
//!
//! A process that waits for its turn on a busy machine, a radio link that delivers in bursts, and one acknowledgement
//! for ten packets have the same effect: for some time nothing is acknowledged, then much at once. A window of twice
//! bandwidth x round trip is empty before the next acknowledgements come. A slow flow has a small window, so it stays
//! slow. So the window gets room for the largest burst of the last rounds, as in draft-ietf-ccwg-bbr (extra_acked).

use std::time::Instant;

use super::maximum::Maximum;

/// The maximum is of this many rounds.
const ROUNDS: u64 = 10;

#[derive(Clone, Debug)]
pub struct Bursts {
    /// The bytes beyond the bandwidth, for each round.
    largest: Maximum,
    round: u64,
    /// When the acknowledgements began that `bytes` counts.
    since: Instant,
    bytes: u64,
}

impl Bursts {
    pub fn new(now: Instant) -> Self {
        Self { largest: Maximum::new(ROUNDS), round: 0, since: now, bytes: 0 }
    }

    pub fn end_round(&mut self) {
        self.round += 1;
    }

    /// An acknowledgement came, of these bytes.
    pub fn acknowledged(&mut self, now: Instant, bytes: u64, bandwidth: u64) {
        let seconds = now.saturating_duration_since(self.since).as_secs_f64();
        let mut delivered = (bandwidth as f64 * seconds) as u64;
        if self.bytes <= delivered {
            // The path kept up: a new burst may begin.
            self.since = now;
            self.bytes = 0;
            delivered = 0;
        }
        self.bytes += bytes;
        self.largest.add(self.round, self.bytes.saturating_sub(delivered));
    }

    /// Bytes of the largest burst.
    pub fn bytes(&self) -> u64 {
        self.largest.get()
    }
}
