//! Contents in the light tier: the number of equal bytes up to the next change, then the change. Several times as fast
//! as the full tier. New bytes are compressed by zstd.

use crate::compare::common_prefix;

use super::references::{References, Site};
use super::window::Window;
use lighter_coder::Numbers;
use lighter_coder::SymbolCoder;
use lighter_coder::{ByteModel, Frequencies};

/// A change is treated as a reference of so many bytes whose first byte differs.
const FIELD_BYTES: usize = 4;
/// How many guesses a reference has: by the place, by the word, by the region, and by the last change.
const GUESSES: usize = 4;

/// The models of the light tier.
pub struct Light {
    runs: Numbers,
    /// The magnitude of the last run.
    run_before: usize,
    /// Which guess is right, by which guesses there are and which of the last ones were right.
    right: Vec<Frequencies>,
    right_before: usize,
    /// Which bytes of a field behind its first are equal, by their number and by the last result.
    equal: [Frequencies; FIELD_BYTES * 8],
    equal_before: usize,
    /// By the base's byte and by the byte before.
    bytes: ByteModel,
    references: References,
}

impl Light {
    pub fn new() -> Self {
        Self {
            runs: Numbers::new(16),
            run_before: 0,
            right: vec![Frequencies::EVEN; 256],
            right_before: 0,
            equal: [Frequencies::EVEN; FIELD_BYTES * 8],
            equal_before: 0,
            bytes: ByteModel::default(),
            references: References::new(),
        }
    }

    /// Codes the bytes at the place of the base's `window`, and appends them to `out`.
    pub fn code_match<C: SymbolCoder>(&mut self, coder: &mut C, window: &Window, known: &[u8], out: &mut Vec<u8>) {
        let base = window.base();
        let start = out.len();
        let first = out.last().copied().unwrap_or(0);
        // Puts the base's bytes there first, and changes over them.
        out.extend_from_slice(base);
        let made = &mut out[start..];
        let mut index = 0;
        loop {
            let left = made.len() - index;
            let given = if C::ENCODES { common_prefix(&known[index..], &base[index..]) } else { 0 };
            let run = self.runs.code(coder, self.run_before, given as u64).min(left as u64) as usize;
            self.run_before = run.next_power_of_two().trailing_zeros().min(15) as usize;
            index += run;
            if index >= made.len() {
                return;
            }
            let before = index.checked_sub(1).map_or(first, |before| made[before]);
            let end = (index + FIELD_BYTES).min(made.len());
            let field = if C::ENCODES { &known[index..end] } else { &[] };
            self.code_field(coder, window.site(index), before, field, &mut made[index..end]);
            index = end;
        }
    }

    /// Codes a field whose first byte differs. `made` has the base's bytes, and gets the target's.
    fn code_field<C: SymbolCoder>(&mut self, coder: &mut C, site: Site, before: u8, given: &[u8], made: &mut [u8]) {
        let Some(field) = made.first_chunk_mut::<FIELD_BYTES>() else {
            self.code_bytes(coder, before, given, made);
            return;
        };
        let guesses = self.guesses(site);
        let given_word = given.first_chunk().map_or(0, |word| u32::from_le_bytes(*word));
        let right = if C::ENCODES { guesses.place(given_word).map_or(0, |index| index + 1) } else { 0 };
        let context = guesses.present | (self.right_before & 15) << GUESSES;
        let right = self.right[context].code(coder, right);
        self.right_before = self.right_before << 1 | usize::from(right > 0);
        match right.checked_sub(1).and_then(|index| guesses.get(index)) {
            Some(guess) => *field = guess.to_le_bytes(),
            None => self.code_bytes(coder, before, given, field),
        }
        self.references.learn(site, u32::from_le_bytes(*field));
    }

    /// The guesses at a reference: each once, and only those whose first byte differs.
    #[inline]
    fn guesses(&self, site: Site) -> Guesses {
        let all = [
            self.references.relative(site),
            self.references.absolute(site),
            self.references.region(site),
            Some(self.references.like_the_last(site)),
        ];
        let mut guesses = Guesses { words: [0; GUESSES], present: 0 };
        for (index, guess) in all.into_iter().enumerate() {
            let word = guess.map_or(site.shown, |guess| guess.word);
            let differs = (word ^ site.shown) & 0xff != 0;
            // An absent guess keeps the base's word, whose first byte does not differ: it hides no other guess.
            let is_new = (0..index).all(|earlier| guesses.words[earlier] != word);
            guesses.words[index] = word;
            guesses.present |= usize::from(differs & is_new) << index;
        }
        guesses
    }

    /// Codes the bytes of a field. The first byte differs. `made` has the base's bytes, and gets the target's.
    fn code_bytes<C: SymbolCoder>(&mut self, coder: &mut C, before: u8, given: &[u8], made: &mut [u8]) {
        let pairs = given.iter().zip(&*made).enumerate().skip(1);
        let equal = pairs.fold(0, |set, (place, (new, old))| set | usize::from(new == old) << (place - 1));
        let equal = self.equal[(made.len() - 1) * 8 + self.equal_before].code(coder, equal);
        self.equal_before = equal & 7;
        let mut before = before;
        for (place, byte) in made.iter_mut().enumerate() {
            if place == 0 || equal >> (place - 1) & 1 == 0 {
                *byte = self.bytes.code(coder, [*byte, before], given.get(place).copied().unwrap_or(0));
            }
            before = *byte;
        }
    }
}

/// The guesses at a reference.
struct Guesses {
    words: [u32; GUESSES],
    /// Which guesses count, the first in the lowest bit.
    present: usize,
}

impl Guesses {
    fn get(&self, index: usize) -> Option<u32> {
        self.words.get(index).copied().filter(|_| self.present >> index & 1 == 1)
    }

    /// Which guess is `word`.
    fn place(&self, word: u32) -> Option<usize> {
        (0..GUESSES).find(|&index| self.get(index) == Some(word))
    }
}
