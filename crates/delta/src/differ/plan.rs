//! Plans the steps that rebuild a target from its bases.
//!
//! Drafts of all entries come first; then changed contents are matched, and their steps woven in between. Contents that
//! are too long to be held in memory with their bases are matched in pieces ([`super::long`]), the others in groups.

use std::borrow::Cow;
use std::io;
use std::ops::Range;

use crate::compare::differences;
use crate::parallel;

use super::blocks::{match_blocks, replace};
use super::draft::{Draft, Drafts, draft};
use super::executables::{self, Parts};
use super::files::{BaseFiles, Entry, EntryId, Files};
use super::headers::{headers, origin};
use super::index::{Index, Window};
use super::loading::{Changed, Loading};
use super::long::{EQUAL_PART, Long, match_long};
use super::matches::{self, Bases};
use super::material::Material;
use super::pairs::Pairs;
use super::regions::Regions;
use super::search::Search;
use super::steps::{Layers, Planned, exactly, push};
use super::streams::{self, Form, Streams};
use super::twins;
use super::weave::weave;
use super::writer::Writer;

/// Contents are matched in batches of so many bytes, with the bytes of their bases, and of so many contents: each takes
/// an index of 1 KiB and more. Long contents are matched in parts.
const BATCH_BYTES: u64 = 32 << 20;
const BATCH_CONTENTS: usize = 1 << 12;
const PART_BYTES: usize = 4 << 20;
/// Headers are made for so many files at a time.
const HEADERS_CHUNK: usize = 256;
/// A content is long beyond this part of the memory for the bases: an index and its own bytes come on top.
const LONG_PART: u64 = 4;

/// A content that is not a copy.
struct Open<'a> {
    /// Which draft it belongs to.
    index: usize,
    entry: &'a Entry,
    range: Range<u64>,
    form: Form,
}

impl Open<'_> {
    /// The same content, without streams.
    fn plain(&self) -> Self {
        Self { range: self.range.clone(), form: Form::Plain, ..*self }
    }
}

/// Where changed contents may have come from.
struct Known<'a> {
    files: &'a BaseFiles<'a>,
    regions: &'a Regions,
    drafts: &'a [(&'a Entry, Draft)],
}

impl Known<'_> {
    fn changed_from(&self, open: &Open<'_>) -> &[EntryId] {
        &self.drafts[open.index].1.changed_from
    }
}

/// All that the differ knows of a target before it searches: the same at every effort.
#[derive(Clone)]
pub struct Drafted<'f> {
    files: BaseFiles<'f>,
    drafts: Drafts<'f>,
    regions: Regions,
}

impl<'f> Drafted<'f> {
    /// Finds the files that a base has, and what each of the others may have been changed from.
    ///
    /// # Errors
    /// The error of a reader.
    pub fn new(layers: &Layers<'_>, files: &'f Files, threads: usize) -> io::Result<Self> {
        // They take 100 MB where there are a million files, and are needed no more when the steps grow.
        let pairs = Pairs::new(&files.bases, threads);
        let mut drafts = draft(layers, &pairs, &files.target, threads)?;
        twins::copy(layers, &mut drafts.drafts, threads)?;
        let files = BaseFiles { entries: &files.bases, left_over: pairs.left_over(&files.target).into() };
        Ok(Self { files, drafts, regions: Regions::default() })
    }

    /// How many files no base has as they are.
    pub fn open_files(&self) -> usize {
        self.drafts.drafts.len()
    }
}

/// Plans the steps. They cover the target exactly and in order. The map of the executables among its files goes into
/// `layers`.
///
/// # Errors
/// The error of a reader.
pub fn plan(layers: &mut Layers<'_>, drafted: Drafted<'_>, search: &Search) -> io::Result<Vec<Planned>> {
    let Drafted { files, drafts: Drafts { copies, mut drafts }, regions } = drafted;
    let search = &search.beside(drafts.len());
    let Streams { forms, blocks } = streams::decompress(layers, &files, &drafts, search)?;
    let contents = drafts.iter().zip(forms).enumerate();
    let open = contents.filter_map(|(index, ((entry, draft), form))| {
        let range = draft.open.clone()?;
        Some(Open { index, entry, range, form })
    });
    let open: Vec<Open<'_>> = open.collect();
    let known = Known { files: &files, regions: &regions, drafts: &drafts };
    let mut matched = match_twice(layers, &known, search, open)?;
    let mut blocks = match_blocks(layers, &blocks, search)?.into_iter().peekable();
    while let Some(&(index, _)) = blocks.peek() {
        let own = std::iter::from_fn(|| blocks.next_if(|(open, _)| *open == index)).map(|(_, block)| block);
        let steps = std::mem::take(&mut matched[index]);
        matched[index] = replace(steps, own);
    }
    add_headers(layers, &files, &mut drafts, &matched, search.threads)?;
    let drafted = drafts.iter().map(|(_, draft)| draft.steps.len());
    let count = copies.len() + drafted.sum::<usize>() + matched.iter().map(Vec::len).sum::<usize>();
    // There may be millions: exactly as many as there can be.
    let mut steps: Vec<Planned> = Vec::with_capacity(count);
    let mut copies = copies.into_iter().peekable();
    for ((entry, draft), content) in drafts.into_iter().zip(matched) {
        while let Some(copy) = copies.next_if(|copy| copy.at < entry.start) {
            push(&mut steps, copy);
        }
        draft.steps.into_iter().chain(content).for_each(|step| push(&mut steps, step));
    }
    copies.for_each(|copy| push(&mut steps, copy));
    Ok(steps)
}

