//! Levels 5 and 6: a table by the hash of four bytes, and one by the hash of seven that knows two positions for each.
//!
//! Level 6 also tries the distance of the match before, looks at both long positions at the end of every match, and
//! puts more positions into the tables.

use super::matcher::{Match, Matcher, SLOTS, hash4, hash7};
use crate::deflate::{MATCH_BYTES_MAX, WINDOW_BYTES};

/// Level 5 looks for something better at the end of matches shorter than this.
const GOOD_BYTES: usize = 30;

impl Matcher {
    /// Gives tokens to the content from `start` on; where the content without tokens begins.
    pub fn two_tables<const LEVEL: i8>(&mut self, start: usize, limit: usize) -> usize {
        let (mut at, mut unwritten) = (start, start);
        let mut eight = self.eight(start);
        let mut last_distance = 1;
        while let Some(mut found) = self.search::<LEVEL>(at, eight, unwritten, limit, last_distance) {
            if found.length == 0 {
                found.length = self.same(found.at + 4, found.from + 4) + 4;
            } else if found.length == MATCH_BYTES_MAX {
                found.length += self.same(found.at + found.length, found.from + found.length);
            }
            let end = found.at + found.length;
            if end < limit && (LEVEL == 6 || found.length < GOOD_BYTES) {
                self.try_end::<LEVEL>(&mut found, end);
            }
            let mut end = self.emit(&mut found, unwritten);
            last_distance = found.at - found.from;
            unwritten = end;
            if found.next >= end {
                end = found.next + 1;
            }
            if end >= limit {
                if LEVEL == 6 {
                    self.insert_rest(found.next + 1);
                }
                break;
            }
            if LEVEL == 6 {
                self.insert_densely(found.next + 1, end);
                eight = self.eight(end);
            } else {
                self.insert(end + 1 - found.length, end);
                let before = self.eight(end - 1);
                self.set_short(hash4(before), self.position(end - 1));
                self.push_long(hash7(before), self.position(end - 1));
                eight = before >> 8;
            }
            at = end;
        }
        unwritten
    }

    #[inline]
    fn search<const LEVEL: i8>(
        &mut self,
        start: usize,
        first: u64,
        unwritten: usize,
        limit: usize,
        last_distance: usize,
    ) -> Option<Match> {
        let skip = if LEVEL == 6 { 7 } else { 6 };
        let (mut next, mut eight) = (start, first);
        loop {
            let at = next;
            next = at + 1 + ((at - unwritten) >> skip);
            if next > limit {
                return None;
            }
            let (hash_short, hash_long) = (hash4(eight), hash7(eight));
            let short = self.short[hash_short & (SLOTS - 1)];
            let long = self.long[hash_long & (SLOTS - 1)];
            let next_eight = self.eight(next);
            self.set_short(hash_short, self.position(at));
            self.push_long(hash_long, self.position(at));
            let word = eight as u32;
            let last = self.candidate(long.last, at, word);
            // The older of two positions is looked at only if the newer one is within reach.
            let is_near = (self.position(at).wrapping_sub(long.last) as usize) < WINDOW_BYTES;
            let before = if is_near { self.candidate(long.before, at, word) } else { None };
            if let Some(from) = last.or(before) {
                self.insert_next(next, next_eight);
                let mut found = Match { at, from, length: 0, next };
                if let (Some(last), Some(before)) = (last, before) {
                    found.length = self.same_short(at + 4, last + 4) + 4;
                    let length = self.same_short(at + 4, before + 4) + 4;
                    if length > found.length {
                        (found.from, found.length) = (before, length);
                    }
                }
                return Some(found);
            }
            if let Some(from) = self.candidate(short, at, word) {
                let length = self.same_short(at + 4, from + 4) + 4;
                let found = Match { at, from, length, next };
                return Some(self.try_next::<LEVEL>(found, eight, next_eight, last_distance));
            }
            eight = next_eight;
        }
    }

