//! Probabilities that learn, and a mixer that weighs many of them into one.
//!
//! Source: M. Mahoney, "Adaptive Weighing of Context Models for Lossless Data Compression" (Florida Tech. CS-2005-16):
//! logistic mixing, online gradient descent of coding cost. All in integers, so that every machine codes the same.
//!
//! Two scales: a probability is of 65536, from 1 to 65535; its logit is ln(p / (1 - p)) in 1/256, within
//! +-[`LOGIT_MAX`].

use std::sync::LazyLock;

/// Largest logit: a probability of 1/59874.
pub const LOGIT_MAX: i32 = 2816;

struct Tables {
    /// Logit of each probability in 1/4096.
    logits: [i16; 4096],
    /// The probability of each logit from -[`LOGIT_MAX`] on.
    probabilities: [u16; 2 * LOGIT_MAX as usize + 1],
    /// 65536 / (n + 1.6): how far a probability moves at its n-th update.
    rates: [u16; RATES],
}

/// How many counts of updates have a rate.
const RATES: usize = 1024;

static TABLES: LazyLock<Box<Tables>> = LazyLock::new(|| {
    let mut tables =
        Box::new(Tables { logits: [0; 4096], probabilities: [0; 2 * LOGIT_MAX as usize + 1], rates: [0; RATES] });
    for (index, entry) in tables.probabilities.iter_mut().enumerate() {
        *entry = logistic(index as i32 - LOGIT_MAX);
    }
    // The logit of a probability is the first logit whose probability is as large: the two tables are inverse.
    let mut logit = -LOGIT_MAX;
    for index in 0..4096 {
        let wanted = index as u32 * 16 + 8;
        while logit < LOGIT_MAX && u32::from(tables.probabilities[(logit + LOGIT_MAX) as usize]) < wanted {
            logit += 1;
        }
        tables.logits[index] = logit as i16;
    }
    for (count, rate) in tables.rates.iter_mut().enumerate() {
        *rate = (65536 * 10 / (count as u32 * 10 + 16)).min(65535) as u16;
    }
    tables
});

/// 65536 / (1 + e^(-logit / 256)), by integers: e^-x from its 2^-k parts, each a constant of 32 bits.
fn logistic(logit: i32) -> u16 {
    /// e^(-2^k / 256) in 1/2^32, for k = 0 to 11.
    const PARTS: [u64; 12] = [
        4_278_222_805,
        4_261_543_595,
        4_228_380_000,
        4_162_825_044,
        4_034_748_382,
        3_790_295_335,
        3_344_923_893,
        2_605_029_347,
        1_580_030_169,
        581_260_615,
        78_665_070,
        1_440_801,
    ];
    let magnitude = logit.unsigned_abs();
    let mut power = 1u64 << 32;
    for (k, part) in PARTS.iter().enumerate() {
        if magnitude >> k & 1 == 1 {
            power = (power * part) >> 32;
        }
    }
    // For a negative logit: e^-x / (1 + e^-x).
    let small = ((power << 16) / ((1 << 32) + power)).clamp(1, 32768) as u32;
    if logit < 0 { small as u16 } else { (65536 - small).min(65535) as u16 }
}

