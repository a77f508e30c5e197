//! Blobs: manifests and configs, a few KB each. The store checks their sha256 when it writes them and when it reads
//! them.

use std::io::Write;

use lighter_types::{Bytes, OciDigest};
use sha2::{Digest, Sha256};

use crate::error::{Item, Result, StoreError};
use crate::ledger::HeldBlob;
use crate::store::Store;
use crate::temporary::Temporary;
use crate::{UnixSeconds, rows};

/// The longest blob: the limit of registries for a manifest (OCI distribution spec, "Pushing Manifests").
pub const BLOB_BYTES_MAX: usize = 4 << 20;

impl Store {
    /// Stores a blob. A blob that is already held stays unchanged.
    ///
    /// # Errors
    /// `OverLimit` beyond [`BLOB_BYTES_MAX`]; `Mismatch` when the sha256 differs; `BudgetFull`, `DiskFull`, `Io`,
    /// `Index`.
    pub fn put_blob(&self, digest: &OciDigest, bytes: &[u8], now: UnixSeconds) -> Result<()> {
        let item = Item::Blob(*digest);
        if bytes.len() > BLOB_BYTES_MAX {
            let (found, max) = (bytes.len() as u64, BLOB_BYTES_MAX as u64);
            return Err(StoreError::OverLimit { what: "bytes of blob", found, max });
        }
        let found = OciDigest::new(Sha256::digest(bytes).into());
        if found != *digest {
            let (expected, found) = (digest.to_string(), found.to_string());
            return Err(StoreError::Mismatch { item, what: "the sha256", expected, found });
        }
        let mut ledger = self.inner.ledger();
        if ledger.blobs.contains_key(digest) {
            return self.inner.touch(&mut ledger, &item, now);
        }
        drop(ledger);
        let length = Bytes(bytes.len() as u64);
        let mut temporary = Temporary::create(&self.inner, length)?;
        let written = temporary.file.write_all(bytes);
        written.map_err(|error| self.inner.folder.failure_of("write", &temporary.path(), error, length))?;
        temporary.commit(&item, length, rows::number(length.0), now, |ledger| {
            ledger.blobs.insert(*digest, HeldBlob { bytes: length, last_used: now });
        })
    }

    /// The bytes of a held blob, at most [`BLOB_BYTES_MAX`]; `None` if the blob is not held.
    ///
    /// # Errors
    /// `Damaged` when the file is missing or has another sha256: the blob is no longer held, and such a file is in
    /// `quarantine/`. `Io`, `Index`.
    pub fn blob(&self, digest: &OciDigest) -> Result<Option<Vec<u8>>> {
        if !self.inner.ledger().blobs.contains_key(digest) {
            return Ok(None);
        }
        let item = Item::Blob(*digest);
        let path = self.inner.path(&item);
        let has_name = |bytes: &Vec<u8>| Sha256::digest(bytes)[..] == *digest.as_bytes();
        let bytes = self.inner.folder.read(&path, BLOB_BYTES_MAX)?.filter(has_name);
        if bytes.is_some() {
            return Ok(bytes);
        }
        let mut ledger = self.inner.ledger();
        if !ledger.blobs.contains_key(digest) {
            // Another thread removed the blob while this one read it.
            return Ok(None);
        }
        match self.inner.folder.read(&path, BLOB_BYTES_MAX)? {
            // Another thread set it aside, and committed it anew.
            Some(bytes) if has_name(&bytes) => return Ok(Some(bytes)),
            Some(_) => drop(self.inner.set_aside(&mut ledger, &item)?),
            None => {
                ledger.forget(&item);
                ledger.rows_without_file.insert(item.clone());
            }
        }
        Err(self.inner.damaged(&item, "the sha256 of the file is not its name"))
    }

    /// The length of a held blob; `None` if the blob is not held.
    pub fn blob_bytes(&self, digest: &OciDigest) -> Option<Bytes> {
        self.inner.ledger().blobs.get(digest).map(|blob| blob.bytes)
    }

    /// The held blobs and their sizes, sorted by digest.
    pub fn blobs(&self) -> Vec<(OciDigest, Bytes)> {
        self.inner.ledger().blobs.iter().map(|(digest, blob)| (*digest, blob.bytes)).collect()
    }

    /// Removes a blob.
    ///
    /// # Errors
    /// `NotHeld`; `InUse` when an image names it; `Io`, `Index`.
    pub fn remove_blob(&self, digest: &OciDigest) -> Result<()> {
        let item = Item::Blob(*digest);
        let mut ledger = self.inner.ledger();
        if !ledger.blobs.contains_key(digest) {
            return Err(StoreError::NotHeld { item });
        }
        if let Some(by) = ledger.blob_holder(digest) {
            return Err(StoreError::InUse { item, by });
        }
        self.inner.remove(&mut ledger, &[item])
    }
}
