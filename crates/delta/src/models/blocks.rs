//! The results so far of a model of equality, and its coding of whole blocks: where no byte has differed for a while,
//! one bit stands for all bytes of a block. The models of today and the earlier ones share it.

use lighter_coder::Coder;

use super::mixer::{Chance, Scale};

/// After so many equal bytes, whole blocks are coded.
const CALM_BYTES: u32 = 32;
/// The shortest block, and by how much each next one is longer.
const BLOCK_BYTES: usize = 32;
const BLOCK_GROWTH: u32 = 2;
const LEVEL_MAX: u32 = 7;
/// Probabilities of equality are steady: they learn from many bits.
pub const LIMIT: u32 = 400;

/// The results, and the chances of blocks.
pub struct Blocks {
    /// The last results, the latest in the lowest bit; 1 is equal.
    pub history: u64,
    /// Equal bytes since the last different byte, and between that byte and the different byte before.
    pub run: u32,
    pub run_before: u32,
    /// The level of the next block's length.
    level: u32,
    chances: [Chance; 8 * 16],
    scale: Scale,
}

impl Blocks {
    pub fn new() -> Self {
        Self {
            history: u64::MAX,
            run: 0,
            run_before: 0,
            level: 0,
            chances: [Chance::EVEN; 8 * 16],
            scale: Scale::get(),
        }
    }

    /// Length of the block to code as a whole, if `left` bytes of the match are left; `None` if single bytes are coded.
    #[inline]
    pub fn block(&self, left: usize) -> Option<usize> {
        if self.run < CALM_BYTES || left < BLOCK_BYTES {
            return None;
        }
        let longest = BLOCK_BYTES << (BLOCK_GROWTH * self.level);
        Some(longest.min(left))
    }

    /// Codes whether a whole block is equal.
    pub fn code<C: Coder>(&mut self, coder: &mut C, equal: bool) -> bool {
        let recent = (!self.history).count_ones().min(15);
        let chance = &mut self.chances[(self.level * 16 + recent) as usize];
        let found = coder.code(equal, chance.one());
        chance.learn(found, LIMIT, self.scale);
        if found {
            self.history = self.history << 8 | 0xff;
            self.level = (self.level + 1).min(LEVEL_MAX);
        } else if self.level > 0 {
            self.level -= 1;
        } else {
            // Single bytes until so many in a row are equal.
            self.run = 0;
        }
        found
    }

    /// Learns whether a single byte was equal.
    #[inline]
    pub fn learn(&mut self, equal: bool) {
        self.history = self.history << 1 | u64::from(equal);
        if equal {
            self.run += 1;
        } else {
            self.run_before = self.run;
            self.run = 0;
            self.level = 0;
        }
    }
}