/// Adds the headers that are missing, each compared with that of the file that the content comes from.
fn add_headers(
    layers: &Layers<'_>,
    files: &BaseFiles<'_>,
    drafts: &mut [(&Entry, Draft)],
    matched: &[Vec<Planned>],
    threads: usize,
) -> io::Result<()> {
    let missing: Vec<usize> = (0..drafts.len()).filter(|&index| drafts[index].1.has_no_headers).collect();
    let chunks: Vec<&[usize]> = missing.chunks(HEADERS_CHUNK).collect();
    let made = parallel::map(&chunks, threads, |chunk| {
        let of_draft = |&index: &usize| {
            let (entry, draft) = &drafts[index];
            let by_name = || draft.changed_from.first().map(|id| (id.base as usize, files.entry(*id)));
            headers(layers, entry, origin(layers, files.entries, &matched[index]).or_else(by_name))
        };
        chunk.iter().map(of_draft).collect::<io::Result<Vec<_>>>()
    })?;
    for (index, mut steps) in missing.into_iter().zip(made.into_iter().flatten()) {
        let draft = &mut drafts[index].1;
        std::mem::take(&mut draft.steps).into_iter().for_each(|step| push(&mut steps, step));
        draft.steps = exactly(steps);
    }
    Ok(())
}

/// Matches all contents, and makes the map of the executables among them. Executables are matched twice: a coarse
/// search gives the map; then the bases are searched as the map predicts them, where code that was only moved is equal.
fn match_twice(
    layers: &mut Layers<'_>,
    known: &Known<'_>,
    search: &Search,
    mut open: Vec<Open<'_>>,
) -> io::Result<Vec<Vec<Planned>>> {
    let mut matched = vec![Vec::new(); known.drafts.len()];
    // There may be a million of them: those that stay are not moved.
    let is_executable =
        |open: &mut Open<'_>| matches!(open.form, Form::Plain) && executables::is_one(layers.target, open.entry);
    let executables: Vec<Open<'_>> = open.extract_if(.., is_executable).collect();
    match_all(layers, known, search, open, &mut matched)?;
    match_all(layers, known, &search.coarse(), executables.iter().map(Open::plain).collect(), &mut matched)?;
    let map = |layers: &Layers<'_>, matched: &[Vec<Planned>], open: &[Open<'_>], which| {
        let steps = open.iter().map(|open| (open.entry, matched[open.index].as_slice()));
        executables::map(layers, known.files.entries, &steps.collect::<Vec<_>>(), which, search.threads)
    };
    let (twice, once): (Vec<_>, Vec<_>) =
        executables.into_iter().partition(|open| search.is_thorough || !is_long(known, search, open));
    let first = executables::fitting(map(layers, &matched, &twice, Parts::All)?);
    let (mapped, unmapped): (Vec<_>, Vec<_>) =
        twice.into_iter().partition(|open| first.file(open.range.start).is_some());
    // Before the map is there: no reference of theirs is rewritten.
    match_all(layers, known, search, unmapped, &mut matched)?;
    layers.map = first;
    match_all(layers, known, &search.again(), mapped.iter().map(Open::plain).collect(), &mut matched)?;
    let files = mapped.into_iter().chain(once).collect::<Vec<_>>();
    layers.map = executables::fitting(map(layers, &matched, &files, Parts::Helping)?);
    Ok(matched)
}

/// Matches all contents. Puts the steps of each at its index.
///
/// Contents that are short are matched in groups: the material of a group fits into memory. Each group has the files
/// that no path of the target names too, as far as there is room.
fn match_all(
    layers: &Layers<'_>,
    known: &Known<'_>,
    search: &Search,
    mut open: Vec<Open<'_>>,
    steps: &mut [Vec<Planned>],
) -> io::Result<()> {
    let Known { files, regions, .. } = known;
    let long: Vec<Open<'_>> = open.extract_if(.., |open| is_long(known, search, open)).collect();
    let contents: Vec<Long<'_>> =
        long.iter().map(|open| Long { changed_from: known.changed_from(open), range: open.range.clone() }).collect();
    for (open, matched) in long.iter().zip(match_long(layers, files, regions, &contents, search)?) {
        steps[open.index] = matched;
    }
    let left_over = &files.left_over;
    let left_over_bytes: u64 = left_over.iter().map(|&id| files.entry(id).content_bytes).sum();
    let budget = search.material_bytes_max - left_over_bytes.min(search.material_bytes_max / 4);
    let mut short = open.into_iter().peekable();
    while short.peek().is_some() {
        let mut loading = Loading::new(layers, files, search);
        let (mut indices, mut changed) = (Vec::new(), Vec::new());
        while let Some(open) =
            short.next_if(|open| indices.is_empty() || loading.bytes_with(known.changed_from(open)) <= budget)
        {
            indices.push(open.index);
            changed.push(loading.candidates(known.changed_from(&open), open.range, open.form)?);
        }
        loading.all(left_over)?;
        let matched = match_group(layers, search, &loading.material, &changed)?;
        for (index, matched) in indices.into_iter().zip(matched) {
            steps[index] = matched;
        }
    }
    Ok(())
}

