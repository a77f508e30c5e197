//! The facts about images that peers get: releases, documents, layers.

use lighter_engine::{ImageFound, LocalFailure};
use lighter_image::{image_layers, parse_config, parse_manifest};
use lighter_store::{Store, StoreError, UnixSeconds};
use lighter_types::{DiffId, ImageReference, OciDigest};
use lighter_wire::{
    Answer, BLOB_BYTES_MAX, Documents, ImageName, ImageRequest, Message, SignedHandover, SignedRelease,
};

use super::{recipes, upstream_record};
use crate::shared::local_failure;

/// The facts on disk about an image that a peer asks about. `coming` is the release of an image on its way here,
/// `handovers` are those of its repository.
///
/// # Errors
/// If the disk fails. The log says how.
pub fn look_up(
    store: &Store,
    request: &ImageRequest,
    coming: Option<SignedRelease>,
    handovers: Vec<SignedHandover>,
) -> Result<ImageFound, LocalFailure> {
    let (release, manifest) = match &request.name {
        ImageName::Reference(reference) => {
            let release = coming.or_else(|| release_of(store, reference));
            let manifest = release.as_ref().map(|release| release.release.manifest);
            (release, manifest)
        }
        ImageName::Manifest(digest) => (None, Some(*digest)),
    };
    let wanted = manifest.filter(|digest| request.documents && request.known != Some(*digest));
    let found = match wanted {
        Some(digest) => documents(store, digest).map_err(|error| {
            tracing::error!(%digest, %error, "the documents of an image cannot be read");
            local_failure(error)
        })?,
        None => None,
    };
    let (documents, layers) = found.unzip();
    let layers = layers.filter(|_| request.list.is_some()).unwrap_or_default();
    Ok(ImageFound { release, handovers, documents, layers, terms: request.terms })
}

/// The documents of an image and the layers that they name. Without the config, the layers are not known.
fn documents(store: &Store, manifest: OciDigest) -> Result<Option<(Documents, Vec<DiffId>)>, StoreError> {
    let Some(bytes) = store.blob(&manifest)? else { return Ok(None) };
    let Ok(parsed) = parse_manifest(&bytes, &manifest) else { return Ok(None) };
    let config = store.blob(&parsed.config.digest)?.filter(|config| bytes.len() + config.len() <= BLOB_BYTES_MAX);
    let layers = config.as_deref().and_then(|config| {
        let config = parse_config(config, &parsed.config.digest).ok()?;
        image_layers(&parsed, &config).ok()
    });
    let layers = layers.unwrap_or_default();
    let sent = bytes.len() + config.as_ref().map_or(0, Vec::len);
    let recipes = recipes::of_image(store, &layers).filter(|recipes| sent + recipes.len() <= BLOB_BYTES_MAX);
    Ok(Some((Documents { manifest: bytes, config, recipes }, recipes::with_kept_blobs(store, &layers))))
}

/// The answer to a peer that asks for a blob. A manifest comes with its config, if that is held and both fit.
pub fn blob_answer(store: &Store, digest: OciDigest, bytes_max: usize) -> Result<Option<Answer>, StoreError> {
    let Some(bytes) = store.blob(&digest)?.filter(|bytes| bytes.len() <= bytes_max) else { return Ok(None) };
    let config = match parse_manifest(&bytes, &digest) {
        Ok(manifest) => store.blob(&manifest.config.digest)?,
        Err(_) => None,
    };
    let config = config.filter(|config| bytes.len() + config.len() <= BLOB_BYTES_MAX);
    Ok(Some(Answer::Blob { bytes, config }))
}

/// The time of a release record, for the store's order of releases; for an image of no publisher, when upstream named
/// it.
pub fn released_at(record: &[u8]) -> Option<UnixSeconds> {
    let released = SignedRelease::decode(record).ok().map(|signed| UnixSeconds(signed.release.issued_s));
    released.or_else(|| upstream_record::checked_at(record))
}

/// The release that bound a name here.
pub fn release_of(store: &Store, reference: &ImageReference) -> Option<SignedRelease> {
    SignedRelease::decode(&store.reference(reference)?.release_record).ok()
}
