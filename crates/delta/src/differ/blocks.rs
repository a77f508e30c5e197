//! Matches the blocks of fatbins ([`super::fatbins`]) by their contents.
//!
//! A new block has code of several old ones. So the contents of all old blocks that a group of new ones may have been
//! changed from are held, and [`Samples`] tell which of them a block resembles. Its content is matched with these. A
//! frame decompresses them again, so they are few.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;

use lighter_types::ReadAt;

use crate::compressed;
use crate::compressed::fatbin::{self, HEADER_BYTES};
use crate::frame::LARGE_BYTES_MAX;
use crate::parallel;
use crate::program::Inflated;

use super::files::EntryId;
use super::long::{covering, find};
use super::material::Material;
use super::samples::{Extent, Samples};
use super::search::Search;
use super::steps::{Layers, Planned};
use super::streams::Stream;
use super::weave::stream_step;
use super::writer::Writer;

/// A block reads from at most so many old ones,
const SOURCES_MAX: usize = 64;
/// which have at most so many times its own content, or so many bytes. It takes time to decompress them.
const SOURCES_TIMES: u64 = 4;
const SOURCES_BYTES: u64 = 4 << 20;

/// An old block.
struct Old {
    stream: Inflated,
    plain: Vec<u8>,
}

/// The step that makes each block, with the number of its content: in the order of the blocks.
///
/// # Errors
/// The error of a reader.
pub fn match_blocks(
    layers: &Layers<'_>,
    blocks: &[(usize, Stream)],
    search: &Search,
) -> io::Result<Vec<(usize, Planned)>> {
    let mut steps = Vec::with_capacity(blocks.len());
    let mut rest = blocks;
    while !rest.is_empty() {
        // As many blocks as have old ones for which there is room; the first of them in any case, with some of its own.
        let mut places: BTreeMap<(EntryId, u64), Range<u64>> = BTreeMap::new();
        let mut left = search.material_bytes_max / 2;
        let mut count = 0;
        for (_, block) in rest {
            let mut more = Vec::new();
            let mut bytes = 0;
            for (id, range) in &block.from {
                let is_known = places.contains_key(&(*id, range.start));
                let plain_bytes = if is_known { 0 } else { plain_bytes(layers, *id, range)? };
                if count > 0 || bytes + plain_bytes <= left {
                    bytes += plain_bytes;
                    more.push(((*id, range.start), range.clone()));
                }
            }
            if bytes > left {
                break;
            }
            left -= bytes;
            places.extend(more);
            count += 1;
        }
        let (group, after) = rest.split_at(count);
        rest = after;
        let places: Vec<((EntryId, u64), Range<u64>)> = places.into_iter().collect();
        let old = parallel::map(&places, search.threads, |((id, _), range)| inflate(layers, *id, range))?;
        let old: Vec<Old> = old.into_iter().flatten().collect();
        let contents = Layers::new(layers.target, old.iter().map(|old| &old.plain as &dyn ReadAt).collect());
        let all = old.iter().enumerate().map(|(base, old)| Extent { base, range: 0..old.plain.len() as u64 });
        let samples = Samples::new(&contents, all.collect(), search.threads)?;
        let matched =
            parallel::map(group, search.threads, |(_, block)| match_block(layers, block, &old, &samples, search))?;
        steps.extend(group.iter().map(|(content, _)| *content).zip(matched));
    }
    Ok(steps)
}

/// The length of an old block's content, as its header has it: what is longer is not decompressed.
fn plain_bytes(layers: &Layers<'_>, id: EntryId, range: &Range<u64>) -> io::Result<u64> {
    let mut header = [0; HEADER_BYTES];
    layers.bases[id.base as usize].read_exact_at(&mut header, range.start)?;
    Ok(fatbin::element(&header).map_or(0, |element| element.plain_bytes))
}

