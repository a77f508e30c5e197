//! Level 1: one table, by the hash of five bytes.

use super::matcher::{Match, Matcher, SLOTS, hash5};
use crate::deflate::WINDOW_BYTES;

impl Matcher {
    /// Gives tokens to the content from `start` on; where the content without tokens begins.
    pub fn fastest(&mut self, start: usize, limit: usize) -> usize {
        let (mut at, mut unwritten) = (start, start);
        let mut eight = self.eight(start);
        while let Some(mut found) = self.search_fastest(at, eight, unwritten, limit) {
            loop {
                found.length = self.same(found.at + 4, found.from + 4) + 4;
                let mut end = self.emit(&mut found, unwritten);
                unwritten = end;
                if found.next >= end {
                    end = found.next + 1;
                }
                if end >= limit {
                    if end + found.length + 8 < self.content.len() {
                        let hash = hash5(self.eight(end));
                        self.set_short(hash, self.position(end));
                    }
                    return unwritten;
                }
                let before = self.eight(end - 2);
                self.set_short(hash5(before), self.position(end - 2));
                let hash = hash5(before >> 16);
                let slot = self.short[hash & (SLOTS - 1)];
                self.set_short(hash, self.position(end));
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
    fn search_fastest(&mut self, start: usize, first: u64, unwritten: usize, limit: usize) -> Option<Match> {
        let (mut at, mut eight) = (start, first);
        loop {
            let hash = hash5(eight);
            let slot = self.short[hash & (SLOTS - 1)];
            let mut next = at + 2 + ((at - unwritten) >> 5);
            if next > limit {
                return None;
            }
            let mut next_eight = self.eight(next);
            self.set_short(hash, self.position(at));
            let hash = hash5(next_eight);
            if let Some(from) = self.candidate(slot, at, eight as u32) {
                self.set_short(hash, self.position(next));
                return Some(Match { at, from, length: 0, next });
            }
            (at, eight) = (next, next_eight);
            next += 1;
            let slot = self.short[hash & (SLOTS - 1)];
            next_eight >>= 8;
            self.set_short(hash, self.position(at));
            if let Some(from) = self.candidate(slot, at, eight as u32) {
                self.set_short(hash, self.position(next));
                return Some(Match { at, from, length: 0, next });
            }
            (at, eight) = (next, next_eight);
        }
    }
}
