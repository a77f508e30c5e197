//! LZ4 blocks: decompressed, and compressed to the same bytes as by lz4's "high compression" at its lowest effort,
//! which looks at two candidates for each match (levels 1 and 2 of lz4 1.9 and before).
//!
//! Source: LZ4 Block Format Description (2022-07-31); lib/lz4hc.c of lz4 1.9.4 for the choices of its encoder. lz4 1.10
//! makes other blocks at these levels, so no version of the library that is in use today would serve
//! (docs/decisions/0035-fatbins.md).

use crate::compare::common_prefix;

/// The shortest match.
const MATCH_BYTES_MIN: usize = 4;
/// The last match begins at least so many bytes before the end, and ends at least so many before it.
const START_BEFORE_END: usize = 12;
const LAST_LITERALS: usize = 5;
/// The farthest that a match reads back.
const DISTANCE_MAX: u32 = 0xffff;
/// Lengths that the token holds: longer ones go on in bytes behind it.
const LENGTH_IN_TOKEN: usize = 15;

/// The content of a block; `None` if the block is damaged, or has another length.
pub fn content(block: &[u8], plain_bytes: usize) -> Option<Vec<u8>> {
    let plain = front(block, plain_bytes)?;
    (plain.len() == plain_bytes).then_some(plain)
}

/// The first bytes of a block's content, about `plain_bytes` of them: all of it if it has no more. `None` if the block
/// is damaged before that. Takes no more memory than that and the block.
pub fn front(block: &[u8], plain_bytes: usize) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(plain_bytes);
    let mut rest = block;
    while plain.len() < plain_bytes {
        let token = take(&mut rest)?;
        let literals = length(token >> 4, &mut rest)?;
        plain.extend_from_slice(rest.get(..literals)?);
        rest = &rest[literals..];
        if rest.is_empty() {
            break;
        }
        let distance = usize::from(take(&mut rest)?) | usize::from(take(&mut rest)?) << 8;
        let bytes = length(token & 15, &mut rest)? + MATCH_BYTES_MIN;
        let from = plain.len().checked_sub(distance).filter(|_| distance > 0)?;
        // A match of a damaged block may claim any length.
        let bytes = bytes.min(plain_bytes.saturating_sub(plain.len()) + LAST_LITERALS);
        let mut left = bytes;
        while left > 0 {
            // A match may read its own bytes.
            let count = left.min(plain.len() - from);
            plain.extend_from_within(from..from + count);
            left -= count;
        }
    }
    Some(plain)
}

fn take(rest: &mut &[u8]) -> Option<u8> {
    let (&byte, after) = rest.split_first()?;
    *rest = after;
    Some(byte)
}

/// A length: four bits of the token, and if all are set, bytes that are added until one is not 255.
fn length(in_token: u8, rest: &mut &[u8]) -> Option<usize> {
    let mut length = usize::from(in_token);
    if length == LENGTH_IN_TOKEN {
        loop {
            let more = take(rest)?;
            length += usize::from(more);
            if more != 255 {
                break;
            }
        }
    }
    Some(length)
}

/// The longest block that a content of so many bytes can have: literals alone.
pub fn block_bytes_max(plain_bytes: u64) -> u64 {
    plain_bytes + plain_bytes / 255 + 16
}

/// The block of a content. Takes no more memory than the longest block and 256 KiB.
pub fn compress(plain: &[u8]) -> Vec<u8> {
    let bytes_max = block_bytes_max(plain.len() as u64) as usize;
    let mut block = Block { plain, out: Vec::with_capacity(bytes_max), done: 0 };
    let last_start = plain.len().saturating_sub(START_BEFORE_END);
    if plain.len() > START_BEFORE_END {
        let mut chains = Chains::new(plain);
        while block.done <= last_start {
            let Some(first) = (block.done..=last_start).find_map(|at| chains.longest(at)) else { break };
            block.sequences(first, &mut chains, last_start);
        }
    }
    block.literals();
    block.out
}

