//! Layers whose bytes on disk changed. The node sets such a layer aside as soon as it finds it: a patch made from it is
//! wrong, and its receiver would take this node for a liar.

use lighter_store::LayerReader;
use lighter_types::{DiffId, ReadAt};
use sha2::{Digest, Sha256};

use crate::shared::{FileBase, Shared};

/// A held layer: its name and its leased file.
pub type OpenLayer = (DiffId, FileBase<LayerReader>);

/// Bytes that are hashed at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// The first of these layers whose bytes cannot be read or do not have its name; it is set aside. Reads all of them.
pub fn find_damaged<'l>(layers: impl IntoIterator<Item = &'l OpenLayer>, shared: &Shared) -> Option<DiffId> {
    let (damaged, _) = layers.into_iter().find(|(name, file)| !has_name(*name, file))?;
    set_aside(*damaged, shared);
    Some(*damaged)
}

/// Takes a damaged layer out of use. It is fetched again when an image that names it is pulled.
pub fn set_aside(layer: DiffId, shared: &Shared) {
    match shared.store.quarantine_layer(&layer) {
        Ok(Some(path)) => tracing::error!(
            %layer, moved_to = %path.display(),
            "a layer on disk is damaged and not used any more"
        ),
        Ok(None) => {}
        Err(error) => tracing::error!(%layer, %error, "a layer on disk is damaged and could not be set aside"),
    }
}

fn has_name(name: DiffId, file: &FileBase<LayerReader>) -> bool {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut offset = 0;
    while offset < file.len().0 {
        let count = buffer.len().min(usize::try_from(file.len().0 - offset).unwrap_or(usize::MAX));
        if file.read_exact_at(&mut buffer[..count], offset).is_err() {
            return false;
        }
        hasher.update(&buffer[..count]);
        offset += count as u64;
    }
    hasher.finalize()[..] == name.as_bytes()[..]
}
