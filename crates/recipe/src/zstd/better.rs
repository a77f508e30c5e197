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

/// The last two positions of a hash.
#[derive(Clone, Copy, Default)]
struct Pair {
    last: u32,
    before: u32,
}

/// A position and the four bytes there.
#[derive(Clone, Copy, Default)]
struct Entry {
    position: u32,
    bytes: u32,
}

/// A match, before it is grown backwards.
struct Match {
    at: usize,
    earlier: usize,
    length: usize,
    /// The first place that is not yet entered.
    next: usize,
}

/// The two tables. The lengths are powers of two that the hashes stay below.
pub(super) struct Better {
    class: Class,
    long: Box<[Pair]>,
    short: Box<[Entry]>,
}

#[inline(always)]
fn long_hash(word: u64) -> usize {
    (word.wrapping_mul(0xCF1B_BCDC_B7A5_6463) >> (64 - LONG_BITS)) as usize
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

/// The place of a position, if it lies in the window before `at` and has the eight bytes `word`.
#[inline(always)]
fn equal(text: &Text<'_>, position: u32, at: usize, word: u64) -> Option<usize> {
    in_window(text, position, at).filter(|&earlier| load64(text.content, earlier) == word)
}

#[inline(always)]
fn length_after(text: &Text<'_>, at: usize, earlier: usize, known: usize) -> usize {
    match_length(text.content, at.wrapping_add(known), earlier.wrapping_add(known)).wrapping_add(known)
}

impl Better {
    pub(super) fn new(class: Class) -> Self {
        Self {
            class,
            long: vec![Pair::default(); 1 << LONG_BITS].into_boxed_slice(),
            short: vec![Entry::default(); 1 << SHORT_BITS].into_boxed_slice(),
        }
    }

    /// Puts entries out of reach that lie a window or more before `position`.
    pub(super) fn expire(&mut self, position: u32, window: u32) {
        let expire = |entry: &mut u32| {
            if position.wrapping_sub(*entry) >= window {
                *entry = position.wrapping_sub(window);
            }
        };
        for pair in &mut self.long {
            expire(&mut pair.last);
            expire(&mut pair.before);
        }
        for entry in &mut self.short {
            expire(&mut entry.position);
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
            let from = if self.class < Class::ShortLiterals { start.wrapping_add(1) } else { found.next };
            self.enter_all(&text, from, cursor.at);
            if repeats && !self.take_before_last(&text, &mut cursor, parse) {
                break;
            }
        }
        cursor.finish(&text, parse);
    }

    #[inline(always)]
    fn set_long(&mut self, hash: usize, position: u32) -> Pair {
        match self.long.get_mut(hash) {
            Some(pair) => {
                let found = *pair;
                *pair = Pair { last: position, before: found.last };
                found
            }
            None => Pair::default(),
        }
    }

    #[inline(always)]
    fn set_short(&mut self, hash: usize, position: u32, word: u64) -> Entry {
        let entry = Entry { position, bytes: word as u32 };
        match self.short.get_mut(hash) {
            Some(place) => std::mem::replace(place, entry),
            None => Entry::default(),
        }
    }

    /// The next match in the tables. Matches of the last distance are taken on the way. `None` at the end of the block.
    #[inline(always)]
    fn search(&mut self, text: &Text<'_>, cursor: &mut Cursor, repeats: bool, parse: &mut Parse) -> Option<Match> {
        let mut at = cursor.at;
        loop {
            let word = load64(text.content, at);
            let position = text.position(at);
            let next = at.wrapping_add(1);
            let pair = self.set_long(long_hash(word), position);
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
            let longest = [pair.last, pair.before]
                .into_iter()
                .filter_map(|position| equal(text, position, at, word))
                .map(|earlier| (earlier, length_after(text, at, earlier, 8)))
                .reduce(|one, other| if other.1 > one.1 { other } else { one });
            if let Some((earlier, length)) = longest {
                return Some(Match { at, earlier, length, next });
            }
            if short.bytes == word as u32
                && let Some(earlier) = in_window(text, short.position, at)
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
        let pair = self.set_long(long_hash(word), text.position(next));
        for position in [pair.last, pair.before] {
            // The original measures the window from the place before.
            if let Some(earlier) = in_window(text, position, found.at)
                && load64(text.content, earlier) == word
            {
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
        let hash = long_hash(load64(text.content, end));
        let Some(&pair) = self.long.get(hash) else { return };
        let at = found.at.wrapping_add(SKIPPED);
        let expected = load32(text.content, at);
        for position in [pair.last, pair.before] {
            // The second place is tried with the length that the first one gave: so does the original.
            let distance = text.position(end).wrapping_sub(position) as usize;
            let earlier = end
                .checked_sub(distance)
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
        let mut at = from;
        while at < end.wrapping_sub(1) {
            let word = load64(text.content, at);
            let position = text.position(at);
            self.set_long(long_hash(word), position);
            self.set_short(short_hash(word >> 8), position.wrapping_add(1), word >> 8);
            at = at.wrapping_add(2);
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
            self.set_long(long_hash(word), text.position(at));
            self.set_short(short_hash(word), text.position(at), word);
            if cursor.is_done() {
                return false;
            }
        }
    }
}
