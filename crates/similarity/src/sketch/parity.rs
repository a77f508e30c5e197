//! Odd sketches: the number of different items of two sets that are nearly equal.
//!
//! Samples say little about a small update: when a thousandth of a layer is new, one of 550 samples is new or none. A
//! difference can be counted directly (Mitzenmacher, Pagh, Pham, "Efficient estimation for high similarities using odd
//! sketches", 2014): each item flips one cell of a bitmap, so what two sets share cancels out when the bitmaps are
//! compared, and the odd cells that are left count what only one of them has. One bitmap is right for one order of
//! magnitude. So there is one for each: an item has a level, and half as many items reach each further one (the strata
//! of Eppstein et al., "What's the difference?", 2011).
//!
//! An item that occurs twice in a set cancels itself out. The estimate therefore counts as far as samples bear it out
//! (containment.rs).

/// The levels. The last one has about one item in 2^10.
pub(crate) const LEVELS: usize = 11;
/// The cells of a level.
const CELLS: u32 = 256;
const WORDS: usize = CELLS as usize / 64;
/// The bytes of an odd sketch.
pub(super) const PARITY_BYTES: usize = LEVELS * CELLS as usize / 8;
/// The most odd cells of a level that counts. Beyond, many items have cancelled each other out.
const ODD_MAX: u32 = 80;
/// Counts of items are in this fraction.
const FRACTION: u64 = 1 << 8;

/// An odd sketch. Each item must have a hash of its own, all bits of which are random.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parities {
    levels: Box<[[u64; WORDS]; LEVELS]>,
}

/// The estimated number of items that only one of two sets has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) items: u64,
    /// The variance of `items`.
    pub(crate) variance: u64,
}

impl Parities {
    pub(super) fn new() -> Self {
        Self { levels: Box::new([[0; WORDS]; LEVELS]) }
    }

    /// Adds an item, or takes it away again.
    pub(super) fn flip(&mut self, hash: u64) {
        let level = (hash.trailing_zeros() as usize).min(LEVELS - 1);
        let cell = (hash >> 56) as usize;
        self.levels[level][cell / 64] ^= 1 << (cell % 64);
    }

    /// The items that only one of the two sets has; `None` if they are too many: over 2^17.
    pub(crate) fn difference(&self, other: &Self) -> Option<Difference> {
        let mut odd = [0; LEVELS];
        for (odd, (ours, theirs)) in odd.iter_mut().zip(self.levels.iter().zip(other.levels.iter())) {
            *odd = ours.iter().zip(theirs).map(|(ours, theirs)| (ours ^ theirs).count_ones()).sum();
        }
        // The levels from the finest one that is not too full have one item in 2^first.
        let first = odd.iter().rposition(|&odd| odd > ODD_MAX).map_or(0, |full| full + 1);
        let counted = odd.get(first..).filter(|levels| !levels.is_empty())?;
        let (items, variance) = counted
            .iter()
            .fold((0, 0), |(items, variance), &odd| (items + ITEMS[odd as usize], variance + variance_of(odd)));
        // Nothing found still leaves an item or two that may be there.
        let variance = variance.max(FRACTION);
        Some(Difference { items: (items << first) / FRACTION, variance: (variance << (2 * first)) / FRACTION })
    }

    pub(super) fn to_bytes(&self) -> impl Iterator<Item = u8> {
        self.levels.iter().flatten().flat_map(|word| word.to_le_bytes())
    }

    pub(super) fn from_bytes(bytes: &[u8; PARITY_BYTES]) -> Self {
        let mut parities = Self::new();
        let (words, _) = bytes.as_chunks::<8>();
        for (word, bytes) in parities.levels.as_flattened_mut().iter_mut().zip(words) {
            *word = u64::from_le_bytes(*bytes);
        }
        parities
    }
}

/// The items that leave so many cells odd. With k odd cells, the next item makes one more with the chance of an even
/// cell and one less with that of an odd one, so each further odd cell takes cells / (cells - 1 - 2k) items.
const ITEMS: [u64; ODD_MAX as usize + 1] = {
    let mut items = [0; ODD_MAX as usize + 1];
    let mut odd = 0;
    while odd < ODD_MAX as usize {
        items[odd + 1] = items[odd] + FRACTION * CELLS as u64 / (CELLS as u64 - 1 - 2 * odd as u64);
        odd += 1;
    }
    items
};

/// The variance of the items that leave so many cells odd, including that of the level's share of all items:
/// (cells / (cells - 2 x odd))^2 - 1 quarters of all cells.
fn variance_of(odd: u32) -> u64 {
    let even = u64::from(CELLS - 2 * odd);
    let cells = u64::from(CELLS);
    FRACTION * cells * (cells * cells - even * even) / (4 * even * even)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of splitmix64.
    fn items(seed: u64, count: u64) -> impl Iterator<Item = u64> {
        (0..count).map(move |n| {
            let state = (seed << 40 | n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        })
    }

    fn parities(all: impl Iterator<Item = u64>) -> Parities {
        let mut parities = Parities::new();
        all.for_each(|item| parities.flip(item));
        parities
    }

    #[test]
    fn differences_are_counted_whatever_is_shared() {
        let shared = parities(items(1, 50_000));
        for count in [0, 1, 10, 60, 200, 1000, 5000, 20_000, 60_000] {
            let mut off = 0.0;
            for seed in 2..12 {
                let one = parities(items(1, 50_000).chain(items(seed, count)));
                let found = shared.difference(&one).unwrap();
                assert_eq!(one.difference(&shared), Some(found));
                let deviation = (found.variance as f64).sqrt();
                let error = found.items as f64 - count as f64;
                assert!(error.abs() <= 4.0 * deviation, "{count}: {found:?}");
                assert!(count < 60 || deviation < 0.17 * count as f64, "{count}: {found:?}");
                off += error * error;
            }
            let mean = (off / 10.0).sqrt();
            assert!(count == 0 || mean <= 0.17 * count as f64 + 2.0, "{count}: off by {mean}");
        }
    }

    #[test]
    fn too_many_differences_are_no_number() {
        let (one, other) = (parities(items(1, 200_000)), parities(items(2, 200_000)));
        assert_eq!(one.difference(&other), None);
    }

    #[test]
    fn bytes_go_round() {
        let one = parities(items(1, 3000));
        let bytes: Vec<u8> = one.to_bytes().collect();
        assert_eq!(Parities::from_bytes(bytes[..].try_into().unwrap()), one);
    }
}
