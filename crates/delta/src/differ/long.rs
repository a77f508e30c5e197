//! Matches contents that are too long to be held in memory with their bases.
//!
//! The content is cut into pieces. For each piece, [`Samples`] tell which blocks of the bases it resembles; these
//! blocks alone are loaded and indexed, and the piece is matched with them. So memory depends on the number of threads
//! and not on the content, and time grows with its length.
//!
//! A piece that the samples know little of (bytes that repeat, or changed everywhere) is also matched with the place of
//! its counterpart where it would be if the content had grown at its end, and where it would be if it had grown at its
//! start.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::io;
use std::ops::Range;

use crate::compare::differences;
use crate::parallel;

use super::files::{BaseFiles, EntryId};
use super::index::{Index, SPARSE, Window};
use super::matches::{self, Bases, Match};
use super::material::Material;
use super::regions::{Region, Regions};
use super::samples::{BLOCK_BYTES, Extent, Samples};
use super::search::Search;
use super::steps::{Layers, Planned, push};
use super::writer::Writer;

/// A piece of a content. The processor's caches hold the index of the blocks that a piece resembles; with pieces of
/// 8 MiB a search took 1.5 times as long, and found places that were worse.
const PIECE_BYTES: u64 = 1 << 20;
/// A piece is matched with at most so many times its own bytes: with those that it resembles most by short windows, and
/// with others by longer ones. Short windows find accidents in many bytes.
const NEAR_MAX: u64 = 3;
const ALL_MAX: u64 = 12;
/// The index of the ranges that are not near.
const FAR: Window = Window { bytes: 24, step: 8, chain: 1 };
/// Contents are as good as equal if fewer than one in so many bytes differs.
pub const EQUAL_PART: usize = 1024;
/// Samples in a block that are no accident.
const VOTES_MIN: usize = 2;

/// A content that is not a copy.
pub struct Long<'a> {
    pub changed_from: &'a [EntryId],
    pub range: Range<u64>,
}

/// A piece, with the place in the first counterpart of the content that it may have been changed from.
struct Piece {
    content: usize,
    range: Range<u64>,
    counterpart: Vec<Extent>,
}

/// The steps of each content, in order; they cover it exactly.
///
/// # Errors
/// The error of a reader.
pub fn match_long(
    layers: &Layers<'_>,
    files: &BaseFiles<'_>,
    regions: &Regions,
    contents: &[Long<'_>],
    search: &Search,
) -> io::Result<Vec<Vec<Planned>>> {
    let mut steps: Vec<Vec<Planned>> = contents.iter().map(|_| Vec::new()).collect();
    if contents.is_empty() {
        return Ok(steps);
    }
    let pieces: Vec<Piece> = contents.iter().enumerate().flat_map(|(index, long)| pieces(files, index, long)).collect();
    let regions = regions.of(contents.iter().map(|long| long.range.start).collect(), || {
        let samples = Samples::new(layers, sources(files, contents), search.threads)?;
        parallel::map(&pieces, search.threads, |piece| {
            Ok::<_, io::Error>(resembled(&samples, piece, &layers.read_target(piece.range.clone())?))
        })
    })?;
    let matched: Vec<(&Piece, &Vec<Region>)> = pieces.iter().zip(regions.iter()).collect();
    let found =
        parallel::map(&matched, search.threads, |(piece, regions)| match_piece(layers, regions, piece, search))?;
    for (piece, found) in pieces.iter().zip(found) {
        found.into_iter().for_each(|step| push(&mut steps[piece.content], step));
    }
    Ok(steps)
}

/// The contents of the bases that samples are taken of: the counterparts, and the files whose paths are not in the
/// target.
fn sources(files: &BaseFiles<'_>, contents: &[Long<'_>]) -> Vec<Extent> {
    let counterparts = contents.iter().flat_map(|long| long.changed_from.iter().copied());
    let ids: BTreeSet<EntryId> = counterparts.chain(files.left_over.iter().copied()).collect();
    ids.into_iter().map(|id| extent(files, id)).collect()
}

