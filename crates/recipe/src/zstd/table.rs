//! The hash table of the two lower levels: for each hash the last position, and eight bits of what is there.
//!
//! The original keeps a position and four bytes. Here an entry has half the size, so that a level's tables stay near
//! the processor: 24 bits of the position and a tag of the four bytes, which are then compared in the content itself.
//! Positions wrap after 16 MiB; [`TagTable::expire`] keeps old entries from coming back.

use super::parse::has_bytes;
use super::text::Text;

const TAG_BITS: u32 = 8;
const TAG_MASK: u32 = (1 << TAG_BITS) - 1;
const POSITION_MASK: u32 = (1 << (32 - TAG_BITS)) - 1;

/// A table of `SIZE` entries; a hash is below `SIZE`.
pub(super) struct TagTable<const SIZE: usize>(Box<[u32; SIZE]>);

/// Eight bits that depend on the first four bytes alone: those are all that the original compares.
#[inline(always)]
fn tag(word: u64) -> u32 {
    (word as u32).wrapping_mul(0x9E37_79B1) >> (32 - TAG_BITS)
}

/// The entry for the bytes `word` at `at`.
#[inline(always)]
pub(super) fn entry(text: &Text<'_>, at: usize, word: u64) -> u32 {
    (text.position(at) << TAG_BITS) | tag(word)
}

/// The place of the entry's bytes, if they are the first four of `word` and lie in the window before `at`. Entries of
/// earlier frames reach back before the content and so find nothing.
#[inline(always)]
pub(super) fn candidate(text: &Text<'_>, entry: u32, at: usize, word: u64) -> Option<usize> {
    if entry & TAG_MASK != tag(word) {
        return None;
    }
    let distance = text.position(at).wrapping_sub(entry >> TAG_BITS) & POSITION_MASK;
    let earlier = at.wrapping_sub(distance as usize);
    (distance < text.window && has_bytes(text.content, earlier, word as u32)).then_some(earlier)
}

impl<const SIZE: usize> TagTable<SIZE> {
    pub(super) fn new() -> Self {
        let table: Result<Box<[u32; SIZE]>, _> = vec![0; SIZE].into_boxed_slice().try_into();
        Self(table.unwrap_or_else(|_| Box::new([0; SIZE])))
    }

    #[inline(always)]
    pub(super) fn get(&self, hash: usize) -> u32 {
        self.0[hash % SIZE]
    }

    #[inline(always)]
    pub(super) fn set(&mut self, hash: usize, entry: u32) {
        self.0[hash % SIZE] = entry;
    }

    /// Puts entries out of reach that lie a window or more before `position`. Called at least every 4 MiB.
    pub(super) fn expire(&mut self, position: u32, window: u32) {
        let expired = position.wrapping_sub(window) << TAG_BITS;
        for entry in self.0.iter_mut() {
            let distance = position.wrapping_sub(*entry >> TAG_BITS) & POSITION_MASK;
            if distance >= window {
                *entry = expired;
            }
        }
    }
}
