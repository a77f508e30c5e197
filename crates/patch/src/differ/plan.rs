//! Which steps rebuild a target from its bases.

use std::collections::HashMap;
use std::io;
use std::ops::Range;

use crate::{delta, parallel};

use super::draft::{Draft, draft};
use super::files::{Entry, entries};
use super::gzip;
use super::index::{Index, Window};
use super::loading::{Changed, Loading};
use super::matches::{self, Bases};
use super::material::Material;
use super::pairs::Pairs;
use super::steps::{From, Kind, Layers, Planned, STEP_COST, push};
use super::twins;
use super::writer::Writer;

/// How hard matches are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Search {
    /// In the files that one may have been changed from.
    pub near: Window,
    /// In everything that is left of the bases; in large ones, fewer positions.
    pub far: Window,
    /// Whether gzip members are taken apart.
    pub gzip: bool,
    /// Whether what goes on well is not questioned.
    pub trusting: bool,
    /// Where nothing is found so many times in a row, positions are passed over.
    pub patience: usize,
    /// Most bytes of the bases held at once.
    pub material_bytes_max: u64,
    pub threads: usize,
}

/// Files are matched in batches of so many bytes of their bases, and large files in parts of so many.
const BATCH_BYTES: u64 = 32 << 20;
const PART_BYTES: usize = 4 << 20;

/// A part of the plan before matching.
enum Part {
    Steps(Vec<Planned>),
    Changed(usize),
}

/// Plans. The steps cover the target exactly and in order.
///
/// # Errors
/// What a reader says.
pub(crate) fn plan(layers: &Layers<'_>, search: &Search) -> io::Result<Vec<Planned>> {
    let target = entries(layers.target)?;
    let bases = layers.bases.iter().map(|base| entries(*base)).collect::<io::Result<Vec<_>>>()?;
    let pairs = Pairs::new(&bases);
    let drafts = parallel::map(&target.chunks(64).collect::<Vec<_>>(), search.threads, |chunk| {
        chunk.iter().map(|entry| draft(layers, &pairs, entry)).collect::<io::Result<Vec<_>>>()
    })?;
    let mut drafts: Vec<(&Entry, Draft)> = target.iter().zip(drafts.into_iter().flatten()).collect();
    twins::copy(layers, &mut drafts, search.threads)?;
    let apart = parallel::map(&drafts, search.threads, |(entry, draft)| {
        let wanted = search.gzip && draft.is_open(entry) && !pairs.changed_from(entry).is_empty();
        if wanted { gzip::take_apart(layers, entry) } else { Ok(None) }
    })?;
    let mut loading = Loading { layers, pairs: &pairs, search, material: Material::default(), loaded: HashMap::new() };
    let mut parts = Vec::new();
    let mut changed = Vec::new();
    for ((entry, draft), gzip) in drafts.into_iter().zip(apart) {
        parts.push(Part::Steps(draft.steps));
        if let Some(range) = draft.open {
            parts.push(Part::Changed(changed.len()));
            changed.push(loading.candidates(entry, range, gzip)?);
        }
    }
    loading.left_over(&target)?;
    let material = loading.material;
    let matched = match_all(layers, search, &material, &changed)?;
    let mut matched: Vec<Option<Vec<Planned>>> = matched.into_iter().map(Some).collect();
    let mut steps: Vec<Planned> = Vec::new();
    for part in parts {
        let part = match part {
            Part::Steps(steps) => steps,
            Part::Changed(index) => matched[index].take().unwrap_or_default(),
        };
        part.into_iter().for_each(|step| push(&mut steps, step));
    }
    Ok(steps)
}

/// Matches all changed contents, and gives the steps of each.
fn match_all(
    layers: &Layers<'_>,
    search: &Search,
    material: &Material,
    changed: &[Changed],
) -> io::Result<Vec<Vec<Planned>>> {
    let step = (material.bytes.len() >> 24).next_power_of_two().max(search.far.step);
    let far = Index::new(&material.bytes, Window { step, ..search.far });
    let mut steps = Vec::with_capacity(changed.len());
    let mut rest = changed;
    while !rest.is_empty() {
        let mut bytes = 0;
        let count = rest.iter().take_while(|changed| {
            bytes += changed.old.iter().map(|old| old.len() as u64).sum::<u64>();
            bytes <= BATCH_BYTES
        });
        let (batch, after) = rest.split_at(count.count().max(1));
        rest = after;
        steps.extend(match_batch(layers, search, material, &far, batch)?);
    }
    Ok(steps)
}

