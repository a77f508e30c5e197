//! Matches contents that are too long to be held in memory with their bases.
//!
//! The content is cut into pieces. For each piece, [`Samples`] tell which blocks of the bases it resembles; these
//! blocks alone are loaded and indexed, and the piece is matched with them. So memory depends on the number of threads
//! and not on the content, and time grows with its length.
//!
//! A piece that the samples know little of (bytes that repeat, or changed everywhere) is also matched with the place of
//! its counterpart where it would be if the content had grown at its end, and where it would be if it had grown at its
//! start.

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;

use crate::compare::differences;
use crate::parallel;

use super::files::Entry;
use super::index::{Index, SPARSE};
use super::matches::{self, Bases, Match};
use super::material::Material;
use super::pairs::{EntryId, Pairs};
use super::regions::Regions;
use super::samples::{BLOCK_BYTES, Extent, Samples};
use super::search::Search;
use super::steps::{Layers, Planned, push};
use super::writer::Writer;

/// A piece of a content. The processor's caches hold the index of the blocks that a piece resembles; with pieces of
/// 8 MiB a search took 1.5 times as long, and found places that were worse.
const PIECE_BYTES: u64 = 1 << 20;
/// A piece is matched with at most so many times its own bytes.
const REGIONS_MAX: u64 = 3;
/// Contents are as good as equal if fewer than one in so many bytes differs.
pub const EQUAL_PART: usize = 1024;
/// Samples in a block that are no accident.
const VOTES_MIN: u32 = 2;

/// A content that is not a copy.
pub struct Long<'a> {
    pub entry: &'a Entry,
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
    pairs: &Pairs<'_>,
    regions: &Regions,
    contents: &[Long<'_>],
    search: &Search,
) -> io::Result<Vec<Vec<Planned>>> {
    let mut steps: Vec<Vec<Planned>> = contents.iter().map(|_| Vec::new()).collect();
    if contents.is_empty() {
        return Ok(steps);
    }
    let pieces: Vec<Piece> = contents.iter().enumerate().flat_map(|(index, long)| pieces(pairs, index, long)).collect();
    let regions = regions.of(contents.iter().map(|long| long.range.start).collect(), || {
        let samples = Samples::new(layers, sources(pairs, contents), search.threads)?;
        parallel::map(&pieces, search.threads, |piece| {
            Ok::<_, io::Error>(resembled(&samples, piece, &layers.read_target(piece.range.clone())?))
        })
    })?;
    let matched: Vec<(&Piece, &Vec<Extent>)> = pieces.iter().zip(regions.iter()).collect();
    let found =
        parallel::map(&matched, search.threads, |(piece, regions)| match_piece(layers, regions, piece, search))?;
    for (piece, found) in pieces.iter().zip(found) {
        found.into_iter().for_each(|step| push(&mut steps[piece.content], step));
    }
    Ok(steps)
}

/// The contents of the bases that samples are taken of: the counterparts, and the files whose paths are not in the
/// target.
fn sources(pairs: &Pairs<'_>, contents: &[Long<'_>]) -> Vec<Extent> {
    let counterparts = contents.iter().flat_map(|long| pairs.changed_from(long.entry));
    let ids: BTreeSet<EntryId> = counterparts.chain(pairs.left_over().iter().copied()).collect();
    ids.into_iter().map(|id| extent(pairs, id)).collect()
}

fn extent(pairs: &Pairs<'_>, id: EntryId) -> Extent {
    let entry = pairs.entry(id);
    Extent { base: id.base as usize, range: entry.content..entry.end }
}

fn pieces(pairs: &Pairs<'_>, content: usize, long: &Long<'_>) -> Vec<Piece> {
    let old = pairs.changed_from(long.entry).first().map(|&id| extent(pairs, id));
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

fn match_piece(layers: &Layers<'_>, regions: &[Extent], piece: &Piece, search: &Search) -> io::Result<Vec<Planned>> {
    let content = layers.read_target(piece.range.clone())?;
    let mut material = Material::default();
    let mut aligned = None;
    for Extent { base, range } in regions {
        let start = material.add(layers, *base, range.start, range.end - range.start)?;
        let counterpart = piece.counterpart.iter().find(|old| old.base == *base && range.contains(&old.range.start));
        aligned = aligned.or(counterpart.map(|old| start + (old.range.start - range.start) as usize));
    }
    // Most of a large content that changed in a few places is equal: there a fine index finds nothing more.
    let quick = search.coarse();
    let mut matches = find(&material.bytes, &content, aligned, &quick);
    if search.near != quick.near && different(&material.bytes, &content, &matches) > content.len() / EQUAL_PART {
        matches = find(&material.bytes, &content, aligned, search);
    }
    let start = piece.range.start as usize;
    Writer { layers, material: &material, content: &content, start, old: &[], copies: true }.steps(&matches)
}

fn find(old: &[u8], content: &[u8], aligned: Option<usize>, search: &Search) -> Vec<Match> {
    let windows = [Some(search.near), search.is_thorough.then_some(SPARSE)];
    let indices: Vec<Index> = windows.into_iter().flatten().map(|window| Index::new(old, window)).collect();
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
fn resembled(samples: &Samples, piece: &Piece, content: &[u8]) -> Vec<Extent> {
    let bytes = content.len() as u64;
    let blocks_max = (bytes * REGIONS_MAX).div_ceil(BLOCK_BYTES) as usize;
    let mut votes: Vec<(u64, u32)> =
        samples.votes(content).into_iter().filter(|&(_, votes)| votes >= VOTES_MIN).collect();
    votes.sort_unstable_by_key(|&(block, votes)| (std::cmp::Reverse(votes), block));
    let known: u64 = votes.iter().map(|&(_, votes)| u64::from(votes)).sum();
    let mut blocks = BTreeSet::new();
    if known * 2 < samples.expected(bytes) {
        for Extent { base, range } in &piece.counterpart {
            let places = range.clone().step_by(BLOCK_BYTES as usize).chain(range.end.checked_sub(1));
            let found = places.filter_map(|at| samples.block_of(*base, at));
            blocks.extend(found.flat_map(|block| [block.saturating_sub(1), block, block + 1]));
        }
    }
    for (block, _) in votes {
        if blocks.len() >= blocks_max {
            break;
        }
        // A match may begin in the block before, and end in the block behind.
        blocks.extend([block.saturating_sub(1), block, block + 1]);
    }
    let mut regions: Vec<Extent> = Vec::new();
    for extent in blocks.into_iter().filter_map(|block| samples.block(block)) {
        match regions.last_mut() {
            Some(last) if last.base == extent.base && last.range.end == extent.range.start => {
                last.range.end = extent.range.end;
            }
            _ => regions.push(extent),
        }
    }
    regions
}
