//! Makes steps of the matches of a content.

use std::io;
use std::ops::Range;

use crate::compare::{common_prefix, differences};
use crate::zstd;

use super::matches;
use super::material::{Material, Origin};
use super::steps::{From, Kind, Layers, Planned, STEP_COST, push};

/// So many equal bytes within a match are worth a copy of their own: a decoder does not look at the bytes of a copy.
const COPY_BYTES_MIN: usize = 4 << 10;
/// The writer estimates whether new bytes of this length and more can be compressed.
const RAW_BYTES_MIN: usize = 2 << 10;

/// Writes the steps of a part of a content from its matches.
pub struct Writer<'a> {
    pub layers: &'a Layers<'a>,
    pub material: &'a Material,
    pub content: &'a [u8],
    /// Where the part begins in its content.
    pub start: usize,
    /// The ranges of the files that the content may have been changed from.
    pub old: &'a [Range<usize>],
    /// Whether long equal ranges are worth copies of their own.
    pub copies: bool,
}

impl Writer<'_> {
    /// The steps of the part, in order; they cover it exactly.
    ///
    /// # Errors
    /// The error of a reader.
    pub fn steps(&self, matches: &[matches::Match]) -> io::Result<Vec<Planned>> {
        let mut steps = Vec::new();
        let mut at = 0;
        for found in matches {
            self.new_bytes(at..found.at, &mut steps);
            at = found.at;
            for (part, offset, bytes) in self.material.split(found.from, found.bytes) {
                let from = match self.material.parts[part].origin {
                    Origin::Base { address, .. } => From::Address(address + offset as u64),
                    // A stream reads from its counterparts only, so that a frame inflates little beside its own
                    // streams.
                    Origin::Inflated(_) if self.copies || !self.is_counterpart(part) => {
                        self.new_bytes(at..at + bytes, &mut steps);
                        at += bytes;
                        continue;
                    }
                    Origin::Inflated(stream) => From::Inflated { stream, offset: offset as u64 },
                };
                let old_start = self.material.parts[part].start + offset;
                let shown = &self.material.bytes[old_start..old_start + bytes];
                match from {
                    From::Address(address) if self.material.parts[part].is_rewritten() => {
                        let old = self.layers.read_base(address, bytes)?;
                        self.matched(at, from, shown, &old, &mut steps);
                    }
                    From::Address(_) | From::Target(_) | From::Inflated { .. } => {
                        self.matched(at, from, shown, shown, &mut steps);
                    }
                }
                at += bytes;
            }
        }
        self.new_bytes(at..self.content.len(), &mut steps);
        Ok(steps)
    }

    fn is_counterpart(&self, part: usize) -> bool {
        let start = self.material.parts[part].start;
        self.old.iter().any(|old| old.start == start)
    }

    /// The steps of a match: long ranges that are equal are copies. `shown` has the base's bytes as they are compared,
    /// and `old` as they are.
    fn matched(&self, at: usize, from: From, shown: &[u8], old: &[u8], steps: &mut Vec<Planned>) {
        let new = &self.content[at..at + old.len()];
        let mut put = |range: Range<usize>, is_copy: bool| {
            let from = from.ahead(range.start as u64);
            let (kind, different) = match is_copy {
                true => (Kind::Copy(from), 0),
                false => (Kind::Match(from), differences(&new[range.clone()], &shown[range.clone()])),
            };
            let place = (self.start + at + range.start) as u64;
            push(steps, Planned { kind, at: place, bytes: range.len() as u64, cost: STEP_COST + different });
        };
        let mut done = 0;
        let mut open = 0;
        while self.copies && done < new.len() {
            let equal = common_prefix(&new[done..], &old[done..]);
            if equal >= COPY_BYTES_MIN {
                put(open..done, false);
                put(done..done + equal, true);
                open = done + equal;
            }
            done += equal + 1;
        }
        put(open..new.len(), false);
    }

    fn new_bytes(&self, range: Range<usize>, steps: &mut Vec<Planned>) {
        let bytes = range.len();
        let (mut kind, mut cost) = (Kind::New, bytes as u64 / 2);
        if bytes >= RAW_BYTES_MIN {
            let estimate = zstd::estimate(&self.content[range.clone()]);
            cost = estimate as u64 * 3 / 4;
            if estimate >= bytes / 64 * 63 {
                (kind, cost) = (Kind::Raw, bytes as u64);
            }
        }
        let at = (self.start + range.start) as u64;
        push(steps, Planned { kind, at, bytes: bytes as u64, cost: cost + STEP_COST });
    }
}
