//! Finds the places of large bases that a range of the target resembles, without holding the bases in memory.
//!
//! A place of a base is a sample if the hash of the bytes from there on ([`Window`]) has certain bits; so the same
//! bytes are a sample wherever they stand (content-defined sampling). The index holds each sample's hash and place: 8
//! bytes for 64 bytes of the bases or more ([`Samples::new`]). For a range of the target, the index counts in which
//! blocks of the bases the range's samples occur.
//!
//! Bytes that occur everywhere, such as zeros, tell nothing: a hash with more than [`PLACES_MAX`] places is dropped,
//! and of a run of equal hashes the first place counts.

use std::io;
use std::ops::Range;

use crate::parallel;

use super::steps::Layers;

/// Bytes that a hash covers. Executables are full of addresses that change: longer windows rarely stay the same. But in
/// letters of a small alphabet short windows occur everywhere: then the longer ones are taken.
#[derive(Clone, Copy)]
enum Window {
    Short,
    Long,
}

const SHORT_BYTES: usize = 16;
const LONG_BYTES: usize = 64;

/// Short windows are taken if one in so many samples is not too common.
const USEFUL_PART: u64 = 4;
/// Most samples of an index; 32 MiB.
const SAMPLES_MAX: u64 = 4 << 20;
/// The smallest distance of samples, as a power of two.
const SPACING_BITS_MIN: u32 = 6;
/// Places of one hash that are looked at.
const PLACES_MAX: usize = 8;
/// Places whose hashes have the same highest bits, on average: a search looks at these.
const BUCKET_PLACES: usize = 4;
/// The bases are read in parts of this length.
const PART_BYTES: u64 = 8 << 20;

/// A part has at most so many times the samples that it should have, whatever its bytes are made for.
const CROWDED: usize = 4;

/// Places are known to this many bytes.
const UNIT_BYTES: u64 = 64;
/// Votes are counted for blocks of this length.
pub const BLOCK_BYTES: u64 = 64 << 10;

/// A range of a base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    pub base: usize,
    pub range: Range<u64>,
}

/// The samples of some extents, which stand one behind the other, each on a boundary of blocks.
pub struct Samples {
    extents: Vec<(u64, Extent)>,
    window: Window,
    spacing_bits: u32,
    /// Hash and place, sorted.
    places: Vec<(u32, u32)>,
    /// For each value of a hash's highest bits, the first place with such a hash; and the number of places behind.
    first: Vec<u32>,
}

impl Samples {
    /// Takes samples of the extents, which are in the order of their bases and of their places there. On average one of
    /// 64 bytes is a sample, or one of so many more that there are not too many.
    ///
    /// # Errors
    /// The error of a reader.
    pub fn new(layers: &Layers<'_>, extents: Vec<Extent>, threads: usize) -> io::Result<Self> {
        let (mut end, mut bytes) = (0, 0);
        let placed: Vec<(u64, Extent)> = extents
            .into_iter()
            .map(|extent| {
                let (start, length) = (end, extent.range.end - extent.range.start);
                end += length.next_multiple_of(BLOCK_BYTES);
                bytes += length;
                (start, extent)
            })
            .collect();
        // Not of `end`: many small files have many empty parts of blocks behind them.
        let spacing_bits = (SPACING_BITS_MIN..40).find(|bits| bytes >> bits <= SAMPLES_MAX).unwrap_or(40);
        let mut samples =
            Self { extents: placed, window: Window::Short, spacing_bits, places: Vec::new(), first: Vec::new() };
        let parts: Vec<(u64, Extent)> =
            samples.extents.iter().flat_map(|(start, extent)| parts(*start, extent)).collect();
        for window in [Window::Short, Window::Long] {
            let found = parallel::map(&parts, threads, |(start, extent)| {
                let bytes = read(layers, extent, window.bytes() - 1)?;
                let most = CROWDED * (PART_BYTES >> spacing_bits).max(1) as usize;
                let found = window.samples(&bytes, spacing_bits, most).into_iter();
                let placed = found.map(|(hash, at)| (hash, ((start + u64::from(at)) / UNIT_BYTES) as u32));
                Ok::<_, io::Error>(without_common(placed.collect()))
            })?;
            samples.window = window;
            samples.places = without_common(found.into_iter().flatten().collect());
            if samples.places.len() as u64 * USEFUL_PART >= samples.expected(bytes) {
                break;
            }
        }
        samples.first = first_places(&samples.places);
        Ok(samples)
    }

