//! A tar compressed at rest: zstd frames of [`FRAME_BYTES`] of the tar each, and a table of where they end. Any
//! position is read by decoding the frames around it, and the last frames read stay in memory.
//!
//! The table stands in a skippable frame at the end (RFC 8878, section 3.1.2), so that `zstd -dc` gives the tar. Its
//! bytes are in docs/STORE.md. The sha256 of the table shows a damaged one; the frames themselves are checked by
//! whoever checks the layer's sha256.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use lighter_types::Bytes;
use sha2::{Digest, Sha256};

/// The content of a frame. Less costs bytes (a frame begins with an empty window), more costs time for a short read.
const FRAME_BYTES: u64 = 128 << 10;
/// 0.7 GB of real layers take 0.37 of their tars at this level (docs/decisions/0027-whole-layers.md).
const LEVEL: i32 = 3;
/// Frames that stay in memory for each reader: 2 MiB.
const CACHED_FRAMES: usize = 16;
/// A layer of 64 GiB.
const FRAMES_MAX: u64 = 1 << 19;

/// The first bytes of the footer; the last two digits are the version.
const PACKED_MAGIC: [u8; 8] = *b"LTRTAR01";
const SKIPPABLE_MAGIC: [u8; 4] = 0x184d_2a5e_u32.to_le_bytes();
/// Magic, bytes of the tar, sha256 of all before it in the skippable frame.
const FOOTER_BYTES: usize = 8 + 8 + 32;

/// Writes a tar in frames.
pub(crate) struct PackedWriter<W> {
    out: W,
    frame: Vec<u8>,
    ends: Vec<u64>,
    tar_bytes: u64,
}

impl<W: Write> PackedWriter<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, frame: Vec::with_capacity(FRAME_BYTES as usize), ends: Vec::new(), tar_bytes: 0 }
    }

    /// Appends bytes of the tar.
    ///
    /// # Errors
    /// Those of the writer beneath; a frame that does not decode to what it was made of.
    pub(crate) fn append(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let count = bytes.len().min(FRAME_BYTES as usize - self.frame.len());
            let (piece, rest) = bytes.split_at(count);
            self.frame.extend_from_slice(piece);
            if self.frame.len() as u64 == FRAME_BYTES {
                self.end_frame()?;
            }
            bytes = rest;
        }
        Ok(())
    }

    /// The bytes of the tar, and of the file so far.
    pub(crate) fn written(&self) -> (u64, u64) {
        (self.tar_bytes, self.ends.last().copied().unwrap_or_default())
    }

    fn end_frame(&mut self) -> io::Result<()> {
        let packed = zstd::bulk::compress(&self.frame, LEVEL)?;
        // The packed file takes the place of the tar, so it must give it back.
        if zstd::bulk::decompress(&packed, self.frame.len())? != self.frame {
            return Err(io::Error::other("zstd decodes a frame to other bytes"));
        }
        self.out.write_all(&packed)?;
        self.tar_bytes += self.frame.len() as u64;
        self.ends.push(self.written().1 + packed.len() as u64);
        self.frame.clear();
        Ok(())
    }

    /// Writes the last frame and the table.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub(crate) fn finish(mut self) -> io::Result<W> {
        if !self.frame.is_empty() {
            self.end_frame()?;
        }
        let mut table: Vec<u8> = self.ends.iter().flat_map(|end| end.to_le_bytes()).collect();
        table.extend(PACKED_MAGIC);
        table.extend(self.tar_bytes.to_le_bytes());
        let sha256 = Sha256::digest(&table);
        table.extend(sha256);
        self.out.write_all(&SKIPPABLE_MAGIC)?;
        self.out.write_all(&(table.len() as u32).to_le_bytes())?;
        self.out.write_all(&table)?;
        Ok(self.out)
    }
}

/// A packed tar, read by position.
pub(crate) struct PackedFile {
    file: File,
    ends: Vec<u64>,
    tar_bytes: u64,
    /// The latest at the back.
    cache: Mutex<VecDeque<(usize, Arc<Vec<u8>>)>>,
}

