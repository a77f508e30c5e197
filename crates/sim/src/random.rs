//! The seeded generator of a run (xorshift64*; S. Vigna, 2016): its only source of chance.

#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `limit`; 0 for a limit of 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16).checked_rem(limit).unwrap_or(0)
    }

    /// Whether something of this probability, in thousandths, happens.
    pub fn happens(&mut self, permille: u64) -> bool {
        permille > 0 && self.below(1000) < permille
    }
}
