//! Chooses the effort of a patch: the one that gets the patch to its last receiver soonest.
//!
//! ```text
//! work       = bytes of the patch at the default effort + tar bytes / 128
//! encoding   = work / encode rate of the effort x pace
//! applying   = work / apply rate of the effort x pace
//! sending    = max(bytes of the effort x copies / rate of the link,
//!                  bytes of the effort / uplink of the slowest receiver)
//! until done = encoding x (1 + encodes that wait) + max(sending + applying / tail, applying)
//! ```
//!
//! - *Work*: matching passes over the whole tar, about a hundred times faster than the codec works on the new bytes.
//! - *Waiting*: each encode in the queue waits for this encode too, so each of them counts it once more.
//! - *Tail*: a receiver applies each frame when it has come, while the next frames come. Half of the work is taken to
//!   be left when all has come (tail = 2; 1 for a patch of one frame): the last frames are often short and as much work
//!   as others.
//! - *Copies*: they share the link. If the receivers pass the patch on, this node sends as many copies as it may before
//!   it refers others to those receivers. Each receiver takes at least as long as its own uplink needs.
//!
//! Some efforts are done about as soon as the soonest: within an eighth or [`NOTICED`]. Among them the node takes the
//! one with the fewest bytes: users do not notice half a second, and they pay for bytes.
//!
//! The rates are medians over the ten pairs of docs/BENCHMARKS.md ("patch"). Single pairs lie within a factor of 2.2 of
//! them for encoding and 3.1 for applying (one within 10). A [`Pace`] says how much slower or faster this machine is; a
//! receiver is taken to be as fast.

use std::time::Duration;

use lighter_types::{Bytes, BytesPerSecond, Effort};

/// The operator's choice of effort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EffortChoice {
    /// This module chooses for each patch.
    #[default]
    Auto,
    /// Always this one.
    Always(Effort),
}

/// The facts about a patch before it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undertaking {
    /// The bytes of the patch at the default effort.
    pub bytes: Bytes,
    pub tar_bytes: Bytes,
    /// The rate of the link that the copies share.
    pub rate: BytesPerSecond,
    /// How often this node sends the patch, at least 1.
    pub copies: u64,
    /// The uplink of the slowest receiver, where that is known.
    pub uplink: Option<BytesPerSecond>,
    /// Encodes that cannot begin before this one ends.
    pub waiting: u64,
}

/// The time that encoding takes here over the time on the machine of docs/BENCHMARKS.md, in 1/1024.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace(u32);

struct Figures {
    /// Bytes of a patch over its bytes at the default effort, in 1/1024.
    bytes: u64,
    /// Bytes of work a second.
    encode: u64,
    apply: u64,
}

const FAST: Figures = Figures { bytes: 1479, encode: 3_640_000, apply: 12_700_000 };
const DEFAULT: Figures = Figures { bytes: 1024, encode: 1_400_000, apply: 12_100_000 };
const MAX: Figures = Figures { bytes: 864, encode: 380_000, apply: 490_000 };

/// Tar bytes that are as much work as one byte of patch. Among 64, 128 and 256, encode rates differ least with this
/// value.
const TAR_BYTES_PER_WORK: u64 = 128;

/// A patch of up to this size is one frame.
const FRAME_BYTES_SMALL: Bytes = Bytes(64 << 10);

/// Nobody notices a shorter wait.
const NOTICED: Duration = Duration::from_millis(500);

/// The bytes at the default effort of a patch that has `bytes` at this effort.
pub fn to_default(effort: Effort, bytes: Bytes) -> Bytes {
    Bytes(scale(bytes.0, 1024, figures(effort).bytes))
}

fn figures(effort: Effort) -> &'static Figures {
    match effort {
        Effort::Fast => &FAST,
        Effort::Default => &DEFAULT,
        Effort::Max => &MAX,
    }
}

impl EffortChoice {
    /// The effort for a patch, `least` or above.
    pub fn choose(self, undertaking: &Undertaking, pace: Pace, least: Effort) -> Effort {
        match self {
            Self::Always(effort) => effort,
            Self::Auto => undertaking.best(pace, least),
        }
    }
}

