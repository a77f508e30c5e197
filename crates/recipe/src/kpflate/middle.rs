//! Level 3: one table that knows two positions for each hash of five bytes. Level 4: two tables with one position each.

use super::matcher::{Match, Matcher, Pair, SLOTS, hash4, hash7};

/// Level 3: four bytes less than the window.
const REACH: usize = 32_764;

impl Matcher {
    /// Level 3. Gives tokens to the content from `start` on; where the content without tokens begins.
    pub fn two_candidates(&mut self, start: usize, limit: usize) -> usize {
        let (mut at, mut unwritten) = (start, start);
        let mut eight = self.eight(start);
        while let Some(mut found) = self.search_pairs(at, eight, unwritten, limit) {
            loop {
                found.length = self.same(found.at + 4, found.from + 4) + 4;
                let mut end = self.emit(&mut found, unwritten);
                unwritten = end;
                if found.next >= end {
                    end = found.next + 1;
                }
                if end >= limit {
                    let from = found.from + found.length;
                    if from + 8 < self.content.len() {
                        self.push_pair(self.eight(from), from);
                    }
                    return unwritten;
                }
                let mut inside = end + 2 - found.length;
                while inside + 5 < end {
                    self.push_pair(self.eight(inside), inside);
                    inside += 6;
                }
                let before = self.eight(end - 2);
                self.push_pair(before, end - 2);
                self.push_pair(before >> 8, end - 1);
                let pair = self.push_pair(before >> 16, end);
                let word = (before >> 16) as u32;
                let is_near = self.distance(pair.last, end) < REACH;
                let last = self.near(pair.last, end, word, REACH - 1).filter(|_| is_near);
                match last.or(self.near(pair.before, end, word, REACH - 1).filter(|_| is_near)) {
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
    fn search_pairs(&mut self, start: usize, first: u64, unwritten: usize, limit: usize) -> Option<Match> {
        let (mut next, mut eight) = (start, first);
        loop {
            let at = next;
            next = at + 1 + ((at - unwritten) >> 7);
            if next > limit {
                return None;
            }
            let next_eight = self.eight(next);
            let Pair { last, before } = self.push_pair(eight, at);
            let word = eight as u32;
            if self.distance(last, at) <= REACH {
                if let Some(mut from) = self.near(last, at, word, REACH) {
                    if let Some(other) = self.near(before, at, word, REACH)
                        && self.same(at + 4, other + 4) > self.same(at + 4, from + 4)
                    {
                        from = other;
                    }
                    return Some(Match { at, from, length: 0, next });
                }
                // One byte less: so it is in the original.
                if let Some(from) = self.near(before, at, word, REACH - 1) {
                    return Some(Match { at, from, length: 0, next });
                }
            }
            eight = next_eight;
        }
    }

    #[inline]
    fn distance(&self, slot: u32, at: usize) -> usize {
        self.position(at).wrapping_sub(slot) as usize
    }

    /// Where a slot's position stands, if it is within reach and the same four bytes stand there.
    #[inline]
    fn near(&self, slot: u32, at: usize, word: u32, reach: usize) -> Option<usize> {
        let from = at.checked_sub(self.distance(slot, at)).filter(|from| at - from <= reach)?;
        (self.word(from) == word).then_some(from)
    }

    /// Level 4. Gives tokens to the content from `start` on; where the content without tokens begins.
    pub fn two_tables_once(&mut self, start: usize, limit: usize) -> usize {
        let (mut at, mut unwritten) = (start, start);
        let mut eight = self.eight(start);
        while let Some(mut found) = self.search_once(at, eight, unwritten, limit) {
            found.length = self.same(found.at + 4, found.from + 4) + 4;
            let mut end = self.emit(&mut found, unwritten);
            unwritten = end;
            if found.next >= end {
                end = found.next + 1;
            }
            if end >= limit {
                if end + 8 < self.content.len() {
                    self.insert_both(self.eight(end), end);
                }
                break;
            }
            let mut inside = found.next;
            while inside < end - 1 {
                let eight = self.eight(inside);
                self.push_long(hash7(eight), self.position(inside));
                self.insert_both(eight >> 8, inside + 1);
                inside += 3;
            }
            let before = self.eight(end - 1);
            self.insert_both(before, end - 1);
            (at, eight) = (end, before >> 8);
        }
        unwritten
    }

    #[inline]
    fn search_once(&mut self, start: usize, first: u64, unwritten: usize, limit: usize) -> Option<Match> {
        let (mut next, mut eight) = (start, first);
        loop {
            let at = next;
            next = at + 1 + ((at - unwritten) >> 6);
            if next > limit {
                return None;
            }
            let short = self.short[hash4(eight) & (SLOTS - 1)];
            let long = self.long[hash7(eight) & (SLOTS - 1)].last;
            let next_eight = self.eight(next);
            self.insert_both(eight, at);
            if let Some(from) = self.candidate(long, at, eight as u32) {
                return Some(Match { at, from, length: 0, next });
            }
            if let Some(from) = self.candidate(short, at, eight as u32) {
                let long = self.long[hash7(next_eight) & (SLOTS - 1)].last;
                let other = self.candidate(long, next, next_eight as u32);
                let longer = other.filter(|other| {
                    // The distance is taken for the place.
                    let other = if self.measures_wrongly { next - other } else { *other };
                    self.same(next + 4, other + 4) > self.same(at + 4, from + 4)
                });
                let (at, from) = longer.map_or((at, from), |other| (next, other));
                return Some(Match { at, from, length: 0, next });
            }
            eight = next_eight;
        }
    }

    #[inline]
    fn insert_both(&mut self, eight: u64, at: usize) {
        self.set_short(hash4(eight), self.position(at));
        self.push_long(hash7(eight), self.position(at));
    }
}
