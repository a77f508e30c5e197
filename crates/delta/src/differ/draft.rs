//! What can be told of an entry of the target by itself: its copies, its headers, and what is left to be matched.

use std::io;
use std::ops::Range;

use lighter_types::broken;

use super::files::{Entry, equal};
use super::pairs::Pairs;
use super::steps::{From, Kind, Layers, Planned, STEP_COST, push};

/// What can be told of an entry by itself.
pub struct Draft {
    /// Its copies and headers.
    pub steps: Vec<Planned>,
    /// What is left to be matched.
    pub open: Option<Range<u64>>,
}

impl Draft {
    /// Whether no base has the entry's content.
    pub fn is_open(&self, entry: &Entry) -> bool {
        self.open.as_ref().is_some_and(|open| open.start == entry.content)
    }

    /// Makes the front of what is left a copy.
    pub fn copy(&mut self, from: From, bytes: u64) {
        let Some(open) = &mut self.open else { return broken("a copy of a content that has its steps") };
        push(&mut self.steps, Planned { kind: Kind::Copy(from), at: open.start, bytes, cost: STEP_COST });
        open.start += bytes;
        if open.is_empty() {
            self.open = None;
        }
    }
}

/// What can be told of an entry by itself: its copies and headers, and the range that is to be matched.
pub fn draft(layers: &Layers<'_>, pairs: &Pairs<'_>, entry: &Entry) -> io::Result<Draft> {
    let target = layers.target;
    let mut steps = Vec::new();
    let same_path = pairs.same_path(entry);
    for &id in same_path {
        let base = pairs.entry(id);
        let alike = base.end - base.start == entry.end - entry.start
            && base.content - base.start == entry.content - entry.start;
        if alike && equal((target, entry.start), (layers.bases[id.base], base.start), entry.end - entry.start)? {
            let from = From::Address(layers.address(id.base, base.start));
            let bytes = entry.end - entry.start;
            let steps = vec![Planned { kind: Kind::Copy(from), at: entry.start, bytes, cost: STEP_COST }];
            return Ok(Draft { steps, open: None });
        }
    }
    headers(layers, pairs, entry, &mut steps)?;
    let bytes = entry.end - entry.content;
    let mut draft = Draft { steps, open: (bytes > 0).then_some(entry.content..entry.end) };
    if bytes == 0 {
        return Ok(draft);
    }
    for id in pairs.maybe_equal(entry) {
        let base = pairs.entry(id);
        // With the padding, if that is the same too.
        for bytes in [bytes, entry.content_bytes] {
            if base.end - base.content >= bytes
                && equal((target, entry.content), (layers.bases[id.base], base.content), bytes)?
            {
                draft.copy(From::Address(layers.address(id.base, base.content)), bytes);
                return Ok(draft);
            }
        }
    }
    Ok(draft)
}

/// The header blocks of an entry, each compared with its counterpart's.
fn headers(layers: &Layers<'_>, pairs: &Pairs<'_>, entry: &Entry, steps: &mut Vec<Planned>) -> io::Result<()> {
    let blocks = |entry: &Entry| (entry.content - entry.start) / 512;
    let like = pairs.same_path(entry).first().map(|&id| (id, pairs.entry(id)));
    for block in 0..blocks(entry) {
        let at = entry.start + 512 * block;
        // From the end: the last one is the entry's own, those before it are extensions.
        let back = blocks(entry) - block;
        let like = like.filter(|(_, base)| blocks(base) >= back).map(|(id, base)| (id.base, base.content - 512 * back));
        let kind = match like {
            None => Kind::NewHeader,
            Some((base, offset)) => {
                let address = layers.address(base, offset);
                if equal((layers.target, at), (layers.bases[base], offset), 512)? {
                    Kind::Copy(From::Address(address))
                } else {
                    Kind::Header(address)
                }
            }
        };
        let cost = if kind == Kind::NewHeader { 40 } else { 8 };
        push(steps, Planned { kind, at, bytes: 512, cost });
    }
    Ok(())
}
