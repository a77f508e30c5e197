//! The loops over the content: at each position a literal or a match, and the end of a block where it is due.
//!
//! A run takes the content in the window as far as matches cannot need more of it, and all of it where a flush or the
//! end asks for that. Levels 1 to 3 take the match at a position at once. Levels 4 to 9 hold it back, look for a
//! longer one at the next position, and then take the held match or give its first byte as a literal. The classes of
//! zlib and GNU gzip differ in a few decisions, which [`Class`] names.

use super::bits::BitWriter;
use super::block::{Block, Last, write_empty_fixed, write_stored};
use super::level::{Search, ZlibLevel};
use super::long_chains::LongChains;
use super::tables::{HISTORY, MATCH_MIN};
use super::window::{Candidates, DISTANCE_MAX, LOOKAHEAD_MIN, Match, SLIDE_FROM, Window};
use super::{ZlibBoundary, ZlibFlush};

/// A match of three bytes at a longer distance than this costs more than its literals.
const DISTANCE_OF_SHORTEST_MAX: usize = 4096;

/// Levels that search as many candidates gain by long chains.
const LONG_CHAINS_FROM: usize = 128;

/// No match: shorter than any.
const NO_MATCH: Match = Match { length: MATCH_MIN - 1, start: 0 };

/// When a block ends before the content does.
#[derive(Clone, Copy)]
pub(super) struct BlockEnd {
    /// As many symbols end a block.
    pub(super) symbols_max: usize,
    /// At each multiple of this, a block ends where it compresses well: see [`Encoder::is_block_due`].
    pub(super) symbols_between: usize,
}

/// The decisions in which the classes differ.
#[derive(Clone, Copy)]
pub(super) struct Class {
    pub(super) hash_bits: u32,
    pub(super) block_end: BlockEnd,
    pub(super) ending: Ending,
}

/// How a class works where its content ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// A match that reaches the end of the content is as good as any: zlib.
    Exact,
    /// Candidates are compared past the end of the content, with whatever the window holds there, and the match is cut
    /// afterwards. Once the end was met the window slides no more, and positions too near its end get no match: GNU
    /// gzip.
    Loose,
}

/// How far a run goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// To where the next match might need more content.
    LookaheadMin,
    /// To the end of the content.
    End,
}

/// How a stream begins.
pub(super) struct Start<'a> {
    history: &'a [u8],
    /// The window's index of the first byte.
    position: usize,
    /// Content of the stream before the first byte.
    content: u64,
    bits: u64,
    partial: u8,
    previous_length: usize,
}

impl Start<'_> {
    pub(super) fn dictionary(dictionary: &[u8]) -> Start<'_> {
        let position = dictionary.len().min(HISTORY);
        Start { history: dictionary, position, content: 0, bits: 0, partial: 0, previous_length: NO_MATCH.length }
    }

    /// The window stands as it stood when the stream came to the boundary: where a block's start slides out of the
    /// window, the block cannot be stored, so the place of each slide is part of the stream.
    pub(super) fn boundary<'a>(at: &ZlibBoundary, history: &'a [u8]) -> Start<'a> {
        let within = (at.content % HISTORY as u64) as usize;
        let first_window = at.content < HISTORY as u64;
        let position = if first_window || within > DISTANCE_MAX { within } else { within + HISTORY };
        let previous_length = usize::from(at.previous_length);
        Start { history, position, content: at.content, bits: at.bits, partial: at.partial, previous_length }
    }
}

pub(super) struct Encoder {
    level: ZlibLevel,
    window: Window,
    block: Block,
    class: Class,
    /// No more content comes.
    is_end_met: bool,
    /// The number of symbols at which the block's end is considered next.
    considered_at: usize,
    bits: BitWriter,
    /// Where the block begins, counted as [`Window::slid`] counts.
    block_start: u64,
    /// The match at the position before, where a lazy level holds it back; its start is an index of the window.
    held: Match,
    /// Whether the byte before the position is not yet encoded.
    is_byte_held: bool,
    /// Content and bits of the stream before this encoder's first ones, less what the window and the bits count.
    content_before: u64,
    bits_before: u64,
    boundary: ZlibBoundary,
}

impl Encoder {
    pub(super) fn new(level: ZlibLevel, class: Class) -> Encoder {
        Encoder {
            level,
            window: Window::new(class.hash_bits, (level.search().chain >= LONG_CHAINS_FROM).then(LongChains::new)),
            block: Block::new(),
            class,
            is_end_met: false,
            considered_at: 0,
            bits: BitWriter::within_byte(0, 0),
            block_start: 0,
            held: NO_MATCH,
            is_byte_held: false,
            content_before: 0,
            bits_before: 0,
            boundary: ZlibBoundary { content: 0, bits: 0, partial: 0, previous_length: 0 },
        }
    }

