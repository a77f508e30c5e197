//! The pace of a transfer, held against what this node expects of its link.
//!
//! A transfer is late if the rest of it takes several times as long at its pace as this node expects, and some seconds
//! more. The expectation comes from the link as transfers showed it (`Core::expected_from`), never from what the peer
//! says. A transfer that is late is not stopped: another source is tried beside it (`race.rs`).

use std::time::Duration;

use lighter_types::{Bytes, BytesPerSecond, Moment};

use crate::settings::Settings;

/// Counts the bytes of a transfer in windows of time.
#[derive(Debug)]
pub struct Watch {
    window: Duration,
    /// When the window began, and the bytes that were there then.
    since: Moment,
    since_bytes: Bytes,
    /// The bytes that are there now.
    bytes: Bytes,
    /// The rate of the last whole window.
    pace: Option<BytesPerSecond>,
}

/// Why a transfer is late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// Nothing came yet.
    Silent,
    /// At its pace, the rest takes so long.
    Slow(Duration),
}

impl Late {
    /// When the transfer would end; never, if nothing comes.
    pub fn ends_in(self) -> Duration {
        match self {
            Self::Silent => Duration::MAX,
            Self::Slow(time) => time,
        }
    }
}

impl Watch {
    pub fn new(window: Duration, bytes: Bytes, now: Moment) -> Self {
        Self { window, since: now, since_bytes: bytes, bytes, pace: None }
    }

    /// So many bytes are there. Fewer than before mean that another patch began.
    pub fn reached(&mut self, bytes: Bytes, now: Moment) {
        if bytes < self.bytes {
            *self = Self::new(self.window, bytes, now);
        }
        self.bytes = bytes;
    }

    pub fn bytes(&self) -> Bytes {
        self.bytes
    }

    pub fn pace(&self) -> Option<BytesPerSecond> {
        self.pace
    }

    /// When the window ends.
    pub fn window_ends(&self) -> Moment {
        self.since + self.window
    }

    /// Ends the window if its time is over.
    pub fn roll(&mut self, now: Moment) {
        if self.window_ends() <= now {
            self.pace = Some(rate_over(self.bytes - self.since_bytes, now.since(self.since)));
            (self.since, self.since_bytes) = (now, self.bytes);
        }
    }

    /// How long the rest of `total` takes at the pace of the last window, if that is too long for a link of which
    /// `expected` is expected.
    pub fn late(&self, total: Bytes, expected: BytesPerSecond, slack: u32) -> Option<Late> {
        let rest = total - self.bytes;
        let at_pace = rest.at(self.pace?);
        let due = rest.at(expected).saturating_mul(slack).saturating_add(Settings::PACE_GRACE);
        (at_pace > due).then_some(Late::Slow(at_pace))
    }
}

/// The rate of so many bytes in so much time.
pub fn rate_over(bytes: Bytes, time: Duration) -> BytesPerSecond {
    let time_ms = time.as_millis().max(1);
    BytesPerSecond(u64::try_from(u128::from(bytes.0) * 1000 / time_ms).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(5);
    const EXPECTED: BytesPerSecond = BytesPerSecond(1_000_000);
    const TOTAL: Bytes = Bytes(60_000_000);

    /// Whether a transfer at this rate is late after its first window.
    fn is_late(rate: u64, slack: u32) -> bool {
        let mut watch = Watch::new(WINDOW, Bytes::ZERO, Moment(0));
        watch.reached(Bytes(rate * 4), Moment(4000));
        watch.roll(Moment(4000));
        assert_eq!(watch.late(TOTAL, EXPECTED, slack), None, "the window is not over");
        watch.reached(Bytes(rate * 5), Moment(5000));
        watch.roll(Moment(5000));
        assert_eq!(watch.pace(), Some(BytesPerSecond(rate)));
        watch.late(TOTAL, EXPECTED, slack).is_some()
    }

    #[test]
    fn a_transfer_is_late_below_a_share_of_the_expected_rate() {
        assert!(is_late(0, 2) && is_late(300, 2) && is_late(400_000, 2));
        assert!(!is_late(500_000, 2) && !is_late(1_000_000, 2));
        assert!(!is_late(200_000, 8));
    }

    #[test]
    fn a_transfer_that_ends_within_seconds_is_not_late() {
        let mut watch = Watch::new(WINDOW, Bytes::ZERO, Moment(0));
        watch.reached(Bytes(500), Moment(5000));
        watch.roll(Moment(5000));
        assert_eq!(watch.late(Bytes(1400), EXPECTED, 2), None);
        assert_eq!(watch.late(Bytes(1600), EXPECTED, 2), Some(Late::Slow(Duration::from_secs(11))));
    }

    #[test]
    fn another_patch_is_counted_anew() {
        let mut watch = Watch::new(WINDOW, Bytes(5000), Moment(0));
        watch.reached(Bytes(100), Moment(3000));
        assert_eq!(watch.window_ends(), Moment(8000));
        watch.reached(Bytes(600), Moment(8000));
        watch.roll(Moment(8000));
        assert_eq!(watch.pace(), Some(BytesPerSecond(100)));
    }
}