    /// The blocks that each sample of `content` occurs in; none for one that occurs everywhere.
    pub fn blocks(&self, content: &[u8]) -> Vec<Vec<u64>> {
        let samples = self.window.samples(content, self.spacing_bits, usize::MAX);
        let blocks = samples.into_iter().map(|(hash, _)| {
            let places = Some(self.places(hash)).filter(|places| places.len() <= PLACES_MAX).unwrap_or_default();
            let mut blocks: Vec<u64> =
                places.iter().map(|(_, place)| u64::from(*place) * UNIT_BYTES / BLOCK_BYTES).collect();
            blocks.dedup();
            blocks
        });
        blocks.collect()
    }

    /// The places of a hash.
    fn places(&self, hash: u32) -> &[(u32, u32)] {
        let bucket = ((u64::from(hash) * (self.first.len() as u64 - 1)) >> 32) as usize;
        let alike = &self.places[self.first[bucket] as usize..self.first[bucket + 1] as usize];
        let before = alike.iter().take_while(|(other, _)| *other < hash).count();
        let equal = alike[before..].iter().take_while(|(other, _)| *other == hash).count();
        &alike[before..before + equal]
    }

    /// About how many samples a range of this length has.
    pub fn expected(&self, bytes: u64) -> u64 {
        bytes >> self.spacing_bits
    }

    /// The block that a place of a base lies in, if it was sampled.
    pub fn block_of(&self, base: usize, offset: u64) -> Option<u64> {
        let behind = self.extents.partition_point(|(_, extent)| (extent.base, extent.range.start) <= (base, offset));
        let (start, extent) = self.extents[..behind].last()?;
        if extent.base != base || !extent.range.contains(&offset) {
            return None;
        }
        Some((start + offset - extent.range.start) / BLOCK_BYTES)
    }

    /// The extent of a block; `None` behind the last.
    pub fn block(&self, block: u64) -> Option<Extent> {
        let at = block * BLOCK_BYTES;
        let index = self.extents.partition_point(|(start, _)| *start <= at).checked_sub(1)?;
        let (start, extent) = &self.extents[index];
        let from = extent.range.start + (at - start);
        let end = (from + BLOCK_BYTES).min(extent.range.end);
        (from < end).then_some(Extent { base: extent.base, range: from..end })
    }
}

/// Sorts places. Keeps one place more of a hash than are looked at: that tells that it is too common, and such hashes
/// do not fill the index.
fn without_common(mut places: Vec<(u32, u32)>) -> Vec<(u32, u32)> {
    places.sort_unstable();
    places.dedup();
    let (mut hash, mut count) = (0, 0);
    places.retain(|(other, _)| {
        count = if *other == hash { count + 1 } else { 1 };
        hash = *other;
        count <= PLACES_MAX + 1
    });
    places
}

/// Where the places of each bucket begin. A bucket has the hashes with the same highest bits, about [`BUCKET_PLACES`].
fn first_places(places: &[(u32, u32)]) -> Vec<u32> {
    let buckets = (places.len() / BUCKET_PLACES).next_power_of_two() as u64;
    let mut first = vec![0; buckets as usize + 1];
    for (hash, _) in places {
        first[((u64::from(*hash) * buckets) >> 32) as usize + 1] += 1;
    }
    for bucket in 1..first.len() {
        first[bucket] += first[bucket - 1];
    }
    first
}

/// Cuts an extent into parts.
fn parts(start: u64, extent: &Extent) -> impl Iterator<Item = (u64, Extent)> + '_ {
    let Range { start: from, end } = extent.range;
    (from..end).step_by(PART_BYTES as usize).map(move |at| {
        let range = at..(at + PART_BYTES).min(end);
        (start + (at - from), Extent { base: extent.base, range })
    })
}

/// Reads an extent, and up to `more` bytes behind it.
fn read(layers: &Layers<'_>, extent: &Extent, more: u64) -> io::Result<Vec<u8>> {
    let base = layers.bases[extent.base];
    let end = (extent.range.end + more).min(base.len().0);
    let mut bytes = vec![0; (end - extent.range.start) as usize];
    base.read_exact_at(&mut bytes, extent.range.start)?;
    Ok(bytes)
}

impl Window {
    fn bytes(self) -> u64 {
        match self {
            Self::Short => SHORT_BYTES as u64,
            Self::Long => LONG_BYTES as u64,
        }
    }

    /// The first samples of some bytes, at most so many: hash and place.
    fn samples(self, bytes: &[u8], spacing_bits: u32, most: usize) -> Vec<(u32, u32)> {
        match self {
            Self::Short => sampled(short_windows(bytes), spacing_bits, most),
            Self::Long => sampled(long_windows(bytes), spacing_bits, most),
        }
    }
}

