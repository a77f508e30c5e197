//! Finds an image in an OCI layout.
//!
//! The search begins with the entries of `index.json`. If the selector has a name, only entries of that name count.
//! Each entry leads to manifests, directly or through nested indexes. These manifests are the candidates. With one
//! candidate and no requested platform, that candidate is the image. Otherwise the platform of each candidate decides,
//! from its index or from its config. The search fails if no candidate matches or if the match is ambiguous, and lists
//! the candidates. Then the manifest and the config of the chosen candidate are checked against their digests.
//!
//! Sources: OCI image spec 1.1, "Image Layout", "Image Index"; BuildKit's attestation storage (manifests for
//! `unknown/unknown`, which are skipped).

use std::collections::BTreeSet;

use lighter_types::OciDigest;
use serde::Deserialize;

use crate::error::ImageError;
use crate::files::{Files, read_document};
use crate::imported::{ImportedImage, Selector, SourceKind};
use crate::limits::{INDEX_DEPTH_MAX, INDEX_ENTRIES_MAX};
use crate::manifest::{
    BlobDescriptor, Config, Manifest, RawDescriptor, RawIndex, check_document, image_layers, parse, parse_config,
    parse_manifest,
};
use crate::media::{INDEX_TYPES, MANIFEST_TYPES};
use crate::platform::Platform;

/// The annotation with an image's name by the specification.
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation with the whole name in containerd and Docker, where `REF_NAME` has only the tag.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LayoutFile {
    image_layout_version: String,
}

/// One manifest of the layout.
struct Candidate {
    blob: BlobDescriptor,
    /// The platform in the index, if the index has one.
    platform: Option<Platform>,
    /// The entry of `index.json` that leads to the manifest, and the name of that entry.
    root: usize,
    name: Option<String>,
}

/// Returns the image and the path of each layer's blob.
pub(crate) fn open(files: &mut dyn Files, selector: &Selector) -> Result<(ImportedImage, Vec<String>), ImageError> {
    check_layout_file(files)?;
    let bytes = read_document(files, "index.json", "the OCI layout")?;
    let index: RawIndex = parse("index.json", "an image index", &bytes)?;
    let roots = roots_named(index.manifests, selector)?;
    let mut candidates = Vec::new();
    for (number, root) in roots.into_iter().enumerate() {
        let name = shown_name(&root, selector);
        collect(files, root, "index.json", 0, &mut |blob, platform| {
            candidates.push(Candidate { blob, platform, root: number, name: name.clone() });
            candidates.len()
        })?;
    }
    let chosen = choose(files, selector, candidates)?;
    read_image(files, chosen)
}

/// Checks the version of the layout. A layout without the file passes, because some writers forget it.
///
/// # Errors
/// `Unsupported` for a major version other than 1.
fn check_layout_file(files: &mut dyn Files) -> Result<(), ImageError> {
    let bytes = match read_document(files, "oci-layout", "the OCI layout") {
        Err(ImageError::Missing { .. }) => return Ok(()),
        result => result?,
    };
    let layout: LayoutFile = parse("oci-layout", "an OCI layout's version", &bytes)?;
    match layout.image_layout_version.split('.').next() {
        Some("1") => Ok(()),
        _ => Err(ImageError::Unsupported {
            what: "oci-layout".to_owned(),
            found: format!("version {:?}", layout.image_layout_version),
            wanted: "version 1",
        }),
    }
}

/// The entries of `index.json` that have the selected name.
fn roots_named(roots: Vec<RawDescriptor>, selector: &Selector) -> Result<Vec<RawDescriptor>, ImageError> {
    let Some(wanted) = &selector.ref_name else { return Ok(roots) };
    let (named, others): (Vec<_>, Vec<_>) =
        roots.into_iter().partition(|root| names_of(root).any(|name| name == wanted));
    if named.is_empty() {
        let present: BTreeSet<&str> = others.iter().flat_map(names_of).map(String::as_str).collect();
        return Err(ImageError::NoMatch { wanted: format!("named {wanted:?}"), present: listed(present) });
    }
    Ok(named)
}

/// Passes to `add` all manifests to which `descriptor` leads, through nested indexes. `add` returns the number of
/// manifests so far.
fn collect(
    files: &mut dyn Files,
    descriptor: RawDescriptor,
    named_in: &str,
    depth: usize,
    add: &mut dyn FnMut(BlobDescriptor, Option<Platform>) -> usize,
) -> Result<(), ImageError> {
    if INDEX_TYPES.contains(&descriptor.media_type.as_str()) {
        if depth >= INDEX_DEPTH_MAX {
            let what = format!("nesting of indexes in {named_in}");
            return Err(ImageError::TooLarge { what, limit: INDEX_DEPTH_MAX as u64 });
        }
        let blob = descriptor.into_blob(named_in)?;
        let path = format!("index {}", blob.digest);
        let bytes = read_blob(files, &blob, named_in, &path)?;
        let index: RawIndex = parse(&path, "an image index", &bytes)?;
        return index.manifests.into_iter().try_for_each(|below| collect(files, below, &path, depth + 1, add));
    }
    // Skip attestations, signatures and other artifacts, which are no images.
    let is_image = descriptor.media_type.is_empty() || MANIFEST_TYPES.contains(&descriptor.media_type.as_str());
    let platform = descriptor.platform.clone().map(Platform::from);
    if !is_image || platform.as_ref().is_some_and(|platform| platform.os == "unknown") {
        return Ok(());
    }
    if add(descriptor.into_blob(named_in)?, platform) > INDEX_ENTRIES_MAX {
        let what = "number of images in index.json".to_owned();
        return Err(ImageError::TooLarge { what, limit: INDEX_ENTRIES_MAX as u64 });
    }
    Ok(())
}

