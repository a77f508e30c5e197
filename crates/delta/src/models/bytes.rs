//! A model of bytes that are not the base's: new bytes of the target, and changed bytes within a match.
//!
//! A byte is coded bit by bit. Each bit is a mix of what followed the same last bytes before (orders 0 to 6), of what
//! follows the longest earlier match, and, within a match, of what the base's bytes and changed references suggest.
//! Source: M. Mahoney's lpaq (orders, nibble-wise lines, match model), B. Knoll's cmix for what to mix by.

use std::hint::black_box;

use lighter_coder::Coder;

use super::mixer::{Chance, INPUTS, Mixer, Scale, SmallChance};

/// A suggested byte, and how sure the suggestion is: one of 64 states.
#[derive(Clone, Copy)]
pub struct Hint {
    pub byte: u8,
    pub state: u8,
}

/// How many hints a byte within a match has.
pub const HINTS: usize = 4;

/// The hashed orders, by the number of bytes before, and the bits of each table of lines.
const ORDERS: [u32; 6] = [2, 3, 4, 6, 0, 0];
const LINE_BITS: u32 = 16;
/// Shortest earlier match, and the bits of the table that finds it.
const MATCH_BYTES_MIN: usize = 5;
const MATCH_BITS: u32 = 17;
const LIMIT: u32 = 250;

/// A line of a hashed table: the chances of a nibble's 15 nodes, as [`SmallChance`] has them.
type Line = [u16; 16];

/// The model of bytes.
pub struct Bytes {
    order0: Vec<Chance>,
    order1: Vec<Chance>,
    /// By the base's byte.
    by_base: Vec<Chance>,
    lines: Vec<Vec<Line>>,
    hints: Vec<Chance>,
    matched: Match,
    mixer: Mixer,
    scale: Scale,
}

/// The longest earlier match with the end of the target so far.
pub struct Match {
    heads: Vec<u32>,
    bits: u32,
    at: usize,
    bytes: usize,
}

impl Bytes {
    pub fn new() -> Self {
        Self {
            order0: vec![Chance::EVEN; 2 * 256],
            order1: vec![Chance::EVEN; 256 * 256],
            by_base: vec![Chance::EVEN; 256 * 256],
            lines: ORDERS.iter().map(|_| vec![Line::default(); 1 << LINE_BITS]).collect(),
            hints: vec![Chance::EVEN; (HINTS + 1) * 64 * 8],
            matched: Match::new(MATCH_BITS),
            mixer: Mixer::new(2 * 256 + 64, INPUTS, 60),
            scale: Scale::get(),
        }
    }

    /// Makes all memory of the tables at once. Memory that is read before it is written costs two faults a page, and
    /// the second stops the other threads.
    pub fn warm_up(&mut self) {
        const PAGE_LINES: usize = 4096 / size_of::<Line>();
        for page in self.lines.iter_mut().flat_map(|table| table.chunks_mut(PAGE_LINES)) {
            page[0] = black_box(Line::default());
        }
    }

    /// Codes a new byte, and appends it to `out`.
    pub fn code_new<C: Coder>(&mut self, coder: &mut C, byte: u8, before: u64, out: &mut Vec<u8>) -> u8 {
        self.matched.find(out);
        let hint = self.matched.hint(out);
        let found = self.code(
            coder,
            byte,
            before,
            None,
            &hint.map_or([None; HINTS + 1], |hint| {
                let mut hints = [None; HINTS + 1];
                hints[HINTS] = Some(hint);
                hints
            }),
        );
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
        let mut all = [None; HINTS + 1];
        all[..HINTS].copy_from_slice(hints);
        let found = self.code(coder, byte, before, Some(base), &all);
        out.push(found);
        self.matched.end();
        found
    }

