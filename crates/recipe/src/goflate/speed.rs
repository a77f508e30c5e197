//! Level 1: one position for each hash, blocks of 65,535 bytes, and longer steps the longer nothing matched.

use super::blocks::Blocks;
use crate::bits::BitPosition;
use crate::deflate::{MATCH_BYTES_MAX, STORED_BYTES_MAX, Token, WINDOW_BYTES, match_length};
use crate::engine::Engine;
use crate::tables::boxed;

const SLOTS: usize = 1 << 14;
/// The last bytes of a block begin no match.
const MARGIN: usize = 15;
/// Shorter ends of a stream are written without matches, and the shortest ones are stored.
const MATCHED_BYTES_MIN: usize = 128;
const STORED_END_BYTES_MAX: usize = 16;
/// Where the block stands in the buffer: the block before it stands in front.
const BLOCK: usize = STORED_BYTES_MAX;
/// Positions are set back before they can overflow.
const POSITION_MAX: u32 = 1 << 30;

/// A block, the one before it, and a word more than is used.
type Buffer = [u8; 2 * STORED_BYTES_MAX + 8];

/// Four bytes, and where they stood.
#[derive(Clone, Copy, Default)]
struct Slot {
    word: u32,
    position: u32,
}

pub struct Speed {
    buffer: Box<Buffer>,
    /// Bytes of the block.
    bytes: usize,
    /// The position of the block, beyond the reach of an empty slot.
    block_position: u32,
    slots: Box<[Slot; SLOTS]>,
    tokens: Vec<Token>,
    blocks: Blocks,
}

impl Speed {
    pub fn new() -> Self {
        Self {
            buffer: boxed(),
            bytes: 0,
            block_position: STORED_BYTES_MAX as u32,
            slots: boxed(),
            tokens: Vec::with_capacity(STORED_BYTES_MAX),
            blocks: Blocks::new(BitPosition::START),
        }
    }

    fn end_block(&mut self, out: &mut Vec<u8>) {
        self.tokenize();
        let content = &self.buffer[BLOCK..BLOCK + self.bytes];
        if self.tokens.len() > self.bytes - (self.bytes >> 4) {
            self.blocks.write_literals(content, out);
        } else {
            self.blocks.write_own_codes(&self.tokens, content, out);
        }
        self.tokens.clear();
        self.buffer.copy_within(BLOCK..BLOCK + self.bytes, BLOCK - self.bytes);
        self.block_position += self.bytes as u32;
        self.bytes = 0;
        if self.block_position > POSITION_MAX {
            let less = self.block_position - STORED_BYTES_MAX as u32;
            self.slots.iter_mut().for_each(|slot| slot.position = slot.position.saturating_sub(less));
            self.block_position -= less;
        }
    }

    /// Gives tokens to the block.
    fn tokenize(&mut self) {
        let end = BLOCK + self.bytes;
        let limit = end - MARGIN;
        let mut unwritten = BLOCK;
        let mut start = BLOCK;
        while let Some((mut at, mut distance)) = self.search(start, limit) {
            self.literals(unwritten, at);
            loop {
                let longest = (end - at).min(MATCH_BYTES_MAX);
                let length = match_length(&self.buffer[..], at - distance, at, longest);
                self.tokens.push(Token::matching(length, distance));
                at += length;
                unwritten = at;
                if at >= limit {
                    return self.literals(at, end);
                }
                self.look_up(at - 1);
                distance = self.look_up(at);
                if distance == 0 {
                    start = at + 1;
                    break;
                }
            }
        }
        self.literals(unwritten, end);
    }

    /// The next place that matches, and how far back the same bytes stand.
    #[inline]
    fn search(&mut self, start: usize, limit: usize) -> Option<(usize, usize)> {
        let mut at = start;
        let mut skip = 32;
        loop {
            let step = skip >> 5;
            skip += step;
            if at + step > limit {
                return None;
            }
            let distance = self.look_up(at);
            if distance != 0 {
                return Some((at, distance));
            }
            at += step;
        }
    }

    /// Puts a position into its slot. How far back the same four bytes stand, if the slot knew; else 0.
    #[inline]
    fn look_up(&mut self, at: usize) -> usize {
        let word = word(&self.buffer, at);
        let slot = &mut self.slots[(word.wrapping_mul(0x1e35_a7bd) >> 18) as usize & (SLOTS - 1)];
        let position = self.block_position.wrapping_add((at - BLOCK) as u32);
        let found = std::mem::replace(slot, Slot { word, position });
        let distance = position.wrapping_sub(found.position);
        if distance <= WINDOW_BYTES as u32 && found.word == word { distance as usize } else { 0 }
    }

    fn literals(&mut self, from: usize, to: usize) {
        self.tokens.extend(self.buffer[from..to].iter().map(|&byte| Token::literal(byte)));
    }
}

/// The four bytes at a position.
#[inline]
fn word(buffer: &Buffer, at: usize) -> u32 {
    let bytes = buffer.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    u32::from_le_bytes(bytes.unwrap_or_default())
}

impl Engine for Speed {
    fn write(&mut self, mut content: &[u8], out: &mut Vec<u8>) {
        while !content.is_empty() {
            let (part, rest) = content.split_at(content.len().min(STORED_BYTES_MAX - self.bytes));
            let at = BLOCK + self.bytes;
            self.buffer[at..at + part.len()].copy_from_slice(part);
            self.bytes += part.len();
            content = rest;
            if self.bytes == STORED_BYTES_MAX {
                self.end_block(out);
            }
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        let content = &self.buffer[BLOCK..BLOCK + self.bytes];
        match self.bytes {
            0 => {}
            1..=STORED_END_BYTES_MAX => self.blocks.write_stored(content, out),
            17..MATCHED_BYTES_MIN => self.blocks.write_literals(content, out),
            _ => self.end_block(out),
        }
        self.blocks.finish(out);
    }
}
