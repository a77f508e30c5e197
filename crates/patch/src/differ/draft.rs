//! What can be told of an entry of the target by itself: its copies, its headers, and what is left to be matched.

use std::io;
use std::ops::Range;

use crate::delta::Apart;

use super::files::{Entry, equal};
use super::gzip;
use super::pairs::Pairs;
use super::plan::Search;
use super::steps::{From, Kind, Layers, Planned, STEP_COST, push};

/// A range to be matched; with what it holds, if it is a gzip member.
pub(super) type Open = Option<(Range<u64>, Option<(u64, Apart)>)>;

/// What can be told of an entry by itself: its copies and headers, and the range that is to be matched.
pub(super) fn draft(
    layers: &Layers<'_>,
    pairs: &Pairs<'_>,
    entry: &Entry,
    search: &Search,
) -> io::Result<(Vec<Planned>, Open)> {
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
            return Ok((vec![Planned { kind: Kind::Copy(from), at: entry.start, bytes, cost: STEP_COST }], None));
        }
    }
    headers(layers, pairs, entry, &mut steps)?;
    let bytes = entry.end - entry.content;
    if bytes == 0 {
        return Ok((steps, None));
    }
    for id in pairs.maybe_equal(entry) {
        let base = pairs.entry(id);
        // With the padding, if that is the same too.
        for bytes in [bytes, entry.content_bytes] {
            if base.end - base.content >= bytes
                && equal((target, entry.content), (layers.bases[id.base], base.content), bytes)?
            {
                let from = From::Address(layers.address(id.base, base.content));
                steps.push(Planned { kind: Kind::Copy(from), at: entry.content, bytes, cost: STEP_COST });
                let rest = entry.content + bytes..entry.end;
                return Ok((steps, (!rest.is_empty()).then_some((rest, None))));
            }
        }
    }
    let gzip =
        if search.gzip && !pairs.changed_from(entry).is_empty() { gzip::take_apart(layers, entry)? } else { None };
    Ok((steps, Some((entry.content..entry.end, gzip))))
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
