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
    /// The same before references were rewritten; empty if none were.
    original: Vec<u8>,
    /// Earlier programs kept `original` for the matches of a stream that followed.
    pub keeps_original: bool,
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
        let rest = bytes.get(index + MARGIN_BEFORE..).unwrap_or_default();
        rest.first_chunk().map_or(0, |word| u32::from_le_bytes(*word))
    }

    /// Says that the match is in a stream, where no reference is rewritten.
    pub fn leave(&mut self) {
        if !self.keeps_original {
            self.original.clear();
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_knows_nothing_of_the_executable_before_it() {
        let window = |keeps_original| {
            let bytes = (0..80).collect();
            let mut window = Window { bytes, original: vec![99; 12], keeps_original, ..Window::default() };
            window.leave();
            window
        };
        let word = |window: &Window, index| window.site(index).word;
        assert_eq!(word(&window(false), 40), u32::from_le_bytes([42, 43, 44, 45]));
        // As earlier programs did; behind the end of the executable's match they failed.
        assert_eq!(word(&window(true), 3), u32::from_le_bytes([99; 4]));
        assert_eq!(word(&window(true), 40), 0);
    }
}
