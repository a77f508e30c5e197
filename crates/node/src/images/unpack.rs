//! A layer that came as its compressed blob is unpacked out of it. The blob lies in the store under its own name, and
//! has its digest; the DiffId says whether the layer is in it.

use std::io::{self, Read};

use lighter_image::{Hashes, ImageError, LayerMedia, LayerReader, Limits, scan_tar_with};
use lighter_similarity::Sketch;
use lighter_store::Store;
use lighter_types::{Bytes, Card, DiffId, OciDigest, ReadAt as _};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::blob_copy::Positioned;
use super::sink::IntoStore;
use super::{ImagesError, documents_of, import, recipes};
use crate::faults::Worker;
use crate::later;
use crate::shared::{FileBase, Shared};

/// Unpacks a layer of an image with one of these manifests, of at most so many bytes, and commits it; `None` if that
/// cannot be done, or if the node stops. As many at a time as there are cores.
pub fn unpack(
    shared: &Shared,
    (layer, blob): (DiffId, DiffId),
    manifests: &[OciDigest],
    tar_bytes_max: Bytes,
    stopping: &CancellationToken,
) -> Option<(Card, Option<Sketch>)> {
    shared.faults.strike(Worker::Unpack);
    let _place = Handle::current().block_on(shared.unpackers.acquire());
    let limits = Limits { tar_bytes_max, ..Limits::default() };
    match unpack_into_store(shared, (layer, blob), manifests, (&limits, stopping)) {
        Ok(Some(unpacked)) => return Some(unpacked),
        Ok(None) => tracing::warn!(%layer, %blob, "a blob of an image is gone, or has another layer in it"),
        Err(_) if stopping.is_cancelled() => {}
        Err(error) => {
            let error = lighter_types::error_chain(&error);
            tracing::warn!(%layer, %blob, error, "a layer cannot be unpacked out of its blob");
        }
    }
    None
}

/// `None` if another layer is in the blob, or if the blob or its image is gone.
fn unpack_into_store(
    shared: &Shared,
    (layer, blob): (DiffId, DiffId),
    manifests: &[OciDigest],
    (limits, stopping): (&Limits, &CancellationToken),
) -> Result<Option<(Card, Option<Sketch>)>, ImagesError> {
    let Some(media) = media_of(&shared.store, (layer, blob), manifests) else { return Ok(None) };
    let Some(reader) = shared.store.open_layer(&blob)? else { return Ok(None) };
    let unread = |source| ImageError::Read { path: format!("blob {blob}"), source };
    let blob = FileBase::new(reader).map_err(unread)?;
    let mut compressed = UntilStopped(Positioned { blob: &blob, at: 0 }, stopping);
    let mut tar = LayerReader::of_checked(&layer.to_string(), &mut compressed, media, blob.len(), limits)?;
    let path = tar.path().to_owned();
    let mut writer = shared.store.create_layer_unnamed(None)?;
    let mut sink = IntoStore::new(&mut writer).map_err(import::local)?;
    let scan = scan_tar_with(Hashes::Sketch, &path, &mut tar, Some(blob.len()), &mut sink);
    let scan = scan.map_err(import::store_error_within)?;
    if scan.card.diff_id != layer {
        return Ok(None);
    }
    later::note(&shared.store, layer)?;
    writer.finish_sketched(scan.card, scan.sketch.to_bytes(), shared.uses.now())?;
    Ok(Some((scan.card, Some(scan.sketch))))
}

/// How the blob of a layer is compressed, by the image that names both. Reads two small files for each manifest.
fn media_of(store: &Store, (layer, blob): (DiffId, DiffId), manifests: &[OciDigest]) -> Option<LayerMedia> {
    let layers = manifests.iter().filter_map(|manifest| documents_of(store, *manifest).ok()).flatten();
    let mut of_blob = layers.filter(|named| named.diff_id == layer && recipes::as_layer(&named.blob.digest) == blob);
    LayerMedia::from_media_type(&of_blob.next()?.blob.media_type)
}

/// A reader that fails when the node stops.
struct UntilStopped<'a, R>(R, &'a CancellationToken);

impl<R: Read> Read for UntilStopped<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.1.is_cancelled() {
            return Err(io::Error::other("the node stops"));
        }
        self.0.read(buffer)
    }
}
