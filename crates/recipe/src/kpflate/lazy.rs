//! Levels 7 to 9: matches from chains, and a look at the next position before one is taken.
//!
//! Before a match is written, the hash at its end is looked up: there may be a longer one that begins as early, or up
//! to two bytes later. After many bytes without a match, some are passed over. Level 9 weighs a match by the bits that
//! its bytes would take as literals, with codes made for the content that is in the window.

use super::blocks::{After, Blocks};
use super::{Flush, Variant};
use crate::chain_table::{ChainTable, FULL, Window, word};
use crate::deflate::{
    DISTANCE_EXTRA_BITS, LENGTH_EXTRA_BITS, LENGTH_SYMBOL, MATCH_BYTES_MAX, Token, WINDOW_BYTES, distance_symbol,
    match_length,
};
use crate::engine::Engine;
use crate::huffman::Codes;
use crate::tables::boxed;

const MATCH_BYTES_MIN: usize = 4;
/// Content that must lie ahead, unless it is the last.
const AHEAD: usize = MATCH_BYTES_MIN + MATCH_BYTES_MAX;
const BLOCK_TOKENS: usize = 1 << 15;
/// The first bytes that a longer match may leave out.
const SKIPPED: usize = 2;
/// Levels with longer chains weigh matches.
const WEIGHED_CHAIN: usize = 100;

/// The settings of a level: how long a match is taken at once, when a search ends, how many positions it looks at.
#[derive(Clone, Copy)]
struct Settings {
    lazy: usize,
    nice: usize,
    chain: usize,
}

impl Settings {
    fn of_level(level: i8) -> Option<Self> {
        let (lazy, nice, chain) = match level {
            7 => (12, 16, 24),
            8 => (30, 40, 64),
            9 => (258, 258, 1024),
            _ => return None,
        };
        Some(Self { lazy, nice, chain })
    }
}

pub struct Lazy {
    variant: Variant,
    settings: Settings,
    window: Box<Window>,
    end: usize,
    index: usize,
    /// No position from here on is put into the table.
    insert_end: usize,
    /// Where the block begins, if that is still in the window. A first block counts its dictionary, as in the original.
    block_start: Option<usize>,
    is_byte_waiting: bool,
    length: usize,
    distance: usize,
    /// Bytes since the last match; the original lets it overflow.
    unmatched: u16,
    table: ChainTable<2_654_435_761, false>,
    /// The bits of each byte as a literal, at level 9.
    literal_bits: [u8; 256],
    tokens: Vec<Token>,
    blocks: Blocks,
    after: After,
}

impl Lazy {
    pub fn new(variant: Variant, level: i8, blocks: Blocks, dictionary: &[u8]) -> Option<Self> {
        let mut window: Box<Window> = boxed();
        let dictionary = dictionary.get(dictionary.len().saturating_sub(WINDOW_BYTES)..)?;
        window.get_mut(..dictionary.len())?.copy_from_slice(dictionary);
        let mut table = ChainTable::new();
        (0..(dictionary.len() + 1).saturating_sub(MATCH_BYTES_MIN)).for_each(|position| {
            table.insert(&window, position);
        });
        Some(Self {
            variant,
            settings: Settings::of_level(level)?,
            window,
            end: dictionary.len(),
            index: dictionary.len(),
            insert_end: 0,
            block_start: Some(0),
            is_byte_waiting: false,
            length: MATCH_BYTES_MIN - 1,
            distance: 0,
            unmatched: 0,
            table,
            literal_bits: [0; 256],
            tokens: Vec::with_capacity(BLOCK_TOKENS),
            blocks,
            after: After::More,
        })
    }

    /// Gives tokens to what is in the window: all of it before a flush.
    fn run(&mut self, after: After, out: &mut Vec<u8>) {
        self.after = after;
        let is_last = after == After::Flush;
        if self.end - self.index < AHEAD && !is_last {
            return;
        }
        if self.settings.chain > WEIGHED_CHAIN && self.end > self.index {
            self.weigh_literals();
        }
        self.insert_end = (self.end + 1).saturating_sub(MATCH_BYTES_MIN);
        loop {
            let ahead = self.end - self.index;
            if ahead < AHEAD && (!is_last || ahead == 0) {
                break;
            }
            self.step(ahead, out);
        }
        if is_last {
            if std::mem::take(&mut self.is_byte_waiting) {
                self.tokens.push(Token::literal(self.window[self.index - 1]));
            }
            if !self.tokens.is_empty() {
                self.end_block(out);
            }
        }
    }

