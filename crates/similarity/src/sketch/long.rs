//! Long windows: 256 masked bytes, at each place where a masked window of 16 bytes has a low hash.
//!
//! The short windows count the bytes that are new. The long ones count how much is *broken*: a change breaks all long
//! windows across it, so ten small changes break ten times as much as a large one of the same bytes. A patch pays for
//! each break: it says where the copy ends, and everything behind a break has moved by another distance.
//!
//! Bytes before the beginning of a file count as zeros, so a file of any size has long windows.

use super::LONG_SAMPLES_MAX;
use super::parity::Parities;
use super::sample::{LowestHashes, SampleSet};

/// The bytes of a long window.
const LONG_BYTES: usize = 256;
/// The bytes of a window that are hashed at a time: four words, each into a sum of its own, because a processor can do
/// four multiplications at once.
const LANES: usize = 4;
/// The factor of splitmix64's state (Steele, Lea, Flood, 2014), and the two of its output.
const FACTORS: [u64; 3] = [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb];

/// Counts masked windows and long ones. Holds about 30 KB.
pub(super) struct LongWindows {
    /// The last bytes before the stage, and the stage.
    bytes: Vec<u8>,
    /// The hash of the last window: bytes that repeat have one window, and it counts once.
    last: u64,
    masked_odd: Parities,
    odd: Parities,
    samples: LowestHashes,
    threshold: u64,
}

impl LongWindows {
    pub(super) fn new(stage_bytes: usize) -> Self {
        let mut bytes = Vec::with_capacity(LONG_BYTES + stage_bytes);
        bytes.resize(LONG_BYTES, 0);
        Self {
            bytes,
            last: u64::MAX,
            masked_odd: Parities::new(),
            odd: Parities::new(),
            samples: LowestHashes::new(LONG_SAMPLES_MAX),
            threshold: u64::MAX,
        }
    }

    /// Takes the next masked bytes of the file. Places in them count from 0.
    pub(super) fn stage(&mut self, masked: &[u8]) {
        self.bytes.drain(..self.bytes.len() - LONG_BYTES);
        self.bytes.extend_from_slice(masked);
    }

    /// Adds the masked window of this hash that ends with the byte `at` of the stage, and the long one.
    #[cold]
    #[inline(never)]
    pub(super) fn add(&mut self, hash: u64, at: usize) {
        if hash == self.last {
            return;
        }
        self.last = hash;
        self.masked_odd.flip(mix(hash));
        let Some(window) = self.bytes.get(at + 1..).and_then(<[u8]>::first_chunk) else { return };
        let long = hash_of(window);
        self.odd.flip(long);
        if long < self.threshold {
            self.threshold = self.samples.add(long);
        }
    }

    pub(super) fn end_file(&mut self) {
        self.bytes.clear();
        self.bytes.resize(LONG_BYTES, 0);
        self.last = u64::MAX;
    }

    /// The odd sketches of masked and of long windows, and samples of long ones.
    pub(super) fn finish(self) -> (Parities, Parities, SampleSet) {
        (self.masked_odd, self.odd, self.samples.finish())
    }
}

fn hash_of(window: &[u8; LONG_BYTES]) -> u64 {
    let (words, _) = window.as_chunks::<8>();
    let (rows, _) = words.as_chunks::<LANES>();
    let mut lanes = [1, 2, 3, 4];
    for row in rows {
        for (lane, word) in lanes.iter_mut().zip(row) {
            *lane = (*lane ^ u64::from_le_bytes(*word)).wrapping_mul(FACTORS[0]).rotate_left(29);
        }
    }
    lanes.iter().fold(0, |hash, &lane| mix(hash ^ lane))
}

/// Makes each bit depend on all bits, as splitmix64 does with its state.
fn mix(hash: u64) -> u64 {
    let hash = hash.wrapping_add(FACTORS[0]);
    let hash = (hash ^ (hash >> 30)).wrapping_mul(FACTORS[1]);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(FACTORS[2]);
    hash ^ (hash >> 31)
}
