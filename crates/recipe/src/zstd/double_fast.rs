//! The match finder of klauspost's default level ("level 3"): two hash tables, of eight bytes and of five.
//!
//! At each place the finder looks for the last distance one byte on (from the fourth sequence of a block on), then in the
//! table of eight bytes, then in that of five, where a match of eight bytes one byte on is still preferred. Steps grow
//! with the distance from the last match. Distances of earlier blocks are never taken again. A block that is alone in
//! its frame is parsed by a second version with two differences, see [`Scope`]; both are part of the bytes.

use super::parse::{Parse, load32, load64, match_length};

const LONG_BITS: u32 = 17;
const SHORT_BITS: u32 = 15;
/// No search starts in the last bytes of a block.
const MARGIN: usize = 10;
/// Blocks below this size are literals.
const CONTENT_MIN: usize = 16;

/// Whether a block is one of many or all that its frame has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// With history, and more blocks to come.
    Stream,
    /// The second-last distance is tried one sequence earlier, and is entered in the table of five bytes only at its
    /// first place.
    Alone,
}

/// A block in its history.
#[derive(Clone, Copy)]
pub(super) struct Text<'a> {
    /// The history and the block, which ends it.
    pub(super) content: &'a [u8],
    /// Where the block starts.
    pub(super) start: usize,
    /// What is added to a place to get its position in the tables.
    pub(super) base: u32,
    /// No match reaches back so far.
    pub(super) window: u32,
}

impl Text<'_> {
    #[inline(always)]
    fn entry(&self, at: usize, word: u64) -> u64 {
        (u64::from((at as u32).wrapping_add(self.base)) << 32) | (word & 0xFFFF_FFFF)
    }

    /// Where the entry's bytes are, if they are those of `word` and lie in the window before `at`.
    #[inline(always)]
    fn candidate(&self, entry: u64, at: usize, word: u64) -> Option<usize> {
        let distance = (at as u32).wrapping_add(self.base).wrapping_sub((entry >> 32) as u32);
        (entry as u32 == word as u32 && distance < self.window).then(|| at.wrapping_sub(distance as usize))
    }

    /// How far a match of two places can be grown backwards, the later one not below `floor`.
    #[inline(always)]
    fn grow_back(&self, at: usize, earlier: usize, floor: usize, lowest: usize) -> usize {
        let room = at.saturating_sub(floor).min(earlier.saturating_sub(lowest));
        let mut grown = 0_usize;
        while grown < room
            && let (Some(one), Some(other)) = (
                self.content.get(at.wrapping_sub(grown).wrapping_sub(1)),
                self.content.get(earlier.wrapping_sub(grown).wrapping_sub(1)),
            )
            && one == other
        {
            grown = grown.wrapping_add(1);
        }
        grown
    }
}

/// Where the finder stands in a block.
struct Cursor {
    at: usize,
    /// The end of the last match.
    emitted: usize,
    limit: usize,
    last: usize,
    before_last: usize,
}

/// The two tables. An entry is a position above the four bytes there; position 0 is never in reach.
pub(super) struct DoubleFast {
    long: Box<[u64; 1 << LONG_BITS]>,
    short: Box<[u64; 1 << SHORT_BITS]>,
}

#[inline(always)]
fn long_hash(word: u64) -> usize {
    (word.wrapping_mul(0xCF1B_BCDC_B7A5_6463) >> (64 - LONG_BITS)) as usize
}

#[inline(always)]
fn short_hash(word: u64) -> usize {
    ((word << 24).wrapping_mul(889_523_592_379) >> (64 - SHORT_BITS)) as usize
}

fn table<const SIZE: usize>() -> Box<[u64; SIZE]> {
    let table: Result<Box<[u64; SIZE]>, _> = vec![0; SIZE].into_boxed_slice().try_into();
    table.unwrap_or_else(|_| Box::new([0; SIZE]))
}

impl DoubleFast {
    pub(super) fn new() -> Self {
        Self {
            long: table(),
            short: table(),
        }
    }

    /// Lowers all positions by `less`; those below become 0.
    pub(super) fn lower(&mut self, less: u32) {
        for entry in self.long.iter_mut().chain(self.short.iter_mut()) {
            let position = ((*entry >> 32) as u32).saturating_sub(less);
            *entry = (u64::from(position) << 32) | (*entry & 0xFFFF_FFFF);
        }
    }

