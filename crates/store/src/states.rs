//! Node state: small values under keys that the node chooses, such as unfinished pulls. They are stored in the index
//! only, so a lost index loses them.

use crate::error::{Result, StoreError};
use crate::index::{Batch, Column};
use crate::limits::{STATE_BYTES_MAX, STATE_KEY_BYTES_MAX};
use crate::store::Store;

impl Store {
    /// Writes a value; it survives a power cut.
    ///
    /// # Errors
    /// `OverLimit` for a key that is empty or over 256 bytes, or a value over 64 KiB; `Index`.
    pub fn put_state(&self, key: &[u8], value: &[u8]) -> Result<()> {
        check(key, value)?;
        let mut batch = Batch::default();
        batch.put(Column::States, key, value.to_vec());
        self.inner.write(&batch)
    }

    /// Writes and deletes values, all or none of them; they survive a power cut.
    ///
    /// # Errors
    /// Those of [`Self::put_state`].
    pub fn change_states(&self, changes: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Result<()> {
        let mut batch = Batch::default();
        for (key, value) in changes {
            check_key(&key)?;
            match value {
                Some(value) => {
                    check_value(&value)?;
                    batch.put(Column::States, &key, value);
                }
                None => batch.delete(Column::States, &key),
            }
        }
        self.inner.write(&batch)
    }

    /// The value of a key.
    ///
    /// # Errors
    /// `Index`.
    pub fn state(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.inner.index.get(Column::States, key)?)
    }

    /// The keys that begin with `prefix` and their values, in the order of the keys. Loads all of them into memory.
    ///
    /// # Errors
    /// `Index`.
    pub fn states(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut states = Vec::new();
        self.inner.index.scan(Column::States, prefix, &mut |key, value| states.push((key.to_vec(), value.to_vec())))?;
        Ok(states)
    }

    /// Deletes a key. A missing key is no error.
    ///
    /// # Errors
    /// `OverLimit` for a key that is empty or over 256 bytes; `Index`.
    pub fn delete_state(&self, key: &[u8]) -> Result<()> {
        check_key(key)?;
        let mut batch = Batch::default();
        batch.delete(Column::States, key);
        self.inner.write(&batch)
    }
}

/// Whether the column takes this.
pub(crate) fn check(key: &[u8], value: &[u8]) -> Result<()> {
    check_key(key)?;
    check_value(value)
}

fn check_value(value: &[u8]) -> Result<()> {
    if value.len() <= STATE_BYTES_MAX {
        return Ok(());
    }
    let (found, max) = (value.len() as u64, STATE_BYTES_MAX as u64);
    Err(StoreError::OverLimit { what: "bytes of state", found, max })
}

fn check_key(key: &[u8]) -> Result<()> {
    if (1..=STATE_KEY_BYTES_MAX).contains(&key.len()) {
        return Ok(());
    }
    let (found, max) = (key.len() as u64, STATE_KEY_BYTES_MAX as u64);
    Err(StoreError::OverLimit { what: "bytes of state key (at least 1)", found, max })
}
