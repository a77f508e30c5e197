//! A run of packets shows the rate of the path before a round trip's rate is known.
//!
//! Packets that left faster than the narrowest link passes them arrive at its rate. So the acknowledgements of the
//! first window already show that rate ("packet train dispersion", Dovrolis et al., 2004). It is a hint: other flows
//! distort it, and so do radio links that deliver in bursts. The pilot uses it to grow
//! faster and to stop growing, within bounds.

use std::time::{Duration, Instant};

/// Bytes that make a train: half of the first window.
const TRAIN_BYTES: u64 = 16 * 1200;
/// A train ends here, and the next one shows what the path does since.
const TRAIN_BYTES_MAX: u64 = 4 * TRAIN_BYTES;
/// A sender that pauses for so much longer than the acknowledgements do has left the link idle. An answer often begins
/// with a small packet, and the bulk follows when it was read from the disk: the train begins with the bulk. Later, a
/// link that delivers in bursts looks the same.
const PAUSE: Duration = Duration::from_millis(4);
const BEGINNING: u64 = 4 * 1200;

#[derive(Clone, Copy, Debug)]
struct Train {
    /// When the first of its packets was sent and acknowledged.
    sent_from: Instant,
    from: Instant,
    sent_until: Instant,
    until: Instant,
    /// Acknowledged after the first.
    bytes: u64,
    /// The fastest that a part of the train from its beginning arrived. The last acknowledgement often waits for a
    /// packet that does not come (RFC 9000, 13.2.1), and would make the whole train seem slow. With the bytes of that
    /// part: it is at least half of the train, since a short part may have come in a burst.
    best: Option<(u64, Hint)>,
}

/// The packets of a round that are acknowledged one after the other.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trains {
    current: Option<Train>,
    /// The train before it, of the same round.
    last: Option<Hint>,
}

/// A train's rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hint {
    /// Bytes a second at which it arrived.
    pub rate: u64,
    /// It arrived slower than it was sent: the rate is the path's.
    pub is_limit: bool,
}

impl Trains {
    /// A new round begins a new train.
    pub fn end_round(&mut self) {
        *self = Self::default();
    }

    /// `bytes` were acknowledged at once; the newest of them was sent at `sent`.
    pub fn acknowledged(&mut self, now: Instant, sent: Instant, bytes: u64) {
        match &mut self.current {
            Some(train) if !train.is_over(now, sent) => {
                train.sent_until = sent;
                train.until = now;
                train.bytes += bytes;
                let long = train.best.filter(|(bytes, _)| bytes * 2 >= train.bytes);
                let all = train.hint().map(|hint| (train.bytes, hint));
                train.best = long.into_iter().chain(all).max_by_key(|(_, hint)| hint.rate);
            }
            Some(_) | None => {
                self.last = self.hint();
                let begun = Train { sent_from: sent, from: now, sent_until: sent, until: now, bytes: 0, best: None };
                self.current = Some(begun);
            }
        }
    }

    /// The latest train of the round; `None` while it is short, and there was none before.
    pub fn hint(&self) -> Option<Hint> {
        let current = self.current.and_then(|train| train.best).map(|(_, hint)| hint);
        current.or(self.last)
    }
}

impl Train {
    /// Whether what was sent then and is acknowledged now belongs to the next train.
    fn is_over(&self, now: Instant, sent: Instant) -> bool {
        let (sending, arriving) =
            (sent.saturating_duration_since(self.sent_until), now.saturating_duration_since(self.until));
        let is_begun = self.bytes >= BEGINNING;
        self.bytes >= TRAIN_BYTES_MAX || !is_begun && sending > arriving + PAUSE
    }

    /// The rate of all that arrived so far.
    fn hint(&self) -> Option<Hint> {
        if self.bytes < TRAIN_BYTES {
            return None;
        }
        let arriving = self.until.saturating_duration_since(self.from);
        let sending = self.sent_until.saturating_duration_since(self.sent_from);
        let seconds = arriving.as_secs_f64().max(1e-3);
        let is_limit = arriving > sending + sending / 8 + Duration::from_millis(4);
        Some(Hint { rate: (self.bytes as f64 / seconds) as u64, is_limit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 32 packets, sent and acknowledged at these distances.
    fn check(sent_us: u64, acknowledged_us: u64, expected: Hint) {
        let start = Instant::now();
        let mut trains = Trains::default();
        for packet in 0..=32 {
            assert!(packet >= 17 || trains.hint().is_none(), "{packet} packets are no train");
            let at = |distance_us| start + Duration::from_micros(packet * distance_us);
            trains.acknowledged(at(acknowledged_us) + Duration::from_millis(100), at(sent_us), 1200);
        }
        assert_eq!(trains.hint(), Some(expected));
        trains.end_round();
        assert_eq!(trains.hint(), None);
    }

    #[test]
    fn a_train_that_arrives_slower_than_it_left_shows_the_paths_rate() {
        check(100, 1200, Hint { rate: 1_000_000, is_limit: true });
    }

    #[test]
    fn an_acknowledgement_that_waited_does_not_make_the_path_seem_slow() {
        let start = Instant::now();
        let mut trains = Trains::default();
        for packet in 0..=32u64 {
            let waited = if packet == 32 { Duration::from_millis(25) } else { Duration::ZERO };
            let at = start + Duration::from_micros(packet * 1200) + waited;
            trains.acknowledged(at, start + Duration::from_micros(packet * 100), 1200);
        }
        assert_eq!(trains.hint(), Some(Hint { rate: 1_000_000, is_limit: true }));
    }

    /// A small packet that is acknowledged late, a pause, and the bulk: only that shows the path's rate.
    #[test]
    fn a_pause_of_the_sender_does_not_make_the_path_seem_slow() {
        let start = Instant::now();
        let at = |us| start + Duration::from_micros(us);
        let mut trains = Trains::default();
        trains.acknowledged(at(125_000), at(0), 100);
        for packet in 0..32 {
            trains.acknowledged(at(130_000 + packet * 1200), at(30_000 + packet * 100), 1200);
        }
        assert_eq!(trains.hint(), Some(Hint { rate: 1_000_000, is_limit: true }));
    }

    /// 64 packets at half of the path's rate, then at twice that: the last train counts.
    #[test]
    fn a_sender_that_grows_finds_the_limit() {
        let start = Instant::now();
        let mut trains = Trains::default();
        let (mut sent, mut arrived) = (0, 100_000);
        for packet in 0..256 {
            sent += if packet < 64 { 2400 } else { 600 };
            arrived = (arrived + 1200).max(sent + 100_000);
            trains.acknowledged(start + Duration::from_micros(arrived), start + Duration::from_micros(sent), 1200);
        }
        assert_eq!(trains.hint(), Some(Hint { rate: 1_000_000, is_limit: true }));
    }

    #[test]
    fn a_train_that_arrives_as_it_left_shows_no_limit() {
        check(1200, 1200, Hint { rate: 1_000_000, is_limit: false });
    }
}
