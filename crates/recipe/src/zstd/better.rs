//! The match finder of the better level ("level 7"): a table of eight bytes that keeps two places a hash, and one of
//! five bytes.
//!
//! At each place the finder looks for the last distance one byte on (from the fourth sequence of a block on), then for
//! the longer of the two places of eight equal bytes, then for five, where a longer match one byte on is preferred. A
//! match so found may yet give way to one that is found from its end and reaches back over it. All that a match covers
//! is entered, every second place in each table.

use super::Class;
use super::parse::{Parse, load32, load64, match_length};
use super::text::{Cursor, Text};

const LONG_BITS: u32 = 19;
const SHORT_BITS: u32 = 13;
/// No search starts in the last bytes of a block.
const MARGIN: usize = 10;
/// Blocks below this size are literals.
const CONTENT_MIN: usize = 16;
/// A match found from the end of another may start so much later.
const SKIPPED: usize = 3;
const TAG_BITS: u32 = 7;
const TAG_MASK: u32 = (1 << TAG_BITS) - 1;
const POSITION_MASK: u32 = (1 << (32 - TAG_BITS)) - 1;

/// The last two places of a hash, the last one low; each is a position modulo 32 MiB above a tag of the eight bytes
/// there.
#[derive(Clone, Copy)]
struct Pair(u64);

impl Pair {
    /// The last place and the one before.
    #[inline(always)]
    fn entries(self) -> [u32; 2] {
        [self.0 as u32, (self.0 >> 32) as u32]
    }
}

/// A match, before it is grown backwards.
struct Match {
    at: usize,
    earlier: usize,
    length: usize,
    /// The first place that is not yet entered.
    next: usize,
}

/// The two tables. An entry of the short one is a position above the four bytes there.
pub(super) struct Better {
    class: Class,
    long: Box<[u64; 1 << LONG_BITS]>,
    short: Box<[u64; 1 << SHORT_BITS]>,
}

fn table<const SIZE: usize>() -> Box<[u64; SIZE]> {
    let table: Result<Box<[u64; SIZE]>, _> = vec![0; SIZE].into_boxed_slice().try_into();
    table.unwrap_or_else(|_| Box::new([0; SIZE]))
}

/// The hash of eight bytes and, from further bits of the same product, their tag. Most places that share a hash but not
/// the bytes are told by it without a look at the content.
#[inline(always)]
fn long_key(word: u64) -> (usize, u32) {
    let product = word.wrapping_mul(0xCF1B_BCDC_B7A5_6463);
    let tag = (product >> (64 - LONG_BITS - TAG_BITS)) as u32 & TAG_MASK;
    ((product >> (64 - LONG_BITS)) as usize, tag)
}

#[inline(always)]
fn short_hash(word: u64) -> usize {
    ((word << 24).wrapping_mul(889_523_592_379) >> (64 - SHORT_BITS)) as usize
}

/// The place of a position, if it lies in the window before `at`. Positions of earlier frames lie before the content.
#[inline(always)]
fn in_window(text: &Text<'_>, position: u32, at: usize) -> Option<usize> {
    let distance = text.position(at).wrapping_sub(position);
    at.checked_sub(distance as usize).filter(|_| distance < text.window)
}

/// The place of an entry of the long table, if its bytes are `word`, whose tag is `tag`, and it lies in the window
/// before `at`.
#[inline(always)]
fn equal(text: &Text<'_>, entry: u32, at: usize, word: u64, tag: u32) -> Option<usize> {
    if entry & TAG_MASK != tag {
        return None;
    }
    let distance = distance(text, entry, at);
    let earlier = at.wrapping_sub(distance as usize);
    let bytes = text.content.get(earlier..earlier.wrapping_add(8)).and_then(<[u8]>::first_chunk::<8>)?;
    (distance < text.window && u64::from_le_bytes(*bytes) == word).then_some(earlier)
}

