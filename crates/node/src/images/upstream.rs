//! Images out of upstream registries that no publisher released: this node keeps them for its clients.
//!
//! Such an image has the name that its registry gives it. In the place of a release record stands when upstream said
//! so, which is its age for the store: old images of a repository give way as old releases do. Beside the image, the
//! node keeps what its registry has beside it ([`super::companions`]), so that the name stands for the same document
//! here as there. Peers get its documents by digest and its layers, and never an answer about its name.

use std::sync::Arc;

use lighter_image::{ImageError, ImportedImage, LayerDescriptor, Limits, OpenedImage, Selector, open_image};
use lighter_registry::{BlobSource, RegistryFiles, Upstream, UpstreamReference};
use lighter_store::{Image, Lease};
use lighter_types::{Bytes, DiffId, ImageReference, OciDigest, ReadAt as _};
use tokio::runtime::Handle;

use super::import::import_layer;
use super::upstream_record::{Beside, UpstreamRecord};
use super::{ImagesError, companions, kept_blobs, recipes, upstream_record};
use crate::clock::unix_now;
use crate::shared::Shared;

/// Begins the tag under which an image is kept that was asked for by its digest; the digits follow.
const DIGEST_TAG: &str = "upstream.";

/// The name here of an image that was asked for by its digest. No registry's tag has this form by chance.
pub fn name_of(repository: &str, digest: OciDigest) -> Option<ImageReference> {
    format!("{repository}:{DIGEST_TAG}{}", digest.to_hex()).parse().ok()
}

