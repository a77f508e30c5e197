//! Makes the map of the executables that changed: where the parts of each old image went in the new one.
//!
//! The matches tell which references of the old file became which of the new one, and so by how much the places moved
//! that they lead to. [`super::evidence`] makes moves of them.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use lighter_types::ReadAt;

use crate::compare::differences;
use crate::models::window::{MARGIN_BEFORE, MARGIN_BEHIND};
use crate::moves::{self, Map, Moved, Part};
use crate::parallel;

use super::elf::{self, Image};
use super::evidence::Evidence;
use super::files::Entry;
use super::steps::{From, Kind, Layers, Planned};

/// Matches are looked at in parts of this length.
const WINDOW_BYTES: u64 = 256 << 10;
/// Steps are shared out in parts of about so many bytes.
const SHARE_BYTES: u64 = 32 << 20;

/// Which parts of an executable a map has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Parts {
    /// All with references: for a search. Where the matches are poor, as of tables whose rows all changed, rewriting
    /// seems to make more differences; but with the part as it is, a second search would find no better ones.
    All,
    /// Those in which rewriting saves differences: for a patch.
    Helping,
}

/// Whether an entry is an executable of a known kind.
pub fn is_one(target: &dyn ReadAt, entry: &Entry) -> bool {
    elf::image(target, entry.content, entry.content_bytes).is_some()
}

/// The moves of all executables among some files of the target, with the steps of each, in order.
///
/// # Errors
/// The error of a reader.
pub fn map(
    layers: &Layers<'_>,
    bases: &[Vec<Entry>],
    files: &[(&Entry, &[Planned])],
    which: Parts,
    threads: usize,
) -> io::Result<Vec<Moved>> {
    let found = parallel::map(files, threads, |file| moved(layers, bases, *file, which, threads))?;
    Ok(found.into_iter().flatten().collect())
}

/// The map of as many files as fit.
pub fn fitting(files: Vec<Moved>) -> Map {
    // Each alone first: one odd file does not keep the others out.
    let alone = |file: Moved| Some(Map { files: vec![file] }).filter(moves::coding::fits);
    let mut map = Map { files: files.into_iter().filter_map(alone).flat_map(|map| map.files).collect() };
    map.files.sort_by_key(|file| file.target.start);
    while !moves::coding::fits(&map) {
        map.files.truncate(map.files.len() / 2);
    }
    map
}

/// The moves of one file, if it is an executable that was made from another one.
fn moved(
    layers: &Layers<'_>,
    bases: &[Vec<Entry>],
    (entry, steps): (&Entry, &[Planned]),
    which: Parts,
    threads: usize,
) -> io::Result<Option<Moved>> {
    if !steps.iter().any(|step| matches!(step.kind, Kind::Match(From::Address(_)))) {
        return Ok(None);
    }
    let Some(new) = elf::image(layers.target, entry.content, entry.content_bytes) else { return Ok(None) };
    let Some((base, old_entry)) = counterpart(layers, bases, steps) else { return Ok(None) };
    let old = elf::image(layers.bases[base], old_entry.content, old_entry.content_bytes);
    let Some(old) = old.filter(|old| old.machine == new.machine) else { return Ok(None) };
    let start = layers.address(base, old_entry.content);
    let moved = Moved {
        target: entry.content..entry.content + entry.content_bytes,
        old: start..start + old_entry.content_bytes,
        parts: parts(&old, &new),
        old_loads: old.loads,
        new_loads: new.loads,
        image_end: old.end,
        ..Moved::default()
    };
    let pair = Pair { old: layers.bases[base], old_start: old_entry.content, new: layers.target, steps };
    // Threads of its own pay for a long file.
    let threads = if entry.content_bytes > SHARE_BYTES { threads } else { 1 };
    let moved = pair.with_moves(moved, threads)?;
    let moved = if which == Parts::Helping { pair.where_they_help(moved, threads)? } else { moved };
    Ok((!moved.parts.is_empty()).then_some(moved))
}

