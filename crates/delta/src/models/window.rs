//! The base's bytes at the place of a match, with a margin around them: a match is coded against these.

use super::references::Site;
use crate::moves::Map;

/// Bytes of the base before the first byte of a match, and behind its last byte; zeros where the source has none.
pub const MARGIN_BEFORE: usize = 2;
pub const MARGIN_BEHIND: usize = 8;

/// The base's bytes of a match.
#[derive(Default)]
pub struct Window {
    /// With the margins.
    pub bytes: Vec<u8>,
    /// The same before references were rewritten; empty if there are none.
    original: Vec<u8>,
    /// Their place in the sources, and in the target. Only the difference, and its changes, matter.
    pub from: u64,
    pub to: u64,
}

impl Window {
    pub fn base(&self) -> &[u8] {
        &self.bytes[MARGIN_BEFORE..self.bytes.len() - MARGIN_BEHIND]
    }

    /// The base's bytes two before, at, and five behind a place; little-endian from the first on.
    #[inline]
    pub fn around(&self, index: usize) -> u64 {
        self.bytes[index..].first_chunk().map_or(0, |chunk| u64::from_le_bytes(*chunk))
    }

    /// The four bytes at a place, before references were rewritten.
    fn word(&self, index: usize) -> u32 {
        let bytes = if self.original.is_empty() { &self.bytes } else { &self.original };
        bytes[index + MARGIN_BEFORE..].first_chunk().map_or(0, |word| u32::from_le_bytes(*word))
    }

    /// Rewrites references, if the match is within an executable whose moves are known.
    /// The match stands at `from` in the sources and at `to` in the target.
    pub fn rewrite(&mut self, map: &Map, from: u64, to: u64) {
        self.original.clear();
        if let Some(file) = map.file(to).filter(|file| file.old.contains(&from)) {
            self.original.extend_from_slice(&self.bytes);
            file.rewrite(from - file.old.start, to - file.target.start, &mut self.bytes, MARGIN_BEFORE);
        }
    }

    /// The four bytes at a place, as a reference.
    #[inline]
    pub fn site(&self, index: usize) -> Site {
        Site {
            word: self.word(index),
            shown: (self.around(index) >> (8 * MARGIN_BEFORE)) as u32,
            from: self.from.wrapping_add(index as u64) as u32,
            shift: self.to.wrapping_sub(self.from) as u32,
        }
    }
}
