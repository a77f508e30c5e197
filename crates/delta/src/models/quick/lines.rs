//! Hashed contexts with a line for each half of a byte: the chances of the half's 15 nodes, and what tells the context
//! from others that share the place. Source: M. Mahoney's lpaq (nibble-wise lines with a check, two places for each).

use super::super::mixer::SmallChance;

/// How many contexts have lines.
pub const CONTEXTS: usize = 2;
/// The bits of each context's table.
const LINE_BITS: u32 = 13;
/// A line: first the check, then the chances.
pub type Line = [u16; 16];
/// A processor reads so much from memory at once, in numbers of 16 bits: two lines, which are a context's places.
const CACHE_LINE: usize = 32;

/// The tables.
pub struct Lines {
    /// With room to begin at the start of a cache line.
    numbers: Vec<u16>,
    start: usize,
}

impl Lines {
    pub fn new() -> Self {
        let numbers = vec![0u16; (CONTEXTS << LINE_BITS) * size_of::<Line>() / 2 + CACHE_LINE];
        // Where it begins has no effect on what is coded.
        let start = numbers.as_ptr().align_offset(2 * CACHE_LINE).min(CACHE_LINE);
        Self { numbers, start }
    }

    /// All lines, each of which begins in its own place of a cache line.
    #[inline]
    fn all(&mut self) -> &mut [Line] {
        self.numbers[self.start..].as_chunks_mut().0
    }

    /// The places of the lines of these contexts, behind a half of a byte that begins at `node`. A context that has no
    /// line gets the one of its two places that has learned less, empty.
    #[inline]
    pub fn find(&mut self, contexts: &[u64; CONTEXTS], node: usize) -> [usize; CONTEXTS] {
        let lines = self.all();
        let mut places = [0; CONTEXTS];
        for ((index, place), context) in places.iter_mut().enumerate().zip(contexts) {
            let mixed = (context ^ node as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            *place = index << LINE_BITS | (mixed >> (64 - LINE_BITS)) as usize;
            let check = mixed as u16 | 1;
            if lines[*place][0] == check {
                continue;
            }
            let other = *place ^ 1;
            if lines[other][0] == check {
                *place = other;
                continue;
            }
            let learned = |line: &Line| SmallChance(line[1]).count();
            if learned(&lines[*place]) > learned(&lines[other]) {
                *place = other;
            }
            lines[*place] = [0; 16];
            lines[*place][0] = check;
        }
        places
    }

    #[inline]
    pub fn get(&mut self, places: [usize; CONTEXTS]) -> [Line; CONTEXTS] {
        let lines = self.all();
        places.map(|place| lines[place])
    }

    #[inline]
    pub fn put(&mut self, places: [usize; CONTEXTS], changed: &[Line; CONTEXTS]) {
        let lines = self.all();
        for (place, line) in places.into_iter().zip(changed) {
            lines[place] = *line;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_finds_its_line_again_until_two_others_have_taken_its_places() {
        let mut lines = Lines::new();
        let places = lines.find(&[7, 8], 1);
        let mut changed = lines.get(places);
        changed[0][5] = 99;
        lines.put(places, &changed);
        assert_eq!(lines.find(&[7, 8], 1), places);
        assert_eq!(lines.get(places)[0][5], 99);
        assert_ne!(lines.find(&[7, 8], 2), places);
        // Other contexts drive it out in the end; its line is then empty, never another's.
        for other in 0..1 << 16 {
            lines.find(&[1000 + other, 0], 1);
        }
        let again = lines.find(&[7, 8], 1);
        assert_eq!(lines.get(again)[0][5], 0);
    }
}