/// How far before `at` an entry of the long table is.
#[inline(always)]
fn distance(text: &Text<'_>, entry: u32, at: usize) -> u32 {
    text.position(at).wrapping_sub(entry >> TAG_BITS) & POSITION_MASK
}

#[inline(always)]
fn length_after(text: &Text<'_>, at: usize, earlier: usize, known: usize) -> usize {
    match_length(text.content, at.wrapping_add(known), earlier.wrapping_add(known)).wrapping_add(known)
}

impl Better {
    pub(super) fn new(class: Class) -> Self {
        Self { class, long: table(), short: table() }
    }

    /// Puts entries out of reach that lie a window or more before `position`.
    pub(super) fn expire(&mut self, position: u32, window: u32) {
        let expired = position.wrapping_sub(window);
        let expire = |entry: &mut u32| {
            if position.wrapping_sub(*entry >> TAG_BITS) & POSITION_MASK >= window {
                *entry = expired << TAG_BITS;
            }
        };
        for pair in self.long.iter_mut() {
            let [mut last, mut before] = Pair(*pair).entries();
            expire(&mut last);
            expire(&mut before);
            *pair = (u64::from(before) << 32) | u64::from(last);
        }
        for entry in self.short.iter_mut() {
            if position.wrapping_sub((*entry >> 32) as u32) >= window {
                *entry = u64::from(expired) << 32;
            }
        }
    }

    /// Parses the block that ends `text`.
    pub(super) fn parse(&mut self, text: Text<'_>, parse: &mut Parse) {
        let block = text.block();
        let is_run = block.windows(2).all(|pair| pair[0] == pair[1]);
        if self.class >= Class::Runs && block.len() > 3 && is_run {
            parse.push(text.content, text.start, text.start + 1, block.len() - 1, 4);
            return;
        }
        let mut cursor = Cursor::new(&text, MARGIN);
        if block.len() < CONTENT_MIN {
            cursor.finish(&text, parse);
            return;
        }
        loop {
            let repeats = parse.sequences.len() > 2;
            let Some(mut found) = self.search(&text, &mut cursor, repeats, parse) else { break };
            let end = found.at.wrapping_add(found.length);
            if !cursor.is_end(end) {
                self.search_from_end(&text, end, &mut found);
            }
            let start = cursor.take(&text, found.at, found.earlier, found.length, parse);
            if cursor.is_done() {
                break;
            }
            let from = if self.class < Class::MoreEntries { start.wrapping_add(1) } else { found.next };
            self.enter_all(&text, from, cursor.at);
            if repeats && !self.take_before_last(&text, &mut cursor, parse) {
                break;
            }
        }
        cursor.finish(&text, parse);
    }

    #[inline(always)]
    fn set_long(&mut self, (hash, tag): (usize, u32), position: u32) -> Pair {
        let pair = &mut self.long[hash % (1 << LONG_BITS)];
        let found = *pair;
        *pair = (found << 32) | u64::from((position << TAG_BITS) | tag);
        Pair(found)
    }

    #[inline(always)]
    fn set_short(&mut self, hash: usize, position: u32, word: u64) -> u64 {
        let entry = (u64::from(position) << 32) | (word & 0xFFFF_FFFF);
        std::mem::replace(&mut self.short[hash % (1 << SHORT_BITS)], entry)
    }