fn extent(files: &BaseFiles<'_>, id: EntryId) -> Extent {
    let entry = files.entry(id);
    Extent { base: id.base as usize, range: entry.content..entry.end }
}

fn pieces(files: &BaseFiles<'_>, content: usize, long: &Long<'_>) -> Vec<Piece> {
    let old = long.changed_from.first().map(|&id| extent(files, id));
    let Range { start, end } = long.range;
    (start..end)
        .step_by(PIECE_BYTES as usize)
        .map(|at| {
            let range = at..(at + PIECE_BYTES).min(end);
            let counterpart =
                old.iter().flat_map(|old| around(old, &(range.start - start..range.end - start), end - start));
            Piece { content, counterpart: counterpart.collect(), range }
        })
        .collect()
}

/// The places of a part of a content in its counterpart, counted from the start and from the end.
fn around(old: &Extent, part: &Range<u64>, content_bytes: u64) -> [Extent; 2] {
    let bytes = old.range.end - old.range.start;
    let place = |from: u64, to: u64| {
        let range = old.range.start + from.min(bytes)..old.range.start + to.min(bytes);
        Extent { base: old.base, range }
    };
    let from_end = |at: u64| bytes.saturating_sub(content_bytes - at);
    [place(part.start, part.end), place(from_end(part.start), from_end(part.end))]
}

fn match_piece(layers: &Layers<'_>, regions: &[Region], piece: &Piece, search: &Search) -> io::Result<Vec<Planned>> {
    let content = layers.read_target(piece.range.clone())?;
    let mut material = Material::default();
    let mut aligned = None;
    let mut near = Vec::new();
    for Region { extent: Extent { base, range }, is_near } in regions {
        let start = material.add(layers, *base, range.start, range.end - range.start)?;
        let counterpart = piece.counterpart.iter().find(|old| old.base == *base && range.contains(&old.range.start));
        aligned = aligned.or(counterpart.map(|old| start + (old.range.start - range.start) as usize));
        near.extend(is_near.then_some(start..material.bytes.len()));
    }
    // Most of a large content that changed in a few places is equal: there a fine index finds nothing more.
    let rewritten = material.parts.iter().filter(|part| part.is_rewritten()).map(|part| part.bytes).sum::<usize>();
    let search = &search.of_parts(rewritten * 2 >= material.bytes.len());
    let quick = search.quick();
    let old = (&material.bytes[..], &near[..]);
    let mut matches = find(old, &content, aligned, &quick);
    if search.near != quick.near && different(&material.bytes, &content, &matches) > content.len() / EQUAL_PART {
        matches = find(old, &content, aligned, search);
    }
    let start = piece.range.start as usize;
    Writer { layers, material: &material, content: &content, start, old: &[], copies: true }.steps(&matches)
}

/// The matches of a content with old bytes, some ranges of which are near.
pub fn find(
    (old, near): (&[u8], &[Range<usize>]),
    content: &[u8],
    aligned: Option<usize>,
    search: &Search,
) -> Vec<Match> {
    let all = 0..old.len();
    let all = std::slice::from_ref(&all);
    let [near, far] = match (search.is_wide, search.is_thorough) {
        (true, is_thorough) => [Some((search.near, all)), is_thorough.then_some((SPARSE, all))],
        (false, true) => [Some((search.near, near)), Some((FAR, all))],
        (false, false) => [Some((search.near, near)), Some((SPARSE, all))],
    };
    let indices: Vec<Index> =
        [near, far].into_iter().flatten().map(|(window, ranges)| Index::of_ranges(old, ranges, window)).collect();
    let indices = indices.iter().map(|index| (index, 0, old.len())).collect();
    let bases = Bases { old, trusting: search.trusting, doubting: true, patience: search.patience, indices };
    matches::find(&bases, content, aligned)
}

/// How many bytes of a content are not those of the old bytes that they are matched with, or are not matched.
fn different(old: &[u8], content: &[u8], matches: &[Match]) -> usize {
    let equal = matches.iter().map(|&Match { at, from, bytes }| {
        bytes - differences(&content[at..at + bytes], &old[from..from + bytes]) as usize
    });
    content.len() - equal.sum::<usize>()
}

