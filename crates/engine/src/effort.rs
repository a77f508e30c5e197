//! Chooses among the ways to bring a patch to its receivers, and so the effort of a patch that is to be made.
//!
//! ```text
//! work       = bytes of the patch at the default effort + tar bytes / 128
//! encoding   = work / encode rate of the effort x pace of this machine
//! applying   = work / apply rate of the effort x pace of the receivers
//! sending    = max(bytes of the effort x copies / rate of the uplink,
//!                  bytes of the effort / rate of the slowest receiver)
//! until done = encoding x (1 + encodes that wait) + max(sending + applying / tail, applying)
//! ```
//!
//! - *Work*: matching passes over the whole tar, about a hundred times faster than the codec works on the new bytes.
//! - *Waiting*: each encode in the queue waits for this encode too, so each of them counts it once more.
//! - *Tail*: a receiver applies each frame when it has come, while the next frames come. Half of the work is taken to
//!   be left when all has come (tail = 2; 1 for a patch of one frame): the last frames are often short and as much work
//!   as others.
//! - *Copies*: they share the uplink. If the receivers pass the patch on, this node sends as many copies as it may
//!   before it refers others to those receivers. Each receiver takes at least as long as its own link needs.
//!
//! Each way has bytes and a time. [`best`] takes the one with the fewest bytes among those that are done soon enough
//! beside the soonest. How late is soon enough, the receiver says ([`Prefer`]).
//!
//! The rates of patches with bases are medians over the ten pairs of docs/BENCHMARKS.md ("patch"). Single pairs lie
//! within a factor of 2.2 of them for encoding and 3.1 for applying (one within 10). Those of whole layers are medians
//! over three layers (docs/ENGINE.md). A [`Pace`] says how much slower or faster a machine is.

use std::time::Duration;

use lighter_types::{Bytes, BytesPerSecond, Card, DiffId, Effort, Pace, Prefer};
use lighter_wire::Terms;

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
    pub content: Content,
    pub tar_bytes: Bytes,
    /// The rate of the uplink that the copies share.
    pub rate: BytesPerSecond,
    /// How often this node sends the patch, at least 1.
    pub copies: u64,
    /// The rate of the slowest receiver's own link, where that is known.
    pub slowest: Option<BytesPerSecond>,
    /// Encodes that cannot begin before this one ends.
    pub waiting: u64,
    /// The pace and the preference of the middle one of the receivers.
    pub terms: Terms,
}

/// The content of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// The bytes that bases lack.
    Update,
    /// The whole layer.
    Layer,
    /// A whole layer that does not compress: no encoder has anything to do.
    Packed,
}

/// A layer whose compressed length is less than one part in so many below its length does not compress. The encoder's
/// samples have the same bound.
const GAIN_PARTS: u64 = 32;

impl Content {
    /// That of a patch from these bases, where the target's card is not at hand.
    pub fn from(bases: &[DiffId]) -> Self {
        if bases.is_empty() { Self::Layer } else { Self::Update }
    }

    /// That of a patch of this target from these bases.
    pub fn of(target: &Card, bases: &[DiffId]) -> Self {
        let gain = target.tar_bytes - target.compressed_bytes;
        let is_packed = bases.is_empty() && gain <= Bytes(target.tar_bytes.0 / GAIN_PARTS);
        if is_packed { Self::Packed } else { Self::from(bases) }
    }

    /// The efforts that make sense for it.
    pub fn efforts(self) -> &'static [Effort] {
        match self {
            Self::Update => &Effort::WITH_BASES,
            Self::Layer => &Effort::ALL,
            Self::Packed => &[Effort::Plain],
        }
    }
}

/// The bytes and the time of one way to bring a patch to its receivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    pub bytes: Bytes,
    /// Until the last receiver has applied it.
    pub time: Duration,
}

