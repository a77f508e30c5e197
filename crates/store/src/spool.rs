//! A spool: bytes that are written once, front to back, before anybody knows how many they are.

use std::os::unix::fs::FileExt;

use lighter_types::Bytes;

use crate::error::Result;
use crate::store::Store;
use crate::temporary::Temporary;

/// Bytes in a file of `partial/`, within the budget. The file goes with this value.
pub struct Spool {
    temporary: Temporary,
    written: Bytes,
}

impl Store {
    /// An empty spool.
    ///
    /// # Errors
    /// `Io`.
    pub fn create_spool(&self) -> Result<Spool> {
        Ok(Spool { temporary: Temporary::create(&self.inner, Bytes::ZERO)?, written: Bytes::ZERO })
    }
}

impl Spool {
    /// Appends bytes.
    ///
    /// # Errors
    /// `BudgetFull`, `DiskFull`, `Io`.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let length = Bytes(bytes.len() as u64);
        // `Bytes` never fall below zero.
        let missing = self.written + length - self.temporary.reserved();
        if missing > Bytes::ZERO {
            self.temporary.grow(missing)?;
        }
        let written = self.temporary.file.write_all_at(bytes, self.written.0);
        let folder = &self.temporary.inner.folder;
        written.map_err(|error| folder.failure_of("write", &self.temporary.path(), error, length))?;
        self.written += length;
        Ok(())
    }

    /// How many bytes it has.
    pub fn bytes(&self) -> Bytes {
        self.written
    }

    /// Fills `buffer` from `offset` on, with what was appended.
    ///
    /// # Errors
    /// `Io`.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        let read = self.temporary.file.read_exact_at(buffer, offset);
        read.map_err(|error| self.temporary.inner.folder.failure("read", &self.temporary.path(), error))
    }
}
