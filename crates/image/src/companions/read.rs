//! Reads the tar of an image's companions: which documents and blobs it has, where they lie, and what refers to what.
//!
//! The tar is walked once, header by header. Then the documents are read that `index.json` leads to, each checked
//! against its digest; blobs are not. A publisher signed the tar, but every length and count has a limit all the same.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};

use lighter_tar::TarReader;
use lighter_types::{Bytes, OciDigest, ReadAt};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{COMPANIONS_BYTES_MAX, COMPANIONS_MAX};
use crate::document::Document;
use crate::error::ImageError;
use crate::layout::REF_NAME;
use crate::limits::DOCUMENT_BYTES_MAX;
use crate::manifest::{RawIndex, check_document, parse};

pub(super) const PATH: &str = "the image's companions";

/// The place of a document or a blob in the tar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompanionSlice {
    pub offset: u64,
    pub bytes: Bytes,
}

/// An artifact that refers to an image, or to another artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    pub digest: OciDigest,
    pub artifact_type: Option<String>,
    /// With its config and its blobs.
    pub bytes: Bytes,
}

/// The content of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Companions {
    /// The place of `index.json`.
    index: CompanionSlice,
    top: OciDigest,
    objects: BTreeMap<OciDigest, CompanionSlice>,
    /// The media types of the documents.
    documents: BTreeMap<OciDigest, String>,
    tags: BTreeMap<String, OciDigest>,
    /// The descriptors of what refers to a manifest, by digest.
    referrers: BTreeMap<OciDigest, Vec<Value>>,
    artifacts: Vec<Artifact>,
}

impl Companions {
    /// Reads the list and the documents of a bundle, each checked against its digest. Blobs are not read:
    /// [`Self::check_blob`] checks one. Allocates at most one document and the descriptors of all.
    ///
    /// # Errors
    /// `Read`; `Damaged` for what is no bundle; `Missing`, `Json`, `Digest`, `TooLarge`.
    pub fn open(bundle: &dyn ReadAt) -> Result<Self, ImageError> {
        let (index, objects) = walk(bundle)?;
        let index = index.ok_or_else(|| missing("index.json"))?;
        let listed: RawIndex = parse("index.json", "an image index", &read(bundle, index)?)?;
        let mut entries = Vec::new();
        for entry in listed.manifests.unwrap_or_default() {
            let tag = entry.annotations.as_ref().and_then(|annotations| annotations.get(REF_NAME)).cloned();
            entries.push((entry.into_blob("index.json")?.digest, tag));
        }
        let top = entries.first().map(|(digest, _)| *digest).ok_or_else(|| missing("the image"))?;
        let mut companions = Self {
            index,
            top,
            objects,
            documents: BTreeMap::new(),
            tags: BTreeMap::new(),
            referrers: BTreeMap::new(),
            artifacts: Vec::new(),
        };
        companions.read_documents(bundle, entries.iter().map(|(digest, _)| *digest).collect())?;
        let tags = entries.into_iter().filter_map(|(digest, tag)| Some((tag?, digest)));
        companions.tags = tags.filter(|(_, digest)| companions.documents.contains_key(digest)).collect();
        Ok(companions)
    }

    /// Reads the documents that these lead to, each once.
    fn read_documents(&mut self, bundle: &dyn ReadAt, from: Vec<OciDigest>) -> Result<(), ImageError> {
        let mut waiting = from;
        let mut bytes_read = Bytes::ZERO;
        while let Some(digest) = waiting.pop() {
            // The image's own manifest and what its source lacked are not in it.
            let Some(slice) = self.objects.get(&digest).copied() else { continue };
            if self.documents.contains_key(&digest) {
                continue;
            }
            bytes_read += slice.bytes;
            if bytes_read > COMPANIONS_BYTES_MAX {
                return Err(ImageError::TooLarge { what: PATH.to_owned(), limit: COMPANIONS_BYTES_MAX.0 });
            }
            let path = format!("document {digest}");
            let bytes = read(bundle, slice)?;
            check_document(&path, &bytes, &digest)?;
            let document = Document::read(&path, &bytes)?;
            if let Some(subject) = document.subject {
                self.referrers.entry(subject).or_default().push(document.as_referrer(&digest, slice.bytes.0));
            }
            self.add_artifact(digest, slice, &document, &bytes);
            waiting.extend(document.manifests.iter().map(|below| below.digest));
            self.documents.insert(digest, document.media_type);
        }
        for listed in self.referrers.values_mut() {
            listed.sort_by(|one, other| one["digest"].as_str().cmp(&other["digest"].as_str()));
        }
        self.artifacts.sort_by_key(|artifact| artifact.digest);
        Ok(())
    }

    /// Notes a document that is neither an index nor an image of another platform.
    fn add_artifact(&mut self, digest: OciDigest, slice: CompanionSlice, document: &Document, bytes: &[u8]) {
        let kind = crate::manifest::artifact_kind(bytes);
        if document.subject.is_none() && (document.is_index || kind.is_none()) {
            return;
        }
        let blobs = document.blobs.iter().map(|blob| blob.bytes).sum::<Bytes>();
        let artifact_type = kind.or_else(|| document.artifact_type.clone());
        self.artifacts.push(Artifact { digest, artifact_type, bytes: slice.bytes + blobs });
    }

    /// The document that the image's tag stands for: an index, or the image's own manifest.
    pub fn top(&self) -> OciDigest {
        self.top
    }

    /// A manifest or an index, and its media type.
    pub fn document(&self, digest: &OciDigest) -> Option<(&str, CompanionSlice)> {
        Some((self.documents.get(digest)?, *self.objects.get(digest)?))
    }

