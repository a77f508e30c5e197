//! The state that levels 1 to 6 share: the content they look back at, their tables, and their tokens.
//!
//! Positions in tables are counted from a base: an empty slot is always out of reach.

use super::Variant;
use crate::deflate::{MATCH_BYTES_MAX, STORED_BYTES_MAX, Token, WINDOW_BYTES, match_length};
use crate::tables::boxed;

/// Content that is kept before it is moved down.
const HISTORY_BYTES: usize = 5 * STORED_BYTES_MAX;
/// No match begins in the last bytes of a piece.
const MARGIN: usize = 11;
/// Positions are set back before they can overflow.
const POSITION_MAX: u32 = 1 << 30;
const SLOTS_BITS: u32 = 15;
pub const SLOTS: usize = 1 << SLOTS_BITS;
const WIDE_BITS: u32 = 17;
const PAIRS_BITS: u32 = 16;

/// The last position of a hash, and the one before.
#[derive(Clone, Copy, Default)]
pub struct Pair {
    pub last: u32,
    pub before: u32,
}

pub struct Matcher {
    level: i8,
    /// At level 4 the third class measures one of two matches at the wrong place.
    pub measures_wrongly: bool,
    pub content: Vec<u8>,
    /// The position of the first byte of `content`.
    pub base: u32,
    /// By the hash of four bytes (level 1: five).
    pub short: Box<[u32; SLOTS]>,
    /// Level 2: by the hash of five bytes.
    wide: Vec<u32>,
    /// Level 3: by the hash of five bytes.
    pairs: Vec<Pair>,
    /// By the hash of seven bytes.
    pub long: Box<[Pair; SLOTS]>,
    pub tokens: Vec<Token>,
}

/// A match: where it begins, where the same bytes stand before, and its length, 0 if that is not known yet.
#[derive(Clone, Copy)]
pub struct Match {
    pub at: usize,
    pub from: usize,
    pub length: usize,
    /// Where the search would have gone on.
    pub next: usize,
}

impl Matcher {
    /// `None` for levels that work in another way.
    pub fn new(variant: Variant, level: i8) -> Option<Self> {
        let is_known = matches!(level, 1..=6);
        is_known.then(|| Self {
            level,
            measures_wrongly: matches!(variant, Variant::Third | Variant::Go),
            content: Vec::with_capacity(HISTORY_BYTES),
            base: STORED_BYTES_MAX as u32,
            short: boxed(),
            wide: vec![0; if level == 2 { 1 << WIDE_BITS } else { 0 }],
            pairs: vec![Pair::default(); if level == 3 { 1 << PAIRS_BITS } else { 0 }],
            long: boxed(),
            tokens: Vec::with_capacity(STORED_BYTES_MAX),
        })
    }

    /// The tokens of the next piece; none if nothing in it matches.
    pub fn tokenize(&mut self, piece: &[u8]) -> &[Token] {
        self.tokens.clear();
        let start = self.add(piece);
        if piece.len() >= MARGIN + 2 {
            let limit = self.content.len() - MARGIN;
            let unwritten = match self.level {
                1 => self.one_table::<1>(start, limit),
                2 => self.one_table::<2>(start, limit),
                3 => self.two_candidates(start, limit),
                4 => self.two_tables_once(start, limit),
                5 => self.two_tables::<5>(start, limit),
                _ => self.two_tables::<6>(start, limit),
            };
            if !self.tokens.is_empty() {
                self.literals(unwritten, self.content.len());
            }
        }
        &self.tokens
    }

    /// Puts all content so far out of reach.
    pub fn forget(&mut self) {
        self.base += (WINDOW_BYTES + self.content.len()) as u32;
        self.content.clear();
        self.set_back();
    }

    fn add(&mut self, piece: &[u8]) -> usize {
        if self.content.len() + piece.len() > HISTORY_BYTES {
            let moved = self.content.len() - WINDOW_BYTES;
            self.content.drain(..moved);
            self.base += moved as u32;
            self.set_back();
        }
        let start = self.content.len();
        self.content.extend_from_slice(piece);
        start
    }

    fn set_back(&mut self) {
        if self.base > POSITION_MAX {
            let less = self.base - STORED_BYTES_MAX as u32;
            let singles = self.short.iter_mut().chain(&mut self.wide);
            singles.for_each(|slot| *slot = slot.saturating_sub(less));
            for slot in self.long.iter_mut().chain(&mut self.pairs) {
                (slot.last, slot.before) = (slot.last.saturating_sub(less), slot.before.saturating_sub(less));
            }
            self.base -= less;
        }
    }

