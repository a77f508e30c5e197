//! The cache of patches: finished files, found by what they turn into what. The first to be evicted.
//!
//! A patch's name is a blake3 of its header, which only the patch format can check; here the sha256 of the whole file,
//! taken when it was finished, tells damage.

use std::fs::File;
use std::io;
use std::path::Path;

use lighter_types::{Bytes, DiffId, PatchId};
use sha2::{Digest, Sha256};

use crate::UnixSeconds;
use crate::error::{Holder, Item, Result, StoreError};
use crate::folder::Folder;
use crate::layers::Lease;
use crate::store::Store;

/// The most bases of a patch that is cached.
pub const PATCH_BASES_MAX: usize = 64;

/// What a patch is asked for by: encoders are deterministic, so this names its bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PatchKey {
    /// The layer that it rebuilds.
    pub target: DiffId,
    /// The layers that it reads, in its own order; at most [`PATCH_BASES_MAX`].
    pub bases: Vec<DiffId>,
    /// The encoder's settings, as a number of the encoder's.
    pub settings: u32,
}

/// A cached patch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedPatch {
    pub patch_id: PatchId,
    pub key: PatchKey,
    pub bytes: Bytes,
    pub last_used: UnixSeconds,
}

impl Store {
    /// A cached patch, protected from removal for as long as the reader lives; `None` if it is not cached.
    ///
    /// # Errors
    /// `Damaged` when the file is gone or has another length: it is cached no more. `Io`.
    pub fn open_patch(&self, patch_id: &PatchId) -> Result<Option<PatchReader>> {
        let item = Item::Patch(*patch_id);
        let mut ledger = self.inner.ledger();
        let Some(patch) = ledger.patches.get(patch_id) else { return Ok(None) };
        let (key, bytes) = (patch.key.clone(), patch.bytes);
        let Some(file) = self.inner.open_item(&mut ledger, &item, bytes)? else {
            return Err(self.inner.damaged(&item, format!("it is not a file of {} bytes", bytes.0)));
        };
        let lease = Lease::take(&self.inner, &mut ledger, item);
        Ok(Some(PatchReader { file, patch_id: *patch_id, key, bytes, _lease: lease }))
    }

    /// The cached patch for a key and its size; the one used last, should there be several.
    pub fn find_patch(&self, key: &PatchKey) -> Option<(PatchId, Bytes)> {
        let ledger = self.inner.ledger();
        let matching = ledger.patches.iter().filter(|(_, patch)| patch.key == *key);
        matching.max_by_key(|(_, patch)| patch.last_used).map(|(id, patch)| (*id, patch.bytes))
    }

    /// The cached patches, sorted by name.
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

    /// Notes that a patch was used. A power cut may undo the note.
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

/// A cached patch's file. While it lives, the patch is neither evicted nor removed.
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

    /// Its name.
    pub fn patch_id(&self) -> PatchId {
        self.patch_id
    }

    /// What it turns into what.
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
