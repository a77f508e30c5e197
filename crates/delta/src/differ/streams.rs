//! The compressed streams of changed contents: found in gzip members, zip archives, xz files and the fatbins of
//! executables, paired with streams of the bases, and decompressed if recompressing gives the same bytes.
//!
//! A content has streams only if it has a counterpart in a base. Members of a zip are paired by name, then by name
//! without versions, then by extension.

use std::collections::HashSet;
use std::io;
use std::ops::Range;

use lighter_types::ReadAt;

use crate::compressed::{self, Decompressed, xz};
use crate::frame::MATERIAL_BYTES_MAX;
use crate::parallel;

use super::counterparts::{Found, counterparts};
use super::draft::Draft;
use super::fatbins;
use super::files::{BaseFiles, Entry, EntryId};
use super::gzip;
use super::search::Search;
use super::steps::Layers;
use super::zip::{self, Member};

/// Longest content of a stream. A frame has room for it, its stream and its sources.
pub const PLAIN_BYTES_MAX: u64 = MATERIAL_BYTES_MAX / 4;
/// Shorter streams are not worth their corrections.
const STREAM_BYTES_MIN: u64 = 64;
/// Longer gzip headers are not read.
const GZIP_HEADER_BYTES_MAX: u64 = 4 << 10;

const XZ_MAGIC_BYTES: u64 = 6;
/// About how many bytes of content an xz file has for each of its bytes.
const XZ_RATIO: u64 = 4;

/// A decompressed stream of the target.
pub struct Stream {
    /// Where it begins in the target.
    pub at: u64,
    pub decompressed: Decompressed,
    /// The streams that it may have been changed from: the entry, and the range in the base.
    pub from: Vec<(EntryId, Range<u64>)>,
}

/// The form of a changed content. There may be a million: most are plain, and take little.
pub enum Form {
    Plain,
    /// A gzip member: a header, a stream, a trailer.
    Gzip(Box<Stream>),
    /// A zip archive with the streams that changed, or an xz file with its first stream.
    Archive(Box<[Stream]>),
}

/// The container of a content's streams.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Container {
    Gzip,
    Zip,
    Xz,
    Fatbins,
}

/// The streams of contents.
pub struct Streams {
    /// The form of each content. One with fatbins is plain.
    pub forms: Vec<Form>,
    /// The blocks of fatbins that changed, in order, each with the content that it stands in.
    pub blocks: Vec<(usize, Stream)>,
}

/// The streams of all entries. Entries without an open content or without a counterpart are `Plain`.
///
/// Holds the contents of the streams, together at most half of [`Search::material_bytes_max`], and one more for each
/// thread.
///
/// # Errors
/// The error of a reader.
pub fn decompress(
    layers: &Layers<'_>,
    files: &BaseFiles<'_>,
    drafts: &[(&Entry, Draft)],
    search: &Search,
) -> io::Result<Streams> {
    let mut found = parallel::map(drafts, search.threads, |(entry, draft)| {
        if draft.is_open(entry) { find(layers, files, (entry, &draft.changed_from), search) } else { Ok(None) }
    })?;
    let mut left = search.material_bytes_max / 2;
    for (_, streams) in found.iter_mut().flatten() {
        streams.retain(|stream| {
            let fits = stream.plain_bytes <= left;
            left -= if fits { stream.plain_bytes } else { 0 };
            fits
        });
    }
    let all: Vec<&Found> = found.iter().flatten().flat_map(|(_, streams)| streams).collect();
    let decompressed = parallel::map(&all, search.threads, |stream| {
        let compressed = layers.read_target(stream.at.clone())?;
        Ok::<_, io::Error>(compressed::decompress(&compressed, PLAIN_BYTES_MAX as usize))
    })?;
    let mut decompressed = decompressed.into_iter();
    let mut blocks = Vec::new();
    let forms = found.into_iter().enumerate().map(|(content, found)| {
        let Some((container, found)) = found else { return Form::Plain };
        let mut streams = Vec::new();
        for (Found { at, from, .. }, decompressed) in found.into_iter().zip(decompressed.by_ref()) {
            let Some(decompressed) = decompressed else { continue };
            // A member of a zip whose stream ends before the member does is matched as it stands.
            if container != Container::Zip || decompressed.bytes as u64 == at.end - at.start {
                streams.push(Stream { at: at.start + decompressed.start as u64, decompressed, from });
            }
        }
        match streams.len() {
            0 => Form::Plain,
            _ if container == Container::Fatbins => {
                blocks.extend(streams.into_iter().map(|stream| (content, stream)));
                Form::Plain
            }
            1 if container == Container::Gzip => Form::Gzip(Box::new(streams.remove(0))),
            _ => Form::Archive(streams.into()),
        }
    });
    let forms = forms.collect();
    Ok(Streams { forms, blocks })
}

