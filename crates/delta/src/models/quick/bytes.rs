//! A model of bytes that are not the base's: new bytes of the target, and changed bytes within a match.
//!
//! A byte is coded bit by bit. Each bit is a mix of what followed the last byte and none (chances), the last two bytes
//! and three of the base or before (lines), and of guesses at the whole byte: what followed last behind 3, 4 and 6
//! bytes and the word (runs), behind the longest earlier match, and what changed references suggest. A guess takes part
//! as long as the bits so far agree with it. Source: M. Mahoney's lpaq and paq8.

use lighter_coder::Coder;

use super::super::bytes::{HINTS, Hint, Match, word};
use super::super::mixer::{Chance, Scale, SmallChance};
use super::lines::{self, Line, Lines};
use super::mixer::{INPUTS, Inputs, Mixer, input};
use super::runs::{self, Runs};

const LIMIT: u32 = 250;
const MATCH_BITS: u32 = 15;
/// Guesses at a byte: hints, the first of which is the match for a new byte, and runs.
const GUESSES: usize = HINTS + runs::CONTEXTS;
/// Kinds of guesses: each hint, the match, and each run for new and for changed bytes.
const KINDS: usize = HINTS + 1 + 2 * runs::CONTEXTS;
/// Where the inputs begin: of lines; of order 0, order 1 and the base's byte; of guesses.
const CHANCES: usize = lines::CONTEXTS;
const GUESSED: usize = CHANCES + 3;
const _: () = assert!(GUESSED + GUESSES <= INPUTS);

/// The model of bytes.
pub struct Bytes {
    order0: Vec<Chance>,
    order1: Vec<Chance>,
    /// By the base's byte.
    by_base: Vec<Chance>,
    lines: Lines,
    runs: Runs,
    /// Whether a guess is right about a bit: by its kind, by how sure it is, and by the bit.
    guesses: Vec<Chance>,
    matched: Match,
    mixer: Mixer,
    scale: Scale,
}

/// A guess at a byte.
#[derive(Clone, Copy, Default)]
struct Guess {
    /// The byte behind a 1; 0 if there is no guess.
    byte: usize,
    /// Where its chances begin.
    chances: usize,
}

impl Guess {
    fn new(kind: usize, byte: u8, state: u8) -> Self {
        Self { byte: usize::from(byte) | 256, chances: (kind * 64 + usize::from(state & 63)) * 8 }
    }
}

impl Bytes {
    pub fn new() -> Self {
        Self {
            order0: vec![Chance::EVEN; 2 * 256],
            order1: vec![Chance::EVEN; 256 * 256],
            by_base: vec![Chance::EVEN; 256 * 256],
            lines: Lines::new(),
            runs: Runs::new(),
            guesses: vec![Chance::EVEN; KINDS * 64 * 8],
            matched: Match::new(MATCH_BITS),
            mixer: Mixer::new(2 * 256, 60),
            scale: Scale::get(),
        }
    }

    /// Codes a new byte, and appends it to `out`.
    pub fn code_new<C: Coder>(&mut self, coder: &mut C, byte: u8, before: u64, out: &mut Vec<u8>) -> u8 {
        self.matched.find(out);
        let mut guesses = [Guess::default(); GUESSES];
        if let Some(hint) = self.matched.hint(out) {
            guesses[0] = Guess::new(HINTS, hint.byte, hint.state);
        }
        let found = self.code::<C, false>(coder, byte, (before, 0), &mut guesses);
        out.push(found);
        self.matched.extend(out);
        found
    }

    /// Codes a byte within a match that is not `base`, and appends it to `out`.
    pub fn code_changed<C: Coder>(
        &mut self,
        coder: &mut C,
        byte: u8,
        before: u64,
        base: u64,
        hints: &[Option<Hint>; HINTS],
        out: &mut Vec<u8>,
    ) -> u8 {
        let mut guesses = [Guess::default(); GUESSES];
        for (kind, hint) in hints.iter().enumerate() {
            if let Some(hint) = hint {
                guesses[kind] = Guess::new(kind, hint.byte, hint.state);
            }
        }
        let found = self.code::<C, true>(coder, byte, (before, base), &mut guesses);
        out.push(found);
        self.matched.end();
        found
    }