#[derive(Clone, Copy)]
struct Figures {
    /// Bytes of a patch over its bytes at the default effort, in 1/1024.
    bytes: u64,
    /// Work a second.
    encode: BytesPerSecond,
    apply: BytesPerSecond,
}

/// By effort: plain (which no update has), fast, default, max.
const UPDATE: [Figures; 4] = [
    Figures { bytes: 1479, encode: BytesPerSecond(3_640_000), apply: BytesPerSecond(12_700_000) },
    Figures { bytes: 1479, encode: BytesPerSecond(3_640_000), apply: BytesPerSecond(12_700_000) },
    Figures { bytes: 1024, encode: BytesPerSecond(1_400_000), apply: BytesPerSecond(12_100_000) },
    Figures { bytes: 864, encode: BytesPerSecond(380_000), apply: BytesPerSecond(490_000) },
];
const LAYER: [Figures; 4] = [
    Figures { bytes: 1331, encode: BytesPerSecond(90_000_000), apply: BytesPerSecond(60_000_000) },
    Figures { bytes: 1198, encode: BytesPerSecond(17_000_000), apply: BytesPerSecond(12_700_000) },
    Figures { bytes: 1024, encode: BytesPerSecond(1_000_000), apply: BytesPerSecond(12_100_000) },
    Figures { bytes: 1080, encode: BytesPerSecond(500_000), apply: BytesPerSecond(490_000) },
];

/// Efforts above *plain* are never chosen.
const PACKED: [Figures; 4] = {
    let apply = BytesPerSecond(250_000_000);
    [Figures { bytes: 1024, encode: BytesPerSecond(600_000_000), apply }, LAYER[1], LAYER[2], LAYER[3]]
};

/// Tar bytes that are as much work as one byte of patch. Among 64, 128 and 256, encode rates differ least with this
/// value.
const TAR_BYTES_PER_WORK: u64 = 128;

/// A patch of up to this size is one frame.
const FRAME_BYTES_SMALL: Bytes = Bytes(64 << 10);

/// The way with the fewest bytes among those that are done soon enough.
pub fn best<T>(ways: impl IntoIterator<Item = (Cost, T)>, prefer: Prefer) -> Option<T> {
    let ways: Vec<(Cost, T)> = ways.into_iter().collect();
    let soonest = ways.iter().map(|(cost, _)| cost.time).min()?;
    let latest = soon_enough(prefer, soonest);
    let soon = ways.into_iter().filter(|(cost, _)| cost.time <= latest);
    soon.min_by_key(|(Cost { bytes, time }, _)| (*bytes, *time)).map(|(_, way)| way)
}

/// The latest time that a receiver takes for fewer bytes, where the soonest is this.
pub fn soon_enough(prefer: Prefer, soonest: Duration) -> Duration {
    let more = match prefer {
        // The times are estimates.
        Prefer::Time => (soonest / 16).max(Duration::from_millis(50)),
        // Nobody notices half a second.
        Prefer::Balanced => (soonest / 4).max(Duration::from_millis(500)),
        Prefer::Bytes => soonest.saturating_mul(4).max(Duration::from_secs(60)),
    };
    soonest.saturating_add(more)
}

/// The bytes at the default effort of a patch that has `bytes` at this effort.
pub fn to_default(content: Content, effort: Effort, bytes: Bytes) -> Bytes {
    Bytes(scale(bytes.0, 1024, figures(content, effort).bytes))
}

/// The bytes at this effort of a patch that has `bytes` at the default effort.
pub fn from_default(content: Content, effort: Effort, bytes: Bytes) -> Bytes {
    Bytes(scale(bytes.0, figures(content, effort).bytes, 1024))
}

fn figures(content: Content, effort: Effort) -> &'static Figures {
    let of_content = match content {
        Content::Update => &UPDATE,
        Content::Layer => &LAYER,
        Content::Packed => &PACKED,
    };
    &of_content[effort as usize]
}