    pub fn literals(&mut self, from: usize, to: usize) {
        self.tokens.extend(self.content[from..to].iter().map(|&byte| Token::literal(byte)));
    }

    /// Writes the literals before a match, and the match in parts of up to 258 bytes, none shorter than three. It may
    /// begin earlier than it was found, but not before `unwritten`. Its end.
    pub fn emit(&mut self, found: &mut Match, unwritten: usize) -> usize {
        while found.from > 0 && found.at > unwritten && self.content[found.from - 1] == self.content[found.at - 1] {
            found.at -= 1;
            found.from -= 1;
            found.length += 1;
        }
        self.literals(unwritten, found.at);
        let distance = found.at - found.from;
        let mut rest = found.length;
        while rest > 0 {
            let part = match rest {
                ..=MATCH_BYTES_MAX => rest,
                259..=261 => MATCH_BYTES_MAX - 3,
                _ => MATCH_BYTES_MAX,
            };
            self.tokens.push(Token::matching(part, distance));
            rest -= part;
        }
        found.at + found.length
    }

    #[inline]
    pub fn position(&self, at: usize) -> u32 {
        self.base.wrapping_add(at as u32)
    }

    /// Where a slot's position stands in the content, if that is less than 32 KiB before `at` and the same four bytes
    /// stand there.
    #[inline]
    pub fn candidate(&self, slot: u32, at: usize, word: u32) -> Option<usize> {
        let distance = self.position(at).wrapping_sub(slot) as usize;
        if distance >= WINDOW_BYTES {
            return None;
        }
        let from = at.checked_sub(distance)?;
        (self.word(from) == word).then_some(from)
    }

    #[inline]
    pub fn word(&self, at: usize) -> u32 {
        let bytes = self.content.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        u32::from_le_bytes(bytes.unwrap_or_default())
    }

    #[inline]
    pub fn eight(&self, at: usize) -> u64 {
        let bytes = self.content.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
        u64::from_le_bytes(bytes.unwrap_or_default())
    }

    /// How many bytes are the same, to the end of the content.
    #[inline]
    pub fn same(&self, at: usize, from: usize) -> usize {
        match_length(&self.content, from, at, self.content.len().saturating_sub(at))
    }

    /// The same, up to 254.
    #[inline]
    pub fn same_short(&self, at: usize, from: usize) -> usize {
        let max = self.content.len().saturating_sub(at).min(MATCH_BYTES_MAX - 4);
        match_length(&self.content, from, at, max)
    }

    #[inline]
    pub fn set_short(&mut self, hash: usize, position: u32) {
        self.short[hash & (SLOTS - 1)] = position;
    }

    /// Level 1: the slot of the lowest five bytes.
    #[inline]
    pub fn short_slot(&mut self, eight: u64) -> &mut u32 {
        &mut self.short[hash5(eight, SLOTS_BITS) & (SLOTS - 1)]
    }

    /// Level 2: the slot of the lowest five bytes.
    #[inline]
    pub fn wide_slot(&mut self, eight: u64) -> &mut u32 {
        &mut self.wide[hash5(eight, WIDE_BITS)]
    }

    /// Level 3: puts a position into the slot of its five bytes; what stood there.
    #[inline]
    pub fn push_pair(&mut self, eight: u64, at: usize) -> Pair {
        let last = self.position(at);
        let slot = &mut self.pairs[hash5(eight, PAIRS_BITS)];
        let before = *slot;
        *slot = Pair { last, before: before.last };
        before
    }

    #[inline]
    pub fn push_long(&mut self, hash: usize, position: u32) {
        let slot = &mut self.long[hash & (SLOTS - 1)];
        *slot = Pair { last: position, before: slot.last };
    }
}

/// The hash of the lowest four bytes.
#[inline]
pub fn hash4(eight: u64) -> usize {
    ((eight as u32).wrapping_mul(2_654_435_761) >> (32 - SLOTS_BITS)) as usize
}

/// The hash of the lowest five bytes.
#[inline]
fn hash5(eight: u64, bits: u32) -> usize {
    ((eight << 24).wrapping_mul(889_523_592_379) >> (64 - bits)) as usize
}

/// The hash of the lowest seven bytes.
#[inline]
pub fn hash7(eight: u64) -> usize {
    ((eight << 8).wrapping_mul(58_295_818_150_454_627) >> (64 - SLOTS_BITS)) as usize
}