fn sampled(windows: impl Iterator<Item = u64>, spacing_bits: u32, most: usize) -> Vec<(u32, u32)> {
    let bound = 1 << (64 - spacing_bits);
    let mut samples = Vec::new();
    let mut last = 0;
    for (mixed, at) in windows.zip(0..) {
        if mixed >= bound {
            continue;
        }
        let hash = (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32;
        if hash == last {
            continue;
        }
        if samples.len() == most {
            break;
        }
        last = hash;
        samples.push((hash, at));
    }
    samples
}

/// A number for each window of 16 bytes.
fn short_windows(bytes: &[u8]) -> impl Iterator<Item = u64> + '_ {
    bytes.array_windows::<SHORT_BYTES>().map(|window| {
        let [first, second] = [0, 8].map(|at| window[at..].first_chunk().map_or(0, |half| u64::from_le_bytes(*half)));
        first.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(second.wrapping_mul(0xd6e8_feb8_6659_fd93))
    })
}

/// A number for each window of 64 bytes. A byte's part of the sum has left it 64 bytes later (a gear hash).
fn long_windows(bytes: &[u8]) -> impl Iterator<Item = u64> + '_ {
    let mut sum = 0u64;
    let sums = bytes.iter().map(move |byte| {
        sum = (sum << 1).wrapping_add(GEAR[usize::from(*byte)]);
        sum
    });
    sums.skip(LONG_BYTES - 1)
}

/// A number without pattern for each byte: the finaliser of splitmix64 (Steele, Lea, Flood 2014).
pub const GEAR: [u64; 256] = {
    let mut gear = [0; 256];
    let mut byte = 0;
    while byte < gear.len() {
        let mixed = (byte as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        gear[byte] = mixed ^ (mixed >> 31);
        byte += 1;
    }
    gear
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lighter_types::ReadAt;

    use super::super::tests::noise;
    use super::*;

    /// In which blocks how many samples of a content occur.
    fn votes(samples: &Samples, content: &[u8]) -> BTreeMap<u64, u64> {
        let mut votes = BTreeMap::new();
        samples.blocks(content).into_iter().flatten().for_each(|block| *votes.entry(block).or_default() += 1);
        votes
    }

    #[test]
    fn moved_bytes_vote_for_the_block_they_came_from() {
        let (first, second) = (noise(1, 3 << 20), noise(2, 1 << 20));
        let layers = Layers::new(&first as &dyn ReadAt, vec![&first as &dyn ReadAt, &second as &dyn ReadAt]);
        let extents = vec![Extent { base: 0, range: 100..3 << 20 }, Extent { base: 1, range: 0..1 << 20 }];
        let samples = Samples::new(&layers, extents, 2).unwrap();
        for (base, bytes, at) in [(0, &first, 1_234_567u64), (1, &second, 77_777)] {
            let content = &bytes[at as usize..at as usize + 30_000];
            let votes = votes(&samples, content);
            let best = votes.iter().max_by_key(|(_, votes)| **votes).map(|(block, _)| *block).unwrap();
            let extent = samples.block(best).unwrap();
            assert_eq!(extent.base, base);
            assert!(extent.range.start < at + 30_000 && at < extent.range.end, "{extent:?}");
            assert!(votes.values().sum::<u64>() > samples.expected(30_000) / 2);
        }
        assert!(votes(&samples, &noise(3, 30_000)).is_empty());
        assert!(votes(&samples, &[0; 30_000]).is_empty());
    }

    #[test]
    fn letters_of_a_small_alphabet_vote_too() {
        let letters: Vec<u8> = noise(1, 3 << 20).iter().map(|byte| b'a' + (byte >> 7)).collect();
        let layers = Layers::new(&letters as &dyn ReadAt, vec![&letters as &dyn ReadAt]);
        let samples = Samples::new(&layers, vec![Extent { base: 0, range: 0..3 << 20 }], 2).unwrap();
        let votes = votes(&samples, &letters[1_234_567..1_264_567]);
        let best = votes.iter().max_by_key(|(_, votes)| **votes).map(|(block, _)| *block);
        assert!(best.is_some_and(|best| (1_234_567 / BLOCK_BYTES..=1_264_567 / BLOCK_BYTES).contains(&best)));
    }

    #[test]
    fn blocks_cover_the_extents() {
        let bytes = noise(1, 300_000);
        let layers = Layers::new(&bytes as &dyn ReadAt, vec![&bytes as &dyn ReadAt]);
        let extents = vec![Extent { base: 0, range: 10..70_000 }, Extent { base: 0, range: 100_000..100_001 }];
        let samples = Samples::new(&layers, extents, 1).unwrap();
        let blocks: Vec<Range<u64>> =
            (0..4).filter_map(|block| samples.block(block)).map(|extent| extent.range).collect();
        assert_eq!(blocks, [10..65_546, 65_546..70_000, 100_000..100_001]);
        assert_eq!((samples.block_of(0, 70_000 - 1), samples.block_of(0, 100_000)), (Some(1), Some(2)));
        assert_eq!(samples.block_of(0, 80_000), None);
    }
}