fn match_batch(
    layers: &Layers<'_>,
    search: &Search,
    material: &Material,
    far: &Index,
    batch: &[Changed],
) -> io::Result<Vec<Vec<Planned>>> {
    let index = |old: &Range<usize>| {
        // Every position, but for files so large that their index would be the larger part of memory.
        let step = (old.len() >> 25).next_power_of_two().max(search.near.step);
        Index::new(&material.bytes[old.clone()], Window { step, ..search.near })
    };
    let indices =
        parallel::map(batch, search.threads, |changed| Ok::<_, io::Error>(changed.old.iter().map(index).collect()))?;
    let indices: Vec<Vec<Index>> = indices;
    let contents = batch
        .iter()
        .map(|changed| match &changed.gzip {
            Some((_, apart)) => Ok(apart.plain.clone()),
            None => layers.read_target(changed.range.clone()),
        })
        .collect::<io::Result<Vec<_>>>()?;
    let pieces: Vec<(usize, Range<usize>)> = contents
        .iter()
        .enumerate()
        .flat_map(|(index, content)| {
            let starts = (0..content.len()).step_by(PART_BYTES);
            starts.map(move |start| (index, start..(start + PART_BYTES).min(content.len())))
        })
        .collect();
    let found = parallel::map(&pieces, search.threads, |(index, part)| {
        let changed = &batch[*index];
        let near = indices[*index].iter().zip(&changed.old).map(|(index, old)| (index, old.start, old.end));
        let all = near.chain([(far, 0, material.bytes.len())]).collect();
        let bases = Bases { old: &material.bytes, trusting: search.trusting, patience: search.patience, indices: all };
        let aligned = changed.old.first().map(|old| old.start + part.start).filter(|&at| at < changed.old[0].end);
        let content = &contents[*index][part.clone()];
        let matches = matches::find(&bases, content, aligned);
        let writer = Writer { material, content, start: part.start, old: &changed.old, copies: changed.gzip.is_none() };
        Ok::<_, io::Error>(writer.steps(&matches))
    })?;
    let mut steps: Vec<Vec<Planned>> = batch.iter().map(|_| Vec::new()).collect();
    for ((index, _), found) in pieces.iter().zip(found) {
        found.into_iter().for_each(|step| push(&mut steps[*index], step));
    }
    batch.iter().zip(steps).map(|(changed, steps)| finish(layers, changed, steps)).collect()
}

/// Places the steps of a content in the target.
fn finish(layers: &Layers<'_>, changed: &Changed, mut steps: Vec<Planned>) -> io::Result<Vec<Planned>> {
    let Some((header, apart)) = &changed.gzip else {
        steps.iter_mut().for_each(|step| step.at += changed.range.start);
        return Ok(steps);
    };
    let mut out = Vec::new();
    let at = changed.range.start;
    let header_kind = match changed.old_address {
        Some((address, bytes)) if bytes >= *header => Kind::Match(From::Address(address)),
        _ => Kind::New,
    };
    push(&mut out, Planned { kind: header_kind, at, bytes: *header, cost: 4 });
    let cost = steps.iter().map(|step| step.cost).sum::<u64>() + apart.corrections.len() as u64 + STEP_COST;
    let kind = Kind::Deflate { plain: apart.plain.clone(), corrections: apart.corrections.clone(), steps };
    push(&mut out, Planned { kind, at: at + header, bytes: apart.bytes as u64, cost });
    let mut end = at + header + apart.bytes as u64;
    let rest = layers.read_target(end..changed.range.end)?;
    let trailer = delta::trailer(&apart.plain);
    if rest.starts_with(&trailer) {
        push(&mut out, Planned { kind: Kind::Trailer, at: end, bytes: trailer.len() as u64, cost: 1 });
        end += trailer.len() as u64;
    }
    let bytes = changed.range.end - end;
    push(&mut out, Planned { kind: Kind::New, at: end, bytes, cost: bytes / 64 + STEP_COST });
    Ok(out)
}
