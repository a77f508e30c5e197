//! Finds the companions of an image in its source.
//!
//! First come the documents below the top: each platform's manifest and config, and the attestations that BuildKit
//! keeps for the platform `unknown/unknown`. Then the source is asked what refers to the top, to each platform's
//! manifest, and to each artifact that was found: an OCI layout by the other entries of its `index.json`, a registry by
//! [`Files::referring`].
//!
//! An artifact comes whole or not at all: one that is too large, damaged or not there is left out, with a line that
//! names it. A read that fails ends the search: an image whose signature got lost that way would be refused everywhere.
//!
//! Sources: OCI distribution spec 1.1, "Listing Referrers", "Referrers Tag Schema"; cosign's tags, and the annotation
//! `kind` of the layouts that `cosign save` writes (pkg/oci/layout in its sources); BuildKit's attestation storage.

use std::collections::BTreeMap;
use std::io::Read;

use lighter_types::{Blame, Bytes, OciDigest};

use super::{
    ARTIFACT_BYTES_MAX, ARTIFACT_DEPTH_MAX, Bundle, COMPANIONS_BYTES_MAX, COMPANIONS_MAX, ENTRIES_MAX, Gathered,
    LINES_MAX, READS_MAX, SUBJECTS_MAX,
};
use crate::document::Document;
use crate::error::ImageError;
use crate::files::{Files, open_file};
use crate::imported::ImportedImage;
use crate::layout::{REF_NAME, blob_path, root_entries};
use crate::limits::{DOCUMENT_BYTES_MAX, INDEX_DEPTH_MAX};
use crate::manifest::{BlobDescriptor, RawDescriptor, artifact_kind, check_digest};
use crate::media::{INDEX_TYPES, MANIFEST_TYPES};
use crate::referring::{Referrer, Subject, subject_of_tag};

/// The annotation of `cosign save`, and the tags that cosign gives to such entries in a registry.
const COSIGN_KIND: &str = "kind";
const COSIGN_KINDS: [(&str, &str); 2] =
    [("dev.cosignproject.cosign/sigs", "sig"), ("dev.cosignproject.cosign/atts", "att")];

/// Why something is left out.
const FULL: &str = "the companions are too many already, or have too many bytes";
const ABSENT: &str = "it is not in the source, or cannot be read";

/// Finds the companions of `image`, whose tag stands for `top`: its manifest, or an index above it.
///
/// # Errors
/// `Read` if the source cannot be read; the errors of `index.json`.
pub(crate) fn gather(
    files: &mut dyn Files,
    image: &ImportedImage,
    top: &BlobDescriptor,
) -> Result<Gathered, ImageError> {
    files.widen();
    let mut gatherer = Gatherer {
        files,
        own: [image.manifest_digest, image.config_digest],
        objects: BTreeMap::new(),
        bytes: 0,
        subjects: vec![(top.digest, Subject::Image)],
        entries: vec![Referrer { blob: top.clone(), tag: None }],
        absent: 0,
        passed_over: Vec::new(),
        more: 0,
        reads: 0,
    };
    if top.digest != image.manifest_digest {
        gatherer.add_index(top, 0)?;
    }
    gatherer.add_referrers(top)?;
    Ok(gatherer.finish())
}

struct Gatherer<'a> {
    files: &'a mut dyn Files,
    /// The image's manifest and config, which are kept beside the companions.
    own: [OciDigest; 2],
    objects: BTreeMap<OciDigest, Vec<u8>>,
    bytes: u64,
    /// The manifests that something may refer to, in the order in which they were found.
    subjects: Vec<(OciDigest, Subject)>,
    /// The top document, then artifacts.
    entries: Vec<Referrer>,
    /// Documents of other platforms that are not in the source.
    absent: usize,
    passed_over: Vec<String>,
    /// Things that are left out without a line.
    more: usize,
    /// Blobs that were asked for.
    reads: usize,
}

/// An entry of `index.json` that may be an artifact.
struct Candidate {
    blob: BlobDescriptor,
    tag: Option<String>,
    subject: Option<OciDigest>,
}

