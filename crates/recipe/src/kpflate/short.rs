//! Levels 1 and 2: one table, by the hash of five bytes. That of level 2 is larger, and gets more of the positions in
//! matches.

use super::matcher::{Match, Matcher};
use crate::deflate::WINDOW_BYTES;

impl Matcher {
    /// Gives tokens to the content from `start` on; where the content without tokens begins.
    pub fn one_table<const LEVEL: i8>(&mut self, start: usize, limit: usize) -> usize {
        let (mut at, mut unwritten) = (start, start);
        let mut eight = self.eight(start);
        while let Some(mut found) = self.search_one::<LEVEL>(at, eight, unwritten, limit) {
            loop {
                found.length = self.same(found.at + 4, found.from + 4) + 4;
                let mut end = self.emit(&mut found, unwritten);
                unwritten = end;
                if found.next >= end {
                    end = found.next + 1;
                }
                if end >= limit {
                    if end + found.length + 8 < self.content.len() {
                        self.set_one::<LEVEL>(self.eight(end), end);
                    }
                    return unwritten;
                }
                if LEVEL == 2 {
                    self.insert_seconds(end + 2 - found.length, end);
                }
                let before = self.eight(end - 2);
                self.set_one::<LEVEL>(before, end - 2);
                if LEVEL == 2 {
                    self.set_one::<LEVEL>(before >> 8, end - 1);
                }
                let slot = self.set_one::<LEVEL>(before >> 16, end);
                // Here the distance may be the whole window.
                let distance = self.position(end).wrapping_sub(slot) as usize;
                let from = end.checked_sub(distance).filter(|_| distance <= WINDOW_BYTES);
                match from.filter(|&from| self.word(from) == (before >> 16) as u32) {
                    Some(from) => found = Match { at: end, from, length: 0, next: found.next },
                    None => {
                        (at, eight) = (end + 1, before >> 24);
                        break;
                    }
                }
            }
        }
        unwritten
    }

    #[inline]
    fn search_one<const LEVEL: i8>(
        &mut self,
        start: usize,
        first: u64,
        unwritten: usize,
        limit: usize,
    ) -> Option<Match> {
        let (mut at, mut eight) = (start, first);
        loop {
            let mut next = at + 2 + ((at - unwritten) >> 5);
            if next > limit {
                return None;
            }
            let mut next_eight = self.eight(next);
            let slot = self.set_one::<LEVEL>(eight, at);
            if let Some(from) = self.candidate(slot, at, eight as u32) {
                self.set_one::<LEVEL>(next_eight, next);
                return Some(Match { at, from, length: 0, next });
            }
            (at, eight) = (next, next_eight);
            next += 1;
            next_eight >>= 8;
            let slot = self.set_one::<LEVEL>(eight, at);
            if let Some(from) = self.candidate(slot, at, eight as u32) {
                if LEVEL == 1 {
                    // The original sets the slot of this position to the next one.
                    self.set_one::<LEVEL>(eight, next);
                }
                return Some(Match { at, from, length: 0, next });
            }
            (at, eight) = (next, next_eight);
        }
    }

    /// Puts a position into the slot of its bytes; what stood there.
    #[inline]
    fn set_one<const LEVEL: i8>(&mut self, eight: u64, at: usize) -> u32 {
        let position = self.position(at);
        let slot = if LEVEL == 1 { self.short_slot(eight) } else { self.wide_slot(eight) };
        std::mem::replace(slot, position)
    }

    /// Level 2: every second position, three of seven.
    fn insert_seconds(&mut self, first: usize, end: usize) {
        let mut at = first;
        while at + 5 < end {
            let eight = self.eight(at);
            self.set_one::<2>(eight, at);
            self.set_one::<2>(eight >> 16, at + 2);
            self.set_one::<2>(eight >> 32, at + 4);
            at += 7;
        }
    }
}