/// Whether the tag is one of this node's own, for an image without a tag.
pub fn is_digest_tag(tag: &str) -> bool {
    let digits = tag.strip_prefix(DIGEST_TAG);
    digits.is_some_and(|digits| digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The document that a name stands for at its registry: the image's manifest, or an index above it.
#[derive(Debug)]
pub struct Top {
    pub digest: OciDigest,
    pub media_type: String,
    pub bytes: Vec<u8>,
}

/// An image whose documents the registry gave. Its methods block.
pub struct Opened {
    name: String,
    blobs: BlobSource,
    image: OpenedImage<RegistryFiles>,
    pub top: Arc<Top>,
}

impl Opened {
    /// Asks the registry for the image's documents.
    ///
    /// # Errors
    /// As an import.
    pub fn open(upstream: &Arc<Upstream>, handle: &Handle, reference: &UpstreamReference) -> Result<Self, ImagesError> {
        let selector = Selector::default();
        let files = upstream.open(handle, reference, &selector)?;
        let (blobs, name) = (files.source(), reference.to_string());
        let opened = open_image(files, &selector, Limits::default()).and_then(|mut image| {
            let top = image.read_top()?;
            let (top, bytes) = top.ok_or_else(|| ImageError::Missing {
                path: "the document of its name".to_owned(),
                named_by: name.clone(),
            })?;
            Ok((image, Top { digest: top.digest, media_type: top.media_type, bytes }))
        });
        match opened {
            Ok((image, top)) => Ok(Self { name, blobs, image, top: Arc::new(top) }),
            Err(error) => Err(failure_within(&blobs, &name, error.into())),
        }
    }

    pub fn image(&self) -> &ImportedImage {
        self.image.image()
    }

    /// The same image, to be read beside this one.
    pub fn another(&self) -> Self {
        let files = self.image.files().another();
        let (name, blobs) = (self.name.clone(), files.source());
        Self { name, blobs, image: self.image.with_files(files), top: self.top.clone() }
    }

    /// Downloads a layer, checks what the image claims of it, and finds what makes its blob. Tells how many bytes of
    /// the blob it has read: for the recipe it reads them once more.
    ///
    /// # Errors
    /// As an import.
    pub fn bring_layer(
        &mut self,
        shared: &Shared,
        index: usize,
        progress: &mut dyn FnMut(Bytes),
    ) -> Result<(), ImagesError> {
        let layer = self.image.image().layers[index].clone();
        let imported = import_layer(shared, &mut self.image, index, &mut |step| progress(step.blob_bytes_done));
        let brought = imported.and_then(|(_, _, copy)| match copy {
            Some(blob) => recipes::make(shared, &blob, &layer, &mut |bytes| progress(layer.blob.bytes + bytes)),
            None => Ok(()),
        });
        brought.map_err(|error| failure_within(&self.blobs, &self.name, error))
    }

    /// Asks the registry what there is beside the image, and keeps it as a layer. The registry is not asked for the
    /// documents and blobs that are in `known`.
    ///
    /// # Errors
    /// As an import.
    pub fn gather(&mut self, shared: &Shared, known: Option<DiffId>) -> Result<(Beside, Option<Lease>), ImagesError> {
        let gathered = unix_now();
        if let Some(layer) = known {
            self.know(shared, layer)?;
        }
        let card = companions::import(shared, &mut self.image)
            .map_err(|error| failure_within(&self.blobs, &self.name, error))?;
        for line in &self.image.image().passed_over {
            tracing::info!(image = self.name, left_out = line, "not all that upstream has beside an image is kept");
        }
        let companions = card.map(|card| card.diff_id);
        let lease = companions.and_then(|layer| shared.store.lease_layer(&layer));
        Ok((Beside { gathered, top: self.top.digest, companions }, lease))
    }

    /// Gives the companions in a layer to the files.
    fn know(&mut self, shared: &Shared, layer: DiffId) -> Result<(), ImagesError> {
        let Some(opened) = companions::open(&shared.store, layer)? else { return Ok(()) };
        for (digest, slice) in opened.companions.blobs() {
            let mut bytes = vec![0; usize::try_from(slice.bytes.0).unwrap_or_default()];
            let read = opened.bundle.read_exact_at(&mut bytes, slice.offset);
            read.map_err(|source| ImagesError::Open { path: layer.to_string(), source })?;
            self.image.files_mut().know(digest, bytes);
        }
        Ok(())
    }
}

/// The failure of the registry behind an error of an import: it says more.
fn failure_within(blobs: &BlobSource, name: &str, error: ImagesError) -> ImagesError {
    match (blobs.take_failure(), error) {
        (Some(failure), _) => ImagesError::Upstream(failure),
        (None, ImagesError::Image(error)) => ImagesError::Source { path: name.to_owned(), source: error },
        (None, error) => error,
    }
}

/// Keeps manifest and config.
///
/// # Errors
/// If the store fails.
pub fn keep_documents(shared: &Shared, image: &ImportedImage) -> Result<(), ImagesError> {
    let now = shared.uses.now();
    shared.store.put_blob(&image.config_digest, &image.config_bytes, now)?;
    Ok(shared.store.put_blob(&image.manifest_digest, &image.manifest_bytes, now)?)
}

/// Keeps what is here of these layers from being evicted.
pub fn lease(shared: &Shared, layers: &[LayerDescriptor]) -> Vec<Lease> {
    let names = layers.iter().flat_map(|layer| [layer.diff_id, recipes::as_layer(&layer.blob.digest)]);
    names.filter_map(|name| shared.store.lease_layer(&name)).collect()
}

/// Gives an image whose layers are all held its name. A name that a publisher released stays the release's: then the
/// image is kept by its digest.
///
/// # Errors
/// If the store fails.
pub fn name(
    shared: &Shared,
    reference: &ImageReference,
    image: &ImportedImage,
    record: UpstreamRecord,
) -> Result<(), ImagesError> {
    let held = shared.store.reference(reference);
    let is_released = held.is_some_and(|held| upstream_record::checked_at(&held.release_record).is_none());
    let by_digest = || {
        let repository = reference.repository();
        let top = record.beside.map_or(image.manifest_digest, |beside| beside.top);
        name_of(repository, top).ok_or_else(|| ImagesError::NoName { path: repository.to_owned() })
    };
    let reference = if is_released { by_digest()? } else { reference.clone() };
    let record = UpstreamRecord { beside: record.beside.map(|beside| newest(shared, &reference, beside)), ..record };
    let companions = record.beside.and_then(|beside| beside.companions);
    let named = Image {
        manifest: image.manifest_digest,
        config: image.config_digest,
        layers: companions::with(recipes::wanted(shared, &image.layers), companions),
        release_record: record.to_bytes(),
    };
    shared.store.set_reference(&reference, named)?;
    Ok(kept_blobs::tell(&shared.store, &image.layers)?)
}

/// The companions of the image, or those that a client's question brought for the same name meanwhile.
fn newest(shared: &Shared, reference: &ImageReference, beside: Beside) -> Beside {
    let held = shared.store.reference(reference).and_then(|held| UpstreamRecord::read(&held.release_record)?.beside);
    held.filter(|held| held.top == beside.top && held.gathered > beside.gathered).unwrap_or(beside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_of_a_digest_is_told_from_other_tags() {
        let name = name_of("registry.example/a", OciDigest::new([0xab; 32])).unwrap();
        assert!(is_digest_tag(name.tag()));
        for other in ["upstream.1", "1", &"a".repeat(73), &format!("upstream.{}", "x".repeat(64))] {
            assert!(!is_digest_tag(other), "{other}");
        }
    }
}
