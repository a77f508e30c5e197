//! The first draft of an entry of the target: its copies and headers, and the range that is left to be matched.

use std::io;
use std::ops::Range;

use lighter_types::{BaseCache, broken};

use crate::{parallel, work};

use super::contents::Contents;
use super::files::{Entry, equal_as_read};
use super::headers::headers;
use super::pairs::{Origins, Pairs};
use super::steps::{From, Kind, Layers, Planned, STEP_COST, exactly, push};

/// Entries are drafted in chunks of so many, each with a cache of its own.
const CHUNK: usize = 1 << 10;

/// The draft of an entry.
#[derive(Clone)]
pub struct Draft {
    /// Its copies and headers.
    pub steps: Vec<Planned>,
    /// The range that is left to be matched.
    pub open: Option<Range<u64>>,
    /// The files that its content may have been changed from, if that is left to be matched.
    pub changed_from: Origins,
    /// Whether its headers are missing: its content is to tell what they are compared with.
    pub has_no_headers: bool,
}

impl Draft {
    /// Whether no base has the entry's content.
    pub fn is_open(&self, entry: &Entry) -> bool {
        self.open.as_ref().is_some_and(|open| open.start == entry.content)
    }

    /// Makes a copy of the front of the range that is left.
    pub fn copy(&mut self, from: From, bytes: u64) {
        let Some(open) = &mut self.open else { return broken("a copy of a content that has its steps") };
        push(&mut self.steps, Planned { kind: Kind::Copy(from), at: open.start, bytes, cost: STEP_COST });
        open.start += bytes;
        if open.is_empty() {
            self.open = None;
        }
    }
}

/// All entries of the target: copies of those that a base has, header and all, and drafts of the others.
#[derive(Clone)]
pub struct Drafts<'t> {
    pub copies: Vec<Planned>,
    pub drafts: Vec<(&'t Entry, Draft)>,
}

/// Drafts all entries of the target.
///
/// # Errors
/// The error of a reader.
pub fn draft<'t>(
    layers: &Layers<'_>,
    pairs: &Pairs<'_>,
    target: &'t [Entry],
    threads: usize,
) -> io::Result<Drafts<'t>> {
    let wholes = parallel::map(&target.chunks(CHUNK).collect::<Vec<_>>(), threads, |chunk| {
        let mut caches = [BaseCache::new(&[layers.target]), BaseCache::new(&layers.bases)];
        chunk.iter().map(|entry| whole(layers, pairs, &mut caches, entry)).collect::<io::Result<Vec<_>>>()
    })?;
    let mut copies: Vec<Planned> = Vec::new();
    let mut rest: Vec<&Entry> = Vec::new();
    for (entry, whole) in target.iter().zip(wholes.into_iter().flatten()) {
        let Some(address) = whole else {
            rest.push(entry);
            continue;
        };
        let bytes = entry.end - entry.start;
        match copies.last_mut() {
            Some(Planned { kind: Kind::Copy(From::Address(from)), at, bytes: copied, .. })
                if *from + *copied == address && *at + *copied == entry.start =>
            {
                *copied += bytes;
            }
            _ => {
                let kind = Kind::Copy(From::Address(address));
                copies.push(Planned { kind, at: entry.start, bytes, cost: STEP_COST });
            }
        }
    }
    let contents = Contents::new(layers, pairs, &rest, threads)?;
    let drafts = parallel::map(&rest.chunks(CHUNK).collect::<Vec<_>>(), threads, |chunk| {
        chunk.iter().map(|entry| in_parts(layers, pairs, &contents, entry)).collect::<io::Result<Vec<_>>>()
    })?;
    Ok(Drafts { copies, drafts: rest.into_iter().zip(drafts.into_iter().flatten()).collect() })
}

/// The address of an entry of a base with the same header and content under the same path. The caches are the target's
/// and the bases'.
fn whole(
    layers: &Layers<'_>,
    pairs: &Pairs<'_>,
    caches: &mut [BaseCache<'_>; 2],
    entry: &Entry,
) -> io::Result<Option<u64>> {
    let bytes = entry.end - entry.start;
    let [targets, bases] = caches;
    for id in pairs.same_path(entry) {
        work::count(1);
        let base = pairs.entry(id);
        let alike = base.end - base.start == bytes && base.content - base.start == entry.content - entry.start;
        let index = id.base as usize;
        let is_equal = alike
            && equal_as_read(
                bytes,
                &mut |buffer, at| targets.read(0, buffer, entry.start + at).map_err(|(_, error)| error),
                &mut |buffer, at| bases.read(index, buffer, base.start + at).map_err(|(_, error)| error),
            )?;
        if is_equal {
            return Ok(Some(layers.address(index, base.start)));
        }
    }
    Ok(None)
}

/// The headers of an entry, and a copy of its content if a base has that.
fn in_parts(layers: &Layers<'_>, pairs: &Pairs<'_>, contents: &Contents<'_>, entry: &Entry) -> io::Result<Draft> {
    let bytes = entry.end - entry.content;
    let found = if bytes > 0 { contents.find(entry)? } else { None };
    let known = pairs.same_path(entry).next().or(found.map(|(id, _)| id));
    let has_no_headers = known.is_none() && bytes > 0;
    let steps = match known {
        None if has_no_headers => Vec::new(),
        like => headers(layers, entry, like.map(|id| (id.base as usize, pairs.entry(id))))?,
    };
    let open = (bytes > 0).then_some(entry.content..entry.end);
    let mut draft = Draft { steps, open, changed_from: Origins::default(), has_no_headers };
    if let Some((id, bytes)) = found {
        draft.copy(From::Address(layers.address(id.base as usize, pairs.entry(id).content)), bytes);
    }
    if draft.open.is_some() {
        draft.changed_from = pairs.changed_from(entry);
    }
    draft.steps = exactly(draft.steps);
    Ok(draft)
}
