//! Finds an image in an OCI layout.
//!
//! Each entry of `index.json` leads to manifests, directly or through nested indexes. Manifests of signatures,
//! attestations and other artifacts are passed over, with a line for each. Entries that cannot be read are passed over
//! too, as long as there is an image beside them. The selector chooses among the entries, by name, digest or place. A
//! platform then decides among the manifests, by the index or by their configs. The search fails if no manifest matches
//! or the choice is ambiguous, and lists the images. Manifest and config of the chosen image are checked against their
//! digests.
//!
//! Sources: OCI image spec 1.1, "Image Layout", "Image Index"; BuildKit's attestation storage (manifests for
//! `unknown/unknown`); cosign's storage of signatures (an image's config, layers of a type of its own).

use std::collections::{BTreeMap, BTreeSet};

use lighter_types::OciDigest;
use serde::Deserialize;

use crate::error::ImageError;
use crate::files::{Files, read_document};
use crate::imported::{Choice, ImportedImage, Selector, SourceKind};
use crate::limits::{INDEX_DEPTH_MAX, INDEX_ENTRIES_MAX};
use crate::manifest::{
    BlobDescriptor, Config, Manifest, RawDescriptor, RawIndex, artifact_kind, check_document, image_layers, parse,
    parse_config, parse_manifest,
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

/// An entry of `index.json`, and the manifests that it leads to.
struct Root {
    /// The digest of the entry itself, which may be an index.
    digest: String,
    /// The entry's names, the longest first.
    names: Vec<String>,
    candidates: Vec<Candidate>,
}

/// A manifest of the layout.
struct Candidate {
    blob: BlobDescriptor,
    /// The platform in the index, or else in the config.
    platform: Option<Platform>,
    /// The entry of `index.json` that leads to it, if that is an index and was not chosen by the manifest's own digest.
    top: Option<BlobDescriptor>,
}

/// The entries of a layout that are no images, and those that cannot be read.
#[derive(Default)]
struct Others {
    passed_over: Vec<String>,
    /// The first is the error if there is no image.
    failed: Vec<ImageError>,
}

/// An image that was found.
pub(crate) struct Found {
    pub(crate) image: ImportedImage,
    /// The path of each layer's blob.
    pub(crate) paths: Vec<String>,
    /// The document that the image's name stands for: an index, or the manifest.
    pub(crate) top: BlobDescriptor,
}

/// Finds the selected image.
pub(crate) fn open(files: &mut dyn Files, selector: &Selector) -> Result<Found, ImageError> {
    let (roots, mut others) = images(files)?;
    if roots.is_empty() && !others.failed.is_empty() {
        return Err(others.failed.swap_remove(0));
    }
    if roots.is_empty() && !others.passed_over.is_empty() {
        let (what, found) = ("index.json".to_owned(), others.passed_over.join("; "));
        return Err(ImageError::Unsupported { what, found, wanted: "an image" });
    }
    let mut present: Vec<String> = roots.iter().zip(1..).map(|(root, place)| root.describe(place)).collect();
    present.extend(others.failed.iter().map(|error| format!("one that cannot be read ({error})")));
    let present = listed(&present);
    let no_match = |wanted: String| ImageError::NoMatch { wanted, present: present.clone() };
    let chosen = match &selector.from {
        None => roots,
        Some(choice) => {
            let chosen = chosen_roots(roots, choice);
            if chosen.is_empty() {
                return Err(no_match(choice.to_string()));
            }
            chosen
        }
    };
    let (candidate, names) = choose(chosen, selector).map_err(no_match)?;
    let mut found = read_image(files, candidate)?;
    let image = &mut found.image;
    image.names = match &selector.from {
        Some(Choice::Name(name)) => vec![name.clone()],
        _ => names,
    };
    image.passed_over = others.passed_over;
    image.passed_over.extend(others.failed.iter().map(ToString::to_string));
    Ok(found)
}

/// The number of images.
pub(crate) fn count(files: &mut dyn Files) -> Result<usize, ImageError> {
    Ok(images(files)?.0.len())
}

/// The entries of `index.json` that lead to images, and the others. One that cannot be read keeps no other out.
fn images(files: &mut dyn Files) -> Result<(Vec<Root>, Others), ImageError> {
    check_layout_file(files)?;
    let mut others = Others::default();
    let mut roots = Vec::new();
    let mut count = 0;
    for root in root_entries(files)? {
        let names = names_of(&root);
        let digest = root.digest.clone();
        let top = root.clone().into_blob("index.json").ok();
        let mut found = Vec::new();
        collect(files, root, "index.json", 0, &mut others, &mut |candidate| {
            found.push(candidate);
            count += 1;
            count
        })?;
        let mut candidates = Vec::new();
        for mut candidate in found {
            match look_at(files, &mut candidate) {
                Ok(None) => {
                    candidate.top = top.clone().filter(|top| top.digest != candidate.blob.digest);
                    candidates.push(candidate);
                }
                Ok(Some(kind)) => others.passed_over.push(format!("{} is no image: {kind}", candidate.blob.digest)),
                Err(error) => others.failed.push(error),
            }
        }
        if !candidates.is_empty() {
            roots.push(Root { digest, names, candidates });
        }
    }
    Ok((roots, others))
}

/// The entries of `index.json`.
pub(crate) fn root_entries(files: &mut dyn Files) -> Result<Vec<RawDescriptor>, ImageError> {
    let bytes = read_document(files, "index.json", "the OCI layout")?;
    let index: RawIndex = parse("index.json", "an image index", &bytes)?;
    Ok(index.manifests.unwrap_or_default())
}

/// Looks at the manifest of a candidate; its kind if it is no image. An image without a platform gets its config's.
fn look_at(files: &mut dyn Files, candidate: &mut Candidate) -> Result<Option<String>, ImageError> {
    let path = format!("manifest {}", candidate.blob.digest);
    let bytes = match (read_blob(files, &candidate.blob, "index.json", &path), &candidate.platform) {
        // An index lists platforms whose images are somewhere else.
        (Err(ImageError::Missing { .. }), Some(_)) => return Ok(None),
        (bytes, _) => bytes?,
    };
    if let Some(kind) = artifact_kind(&bytes) {
        return Ok(Some(kind));
    }
    if candidate.platform.is_none() {
        let manifest = parse_manifest(&bytes, &candidate.blob.digest)?;
        candidate.platform = read_config(files, &manifest)?.0.platform;
    }
    Ok(None)
}

/// The entries that a choice may mean. An index that has the chosen manifest keeps only this manifest.
fn chosen_roots(roots: Vec<Root>, choice: &Choice) -> Vec<Root> {
    let mut roots = roots;
    match choice {
        Choice::Name(wanted) => roots.retain(|root| Choice::is_named(wanted, &root.names)),
        Choice::Place(place) => return roots.into_iter().nth(place.wrapping_sub(1)).into_iter().collect(),
        Choice::Digest(digest) => {
            let text = digest.to_string();
            for root in roots.iter_mut().filter(|root| root.digest != text) {
                root.candidates.retain(|candidate| candidate.blob.digest == *digest);
                root.candidates.iter_mut().for_each(|candidate| candidate.top = None);
            }
            roots.retain(|root| !root.candidates.is_empty());
        }
    }
    roots
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

/// Passes to `add` all manifests to which `descriptor` leads, through nested indexes. `add` returns the number of
/// manifests so far.
fn collect(
    files: &mut dyn Files,
    descriptor: RawDescriptor,
    named_in: &str,
    depth: usize,
    others: &mut Others,
    add: &mut dyn FnMut(Candidate) -> usize,
) -> Result<(), ImageError> {
    let media_type = descriptor.media_type.clone();
    let platform = descriptor.platform.clone().map(Platform::from);
    let digest = descriptor.digest.clone();
    let blob = match descriptor.into_blob(named_in) {
        Ok(blob) => blob,
        Err(error) => {
            others.failed.push(error);
            return Ok(());
        }
    };
    if INDEX_TYPES.contains(&media_type.as_str()) {
        if depth >= INDEX_DEPTH_MAX {
            let what = format!("nesting of indexes in {named_in}");
            return Err(ImageError::TooLarge { what, limit: INDEX_DEPTH_MAX as u64 });
        }
        let path = format!("index {}", blob.digest);
        let read = read_blob(files, &blob, named_in, &path);
        return match read.and_then(|bytes| parse::<RawIndex>(&path, "an image index", &bytes)) {
            Ok(index) => {
                let below = index.manifests.unwrap_or_default();
                below.into_iter().try_for_each(|below| collect(files, below, &path, depth + 1, others, add))
            }
            Err(error) => {
                others.failed.push(error);
                Ok(())
            }
        };
    }
    // BuildKit keeps attestations for the platform unknown/unknown.
    let is_manifest = media_type.is_empty() || MANIFEST_TYPES.contains(&media_type.as_str());
    if !is_manifest || platform.as_ref().is_some_and(|platform| platform.os == "unknown") {
        let kind = if is_manifest { "an attestation".to_owned() } else { media_type };
        others.passed_over.push(format!("{digest} is no image: {kind}"));
        return Ok(());
    }
    if add(Candidate { blob, platform, top: None }) > INDEX_ENTRIES_MAX {
        let what = "number of images in index.json".to_owned();
        return Err(ImageError::TooLarge { what, limit: INDEX_ENTRIES_MAX as u64 });
    }
    Ok(())
}

/// The candidate that matches the selector, with all names of the entries that lead to it.
///
/// # Errors
/// The image that was wanted, if none matches or the choice is ambiguous.
fn choose(roots: Vec<Root>, selector: &Selector) -> Result<(Candidate, Vec<String>), String> {
    let wanted = selector.platform.clone().unwrap_or_else(Platform::host);
    let all = roots.iter().flat_map(|root| &root.candidates).map(|candidate| candidate.blob.digest);
    let is_only = selector.platform.is_none() && all.collect::<BTreeSet<OciDigest>>().len() == 1;
    let mut names: BTreeMap<OciDigest, BTreeSet<String>> = BTreeMap::new();
    let mut matching: Vec<(Candidate, Option<String>)> = Vec::new();
    for root in roots {
        let name = root.names.into_iter().next();
        for candidate in &root.candidates {
            names.entry(candidate.blob.digest).or_default().extend(name.clone());
        }
        let is_accepted = |offered: &Platform| wanted.accepts(offered);
        let accepted = root
            .candidates
            .into_iter()
            .filter(|candidate| is_only || candidate.platform.as_ref().is_some_and(is_accepted));
        // The best of an entry is one without a variant, else the first (OCI image spec, "Image Index").
        matching.extend(accepted.min_by_key(Candidate::has_variant).map(|candidate| (candidate, name)));
    }
    matching.sort_by_key(|(candidate, _)| candidate.has_variant());
    let is_rival = |(one, name): &(Candidate, Option<String>), (other, other_name): &(Candidate, Option<String>)| {
        one.blob.digest != other.blob.digest && (name != other_name || one.platform == other.platform)
    };
    let is_ambiguous = matching.first().is_some_and(|first| matching.iter().any(|other| is_rival(first, other)));
    match matching.into_iter().next() {
        Some((candidate, _)) if !is_ambiguous => {
            let names = names.remove(&candidate.blob.digest).unwrap_or_default();
            Ok((candidate, names.into_iter().collect()))
        }
        _ => Err(format!("for {wanted}")),
    }
}

fn read_image(files: &mut dyn Files, chosen: Candidate) -> Result<Found, ImageError> {
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
        names: Vec::new(),
        passed_over: Vec::new(),
    };
    Ok(Found { image, paths, top: chosen.top.unwrap_or(chosen.blob) })
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

/// The names of an entry, the longest first.
fn names_of(descriptor: &RawDescriptor) -> Vec<String> {
    let annotation = |key| descriptor.annotations.as_ref()?.get(key).cloned();
    [CONTAINERD_NAME, REF_NAME].into_iter().filter_map(annotation).collect()
}

impl Candidate {
    fn has_variant(&self) -> bool {
        self.platform.as_ref().is_some_and(|platform| platform.variant.is_some())
    }
}

impl Root {
    /// Its place, names and platforms, for a message.
    fn describe(&self, place: usize) -> String {
        let platform = |candidate: &Candidate| {
            candidate.platform.as_ref().map_or("unknown platform".to_owned(), Platform::to_string)
        };
        let platforms: BTreeSet<String> = self.candidates.iter().map(platform).collect();
        let platforms = platforms.into_iter().collect::<Vec<_>>().join(", ");
        let name = self.names.first().map_or("without a name", String::as_str);
        format!("{place}: {name} ({platforms})")
    }
}

/// Lists at most 20 images for a message.
pub(crate) fn listed(present: &[String]) -> String {
    match present.len() {
        0 => "none".to_owned(),
        1..=20 => present.join("; "),
        count => format!("{} and {} more", present[..20].join("; "), count - 20),
    }
}

#[cfg(test)]
mod tests;