    fn weigh_literals(&mut self) {
        let content = &self.window[self.index..self.end];
        let content = match self.variant {
            Variant::First | Variant::Second => content,
            Variant::Third | Variant::Go => &content[..content.len().min(BLOCK_TOKENS)],
        };
        let mut counts = [0u32; 256];
        content.iter().for_each(|&byte| counts[usize::from(byte)] += 1);
        // The original counts in 16 bits.
        counts.iter_mut().for_each(|count| *count &= 0xffff);
        let mut codes = Codes::<256>::new();
        codes.choose(&counts, 15);
        // A byte without a code costs a bit in Go, and nothing in klauspost's.
        let least = u8::from(self.variant == Variant::Go);
        self.literal_bits = std::array::from_fn(|byte| codes.length(byte).max(least));
    }

    #[inline]
    fn step(&mut self, ahead: usize, out: &mut Vec<u8>) {
        let (before, distance_before) = (self.length, self.distance);
        (self.length, self.distance) = (MATCH_BYTES_MIN - 1, 0);
        if self.index < self.insert_end {
            let distance = self.table.insert(&self.window, self.index);
            if distance != 0 && before < self.settings.lazy && before < ahead {
                (self.length, self.distance) = self.find(distance, ahead);
            }
        }
        if before >= MATCH_BYTES_MIN && self.length <= before {
            let (length, distance) = self.try_end(before, distance_before, ahead, out);
            self.tokens.push(Token::matching(length, distance));
            let end = self.index + length - 1;
            for position in self.index + 1..end.min(self.insert_end) {
                self.table.insert(&self.window, position);
            }
            self.index = end;
            self.is_byte_waiting = false;
            self.length = MATCH_BYTES_MIN - 1;
            self.end_full_block(out);
            self.unmatched = 0;
            return;
        }
        if self.length >= MATCH_BYTES_MIN {
            self.unmatched = 0;
        }
        if self.is_byte_waiting {
            self.unmatched = self.unmatched.wrapping_add(1);
            self.literal(self.index - 1, out);
            self.index += 1;
            self.pass_over(out);
        } else {
            self.index += 1;
            self.is_byte_waiting = true;
        }
    }

    /// After many bytes without a match, some more go without a search.
    fn pass_over(&mut self, out: &mut Vec<u8>) {
        let Some(over) = usize::from(self.unmatched).checked_sub(self.settings.chain + 1) else { return };
        for _ in 0..1 + ((over + 1) >> 6) {
            if self.index + 1 >= self.end {
                break;
            }
            self.literal(self.index - 1, out);
            if self.index < self.insert_end {
                self.table.insert(&self.window, self.index);
            }
            self.index += 1;
        }
        self.literal(self.index - 1, out);
        self.is_byte_waiting = false;
    }

    fn literal(&mut self, at: usize, out: &mut Vec<u8>) {
        self.tokens.push(Token::literal(self.window[at]));
        self.end_full_block(out);
    }

    /// The match at the byte before, or a longer one that the hash at its end knows.
    fn try_end(&mut self, length: usize, distance: usize, ahead: usize, out: &mut Vec<u8>) -> (usize, usize) {
        let start = self.index - 1;
        let limit = self.index.saturating_sub(WINDOW_BYTES);
        if self.variant == Variant::First {
            if start + length + SKIPPED >= self.insert_end {
                return (length, distance);
            }
            let other = self.table.distance(&self.window, start + length - SKIPPED);
            let Some(from) = start.checked_sub(other).filter(|&from| from > limit) else { return (length, distance) };
            let found = match_length(&self.window[..], from, start, ahead.min(MATCH_BYTES_MAX));
            return if found > length { (found, other) } else { (length, distance) };
        }
        if length >= MATCH_BYTES_MAX - SKIPPED || start + length >= self.insert_end {
            return (length, distance);
        }
        let other = self.table.distance(&self.window, start + length);
        let from = start.checked_sub(other).filter(|&from| other != distance && from > limit + SKIPPED);
        let Some(from) = from else { return (length, distance) };
        let longest = ahead.min(MATCH_BYTES_MAX + SKIPPED).saturating_sub(SKIPPED);
        let mut found = match_length(&self.window[..], from + SKIPPED, start + SKIPPED, longest);
        if found <= length {
            return (length, distance);
        }
        for before in (0..SKIPPED).rev() {
            if found < MATCH_BYTES_MAX && self.window[start + before] == self.window[from + before] {
                found += 1;
                continue;
            }
            for owed in 0..=before {
                self.literal(start + owed, out);
                self.index += 1;
                if self.index < self.insert_end {
                    self.table.insert(&self.window, self.index);
                }
            }
            break;
        }
        (found, other)
    }