    /// Parses the block that ends `text`.
    pub(super) fn parse(&mut self, text: Text<'_>, scope: Scope, parse: &mut Parse) {
        let content = text.content;
        if content.len().saturating_sub(text.start) < CONTENT_MIN {
            parse.push_literals(content, text.start, content.len());
            return;
        }
        let mut cursor = Cursor {
            at: text.start,
            emitted: text.start,
            limit: content.len() - MARGIN,
            last: 1,
            before_last: 4,
        };
        loop {
            let repeats = parse.sequences.len() > 2;
            let Some((at, earlier)) = self.search(&text, &mut cursor, repeats, parse) else { break };
            cursor.before_last = cursor.last;
            cursor.last = at.wrapping_sub(earlier);
            let lowest = at.saturating_sub(text.window as usize);
            let grown = text.grow_back(at, earlier, cursor.emitted, lowest);
            let length = match_length(content, at.wrapping_add(4), earlier.wrapping_add(4))
                .wrapping_add(4)
                .wrapping_add(grown);
            let start = at.wrapping_sub(grown);
            parse.push(content, cursor.emitted, start, length, (cursor.last as u32).wrapping_add(3));
            cursor.at = start.wrapping_add(length);
            cursor.emitted = cursor.at;
            if cursor.at >= cursor.limit {
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
        if cursor.emitted < content.len() {
            parse.push_literals(content, cursor.emitted, content.len());
        }
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
        let content = text.content;
        let mut at = cursor.at;
        loop {
            let word = load64(content, at);
            let long = long_hash(word);
            let short = short_hash(word);
            let long_entry = self.long[long];
            let short_entry = self.short[short];
            let entry = text.entry(at, word);
            self.long[long] = entry;
            self.short[short] = entry;
            if repeats {
                let next = at.wrapping_add(1);
                let earlier = next.wrapping_sub(cursor.last);
                if load32(content, earlier) == (word >> 8) as u32 {
                    at = take_last(text, cursor, at, parse);
                    if at >= cursor.limit {
                        return None;
                    }
                    continue;
                }
            }
            if let Some(earlier) = text.candidate(long_entry, at, word) {
                return Some((at, earlier));
            }
            if let Some(earlier) = text.candidate(short_entry, at, word) {
                let next = at.wrapping_add(1);
                let next_word = load64(content, next);
                let long = long_hash(next_word);
                let long_entry = self.long[long];
                self.long[long] = text.entry(next, next_word);
                return Some(match text.candidate(long_entry, next, next_word) {
                    Some(further) => (next, further),
                    None => (at, earlier),
                });
            }
            at = at.wrapping_add(1).wrapping_add(at.wrapping_sub(cursor.emitted) >> 7);
            if at >= cursor.limit {
                return None;
            }
        }
    }

    /// Enters the second place and the places before the end of a match.
    #[inline(always)]
    fn enter_ends(&mut self, text: &Text<'_>, first: usize, last: usize) {
        for at in [first, last] {
            let word = load64(text.content, at);
            self.long[long_hash(word)] = text.entry(at, word);
            let next = word >> 8;
            self.short[short_hash(next)] = text.entry(at.wrapping_add(1), next);
        }
    }

    /// Takes matches of the distance before the last, right after a match. False at the end of the block.
    #[inline(always)]
    fn take_before_last(&mut self, text: &Text<'_>, scope: Scope, cursor: &mut Cursor, parse: &mut Parse) -> bool {
        let content = text.content;
        let mut first = None;
        loop {
            let word = load64(content, cursor.at);
            let earlier = cursor.at.wrapping_sub(cursor.before_last);
            if load32(content, earlier) != word as u32 {
                return true;
            }
            let length = match_length(content, cursor.at.wrapping_add(4), earlier.wrapping_add(4)).wrapping_add(4);
            let entry = text.entry(cursor.at, word);
            self.long[long_hash(word)] = entry;
            let short = match scope {
                Scope::Stream => short_hash(word),
                Scope::Alone => *first.get_or_insert_with(|| short_hash(word)),
            };
            self.short[short] = entry;
            parse.push(content, cursor.at, cursor.at, length, 1);
            cursor.at = cursor.at.wrapping_add(length);
            cursor.emitted = cursor.at;
            std::mem::swap(&mut cursor.last, &mut cursor.before_last);
            if cursor.at >= cursor.limit {
                return false;
            }
        }
    }
}

/// Takes a match of the last distance one byte after `at`, and returns its end.
#[inline(always)]
fn take_last(text: &Text<'_>, cursor: &mut Cursor, at: usize, parse: &mut Parse) -> usize {
    let next = at.wrapping_add(1);
    let earlier = next.wrapping_sub(cursor.last);
    let length = match_length(text.content, next.wrapping_add(4), earlier.wrapping_add(4)).wrapping_add(4);
    // At least one literal stays, since a last distance without literals means another one.
    let floor = cursor.emitted.wrapping_add(1);
    let lowest = at.saturating_sub(text.window as usize);
    let grown = text.grow_back(next, earlier, floor, lowest);
    let start = next.wrapping_sub(grown);
    parse.push(text.content, cursor.emitted, start, length.wrapping_add(grown), 1);
    cursor.emitted = next.wrapping_add(length);
    cursor.emitted
}