impl EffortChoice {
    /// The efforts to choose from, `least` or above; none where there is no such effort for this content.
    pub fn from(self, content: Content, least: Effort) -> &'static [Effort] {
        const ALL: &[Effort] = &Effort::ALL;
        let efforts = content.efforts();
        match (self, content) {
            (Self::Auto, _) | (Self::Always(_), Content::Packed) => {
                let first = efforts.iter().position(|effort| *effort >= least).unwrap_or(efforts.len());
                &efforts[first..]
            }
            (Self::Always(effort), Content::Update | Content::Layer) => &ALL[effort as usize..=effort as usize],
        }
    }
}

impl Undertaking {
    /// A patch for one receiver of the usual pace, over a link of its own.
    pub fn alone(bytes: Bytes, content: Content, tar_bytes: Bytes, rate: BytesPerSecond) -> Self {
        Self { bytes, content, tar_bytes, rate, copies: 1, slowest: None, waiting: 0, terms: Terms::default() }
    }

    /// The time of encoding at this effort, at the pace of this machine.
    pub fn encoding(&self, effort: Effort, pace: Pace) -> Duration {
        pace.of(encoding(self.bytes, self.content, self.tar_bytes, effort))
    }

    /// The time of applying a patch of this effort, at the pace of the receivers.
    pub fn applying(&self, effort: Effort) -> Duration {
        self.terms.applying.of(applying(self.bytes, self.content, self.tar_bytes, effort))
    }

    /// The cost of making the patch at this effort and bringing it to the last receiver. The time that the encodes in
    /// the queue lose is added.
    pub fn making(&self, effort: Effort, pace: Pace) -> Cost {
        let bytes = from_default(self.content, effort, self.bytes);
        let waiting = u32::try_from(self.waiting).unwrap_or(u32::MAX).saturating_add(1);
        let encoding = self.encoding(effort, pace).saturating_mul(waiting);
        Cost { bytes, time: encoding.saturating_add(self.receiving(effort, bytes)) }
    }

    /// The time until the last receiver has applied a patch of that effort that exists and has these bytes.
    pub fn receiving(&self, effort: Effort, bytes: Bytes) -> Duration {
        let own = self.slowest.map_or(Duration::ZERO, |rate| bytes.at(rate));
        let sending = bytes.times(self.copies.max(1)).at(self.rate).max(own);
        receiving(sending, self.applying(effort), bytes)
    }

    /// The best of these efforts.
    pub fn best(&self, efforts: &[Effort], pace: Pace) -> Effort {
        let ways = efforts.iter().map(|&effort| (self.making(effort, pace), effort));
        best(ways, self.terms.prefer).unwrap_or_default()
    }
}

/// The time that a machine of the usual pace takes to make a patch of `bytes` at the default effort.
pub fn encoding(bytes: Bytes, content: Content, tar_bytes: Bytes, effort: Effort) -> Duration {
    work(bytes, tar_bytes).at(figures(content, effort).encode)
}

/// The time that a machine of the usual pace takes to apply a patch of `bytes` at the default effort.
pub fn applying(bytes: Bytes, content: Content, tar_bytes: Bytes, effort: Effort) -> Duration {
    work(bytes, tar_bytes).at(figures(content, effort).apply)
}

fn work(bytes: Bytes, tar_bytes: Bytes) -> Bytes {
    bytes + Bytes(tar_bytes.0 / TAR_BYTES_PER_WORK)
}

/// The time until a patch of these bytes is here and applied.
pub fn receiving(sending: Duration, applying: Duration, bytes: Bytes) -> Duration {
    let tail = if bytes <= FRAME_BYTES_SMALL { 1 } else { 2 };
    sending.saturating_add(applying / tail).max(applying)
}

/// `amount` x `of` / `over`.
fn scale(amount: u64, of: u64, over: u64) -> u64 {
    u64::try_from(u128::from(amount) * u128::from(of) / u128::from(over)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