    #[inline(always)]
    fn code<C: Coder, const CHANGED: bool>(
        &mut self,
        coder: &mut C,
        byte: u8,
        (before, base): (u64, u64),
        guesses: &mut [Guess; GUESSES],
    ) -> u8 {
        let kept = run_contexts(before);
        for (index, run) in self.runs.get(&kept).into_iter().enumerate() {
            if let Some(run) = run {
                let kind = HINTS + 1 + 2 * index + usize::from(CHANGED);
                guesses[HINTS + index] = Guess::new(kind, run.byte, run.count);
            }
        }
        let contexts = line_contexts::<CHANGED>(before, base);
        let places = [(before & 0xff) as usize * 256, (base >> 16 & 0xff) as usize * 256];
        let mut node = 1;
        for lowest in [4, 0] {
            let found = self.lines.find(&contexts, node);
            let mut lines = self.lines.get(found);
            let mut inner = 1;
            for bit in (lowest..lowest + 4).rev() {
                let given = byte >> bit & 1 == 1;
                let one = self.code_bit::<C, CHANGED>(coder, given, bit, (node, inner), &mut lines, places, guesses);
                node = node << 1 | usize::from(one);
                inner = inner << 1 | usize::from(one);
            }
            self.lines.put(found, &lines);
        }
        self.runs.learn(&kept, node as u8);
        node as u8
    }

    /// Codes the bit behind the bits of `node`, of which `inner` are in this half of the byte.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "what is known of a byte, once for each bit")]
    fn code_bit<C: Coder, const CHANGED: bool>(
        &mut self,
        coder: &mut C,
        given: bool,
        bit: u32,
        (node, inner): (usize, usize),
        lines: &mut [Line; lines::CONTEXTS],
        [order1, by_base]: [usize; 2],
        guesses: &[Guess; GUESSES],
    ) -> bool {
        let scale = self.scale;
        let node = node & 0xff;
        let set = usize::from(CHANGED) * 256 + node;
        let mut inputs: Inputs = [0; INPUTS];
        for (place, line) in inputs.iter_mut().zip(lines.iter()) {
            *place = SmallChance(line[inner & 15]).logit(scale) as i16;
        }
        inputs[CHANCES] = input(self.order0[set].one(), scale);
        inputs[CHANCES + 1] = input(self.order1[order1 + node].one(), scale);
        if CHANGED {
            inputs[CHANCES + 2] = input(self.by_base[by_base + node].one(), scale);
        }
        let mut agreeing = 0u32;
        for (index, guess) in guesses.iter().enumerate() {
            if guess.byte >> (bit + 1) == node {
                let logit = input(self.guesses[guess.chances + bit as usize].one(), scale);
                inputs[GUESSED + index] = if guess.byte >> bit & 1 == 1 { logit } else { -logit };
                agreeing |= 1 << index;
            }
        }
        let one = scale.probability(self.mixer.mix(set, &inputs));
        let found = coder.code(given, one);
        self.mixer.learn(set, &inputs, found, one);
        for line in lines.iter_mut() {
            let mut chance = SmallChance(line[inner & 15]);
            chance.learn(found, scale);
            line[inner & 15] = chance.0;
        }
        self.order0[set].learn(found, LIMIT, scale);
        self.order1[order1 + node].learn(found, LIMIT, scale);
        if CHANGED {
            self.by_base[by_base + node].learn(found, LIMIT, scale);
        }
        for (index, guess) in guesses.iter().enumerate() {
            if agreeing >> index & 1 == 1 {
                let right = found == (guess.byte >> bit & 1 == 1);
                self.guesses[guess.chances + bit as usize].learn(right, LIMIT, scale);
            }
        }
        found
    }
}

#[inline]
fn hashed(value: u64, salt: u64) -> u64 {
    let mixed = (value ^ salt << 58).wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ mixed >> 31
}

/// The last two bytes; and three of the base's around the place, or two before the last.
#[inline]
fn line_contexts<const CHANGED: bool>(before: u64, base: u64) -> [u64; lines::CONTEXTS] {
    let sparse = if CHANGED { base & 0xff_ffff } else { before & 0x00ff_ff00 };
    [hashed(before & 0xffff, 2), hashed(sparse, 10)]
}

/// The last three, four and six bytes, and the word so far.
#[inline]
fn run_contexts(before: u64) -> [u64; runs::CONTEXTS] {
    let contexts = [
        hashed(before & 0xff_ffff, 3),
        hashed(before & 0xffff_ffff, 4),
        hashed(before & 0xffff_ffff_ffff, 6),
        hashed(word(before), 9),
    ];
    contexts.map(|context| context.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}
