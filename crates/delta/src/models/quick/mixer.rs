//! A mixer for many inputs at once. Logits have 16 bits and so do weights while they are mixed: the compiler multiplies
//! eight at a time (`pmaddwd` on every x86-64). [`super::super::mixer`] has the scales.

use super::super::mixer::{LOGIT_MAX, Scale};

/// Inputs of a mixer; those that a caller does not use stay 0.
pub const INPUTS: usize = 16;
/// The logits that are mixed.
pub type Inputs = [i16; INPUTS];

/// The weight of 1.
const WEIGHT_ONE: i32 = 1 << 16;
/// Bits of a weight that mixing leaves out: weights count up to 4.
const FINE_BITS: u32 = 3;

/// Mixes logits into one, with a set of weights for each context.
pub struct Mixer {
    weights: Vec<[i32; INPUTS]>,
    rate: i32,
}

impl Mixer {
    /// A mixer of so many contexts. An error of a whole bit moves a weight by `rate` / 65536 of its input.
    pub fn new(contexts: usize, rate: i32) -> Self {
        Self { weights: vec![[WEIGHT_ONE * 3 / 10; INPUTS]; contexts], rate }
    }

    /// The logit that the inputs together give.
    // Not inlined: a compiler that sees where the inputs come from keeps each in a register, and multiplies one by one.
    #[inline(never)]
    pub fn mix(&self, context: usize, inputs: &Inputs) -> i32 {
        let mut sum = 0i32;
        for (&weight, &input) in self.weights[context].iter().zip(inputs) {
            let weight = (weight >> FINE_BITS).clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16;
            // Nothing wraps here; without overflow checks the compiler does many at once.
            sum = sum.wrapping_add(i32::from(weight).wrapping_mul(i32::from(input)));
        }
        (sum >> (16 - FINE_BITS)).clamp(-LOGIT_MAX, LOGIT_MAX)
    }

    /// Learns a bit that was mixed from `inputs`, and had the probability `one` of being 1.
    #[inline(never)]
    pub fn learn(&mut self, context: usize, inputs: &Inputs, bit: bool, one: u16) {
        let error = (if bit { 65535 } else { 0 }) - i32::from(one);
        let step = (error.wrapping_mul(self.rate) >> 10) as i16;
        // A weight that is pushed on for ever wraps, on every machine alike.
        for (weight, &input) in self.weights[context].iter_mut().zip(inputs) {
            let moved = i32::from(input).wrapping_mul(i32::from(step)).wrapping_add(1 << 13) >> 14;
            *weight = weight.wrapping_add(moved);
        }
    }
}

/// The logit of a probability, as an input.
#[inline]
pub fn input(probability: u16, scale: Scale) -> i16 {
    // Within +-LOGIT_MAX.
    scale.logit(probability) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mixer_learns_which_input_is_right() {
        let scale = Scale::get();
        let mut mixer = Mixer::new(1, 60);
        for n in 0..5000u32 {
            let bit = n.wrapping_mul(2_654_435_761) >> 31 == 1;
            let mut inputs = [0; INPUTS];
            inputs[3] = if bit { 500 } else { -500 };
            inputs[9] = if n % 2 == 0 { 500 } else { -500 };
            let said = mixer.mix(0, &inputs);
            if n > 4000 {
                assert_eq!(said > 300, bit, "{n}: {said}");
            }
            mixer.learn(0, &inputs, bit, scale.probability(said));
        }
    }

    #[test]
    fn weights_and_logits_at_their_ends_stay_within_the_scale() {
        let scale = Scale::get();
        let mut mixer = Mixer::new(1, 60);
        let inputs = [LOGIT_MAX as i16; INPUTS];
        for bit in [true, false] {
            for _ in 0..20_000 {
                let said = mixer.mix(0, &inputs);
                assert!(said.abs() <= LOGIT_MAX);
                mixer.learn(0, &inputs, bit, scale.probability(-said));
            }
        }
    }
}
