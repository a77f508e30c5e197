//! Chains of positions whose four bytes have the same hash, in a window of 64 KiB that slides by half.
//!
//! For each position the table knows how far the one before it with its hash is: two bytes instead of a position's
//! four.

use crate::deflate::WINDOW_BYTES;
use crate::tables::boxed;

pub const FULL: usize = 2 * WINDOW_BYTES;
const HASHES: usize = 1 << 17;
/// Positions are counted from the window's start and an offset, which is set back before it can overflow.
const OFFSET_MAX: u32 = 1 << 30;
/// An empty slot is out of reach.
const OFFSET_MIN: u32 = WINDOW_BYTES as u32 + 1;

/// Eight bytes more than are used: a word can be read at any position of the window.
pub type Window = [u8; FULL + 8];

/// The four bytes at a position.
#[inline]
pub fn word(window: &Window, at: usize) -> u32 {
    let at = at & (FULL - 1);
    let bytes: [u8; 4] = window[at..at + 4].try_into().unwrap_or_default();
    u32::from_le_bytes(bytes)
}

/// The last position of each hash, and how far each position is from the one before with its hash. `MULTIPLIER` makes
/// the hash, of the four bytes as a big-endian number if `SWAPS`.
pub struct ChainTable<const MULTIPLIER: u32, const SWAPS: bool> {
    last: Box<[u32; HASHES]>,
    /// 0: there is none within reach.
    previous: Box<[u16; WINDOW_BYTES]>,
    offset: u32,
}

impl<const MULTIPLIER: u32, const SWAPS: bool> ChainTable<MULTIPLIER, SWAPS> {
    pub fn new() -> Self {
        Self { last: boxed(), previous: boxed(), offset: OFFSET_MIN }
    }

    /// Puts a position in; how far the one before it is, or 0.
    #[inline]
    pub fn insert(&mut self, window: &Window, position: usize) -> usize {
        let last = &mut self.last[hash::<MULTIPLIER, SWAPS>(window, position)];
        let here = self.offset.wrapping_add(position as u32);
        let distance = here.wrapping_sub(*last);
        *last = here;
        let distance = if distance > WINDOW_BYTES as u32 { 0 } else { distance };
        self.previous[position & (WINDOW_BYTES - 1)] = distance as u16;
        distance as usize
    }

    /// How far the last position with the hash of this one is, if it is not put in yet. It may be out of reach.
    pub fn distance(&self, window: &Window, position: usize) -> usize {
        let here = self.offset.wrapping_add(position as u32);
        here.wrapping_sub(self.last[hash::<MULTIPLIER, SWAPS>(window, position)]) as usize
    }

    /// The position before this one in its chain; how far it is from this one, or 0.
    #[inline]
    pub fn step(&self, position: usize) -> usize {
        usize::from(self.previous[position & (WINDOW_BYTES - 1)])
    }

    /// The window slides.
    pub fn slide(&mut self) {
        self.offset += WINDOW_BYTES as u32;
        if self.offset > OFFSET_MAX {
            let less = self.offset - OFFSET_MIN;
            self.last.iter_mut().for_each(|last| *last = last.saturating_sub(less));
            self.offset -= less;
        }
    }
}

#[inline]
fn hash<const MULTIPLIER: u32, const SWAPS: bool>(window: &Window, position: usize) -> usize {
    let word = word(window, position);
    let word = if SWAPS { word.swap_bytes() } else { word };
    (word.wrapping_mul(MULTIPLIER) >> 15) as usize & (HASHES - 1)
}
