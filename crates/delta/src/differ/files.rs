//! Cuts a layer into the entries of its tar, each a header and a content, and the end behind the last.
//!
//! A layer that is no tar, and the rest of a tar behind damage, is one entry without a header. Entries cover a tar
//! exactly.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use lighter_tar::{BLOCK_BYTES, TarReader};
use lighter_types::{File, ReadAt};

use crate::parallel;

use super::steps::Layers;

/// An entry of a layer. Offsets count from the layer's start; each part begins where the one before ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub path: Vec<u8>,
    /// Where its header begins. The header is a multiple of blocks long, and empty if this is no entry of a tar.
    pub start: u64,
    pub content: u64,
    pub content_bytes: u64,
    /// Where the padding behind its content ends.
    pub end: u64,
}

impl Entry {
    fn without_header(file: &File) -> Self {
        let end = (file.at + file.bytes).next_multiple_of(BLOCK_BYTES);
        Self { path: file.path.clone(), start: file.at, content: file.at, content_bytes: file.bytes, end }
    }
}

/// An entry of a base.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryId {
    pub base: u32,
    pub entry: u32,
}

/// The entries of a target and of its bases.
pub struct Files {
    pub target: Vec<Entry>,
    pub bases: Vec<Vec<Entry>>,
}

impl Files {
    /// # Errors
    /// The error of a reader.
    pub fn of(layers: &Layers<'_>, threads: usize) -> io::Result<Self> {
        let all: Vec<&dyn ReadAt> = layers.bases.iter().copied().chain([layers.target]).collect();
        let mut bases = parallel::map(&all, threads, |layer| entries(*layer))?;
        Ok(Self { target: bases.pop().unwrap_or_default(), bases })
    }
}

/// The files of the bases, after those of the target were drafted.
#[derive(Clone)]
pub struct BaseFiles<'a> {
    pub entries: &'a [Vec<Entry>],
    /// Entries with content whose paths are not in the target: removed, or renamed.
    pub left_over: Arc<[EntryId]>,
}

impl<'a> BaseFiles<'a> {
    pub fn entry(&self, id: EntryId) -> &'a Entry {
        &self.entries[id.base as usize][id.entry as usize]
    }
}

/// Cuts a layer into entries: the entries of a tar, or the files that the layer lists ([`ReadAt::files`]).
///
/// # Errors
/// The error of the layer's reader. No content of a layer is an error.
fn entries(layer: &dyn ReadAt) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    each_entry(layer, &mut |entry| {
        entries.push(entry);
        Ok(())
    })?;
    // There may be a million of them.
    entries.shrink_to_fit();
    Ok(entries)
}

/// Cuts a layer into entries, as [`entries`], and gives them to `take` one by one, in order.
///
/// # Errors
/// The error of the layer's reader, and of `take`.
pub fn each_entry(layer: &dyn ReadAt, take: &mut dyn FnMut(Entry) -> io::Result<()>) -> io::Result<()> {
    if let Some(files) = layer.files() {
        return files.iter().map(Entry::without_header).try_for_each(take);
    }
    let bytes = layer.len().0;
    let mut tar = TarReader::seekable(Buffered::new(layer));
    let mut end = 0;
    loop {
        match tar.next_entry() {
            Ok(Some(entry)) => {
                let content_end = entry.content_offset + entry.content_bytes;
                if content_end > bytes {
                    break;
                }
                end = content_end.next_multiple_of(BLOCK_BYTES).min(bytes);
                take(Entry {
                    path: entry.path,
                    start: entry.header_offset,
                    content: entry.content_offset,
                    content_bytes: entry.content_bytes,
                    end,
                })?;
            }
            Ok(None) | Err(lighter_tar::TarError::Damaged { .. } | lighter_tar::TarError::TooLarge { .. }) => break,
            Err(lighter_tar::TarError::Read { source, .. }) => return Err(source),
        }
    }
    if end < bytes {
        take(Entry { path: Vec::new(), start: end, content: end, content_bytes: bytes - end, end: bytes })?;
    }
    Ok(())
}

