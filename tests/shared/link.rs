//! One direction of a bad link, as a model without sockets or a clock.
//!
//! A datagram meets, in this order: an outage, the largest size, random loss, the queue before the link, the link's
//! rate, the delay. The queue drops its tail: a datagram that would wait longer than `queue` is lost. A datagram that
//! passes may be corrupted, delivered twice or held back so that later datagrams overtake it. All chance comes from a
//! seeded generator: the same datagrams at the same times have the same fate. The rate counts a datagram's payload
//! alone, as `bytes / rate` of the benchmarks does.

use std::time::Duration;

/// A second copy of a datagram comes this much later.
pub const DUPLICATE_AFTER: Duration = Duration::from_millis(1);
/// A reordered datagram is held back for this long.
pub const REORDERED_BY: Duration = Duration::from_millis(20);
/// The waits in the queue are counted by milliseconds up to this.
const WAIT_MS_MAX: usize = 10_000;

/// The properties of one direction. The default changes nothing and loses nothing.
#[derive(Clone, Debug)]
pub struct Conditions {
    /// From the end of the queue to the far end.
    pub delay: Duration,
    /// `None`: no limit, and so no queue.
    pub bits_per_second: Option<u64>,
    /// The longest wait in the queue.
    pub queue: Duration,
    /// The shares of datagrams that meet this fate, 0 to 1.
    pub loss: f64,
    pub duplicated: f64,
    pub reordered: f64,
    pub corrupted: f64,
    /// Larger datagrams vanish. Bytes of payload: an MTU is 28 more (IPv4 and UDP).
    pub datagram_max: usize,
    pub outages: Vec<Outage>,
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            bits_per_second: None,
            queue: Duration::MAX,
            loss: 0.0,
            duplicated: 0.0,
            reordered: 0.0,
            corrupted: 0.0,
            datagram_max: usize::MAX,
            outages: Vec::new(),
        }
    }
}

/// A time in which every datagram is lost. Times count from the link's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    Between {
        from: Duration,
        until: Duration,
    },
    /// The link is there for the first `up` of every `period` alone.
    Except {
        up: Duration,
        period: Duration,
    },
}

impl Outage {
    fn holds_at(self, now: Duration) -> bool {
        match self {
            Self::Between { from, until } => (from..until).contains(&now),
            Self::Except { up, period } => now.as_nanos() % period.as_nanos().max(1) >= up.as_nanos(),
        }
    }
}

/// A number of datagrams and their payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub datagrams: u64,
    pub bytes: u64,
}

impl Tally {
    fn add(&mut self, bytes: usize) {
        self.datagrams += 1;
        self.bytes += bytes as u64;
    }

    /// Bytes with the headers of IPv4 and UDP.
    pub const fn ip_bytes(self) -> u64 {
        self.bytes + 28 * self.datagrams
    }

    pub const fn since(self, before: Self) -> Self {
        Self { datagrams: self.datagrams - before.datagrams, bytes: self.bytes - before.bytes }
    }
}

/// The fates of all datagrams so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Everything that was given to the link.
    pub offered: Tally,
    /// Everything that came or will come out of it, second copies included.
    pub delivered: Tally,
    pub lost: u64,
    pub dropped_by_queue: u64,
    pub dropped_by_size: u64,
    pub dropped_by_outage: u64,
    pub longest_wait: Duration,
    /// How many datagrams waited in the queue for this many milliseconds.
    waits_ms: Vec<u64>,
}

impl Counts {
    /// The wait in the queue that this share of the datagrams did not exceed, in whole milliseconds.
    pub fn wait(&self, share: f64) -> Duration {
        let total: u64 = self.waits_ms.iter().sum();
        let wanted = (total as f64 * share).ceil() as u64;
        let mut seen = 0;
        let index = self.waits_ms.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        Duration::from_millis(index.unwrap_or(0) as u64)
    }

    fn add_wait(&mut self, wait: Duration) {
        self.longest_wait = self.longest_wait.max(wait);
        let index = usize::try_from(wait.as_millis()).unwrap_or(WAIT_MS_MAX).min(WAIT_MS_MAX);
        if self.waits_ms.len() <= index {
            self.waits_ms.resize(index + 1, 0);
        }
        self.waits_ms[index] += 1;
    }
}

/// A datagram at the far end, and the time when it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    pub at: Duration,
    pub bytes: Vec<u8>,
}

/// One direction of a link.
#[derive(Clone, Debug)]
pub struct Link {
    conditions: Conditions,
    chance: Chance,
    /// When the link has sent all that it was given.
    free_at: Duration,
    counts: Counts,
}

impl Link {
    pub fn new(conditions: Conditions, seed: u64) -> Self {
        Self { conditions, chance: Chance(seed), free_at: Duration::ZERO, counts: Counts::default() }
    }

    /// Changes the link for the datagrams to come. Counts and chance go on.
    pub fn change(&mut self, conditions: Conditions) {
        self.conditions = conditions;
    }

    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Forgets all counts.
    pub fn reset_counts(&mut self) {
        self.counts = Counts::default();
    }

    /// Gives a datagram to the link: what comes out at the far end, which is nothing, one datagram or two.
    pub fn send(&mut self, now: Duration, mut bytes: Vec<u8>) -> Vec<Delivery> {
        let conditions = &self.conditions;
        // Every datagram draws as often, so that one property does not change the chance of another.
        let [is_lost, is_duplicated, is_reordered, is_corrupted] =
            [conditions.loss, conditions.duplicated, conditions.reordered, conditions.corrupted]
                .map(|share| self.chance.hits(share));
        self.counts.offered.add(bytes.len());
        if conditions.outages.iter().any(|outage| outage.holds_at(now)) {
            self.counts.dropped_by_outage += 1;
            return Vec::new();
        }
        if bytes.len() > conditions.datagram_max {
            self.counts.dropped_by_size += 1;
            return Vec::new();
        }
        if is_lost {
            self.counts.lost += 1;
            return Vec::new();
        }
        let start = self.free_at.max(now);
        let wait = start - now;
        if wait > conditions.queue {
            self.counts.dropped_by_queue += 1;
            return Vec::new();
        }
        if let Some(rate) = conditions.bits_per_second {
            self.free_at = start + Duration::from_secs_f64(bytes.len() as f64 * 8.0 / rate as f64);
            self.counts.add_wait(wait);
        }
        let sent = if conditions.bits_per_second.is_some() { self.free_at } else { now };
        let held_back = if is_reordered { REORDERED_BY } else { Duration::ZERO };
        let at = sent + conditions.delay + held_back;
        if is_corrupted {
            self.chance.corrupt(&mut bytes);
        }
        let copy = is_duplicated.then(|| Delivery { at: at + DUPLICATE_AFTER, bytes: bytes.clone() });
        let deliveries: Vec<Delivery> = std::iter::once(Delivery { at, bytes }).chain(copy).collect();
        deliveries.iter().for_each(|delivery| self.counts.delivered.add(delivery.bytes.len()));
        deliveries
    }
}

/// A generator of chance (SplitMix64, Steele et al. 2014).
#[derive(Clone, Debug)]
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// True for this share of the calls.
    fn hits(&mut self, share: f64) -> bool {
        // 53 bits: what an f64 holds exactly.
        let drawn = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        drawn < share
    }

    /// Flips one bit.
    fn corrupt(&mut self, bytes: &mut [u8]) {
        if bytes.is_empty() {
            return;
        }
        let drawn = self.next();
        let index = (drawn >> 3) % bytes.len() as u64;
        bytes[index as usize] ^= 1 << (drawn & 7);
    }
}
