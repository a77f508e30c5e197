//! Walks the entries of a tar: where each begins, what it is called, what kind it is, where its content lies. It
//! unpacks nothing and follows nothing: paths and links are bytes to show and to match, however hostile.
//!
//! Sources: POSIX.1-2017 pax, "ustar Interchange Format" and "pax Header Block"; GNU tar manual, "Basic Tar Format"
//! (long names, old sparse headers, base-256 numbers). Where they leave room, as Go's archive/tar does, since Docker
//! and containerd read layers with that: links, folders and devices have no content whatever their size says.
//!
//! A layer is never refused for what this finds: whoever walks it decides what a [`TarError`] means.

#![cfg_attr(not(test), deny(clippy::float_arithmetic))]
#![deny(clippy::iter_over_hash_type, clippy::wildcard_enum_match_arm)]

use std::io::{self, Read, Seek, SeekFrom};

mod entry;
mod header;
mod pax;
#[cfg(test)]
mod tests;

pub use entry::{entry, seal};
pub use header::{HeaderBlock, header_block};

use header::Header;
use pax::PaxRecords;

/// Bytes of a block; headers and contents begin at multiples of it.
pub const BLOCK_BYTES: u64 = 512;
/// The longest path or link target that is read.
pub const NAME_BYTES_MAX: u64 = 64 << 10;
/// The largest pax header that is read; Go's archive/tar has the same limit (`maxSpecialFileSize`).
pub const PAX_BYTES_MAX: u64 = 1 << 20;
/// The most blocks of an old GNU sparse map: 21 pieces each, so 86,000 pieces.
const SPARSE_BLOCKS_MAX: u64 = 4096;
/// Most headers before an entry's own: a long name, a long link, a pax header, and the same once more.
const PREFIXES_MAX: u32 = 16;

/// The kind of file that an entry makes when unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryKind {
    File,
    /// A file with holes; its stored content is a map and the pieces, not the file's bytes.
    SparseFile,
    HardLink,
    SymbolicLink,
    Folder,
    CharacterDevice,
    BlockDevice,
    Fifo,
    /// Headers that hold for all entries that follow (pax `g`).
    GlobalHeader,
    /// Any other type flag.
    Other(u8),
}

/// One entry. Offsets count from the start of the tar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TarEntry {
    /// As it stands in the tar, from whichever header gives it. At most [`NAME_BYTES_MAX`] bytes of anything.
    pub path: Vec<u8>,
    pub kind: EntryKind,
    /// The target of a link; empty for everything else.
    pub link: Vec<u8>,
    /// Where the entry's first header begins, long-name and pax headers included.
    pub header_offset: u64,
    /// Where its content begins.
    pub content_offset: u64,
    /// Length of its content as stored, without padding.
    pub content_bytes: u64,
}

