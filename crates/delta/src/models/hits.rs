//! A model of whether a byte of a match is the base's byte: one bit for each byte, and one bit for a whole block where
//! no byte has differed for a while. Long runs of equal bytes become cheap.

use lighter_coder::Coder;

use super::blocks::{Blocks, LIMIT};
use super::mixer::{Chance, Mixer, Scale};

/// Hashed contexts.
const HASHED: usize = 5;
const INPUTS: usize = HASHED + 4;
const HASH_BITS: u32 = 16;

/// The surroundings of a byte.
#[derive(Clone, Copy)]
pub struct Around {
    /// The base's bytes before, at, and after the place: two, one, three; little-endian from the first on.
    pub base: u64,
    /// The last bytes of the target, the latest in the lowest byte.
    pub before: u64,
    /// The guess at a reference that begins here: 0 none, 1 its first byte stays, 2 its first byte changes.
    pub guess: u8,
}

/// The model of equality.
pub struct Hits {
    blocks: Blocks,
    by_run: Vec<Chance>,
    by_history: Vec<Chance>,
    by_gaps: Vec<Chance>,
    by_byte: Vec<Chance>,
    hashed: Vec<Vec<Chance>>,
    mixer: Mixer,
    scale: Scale,
}

impl Hits {
    pub fn new() -> Self {
        Self {
            blocks: Blocks::new(),
            by_run: vec![Chance::EVEN; 64 * 16 * 3],
            by_history: vec![Chance::EVEN; 1 << 12],
            by_gaps: vec![Chance::EVEN; 64 * 64],
            by_byte: vec![Chance::EVEN; 256 * 64],
            hashed: vec![vec![Chance::EVEN; 1 << HASH_BITS]; HASHED],
            mixer: Mixer::new(32 * 3, INPUTS, 60),
            scale: Scale::get(),
        }
    }

    /// Length of the block to code as a whole, if `left` bytes of the match are left; `None` if single bytes are coded.
    #[inline]
    pub fn block(&self, left: usize) -> Option<usize> {
        self.blocks.block(left)
    }

    /// Codes whether a whole block is equal.
    pub fn code_block<C: Coder>(&mut self, coder: &mut C, equal: bool) -> bool {
        self.blocks.code(coder, equal)
    }

    /// Codes whether one byte is equal.
    #[inline]
    pub fn code<C: Coder>(&mut self, coder: &mut C, around: &Around, equal: bool) -> bool {
        let found = self.code_one(coder, around, equal);
        self.blocks.learn(found);
        found
    }

    #[inline]
    fn code_one<C: Coder>(&mut self, coder: &mut C, around: &Around, equal: bool) -> bool {
        let scale = self.scale;
        let run = self.blocks.run.min(63) as usize;
        let recent = (!self.blocks.history as u32).count_ones().min(15) as usize;
        let here = (around.base >> 16 & 0xff) as usize;
        let state = self.blocks.history & 7 | u64::from(around.guess) << 3;
        let hashes = [
            hash(around.base >> 8 & 0xffff, 1),
            hash(around.base & 0xff_ffff, 2),
            hash(around.base >> 16 & 0xffff_ffff, 3),
            hash((around.before & 0xffff) << 8 | here as u64, 4),
            hash(around.base & 0xffff_ffff | state << 32, 5),
        ];
        let gap = (self.blocks.run_before.min(63) * 64) as usize + run;
        let by_byte = here * 64 + state as usize;
        let by_history = (self.blocks.history & 0xfff) as usize;
        let by_run = run * 16 + recent;
        let mixer = &mut self.mixer;
        for (chances, &index) in self.hashed.iter().zip(&hashes) {
            mixer.add(scale.logit(chances[index].one()));
        }
        mixer.add(scale.logit(self.by_run[by_run].one()));
        mixer.add(scale.logit(self.by_history[by_history].one()));
        mixer.add(scale.logit(self.by_gaps[gap].one()));
        mixer.add(scale.logit(self.by_byte[by_byte].one()));
        let logit = mixer.mix((self.blocks.run.min(31) * 3) as usize + usize::from(around.guess));
        let found = coder.code(equal, scale.probability(logit));
        mixer.learn(found, scale);
        for (chances, &index) in self.hashed.iter_mut().zip(&hashes) {
            chances[index].learn(found, LIMIT, scale);
        }
        self.by_run[by_run].learn(found, LIMIT, scale);
        self.by_history[by_history].learn(found, LIMIT, scale);
        self.by_gaps[gap].learn(found, LIMIT, scale);
        self.by_byte[by_byte].learn(found, LIMIT, scale);
        found
    }
}

#[inline]
fn hash(bits: u64, salt: u64) -> usize {
    ((bits ^ salt << 57).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - HASH_BITS)) as usize
}