    /// The bytes of a document, checked against its digest.
    ///
    /// # Errors
    /// `Missing`, `Read`, `Digest`, `TooLarge`.
    pub fn read_document(&self, bundle: &dyn ReadAt, digest: &OciDigest) -> Result<Vec<u8>, ImageError> {
        let (_, slice) = self.document(digest).ok_or_else(|| missing(&digest.to_string()))?;
        let bytes = read(bundle, slice)?;
        check_document(&format!("document {digest}"), &bytes, digest)?;
        Ok(bytes)
    }

    /// A config or another blob. A registry serves documents as blobs too.
    pub fn blob(&self, digest: &OciDigest) -> Option<CompanionSlice> {
        self.objects.get(digest).copied()
    }

    /// The bundle's `index.json`.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(super) fn read_index(&self, bundle: &dyn ReadAt) -> Result<Vec<u8>, ImageError> {
        read(bundle, self.index)
    }

    /// All documents and blobs, by digest.
    pub fn blobs(&self) -> impl Iterator<Item = (OciDigest, CompanionSlice)> {
        self.objects.iter().map(|(digest, slice)| (*digest, *slice))
    }

    /// Reads a blob once and compares it with its digest.
    ///
    /// # Errors
    /// `Read`, `Digest`.
    pub fn check_blob(bundle: &dyn ReadAt, slice: CompanionSlice, digest: &OciDigest) -> Result<(), ImageError> {
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 64 << 10];
        let (mut at, end) = (slice.offset, slice.offset + slice.bytes.0);
        while at < end {
            let count = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
            let part = &mut buffer[..count];
            bundle.read_exact_at(part, at).map_err(|error| ImageError::read(PATH, error))?;
            hasher.update(&*part);
            at += count as u64;
        }
        let found = OciDigest::new(hasher.finalize().into());
        if found != *digest {
            let what = format!("sha256 of blob {digest}");
            return Err(ImageError::Digest { what, expected: digest.to_string(), found: found.to_string() });
        }
        Ok(())
    }

    /// The document with a tag of its own: a signature by cosign, the list of an image's referrers.
    pub fn tagged(&self, tag: &str) -> Option<OciDigest> {
        self.tags.get(tag).copied()
    }

    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.tags.keys().map(String::as_str)
    }

    /// The descriptors of what refers to a manifest, as the distribution specification lists them, by digest.
    pub fn referrers(&self, subject: &OciDigest) -> &[Value] {
        self.referrers.get(subject).map_or(&[], Vec::as_slice)
    }

    /// Signatures, attestations and the like, by digest.
    pub fn artifacts(&self) -> &[Artifact] {
        &self.artifacts
    }
}

/// The places of `index.json` and of the blobs.
fn walk(bundle: &dyn ReadAt) -> Result<(Option<CompanionSlice>, BTreeMap<OciDigest, CompanionSlice>), ImageError> {
    let mut tar = TarReader::seekable(Positioned { bundle, at: 0 });
    let (mut index, mut objects) = (None, BTreeMap::new());
    let damaged = |offset: u64, problem: &str| ImageError::damaged(PATH, offset, problem);
    // Two files beside the blobs.
    for _ in 0..=COMPANIONS_MAX + 2 {
        let entry = match tar.next_entry() {
            Ok(Some(entry)) => entry,
            Ok(None) => return Ok((index, objects)),
            Err(lighter_tar::TarError::Read { source, .. }) => return Err(ImageError::read(PATH, source)),
            Err(error) => return Err(damaged(tar.offset(), &error.to_string())),
        };
        let slice = CompanionSlice { offset: entry.content_offset, bytes: Bytes(entry.content_bytes) };
        if slice.offset.checked_add(slice.bytes.0).is_none_or(|end| end > bundle.len().0) {
            return Err(damaged(entry.header_offset, "an entry ends behind the tar"));
        }
        let Ok(path) = str::from_utf8(&entry.path) else { continue };
        let hex = path.strip_prefix("blobs/sha256/");
        match hex.map(|hex| format!("sha256:{hex}").parse()) {
            Some(Ok(digest)) => drop(objects.insert(digest, slice)),
            Some(Err(_)) => return Err(damaged(entry.header_offset, "a blob without a digest")),
            None if path == "index.json" => index = Some(slice),
            None => {}
        }
    }
    Err(ImageError::TooLarge { what: format!("number of entries in {PATH}"), limit: COMPANIONS_MAX as u64 })
}

/// Reads a document, or fails for one that is too large.
fn read(bundle: &dyn ReadAt, slice: CompanionSlice) -> Result<Vec<u8>, ImageError> {
    if slice.bytes > DOCUMENT_BYTES_MAX {
        return Err(ImageError::TooLarge { what: PATH.to_owned(), limit: DOCUMENT_BYTES_MAX.0 });
    }
    let mut bytes = vec![0; usize::try_from(slice.bytes.0).unwrap_or_default()];
    bundle.read_exact_at(&mut bytes, slice.offset).map_err(|error| ImageError::read(PATH, error))?;
    Ok(bytes)
}

fn missing(what: &str) -> ImageError {
    ImageError::Missing { path: what.to_owned(), named_by: PATH.to_owned() }
}

/// A bundle from its first byte to its last.
struct Positioned<'a> {
    bundle: &'a dyn ReadAt,
    at: u64,
}

impl Read for Positioned<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.bundle.len().0.saturating_sub(self.at);
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        self.bundle.read_exact_at(&mut buffer[..count], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Positioned<'_> {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        let to = match position {
            SeekFrom::Start(to) => Some(to),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.bundle.len().0.checked_add_signed(by),
        };
        self.at = to.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