/// Why a walk ended before the tar did.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    #[error("cannot read the tar at byte {offset}")]
    Read { offset: u64, source: io::Error },
    #[error("no tar entry at byte {offset}: {problem}")]
    Damaged { offset: u64, problem: &'static str },
    #[error("tar entry at byte {offset} has a {what} over the limit of {limit} bytes")]
    TooLarge { offset: u64, what: &'static str, limit: u64 },
}

/// Walks a tar from its start to its end marker. Holds one entry's names and headers at a time, about 1.2 MiB at most.
pub struct TarReader<R> {
    reader: R,
    skip: fn(&mut R, u64) -> io::Result<()>,
    /// Where `reader` stands.
    offset: u64,
    /// Where the current entry's content ends.
    content_end: u64,
    done: bool,
}

impl<R: Read> TarReader<R> {
    /// Walks a stream; contents are read and dropped.
    pub fn new(reader: R) -> Self {
        Self { reader, skip: skip_by_reading, offset: 0, content_end: 0, done: false }
    }

    /// The next entry, or `None` after the last: at a block of zeros, or where the bytes end between entries. The
    /// reader ignores the bytes behind a block of zeros.
    ///
    /// # Errors
    /// [`TarError`]; the walk is over then, and further calls give `None`.
    pub fn next_entry(&mut self) -> Result<Option<TarEntry>, TarError> {
        if self.done {
            return Ok(None);
        }
        let result = self.read_entry();
        self.done = !matches!(result, Ok(Some(_)));
        result
    }

    /// The bytes so far: after the last entry, where the end marker begins or would begin, one block further if it was
    /// there.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads the current entry's content; ends with it.
    ///
    /// # Errors
    /// The error of the underlying reader; `UnexpectedEof` if the tar ends early.
    pub fn read_content(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.content_end.saturating_sub(self.offset);
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        let count = self.reader.read(&mut buffer[..wanted])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.offset += count as u64;
        Ok(count)
    }

    fn read_entry(&mut self) -> Result<Option<TarEntry>, TarError> {
        self.skip_to_block()?;
        let header_offset = self.offset;
        let mut long_path = None;
        let mut long_link = None;
        let mut pax = PaxRecords::default();
        for _ in 0..PREFIXES_MAX {
            let at = self.offset;
            let Some(header) = self.read_header()? else {
                return if at == header_offset { Ok(None) } else { Err(damaged(at, "headers without their entry")) };
            };
            match header.type_flag() {
                b'L' => long_path = Some(self.read_name(&header, at)?),
                b'K' => long_link = Some(self.read_name(&header, at)?),
                b'x' => {
                    let bytes = self.read_special(&header, at, "pax header", PAX_BYTES_MAX)?;
                    pax = PaxRecords::parse(&bytes).ok_or_else(|| damaged(at, "malformed pax records"))?;
                }
                _ => {
                    let names = Names { long_path, long_link, pax };
                    return self.finish_entry(&header, header_offset, at, names).map(Some);
                }
            }
        }
        Err(damaged(header_offset, "too many headers before one entry"))
    }

    fn finish_entry(
        &mut self,
        header: &Header,
        header_offset: u64,
        at: u64,
        names: Names,
    ) -> Result<TarEntry, TarError> {
        let Names { long_path, long_link, pax } = names;
        let stored = match pax.size {
            Some(size) => size,
            None => header.size().ok_or_else(|| damaged(at, "size is not a number"))?,
        };
        if header.has_sparse_extension() {
            self.skip_sparse_map(at)?;
        }
        let is_sparse = pax.is_sparse;
        let path = pax.sparse_path.or(pax.path).or(long_path).unwrap_or_else(|| header.path());
        let kind = header.kind(&path, is_sparse);
        let link = if matches!(kind, EntryKind::HardLink | EntryKind::SymbolicLink) {
            pax.link.or(long_link).unwrap_or_else(|| header.link())
        } else {
            Vec::new()
        };
        let content_bytes = if kind.has_content() { stored } else { 0 };
        self.content_end = self
            .offset
            .checked_add(content_bytes)
            .filter(|end| end.checked_next_multiple_of(BLOCK_BYTES).is_some())
            .ok_or_else(|| damaged(at, "size is beyond all files"))?;
        if path.len() as u64 > NAME_BYTES_MAX || link.len() as u64 > NAME_BYTES_MAX {
            return Err(TarError::TooLarge { offset: at, what: "name", limit: NAME_BYTES_MAX });
        }
        Ok(TarEntry { path, kind, link, header_offset, content_offset: self.offset, content_bytes })
    }

    /// To the block after the current entry's content. The last content's padding may be cut off.
    fn skip_to_block(&mut self) -> Result<(), TarError> {
        let content = self.content_end.saturating_sub(self.offset);
        let offset = self.offset;
        (self.skip)(&mut self.reader, content).map_err(|source| read_error(offset, source))?;
        self.offset += content;
        let padding = self.offset.next_multiple_of(BLOCK_BYTES) - self.offset;
        let mut block = [0; BLOCK_BYTES as usize];
        let count = self.fill(&mut block[..padding as usize])?;
        self.done |= (count as u64) < padding;
        Ok(())
    }

    /// The header at the current block; `None` for a block of zeros and for the end of the bytes.
    fn read_header(&mut self) -> Result<Option<Header>, TarError> {
        let at = self.offset;
        let mut block = [0; BLOCK_BYTES as usize];
        match self.fill(&mut block)? {
            0 => return Ok(None),
            512 if block.iter().all(|&byte| byte == 0) => return Ok(None),
            512 => {}
            _ => return Err(damaged(at, "the bytes end within a header")),
        }
        Header::new(block).map(Some).ok_or_else(|| damaged(at, "wrong header checksum"))
    }

    fn read_name(&mut self, header: &Header, at: u64) -> Result<Vec<u8>, TarError> {
        let mut name = self.read_special(header, at, "name", NAME_BYTES_MAX)?;
        let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
        name.truncate(end);
        Ok(name)
    }

    /// The content of a header that describes another; leaves the reader at the next block.
    fn read_special(&mut self, header: &Header, at: u64, what: &'static str, limit: u64) -> Result<Vec<u8>, TarError> {
        let size = header.size().ok_or_else(|| damaged(at, "size is not a number"))?;
        if size > limit {
            return Err(TarError::TooLarge { offset: at, what, limit });
        }
        let padded = size.next_multiple_of(BLOCK_BYTES);
        let mut bytes = vec![0; usize::try_from(padded).unwrap_or(0)];
        if (self.fill(&mut bytes)? as u64) < padded {
            return Err(damaged(at, "the bytes end within a header"));
        }
        bytes.truncate(usize::try_from(size).unwrap_or(0));
        Ok(bytes)
    }

    /// Passes the blocks that continue an old GNU sparse map.
    fn skip_sparse_map(&mut self, at: u64) -> Result<(), TarError> {
        let mut block = [0; BLOCK_BYTES as usize];
        for _ in 0..SPARSE_BLOCKS_MAX {
            if self.fill(&mut block)? < block.len() {
                return Err(damaged(at, "the bytes end within a sparse map"));
            }
            if block[header::SPARSE_MORE_IN_MAP] == 0 {
                return Ok(());
            }
        }
        Err(TarError::TooLarge { offset: at, what: "sparse map", limit: SPARSE_BLOCKS_MAX * BLOCK_BYTES })
    }

    /// Reads until `buffer` is full or the bytes end; how many there were.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, TarError> {
        let mut count = 0;
        while count < buffer.len() {
            match self.reader.read(&mut buffer[count..]) {
                Ok(0) => break,
                Ok(more) => count += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(read_error(self.offset + count as u64, source)),
            }
        }
        self.offset += count as u64;
        Ok(count)
    }
}

