//! Contents in the full tier: for each byte of a match whether it is the base's; each other byte by all contexts.

use lighter_coder::Coder;

use super::bytes::{HINTS, Hint};
use super::hits::Around;
use super::references::{Guess, References, Site};
use super::window::Window;

/// A changed reference that is being coded.
#[derive(Clone, Copy)]
struct Field {
    start: usize,
    site: Site,
    /// By the place, by the word, by the region, and by the last change.
    guesses: [Option<Guess>; HINTS],
}

/// The models that each way of the full tier has: whether a byte is the base's, and bytes that are not.
pub trait Models {
    /// Models that have learned nothing.
    fn new() -> Self;

    /// Makes all memory of large tables at once.
    fn warm_up(&mut self) {}

    /// Length of the block to code as a whole, if `left` bytes of the match are left; `None` if single bytes are coded.
    fn block(&self, left: usize) -> Option<usize>;

    /// Codes whether a whole block is equal.
    fn code_block<C: Coder>(&mut self, coder: &mut C, equal: bool) -> bool;

    /// Codes whether one byte is equal. `guess` has [`Around::guess`], if it is needed.
    fn code_hit<C: Coder>(&mut self, coder: &mut C, around: Around, guess: impl FnOnce() -> u8, equal: bool) -> bool;

    /// Codes a new byte, and appends it to `out`.
    fn code_new<C: Coder>(&mut self, coder: &mut C, byte: u8, before: u64, out: &mut Vec<u8>) -> u8;

    /// Codes a byte within a match that is not the base's, and appends it to `out`. `known` has the target's last
    /// bytes, and the base's around the place.
    fn code_changed<C: Coder>(
        &mut self,
        coder: &mut C,
        byte: u8,
        known: (u64, u64),
        hints: &[Option<Hint>; HINTS],
        out: &mut Vec<u8>,
    ) -> u8;
}

/// The full tier, by one kind of models.
pub struct Full<M> {
    models: M,
    references: References,
    /// The last results of each kind of guess, the latest in the lowest bit.
    records: [u8; HINTS],
    before: u64,
}

impl<M: Models> Full<M> {
    pub fn new() -> Self {
        Self { models: M::new(), references: References::new(), records: [0; HINTS], before: 0 }
    }

    /// See [`Models::warm_up`].
    pub fn warm_up(&mut self) {
        self.models.warm_up();
    }

    /// Codes `bytes` new bytes and appends them to `out`. `known` has them when encoding, and is empty when decoding.
    pub fn code_new<C: Coder>(&mut self, coder: &mut C, bytes: usize, known: &[u8], out: &mut Vec<u8>) {
        for index in 0..bytes {
            let given = known.get(index).copied().unwrap_or(0);
            let found = self.models.code_new(coder, given, self.before, out);
            self.before = self.before << 8 | u64::from(found);
        }
    }

    /// Codes the bytes at the place of the base's `window`, and appends them to `out`.
    pub fn code_match<C: Coder>(&mut self, coder: &mut C, window: &Window, known: &[u8], out: &mut Vec<u8>) {
        let base = window.base();
        let bytes = base.len();
        let mut field: Option<Field> = None;
        let start = out.len();
        let mut index = 0;
        while index < bytes {
            if let Some(length) = self.models.block(bytes - index) {
                let block = &base[index..index + length];
                let equal = C::ENCODES && known[index..index + length] == *block;
                if self.models.code_block(coder, equal) {
                    out.extend_from_slice(block);
                    self.before = last_bytes(out, self.before);
                    index += length;
                    continue;
                }
            }
            if let Some(done) = field.filter(|field| index == field.start + 4) {
                self.learn(&done, &out[start + done.start..]);
                field = None;
            }
            let around = window.around(index);
            let site = window.site(index);
            let references = &self.references;
            let guess = || match (field, references.relative(site)) {
                (None, Some(guess)) => 1 + u8::from((guess.word ^ site.shown) & 0xff != 0),
                _ => 0,
            };
            let given = known.get(index).copied().unwrap_or(0);
            let known_around = Around { base: around & 0xffff_ffff_ffff, before: self.before, guess: 0 };
            let found = if self.models.code_hit(coder, known_around, guess, given == base[index]) {
                out.push(base[index]);
                base[index]
            } else {
                let field = *field.get_or_insert_with(|| self.begin(index, site));
                let hints = self.hints(&field, index, base[index]);
                self.models.code_changed(coder, given, (self.before, around), &hints, out)
            };
            self.before = self.before << 8 | u64::from(found);
            index += 1;
        }
    }

    fn begin(&self, start: usize, site: Site) -> Field {
        let references = &self.references;
        let guesses = [
            references.relative(site),
            references.absolute(site),
            references.region(site),
            Some(references.like_the_last(site)),
        ];
        Field { start, site, guesses }
    }

    fn hints(&self, field: &Field, index: usize, base: u8) -> [Option<Hint>; HINTS] {
        let part = index - field.start;
        let mut hints = [None; HINTS];
        for ((hint, guess), record) in hints.iter_mut().zip(&field.guesses).zip(self.records) {
            let Some(guess) = guess else { continue };
            let byte = (guess.word >> (8 * part)) as u8;
            if byte != base {
                let sure = guess.sure.min(3) as u8;
                *hint = Some(Hint { byte, state: record & 3 | sure << 2 | (part.min(3) as u8) << 4 });
            }
        }
        hints
    }

    fn learn(&mut self, field: &Field, coded: &[u8]) {
        let word = coded.iter().take(4).rev().fold(0, |word, &byte| word << 8 | u32::from(byte));
        for (record, guess) in self.records.iter_mut().zip(&field.guesses) {
            if let Some(guess) = guess {
                *record = *record << 1 | u8::from(guess.word == word);
            }
        }
        self.references.learn(field.site, word);
    }
}

/// The last eight bytes of `out`, the latest in the lowest byte; `before` if `out` has fewer.
fn last_bytes(out: &[u8], before: u64) -> u64 {
    out.last_chunk().map_or(before, |chunk| u64::from_be_bytes(*chunk))
}