impl PackedFile {
    /// Reads the table.
    ///
    /// # Errors
    /// `InvalidData`, with what is wrong; what the disk says.
    pub(crate) fn open(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        let footer_at = length.checked_sub(FOOTER_BYTES as u64).ok_or_else(|| damaged("shorter than its footer"))?;
        let mut footer = [0; FOOTER_BYTES];
        file.read_exact_at(&mut footer, footer_at)?;
        let (head, sha256) = footer.split_at(16);
        let tar_bytes =
            head.strip_prefix(&PACKED_MAGIC).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
        let tar_bytes = tar_bytes.ok_or_else(|| damaged("no packed tar"))?;
        let frames = tar_bytes.div_ceil(FRAME_BYTES);
        let table_at = footer_at.checked_sub(8 * frames).filter(|_| frames <= FRAMES_MAX);
        let table_at = table_at.ok_or_else(|| damaged("a table that does not fit"))?;
        let mut table = vec![0; 8 * frames as usize];
        file.read_exact_at(&mut table, table_at)?;
        let found = Sha256::new().chain_update(&table).chain_update(head).finalize();
        if found[..] != *sha256 {
            return Err(damaged("a table with another sha256"));
        }
        let ends =
            table.chunks_exact(8).map(|end| end.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)));
        let ends: Vec<u64> = ends.collect();
        let is_sorted = ends.windows(2).all(|pair| pair[0] < pair[1]);
        if !is_sorted || ends.last().copied().unwrap_or_default() + 8 != table_at {
            return Err(damaged("a table of other frames"));
        }
        Ok(Self { file, ends, tar_bytes, cache: Mutex::default() })
    }

    pub(crate) fn tar_bytes(&self) -> Bytes {
        Bytes(self.tar_bytes)
    }

    /// Fills `buffer` with the tar's bytes from `offset` on.
    ///
    /// # Errors
    /// `UnexpectedEof` beyond the tar; `InvalidData` for a damaged frame; what the disk says.
    pub(crate) fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.tar_bytes);
        end.ok_or(io::ErrorKind::UnexpectedEof)?;
        while !buffer.is_empty() {
            let frame = self.frame((offset / FRAME_BYTES) as usize)?;
            let within = &frame[(offset % FRAME_BYTES) as usize..];
            let count = within.len().min(buffer.len());
            let (filled, rest) = std::mem::take(&mut buffer).split_at_mut(count);
            filled.copy_from_slice(&within[..count]);
            (buffer, offset) = (rest, offset + count as u64);
        }
        Ok(())
    }

    /// The content of a frame.
    fn frame(&self, index: usize) -> io::Result<Arc<Vec<u8>>> {
        let cached = |cache: &VecDeque<(usize, Arc<Vec<u8>>)>| {
            cache.iter().find(|(held, _)| *held == index).map(|(_, content)| content.clone())
        };
        if let Some(content) = cached(&self.cache.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(content);
        }
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        let mut packed = vec![0; (self.ends[index] - start) as usize];
        self.file.read_exact_at(&mut packed, start)?;
        let wanted = (self.tar_bytes - index as u64 * FRAME_BYTES).min(FRAME_BYTES) as usize;
        let content = zstd::bulk::decompress(&packed, wanted).map_err(|_| damaged("a frame that does not decode"))?;
        if content.len() != wanted {
            return Err(damaged("a frame of another length"));
        }
        let content = Arc::new(content);
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have read the same frame meanwhile.
        if cached(&cache).is_none() {
            cache.push_back((index, content.clone()));
            if cache.len() > CACHED_FRAMES {
                cache.pop_front();
            }
        }
        Ok(content)
    }
}

/// A layer's tar in one of its two forms.
pub(crate) enum Tar {
    /// The file is the tar, and has this length.
    Plain(File, Bytes),
    Packed(PackedFile),
}

impl Tar {
    /// Opens a file of the folder of layers: its name tells the form.
    ///
    /// # Errors
    /// As [`PackedFile::open`].
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        if path.extension().is_some() {
            return PackedFile::open(file).map(Self::Packed);
        }
        let bytes = Bytes(file.metadata()?.len());
        Ok(Self::Plain(file, bytes))
    }

    pub(crate) fn bytes(&self) -> Bytes {
        match self {
            Self::Plain(_, bytes) => *bytes,
            Self::Packed(packed) => packed.tar_bytes(),
        }
    }

    /// As [`PackedFile::read_exact_at`].
    pub(crate) fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Self::Plain(file, _) => file.read_exact_at(buffer, offset),
            Self::Packed(packed) => packed.read_exact_at(buffer, offset),
        }
    }

    /// Reads from the first byte to the last.
    pub(crate) fn stream(&self) -> impl Read + '_ {
        TarStream { tar: self, offset: 0 }
    }
}

struct TarStream<'a> {
    tar: &'a Tar,
    offset: u64,
}

impl Read for TarStream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.tar.bytes().0.saturating_sub(self.offset);
        let count = left.min(buffer.len() as u64) as usize;
        self.tar.read_exact_at(&mut buffer[..count], self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests;