/// Whether a content is too long to be held with what it may have been changed from. One with compressed streams is
/// matched by these as long as it can be held at all.
fn is_long(known: &Known<'_>, search: &Search, open: &Open<'_>) -> bool {
    let part = if matches!(open.form, Form::Plain) { LONG_PART } else { 1 };
    let bytes_max = search.material_bytes_max / part;
    let old = known.changed_from(open).iter().map(|id| known.files.entry(*id).content_bytes);
    old.chain([open.range.end - open.range.start]).any(|bytes| bytes > bytes_max)
}

/// Matches all changed contents of a group. Returns the steps of each.
fn match_group(
    layers: &Layers<'_>,
    search: &Search,
    material: &Material,
    changed: &[Changed],
) -> io::Result<Vec<Vec<Planned>>> {
    let step = (material.bytes.len() >> 24).next_power_of_two().max(search.far.step);
    let windows = [Some(Window { step, ..search.far }), search.sparse];
    let windows: Vec<Window> = windows.into_iter().flatten().collect();
    let far =
        parallel::map(&windows, search.threads, |window| Ok::<_, io::Error>(Index::new(&material.bytes, *window)))?;
    let mut steps = Vec::with_capacity(changed.len());
    let mut rest = changed;
    while !rest.is_empty() {
        let mut bytes = 0;
        let count = rest.iter().take_while(|changed| {
            bytes += changed.range.end - changed.range.start;
            bytes += changed.old.iter().flatten().map(|old| old.len() as u64).sum::<u64>();
            bytes <= BATCH_BYTES
        });
        let (batch, after) = rest.split_at(count.count().clamp(1, BATCH_CONTENTS));
        rest = after;
        steps.extend(match_batch(layers, search, material, &far, batch)?);
    }
    Ok(steps)
}

fn match_batch(
    layers: &Layers<'_>,
    search: &Search,
    material: &Material,
    far: &[Index],
    batch: &[Changed],
) -> io::Result<Vec<Vec<Planned>>> {
    let subjects: Vec<Subject<'_>> = subjects(layers, batch)?;
    let quick = search.coarse().near;
    let index = |old: &Range<usize>, content: &[u8]| {
        let old = &material.bytes[old.clone()];
        // Where a few bytes differ in place, a fine index finds nothing more.
        let is_equal =
            old.len() == content.len() && differences(old, content) < content.len().div_ceil(EQUAL_PART) as u64;
        let window = if is_equal { quick } else { search.near };
        // Fewer positions of files so large that their index would take most of the memory.
        let step = (old.len() >> 25).next_power_of_two().max(window.step);
        Index::new(old, Window { step, ..window })
    };
    let indices: Vec<Vec<Index>> = parallel::map(&subjects, search.threads, |subject| {
        Ok::<_, io::Error>(subject.old.iter().map(|old| index(old, &subject.content)).collect())
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
        let all = near.chain(far.iter().map(|far| (far, 0, material.bytes.len()))).collect();
        let bases = Bases {
            old: &material.bytes,
            trusting: search.trusting,
            doubting: search.doubting,
            patience: search.patience,
            indices: all,
        };
        let aligned = subject.old.first().map(|old| old.start + part.start).filter(|&at| at < subject.old[0].end);
        let content = &subject.content[part.clone()];
        let matches = matches::find(&bases, content, aligned);
        let writer = Writer { layers, material, content, start: part.start, old: subject.old, copies: subject.copies };
        writer.steps(&matches)
    })?;
    let mut steps: Vec<Vec<Planned>> = subjects.iter().map(|_| Vec::new()).collect();
    for ((index, _), found) in pieces.iter().zip(found) {
        found.into_iter().for_each(|step| push(&mut steps[*index], step));
    }
    let mut steps = steps.into_iter();
    let woven = batch.iter().map(|changed| {
        let steps = weave(layers, changed, steps.by_ref().take(changed.old.len()))?;
        Ok(exactly(steps))
    });
    woven.collect()
}

/// Bytes that are matched together.
struct Subject<'a> {
    content: Cow<'a, [u8]>,
    /// Ranges of the material that they may have been changed from.
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

/// The content of the target without its streams.
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
