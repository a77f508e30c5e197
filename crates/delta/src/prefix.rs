//! The prefix of new bytes: the bases' bytes around their places. They often have the same pieces, too short to be
//! matched.

use std::ops::Range;

use crate::error::CodecError;

use crate::program::{Program, Step};
use crate::sources::Sources;

/// Most bytes of a prefix, and of a prefix with the new bytes behind it: a decoder holds all of them until the last.
const PREFIX_BYTES_MAX: u64 = 512 << 10;
const WHOLE_BYTES_MAX: u64 = 9 << 18;

/// So many bytes of a source on the near side of the place; on the far side, so many and as many as there are new
/// bytes. Measured on the corpus's pairs: four times as many make patches 0.1 % smaller, and the prefix twice as long.
const AROUND: u64 = 64;

/// Shorter runs get no prefix: with 8, patches are 0.1 % smaller, and applying them is 2 % slower.
const RUN_BYTES_MIN: u64 = 16;

/// The prefix of a program's `new_bytes` new bytes. Each run of new bytes that is not short adds the bytes of the
/// sources behind the range before it and before the range behind it. The ranges are in the order of the address space,
/// do not overlap, and end at the limits.
///
/// # Errors
/// A range outside its source; a base that cannot be read.
pub fn read(program: &Program, new_bytes: u64, sources: &mut Sources<'_>) -> Result<Vec<u8>, CodecError> {
    let bytes_max = WHOLE_BYTES_MAX.saturating_sub(new_bytes).min(PREFIX_BYTES_MAX);
    let ranges = ranges(program, sources)?;
    let all = ranges.iter().map(|range| range.end - range.start).fold(0, u64::saturating_add);
    let mut prefix = Vec::with_capacity(all.min(bytes_max) as usize);
    for range in ranges {
        let start = prefix.len();
        let bytes = (range.end - range.start).min(bytes_max - start as u64);
        prefix.resize(start + bytes as usize, 0);
        sources.read(range.start, &mut prefix[start..])?;
    }
    Ok(prefix)
}

fn ranges(program: &Program, sources: &Sources<'_>) -> Result<Vec<Range<u64>>, CodecError> {
    let mut ranges = Vec::new();
    // Where the last range of a source ended, and how many new bytes stand behind it.
    let (mut end, mut new) = (None, 0u64);
    for step in &program.steps {
        match *step {
            Step::New { bytes } => new = new.saturating_add(bytes),
            Step::Copy { from, bytes } | Step::Match { from, bytes } => {
                let more = AROUND.saturating_add(new);
                let Some(before) = sources.around(from, more, AROUND)? else { continue };
                if new >= RUN_BYTES_MIN {
                    if let Some(end) = end {
                        ranges.extend(sources.around(end, AROUND, more)?);
                    }
                    ranges.push(before);
                }
                (end, new) = (Some(from.saturating_add(bytes)), 0);
            }
            Step::Raw { .. } | Step::Header { .. } | Step::NewHeader | Step::Stream { .. } | Step::Trailer => {}
        }
    }
    if let Some(end) = end.filter(|_| new >= RUN_BYTES_MIN) {
        ranges.extend(sources.around(end, AROUND, AROUND.saturating_add(new))?);
    }
    ranges.sort_by_key(|range| (range.start, range.end));
    ranges.dedup_by(|next, range| {
        let touches = next.start <= range.end;
        if touches {
            range.end = range.end.max(next.end);
        }
        touches
    });
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use lighter_types::ReadAt;

    use super::*;

    fn found(steps: Vec<Step>, expected: &[(u64, u64)]) {
        let (one, other) = (vec![1u8; 1000], vec![2u8; 500]);
        let bases: [&dyn ReadAt; 2] = [&one, &other];
        let program = Program { inflated: vec![], steps };
        let found = ranges(&program, &Sources::new(&bases, 300).unwrap()).unwrap();
        assert_eq!(found.iter().map(|range| (range.start, range.end)).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn new_bytes_stand_behind_what_is_around_their_place() {
        let copy = |from, bytes| Step::Copy { from, bytes };
        found(vec![copy(200, 50), copy(400, 10)], &[]);
        found(vec![copy(200, 50), Step::New { bytes: 20 }], &[(186, 334)]);
        found(vec![Step::New { bytes: 20 }, Step::Match { from: 400, bytes: 50 }], &[(316, 464)]);
        // Both sides, apart and grown together; the two runs are one.
        let both = |from| vec![copy(200, 50), Step::New { bytes: 8 }, Step::New { bytes: 12 }, copy(from, 10)];
        found(both(800), &[(186, 334), (716, 864)]);
        found(both(260), &[(176, 334)]);
        // Not beyond the source that it is about.
        found(both(1001), &[(186, 334), (1001, 1065)]);
        found(vec![copy(900, 100), Step::New { bytes: 20 }, copy(1001, 500)], &[(936, 1000), (1001, 1065)]);
        found(vec![copy(200, 50), Step::New { bytes: 15 }, copy(400, 10)], &[]);
        // The target is no source of it: it is not there while frames are decoded.
        found(vec![copy(1502, 50), Step::New { bytes: 20 }, copy(1502, 50)], &[]);
    }

    #[test]
    fn a_prefix_has_its_cap() {
        let base = vec![1u8; 3 << 20];
        let bases: [&dyn ReadAt; 2] = [&base, &base];
        let steps = vec![
            Step::Copy { from: 0, bytes: 1 },
            Step::New { bytes: u64::MAX },
            Step::Copy { from: 5 << 20, bytes: 1 },
        ];
        let mut sources = Sources::new(&bases, 300).unwrap();
        let program = Program { inflated: vec![], steps };
        for (new_bytes, expected) in [(1, 512 << 10), ((9 << 18) - 9, 9), (9 << 18, 0), (5 << 20, 0)] {
            assert_eq!(read(&program, new_bytes, &mut sources).unwrap().len(), expected);
        }
        let outside = Program { inflated: vec![], steps: vec![Step::Copy { from: 1 << 60, bytes: 1 }] };
        assert!(read(&outside, 1, &mut sources).is_err());
    }
}
