//! A model of whether a byte of a match is the base's byte: one bit for each byte, and one bit for a whole block where
//! no byte has differed for a while. Long runs of equal bytes become cheap.
//!
//! A byte that was the base's nearly always, after so many equal bytes, is coded by that chance alone. About half of
//! the bytes of executables are such, and mixing finds next to nothing to save on them.

use lighter_coder::Coder;

use super::super::blocks::{Blocks, LIMIT};
use super::super::hits::Around;
use super::super::mixer::{Chance, Scale};
use super::mixer::{INPUTS, Mixer, input};

/// Hashed contexts.
const HASHED: usize = 5;
/// Above this probability that a byte is equal, nothing is mixed: a different byte in 512.
const SURE: u16 = u16::MAX - 127;
/// How many different bytes a sure chance remembers.
const SURE_LIMIT: u32 = 1000;
const HASH_BITS: u32 = 16;

/// The model of equality.
pub struct Hits {
    blocks: Blocks,
    /// By the run so far, and by the base's byte.
    sure: Vec<Chance>,
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
            sure: vec![Chance::EVEN; 16 * 256],
            by_run: vec![Chance::EVEN; 64 * 16 * 3],
            by_history: vec![Chance::EVEN; 1 << 12],
            by_gaps: vec![Chance::EVEN; 64 * 64],
            by_byte: vec![Chance::EVEN; 256 * 64],
            hashed: vec![vec![Chance::EVEN; 1 << HASH_BITS]; HASHED],
            mixer: Mixer::new(32 * 3, 60),
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

    /// Codes whether one byte is equal. `guess` looks the guess at a reference up, if it is needed.
    #[inline]
    pub fn code<C: Coder>(&mut self, coder: &mut C, around: Around, guess: impl FnOnce() -> u8, equal: bool) -> bool {
        let sure = (self.blocks.run / 2).min(15) as usize * 256 + (around.base >> 16 & 0xff) as usize;
        let one = self.sure[sure].one();
        let found = if one > SURE {
            coder.code(equal, one)
        } else {
            self.code_one(coder, &Around { guess: guess(), ..around }, one, equal)
        };
        self.sure[sure].learn(found, SURE_LIMIT, self.scale);
        self.blocks.learn(found);
        found
    }

    #[inline]
    fn code_one<C: Coder>(&mut self, coder: &mut C, around: &Around, sure: u16, equal: bool) -> bool {
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
        let mut inputs = [0; INPUTS];
        for ((place, chances), &index) in inputs.iter_mut().zip(&self.hashed).zip(&hashes) {
            *place = input(chances[index].one(), scale);
        }
        let others = [self.by_run[by_run], self.by_history[by_history], self.by_gaps[gap], self.by_byte[by_byte]];
        for (place, chance) in inputs[HASHED..].iter_mut().zip(others) {
            *place = input(chance.one(), scale);
        }
        inputs[HASHED + others.len()] = input(sure, scale);
        let set = (self.blocks.run.min(31) * 3) as usize + usize::from(around.guess);
        let one = scale.probability(self.mixer.mix(set, &inputs));
        let found = coder.code(equal, one);
        self.mixer.learn(set, &inputs, found, one);
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