    pub(super) fn begin(&mut self, start: &Start<'_>) {
        self.is_end_met = false;
        self.window.reset();
        self.window.set_history(start.history, start.position);
        self.block.clear();
        let partial_bits = (start.bits % 8) as u32;
        self.bits = BitWriter::within_byte(start.partial, partial_bits);
        self.held = Match { length: start.previous_length, start: 0 };
        self.is_byte_held = false;
        self.content_before = start.content.wrapping_sub(start.position as u64);
        self.bits_before = start.bits - u64::from(partial_bits);
        self.begin_block(start.previous_length);
    }

    pub(super) fn boundary(&self) -> Option<ZlibBoundary> {
        self.level.is_lazy().then_some(self.boundary)
    }

    pub(super) fn write(&mut self, content: &[u8], out: &mut Vec<u8>) {
        let mut rest = content;
        while !rest.is_empty() {
            let taken = self.window.fill(rest);
            rest = &rest[taken..];
            // The window is full: nothing runs before, so that the sizes of the writes do not matter.
            if !rest.is_empty() {
                self.run(Until::LookaheadMin, out);
            }
        }
    }

    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        self.run(Until::End, out);
        self.end_block(Last::Yes, out);
    }

    pub(super) fn flush(&mut self, flush: ZlibFlush, out: &mut Vec<u8>) {
        self.run(Until::End, out);
        self.window.await_content();
        if !self.block.is_empty() {
            self.end_block(Last::No, out);
        }
        match flush {
            ZlibFlush::Block => {}
            ZlibFlush::Partial => write_empty_fixed(&mut self.bits, out),
            ZlibFlush::Sync | ZlibFlush::Full => write_stored(&[], Last::No, &mut self.bits, out),
        }
        self.bits.flush(out);
        if flush == ZlibFlush::Full {
            let content = self.content_position();
            self.window.reset();
            self.content_before = content;
        }
        self.begin_block(NO_MATCH.length);
    }

    pub(super) fn waiting_bits(&self) -> u32 {
        (self.bits.position_bits() % 8) as u32
    }

    fn run(&mut self, until: Until, out: &mut Vec<u8>) {
        let search = self.level.search();
        match (self.level.is_lazy(), search.chain >= LONG_CHAINS_FROM) {
            (false, _) => self.run_at_once(search, until, out),
            (true, false) => self.run_lazy::<false>(search, until, out),
            (true, true) => self.run_lazy::<true>(search, until, out),
        }
    }

    /// Slides the window where it is due; says whether the run is over.
    #[inline(always)]
    fn is_over(&mut self, until: Until) -> bool {
        if self.window.ahead >= LOOKAHEAD_MIN {
            return false;
        }
        if self.window.position >= SLIDE_FROM && !self.is_end_met {
            self.held.start = self.held.start.saturating_sub(HISTORY);
            self.window.slide();
        }
        if until == Until::End && self.class.ending == Ending::Loose && !self.is_end_met {
            self.is_end_met = true;
            self.window.pad();
        }
        until == Until::LookaheadMin || self.window.ahead == 0
    }

    /// The earlier position that begins alike, if it is near enough; the position is inserted.
    #[inline(always)]
    fn candidate<const LONG: bool>(&mut self) -> Option<Candidates> {
        if self.window.ahead < MATCH_MIN {
            return None;
        }
        let position = self.window.position;
        let candidates = self.window.insert_for::<LONG>(position);
        let latest = candidates.latest;
        (latest != 0 && position.wrapping_sub(latest) <= DISTANCE_MAX).then_some(candidates)
    }

    #[inline(always)]
    fn longest_match<const LONG: bool>(
        &self,
        candidates: Candidates,
        longer_than: usize,
        search: Search,
    ) -> Option<Match> {
        let nice = match self.class.ending {
            Ending::Exact => search.nice.min(self.window.ahead),
            Ending::Loose if self.window.position > SLIDE_FROM => return None,
            Ending::Loose => search.nice,
        };
        self.window.longest_match::<LONG>(candidates, longer_than, nice, search)
    }

    /// Levels 1 to 3: the first match is taken.
    fn run_at_once(&mut self, search: Search, until: Until, out: &mut Vec<u8>) {
        while !self.is_over(until) {
            let position = self.window.position;
            let candidate = self.candidate::<false>();
            let found = candidate.and_then(|at| self.longest_match::<false>(at, NO_MATCH.length, search));
            if let Some(found) = found {
                self.block.add_match(found.length, position.wrapping_sub(found.start));
                self.window.ahead = self.window.ahead.wrapping_sub(found.length);
                if found.length <= search.lazy && self.window.ahead >= MATCH_MIN {
                    for at in position.wrapping_add(1)..position.wrapping_add(found.length) {
                        self.window.insert_for::<false>(at);
                    }
                }
                self.window.position = position.wrapping_add(found.length);
            } else {
                let literal = self.window.byte(self.window.position);
                self.block.add_literal(literal);
                self.window.advance();
            }
            if self.block.symbols() == self.considered_at && self.is_block_due(position) {
                self.end_block(Last::No, out);
            }
        }
    }

    /// Levels 4 to 9: a match is taken unless the next position has a longer one.
    fn run_lazy<const LONG: bool>(&mut self, search: Search, until: Until, out: &mut Vec<u8>) {
        while !self.is_over(until) {
            let position = self.window.position;
            let candidate = self.candidate::<LONG>();
            let held = self.held;
            self.held = NO_MATCH;
            if held.length < search.lazy {
                let found = candidate.and_then(|at| self.longest_match::<LONG>(at, held.length, search));
                self.held = found.filter(|found| self.is_worth(*found)).unwrap_or(NO_MATCH);
            }
            if held.length >= MATCH_MIN && self.held.length <= held.length && self.is_byte_held {
                self.take_held::<LONG>(held);
                if self.block.symbols() == self.considered_at && self.is_block_due(position) {
                    self.end_block(Last::No, out);
                }
                continue;
            }
            if self.is_byte_held {
                self.block.add_literal(self.window.byte(position.wrapping_sub(1)));
                if self.block.symbols() == self.considered_at && self.is_block_due(position) {
                    self.end_block_before(held.length, out);
                }
            }
            self.is_byte_held = true;
            self.window.advance();
        }
        if until == Until::End && self.is_byte_held {
            let literal = self.window.byte(self.window.position.wrapping_sub(1));
            self.block.add_literal(literal);
            self.is_byte_held = false;
        }
    }

    #[inline(always)]
    fn is_worth(&self, found: Match) -> bool {
        let distance = self.window.position.wrapping_sub(found.start);
        found.length > MATCH_MIN || found.length == MATCH_MIN && distance <= DISTANCE_OF_SHORTEST_MAX
    }

    /// Encodes the match at the position before, and goes to its end.
    #[inline(always)]
    fn take_held<const LONG: bool>(&mut self, held: Match) {
        let position = self.window.position;
        self.block.add_match(held.length, position.wrapping_sub(1).wrapping_sub(held.start));
        // The last two positions of the content have no string of three bytes.
        let end = position.wrapping_add(held.length).wrapping_sub(1);
        let whole = position.wrapping_add(self.window.ahead).wrapping_sub(MATCH_MIN - 1);
        for at in position.wrapping_add(1)..end.min(whole) {
            self.window.insert_for::<LONG>(at);
        }
        self.window.ahead = self.window.ahead.wrapping_sub(held.length.wrapping_sub(1));
        self.window.position = end;
        self.held = NO_MATCH;
        self.is_byte_held = false;
    }

    /// Whether the block ends with the symbol just added; `position` is where the run stands, before it goes on.
    ///
    /// A block ends early where fewer than half of its symbols are matches and it seems to take less than half of its
    /// content's bytes. zlib has this test up to 1.2.11 in `trees.c`, switched off. A last match counts as the run's
    /// position says: with one byte, or with none (levels 1 to 3).
    #[cold]
    #[inline(never)]
    fn is_block_due(&mut self, position: usize) -> bool {
        let symbols = self.block.symbols();
        let BlockEnd { symbols_max, symbols_between } = self.class.block_end;
        self.considered_at = self.considered_at.saturating_add(symbols_between).min(symbols_max);
        if symbols >= symbols_max {
            return true;
        }
        let content = self.window.slid.wrapping_add(position as u64).wrapping_sub(self.block_start);
        self.block.matches() < symbols / 2 && self.block.bytes_estimate() < content / 2
    }

    fn end_block(&mut self, last: Last, out: &mut Vec<u8>) {
        let content = self.window.content_from(self.block_start);
        self.block.write(content, last, &mut self.bits, out);
        self.bits.flush(out);
        self.begin_block(NO_MATCH.length);
    }

    /// Ends a block behind a literal, with the position still to be held.
    fn end_block_before(&mut self, previous_length: usize, out: &mut Vec<u8>) {
        let content = self.window.content_from(self.block_start);
        self.block.write(content, Last::No, &mut self.bits, out);
        self.bits.flush(out);
        self.begin_block(previous_length);
    }

    fn begin_block(&mut self, previous_length: usize) {
        self.considered_at = self.class.block_end.symbols_between.min(self.class.block_end.symbols_max);
        self.block_start = self.window.slid.wrapping_add(self.window.position as u64);
        self.boundary = ZlibBoundary {
            content: self.content_position(),
            bits: self.bits_before.wrapping_add(self.bits.position_bits()),
            partial: self.bits.partial(),
            previous_length: previous_length as u16,
        };
    }

    /// Content of the stream up to the position.
    fn content_position(&self) -> u64 {
        let within = self.window.slid.wrapping_add(self.window.position as u64);
        self.content_before.wrapping_add(within)
    }
}
