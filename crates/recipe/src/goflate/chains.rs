//! Levels 2 to 9: matches from chains of positions whose four bytes have the same hash.
//!
//! A window of 64 KiB slides by 32 KiB when fewer bytes lie ahead than the longest match needs. Where it stands
//! follows from the position alone, so an engine can start at the beginning of any block: at levels 4 to 9 every
//! position is in the table, and 32 KiB of content before the start bring the table back. Levels 2 and 3 leave out the
//! insides of long matches, so what is in the table depends on all matches before, and they start at the beginning
//! only. A block begins with no match under way: the search at its first position gives what it gave when the block
//! before was written.

use super::blocks::Blocks;
use crate::chain_table::{ChainTable, FULL, Window, word};
use crate::deflate::{MATCH_BYTES_MAX, Token, WINDOW_BYTES, match_length};
use crate::engine::{Engine, Mark, Start};
use crate::tables::boxed;

/// The shortest match that is used.
const MATCH_BYTES_MIN: usize = 4;
/// Content that must lie ahead, unless it is the last.
const AHEAD: usize = MATCH_BYTES_MIN + MATCH_BYTES_MAX;
/// A match of four bytes saves nothing beyond this distance.
const SHORT_DISTANCE_MAX: usize = 4096;
const BLOCK_TOKENS: usize = 1 << 14;

/// The settings of a level (compress/flate/deflate.go, `levels`).
#[derive(Clone, Copy)]
struct Settings {
    /// Matches longer than this are taken without a look at the next position; 0: all matches.
    lazy: usize,
    /// A match of this length ends the search.
    nice: usize,
    /// The most positions to compare with.
    chain: usize,
    /// The inside of a longer match is not put into the table.
    insert_max: usize,
}

impl Settings {
    fn of_level(level: i8) -> Option<Self> {
        let (lazy, nice, chain, insert_max) = match level {
            2 => (0, 16, 8, 5),
            3 => (0, 32, 32, 6),
            4 => (4, 16, 16, MATCH_BYTES_MAX),
            5 => (16, 32, 32, MATCH_BYTES_MAX),
            6 => (16, 128, 128, MATCH_BYTES_MAX),
            7 => (32, 128, 256, MATCH_BYTES_MAX),
            8 => (128, 258, 1024, MATCH_BYTES_MAX),
            9 => (258, 258, 4096, MATCH_BYTES_MAX),
            _ => return None,
        };
        Some(Self { lazy, nice, chain, insert_max })
    }
}

pub struct Chains {
    settings: Settings,
    window: Box<Window>,
    /// Content before the window.
    base: u64,
    /// Bytes in the window, and the next one to look at.
    end: usize,
    index: usize,
    /// Where the block begins, if that is still in the window.
    block_start: Option<usize>,
    /// History that is not in the table yet: the hashes of its last bytes need content behind it.
    uninserted: usize,
    /// The byte before `index` has no token yet; the match there, if its length is at least four.
    is_byte_waiting: bool,
    length: usize,
    distance: usize,
    table: ChainTable<0x1e35_a7bd, true>,
    tokens: Vec<Token>,
    blocks: Blocks,
    mark: Mark,
}

impl Chains {
    pub fn new(level: i8, start: &Start<'_>) -> Option<Self> {
        let content = start.mark.content;
        // The window slides as soon as fewer than `AHEAD` bytes of it lie ahead.
        let slides = content.saturating_sub((FULL - AHEAD) as u64).div_ceil(WINDOW_BYTES as u64);
        let base = slides * WINDOW_BYTES as u64;
        let index = usize::try_from(content - base).ok()?;
        let used = index.min(WINDOW_BYTES);
        let history = start.history.get(start.history.len().checked_sub(used)?..)?;
        let mut window: Box<Window> = boxed();
        window.get_mut(index - used..index)?.copy_from_slice(history);
        Some(Self {
            settings: Settings::of_level(level)?,
            window,
            base,
            end: index,
            index,
            block_start: Some(index),
            uninserted: index - used,
            is_byte_waiting: false,
            length: MATCH_BYTES_MIN - 1,
            distance: 0,
            table: ChainTable::new(),
            tokens: Vec::with_capacity(BLOCK_TOKENS),
            blocks: Blocks::new(start.mark.blob),
            mark: start.mark,
        })
    }

    /// Gives tokens to what is in the window: all of it if nothing follows.
    fn run(&mut self, is_last: bool, out: &mut Vec<u8>) {
        for position in self.uninserted..self.index {
            if position + MATCH_BYTES_MIN <= self.end {
                self.table.insert(&self.window, position);
            }
        }
        self.uninserted = self.index;
        loop {
            let ahead = self.end - self.index;
            if ahead < AHEAD && (!is_last || ahead == 0) {
                break;
            }
            let is_full = if self.settings.lazy == 0 { self.greedy_step(ahead) } else { self.lazy_step(ahead) };
            if let Some(block_end) = is_full {
                self.end_block(block_end, out);
            }
            self.uninserted = self.index;
        }
        if is_last {
            if std::mem::take(&mut self.is_byte_waiting) {
                self.tokens.push(Token::literal(self.window[self.index - 1]));
            }
            if !self.tokens.is_empty() {
                self.end_block(self.index, out);
            }
        }
    }

