//! The files in an image archive, which is a tar of an OCI layout or of `docker save`. Opening walks the tar once and
//! builds a table of contents. Reading a file seeks to its place in the tar. Nothing is unpacked. Links are followed
//! within the table only.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};

use crate::error::ImageError;
use crate::files::{Files, OpenFile, relative_path};
use crate::limits::ARCHIVE_ENTRIES_MAX;
use crate::media::LayerMedia;
use lighter_tar::{EntryKind, TarError, TarReader};

/// The most links on the way to a file. `docker save` uses one.
const LINKS_MAX: u32 = 8;

/// An image archive as [`Files`]. Holds a table of at most [`ARCHIVE_ENTRIES_MAX`] names.
#[derive(Debug)]
pub struct ArchiveFiles<R> {
    reader: R,
    entries: BTreeMap<String, Place>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Content {
        offset: u64,
        bytes: u64,
    },
    /// Another name of the table, or `None` for a link that leaves the archive.
    Link(Option<String>),
    /// Two entries have the same name. Readers could disagree about which one counts, so both are refused.
    Twice,
    /// An entry of this name is no file whose content stands in the archive as it is.
    NoFile(&'static str),
}

impl<R: Read + Seek> ArchiveFiles<R> {
    /// Reads the table of contents. `path` is the name of the archive in messages.
    ///
    /// # Errors
    /// `Unsupported` for a file that is no tar (the message names a compressed tar), `Damaged`, `TooLarge` for too many
    /// entries, `Read`.
    pub fn open(path: &str, mut reader: R) -> Result<Self, ImageError> {
        let mut first = Vec::new();
        reader.by_ref().take(512).read_to_end(&mut first).map_err(|error| ImageError::read(path, error))?;
        let end = reader.seek(SeekFrom::End(0)).map_err(|error| ImageError::read(path, error))?;
        reader.seek(SeekFrom::Start(0)).map_err(|error| ImageError::read(path, error))?;
        if let Some((found, wanted)) = compressed(&first) {
            return Err(unsupported(path, found, wanted));
        }
        let mut entries = BTreeMap::new();
        let mut tar = TarReader::seekable(io::BufReader::with_capacity(512, &mut reader));
        let mut is_first = true;
        loop {
            let entry = match tar.next_entry() {
                Ok(Some(entry)) => entry,
                Ok(None) => break,
                Err(TarError::Damaged { .. }) if is_first => {
                    return Err(unsupported(path, "a file that is no tar", "an OCI archive or a docker save archive"));
                }
                Err(error) => return Err(tar_error(path, error)),
            };
            is_first = false;
            if entry.content_offset.saturating_add(entry.content_bytes) > end {
                return Err(ImageError::damaged(path, end, "the archive ends within a file"));
            }
            if entries.len() >= ARCHIVE_ENTRIES_MAX {
                let what = format!("number of entries in {path}");
                return Err(ImageError::TooLarge { what, limit: ARCHIVE_ENTRIES_MAX as u64 });
            }
            // Nothing can ask for a name that leaves the archive.
            let Some(name) = std::str::from_utf8(&entry.path).ok().and_then(relative_path) else { continue };
            let place = match entry.kind {
                EntryKind::File => Place::Content { offset: entry.content_offset, bytes: entry.content_bytes },
                EntryKind::SymbolicLink => Place::Link(resolve_link(name, &entry.link)),
                EntryKind::HardLink => Place::Link(resolve_link("", &entry.link)),
                EntryKind::SparseFile => Place::NoFile("a sparse file (make the archive without --sparse)"),
                EntryKind::CharacterDevice | EntryKind::BlockDevice => Place::NoFile("a device"),
                EntryKind::Fifo => Place::NoFile("a pipe"),
                EntryKind::Folder | EntryKind::GlobalHeader | EntryKind::Other(_) => continue,
            };
            entries.entry(name.to_owned()).and_modify(|place| *place = Place::Twice).or_insert(place);
        }
        Ok(Self { reader, entries })
    }

    fn find(&self, path: &str) -> io::Result<Option<(u64, u64)>> {
        let mut name = path;
        for _ in 0..=LINKS_MAX {
            let problem = match self.entries.get(name) {
                None if name == path => return Ok(None),
                None => format!("the file is a link to {name:?}, which is missing"),
                Some(Place::Content { offset, bytes }) => return Ok(Some((*offset, *bytes))),
                Some(Place::Twice) => "the archive has two files of this name".to_owned(),
                Some(Place::NoFile(what)) => format!("it is {what}"),
                Some(Place::Link(None)) => "the file is a link that leaves the archive".to_owned(),
                Some(Place::Link(Some(target))) => {
                    name = target;
                    continue;
                }
            };
            return Err(ImageError::damaged(path, 0, problem).into());
        }
        Err(ImageError::damaged(path, 0, format!("more than {LINKS_MAX} links lead to the file")).into())
    }
}

impl<R: Read + Seek + Send> Files for ArchiveFiles<R> {
    fn open(&mut self, path: &str) -> io::Result<Option<OpenFile<'_>>> {
        let Some((offset, bytes)) = self.find(path)? else { return Ok(None) };
        self.reader.seek(SeekFrom::Start(offset))?;
        Ok(Some(OpenFile { reader: Box::new((&mut self.reader).take(bytes)), bytes }))
    }
}

/// The name in the archive to which a link at `from` points; `None` if the link leaves the archive.
fn resolve_link(from: &str, target: &[u8]) -> Option<String> {
    let target = std::str::from_utf8(target).ok()?;
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            ".." => drop(parts.pop()?),
            "." => {}
            part => parts.push(part),
        }
    }
    let name = parts.join("/");
    relative_path(&name).map(str::to_owned)
}

/// A compressed archive by its first bytes, and what to do with it.
fn compressed(first: &[u8]) -> Option<(&'static str, &'static str)> {
    let plain = match first {
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => ("an xz-compressed archive", "an uncompressed tar (unxz it)"),
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => ("a bzip2-compressed archive", "an uncompressed tar (bunzip2 it)"),
        [b'P', b'K', 3 | 5, 4 | 6, ..] => ("a zip archive", "an uncompressed tar (unzip it, and import the folder)"),
        _ => match LayerMedia::from_first_bytes(first) {
            LayerMedia::Gzip => ("a gzip-compressed archive", "an uncompressed tar (gunzip it)"),
            LayerMedia::Zstd => ("a zstd-compressed archive", "an uncompressed tar (unzstd it)"),
            LayerMedia::Plain => return None,
        },
    };
    Some(plain)
}

fn unsupported(path: &str, found: &str, wanted: &'static str) -> ImageError {
    ImageError::Unsupported { what: path.to_owned(), found: found.to_owned(), wanted }
}

fn tar_error(path: &str, error: TarError) -> ImageError {
    match error {
        TarError::Read { source, .. } => ImageError::read(path, source),
        TarError::Damaged { offset, problem } => ImageError::damaged(path, offset, problem),
        TarError::TooLarge { what, limit, offset } => {
            ImageError::TooLarge { what: format!("{what} at byte {offset} of {path}"), limit }
        }
    }
}

#[cfg(test)]
mod tests;