impl Undertaking {
    /// The time of encoding at this effort.
    pub fn encoding(&self, effort: Effort, pace: Pace) -> Duration {
        seconds_for(self.work(), figures(effort).encode, pace)
    }

    /// The time of applying a patch of this effort.
    pub fn applying(&self, effort: Effort, pace: Pace) -> Duration {
        seconds_for(self.work(), figures(effort).apply, pace)
    }

    /// The time from the beginning of the encode until the last receiver has applied the patch, plus the time that the
    /// encodes in the queue lose.
    pub fn until_done(&self, effort: Effort, pace: Pace) -> Duration {
        let bytes = Bytes(scale(self.bytes.0, figures(effort).bytes, 1024));
        let waiting = u32::try_from(self.waiting).unwrap_or(u32::MAX).saturating_add(1);
        self.encoding(effort, pace).saturating_mul(waiting).saturating_add(self.receiving(effort, bytes, pace))
    }

    /// The time until the last receiver has applied a patch of that effort that exists and has these bytes.
    pub fn receiving(&self, effort: Effort, bytes: Bytes, pace: Pace) -> Duration {
        let own = self.uplink.map_or(Duration::ZERO, |uplink| bytes.at(uplink));
        let sending = bytes.times(self.copies.max(1)).at(self.rate).max(own);
        let applying = self.applying(effort, pace);
        let tail = if bytes <= FRAME_BYTES_SMALL { 1 } else { 2 };
        sending.saturating_add(applying / tail).max(applying)
    }

    fn best(&self, pace: Pace, least: Effort) -> Effort {
        let times = Effort::ALL.into_iter().filter(|effort| *effort >= least);
        let times: Vec<(Effort, Duration)> = times.map(|effort| (effort, self.until_done(effort, pace))).collect();
        let soonest = times.iter().map(|(_, time)| *time).min().unwrap_or_default();
        let soon = |time: &Duration| !is_later(*time, soonest);
        times.iter().rev().find(|(_, time)| soon(time)).map_or(least, |(effort, _)| *effort)
    }

    fn work(&self) -> Bytes {
        self.bytes + Bytes(self.tar_bytes.0 / TAR_BYTES_PER_WORK)
    }
}

/// Whether `time` is so much longer than `other` that a user notices.
pub fn is_later(time: Duration, other: Duration) -> bool {
    time > other.saturating_add(NOTICED.max(other / 8))
}

impl Default for Pace {
    fn default() -> Self {
        Self(Self::ONE)
    }
}

impl Pace {
    const ONE: u32 = 1024;
    /// Beyond these bounds, something else is wrong.
    const MIN: u32 = Self::ONE / 64;
    const MAX: u32 = Self::ONE * 64;

    /// Learns from one encode. It counts for a quarter, and for a factor of two at most.
    pub fn learn(&mut self, undertaking: &Undertaking, effort: Effort, took: Duration) {
        let expected = undertaking.encoding(effort, Self::default()).as_micros().max(1);
        let found = u32::try_from(took.as_micros().saturating_mul(Self::ONE.into()) / expected).unwrap_or(u32::MAX);
        let found = found.clamp(self.0 / 2, self.0 * 2);
        self.0 = ((self.0 * 3 + found) / 4).clamp(Self::MIN, Self::MAX);
    }

    /// The pace as a plain integer, to be stored.
    pub fn to_part(self) -> u32 {
        self.0
    }

    /// The pace from [`Pace::to_part`]; `None` for a value that it never gives.
    pub fn from_part(part: u32) -> Option<Self> {
        (Self::MIN..=Self::MAX).contains(&part).then_some(Self(part))
    }
}

fn seconds_for(work: Bytes, rate: u64, Pace(pace): Pace) -> Duration {
    let micros = u128::from(work.0) * 1_000_000 * u128::from(pace) / (u128::from(rate) * u128::from(Pace::ONE));
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

/// `amount` x `of` / `over`.
fn scale(amount: u64, of: u64, over: u64) -> u64 {
    u64::try_from(u128::from(amount) * u128::from(of) / u128::from(over)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
