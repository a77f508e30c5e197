//! Finds the parts of a target that a base has: the copies that xdelta3 writes, merged and pruned.
//!
//! The caller matches a target in segments, and a large base in windows ([`base_window`]), so that memory has a bound
//! for layers of any size. Nothing here fails: if xdelta3 gives up, there are no copies.

use std::ops::Range;

use lighter_types::Bytes;

use crate::file::{FileReader, Limits};
use crate::window::{Instruction, Origin};
use crate::xdelta3;

/// A range of the target that the base has too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Where it begins in the target: in the frame, or, while encoding, in the segment.
    pub at: u32,
    /// Its length, at least 1.
    pub bytes: u32,
    /// Where it begins in the base.
    pub from: u64,
}

impl Copy {
    /// Where it ends in the target.
    pub fn end(&self) -> u32 {
        self.at + self.bytes
    }

    /// The position in the base minus the position in the target. Copies with the same diagonal continue each other.
    pub fn diagonal(&self) -> i64 {
        self.from.wrapping_sub(u64::from(self.at)) as i64
    }
}

/// Longest part of a target that one call of xdelta3 matches. Each call indexes the base again (about a second for
/// 120 MB), and cannot be cancelled (about 11 s on two releases of a distribution).
pub const SEGMENT_BYTES_MAX: u64 = 128 << 20;

/// Shorter copies are dropped unless they continue the diagonal of a neighbour: the bytes cost less as literals than
/// the two jumps of the address cost. On the corpus 32 is the best of 12 to 64: nginx r1 r2 998,263 bytes without
/// pruning, 902,363 with; debian12 r1 r2 1,039,336 and 1,007,220; debian12-r2 debian13-r1's first 16 MiB 3,768,512 and
/// 3,116,744.
const LONE_COPY_BYTES_MIN: u32 = 32;

/// About how much memory it takes to match a segment with a base, or with a window of it: both of them, xdelta3's table
/// (docs/decisions/0003-xdelta3.md), and xdelta3's output.
pub fn matching_bytes(base_bytes: u64, segment_bytes: u64) -> u64 {
    base_bytes + 2 * base_bytes.next_power_of_two() + 2 * segment_bytes
}

/// The part of a base to match `segment` of a target with: the whole base, or the window at the segment's relative
/// place.
pub fn base_window(segment: &Range<u64>, target_bytes: u64, base_bytes: u64, window_bytes: u64) -> Range<u64> {
    if base_bytes <= window_bytes {
        return 0..base_bytes;
    }
    let middle = u128::from(segment.start.midpoint(segment.end)) * u128::from(base_bytes) / u128::from(target_bytes);
    let start = (middle as u64).saturating_sub(window_bytes / 2).min(base_bytes - window_bytes);
    start..start + window_bytes
}

/// The copies of `target` from `base`. `base` begins at `base_offset` of its layer. The copies are in order, do not
/// overlap, and lie inside both.
pub fn find_copies(target: &[u8], base: &[u8], base_offset: u64, level: u8) -> Vec<Copy> {
    let Some(file) = xdelta3::encode(target, base, level) else { return Vec::new() };
    let copies = read_copies(&file, target.len() as u64).unwrap_or_default();
    debug_assert!(copies.iter().all(|copy| {
        let from = copy.from as usize;
        base[from..from + copy.bytes as usize] == target[copy.at as usize..copy.end() as usize]
    }));
    let mut copies = prune(&merge(copies));
    for copy in &mut copies {
        copy.from += base_offset;
    }
    copies
}

/// The copies in xdelta3's output. `None` if the output is not what [`xdelta3::encode`] promises.
fn read_copies(mut file: &[u8], target_bytes: u64) -> Option<Vec<Copy>> {
    let limits = Limits { target_bytes_max: Bytes(target_bytes), ..Limits::default() };
    let mut reader = FileReader::open(&mut file, limits).ok()?;
    let mut copies = Vec::new();
    let mut start = 0u64;
    while let Some(window) = reader.next_window().ok()? {
        let (offset, bytes) = match window.origin {
            Origin::Base { offset, bytes } => (offset, bytes),
            Origin::Nothing => (0, 0),
            Origin::Target { .. } => return None,
        };
        let result = window.for_each(|position, instruction| match instruction {
            Instruction::Copy { address, bytes: length } if address + length <= bytes => {
                copies.push(Copy {
                    at: u32::try_from(start + position).map_err(|_| "a segment past 4 GiB")?,
                    bytes: u32::try_from(length).map_err(|_| "a copy past 4 GiB")?,
                    from: offset + address,
                });
                Ok(())
            }
            Instruction::Copy { .. } => Err("a copy from the target"),
            Instruction::Add(_) | Instruction::Run { .. } => Ok(()),
        });
        result.ok()?;
        start += window.target_bytes;
    }
    (start == target_bytes).then_some(copies)
}

/// Joins copies that continue each other: xdelta3 ends a copy at the end of a window.
fn merge(copies: Vec<Copy>) -> Vec<Copy> {
    let mut merged: Vec<Copy> = Vec::with_capacity(copies.len());
    for copy in copies {
        match merged.last_mut() {
            Some(last) if last.end() == copy.at && last.diagonal() == copy.diagonal() => last.bytes += copy.bytes,
            _ => merged.push(copy),
        }
    }
    merged
}

/// Drops lone short copies.
fn prune(copies: &[Copy]) -> Vec<Copy> {
    let mut kept: Vec<Copy> = Vec::with_capacity(copies.len());
    for (index, &copy) in copies.iter().enumerate() {
        let before = kept.last().map_or(0, Copy::diagonal);
        let after = copies.get(index + 1).map(Copy::diagonal);
        let diagonal = copy.diagonal();
        if copy.bytes >= LONE_COPY_BYTES_MIN || diagonal == before || Some(diagonal) == after {
            kept.push(copy);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(seed: u64, bytes: usize) -> Vec<u8> {
        let mut state = seed | 1;
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        std::iter::repeat_with(next).take(bytes).collect()
    }

    #[test]
    fn an_equal_target_is_one_copy() {
        let base = noise(1, 20 << 20);
        let copies = find_copies(&base, &base, 7, 9);
        assert_eq!(copies, [Copy { at: 0, bytes: 20 << 20, from: 7 }]);
    }

    #[test]
    fn lone_short_copies_are_dropped_and_aligned_ones_kept() {
        let base = noise(2, 100_000);
        let mut target = base[..50_000].to_vec();
        target[25_000] ^= 1;
        target[25_020] ^= 1;
        target.extend(noise(3, 100));
        target.extend(&base[70_000..70_020]);
        target.extend(noise(4, 100));
        let copies = find_copies(&target, &base, 0, 9);
        let found: Vec<_> = copies.iter().map(|copy| (copy.at, copy.bytes, copy.from)).collect();
        assert_eq!(found, [(0, 25_000, 0), (25_001, 19, 25_001), (25_021, 24_979, 25_021)]);
    }

    #[test]
    fn empty_inputs_have_no_copies() {
        assert_eq!(find_copies(b"", b"base", 0, 9), []);
        assert_eq!(find_copies(b"target", b"", 0, 9), []);
    }

    #[test]
    fn windows_of_a_large_base_follow_the_target() {
        let window = |start, end| base_window(&(start..end), 1000, 4000, 500);
        assert_eq!(window(0, 100), 0..500);
        assert_eq!(window(450, 550), 1750..2250);
        assert_eq!(window(900, 1000), 3500..4000);
        assert_eq!(base_window(&(0..10), 1000, 400, 500), 0..400);
    }
}