    /// The next match in the tables. Matches of the last distance are taken on the way. `None` at the end of the block.
    #[inline(always)]
    fn search(&mut self, text: &Text<'_>, cursor: &mut Cursor, repeats: bool, parse: &mut Parse) -> Option<Match> {
        let mut at = cursor.at;
        loop {
            let word = load64(text.content, at);
            let position = text.position(at);
            let next = at.wrapping_add(1);
            let key = long_key(word);
            let pair = self.set_long(key, position);
            let short = self.set_short(short_hash(word), position, word);
            if repeats && cursor.has_last(text, at, 1, (word >> 8) as u32) {
                cursor.take_last(text, at, 1, parse);
                if cursor.is_done() {
                    return None;
                }
                self.enter_all(text, next, cursor.at);
                at = cursor.at;
                continue;
            }
            let longest = pair
                .entries()
                .into_iter()
                .filter_map(|entry| equal(text, entry, at, word, key.1))
                .map(|earlier| (earlier, length_after(text, at, earlier, 8)))
                .reduce(|one, other| if other.1 > one.1 { other } else { one });
            if let Some((earlier, length)) = longest {
                return Some(Match { at, earlier, length, next });
            }
            if short as u32 == word as u32
                && let Some(earlier) = in_window(text, (short >> 32) as u32, at)
            {
                let found = Match { at, earlier, length: length_after(text, at, earlier, 4), next };
                return Some(self.search_next(text, found));
            }
            at = next.wrapping_add(at.wrapping_sub(cursor.emitted) >> 8);
            if cursor.is_end(at) {
                return None;
            }
        }
    }

    /// The first longer match of eight bytes one byte on, else the match itself.
    #[inline(always)]
    fn search_next(&mut self, text: &Text<'_>, found: Match) -> Match {
        let next = found.at.wrapping_add(1);
        let word = load64(text.content, next);
        let key = long_key(word);
        let pair = self.set_long(key, text.position(next));
        for entry in pair.entries() {
            // The original measures the window from the place before.
            if let Some(earlier) = equal(text, entry, found.at, word, key.1) {
                let length = length_after(text, next, earlier, 8);
                if length > found.length {
                    return Match { at: next, earlier, length, next: found.next };
                }
            }
        }
        found
    }

    /// Prefers a longer match that starts a little later and is found by what follows the end of the one found.
    #[inline(always)]
    fn search_from_end(&self, text: &Text<'_>, end: usize, found: &mut Match) {
        let (hash, _) = long_key(load64(text.content, end));
        let pair = Pair(self.long[hash % (1 << LONG_BITS)]);
        let at = found.at.wrapping_add(SKIPPED);
        let expected = load32(text.content, at);
        for entry in pair.entries() {
            // The second place is tried with the length that the first one gave: so does the original.
            let earlier = end
                .checked_sub(distance(text, entry, end) as usize)
                .and_then(|place| place.wrapping_add(SKIPPED).checked_sub(found.length))
                .filter(|&earlier| earlier < at && at.wrapping_sub(earlier) < text.window as usize);
            let Some(earlier) = earlier else { continue };
            if load32(text.content, earlier) != expected {
                continue;
            }
            let length = length_after(text, at, earlier, 4);
            if length > found.length {
                found.at = at;
                found.earlier = earlier;
                found.length = length;
            }
        }
    }

    /// Enters the places from `from` to the end of a match, every second in each table.
    #[inline(always)]
    fn enter_all(&mut self, text: &Text<'_>, from: usize, end: usize) {
        let bytes = text.content.get(from..end.wrapping_add(6)).unwrap_or_default();
        let mut position = text.position(from);
        for bytes in bytes.windows(8).step_by(2) {
            let word = load64(bytes, 0);
            self.set_long(long_key(word), position);
            self.set_short(short_hash(word >> 8), position.wrapping_add(1), word >> 8);
            position = position.wrapping_add(2);
        }
    }

    /// Takes matches of the distance before the last, right after a match. False at the end of the block.
    #[inline(always)]
    fn take_before_last(&mut self, text: &Text<'_>, cursor: &mut Cursor, parse: &mut Parse) -> bool {
        loop {
            let at = cursor.at;
            let word = load64(text.content, at);
            if !cursor.take_before_last(text, word as u32, parse) {
                return true;
            }
            self.set_long(long_key(word), text.position(at));
            self.set_short(short_hash(word), text.position(at), word);
            if cursor.is_done() {
                return false;
            }
        }
    }
}