fn inflate(layers: &Layers<'_>, id: EntryId, range: &Range<u64>) -> io::Result<Option<Old>> {
    let mut compressed = vec![0; (range.end - range.start) as usize];
    layers.bases[id.base as usize].read_exact_at(&mut compressed, range.start)?;
    Ok(compressed::content(&compressed, fatbin::PLAIN_BYTES_MAX).map(|(plain, bytes)| {
        let from = layers.address(id.base as usize, range.start);
        Old { stream: Inflated { from, bytes: bytes as u64, plain_bytes: plain.len() as u64 }, plain }
    }))
}

fn match_block(
    layers: &Layers<'_>,
    block: &Stream,
    old: &[Old],
    samples: &Samples,
    search: &Search,
) -> io::Result<Planned> {
    let content = &block.decompressed.plain;
    let mut material = Material::default();
    let mut sources = Vec::new();
    for index in resembled(layers, block, old, samples) {
        let Old { stream, plain } = &old[index];
        let start = material.add_inflated(*stream, plain);
        sources.push(start..start + plain.len());
    }
    let matches = find((&material.bytes, &sources), content, None, search);
    let writer = Writer { layers, material: &material, content, start: 0, old: &sources, copies: false };
    Ok(stream_step(block, writer.steps(&matches)?))
}

/// The old blocks that a block resembles most, by their numbers, and its counterparts.
fn resembled(layers: &Layers<'_>, block: &Stream, old: &[Old], samples: &Samples) -> Vec<usize> {
    // They are in the order of their addresses.
    let number = |from: u64| old.binary_search_by_key(&from, |old| old.stream.from).ok();
    let counterparts =
        block.from.iter().filter_map(|(id, range)| number(layers.address(id.base as usize, range.start)));
    let counterparts: BTreeSet<u64> = counterparts.map(|index| index as u64).collect();
    let places: Vec<Vec<u64>> = samples
        .blocks(&block.decompressed.plain)
        .into_iter()
        .map(|places| {
            let mut bases: Vec<u64> =
                places.into_iter().filter_map(|place| samples.block(place)).map(|extent| extent.base as u64).collect();
            bases.dedup();
            bases
        })
        .collect();
    let (chosen, _) = covering(&places, &counterparts, SOURCES_MAX);
    let plain_bytes = block.decompressed.plain.len() as u64;
    let mut left = (plain_bytes * SOURCES_TIMES).clamp(SOURCES_BYTES, LARGE_BYTES_MAX);
    let mut found: Vec<usize> = Vec::new();
    for index in chosen.into_iter().chain(counterparts).map(|index| index as usize) {
        let stream = &old[index].stream;
        if let Some(less) = left.checked_sub(stream.plain_bytes.max(stream.bytes))
            && !found.contains(&index)
        {
            left = less;
            found.push(index);
        }
    }
    found
}

/// Puts the steps of blocks in place of the steps that make the same bytes, where they cost less than these do. Both
/// are in order.
pub fn replace(steps: Vec<Planned>, blocks: impl IntoIterator<Item = Planned>) -> Vec<Planned> {
    let mut out = Vec::with_capacity(steps.len());
    let mut waiting = steps;
    waiting.reverse();
    for block in blocks {
        let (start, end) = (block.at, block.at + block.bytes);
        while let Some(step) = waiting.pop_if(|step| step.at + step.bytes <= start) {
            out.push(step);
        }
        let mut inside = Vec::new();
        while let Some(step) = waiting.pop_if(|step| step.at < end) {
            inside.push(step);
        }
        let within = |step: &Planned| (step.at + step.bytes).min(end) - step.at.max(start);
        let cost = inside.iter().map(|step| step.cost * within(step) / step.bytes).sum::<u64>();
        if block.cost >= cost {
            waiting.extend(inside.into_iter().rev());
            continue;
        }
        let before = inside.first().and_then(|step| step.split(start.saturating_sub(step.at)));
        let behind = inside.last().and_then(|step| step.split(end.saturating_sub(step.at)));
        out.extend(before.map(|(before, _)| before));
        out.push(block);
        waiting.extend(behind.map(|(_, behind)| behind));
    }
    out.extend(waiting.into_iter().rev());
    out
}

#[cfg(test)]
mod tests;
