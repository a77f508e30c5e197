//! The lowest hashes of a set, first whole and growing, then short and fixed.
//!
//! A fixed set keeps hashes as slots: `hash >> shift`. All slots below `limit` that occur are there, none is there
//! twice. There are 32 to 64 slots for each sample that may be kept, so a foreign hash falls on a taken slot once in 32
//! to 64 times: 7 bits a sample instead of 25, and the estimate takes the false hits out again (containment.rs).

/// Slots for each sample that may be kept: this many to twice as many.
const SLOTS_PER_SAMPLE: u64 = 32;

/// Hashes that are remembered, so that repeats of them cost nothing: contents that repeat themselves have few different
/// windows, all of them below the threshold again and again.
const RECENT_HASHES: usize = 1 << RECENT_BITS;
const RECENT_BITS: u32 = 11;
/// Spreads hashes over them: 2^64 over the golden ratio (Knuth, volume 3, section 6.4).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Collects the lowest `samples_max` of the hashes it is given. Holds twice as many, and [`RECENT_HASHES`].
pub(super) struct LowestHashes {
    hashes: Vec<u64>,
    /// Each at the place that its value says, until another takes it.
    recent: Vec<u64>,
    samples_max: usize,
    threshold: u64,
}

/// Which hashes a set would have: those with `hash >> shift < limit`.
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
            // No hash is added that is not below the threshold, so none is this.
            recent: vec![u64::MAX; RECENT_HASHES],
            samples_max,
            threshold: u64::MAX,
        }
    }

    /// Hashes from here on need not be added.
    pub(super) fn threshold(&self) -> u64 {
        self.threshold
    }

    /// Adds a hash below the threshold; gives the threshold from now on. Out of the way of the loop that hashes.
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
        // Below twice `slots_min`, unless the shift is 0: then 64 bits are not enough slots, which takes content made
        // for it, and the limit is as good as any.
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
    /// The level that both can be brought to.
    pub(crate) fn coarser(self, other: Self) -> Self {
        let shift = self.shift.max(other.shift);
        let limit = |level: Self| level.limit.checked_shr(shift - level.shift).unwrap_or(0);
        Self { shift, limit: limit(self).min(limit(other)) }
    }

    /// Hashes from here on are not in the set.
    pub(crate) fn threshold(self) -> u64 {
        u64::from(self.limit) << self.shift
    }
}

impl SampleSet {
    /// The most slots that a set of `samples_max` samples may have.
    pub(super) fn limit_max(samples_max: usize) -> u32 {
        u32::try_from(2 * SLOTS_PER_SAMPLE * samples_max as u64).unwrap_or(u32::MAX)
    }

    /// `slots` in rising order, repeats allowed; those from the limit on are left out.
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

    /// How many different hashes there were in all.
    pub(super) fn population(&self) -> u64 {
        let all = (self.slots.len() as u128) << 64;
        u64::try_from(all / u128::from(self.level.threshold().max(1))).unwrap_or(u64::MAX)
    }

    /// The lowest `samples_max` of both, where both have everything.
    pub(super) fn merge(&self, other: &Self, samples_max: usize) -> Self {
        let mut level = self.level.coarser(other.level);
        let mut slots: Vec<u32> = self.at(level).chain(other.at(level)).collect();
        slots.sort_unstable();
        slots.dedup();
        if let Some(&next) = slots.get(samples_max) {
            level.limit = next;
            slots.truncate(samples_max);
        }
        Self { level, slots }
    }
}

/// Occupied slots of one level at a coarser one, in rising order, each once.
pub(crate) fn coarsened(slots: &[u32], from: Level, to: Level) -> impl Iterator<Item = u32> {
    let shift = to.shift - from.shift;
    let mut last = None;
    slots
        .iter()
        .map(move |slot| slot.checked_shr(shift).unwrap_or(0))
        .take_while(move |&slot| slot < to.limit)
        .filter(move |&slot| last.replace(slot) != Some(slot))
}
