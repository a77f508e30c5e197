//! The match finder of the default level ("level 3"): two hash tables, of eight bytes and of five.
//!
//! At each place the finder looks for the last distance one byte on (from the fourth sequence of a block on), then in
//! the table of eight bytes, then in that of five, where a match of eight bytes one byte on is still preferred. Steps
//! grow with the distance from the last match. Distances of earlier blocks are never taken again. In a block that is
//! alone in its frame the distance before the last is tried one sequence earlier, and all its matches in a row are
//! entered in the table of five bytes under the hash of the first: a slip of the original, and part of its bytes.

use super::parse::{Parse, load64, match_length};
use super::table::{TagTable, candidate, entry};
use super::text::{Cursor, Scope, Text};

const LONG_BITS: u32 = 17;
const SHORT_BITS: u32 = 15;
/// No search starts in the last bytes of a block.
const MARGIN: usize = 10;
/// Blocks below this size are literals.
const CONTENT_MIN: usize = 16;

/// The two tables.
pub(super) struct DoubleFast {
    long: TagTable<{ 1 << LONG_BITS }>,
    short: TagTable<{ 1 << SHORT_BITS }>,
}

#[inline(always)]
fn long_hash(word: u64) -> usize {
    (word.wrapping_mul(0xCF1B_BCDC_B7A5_6463) >> (64 - LONG_BITS)) as usize
}

#[inline(always)]
fn short_hash(word: u64) -> usize {
    ((word << 24).wrapping_mul(889_523_592_379) >> (64 - SHORT_BITS)) as usize
}

impl DoubleFast {
    pub(super) fn new() -> Self {
        Self { long: TagTable::new(), short: TagTable::new() }
    }

    pub(super) fn expire(&mut self, position: u32, window: u32) {
        self.long.expire(position, window);
        self.short.expire(position, window);
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
            let start = cursor.take(&text, at, earlier, length, parse);
            if cursor.is_done() {
                break;
            }
            self.enter_ends(&text, start.wrapping_add(1), cursor.at.wrapping_sub(2));
            let repeats = match scope {
                Scope::Stream => repeats,
                Scope::Alone => parse.sequences.len() > 2,
            };
            if repeats && !self.take_before_last(&text, scope, &mut cursor, parse) {
                break;
            }
        }
        cursor.finish(&text, parse);
    }

    /// The next place with a match in the tables, and where the match is. Matches of the last distance are taken on the
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
            let word = load64(text.content, at);
            let (long, short) = (long_hash(word), short_hash(word));
            let (long_entry, short_entry) = (self.long.get(long), self.short.get(short));
            let here = entry(text, at, word);
            self.long.set(long, here);
            self.short.set(short, here);
            if repeats && cursor.has_last(text, at, 1, (word >> 8) as u32) {
                cursor.take_last(text, at, 1, parse);
                if cursor.is_done() {
                    return None;
                }
                at = cursor.at;
                continue;
            }
            if let Some(earlier) = candidate(text, long_entry, at, word) {
                return Some((at, earlier));
            }
            if let Some(earlier) = candidate(text, short_entry, at, word) {
                let next = at.wrapping_add(1);
                let next_word = load64(text.content, next);
                let long = long_hash(next_word);
                let long_entry = self.long.get(long);
                self.long.set(long, entry(text, next, next_word));
                return Some(match candidate(text, long_entry, next, next_word) {
                    Some(further) => (next, further),
                    None => (at, earlier),
                });
            }
            at = at.wrapping_add(1).wrapping_add(at.wrapping_sub(cursor.emitted) >> 7);
            if cursor.is_end(at) {
                return None;
            }
        }
    }

    /// Enters the second place and the places before the end of a match.
    #[inline(always)]
    fn enter_ends(&mut self, text: &Text<'_>, first: usize, last: usize) {
        for at in [first, last] {
            let word = load64(text.content, at);
            self.long.set(long_hash(word), entry(text, at, word));
        }
        for at in [first, last] {
            let word = load64(text.content, at) >> 8;
            self.short.set(short_hash(word), entry(text, at.wrapping_add(1), word));
        }
    }

    /// Takes matches of the distance before the last, right after a match. False at the end of the block.
    #[inline(always)]
    fn take_before_last(&mut self, text: &Text<'_>, scope: Scope, cursor: &mut Cursor, parse: &mut Parse) -> bool {
        let mut first = None;
        loop {
            let at = cursor.at;
            let word = load64(text.content, at);
            if !cursor.take_before_last(text, word as u32, parse) {
                return true;
            }
            let here = entry(text, at, word);
            self.long.set(long_hash(word), here);
            let short = match scope {
                Scope::Stream => short_hash(word),
                Scope::Alone => *first.get_or_insert_with(|| short_hash(word)),
            };
            self.short.set(short, here);
            if cursor.is_done() {
                return false;
            }
        }
    }
}