    fn code<C: Coder>(
        &mut self,
        coder: &mut C,
        byte: u8,
        before: u64,
        base: Option<u64>,
        hints: &[Option<Hint>; HINTS + 1],
    ) -> u8 {
        let scale = self.scale;
        let place = base.map_or(0, |base| (base >> 16 & 0xff) as usize);
        let changed = base.is_some();
        let contexts = Self::contexts(before, base);
        let mut node = 1usize;
        let mut places = [0usize; ORDERS.len()];
        let mut lines = [Line::default(); ORDERS.len()];
        for bit in (0..8u32).rev() {
            if bit == 7 || bit == 3 {
                // All at once: the processor waits for memory once, not six times.
                for (((line, place), table), context) in
                    lines.iter_mut().zip(&mut places).zip(&self.lines).zip(&contexts)
                {
                    let mixed = (context ^ node as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                    *place = (mixed >> (64 - LINE_BITS)) as usize;
                    *line = table[*place];
                }
            }
            let inner = if bit > 3 { node } else { node & ((1 << (3 - bit)) - 1) | 1 << (3 - bit) };
            let order0 = usize::from(changed) * 256 + node;
            let order1 = (before & 0xff) as usize * 256 + node;
            let by_base = place * 256 + node;
            self.mixer.add(scale.logit(self.order0[order0].one()));
            self.mixer.add(scale.logit(self.order1[order1].one()));
            for line in &lines {
                self.mixer.add(SmallChance(line[inner]).logit(scale));
            }
            if changed {
                self.mixer.add(scale.logit(self.by_base[by_base].one()));
            }
            let used = self.add_hints(hints, node, bit);
            let set = if changed { 256 + node } else { node };
            let logit = self.mixer.mix(set);
            let found = coder.code(byte >> bit & 1 == 1, scale.probability(logit));
            self.mixer.learn(found, scale);
            self.order0[order0].learn(found, LIMIT, scale);
            self.order1[order1].learn(found, LIMIT, scale);
            for line in &mut lines {
                let mut chance = SmallChance(line[inner]);
                chance.learn(found, scale);
                line[inner] = chance.0;
            }
            if bit == 4 || bit == 0 {
                for ((line, place), table) in lines.iter().zip(&places).zip(&mut self.lines) {
                    table[*place] = *line;
                }
            }
            if changed {
                self.by_base[by_base].learn(found, LIMIT, scale);
            }
            for (index, expected) in used.into_iter().flatten() {
                self.hints[index].learn(found == expected, LIMIT, scale);
            }
            node = node * 2 + usize::from(found);
        }
        node as u8
    }

    /// Adds the suggestion of each hint for this bit, if the hint was right about the bits before.
    fn add_hints(
        &mut self,
        hints: &[Option<Hint>; HINTS + 1],
        node: usize,
        bit: u32,
    ) -> [Option<(usize, bool)>; HINTS + 1] {
        let mut used = [None; HINTS + 1];
        for (kind, hint) in hints.iter().enumerate() {
            let Some(hint) = hint.filter(|hint| (usize::from(hint.byte) | 256) >> (bit + 1) == node) else {
                self.mixer.add(0);
                continue;
            };
            let index = (kind * 64 + usize::from(hint.state & 63)) * 8 + bit as usize;
            let expected = hint.byte >> bit & 1 == 1;
            let logit = self.scale.logit(self.hints[index].one());
            self.mixer.add(if expected { logit } else { -logit });
            used[kind] = Some((index, expected));
        }
        used
    }

    fn contexts(before: u64, base: Option<u64>) -> [u64; 6] {
        let mut contexts = [0; 6];
        for (index, (context, order)) in contexts.iter_mut().zip(ORDERS).enumerate() {
            let bytes = before & ((1u64 << (8 * order)) - 1);
            *context = (bytes ^ (index as u64 + 1) << 59).wrapping_mul(0xd6e8_feb8_6659_fd93);
        }
        // The word so far; and, within a match, the base's bytes around the place.
        contexts[4] = word(before).wrapping_mul(0xa076_1d64_78bd_642f) ^ 5 << 59;
        let sparse = base.map_or(before & 0x00ff_ff00, |base| base & 0xff_ffff | 1 << 40);
        contexts[5] = (sparse ^ 6 << 59).wrapping_mul(0xe703_7ed1_a0b4_28db);
        contexts.map(|context| context ^ context >> 31)
    }
}

/// The letters at the end of the bytes before.
pub fn word(before: u64) -> u64 {
    let mut letters = 0;
    for index in 0..8 {
        let byte = (before >> (8 * index) & 0xff) as u8;
        if !byte.is_ascii_alphanumeric() {
            return letters | 1 << 63 | u64::from(byte) << 48;
        }
        letters |= u64::from(byte.to_ascii_lowercase()) << (8 * index);
    }
    letters
}

impl Match {
    /// A match that is found by a table of so many bits.
    pub fn new(bits: u32) -> Self {
        Self { heads: vec![0; 1 << bits], bits, at: 0, bytes: 0 }
    }

    /// Ends the match.
    #[inline]
    pub fn end(&mut self) {
        self.bytes = 0;
    }

    #[inline]
    fn slot(&self, out: &[u8]) -> Option<usize> {
        let end = out.last_chunk::<MATCH_BYTES_MIN>()?;
        let key = end.iter().fold(0u64, |key, &byte| key << 8 | u64::from(byte));
        Some((key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - self.bits)) as usize)
    }

    /// Looks for a match if there is none.
    #[inline]
    pub fn find(&mut self, out: &[u8]) {
        if self.bytes > 0 {
            return;
        }
        let Some(slot) = self.slot(out) else { return };
        let at = self.heads[slot] as usize;
        if at == 0 || at >= out.len() {
            return;
        }
        let same = out[..at].iter().rev().zip(out.iter().rev()).take(48).take_while(|(a, b)| a == b).count();
        if same >= MATCH_BYTES_MIN {
            (self.at, self.bytes) = (at, same);
        }
    }

    #[inline]
    pub fn hint(&self, out: &[u8]) -> Option<Hint> {
        if self.bytes == 0 {
            return None;
        }
        let state = if self.bytes < 32 { self.bytes } else { 32 + (self.bytes / 32).min(31) };
        out.get(self.at).map(|&byte| Hint { byte, state: state as u8 })
    }

    /// Follows the match after a byte was appended.
    #[inline]
    pub fn extend(&mut self, out: &[u8]) {
        if self.bytes > 0 && out.get(self.at) == out.last() {
            self.at += 1;
            self.bytes = (self.bytes + 1).min(1 << 16);
        } else {
            self.bytes = 0;
        }
        if let Some(slot) = self.slot(out) {
            self.heads[slot] = out.len() as u32;
        }
    }
}
