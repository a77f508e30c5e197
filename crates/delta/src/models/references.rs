//! Guesses at changed references in code and tables, from how earlier references changed.
//!
//! When a function moves, every relative reference to it changes by how far it moved, less how far the reference itself
//! moved; every absolute reference changes by the same amount. So the change of one reference is remembered by the
//! place that it referred to in the base, and guessed for the next reference to that place. References have four bytes,
//! little-endian, as in x86-64 and most tables. Source: the idea of Courgette (S. Adams, 2009) and of C. Percival's
//! "Naive differences of executable code" (2003), learned on the way instead of by disassembly.

/// The memory of one place.
#[derive(Clone, Copy, Default)]
struct Memory {
    /// The upper bits of the place's hash, which tell other places from it.
    check: u16,
    /// How often in a row it was right, 1 to 15; 0 if the memory is empty.
    sure: u16,
    /// By how much a reference to this place changes.
    moved: u32,
}

/// A guess at a reference in the target.
#[derive(Clone, Copy)]
pub struct Guess {
    /// The four bytes, as a number.
    pub word: u32,
    /// How sure: 0 for a guess without ground, up to 15.
    pub sure: u16,
}

/// Where a reference stands.
#[derive(Clone, Copy)]
pub struct Site {
    /// The four bytes in the base.
    pub word: u32,
    /// The same as they are shown to the models: rewritten, if they are known to be a reference.
    pub shown: u32,
    /// Their place in the base.
    pub from: u32,
    /// Their place in the target, less that in the base.
    pub shift: u32,
}

impl Site {
    /// The place that a relative reference here refers to, in the base.
    fn place(self) -> u32 {
        self.from.wrapping_add(self.word)
    }
}

/// The memories of places: 2^[`BITS`] of each kind, 512 KiB.
pub struct References {
    relative: Vec<Memory>,
    absolute: Vec<Memory>,
    regions: Vec<Memory>,
    last: u32,
}

const BITS: u32 = 14;
/// Places that are near each other mostly move together.
const REGION_BITS: u32 = 7;

fn slot(place: u32) -> (usize, u16) {
    let hash = u64::from(place).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((hash >> (64 - BITS)) as usize, (hash >> 24) as u16)
}

fn recall(table: &[Memory], place: u32) -> Option<Memory> {
    let (index, check) = slot(place);
    Some(table[index]).filter(|memory| memory.check == check && memory.sure > 0)
}

fn remember(table: &mut [Memory], place: u32, moved: u32) {
    let (index, check) = slot(place);
    let memory = &mut table[index];
    if memory.check == check && memory.sure > 0 && memory.moved == moved {
        memory.sure = (memory.sure + 1).min(15);
    } else {
        *memory = Memory { check, sure: 1, moved };
    }
}

impl References {
    pub fn new() -> Self {
        let table = vec![Memory::default(); 1 << BITS];
        Self { relative: table.clone(), absolute: table.clone(), regions: table, last: 0 }
    }

    /// The guess at a relative reference, by the memory of the place that it refers to.
    #[inline]
    pub fn relative(&self, site: Site) -> Option<Guess> {
        let memory = recall(&self.relative, site.place())?;
        Some(Guess { word: site.word.wrapping_add(memory.moved.wrapping_sub(site.shift)), sure: memory.sure })
    }

    /// The guess at a reference, by the memory of references with the same bytes in the base.
    #[inline]
    pub fn absolute(&self, site: Site) -> Option<Guess> {
        let memory = recall(&self.absolute, site.word)?;
        Some(Guess { word: site.word.wrapping_add(memory.moved), sure: memory.sure })
    }

    /// The guess at a relative reference, by the memory of the region that it refers to.
    #[inline]
    pub fn region(&self, site: Site) -> Option<Guess> {
        let memory = recall(&self.regions, site.place() >> REGION_BITS)?;
        Some(Guess { word: site.word.wrapping_add(memory.moved.wrapping_sub(site.shift)), sure: memory.sure })
    }

    /// The guess that a reference changes as the last one did.
    pub fn like_the_last(&self, site: Site) -> Guess {
        Guess { word: site.word.wrapping_add(self.last), sure: 0 }
    }

    /// Remembers that the reference at `site` is `word` in the target.
    pub fn learn(&mut self, site: Site, word: u32) {
        let change = word.wrapping_sub(site.word);
        let moved = change.wrapping_add(site.shift);
        remember(&mut self.relative, site.place(), moved);
        remember(&mut self.absolute, site.word, change);
        remember(&mut self.regions, site.place() >> REGION_BITS, moved);
        self.last = change;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(word: u32, from: u32, shift: u32) -> Site {
        Site { word, shown: word, from, shift }
    }

    #[test]
    fn a_place_that_moved_is_known_to_the_next_that_refers_to_it() {
        let mut references = References::new();
        // A call at 1000 to 5000, whose function moved by 48 while the call moved by 16.
        let first = site(4000, 1000, 16);
        assert!(references.relative(first).is_none());
        references.learn(first, 4032);
        let second = site(3000, 2000, 32);
        assert_eq!(references.relative(second).map(|guess| guess.word), Some(3016));
        assert_eq!(references.region(second).map(|guess| guess.word), Some(3016));
        assert!(references.absolute(second).is_none());
        assert_eq!(references.absolute(site(4000, 7, 9)).map(|guess| guess.word), Some(4032));
    }
}
