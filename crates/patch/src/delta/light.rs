//! Contents in the light tier: how many bytes are equal up to the next change, then the change. Several times as fast as
//! the full tier, whatever lies between two changes; new bytes stand in a zstd frame.

use crate::compare::common_prefix;

use super::references::{References, Site};
use super::symbols::{ByteModel, Frequencies, ShortNumbers};
use super::window::Window;
use cabac::Coder;

/// A change is taken to be a reference of so many bytes, the first of which differs.
const FIELD_BYTES: usize = 4;
/// Guesses at a reference, by the memory of the place, of the word, of the region, and of the last change.
const GUESSES: usize = 4;

/// Codes contents.
pub(super) struct Light {
    runs: ShortNumbers,
    /// Magnitude of the last run.
    run_before: usize,
    /// Which guess is right; and what was, the last times.
    right: Vec<Frequencies>,
    right_before: usize,
    /// Which bytes of a field behind its first are equal, by how many there are and by what was so the last time.
    equal: [Frequencies; FIELD_BYTES * 8],
    equal_before: usize,
    /// By the base's byte and by the byte before.
    bytes: ByteModel,
    references: References,
}

impl Light {
    pub(super) fn new() -> Self {
        Self {
            runs: ShortNumbers::new(16),
            run_before: 0,
            right: vec![Frequencies::EVEN; 256],
            right_before: 0,
            equal: [Frequencies::EVEN; FIELD_BYTES * 8],
            equal_before: 0,
            bytes: ByteModel::new(),
            references: References::new(),
        }
    }

    /// Codes the bytes that stand where the base has `window`, and appends them to `out`.
    pub(super) fn code_match<C: Coder>(&mut self, coder: &mut C, window: &Window, known: &[u8], out: &mut Vec<u8>) {
        let base = window.base();
        let mut index = 0;
        loop {
            let left = base.len() - index;
            let given = if C::ENCODES { common_prefix(&known[index..], &base[index..]) } else { 0 };
            let run = self.runs.code(coder, self.run_before, given as u64).min(left as u64) as usize;
            self.run_before = run.next_power_of_two().trailing_zeros().min(15) as usize;
            out.extend_from_slice(&base[index..index + run]);
            index += run;
            if index >= base.len() {
                return;
            }
            let end = (index + FIELD_BYTES).min(base.len());
            let field = if C::ENCODES { &known[index..end] } else { &[] };
            self.code_field(coder, &base[index..end], window.site(index), field, out);
            index = end;
        }
    }

    fn code_field<C: Coder>(&mut self, coder: &mut C, base: &[u8], site: Site, given: &[u8], out: &mut Vec<u8>) {
        if base.len() < FIELD_BYTES {
            self.code_bytes(coder, base, given, out);
            return;
        }
        let guesses = self.guesses(site);
        let present = guesses.iter().enumerate().fold(0, |set, (bit, guess)| set | usize::from(guess.is_some()) << bit);
        let given_word = word(given);
        let is_right = |guess: &Option<u32>| C::ENCODES && *guess == Some(given_word);
        let right = guesses.iter().position(is_right).map_or(0, |index| index + 1);
        let context = present | (self.right_before & 15) << GUESSES;
        let right = self.right[context].code(coder, right);
        self.right_before = self.right_before << 1 | usize::from(right > 0);
        let coded = match right.checked_sub(1).and_then(|index| guesses.get(index).copied().flatten()) {
            Some(guess) => {
                out.extend_from_slice(&guess.to_le_bytes());
                guess
            }
            None => {
                self.code_bytes(coder, base, given, out);
                word(&out[out.len() - FIELD_BYTES..])
            }
        };
        self.references.learn(site, coded);
    }

    /// What the reference may be: each guess once, and none whose first byte would not differ.
    fn guesses(&self, site: Site) -> [Option<u32>; GUESSES] {
        let all = [
            self.references.relative(site),
            self.references.absolute(site),
            self.references.region(site),
            Some(self.references.like_the_last(site)),
        ];
        let mut guesses = [None; GUESSES];
        for (index, guess) in all.into_iter().enumerate() {
            let word = guess.map(|guess| guess.word).filter(|word| (word ^ site.word) & 0xff != 0);
            if !guesses[..index].contains(&word) {
                guesses[index] = word;
            }
        }
        guesses
    }

    /// Codes the bytes of a field, the first of which differs.
    fn code_bytes<C: Coder>(&mut self, coder: &mut C, base: &[u8], given: &[u8], out: &mut Vec<u8>) {
        let pairs = given.iter().zip(base).enumerate().skip(1);
        let equal = pairs.fold(0, |set, (place, (new, old))| set | usize::from(new == old) << (place - 1));
        let equal = self.equal[(base.len() - 1) * 8 + self.equal_before].code(coder, equal);
        self.equal_before = equal & 7;
        for (place, &old) in base.iter().enumerate() {
            let is_equal = place > 0 && equal >> (place - 1) & 1 == 1;
            let found = if is_equal {
                old
            } else {
                let before = out.last().copied().unwrap_or(0);
                self.bytes.code(coder, [old, before], given.get(place).copied().unwrap_or(0))
            };
            out.push(found);
        }
    }
}

/// The first four bytes, little-endian.
fn word(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |chunk| u32::from_le_bytes(*chunk))
}