    /// The token of the byte before, once the match at this byte is known. Where a block ended, if one did.
    #[inline]
    fn lazy_step(&mut self, ahead: usize) -> Option<usize> {
        let (before, distance_before) = (self.length, self.distance);
        (self.length, self.distance) = (MATCH_BYTES_MIN - 1, 0);
        if ahead >= MATCH_BYTES_MIN {
            let distance = self.table.insert(&self.window, self.index);
            if distance != 0 && before < self.settings.lazy && before < ahead {
                (self.length, self.distance) = self.find(distance, ahead);
            }
        }
        if before >= MATCH_BYTES_MIN && self.length <= before {
            self.tokens.push(Token::matching(before, distance_before));
            let end = self.index + before - 1;
            let insert_end = end.min((self.end + 1).saturating_sub(MATCH_BYTES_MIN));
            for position in self.index + 1..insert_end {
                self.table.insert(&self.window, position);
            }
            self.index = end;
            self.is_byte_waiting = false;
            self.length = MATCH_BYTES_MIN - 1;
            return (self.tokens.len() == BLOCK_TOKENS).then_some(self.index);
        }
        let block_end = self.index;
        self.index += 1;
        if std::mem::replace(&mut self.is_byte_waiting, true) {
            self.tokens.push(Token::literal(self.window[block_end - 1]));
            return (self.tokens.len() == BLOCK_TOKENS).then_some(block_end);
        }
        None
    }

    /// The token of this byte. Where a block ended, if one did.
    #[inline]
    fn greedy_step(&mut self, ahead: usize) -> Option<usize> {
        let (mut length, mut distance) = (0, 0);
        if ahead >= MATCH_BYTES_MIN {
            distance = self.table.insert(&self.window, self.index);
            if distance != 0 {
                (length, distance) = self.find(distance, ahead);
            }
        }
        if length < MATCH_BYTES_MIN {
            self.tokens.push(Token::literal(self.window[self.index]));
            self.index += 1;
        } else {
            self.tokens.push(Token::matching(length, distance));
            let end = self.index + length;
            if length <= self.settings.insert_max {
                let insert_end = end.min((self.end + 1).saturating_sub(MATCH_BYTES_MIN));
                for position in self.index + 1..insert_end {
                    self.table.insert(&self.window, position);
                }
            }
            self.index = end;
        }
        (self.tokens.len() == BLOCK_TOKENS).then_some(self.index)
    }

    /// The longest match at `index`, the nearest of those; its length is three if there is none.
    #[inline]
    fn find(&self, first_distance: usize, ahead: usize) -> (usize, usize) {
        let (window, index) = (&*self.window, self.index);
        let longest = ahead.min(MATCH_BYTES_MAX);
        let nice = self.settings.nice.min(longest);
        let distance_max = index.min(WINDOW_BYTES);
        let (mut length, mut distance) = (MATCH_BYTES_MIN - 1, 0);
        let mut candidate = first_distance;
        // A longer match has these four bytes too.
        let mut tail = word(window, index);
        let mut tail_at = index;
        if candidate > distance_max {
            return (length, distance);
        }
        for _ in 0..self.settings.chain {
            if word(window, tail_at - candidate) == tail {
                let found = match_length(&window[..], index - candidate, index, longest);
                if found > length && (found > MATCH_BYTES_MIN || candidate <= SHORT_DISTANCE_MAX) {
                    (length, distance) = (found, candidate);
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

    fn end_block(&mut self, end: usize, out: &mut Vec<u8>) {
        let content = self.block_start.and_then(|start| self.window.get(start..end));
        self.blocks.write_smallest(&self.tokens, content, out);
        self.tokens.clear();
        self.block_start = Some(end);
        self.mark = Mark { content: self.base + end as u64, blob: self.blocks.position() };
    }

    fn slide(&mut self) {
        self.window.copy_within(WINDOW_BYTES..FULL, 0);
        self.base += WINDOW_BYTES as u64;
        self.end -= WINDOW_BYTES;
        self.index -= WINDOW_BYTES;
        self.uninserted = self.uninserted.saturating_sub(WINDOW_BYTES);
        self.block_start = self.block_start.and_then(|start| start.checked_sub(WINDOW_BYTES));
        self.table.slide();
    }
}

impl Engine for Chains {
    fn write(&mut self, mut content: &[u8], out: &mut Vec<u8>) {
        while !content.is_empty() {
            if self.end == FULL {
                self.run(false, out);
                self.slide();
            }
            let (part, rest) = content.split_at(content.len().min(FULL - self.end));
            self.window[self.end..self.end + part.len()].copy_from_slice(part);
            self.end += part.len();
            content = rest;
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.run(true, out);
        self.blocks.finish(out);
    }

    fn mark(&self) -> Option<Mark> {
        // The insides of long matches are not in the table at levels 2 and 3.
        (self.settings.lazy > 0).then_some(self.mark)
    }
}
