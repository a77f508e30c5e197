//! Makes a sketch of a tar as it streams by: finds the files' contents, block by block.
//!
//! A header is a block with the `ustar` magic and a right checksum, where one may stand. Headers, padding, long names
//! and pax records are left out. Any other block counts as content by itself: so what is no tar has a sketch too, and
//! a damaged tar loses nothing but the borders of its files. A file over 8 GiB, whose size stands in pax records alone,
//! is such content; never an error.

use lighter_tar::{BLOCK_BYTES, header_block};

use super::Sketch;
use super::windows::{Content, Windows};

/// Takes the bytes of a layer in pieces of any size and makes its [`Sketch`]. Holds about 70 KB whatever the
/// length.
pub struct SketchBuilder {
    windows: Windows,
    /// Bytes of the block at hand, outside of contents.
    block: [u8; BLOCK_BYTES as usize],
    filled: usize,
    /// Content that the current entry still has, and what follows it up to the next block.
    content_left: u64,
    skip_left: u64,
    is_loose: bool,
    entries: u32,
}

impl Default for SketchBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl SketchBuilder {
    /// A builder that has seen no bytes.
    pub fn new() -> Self {
        Self {
            windows: Windows::new(),
            block: [0; BLOCK_BYTES as usize],
            filled: 0,
            content_left: 0,
            skip_left: 0,
            is_loose: false,
            entries: 0,
        }
    }

    /// Adds the next bytes of the tar.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = if self.content_left > 0 {
                let taken = at_most(self.content_left, bytes);
                self.windows.push(&bytes[..taken], Content::File);
                self.content_left -= taken as u64;
                if self.content_left == 0 {
                    self.windows.end_file(Content::File);
                }
                taken
            } else if self.skip_left > 0 {
                let taken = at_most(self.skip_left, bytes);
                self.skip_left -= taken as u64;
                taken
            } else {
                self.fill_block(bytes)
            };
            bytes = &bytes[taken..];
        }
    }

    /// The sketch of everything pushed. A stream that ends anywhere has one.
    pub fn finish(mut self) -> Sketch {
        if self.content_left > 0 {
            self.windows.end_file(Content::File);
        }
        if self.filled > 0 {
            self.windows.push(&self.block[..self.filled], Content::Loose);
            self.is_loose = true;
        }
        self.end_loose();
        let (content_bytes, plain, masked) = self.windows.finish();
        Sketch { content_bytes, entries: self.entries, plain, masked }
    }

    /// Adds to the block at hand and reads it once it is whole; how many bytes it took.
    fn fill_block(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.block.len() - self.filled);
        self.block[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
        self.filled += taken;
        if self.filled == self.block.len() {
            self.filled = 0;
            self.read_block();
        }
        taken
    }

    fn read_block(&mut self) {
        let Some(header) = header_block(&self.block) else {
            // Zeros end a tar, and say nothing anywhere else.
            if self.block != [0; BLOCK_BYTES as usize] {
                self.windows.push(&self.block, Content::Loose);
                self.is_loose = true;
            }
            return;
        };
        self.end_loose();
        let stored = header.stored_bytes.checked_next_multiple_of(BLOCK_BYTES).unwrap_or(u64::MAX);
        self.content_left = if header.is_entry { header.stored_bytes } else { 0 };
        self.skip_left = stored - self.content_left;
        self.entries = self.entries.saturating_add(u32::from(header.is_entry));
    }

    fn end_loose(&mut self) {
        if self.is_loose {
            self.windows.end_file(Content::Loose);
            self.is_loose = false;
        }
    }
}

/// As many of `bytes` as are `left`.
fn at_most(left: u64, bytes: &[u8]) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len())
}
