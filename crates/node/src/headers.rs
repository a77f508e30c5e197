//! Patches of whole layers at the effort *plain*: only their header is made and kept. The layer on disk is the rest:
//! each payload is a range of it, as it stands there or compressed when it is sent. So a layer that is sent as a whole
//! takes no second place on the disk, and its first frame leaves at once.
//!
//! Headers of small layers are in memory (`views`): such a layer is read again soon. Those of large ones go to the
//! patch cache, as a file that has the header alone, and survive a restart. A large layer gets its header behind the
//! commit: a hub that read gigabytes at the first request would let a whole fleet wait. Where that takes an encoder,
//! only a layer that is imported here gets it: nodes that pulled a layer seldom send all of it.

use std::io;
use std::ops::ControlFlow;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use lighter_engine::{CachedPatch, Content, DiskInput};
use lighter_patch::{EncodeError, Header, Settings, Source, plain_header};
use lighter_store::{PatchKey, PatchReader, Store, StoreError};
use lighter_types::{Bytes, Card, DiffId, Effort, PatchId};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::shared::{FileBase, Shared};

/// A layer that takes seconds to read.
const LARGE: Bytes = lighter_engine::Settings::TAIL_BYTES_MIN;

/// Whether a layer gets its header behind the commit.
pub fn is_wanted(card: &Card, is_imported: bool) -> bool {
    card.tar_bytes >= LARGE && (is_imported || Content::of(card, &[]) == Content::Packed)
}

/// The layers on disk whose header is not there, as far as it takes no encoder.
pub fn lacking(shared: &Shared) -> Vec<DiffId> {
    let cards = shared.store.cards().into_iter().filter(|card| is_wanted(card, false));
    cards.map(|card| card.diff_id).filter(|&layer| !has_header(layer, shared)).collect()
}

/// Makes the header of a layer, unless it is there; what the engine is to hear of it. Beside transfers and imports it
/// takes half of its threads' time.
pub fn make(layer: DiffId, stopping: &CancellationToken, shared: &Shared) -> Option<DiskInput> {
    if has_header(layer, shared) {
        return None;
    }
    let reader = shared.store.open_layer(&layer).ok().flatten()?;
    let file = FileBase::new(reader).ok()?;
    let _made = shared.making.begin(layer);
    let settings = shared.config.patch_settings(Effort::Plain);
    let worked_since = Mutex::new(Instant::now());
    let go_on = |_| {
        if let Ok(mut since) = worked_since.lock() {
            thread::sleep(if shared.under_way.is_any() { since.elapsed() } else { Duration::ZERO });
            *since = Instant::now();
        }
        if stopping.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    match plain_header(&Source { diff_id: layer, bytes: &file }, &settings, &go_on) {
        Ok(header) => Some(DiskInput::PatchHeld(keep(header, shared, Some(Effort::Plain)))),
        Err(EncodeError::Cancelled) => None,
        Err(error) => {
            tracing::warn!(%layer, %error, "a layer has no header before it is asked for");
            None
        }
    }
}

/// Waits while the header of this layer is made; the patch, and the time that it took. `None` if it is not made, or
/// could not be.
pub fn wait(layer: DiffId, stopping: &CancellationToken, shared: &Shared) -> Option<(CachedPatch, Duration)> {
    let took = Handle::current().block_on(shared.making.wait(layer, stopping))?;
    let (patch, _) = find(layer, shared)?;
    let header = read(&shared.store.open_patch(&patch).ok().flatten()?).ok()?;
    let (bytes, effort) = (header.patch_bytes(), Some(Effort::Plain));
    Some((CachedPatch { patch, target: layer, bases: Vec::new(), bytes, effort }, took))
}

/// Keeps a header: the patch, as the engine knows it.
pub fn keep(header: Header, shared: &Shared, effort: Option<Effort>) -> CachedPatch {
    let (patch, target, bytes) = (header.id(), header.target(), header.patch_bytes());
    let kept = if header.target_bytes() >= LARGE { keep_on_disk(&header, shared) } else { Ok(false) };
    let is_on_disk = kept.unwrap_or_else(|error| {
        tracing::warn!(%patch, %error, "a header is in memory only");
        false
    });
    if !is_on_disk && let Some(oldest) = shared.views.add(header) {
        shared.input_blocking(DiskInput::PatchGone(oldest));
    }
    CachedPatch { patch, target, bases: Vec::new(), bytes, effort }
}

/// The bytes of a cached patch, with its layer if it is a header alone.
pub fn patch_bytes(store: &Store, cached: &lighter_store::CachedPatch) -> Bytes {
    let may_be_header = cached.key.bases.is_empty() && cached.bytes < LARGE;
    let reader = may_be_header.then(|| store.open_patch(&cached.patch_id).ok().flatten()).flatten();
    let header = reader.and_then(|reader| read(&reader).ok());
    header.map_or(cached.bytes, |header| header.patch_bytes())
}

/// The header of a cached patch.
///
/// # Errors
/// If it cannot be read, or is not that of this patch.
pub fn read(reader: &PatchReader) -> io::Result<Header> {
    let mut file = reader.file().try_clone()?;
    io::Seek::rewind(&mut file)?;
    let header = Header::read_from(&mut file).map_err(io::Error::other)?;
    if header.id() == reader.patch_id() { Ok(header) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Whether a cached patch is a header alone.
pub fn is_alone(header: &Header, reader: &PatchReader) -> bool {
    let has_payloads_elsewhere = header.is_stored() || Settings::effort_of(header.settings_id()) == Some(Effort::Plain);
    let is_all_there_is = reader.bytes() == header.header_bytes() && header.patch_bytes() > header.header_bytes();
    has_payloads_elsewhere && is_all_there_is
}

fn keep_on_disk(header: &Header, shared: &Shared) -> Result<bool, StoreError> {
    let key = PatchKey { target: header.target(), bases: Vec::new(), settings: header.settings_id() };
    let mut writer = shared.store.create_patch_unnamed(key, header.header_bytes())?;
    writer.append(&header.encode())?;
    writer.finish(header.id(), shared.uses.now())?;
    Ok(true)
}

fn has_header(layer: DiffId, shared: &Shared) -> bool {
    find(layer, shared).is_some()
}

fn find(layer: DiffId, shared: &Shared) -> Option<(PatchId, Bytes)> {
    let settings = shared.config.patch_settings(Effort::Plain).id();
    shared.store.find_patch(&PatchKey { target: layer, bases: Vec::new(), settings })
}