/// The streams of a content that has counterparts, and their container.
fn find(
    layers: &Layers<'_>,
    files: &BaseFiles<'_>,
    (entry, ids): (&Entry, &[EntryId]),
    search: &Search,
) -> io::Result<Option<(Container, Vec<Found>)>> {
    let content = entry.content..entry.content + entry.content_bytes;
    if ids.is_empty() || entry.content_bytes < STREAM_BYTES_MIN {
        return Ok(None);
    }
    let base = |id: &EntryId| {
        let entry = files.entry(*id);
        (*id, layers.bases[id.base as usize], entry.content..entry.content + entry.content_bytes)
    };
    let bases: Vec<(EntryId, &dyn ReadAt, Range<u64>)> = ids.iter().map(base).collect();
    let blocks = fatbins::find(layers.target, &content, &bases)?;
    if !blocks.is_empty() {
        return Ok(Some((Container::Fatbins, blocks)));
    }
    if !search.streams {
        return Ok(None);
    }
    if entry.content_bytes <= PLAIN_BYTES_MAX && is_xz(layers.target, &content)? {
        let mut from = Vec::new();
        for (id, layer, content) in bases {
            if is_xz(layer, &content)? {
                from.push((id, content));
            }
        }
        return Ok(Some((
            Container::Xz,
            vec![Found { plain_bytes: XZ_RATIO * entry.content_bytes, at: content, from }],
        )));
    }
    if entry.content_bytes <= PLAIN_BYTES_MAX
        && let Some(at) = gzip_stream(layers.target, &content)?
    {
        let mut from = Vec::new();
        for (id, layer, content) in bases {
            from.extend(gzip_stream(layer, &content)?.map(|stream| (id, stream)));
        }
        // The last four bytes of a member tell the length of its content (RFC 1952, section 2.3.1).
        let mut length = [0; 4];
        layers.target.read_exact_at(&mut length, content.end - 4)?;
        let plain_bytes = u64::from(u32::from_le_bytes(length)).clamp(entry.content_bytes, PLAIN_BYTES_MAX);
        return Ok(Some((Container::Gzip, vec![Found { at, plain_bytes, from }])));
    }
    let members = zip::members(layers.target, &content)?;
    if members.is_empty() {
        return Ok(None);
    }
    let mut base_members = Vec::new();
    for (id, layer, content) in bases {
        base_members.push((id, zip::members(layer, &content)?));
    }
    Ok(Some((Container::Zip, changed(members, &base_members))))
}

fn is_xz(layer: &dyn ReadAt, content: &Range<u64>) -> io::Result<bool> {
    let mut front = vec![0; (content.end - content.start).min(XZ_MAGIC_BYTES) as usize];
    layer.read_exact_at(&mut front, content.start)?;
    Ok(xz::is_xz(&front))
}

fn gzip_stream(layer: &dyn ReadAt, content: &Range<u64>) -> io::Result<Option<Range<u64>>> {
    let bytes = (content.end - content.start).min(GZIP_HEADER_BYTES_MAX);
    let mut front = vec![0; bytes as usize];
    layer.read_exact_at(&mut front, content.start)?;
    Ok(gzip::header_bytes(&front).map(|header| content.start + header as u64..content.end))
}

/// The members that no base has unchanged, and that have a counterpart.
fn changed(members: Vec<Member>, bases: &[(EntryId, Vec<Member>)]) -> Vec<Found> {
    let identity = |member: &Member| (member.crc, member.plain_bytes, member.stream.end - member.stream.start);
    let known: HashSet<_> = bases.iter().flat_map(|(_, base)| base.iter().map(identity)).collect();
    let fits = |member: &Member| {
        member.plain_bytes <= PLAIN_BYTES_MAX
            && (STREAM_BYTES_MIN..=PLAIN_BYTES_MAX).contains(&(member.stream.end - member.stream.start))
    };
    let kept: HashSet<_> = members.iter().map(identity).collect();
    let changed: Vec<Member> =
        members.into_iter().filter(|member| !known.contains(&identity(member)) && fits(member)).collect();
    let mut from: Vec<Vec<(EntryId, Range<u64>)>> = vec![Vec::new(); changed.len()];
    for (id, base) in bases {
        // A member that the target still has was not changed into another.
        let gone: Vec<&Member> =
            base.iter().filter(|member| !kept.contains(&identity(member)) && fits(member)).collect();
        for (from, counterpart) in from.iter_mut().zip(counterparts(&changed, &gone)) {
            from.extend(counterpart.map(|index| (*id, gone[index].stream.clone())));
        }
    }
    let with_counterpart = changed.into_iter().zip(from).filter(|(_, from)| !from.is_empty());
    with_counterpart.map(|(member, from)| Found { at: member.stream, plain_bytes: member.plain_bytes, from }).collect()
}
