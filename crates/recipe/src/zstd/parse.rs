//! A block parsed into literals and sequences, with the reading and comparing that finders share.

use super::sequences::{MATCH_MIN, Sequence};

/// The largest block of a frame (RFC 8878, 3.1.1.2.4).
pub(super) const BLOCK_MAX: usize = 128 << 10;
/// Short literals are copied as so many bytes, of which the surplus is overwritten.
const COPY: usize = 16;

/// One block as literals and sequences.
pub(super) struct Parse {
    literals: Vec<u8>,
    literals_length: usize,
    pub(super) sequences: Vec<Sequence>,
}

impl Parse {
    pub(super) fn new() -> Self {
        Self { literals: vec![0; BLOCK_MAX + COPY], literals_length: 0, sequences: Vec::with_capacity(BLOCK_MAX / 16) }
    }

    pub(super) fn clear(&mut self) {
        self.literals_length = 0;
        self.sequences.clear();
    }

    pub(super) fn literals(&self) -> &[u8] {
        self.literals.get(..self.literals_length).unwrap_or_default()
    }

    /// Adds `content[from..to]`.
    #[inline(always)]
    pub(super) fn push_literals(&mut self, content: &[u8], from: usize, to: usize) {
        let bytes = to.wrapping_sub(from);
        let start = self.literals_length;
        let padded = start.wrapping_add(COPY);
        if bytes <= COPY
            && let Some(source) = content.get(from..from.wrapping_add(COPY))
            && let Some(place) = self.literals.get_mut(start..padded)
        {
            place.copy_from_slice(source);
        } else if let (Some(source), Some(place)) =
            (content.get(from..to), self.literals.get_mut(start..start.wrapping_add(bytes)))
        {
            place.copy_from_slice(source);
        }
        self.literals_length = start.wrapping_add(bytes);
    }

    /// Adds `content[from..to]` as literals and then a match of `length` bytes, `offset` being its code.
    #[inline(always)]
    pub(super) fn push(&mut self, content: &[u8], from: usize, to: usize, length: usize, offset: u32) {
        self.push_literals(content, from, to);
        self.sequences.push(Sequence {
            literals: to.wrapping_sub(from) as u32,
            length: length.wrapping_sub(MATCH_MIN) as u32,
            offset,
        });
    }
}

/// The eight bytes at `at`; 0 past the end, which no caller reaches.
#[inline(always)]
pub(super) fn load64(content: &[u8], at: usize) -> u64 {
    match content.get(at..at.wrapping_add(8)).and_then(<[u8]>::first_chunk::<8>) {
        Some(bytes) => u64::from_le_bytes(*bytes),
        None => 0,
    }
}

/// The four bytes at `at`; 0 past the end, which no caller reaches.
#[inline(always)]
pub(super) fn load32(content: &[u8], at: usize) -> u32 {
    match content.get(at..at.wrapping_add(4)).and_then(<[u8]>::first_chunk::<4>) {
        Some(bytes) => u32::from_le_bytes(*bytes),
        None => 0,
    }
}

/// Whether the four bytes at `at` are `expected`; false outside of the content.
#[inline(always)]
pub(super) fn has_bytes(content: &[u8], at: usize, expected: u32) -> bool {
    content
        .get(at..at.wrapping_add(4))
        .and_then(<[u8]>::first_chunk::<4>)
        .is_some_and(|bytes| u32::from_le_bytes(*bytes) == expected)
}

/// How many bytes from `later` on are equal to those from `earlier` on.
#[inline(always)]
pub(super) fn match_length(content: &[u8], later: usize, earlier: usize) -> usize {
    let rest = content.get(later..).unwrap_or_default();
    let before = content.get(earlier..).unwrap_or_default();
    let (words, tail) = rest.as_chunks::<8>();
    let (others, _) = before.as_chunks::<8>();
    let mut length = 0_usize;
    for (word, other) in words.iter().zip(others) {
        let differ = u64::from_le_bytes(*word) ^ u64::from_le_bytes(*other);
        if differ != 0 {
            return length.wrapping_add((differ.trailing_zeros() >> 3) as usize);
        }
        length = length.wrapping_add(8);
    }
    let other = before.get(length..).unwrap_or_default();
    tail.iter().zip(other).take_while(|(one, other)| one == other).count().wrapping_add(length)
}
