//! Which steps rebuild a target from its bases.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io;
use std::ops::Range;

use lighter_types::broken;

use crate::parallel;

use super::draft::{Draft, draft};
use super::files::{Entry, entries};
use super::index::{Index, Window};
use super::loading::{Changed, Loading};
use super::matches::{self, Bases};
use super::material::Material;
use super::pairs::Pairs;
use super::search::Search;
use super::steps::{Layers, Planned, push};
use super::streams::{self, Form};
use super::twins;
use super::weave::weave;
use super::writer::Writer;

/// Files are matched in batches of so many bytes of theirs and their bases', and large files in parts of so many.
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
pub fn plan(layers: &Layers<'_>, search: &Search) -> io::Result<Vec<Planned>> {
    let target = entries(layers.target)?;
    let bases = layers.bases.iter().map(|base| entries(*base)).collect::<io::Result<Vec<_>>>()?;
    let pairs = Pairs::new(&bases);
    let drafts = parallel::map(&target.chunks(64).collect::<Vec<_>>(), search.threads, |chunk| {
        chunk.iter().map(|entry| draft(layers, &pairs, entry)).collect::<io::Result<Vec<_>>>()
    })?;
    let mut drafts: Vec<(&Entry, Draft)> = target.iter().zip(drafts.into_iter().flatten()).collect();
    twins::copy(layers, &mut drafts, search.threads)?;
    let forms = streams::decompress(layers, &pairs, &drafts, search)?;
    let mut loading = Loading { layers, pairs: &pairs, search, material: Material::default(), loaded: HashMap::new() };
    let mut parts = Vec::new();
    let mut changed = Vec::new();
    for ((entry, draft), form) in drafts.into_iter().zip(forms) {
        parts.push(Part::Steps(draft.steps));
        if let Some(range) = draft.open {
            parts.push(Part::Changed(changed.len()));
            changed.push(loading.candidates(entry, range, form)?);
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
            Part::Changed(index) => matched[index].take().unwrap_or_else(|| {
                broken("a content that was matched twice");
                Vec::new()
            }),
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
            bytes += changed.range.end - changed.range.start;
            bytes += changed.old.iter().flatten().map(|old| old.len() as u64).sum::<u64>();
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
    let subjects: Vec<Subject<'_>> = subjects(layers, batch)?;
    let index = |old: &Range<usize>| {
        // Every position, but for files so large that their index would be the larger part of memory.
        let step = (old.len() >> 25).next_power_of_two().max(search.near.step);
        Index::new(&material.bytes[old.clone()], Window { step, ..search.near })
    };
    let indices: Vec<Vec<Index>> = parallel::map(&subjects, search.threads, |subject| {
        Ok::<_, io::Error>(subject.old.iter().map(index).collect())
    })?;
    let pieces: Vec<(usize, Range<usize>)> = subjects
        .iter()
        .enumerate()
        .flat_map(|(index, subject)| {
            let bytes = subject.content.len();
            let starts = (0..bytes).step_by(PART_BYTES);
            starts.map(move |start| (index, start..(start + PART_BYTES).min(bytes)))
        })
        .collect();
    let found = parallel::map(&pieces, search.threads, |(index, part)| {
        let subject = &subjects[*index];
        let near = indices[*index].iter().zip(subject.old).map(|(index, old)| (index, old.start, old.end));
        let all = near.chain([(far, 0, material.bytes.len())]).collect();
        let bases = Bases { old: &material.bytes, trusting: search.trusting, patience: search.patience, indices: all };
        let aligned = subject.old.first().map(|old| old.start + part.start).filter(|&at| at < subject.old[0].end);
        let content = &subject.content[part.clone()];
        let matches = matches::find(&bases, content, aligned);
        let writer = Writer { material, content, start: part.start, old: subject.old, copies: subject.copies };
        Ok::<_, io::Error>(writer.steps(&matches))
    })?;
    let mut steps: Vec<Vec<Planned>> = subjects.iter().map(|_| Vec::new()).collect();
    for ((index, _), found) in pieces.iter().zip(found) {
        found.into_iter().for_each(|step| push(&mut steps[*index], step));
    }
    let mut steps = steps.into_iter();
    batch.iter().map(|changed| weave(layers, changed, steps.by_ref().take(changed.old.len()))).collect()
}

/// What is matched as one.
struct Subject<'a> {
    content: Cow<'a, [u8]>,
    /// Ranges of the material that it may have been changed from.
    old: &'a [Range<usize>],
    /// Whether long equal ranges are worth copies of their own.
    copies: bool,
}

fn subjects<'a>(layers: &Layers<'_>, batch: &'a [Changed]) -> io::Result<Vec<Subject<'a>>> {
    let mut subjects = Vec::new();
    for changed in batch {
        let mut old = changed.old.iter();
        if !matches!(changed.form, Form::Gzip(_)) {
            let content = Cow::Owned(without_streams(layers, changed)?);
            subjects.extend(old.next().map(|old| Subject { content, old, copies: true }));
        }
        let streams = changed.streams().iter().zip(old);
        subjects.extend(streams.map(|(stream, old)| Subject {
            content: Cow::Borrowed(&stream.decompressed.plain),
            old,
            copies: false,
        }));
    }
    Ok(subjects)
}

fn without_streams(layers: &Layers<'_>, changed: &Changed) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    let mut at = changed.range.start;
    for stream in changed.streams() {
        content.extend(layers.read_target(at..stream.at)?);
        at = stream.at + stream.decompressed.bytes as u64;
    }
    content.extend(layers.read_target(at..changed.range.end)?);
    Ok(content)
}
