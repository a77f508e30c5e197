//! A blob that is read once from its beginning.

use lighter_types::{OciDigest, ReadAt};
use sha2::{Digest, Sha256};

use crate::error::FindError;
use crate::gzip::{self, HEADER_BYTES_MAX, Header};

/// The blob is read in such parts.
const READ_BYTES: usize = 256 << 10;

/// The blob, read once from its beginning, and its sha256.
pub struct Input<'a> {
    pub blob: &'a dyn ReadAt,
    /// Bytes that are consumed.
    pub at: u64,
    buffer: Vec<u8>,
    /// Bytes of the buffer that are consumed.
    used: usize,
    hasher: Sha256,
}

impl<'a> Input<'a> {
    pub fn new(blob: &'a dyn ReadAt) -> Self {
        Self { blob, at: 0, buffer: Vec::new(), used: 0, hasher: Sha256::new() }
    }

    /// The next bytes: at least so many, unless the blob ends before.
    pub fn peek(&mut self, wanted: usize) -> Result<&[u8], FindError> {
        if self.buffer.len() - self.used < wanted {
            self.buffer.drain(..self.used);
            self.used = 0;
            let offset = self.at + self.buffer.len() as u64;
            let left = self.blob.len().0.saturating_sub(offset);
            let more = left.min(READ_BYTES.max(wanted) as u64) as usize;
            let start = self.buffer.len();
            self.buffer.resize(start + more, 0);
            let read = self.blob.read_exact_at(&mut self.buffer[start..], offset);
            read.map_err(|source| FindError::Blob { offset, source })?;
            self.hasher.update(&self.buffer[start..]);
        }
        Ok(&self.buffer[self.used..])
    }

    /// Takes the header of the next gzip member. `None` if no member stands here.
    pub fn gzip_header(&mut self) -> Result<Option<Vec<u8>>, FindError> {
        let mut wanted = 1024;
        loop {
            let found = self.peek(wanted)?;
            let is_all = found.len() < wanted || wanted >= HEADER_BYTES_MAX;
            match gzip::header(found) {
                Header::Bytes(bytes) if bytes <= HEADER_BYTES_MAX => {
                    let header = found.get(..bytes).unwrap_or_default().to_vec();
                    self.consume(bytes);
                    return Ok(Some(header));
                }
                Header::Unfinished if !is_all => wanted *= 4,
                Header::Bytes(_) | Header::Unfinished | Header::Absent => return Ok(None),
            }
        }
    }

    pub fn consume(&mut self, count: usize) {
        self.used += count;
        self.at += count as u64;
    }

    /// The sha256 of everything that was read.
    pub fn digest(self) -> OciDigest {
        OciDigest::new(self.hasher.finalize().into())
    }
}