/// The candidate that matches the selector.
fn choose(files: &mut dyn Files, selector: &Selector, mut candidates: Vec<Candidate>) -> Result<Candidate, ImageError> {
    let mut seen = BTreeSet::new();
    candidates.retain(|candidate| seen.insert(candidate.blob.digest));
    if candidates.len() == 1 && selector.platform.is_none() {
        return Ok(candidates.remove(0));
    }
    for candidate in candidates.iter_mut().filter(|candidate| candidate.platform.is_none()) {
        let (manifest, _) = read_manifest(files, &candidate.blob)?;
        candidate.platform = read_config(files, &manifest)?.0.platform;
    }
    let wanted = selector.platform.clone().unwrap_or_else(Platform::host);
    let present: BTreeSet<String> = candidates.iter().map(Candidate::describe).collect();
    candidates.retain(|candidate| candidate.platform.as_ref().is_some_and(|offered| wanted.accepts(offered)));
    // Prefer a candidate without a variant, then the first one (OCI image spec, "Image Index").
    candidates.sort_by_key(|candidate| candidate.platform.as_ref().is_some_and(|platform| platform.variant.is_some()));
    let is_ambiguous = candidates.first().is_some_and(|first| candidates.iter().any(|other| first.is_rival_of(other)));
    match candidates.into_iter().next() {
        Some(candidate) if !is_ambiguous => Ok(candidate),
        _ => Err(ImageError::NoMatch {
            wanted: format!("for {wanted}"),
            present: listed(present.iter().map(String::as_str).collect()),
        }),
    }
}

fn read_image(files: &mut dyn Files, chosen: Candidate) -> Result<(ImportedImage, Vec<String>), ImageError> {
    let (manifest, manifest_bytes) = read_manifest(files, &chosen.blob)?;
    let (config, config_bytes) = read_config(files, &manifest)?;
    let layers = image_layers(&manifest, &config)?;
    let paths = layers.iter().map(|layer| blob_path(&layer.blob.digest)).collect();
    let image = ImportedImage {
        source_kind: SourceKind::OciLayout,
        manifest_digest: chosen.blob.digest,
        manifest_bytes,
        config_digest: manifest.config.digest,
        config_bytes,
        layers,
        platform: config.platform.or(chosen.platform),
        ref_name: chosen.name,
    };
    Ok((image, paths))
}

fn read_manifest(files: &mut dyn Files, blob: &BlobDescriptor) -> Result<(Manifest, Vec<u8>), ImageError> {
    let bytes = read_blob(files, blob, "index.json", &format!("manifest {}", blob.digest))?;
    Ok((parse_manifest(&bytes, &blob.digest)?, bytes))
}

fn read_config(files: &mut dyn Files, manifest: &Manifest) -> Result<(Config, Vec<u8>), ImageError> {
    let blob = &manifest.config;
    let bytes = read_blob(files, blob, "the manifest", &format!("config {}", blob.digest))?;
    Ok((parse_config(&bytes, &blob.digest)?, bytes))
}

/// Reads a document among the blobs and checks it against its descriptor.
fn read_blob(files: &mut dyn Files, blob: &BlobDescriptor, named_by: &str, what: &str) -> Result<Vec<u8>, ImageError> {
    let bytes = read_document(files, &blob_path(&blob.digest), named_by)?;
    if bytes.len() as u64 != blob.bytes.0 {
        let (expected, found) = (blob.bytes.0, bytes.len() as u64);
        return Err(ImageError::Size { what: what.to_owned(), expected, found });
    }
    check_document(what, &bytes, &blob.digest)?;
    Ok(bytes)
}

/// The path of a blob in a layout.
pub(crate) fn blob_path(digest: &OciDigest) -> String {
    format!("blobs/sha256/{}", digest.to_hex())
}

fn names_of(descriptor: &RawDescriptor) -> impl Iterator<Item = &String> {
    [CONTAINERD_NAME, REF_NAME].into_iter().filter_map(|key| descriptor.annotations.as_ref()?.get(key))
}

/// The selected name, or else the longest name that the source has for the image.
fn shown_name(descriptor: &RawDescriptor, selector: &Selector) -> Option<String> {
    selector.ref_name.clone().or_else(|| names_of(descriptor).next().cloned())
}

impl Candidate {
    /// Whether the choice between two candidates for the platform is ambiguous: they have different names, or they are
    /// for the same platform in different entries of `index.json`.
    fn is_rival_of(&self, other: &Self) -> bool {
        other.name != self.name || other.root != self.root && other.platform == self.platform
    }

    fn describe(&self) -> String {
        let platform = self.platform.as_ref().map_or("unknown platform".to_owned(), Platform::to_string);
        self.name.as_ref().map_or_else(|| platform.clone(), |name| format!("{name} ({platform})"))
    }
}

/// Lists at most 20 names for a message.
pub(crate) fn listed(present: BTreeSet<&str>) -> String {
    match present.len() {
        0 => "none".to_owned(),
        1..=20 => present.into_iter().collect::<Vec<_>>().join(", "),
        count => {
            let shown: Vec<_> = present.into_iter().take(20).collect();
            format!("{} and {} more", shown.join(", "), count - shown.len())
        }
    }
}

#[cfg(test)]
mod tests;