impl Gatherer<'_> {
    fn finish(mut self) -> Gathered {
        if self.absent > 0 {
            self.passed_over.push(format!("{} documents of other platforms are not in the source", self.absent));
        }
        if self.more > 0 {
            self.passed_over.push(format!("{} more are left out", self.more));
        }
        let is_needed = !self.objects.is_empty() || self.entries.len() > 1;
        // The top stays the first.
        self.entries[1..].sort_by(|one, other| (one.blob.digest, &one.tag).cmp(&(other.blob.digest, &other.tag)));
        let bundle = is_needed.then(|| Bundle::new(&self.entries, self.objects));
        Gathered { bundle, passed_over: self.passed_over }
    }

    /// Adds an index of images and the documents below it.
    fn add_index(&mut self, index: &BlobDescriptor, depth: usize) -> Result<(), ImageError> {
        let Some((bytes, document)) = self.read_document(index)? else { return Ok(()) };
        if !self.has_room(bytes.len() as u64, 1) {
            self.pass_over(&index.digest, FULL);
            return Ok(());
        }
        self.put(index.digest, bytes);
        for below in document.manifests {
            if below.digest == self.own[0] {
                self.subjects.push((below.digest, Subject::Image));
            } else if self.objects.contains_key(&below.digest) {
                // Listed twice.
            } else if INDEX_TYPES.contains(&below.media_type.as_str()) && depth < INDEX_DEPTH_MAX {
                self.add_index(&below, depth + 1)?;
            } else {
                self.add_below(&below)?;
            }
        }
        Ok(())
    }

    /// Adds a manifest that an index of images lists: an image of another platform, without its layers, or an artifact.
    fn add_below(&mut self, manifest: &BlobDescriptor) -> Result<(), ImageError> {
        let Some((bytes, document)) = self.read_document(manifest)? else {
            self.absent += 1;
            return Ok(());
        };
        let config = match document.blobs.first() {
            Some(config) if !document.is_index && artifact_kind(&bytes).is_none() => config.clone(),
            _ => return self.add_artifact(manifest, 0).map(drop),
        };
        let config_bytes = match self.read(&config, DOCUMENT_BYTES_MAX) {
            Err(error) if is_of_source(&error) => None,
            read => Some(read?),
        };
        let length = (bytes.len() + config_bytes.as_ref().map_or(0, Vec::len)) as u64;
        if !self.has_room(length, 2) {
            self.pass_over(&manifest.digest, FULL);
            return Ok(());
        }
        self.put(manifest.digest, bytes);
        self.subjects.push((manifest.digest, Subject::Image));
        match config_bytes {
            Some(bytes) if config.digest != self.own[1] => self.put(config.digest, bytes),
            Some(_) => {}
            None => self.absent += 1,
        }
        Ok(())
    }

    /// Adds all that refers to the subjects, and to what is added.
    fn add_referrers(&mut self, top: &BlobDescriptor) -> Result<(), ImageError> {
        let mut candidates = self.candidates(top)?;
        let mut at = 0;
        while let Some((subject, kind)) = self.subjects.get(at).copied().filter(|_| at < SUBJECTS_MAX) {
            at += 1;
            let is_named = |tag: &String| subject_of_tag(tag) == Some(subject);
            let (referring, rest): (Vec<_>, Vec<_>) = candidates.into_iter().partition(|candidate| {
                candidate.subject == Some(subject) || candidate.tag.as_ref().is_some_and(is_named)
            });
            candidates = rest;
            for Candidate { blob, tag, .. } in referring {
                self.add_referrer(&blob, tag.filter(is_named))?;
            }
            let path = format!("what refers to {subject}");
            let asked = self.files.referring(&subject, kind).map_err(|error| ImageError::read(path, error))?;
            self.passed_over.extend(asked.passed_over);
            for Referrer { blob, tag } in asked.found {
                self.add_referrer(&blob, tag)?;
            }
        }
        Ok(())
    }

    /// The entries of `index.json` beside the image.
    fn candidates(&mut self, top: &BlobDescriptor) -> Result<Vec<Candidate>, ImageError> {
        let mut candidates = Vec::new();
        for entry in root_entries(self.files)?.into_iter().take(ENTRIES_MAX) {
            let tag = tag_of(&entry, top);
            let is_document = entry.media_type.is_empty()
                || INDEX_TYPES.iter().chain(&MANIFEST_TYPES).any(|known| *known == entry.media_type);
            let Ok(blob) = entry.into_blob("index.json") else { continue };
            if blob.digest == top.digest || self.own.contains(&blob.digest) || !is_document {
                continue;
            }
            let read = self.read_document(&blob)?;
            if let Some((_, Document { subject, .. })) = read {
                candidates.push(Candidate { blob, tag, subject });
            }
        }
        Ok(candidates)
    }

    /// Adds a document that refers to a subject, and its tag. The list of the referrers' tag is no artifact itself, and
    /// stands for what it lists.
    fn add_referrer(&mut self, blob: &BlobDescriptor, tag: Option<String>) -> Result<(), ImageError> {
        if self.own.contains(&blob.digest) || self.entries.iter().any(|known| known.blob == *blob && known.tag == tag) {
            return Ok(());
        }
        let Some((bytes, document)) = self.read_document(blob)? else {
            self.pass_over(&blob.digest, ABSENT);
            return Ok(());
        };
        let is_list = document.is_index && document.subject.is_none() && tag.is_some();
        if is_list {
            if !self.has_room(bytes.len() as u64, 1) {
                self.pass_over(&blob.digest, FULL);
                return Ok(());
            }
            self.put(blob.digest, bytes);
            for listed in &document.manifests {
                self.add_referrer(listed, None)?;
            }
        } else if !self.add_artifact(blob, 0)? {
            return Ok(());
        }
        let media_type = document.media_type;
        self.entries.push(Referrer { blob: BlobDescriptor { media_type, ..blob.clone() }, tag });
        Ok(())
    }

    /// Adds an artifact with its blobs; whether it is there now.
    fn add_artifact(&mut self, manifest: &BlobDescriptor, depth: usize) -> Result<bool, ImageError> {
        let digest = manifest.digest;
        if self.objects.contains_key(&digest) {
            return Ok(true);
        }
        let Some((bytes, document)) = self.read_document(manifest)? else {
            self.pass_over(&digest, ABSENT);
            return Ok(false);
        };
        let mut blobs: BTreeMap<OciDigest, BlobDescriptor> = BTreeMap::new();
        let missing = document.blobs.iter().filter(|blob| !self.objects.contains_key(&blob.digest));
        blobs.extend(missing.map(|blob| (blob.digest, blob.clone())));
        let sum = blobs.values().fold(bytes.len() as u64, |sum, blob| sum.saturating_add(blob.bytes.0));
        if sum > ARTIFACT_BYTES_MAX.0 {
            self.pass_over(&digest, &format!("it has {sum} bytes, more than {}", ARTIFACT_BYTES_MAX.0));
            return Ok(false);
        }
        if !self.has_room(sum, blobs.len() + 1) {
            self.pass_over(&digest, FULL);
            return Ok(false);
        }
        let mut read = Vec::with_capacity(blobs.len());
        for blob in blobs.values() {
            match self.read(blob, ARTIFACT_BYTES_MAX) {
                Ok(bytes) => read.push((blob.digest, bytes)),
                Err(error) if is_of_source(&error) => {
                    self.pass_over(&digest, &error.to_string());
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
        read.push((digest, bytes));
        for (digest, bytes) in read {
            self.put(digest, bytes);
        }
        self.subjects.push((digest, Subject::Artifact));
        if depth < ARTIFACT_DEPTH_MAX {
            for below in &document.manifests {
                self.add_artifact(below, depth + 1)?;
            }
        }
        Ok(true)
    }

    fn pass_over(&mut self, digest: &OciDigest, why: &str) {
        if self.passed_over.len() < LINES_MAX {
            self.passed_over.push(format!("{digest} is left out: {why}"));
        } else {
            self.more += 1;
        }
    }

    fn has_room(&self, bytes: u64, objects: usize) -> bool {
        let sum = self.bytes.saturating_add(bytes);
        sum <= COMPANIONS_BYTES_MAX.0 && self.objects.len() + objects <= COMPANIONS_MAX
    }

    fn put(&mut self, digest: OciDigest, bytes: Vec<u8>) {
        self.bytes += bytes.len() as u64;
        self.objects.insert(digest, bytes);
    }

    /// A document; `None` if the source does not have it, or has something else.
    fn read_document(&mut self, blob: &BlobDescriptor) -> Result<Option<(Vec<u8>, Document)>, ImageError> {
        let bytes = match self.read(blob, DOCUMENT_BYTES_MAX) {
            Err(error) if is_of_source(&error) => return Ok(None),
            bytes => bytes?,
        };
        let document = Document::read(&format!("document {}", blob.digest), &bytes).ok();
        Ok(document.map(|document| (bytes, document)))
    }

    /// Reads a blob of at most `bytes_max`, and checks its length and its digest.
    fn read(&mut self, blob: &BlobDescriptor, bytes_max: Bytes) -> Result<Vec<u8>, ImageError> {
        let (path, what) = (blob_path(&blob.digest), format!("blob {}", blob.digest));
        if blob.bytes > bytes_max {
            return Err(ImageError::TooLarge { what, limit: bytes_max.0 });
        }
        self.reads += 1;
        if self.reads > READS_MAX {
            return Err(ImageError::TooLarge { what: "number of companions".to_owned(), limit: READS_MAX as u64 });
        }
        let file = open_file(self.files, &path, "the image")?;
        let mut bytes = Vec::new();
        // One byte more shows a blob that is too long.
        let read = file.reader.take(blob.bytes.0 + 1).read_to_end(&mut bytes);
        read.map_err(|error| ImageError::read(&path, error))?;
        if bytes.len() as u64 != blob.bytes.0 {
            return Err(ImageError::Size { what, expected: blob.bytes.0, found: bytes.len() as u64 });
        }
        check_digest(&what, &bytes, &blob.digest)?;
        Ok(bytes)
    }
}

/// Whether the source is to blame: then the thing is left out.
fn is_of_source(error: &ImageError) -> bool {
    error.blame() == Blame::Peer
}

/// The tag of an entry; for an entry by `cosign save`, the one that cosign gives it in a registry.
fn tag_of(entry: &RawDescriptor, top: &BlobDescriptor) -> Option<String> {
    let annotation = |key: &str| entry.annotations.as_ref()?.get(key);
    let kind = annotation(COSIGN_KIND).and_then(|kind| COSIGN_KINDS.iter().find(|(known, _)| known == kind));
    if let Some((_, suffix)) = kind {
        return Some(format!("sha256-{}.{suffix}", top.digest.to_hex()));
    }
    let name = annotation(REF_NAME)?;
    Some(name.rsplit_once(':').map_or(name.as_str(), |(_, tag)| tag).to_owned())
}
