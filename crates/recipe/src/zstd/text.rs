//! The parts that match finders share: a block in its history, where a finder stands in it, and the matches that all
//! take alike.

use super::parse::{Parse, load32, match_length};

/// Whether a block is one of many or all that its frame has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// With history, and more blocks to come.
    Stream,
    /// Alone, for which the two lower levels have a second version that differs a little.
    Alone,
}

/// A block in its history.
#[derive(Clone, Copy)]
pub(super) struct Text<'a> {
    /// The history and the block, which ends it.
    pub(super) content: &'a [u8],
    /// Where the block starts.
    pub(super) start: usize,
    /// Added to a place, gives its position in the tables.
    pub(super) base: u32,
    /// No match reaches back so far.
    pub(super) window: u32,
}

/// Where a finder stands in a block.
pub(super) struct Cursor {
    pub(super) at: usize,
    /// The end of the last match.
    pub(super) emitted: usize,
    /// No search starts from here on.
    limit: usize,
    /// The last distance and the one before it.
    pub(super) last: usize,
    before_last: usize,
}

impl Text<'_> {
    pub(super) fn block(&self) -> &[u8] {
        self.content.get(self.start..).unwrap_or_default()
    }

    /// The position of a place.
    #[inline(always)]
    pub(super) fn position(&self, at: usize) -> u32 {
        (at as u32).wrapping_add(self.base)
    }

    /// How far a match of two places can be grown backwards: the later one not below `floor`, the earlier one not below
    /// `lowest`.
    #[inline(always)]
    fn grow_back(&self, at: usize, earlier: usize, floor: usize, lowest: usize) -> usize {
        let room = at.saturating_sub(floor).min(earlier.saturating_sub(lowest));
        let before = self.content.get(at.saturating_sub(room)..at).unwrap_or_default();
        let other = self.content.get(earlier.saturating_sub(room)..earlier).unwrap_or_default();
        let mut grown = 0_usize;
        for (one, other) in before.iter().rev().zip(other.iter().rev()) {
            if one != other {
                break;
            }
            grown = grown.wrapping_add(1);
        }
        grown
    }
}

impl Cursor {
    /// At the start of the block, of whose last `margin` bytes no search starts.
    pub(super) fn new(text: &Text<'_>, margin: usize) -> Self {
        Self {
            at: text.start,
            emitted: text.start,
            limit: text.content.len().saturating_sub(margin),
            // Never used: distances are taken again only after three matches.
            last: 1,
            before_last: 1,
        }
    }

    #[inline(always)]
    pub(super) fn is_done(&self) -> bool {
        self.at >= self.limit
    }

    #[inline(always)]
    pub(super) fn is_end(&self, at: usize) -> bool {
        at >= self.limit
    }

    /// Whether the last distance has a match `ahead` bytes on, where the bytes are `expected`.
    #[inline(always)]
    pub(super) fn has_last(&self, text: &Text<'_>, at: usize, ahead: usize, expected: u32) -> bool {
        load32(text.content, at.wrapping_add(ahead).wrapping_sub(self.last)) == expected
    }

    /// Takes the match of the last distance `ahead` bytes after `at`.
    #[inline(always)]
    pub(super) fn take_last(&mut self, text: &Text<'_>, at: usize, ahead: usize, parse: &mut Parse) {
        let next = at.wrapping_add(ahead);
        let earlier = next.wrapping_sub(self.last);
        let length = match_length(text.content, next.wrapping_add(4), earlier.wrapping_add(4)).wrapping_add(4);
        // At least one literal stays: without literals the last distance has another code.
        let floor = self.emitted.wrapping_add(1);
        let lowest = at.saturating_sub(text.window as usize);
        let grown = text.grow_back(next, earlier, floor, lowest);
        let start = next.wrapping_sub(grown);
        parse.push(text.content, self.emitted, start, length.wrapping_add(grown), 1);
        self.at = next.wrapping_add(length);
        self.emitted = self.at;
    }

    /// Takes a match of `length` bytes, grown backwards. Returns where it starts.
    #[inline(always)]
    pub(super) fn take(
        &mut self,
        text: &Text<'_>,
        at: usize,
        earlier: usize,
        length: usize,
        parse: &mut Parse,
    ) -> usize {
        self.before_last = self.last;
        self.last = at.wrapping_sub(earlier);
        let lowest = at.saturating_sub(text.window as usize);
        let grown = text.grow_back(at, earlier, self.emitted, lowest);
        let start = at.wrapping_sub(grown);
        let offset = (self.last as u32).wrapping_add(3);
        parse.push(text.content, self.emitted, start, length.wrapping_add(grown), offset);
        self.at = at.wrapping_add(length);
        self.emitted = self.at;
        start
    }

    /// Takes a match of the distance before the last right here, where the bytes are `expected`, if there is one.
    #[inline(always)]
    pub(super) fn take_before_last(&mut self, text: &Text<'_>, expected: u32, parse: &mut Parse) -> bool {
        let earlier = self.at.wrapping_sub(self.before_last);
        if load32(text.content, earlier) != expected {
            return false;
        }
        let length = match_length(text.content, self.at.wrapping_add(4), earlier.wrapping_add(4)).wrapping_add(4);
        parse.push(text.content, self.at, self.at, length, 1);
        self.at = self.at.wrapping_add(length);
        self.emitted = self.at;
        std::mem::swap(&mut self.last, &mut self.before_last);
        true
    }

    /// Adds what is left of the block.
    pub(super) fn finish(&self, text: &Text<'_>, parse: &mut Parse) {
        if self.emitted < text.content.len() {
            parse.push_literals(text.content, self.emitted, text.content.len());
        }
    }
}