/// Reads a layer by position with a small buffer: the walk reads only headers. Where headers stand close together, the
/// buffer grows.
struct Buffered<'a> {
    layer: &'a dyn ReadAt,
    position: u64,
    start: u64,
    buffer: Vec<u8>,
}

const BUFFER_BYTES_MIN: u64 = 4 << 10;
const BUFFER_BYTES_MAX: u64 = 64 << 10;

impl<'a> Buffered<'a> {
    fn new(layer: &'a dyn ReadAt) -> Self {
        Self { layer, position: 0, start: 0, buffer: Vec::new() }
    }
}

impl Read for Buffered<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = self.layer.len().0.saturating_sub(self.position);
        if left == 0 || out.is_empty() {
            return Ok(0);
        }
        let inside = self.position.checked_sub(self.start).filter(|&offset| offset < self.buffer.len() as u64);
        let offset = if let Some(offset) = inside {
            offset as usize
        } else {
            let held = self.buffer.len() as u64;
            let is_near = held > 0 && (self.start..=self.start + 2 * held).contains(&self.position);
            let wanted = if is_near { (2 * held).min(BUFFER_BYTES_MAX) } else { BUFFER_BYTES_MIN };
            self.buffer.resize(left.min(wanted) as usize, 0);
            self.start = self.position;
            self.layer.read_exact_at(&mut self.buffer, self.position)?;
            0
        };
        let count = out.len().min(self.buffer.len() - offset);
        out[..count].copy_from_slice(&self.buffer[offset..offset + count]);
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for Buffered<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.layer.len().0.checked_add_signed(by),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

/// Whether `bytes` bytes are the same in two layers.
///
/// # Errors
/// The error of the readers.
pub fn equal(one: (&dyn ReadAt, u64), other: (&dyn ReadAt, u64), bytes: u64) -> io::Result<bool> {
    let read = |(layer, start): (&dyn ReadAt, u64), buffer: &mut [u8], at| layer.read_exact_at(buffer, start + at);
    equal_as_read(bytes, &mut |buffer, at| read(one, buffer, at), &mut |buffer, at| read(other, buffer, at))
}

/// Fills a buffer with bytes from a place on.
pub type Fill<'a> = dyn FnMut(&mut [u8], u64) -> io::Result<()> + 'a;

/// Whether two readers give the same `bytes` bytes.
///
/// # Errors
/// The error of the readers.
pub fn equal_as_read(bytes: u64, one: &mut Fill<'_>, other: &mut Fill<'_>) -> io::Result<bool> {
    const STEP: u64 = 64 << 10;
    let mut buffers = (vec![0; bytes.min(STEP) as usize], vec![0; bytes.min(STEP) as usize]);
    let mut done = 0;
    // The first step is short: most differences come early.
    let mut step = 512.min(bytes);
    while done < bytes {
        let (a, b) = (&mut buffers.0[..step as usize], &mut buffers.1[..step as usize]);
        one(a, done)?;
        other(b, done)?;
        if a != b {
            return Ok(false);
        }
        done += step;
        step = STEP.min(bytes - done);
    }
    Ok(true)
}

/// The hash of an entry's content.
///
/// # Errors
/// The error of the reader.
pub fn hash(layer: &dyn ReadAt, entry: &Entry) -> io::Result<blake3::Hash> {
    hash_as_read(entry.content_bytes, &mut |buffer, at| layer.read_exact_at(buffer, entry.content + at))
}

/// The hash of `bytes` bytes that a reader gives.
///
/// # Errors
/// The error of the reader.
pub fn hash_as_read(bytes: u64, read: &mut Fill<'_>) -> io::Result<blake3::Hash> {
    const STEP: u64 = 256 << 10;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = Vec::new();
    for at in (0..bytes).step_by(STEP as usize) {
        buffer.resize(STEP.min(bytes - at) as usize, 0);
        read(&mut buffer, at)?;
        hasher.update(&buffer);
    }
    Ok(hasher.finalize())
}
