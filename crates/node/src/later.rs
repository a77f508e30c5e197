//! The work that a commit need not wait for: the TLSH digest of a layer, which takes longer than everything else that
//! is made of it, and its compression at rest. One layer at a time, and for half of the time of one core, or an eighth
//! beside transfers (`under_way`): commits, transfers and encodes go first.
//!
//! The layer's name is noted in the node's state before the layer is committed, and the note goes when the digest is in
//! the index. So after a crash the next start makes what is missing. Until then plans go by the sketch.

use std::io;
use std::thread;
use std::time::Instant;

use lighter_engine::{Content, DiskInput};
use lighter_image::Hashes;
use lighter_similarity::TlshHasher;
use lighter_store::{Packing, Store, StoreError};
use lighter_types::{DiffId, ReadAt, Tlsh};
use tokio_util::sync::CancellationToken;

use crate::config::AtRest;
use crate::damage::set_aside;
use crate::shared::{FileBase, Shared};

const PREFIX: &[u8] = b"tlsh/";
const CHUNK_BYTES: usize = 1 << 20;

/// Notes that a layer which is about to be committed gets its digest later.
///
/// # Errors
/// Those of the store's index.
pub fn note(store: &Store, layer: DiffId) -> Result<(), StoreError> {
    store.put_state(&key(layer), &[])
}

/// As [`note`], for a layer that had these hashes made: one that is like nothing else gets no digest.
///
/// # Errors
/// Those of the store's index.
pub fn note_for(store: &Store, layer: DiffId, hashes: Hashes) -> Result<(), StoreError> {
    if hashes == Hashes::Sketch { note(store, layer) } else { Ok(()) }
}

/// The layers that were noted.
pub fn noted(store: &Store) -> Vec<DiffId> {
    let rows = store.states(PREFIX).unwrap_or_default();
    rows.iter().filter_map(|(key, _)| Some(DiffId::new(key.strip_prefix(PREFIX)?.try_into().ok()?))).collect()
}

/// Layers on disk that are to be packed.
pub fn unpacked(shared: &Shared) -> Vec<DiffId> {
    if shared.config.store.at_rest == AtRest::Zstd { shared.store.unpacked_layers() } else { Vec::new() }
}

/// Makes the digest of a layer if it is noted; what the engine is to hear of it.
pub fn describe(layer: DiffId, stopping: &CancellationToken, shared: &Shared) -> Option<DiskInput> {
    let made = shared.store.state(&key(layer)).and_then(|note| match note {
        Some(_) => complete(layer, stopping, shared),
        None => Ok(None),
    });
    made.unwrap_or_else(|error| {
        tracing::warn!(%layer, %error, "a layer has no TLSH digest before the next start");
        None
    })
}

/// Compresses a layer on the disk, if the operator wants that.
pub fn pack(layer: DiffId, stopping: &CancellationToken, shared: &Shared) {
    let does_not_compress = shared.store.card(&layer).is_none_or(|card| Content::of(&card, &[]) == Content::Packed);
    if shared.config.store.at_rest != AtRest::Zstd || does_not_compress {
        return;
    }
    let mut began = Instant::now();
    let packed = shared.store.pack_layer(&layer, &mut || {
        thread::sleep(shared.under_way.pause(began.elapsed()));
        began = Instant::now();
        !stopping.is_cancelled()
    });
    match packed {
        Ok(Packing::Packed { saved }) => tracing::debug!(%layer, %saved, "a layer was compressed on the disk"),
        Ok(Packing::NoRoom) => tracing::debug!(%layer, "a layer stays a tar: there is no room beside it"),
        Ok(Packing::NotSmaller | Packing::Nothing | Packing::Stopped) => {}
        Err(StoreError::Damaged { .. }) => set_aside(layer, shared),
        Err(error) => tracing::warn!(%layer, %error, "a layer could not be compressed on the disk"),
    }
}

fn complete(layer: DiffId, stopping: &CancellationToken, shared: &Shared) -> Result<Option<DiskInput>, StoreError> {
    let Some(reader) = shared.store.open_layer(&layer)? else {
        shared.store.delete_state(&key(layer))?;
        return Ok(None);
    };
    // A layer that cannot be read is found damaged when it is used.
    let digest = FileBase::new(reader).and_then(|file| digest(&file, stopping, shared));
    let Ok(Some(digest)) = digest else { return Ok(None) };
    let card = digest.map(|tlsh| shared.store.add_tlsh(&layer, tlsh)).transpose()?.flatten();
    shared.store.delete_state(&key(layer))?;
    Ok(card.map(DiskInput::LayerDescribed))
}

/// The digest, which uniform data has not; `None` if the node stops before.
fn digest(file: &dyn ReadAt, stopping: &CancellationToken, shared: &Shared) -> io::Result<Option<Option<Tlsh>>> {
    let mut hasher = TlshHasher::new();
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut offset = 0;
    while offset < file.len().0 {
        if stopping.is_cancelled() {
            return Ok(None);
        }
        let began = Instant::now();
        let count = buffer.len().min(usize::try_from(file.len().0 - offset).unwrap_or(usize::MAX));
        file.read_exact_at(&mut buffer[..count], offset)?;
        hasher.update(&buffer[..count]);
        offset += count as u64;
        thread::sleep(shared.under_way.pause(began.elapsed()));
    }
    Ok(Some(hasher.finish()))
}

fn key(layer: DiffId) -> Vec<u8> {
    [PREFIX, layer.as_bytes()].concat()
}
