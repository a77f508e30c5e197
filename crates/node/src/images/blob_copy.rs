//! A layer's compressed blob while the node reads it: a copy beside the store, and a reader of it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use lighter_types::{Bytes, ReadAt};

use super::ImagesError;
use crate::shared::{FileBase, OnDisk, Shared};

/// A layer's blob as it is read, so that its recipe can be found. The copy lies in a file without a name, beside the
/// store's budget: nothing gives way to it. Where the disk has no room, the blob has no recipe.
pub struct BlobCopy(Option<(File, u64)>);

impl BlobCopy {
    /// No copy: this node has what makes the blob.
    pub const NONE: Self = Self(None);

    /// # Errors
    /// If the disk fails.
    pub fn create(shared: &Shared) -> Result<Self, ImagesError> {
        let folder = &shared.config.data_dir.0;
        let file = tempfile::tempfile_in(folder)
            .map_err(|source| ImagesError::Open { path: folder.display().to_string(), source })?;
        Ok(Self(Some((file, 0))))
    }

    pub fn append(&mut self, bytes: &[u8]) {
        let Some((file, end)) = &mut self.0 else { return };
        match file.write_all_at(bytes, *end) {
            Ok(()) => *end += bytes.len() as u64,
            Err(error) => {
                tracing::warn!(%error, "what makes a layer's blob is not found out: the blob cannot be kept meanwhile");
                self.0 = None;
            }
        }
    }

    /// The whole blob.
    pub fn finish(self) -> Option<FileBase<File>> {
        self.0.map(|(file, bytes)| FileBase::up_to(file, Bytes(bytes)))
    }
}

/// A blob from its first byte to its last.
pub struct Positioned<'a, F> {
    pub blob: &'a FileBase<F>,
    pub at: u64,
}

impl<F: OnDisk> io::Read for Positioned<'_, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.blob.len().0.saturating_sub(self.at);
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        self.blob.read_exact_at(&mut buffer[..count], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}
