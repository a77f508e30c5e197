//! Images out of upstream registries that no publisher released: this node keeps them for its clients.
//!
//! Such an image has the name that its registry gives it. In the place of a release record stands when upstream said
//! so, which is its age for the store: old images of a repository give way as old releases do. Peers get its documents
//! by digest and its layers, and never an answer about its name.

use lighter_image::{ImportedImage, LayerDescriptor, Limits, OpenedImage, Selector, open_image};
use lighter_store::{Image, Lease, UnixSeconds};
use lighter_types::{ImageReference, OciDigest};

use super::import::import_layer;
use super::source::ImageSource;
use super::{AnyFiles, ImagesError, recipes, upstream_record};
use crate::shared::Shared;

/// Begins the tag under which an image is kept that was asked for by its digest; the digits follow.
const DIGEST_TAG: &str = "upstream.";

/// The name here of an image that was asked for by its digest. No registry's tag has this form by chance.
pub fn name_of(repository: &str, manifest: OciDigest) -> Option<ImageReference> {
    format!("{repository}:{DIGEST_TAG}{}", manifest.to_hex()).parse().ok()
}

/// Whether the tag is one of this node's own, for an image without a tag.
pub fn is_digest_tag(tag: &str) -> bool {
    let digits = tag.strip_prefix(DIGEST_TAG);
    digits.is_some_and(|digits| digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Asks the registry for the image's documents.
///
/// # Errors
/// As an import.
pub fn open(source: &ImageSource) -> Result<OpenedImage<AnyFiles>, ImagesError> {
    let selector = Selector::default();
    let opened = source.open(&selector).and_then(|files| {
        open_image(files, &selector, Limits::default())
            .map_err(|error| ImagesError::Source { path: source.to_string(), source: error })
    });
    opened.map_err(|error| source.failure_within(error))
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

/// Downloads a layer, checks what the image claims of it, and finds what makes its blob.
///
/// # Errors
/// As an import.
pub fn bring_layer(
    shared: &Shared,
    source: &ImageSource,
    opened: &mut OpenedImage<AnyFiles>,
    index: usize,
) -> Result<(), ImagesError> {
    let brought = import_layer(shared, opened, index, &mut |_| {}).and_then(|(_, _, copy)| match copy {
        Some(blob) => recipes::make(shared, &blob, &opened.image().layers[index], &mut |_| {}),
        None => Ok(()),
    });
    brought.map_err(|error| match source.failure_within(error) {
        ImagesError::Image(error) => ImagesError::Source { path: source.to_string(), source: error },
        error => error,
    })
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
    checked: UnixSeconds,
) -> Result<(), ImagesError> {
    let held = shared.store.reference(reference);
    let is_released = held.is_some_and(|held| upstream_record::checked_at(&held.release_record).is_none());
    let by_digest = || {
        let repository = reference.repository();
        name_of(repository, image.manifest_digest).ok_or_else(|| ImagesError::NoName { path: repository.to_owned() })
    };
    let reference = if is_released { by_digest()? } else { reference.clone() };
    let image = Image {
        manifest: image.manifest_digest,
        config: image.config_digest,
        layers: recipes::wanted(shared, &image.layers),
        release_record: upstream_record::record(checked),
    };
    Ok(shared.store.set_reference(&reference, image)?)
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