/// A match: `bytes` bytes at `at` are those at `from`.
#[derive(Clone, Copy)]
struct Match {
    at: usize,
    from: usize,
    bytes: usize,
}

impl Match {
    fn end(&self) -> usize {
        self.at + self.bytes
    }

    /// Without its first bytes.
    fn behind(self, bytes: usize) -> Self {
        Self { at: self.at + bytes, from: self.from + bytes, bytes: self.bytes - bytes }
    }
}

/// A block while it is written.
struct Block<'a> {
    plain: &'a [u8],
    out: Vec<u8>,
    /// All before this place is written.
    done: usize,
}

/// A match that overlaps a better one behind it is cut to so many bytes: more would need another byte for its length.
const CUT_BYTES: usize = LENGTH_IN_TOKEN - 1 + MATCH_BYTES_MIN;

impl Block<'_> {
    /// Writes a match, and those that overlap it and are longer: each next one is looked for near the end of the last.
    fn sequences(&mut self, first: Match, chains: &mut Chains<'_>, last_start: usize) {
        // `kept` is a match that gave way to `first`, and comes back if a third one leaves it room.
        let (mut first, mut kept) = (first, first);
        loop {
            let found = (first.end() <= last_start).then(|| chains.wider(first.end() - 2, first.at, first.bytes));
            let Some(mut second) = found.flatten() else { return self.sequence(first) };
            if kept.at < first.at && second.at < first.at + kept.bytes {
                first = kept;
            }
            if second.at - first.at < 3 {
                first = second;
                continue;
            }
            let again = loop {
                if second.at - first.at < CUT_BYTES {
                    second = second.behind(overlap(first.at, first.bytes, &second));
                }
                let found =
                    (second.end() <= last_start).then(|| chains.wider(second.end() - 3, second.at, second.bytes));
                let Some(third) = found.flatten() else {
                    first.bytes = first.bytes.min(second.at - first.at);
                    self.sequence(first);
                    return self.sequence(second);
                };
                if third.at < first.end() + 3 {
                    if third.at >= first.end() {
                        break (first, second, third);
                    }
                    second = third;
                    continue;
                }
                if second.at < first.end() {
                    if second.at - first.at < CUT_BYTES {
                        let cut = overlap(first.at, first.bytes, &second);
                        first.bytes = second.at - first.at + cut;
                        second = second.behind(cut);
                    } else {
                        first.bytes = second.at - first.at;
                    }
                }
                self.sequence(first);
                (first, second) = (second, third);
            };
            let (done, between, next) = again;
            // There is no room for the second one between the others: it is kept in case the third gives way.
            let overlap = done.end().saturating_sub(between.at);
            let is_left = between.bytes >= overlap + MATCH_BYTES_MIN;
            kept = if is_left { between.behind(overlap) } else { next };
            self.sequence(done);
            first = next;
        }
    }

    fn sequence(&mut self, found: Match) {
        let literals = &self.plain[self.done..found.at];
        let (literal_bytes, match_bytes) = (literals.len(), found.bytes - MATCH_BYTES_MIN);
        self.out.push((literal_bytes.min(LENGTH_IN_TOKEN) << 4 | match_bytes.min(LENGTH_IN_TOKEN)) as u8);
        self.length(literal_bytes);
        self.out.extend_from_slice(literals);
        self.out.extend_from_slice(&((found.at - found.from) as u16).to_le_bytes());
        self.length(match_bytes);
        self.done = found.end();
    }

    /// The literals behind the last match.
    fn literals(&mut self) {
        let literals = &self.plain[self.done..];
        self.out.push((literals.len().min(LENGTH_IN_TOKEN) << 4) as u8);
        self.length(literals.len());
        self.out.extend_from_slice(literals);
    }

    fn length(&mut self, length: usize) {
        if let Some(rest) = length.checked_sub(LENGTH_IN_TOKEN) {
            self.out.resize(self.out.len() + rest / 255, 255);
            self.out.push((rest % 255) as u8);
        }
    }
}