impl<R: Read + Seek> TarReader<R> {
    /// Walks a file, from where it stands; contents are skipped by seeking, so the end of the last one is not checked.
    pub fn seekable(reader: R) -> Self {
        Self { reader, skip: skip_by_seeking, offset: 0, content_end: 0, done: false }
    }
}

impl EntryKind {
    fn has_content(self) -> bool {
        matches!(self, Self::File | Self::SparseFile | Self::GlobalHeader | Self::Other(_))
    }
}

/// The fields of an entry from the headers before its own.
struct Names {
    long_path: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    pax: PaxRecords,
}

fn damaged(offset: u64, problem: &'static str) -> TarError {
    TarError::Damaged { offset, problem }
}

fn read_error(offset: u64, source: io::Error) -> TarError {
    if source.kind() == io::ErrorKind::UnexpectedEof {
        return damaged(offset, "the bytes end within a file");
    }
    TarError::Read { offset, source }
}

fn skip_by_reading<R: Read>(reader: &mut R, bytes: u64) -> io::Result<()> {
    match io::copy(&mut reader.by_ref().take(bytes), &mut io::sink())? {
        count if count == bytes => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn skip_by_seeking<R: Read + Seek>(reader: &mut R, bytes: u64) -> io::Result<()> {
    match i64::try_from(bytes) {
        Ok(0) => Ok(()),
        Ok(bytes) => reader.seek(SeekFrom::Current(bytes)).map(drop),
        Err(_) => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