    /// The best match at `index`; its length is three if there is none.
    fn find(&self, first_distance: usize, ahead: usize) -> (usize, usize) {
        let (window, index) = (&*self.window, self.index);
        let longest = ahead.min(MATCH_BYTES_MAX);
        let nice = self.settings.nice.min(longest);
        let distance_max = index.min(WINDOW_BYTES);
        let is_weighed = self.settings.chain > WEIGHED_CHAIN;
        let (mut gain, cost) = if self.variant == Variant::First { (0, 6) } else { (4, 3) };
        let (mut length, mut distance) = (MATCH_BYTES_MIN - 1, 0);
        let mut candidate = first_distance;
        if candidate > distance_max {
            return (length, distance);
        }
        // A longer match has these four bytes too.
        let (mut tail, mut tail_at) = (word(window, index), index);
        for _ in 0..self.settings.chain {
            if word(window, tail_at - candidate) == tail {
                let found = match_length(&window[..], index - candidate, index, longest);
                let new_gain = if is_weighed && found > length { self.gain(found, candidate) - cost } else { i32::MAX };
                if found > length && new_gain > gain {
                    (length, distance) = (found, candidate);
                    if is_weighed {
                        gain = new_gain;
                    }
                    if found >= nice {
                        break;
                    }
                    tail_at = index + found + 1 - MATCH_BYTES_MIN;
                    tail = word(window, tail_at);
                }
            }
            let step = self.table.step(index - candidate);
            candidate += step;
            if step == 0 || candidate > distance_max {
                break;
            }
        }
        (length, distance)
    }

    /// The gain of a match: the bits of its bytes as literals, less the bits behind its symbols.
    fn gain(&self, length: usize, distance: usize) -> i32 {
        let bytes = &self.window[self.index..self.index + length];
        let literals: i32 = bytes.iter().map(|&byte| i32::from(self.literal_bits[usize::from(byte)])).sum();
        // The original takes the symbol of the distance plus one, and has a wrong one for the longest.
        let symbol = if distance == WINDOW_BYTES { 14 } else { distance_symbol(distance as u32) };
        let length_bits = LENGTH_EXTRA_BITS[usize::from(LENGTH_SYMBOL[(length - 3) & 255]) & 31];
        literals - i32::from(DISTANCE_EXTRA_BITS[symbol & 31]) - i32::from(length_bits)
    }

    fn end_full_block(&mut self, out: &mut Vec<u8>) {
        if self.tokens.len() == BLOCK_TOKENS {
            self.end_block(out);
        }
    }

    fn end_block(&mut self, out: &mut Vec<u8>) {
        let content = self.block_start.and_then(|start| self.window.get(start..self.index));
        self.blocks.write(&self.tokens, content, self.after, out);
        self.tokens.clear();
        self.block_start = Some(self.index);
    }

    fn slide(&mut self) {
        self.window.copy_within(WINDOW_BYTES..FULL, 0);
        self.end -= WINDOW_BYTES;
        self.index -= WINDOW_BYTES;
        self.block_start = self.block_start.and_then(|start| start.checked_sub(WINDOW_BYTES));
        self.table.slide();
    }
}

impl Engine for Lazy {
    fn write(&mut self, mut content: &[u8], out: &mut Vec<u8>) {
        while !content.is_empty() {
            if self.end == FULL {
                self.run(After::More, out);
                self.slide();
            }
            let (part, rest) = content.split_at(content.len().min(FULL - self.end));
            self.window[self.end..self.end + part.len()].copy_from_slice(part);
            self.end += part.len();
            content = rest;
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.run(After::Flush, out);
        self.blocks.finish(out);
    }
}

impl Flush for Lazy {
    fn flush(&mut self, out: &mut Vec<u8>) {
        self.run(After::Flush, out);
        self.blocks.flush(out);
    }
}