/// How many bytes of `second` the match of `bytes` bytes at `at` takes, if it is cut and leaves the second one a match.
fn overlap(at: usize, bytes: usize, second: &Match) -> usize {
    let end = (at + bytes.min(CUT_BYTES)).min(second.end() - MATCH_BYTES_MIN);
    end.saturating_sub(second.at)
}

const HASH_BITS: u32 = 15;
/// Candidates that are looked at for each match.
const ATTEMPTS: usize = 2;
/// Indices are places and this, so that no index is near the 0 of an empty hash.
const INDEX_OF_START: u32 = 1 << 16;

/// For each place, the last place before it with the same hash of four bytes.
struct Chains<'a> {
    plain: &'a [u8],
    /// By hash: the index of the last place.
    last: Vec<u32>,
    /// By the low bits of a place's index: how far back the place before it is.
    back: Vec<u16>,
    /// The places before this one are in the tables.
    next: usize,
}

impl<'a> Chains<'a> {
    fn new(plain: &'a [u8]) -> Self {
        Self { plain, last: vec![0; 1 << HASH_BITS], back: vec![0; 1 << 16], next: 0 }
    }

    fn word(&self, at: usize) -> u32 {
        self.plain.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }

    fn hash(word: u32) -> usize {
        (word.wrapping_mul(2_654_435_761) >> (32 - HASH_BITS)) as usize
    }

    fn index(at: usize) -> u32 {
        at as u32 + INDEX_OF_START
    }

    fn insert_before(&mut self, at: usize) {
        for place in self.next..at {
            let index = Self::index(place);
            let last = &mut self.last
                [Self::hash(u32::from_le_bytes(self.plain[place..place + 4].try_into().unwrap_or_default()))];
            self.back[(index & 0xffff) as usize] = (index - *last).min(DISTANCE_MAX) as u16;
            *last = index;
        }
        self.next = self.next.max(at);
    }

    /// The longest match at a place.
    fn longest(&mut self, at: usize) -> Option<Match> {
        self.wider(at, at, MATCH_BYTES_MIN - 1)
    }

    /// A match that covers `at`, begins at `start` or behind it, and is longer than `bytes`: the longest.
    fn wider(&mut self, at: usize, start: usize, bytes: usize) -> Option<Match> {
        self.insert_before(at);
        let plain = self.plain;
        let end = plain.len() - LAST_LITERALS;
        let word = self.word(at);
        let index = Self::index(at);
        let lowest = index.saturating_sub(DISTANCE_MAX).max(INDEX_OF_START);
        let mut candidate = self.last[Self::hash(word)];
        let mut best = None;
        let mut longest = bytes;
        for _ in 0..ATTEMPTS {
            if candidate < lowest {
                break;
            }
            let from = (candidate - INDEX_OF_START) as usize;
            if self.word(from) == word && self.ends_alike(start + longest - 1, from + start + longest - 1 - at) {
                let ahead = MATCH_BYTES_MIN
                    + common_prefix(&plain[at + MATCH_BYTES_MIN..end], &plain[from + MATCH_BYTES_MIN..]);
                let before = plain[start..at].iter().rev().zip(plain[..from].iter().rev());
                let before = before.take_while(|(one, other)| one == other).count();
                if before + ahead > longest {
                    longest = before + ahead;
                    best = Some(Match { at: at - before, from: from - before, bytes: longest });
                }
            }
            candidate -= u32::from(self.back[(candidate & 0xffff) as usize]);
        }
        best
    }

    /// Whether two bytes are the same at two places: a quick look at where a longer match would have to be.
    fn ends_alike(&self, one: usize, other: usize) -> bool {
        self.plain.get(one..one + 2) == self.plain.get(other..other + 2)
    }
}

#[cfg(test)]
mod tests;
