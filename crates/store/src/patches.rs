//! The cache of patches: complete files, found by target, bases and settings. They are evicted before layers.
//!
//! A PatchId is the blake3 of the patch's header, which only the crate of the patch format can check. To find damage,
//! the store keeps the sha256 of the whole file, computed at the commit.

use std::fs::File;
use std::io;
use std::path::Path;

use lighter_types::{Bytes, PatchId};
use sha2::{Digest, Sha256};

use crate::UnixSeconds;
use crate::error::{Holder, Item, Result, StoreError};
use crate::folder::Folder;
use crate::layers::Lease;
use crate::records::PatchKey;
use crate::store::Store;

/// A cached patch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedPatch {
    pub patch_id: PatchId,
    pub key: PatchKey,
    pub bytes: Bytes,
    pub last_used: UnixSeconds,
}

impl Store {
    /// Opens a cached patch. The store does not remove it while the reader lives. `None` if the patch is not cached.
    ///
    /// # Errors
    /// `Damaged` when the file is missing or has another length: the patch is no longer cached. `Io`.
    pub fn open_patch(&self, patch_id: &PatchId) -> Result<Option<PatchReader>> {
        let item = Item::Patch(*patch_id);
        let mut ledger = self.inner.ledger();
        let Some(patch) = ledger.patches.get(patch_id) else { return Ok(None) };
        let (key, bytes) = (patch.key.clone(), patch.bytes);
        let Some(file) = self.inner.open_item(&mut ledger, &item, bytes)? else {
            return Err(self.inner.damaged(&item, format!("a file of {} bytes was expected", bytes.0)));
        };
        let lease = Lease::take(&self.inner, &mut ledger, item);
        Ok(Some(PatchReader { file, patch_id: *patch_id, key, bytes, _lease: lease }))
    }

    /// The id and the size of the cached patch for a key. If there are several, the most recently used one.
    pub fn find_patch(&self, key: &PatchKey) -> Option<(PatchId, Bytes)> {
        let ledger = self.inner.ledger();
        let matching = ledger.patches.iter().filter(|(_, patch)| patch.key == *key);
        matching.max_by_key(|(_, patch)| patch.last_used).map(|(id, patch)| (*id, patch.bytes))
    }

    /// The cached patches, sorted by id.
    pub fn patches(&self) -> Vec<CachedPatch> {
        let ledger = self.inner.ledger();
        let cached = ledger.patches.iter().map(|(id, patch)| CachedPatch {
            patch_id: *id,
            key: patch.key.clone(),
            bytes: patch.bytes,
            last_used: patch.last_used,
        });
        cached.collect()
    }

    /// Sets the time of last use of a patch. A power cut may lose the new time.
    ///
    /// # Errors
    /// `NotHeld`; `Index`.
    pub fn touch_patch(&self, patch_id: &PatchId, now: UnixSeconds) -> Result<()> {
        self.inner.touch(&mut self.inner.ledger(), &Item::Patch(*patch_id), now)
    }

    /// Removes a cached patch.
    ///
    /// # Errors
    /// `NotHeld`; `InUse` when it is leased; `Io`, `Index`.
    pub fn remove_patch(&self, patch_id: &PatchId) -> Result<()> {
        let item = Item::Patch(*patch_id);
        let mut ledger = self.inner.ledger();
        match ledger.patches.get(patch_id) {
            None => Err(StoreError::NotHeld { item }),
            Some(patch) if patch.leases > 0 => Err(StoreError::InUse { item, by: Holder::Lease }),
            Some(_) => self.inner.remove(&mut ledger, &[item]),
        }
    }
}

/// The file of a cached patch. The store neither evicts nor removes the patch while this lives.
pub struct PatchReader {
    file: File,
    patch_id: PatchId,
    key: PatchKey,
    bytes: Bytes,
    _lease: Lease,
}

impl PatchReader {
    /// The patch. Read it by position.
    pub fn file(&self) -> &File {
        &self.file
    }

    pub fn patch_id(&self) -> PatchId {
        self.patch_id
    }

    /// The target, bases and settings of the patch.
    pub fn key(&self) -> &PatchKey {
        &self.key
    }

    /// The file's length.
    pub fn bytes(&self) -> Bytes {
        self.bytes
    }
}

/// The sha256 of a file, read from its beginning.
pub(crate) fn sha256_of_file(folder: &Folder, path: &Path) -> Result<[u8; 32]> {
    let file = File::open(path).map_err(|error| folder.failure("open", path, error))?;
    sha256_of(file).map_err(|error| folder.failure("read", path, error))
}

pub(crate) fn sha256_of(mut reader: impl io::Read) -> io::Result<[u8; 32]> {
    let mut sha256 = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(sha256.finalize().into()),
            Ok(read) => sha256.update(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
