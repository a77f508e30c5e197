//! Makes the sketch of a tar while it streams by: finds the contents of the files, block by block.
//!
//! A header is a block with the `ustar` magic and the right checksum, at a place where a header may be. The builder
//! skips headers, padding, long names and pax records. Every other block is loose content. So bytes that are no tar
//! have a sketch too, and a damaged tar loses only the borders of its files. The contents of a file over 8 GiB, whose
//! size is in pax records only, are loose content as well. Nothing is an error.

use lighter_tar::{BLOCK_BYTES, header_block};

use super::Sketch;
use super::entries::Entries;
use super::windows::{Content, Windows};

/// Makes the [`Sketch`] of a layer from its bytes, in pieces of any size. Holds about 130 KB for any length.
pub struct SketchBuilder {
    windows: Windows,
    samples: Entries,
    /// The current block outside of file contents.
    block: [u8; BLOCK_BYTES as usize],
    /// The bytes of `block` that have arrived.
    filled: usize,
    /// The bytes of content that are left of the current entry.
    content_left: u64,
    /// The bytes to skip after the content: padding, or the data of an extension header.
    skip_left: u64,
    /// Whether the data of an extension header is skipped.
    skips_extension: bool,
    /// Whether loose content is open.
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
            samples: Entries::new(),
            block: [0; BLOCK_BYTES as usize],
            filled: 0,
            content_left: 0,
            skip_left: 0,
            skips_extension: false,
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
                if self.skips_extension {
                    self.samples.extension_data(&bytes[..taken]);
                }
                self.skip_left -= taken as u64;
                taken
            } else {
                self.fill_block(bytes)
            };
            bytes = &bytes[taken..];
        }
    }

    /// The sketch of all bytes. The stream may end anywhere.
    pub fn finish(mut self) -> Sketch {
        if self.content_left > 0 {
            self.windows.end_file(Content::File);
        }
        if self.filled > 0 {
            self.windows.push(&self.block[..self.filled], Content::Loose);
            self.is_loose = true;
        }
        self.end_loose();
        let (content_bytes, go, windows) = self.windows.finish();
        let (windows, of_entries) = (Box::new(windows), Box::new(self.samples.finish()));
        Sketch { content_bytes, entries: self.entries, go, windows, of_entries }
    }

    /// Fills the current block and reads it when it is complete. Returns the number of bytes that it took.
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
            // Blocks of zeros end a tar. Elsewhere they carry no information.
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
        self.skips_extension = !header.is_entry;
        if header.is_entry {
            self.samples.entry(&self.block);
        } else {
            self.samples.extension(&self.block);
        }
        self.entries = self.entries.saturating_add(u32::from(header.is_entry));
    }

    fn end_loose(&mut self) {
        if self.is_loose {
            self.windows.end_file(Content::Loose);
            self.is_loose = false;
        }
    }
}

/// The smaller of `left` and the number of `bytes`.
fn at_most(left: u64, bytes: &[u8]) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len())
}