/// The entry of a base that most bytes come from.
fn counterpart<'a>(layers: &Layers<'_>, bases: &'a [Vec<Entry>], steps: &[Planned]) -> Option<(usize, &'a Entry)> {
    let mut bytes: BTreeMap<(usize, usize), u64> = BTreeMap::new();
    for step in steps {
        if let Kind::Match(From::Address(from)) | Kind::Copy(From::Address(from)) = step.kind {
            let (base, offset) = layers.place(from);
            let index = bases[base].partition_point(|entry| entry.start <= offset).saturating_sub(1);
            *bytes.entry((base, index)).or_default() += step.bytes;
        }
    }
    let ((base, index), _) = bytes.into_iter().max_by_key(|(_, bytes)| *bytes)?;
    bases[base].get(index).map(|entry| (base, entry))
}

/// The parts of the old file with references, and where they are in the new one.
fn parts(old: &Image, new: &Image) -> Vec<Part> {
    let find = |name: &[u8]| new.sections.iter().find(|section| section.name == name);
    let part = |section: &elf::Section| {
        let (kind, base) = (section.kind?, old.sections.get(section.base)?);
        let by = find(&section.name)?.address.wrapping_sub(section.address);
        let base_by = find(&base.name)?.address.wrapping_sub(base.address);
        let range = section.offset..section.offset + section.bytes;
        Some(Part { range, kind, base: base.address, by, base_by })
    };
    let mut parts: Vec<Part> = old.sections.iter().filter_map(part).collect();
    parts.sort_by_key(|part| part.range.start);
    parts.dedup_by(|next, part| next.range.start < part.range.end);
    parts
}

/// An old and a new executable, with the steps that make the new one.
struct Pair<'a> {
    old: &'a dyn ReadAt,
    /// Where the old file begins in its layer.
    old_start: u64,
    new: &'a dyn ReadAt,
    steps: &'a [Planned],
}

/// A part of a match: places in the old and in the new file, and the bytes of both with the margins.
struct Matched {
    from: u64,
    to: u64,
    old: Vec<u8>,
    new: Vec<u8>,
}

