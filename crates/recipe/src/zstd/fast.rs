//! The match finder of the fastest level ("level 1"): one hash table, of six bytes.
//!
//! Two places are looked up at each step: the last distance two bytes on (from the fourth sequence of a block on), then
//! the place itself, then the one after it. Steps are two bytes and grow with the distance from the last match. In a
//! block that is alone in its frame the distance before the last is tried one sequence earlier.

use super::parse::{Parse, load64, match_length};
use super::table::{TagTable, candidate, entry};
use super::text::{Cursor, Scope, Text};

const HASH_BITS: u32 = 15;
/// No search starts in the last bytes of a block.
const MARGIN: usize = 8;
/// Blocks below this size are literals.
const CONTENT_MIN: usize = 10;

/// The table.
pub(super) struct Fast {
    table: TagTable<{ 1 << HASH_BITS }>,
}

#[inline(always)]
fn hash(word: u64) -> usize {
    ((word << 16).wrapping_mul(227_718_039_650_203) >> (64 - HASH_BITS)) as usize
}

impl Fast {
    pub(super) fn new() -> Self {
        Self { table: TagTable::new() }
    }

    pub(super) fn expire(&mut self, position: u32, window: u32) {
        self.table.expire(position, window);
    }

    /// Parses the block that ends `text`.
    pub(super) fn parse(&mut self, text: Text<'_>, scope: Scope, parse: &mut Parse) {
        let mut cursor = Cursor::new(&text, MARGIN);
        if text.block().len() < CONTENT_MIN {
            cursor.finish(&text, parse);
            return;
        }
        loop {
            let repeats = parse.sequences.len() > 2;
            let Some((at, earlier)) = self.search(&text, &mut cursor, repeats, parse) else { break };
            let length = match_length(text.content, at.wrapping_add(4), earlier.wrapping_add(4)).wrapping_add(4);
            cursor.take(&text, at, earlier, length, parse);
            if cursor.is_done() {
                break;
            }
            let repeats = match scope {
                Scope::Stream => repeats,
                Scope::Alone => parse.sequences.len() > 2,
            };
            let (at, word) = (cursor.at, load64(text.content, cursor.at));
            if repeats && cursor.take_before_last(&text, word as u32, parse) {
                self.table.set(hash(word), entry(&text, at, word));
                if cursor.is_done() {
                    break;
                }
            }
        }
        cursor.finish(&text, parse);
    }

    /// The next place with a match in the table, and where the match is. Matches of the last distance are taken on the
    /// way. `None` at the end of the block.
    #[inline(always)]
    fn search(
        &mut self,
        text: &Text<'_>,
        cursor: &mut Cursor,
        repeats: bool,
        parse: &mut Parse,
    ) -> Option<(usize, usize)> {
        let mut at = cursor.at;
        loop {
            let next = at.wrapping_add(1);
            let word = load64(text.content, at);
            let next_word = word >> 8;
            let (here, there) = (hash(word), hash(next_word));
            let (first, second) = (self.table.get(here), self.table.get(there));
            self.table.set(here, entry(text, at, word));
            self.table.set(there, entry(text, next, next_word));
            if repeats && cursor.has_last(text, at, 2, (word >> 16) as u32) {
                cursor.take_last(text, at, 2, parse);
                if cursor.is_done() {
                    return None;
                }
                at = cursor.at;
                continue;
            }
            if let Some(earlier) = candidate(text, first, at, word) {
                return Some((at, earlier));
            }
            if let Some(earlier) = candidate(text, second, next, next_word) {
                return Some((next, earlier));
            }
            at = at.wrapping_add(2).wrapping_add(at.wrapping_sub(cursor.emitted) >> 5);
            if cursor.is_end(at) {
                return None;
            }
        }
    }
}