/// The tables. A model takes them once, so that no bit pays for the check whether they exist.
#[derive(Clone, Copy)]
pub struct Scale(&'static Tables);

impl Scale {
    pub fn get() -> Self {
        Self(&TABLES)
    }

    /// The logit of a probability.
    #[inline]
    pub fn logit(self, probability: u16) -> i32 {
        i32::from(self.0.logits[usize::from(probability >> 4)])
    }

    /// The probability of a logit, which may be outside the scale.
    #[inline]
    pub fn probability(self, logit: i32) -> u16 {
        self.0.probabilities[(logit.clamp(-LOGIT_MAX, LOGIT_MAX) + LOGIT_MAX) as usize]
    }

    #[inline]
    fn rate(self, count: u32) -> u32 {
        u32::from(self.0.rates[count as usize & (RATES - 1)])
    }
}

/// A probability that learns from bits: 22 bits of probability, 10 bits that count updates.
#[derive(Clone, Copy)]
pub struct Chance(u32);

impl Chance {
    pub const EVEN: Self = Self(1 << 31);

    /// The probability of a 1.
    #[inline]
    pub fn one(self) -> u16 {
        ((self.0 >> 16) as u16).clamp(1, 65535)
    }

    /// Learns a bit; the more were learned before, up to `limit` below 1024, the less this one moves it.
    #[inline]
    pub fn learn(&mut self, bit: bool, limit: u32, scale: Scale) {
        let count = self.0 & 0x3ff;
        let probability = i64::from(self.0 >> 10);
        let aim = if bit { (1 << 22) - 1 } else { 0 };
        let moved = probability + (((aim - probability) * i64::from(scale.rate(count))) >> 16);
        self.0 = (moved as u32) << 10 | (count + u32::from(count < limit));
    }
}

/// The same in 16 bits, for large tables: 12 bits of probability, 4 bits that count updates. A new one is 0, so that a
/// table takes memory only where it is used: of the probability, the highest bit is turned round.
#[derive(Clone, Copy)]
pub struct SmallChance(pub u16);

impl SmallChance {
    const EVEN: u16 = 1 << 15;

    #[inline]
    pub fn one(self) -> u16 {
        (self.0 ^ Self::EVEN) & 0xfff0 | 8
    }

    /// How many bits it has learned, up to 15.
    #[inline]
    pub fn count(self) -> u16 {
        self.0 & 0xf
    }

    /// Its logit: 0 as long as it has learned nothing.
    #[inline]
    pub fn logit(self, scale: Scale) -> i32 {
        // No branch: whether it is new is hard to predict.
        scale.logit(self.one()) * i32::from(self.count() != 0)
    }

    #[inline]
    pub fn learn(&mut self, bit: bool, scale: Scale) {
        let count = self.0 & 0xf;
        let probability = i32::from((self.0 ^ Self::EVEN) >> 4);
        let aim = if bit { 4095 } else { 0 };
        let moved = probability + (((aim - probability) * scale.rate(u32::from(count)) as i32) >> 16);
        self.0 = ((moved as u16) << 4 ^ Self::EVEN) | (count + u16::from(count < 15));
    }
}

/// Most inputs of a mixer; a multiple of what a processor adds at once.
pub const INPUTS: usize = 16;

/// Mixes logits into one, with a set of weights for each context.
pub struct Mixer {
    weights: Vec<[i32; INPUTS]>,
    inputs: [i32; INPUTS],
    count: usize,
    context: usize,
    logit: i32,
    rate: i32,
}

/// The weight of 1.
const WEIGHT_ONE: i32 = 1 << 16;

impl Mixer {
    /// A mixer of so many contexts and inputs (at most [`INPUTS`]). An error of a whole bit moves a weight by `rate` /
    /// 65536 of its input.
    pub fn new(contexts: usize, inputs: usize, rate: i32) -> Self {
        let mut weights = [0; INPUTS];
        weights[..inputs].fill(WEIGHT_ONE * 3 / 10);
        Self { weights: vec![weights; contexts], inputs: [0; INPUTS], count: 0, context: 0, logit: 0, rate }
    }

    /// Adds an input. Inputs over [`INPUTS`] are dropped.
    #[inline]
    pub fn add(&mut self, logit: i32) {
        if let Some(input) = self.inputs.get_mut(self.count) {
            *input = logit;
            self.count += 1;
        }
    }

    /// The logit that the inputs together give.
    #[inline]
    pub fn mix(&mut self, context: usize) -> i32 {
        self.context = context.min(self.weights.len() - 1);
        let weights = &self.weights[self.context];
        // In 32 bits, of which a processor adds many at once. Where a sum wraps, it wraps on every machine.
        let parts = weights.iter().zip(&self.inputs).map(|(&weight, &input)| (weight >> 2).wrapping_mul(input));
        self.logit = (parts.fold(0, i32::wrapping_add) >> 14).clamp(-LOGIT_MAX, LOGIT_MAX);
        self.logit
    }

    /// Learns a bit, and drops the inputs.
    #[inline]
    pub fn learn(&mut self, bit: bool, scale: Scale) {
        let error = (if bit { 65535 } else { 0 }) - i32::from(scale.probability(self.logit));
        let step = (error * self.rate) >> 10;
        // Nothing wraps here; without overflow checks the compiler does many at once.
        for (weight, input) in self.weights[self.context].iter_mut().zip(&mut self.inputs) {
            let moved = input.wrapping_mul(step).wrapping_add(1 << 13) >> 14;
            *weight = weight.wrapping_add(moved).clamp(-(1 << 19), 1 << 19);
            *input = 0;
        }
        self.count = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::float_arithmetic)] // Only this test compares the integers with floating point.
    fn the_scales_are_the_logistic_function_and_its_inverse() {
        let scale = Scale::get();
        for logit in -LOGIT_MAX..=LOGIT_MAX {
            let exact = 65536.0 / (1.0 + (-f64::from(logit) / 256.0).exp());
            assert!((f64::from(scale.probability(logit)) - exact).abs() <= 1.5, "{logit}");
        }
        for probability in (64..65472u16).step_by(61) {
            let back = f64::from(scale.probability(scale.logit(probability)));
            let exact = f64::from(probability);
            // Half a step of the table of logits, and one of the logits themselves, which is widest at 1/2.
            assert!((back - exact).abs() < 8.0 + 64.0, "{probability}: {back}");
        }
    }

    #[test]
    fn chances_learn_towards_what_they_see() {
        let scale = Scale::get();
        let (mut chance, mut small) = (Chance::EVEN, SmallChance(0));
        for _ in 0..100 {
            chance.learn(true, 255, scale);
            small.learn(true, scale);
        }
        assert!(chance.one() > 64_500 && small.one() > 63_000, "{} {}", chance.one(), small.one());
        for _ in 0..2000 {
            chance.learn(false, 255, scale);
        }
        assert!(chance.one() < 600, "{}", chance.one());
    }

    #[test]
    fn a_mixer_learns_which_input_is_right() {
        let scale = Scale::get();
        let mut mixer = Mixer::new(1, 2, 112);
        for n in 0..3000u32 {
            let bit = n.wrapping_mul(2_654_435_761) >> 31 == 1;
            mixer.add(if bit { 500 } else { -500 });
            mixer.add(if n % 2 == 0 { 500 } else { -500 });
            let said = mixer.mix(0);
            if n > 2000 {
                assert_eq!(said > 300, bit, "{n}: {said}");
            }
            mixer.learn(bit, scale);
        }
    }
}