impl Pair<'_> {
    /// The pair with its moves.
    fn with_moves(&self, moved: Moved, threads: usize) -> io::Result<Moved> {
        let mut evidence = Evidence::default();
        self.each_share(threads, |share| self.evidence(&moved, share), |found| evidence.join(found))?;
        Ok(Moved { moves: evidence.moves(), ..moved })
    }

    /// The pair with those parts alone in which the moves help.
    fn where_they_help(&self, mut moved: Moved, threads: usize) -> io::Result<Moved> {
        let mut gains = vec![0; moved.parts.len()];
        let add = |found: Vec<i64>| gains.iter_mut().zip(found).for_each(|(gain, found)| *gain += found);
        self.each_share(threads, |share| self.gains(&moved, share), add)?;
        let mut gains = gains.into_iter();
        moved.parts.retain(|_| gains.next().is_some_and(|gain| gain > 0));
        Ok(moved)
    }

    /// Does work on shares of the steps, on several threads, and takes the results in order. The shares do not depend
    /// on the threads.
    fn each_share<R: Send>(
        &self,
        threads: usize,
        work: impl Fn(&[Planned]) -> io::Result<R> + Sync,
        mut take: impl FnMut(R),
    ) -> io::Result<()> {
        let mut bytes = 0;
        let shares: Vec<&[Planned]> = self
            .steps
            .chunk_by(|step, _| {
                bytes += step.bytes;
                let goes_on = bytes < SHARE_BYTES;
                bytes = if goes_on { bytes } else { 0 };
                goes_on
            })
            .collect();
        for shares in shares.chunks(threads) {
            parallel::map(shares, threads, |share| work(share))?.into_iter().for_each(&mut take);
        }
        Ok(())
    }

    /// The references in some steps, with what they tell of moves.
    fn evidence(&self, moved: &Moved, steps: &[Planned]) -> io::Result<Evidence> {
        let mut evidence = Evidence::default();
        for step in steps {
            if let Some((from, to)) = Self::place(moved, step)
                && let (Some(old), Some(new)) = (moved.old_address(from), moved.new_address(to))
            {
                evidence.add_start(old, new.wrapping_sub(old));
            }
            self.each(moved, step, &mut |mut matched| {
                moved.each(matched.from, matched.to, &mut matched.old, MARGIN_BEFORE, &mut |site, _, at, to| {
                    let new = site.find_new(&matched.new, at).filter(|_| moved.has(to));
                    if let Some(new) = new
                        && site.kind.is_exact()
                    {
                        evidence.add(to, new.wrapping_sub(to));
                    }
                    new.is_some()
                });
            })?;
        }
        Ok(evidence)
    }

    /// How many differences rewriting saves in each part; negative where it makes more.
    fn gains(&self, moved: &Moved, steps: &[Planned]) -> io::Result<Vec<i64>> {
        let mut gains = vec![0i64; moved.parts.len()];
        for step in steps {
            self.each(moved, step, &mut |matched| {
                let Matched { from, to, old, new } = matched;
                let mut rewritten = old.clone();
                moved.rewrite(from, to, &mut rewritten, MARGIN_BEFORE);
                let end = from + (old.len() - MARGIN_BEFORE - MARGIN_BEHIND) as u64;
                for (part, gain) in moved.parts.iter().zip(&mut gains) {
                    let (start, end) = (part.range.start.max(from), part.range.end.min(end));
                    if start < end {
                        let range = MARGIN_BEFORE + (start - from) as usize..MARGIN_BEFORE + (end - from) as usize;
                        *gain += differences(&old[range.clone()], &new[range.clone()]) as i64;
                        *gain -= differences(&rewritten[range.clone()], &new[range]) as i64;
                    }
                }
            })?;
        }
        Ok(gains)
    }

    /// Where a step reads in the old file, and what it makes in the new one.
    fn place(moved: &Moved, step: &Planned) -> Option<(u64, u64)> {
        let (Kind::Match(From::Address(from)) | Kind::Copy(From::Address(from))) = step.kind else { return None };
        let is_within = moved.old.contains(&from) && from + step.bytes <= moved.old.end;
        let is_made = moved.target.contains(&step.at) && step.at + step.bytes <= moved.target.end;
        (is_within && is_made).then(|| (from - moved.old.start, step.at - moved.target.start))
    }

    /// Calls `visit` with the parts of a match.
    fn each(&self, moved: &Moved, step: &Planned, visit: &mut dyn FnMut(Matched)) -> io::Result<()> {
        let Some((from, to)) = Self::place(moved, step).filter(|_| matches!(step.kind, Kind::Match(_))) else {
            return Ok(());
        };
        let [old_bytes, new_bytes] = [&moved.old, &moved.target].map(|range| range.end - range.start);
        for done in (0..step.bytes).step_by(WINDOW_BYTES as usize) {
            let bytes = (step.bytes - done).min(WINDOW_BYTES);
            let old = with_margins(self.old, self.old_start, from + done..from + done + bytes, old_bytes)?;
            let new = with_margins(self.new, moved.target.start, to + done..to + done + bytes, new_bytes)?;
            visit(Matched { from: from + done, to: to + done, old, new });
        }
        Ok(())
    }
}

/// Bytes of a file of `file_bytes` that begins at `start`, with the margins: zeros where the file has none.
fn with_margins(layer: &dyn ReadAt, start: u64, range: Range<u64>, file_bytes: u64) -> io::Result<Vec<u8>> {
    let count = (range.end - range.start) as usize;
    let front = range.start.min(MARGIN_BEFORE as u64) as usize;
    let behind = (file_bytes - range.end).min(MARGIN_BEHIND as u64) as usize;
    let mut bytes = vec![0; MARGIN_BEFORE + count + MARGIN_BEHIND];
    let part = &mut bytes[MARGIN_BEFORE - front..MARGIN_BEFORE + count + behind];
    layer.read_exact_at(part, start + range.start - front as u64)?;
    Ok(bytes)
}