/// The ranges of the bases that a piece is matched with, in the order of their places, without overlap.
fn resembled(samples: &Samples, piece: &Piece, content: &[u8]) -> Vec<Region> {
    let bytes = content.len() as u64;
    let [near_max, all_max] = [NEAR_MAX, ALL_MAX].map(|times| (bytes * times).div_ceil(BLOCK_BYTES) as usize);
    let counterparts = piece.counterpart.iter().flat_map(|Extent { base, range }| {
        let places = range.clone().step_by(BLOCK_BYTES as usize).chain(range.end.checked_sub(1));
        places.filter_map(|at| samples.block_of(*base, at)).flat_map(around_block)
    });
    let counterparts: BTreeSet<u64> = counterparts.collect();
    let (chosen, known) = covering(&samples.blocks(content), &counterparts, all_max);
    let is_known = known as u64 * 2 >= samples.expected(bytes);
    let first = if is_known { BTreeSet::new() } else { counterparts };
    // Each block, and whether it is near.
    let mut blocks: BTreeMap<u64, bool> = first.into_iter().map(|block| (block, true)).collect();
    for block in chosen {
        let is_near = blocks.len() < near_max;
        if blocks.len() < all_max {
            around_block(block).into_iter().for_each(|block| *blocks.entry(block).or_insert(is_near) |= is_near);
        }
    }
    let mut regions: Vec<Region> = Vec::new();
    for (block, is_near) in blocks {
        let Some(extent) = samples.block(block) else { continue };
        match regions.last_mut() {
            Some(Region { extent: last, is_near: was_near })
                if last.base == extent.base && last.range.end == extent.range.start && *was_near == is_near =>
            {
                last.range.end = extent.range.end;
            }
            _ => regions.push(Region { extent, is_near }),
        }
    }
    regions
}

/// A block with its neighbours: a match may begin in the block before, and end in the block behind.
fn around_block(block: u64) -> [u64; 3] {
    [block.saturating_sub(1), block, block + 1]
}

/// Blocks, at most so many, in which most of the samples occur, each of which occurs in some blocks: again and again
/// the block with most samples that no block before has. So many copies of one thing take no room from others. And how
/// many samples occur in the blocks. If two have as many, it is one of `rather`.
pub fn covering(places: &[Vec<u64>], rather: &BTreeSet<u64>, most: usize) -> (Vec<u64>, usize) {
    let mut samples: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (sample, blocks) in places.iter().enumerate() {
        blocks.iter().for_each(|&block| samples.entry(block).or_default().push(sample));
    }
    // Numbers of samples that may have become smaller since.
    let mut queue: BinaryHeap<(usize, bool, Reverse<u64>)> =
        samples.iter().map(|(&block, samples)| (samples.len(), rather.contains(&block), Reverse(block))).collect();
    let mut is_covered = vec![false; places.len()];
    let (mut chosen, mut known) = (Vec::new(), 0);
    while let Some((count, is_near, Reverse(block))) = queue.pop()
        && count >= VOTES_MIN
        && chosen.len() < most
    {
        let own = samples.get(&block).into_iter().flatten().filter(|&&sample| !is_covered[sample]).count();
        if own < count {
            queue.push((own, is_near, Reverse(block)));
            continue;
        }
        chosen.push(block);
        for &sample in samples.get(&block).into_iter().flatten() {
            known += usize::from(!is_covered[sample]);
            is_covered[sample] = true;
        }
    }
    (chosen, known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_of_one_thing_take_no_room_from_others() {
        // Samples 0 to 9 occur in blocks 10, 20 and 30; samples 10 to 14 in block 40.
        let mut places = vec![vec![10, 20, 30]; 10];
        places.extend(vec![vec![40]; 5]);
        assert_eq!(covering(&places, &BTreeSet::new(), 2), (vec![10, 40], 15));
        assert_eq!(covering(&places, &BTreeSet::from([20]), 2), (vec![20, 40], 15));
        assert_eq!(covering(&places, &BTreeSet::new(), 1), (vec![10], 10));
    }
}