    /// A short match was found: perhaps the next position has a longer one.
    fn try_next<const LEVEL: i8>(&mut self, mut found: Match, eight: u64, next_eight: u64, last: usize) -> Match {
        let next = found.next;
        let long = self.long[hash7(next_eight) & (SLOTS - 1)];
        self.insert_next(next, next_eight);
        if LEVEL == 6 {
            let from = (found.at + 1).saturating_sub(last);
            if self.word(from) == (eight >> 8) as u32 {
                let length = self.same_short(found.at + 5, from + 4) + 4;
                if length > found.length {
                    return Match { at: found.at + 1, from, length, next };
                }
            }
        }
        if (self.position(next).wrapping_sub(long.last) as usize) >= WINDOW_BYTES {
            return found;
        }
        for slot in [long.last, long.before] {
            let Some(from) = self.candidate(slot, next, next_eight as u32) else { continue };
            let length = self.same_short(next + 4, from + 4) + 4;
            if length > found.length {
                found = Match { at: next, from, length, next };
                if LEVEL == 5 {
                    return found;
                }
            }
        }
        found
    }

    /// The hash at the end of a match may know a longer match around it, of which the first two bytes may differ.
    fn try_end<const LEVEL: i8>(&self, found: &mut Match, end: usize) {
        const SKIPPED: usize = 2;
        let long = self.long[hash7(self.eight(end)) & (SLOTS - 1)];
        let at = found.at + SKIPPED;
        let slots = if LEVEL == 6 { [Some(long.last), Some(long.before)] } else { [Some(long.last), None] };
        for slot in slots.into_iter().flatten() {
            let distance_at_end = i64::from(self.position(end)) - i64::from(slot);
            // Where the match would begin in the older content, with the length that is known now.
            let from = end as i64 - distance_at_end - found.length as i64 + SKIPPED as i64;
            let distance = at as i64 - from;
            if distance >= WINDOW_BYTES as i64 && slot == long.last {
                return;
            }
            if distance <= 0 || distance >= WINDOW_BYTES as i64 || from < 0 {
                continue;
            }
            let from = from as usize;
            let length = self.same(at, from);
            if length > found.length {
                (found.at, found.from, found.length) = (at, from, length);
            }
        }
    }

    #[inline]
    fn insert_next(&mut self, next: usize, next_eight: u64) {
        self.set_short(hash4(next_eight), self.position(next));
        self.push_long(hash7(next_eight), self.position(next));
    }

    /// Level 5: every third position of a match.
    fn insert(&mut self, first: usize, end: usize) {
        let mut at = first;
        if at >= end - 1 {
            return;
        }
        let eight = self.eight(at);
        self.set_short(hash4(eight), self.position(at));
        self.push_long(hash7(eight), self.position(at));
        self.push_long(hash7(eight >> 8), self.position(at + 1));
        self.set_short(hash4(eight >> 16), self.position(at + 2));
        at += 4;
        while at < end - 1 {
            let eight = self.eight(at);
            self.push_long(hash7(eight), self.position(at));
            self.set_short(hash4(eight >> 8), self.position(at + 1));
            at += 3;
        }
    }

    /// Level 6: every position into the long table, every second one into the short table.
    fn insert_densely(&mut self, first: usize, end: usize) {
        let mut at = first;
        while at < end - 1 {
            let eight = self.eight(at);
            self.set_short(hash4(eight), self.position(at));
            let (long, next) = (hash7(eight), hash7(eight >> 8));
            self.push_long(long, self.position(at));
            self.push_long(next, self.position(at + 1));
            at += 2;
        }
    }

    /// Level 6: what is left of the piece.
    fn insert_rest(&mut self, first: usize) {
        let mut at = first;
        while at + 8 < self.content.len() {
            let eight = self.eight(at);
            self.set_short(hash4(eight), self.position(at));
            self.push_long(hash7(eight), self.position(at));
            at += 2;
        }
    }
}
