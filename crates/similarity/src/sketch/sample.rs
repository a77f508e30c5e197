//! The lowest hashes of a set: 64-bit hashes while the set grows, then short slots in a fixed set.
//!
//! A fixed set keeps each hash as a slot, `hash >> shift`. It has all slots below `limit` that occur, each once. A set
//! has 32 to 64 slots for each sample, so a foreign hash falls on a taken slot once in 32 to 64 times. This makes a
//! sample 7 bits long instead of 25. The estimate corrects for the false hits (containment.rs).

/// The least number of slots for each sample. A set has up to twice as many.
const SLOTS_PER_SAMPLE: u64 = 32;

/// The number of remembered hashes. Repetitive contents have few different windows, all of them below the threshold.
/// The memory makes their repeats cheap.
const RECENT_HASHES: usize = 1 << RECENT_BITS;
const RECENT_BITS: u32 = 11;
/// The multiplier that spreads hashes over the memory: 2^64 over the golden ratio (Knuth, volume 3, section 6.4).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Collects the lowest `samples_max` hashes. Holds up to twice as many, and [`RECENT_HASHES`].
pub(super) struct LowestHashes {
    hashes: Vec<u64>,
    /// Recent hashes, each at an index that its value determines.
    recent: Vec<u64>,
    samples_max: usize,
    threshold: u64,
}

/// The range of hashes that a set covers: those with `hash >> shift < limit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Level {
    pub(crate) shift: u32,
    pub(crate) limit: u32,
}

/// A fixed set: a level, and the occupied slots below its limit in rising order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SampleSet {
    level: Level,
    slots: Vec<u32>,
}

impl LowestHashes {
    pub(super) fn new(samples_max: usize) -> Self {
        Self {
            hashes: Vec::with_capacity(2 * samples_max),
            // A hash below the threshold is never this value.
            recent: vec![u64::MAX; RECENT_HASHES],
            samples_max,
            threshold: u64::MAX,
        }
    }

    /// The lowest hash that need not be added.
    pub(super) fn threshold(&self) -> u64 {
        self.threshold
    }

    /// Adds a hash below the threshold. Returns the new threshold. Not inlined, to keep the hashing loop small.
    #[cold]
    #[inline(never)]
    pub(super) fn add(&mut self, hash: u64) -> u64 {
        let place = (hash.wrapping_mul(SPREAD) >> (u64::BITS - RECENT_BITS)) as usize;
        if self.recent[place] != hash {
            self.recent[place] = hash;
            self.hashes.push(hash);
            if self.hashes.len() >= 2 * self.samples_max {
                self.shrink();
            }
        }
        self.threshold
    }

    pub(super) fn finish(mut self) -> SampleSet {
        self.shrink();
        let slots_min = SLOTS_PER_SAMPLE * self.samples_max as u64;
        let shift = (self.threshold / slots_min).checked_ilog2().unwrap_or(0);
        // The limit is below twice `slots_min`, unless the shift is 0. That takes contents made for the purpose, and
        // then any limit will do.
        let limit = u32::try_from(self.threshold >> shift).unwrap_or(u32::MAX);
        SampleSet::new(Level { shift, limit }, self.hashes.iter().map(|hash| hash >> shift))
    }

    fn shrink(&mut self) {
        self.hashes.sort_unstable();
        self.hashes.dedup();
        if let Some(&next) = self.hashes.get(self.samples_max) {
            self.threshold = next;
            self.hashes.truncate(self.samples_max);
        }
    }
}

impl Level {
    /// The finest level that both sets can be coarsened to.
    pub(crate) fn coarser(self, other: Self) -> Self {
        let shift = self.shift.max(other.shift);
        Self { shift, limit: self.limit_at(shift).min(other.limit_at(shift)) }
    }

    /// The limit for a larger shift.
    fn limit_at(self, shift: u32) -> u32 {
        self.limit.checked_shr(shift - self.shift).unwrap_or(0)
    }

    /// The lowest hash that the level does not cover.
    pub(crate) fn threshold(self) -> u64 {
        u64::from(self.limit) << self.shift
    }
}

impl SampleSet {
    /// The most slots that a set of `samples_max` samples may have.
    pub(super) fn limit_max(samples_max: usize) -> u32 {
        u32::try_from(2 * SLOTS_PER_SAMPLE * samples_max as u64).unwrap_or(u32::MAX)
    }

    /// A set of `slots`, which are in rising order and may repeat. Leaves out the slots from the limit on.
    pub(super) fn new(level: Level, slots: impl Iterator<Item = u64>) -> Self {
        let below = slots.filter_map(|slot| u32::try_from(slot).ok()).take_while(|&slot| slot < level.limit);
        let mut slots: Vec<u32> = below.collect();
        slots.dedup();
        Self { level, slots }
    }

    pub(crate) fn level(&self) -> Level {
        self.level
    }

    pub(crate) fn values(&self) -> &[u32] {
        &self.slots
    }

    /// The occupied slots at a coarser level, in rising order, each once.
    pub(crate) fn at(&self, level: Level) -> impl Iterator<Item = u32> {
        coarsened(&self.slots, self.level, level)
    }

    /// The estimated number of different hashes, including those above the threshold.
    pub(crate) fn population(&self) -> u64 {
        let all = (self.slots.len() as u128) << 64;
        u64::try_from(all / u128::from(self.level.threshold().max(1))).unwrap_or(u64::MAX)
    }
}

/// Converts the occupied slots of a level to a coarser level, in rising order, each once.
pub(crate) fn coarsened(slots: &[u32], from: Level, to: Level) -> impl Iterator<Item = u32> {
    let shift = to.shift - from.shift;
    let mut last = None;
    slots
        .iter()
        .map(move |slot| slot.checked_shr(shift).unwrap_or(0))
        .take_while(move |&slot| slot < to.limit)
        .filter(move |&slot| last.replace(slot) != Some(slot))
}
