//! The tar of an image's companions.

use std::collections::BTreeMap;
use std::collections::btree_map::Iter;
use std::io::{self, Read};

use lighter_tar::entry;
use lighter_types::{Bytes, DiffId, OciDigest, ReadAt};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::read::{Companions, PATH};
use crate::error::ImageError;
use crate::layout::{REF_NAME, blob_path};
use crate::media::OCI_INDEX;
use crate::platform::Platform;
use crate::referring::Referrer;

/// The content of the layout's version file.
const LAYOUT_FILE: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
/// The end of a tar: two blocks of zeros.
const END: [u8; 1024] = [0; 1024];

/// The companions of an image in memory.
#[derive(Debug)]
pub struct Bundle {
    index: Vec<u8>,
    objects: BTreeMap<OciDigest, Vec<u8>>,
}

impl Bundle {
    /// `entries` are the top document and the artifacts; `objects` all documents and blobs, by digest.
    pub(super) fn new(entries: &[Referrer], objects: BTreeMap<OciDigest, Vec<u8>>) -> Self {
        let manifests = entries.iter().map(|Referrer { blob, tag }| {
            let mut descriptor =
                json!({ "mediaType": blob.media_type, "digest": blob.digest.to_string(), "size": blob.bytes.0 });
            if let Some(tag) = tag {
                descriptor["annotations"] = json!({ REF_NAME: tag });
            }
            descriptor
        });
        let manifests: Vec<_> = manifests.collect();
        let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests });
        Self { index: index.to_string().into_bytes(), objects }
    }

    /// Reads a bundle into memory, and compares each document and each blob with its digest. `manifest` is the image's
    /// own, which is not in it.
    ///
    /// # Errors
    /// `Read`; `Damaged` for what is no bundle; `Missing`, `Json`, `Digest`, `TooLarge`.
    pub fn read(bundle: &dyn ReadAt, manifest: &OciDigest) -> Result<Self, ImageError> {
        let companions = Companions::open(bundle)?;
        let mut objects = BTreeMap::new();
        for (digest, slice) in companions.blobs() {
            Companions::check_blob(bundle, slice, &digest)?;
            let mut bytes = vec![0; usize::try_from(slice.bytes.0).unwrap_or_default()];
            bundle.read_exact_at(&mut bytes, slice.offset).map_err(|error| ImageError::read(PATH, error))?;
            objects.insert(digest, bytes);
        }
        let top = companions.top();
        if top != *manifest && !objects.contains_key(&top) {
            return Err(ImageError::Missing { path: top.to_string(), named_by: PATH.to_owned() });
        }
        Ok(Self { index: companions.read_index(bundle)?, objects })
    }

    /// All documents and blobs, by digest.
    pub(crate) fn objects(&self) -> &BTreeMap<OciDigest, Vec<u8>> {
        &self.objects
    }

    /// The `index.json` of a layout with the image: the document that its name stands for under `name`, and what refers
    /// to it.
    ///
    /// # Errors
    /// `Damaged` for a list without an image.
    pub(crate) fn index_named(
        &self,
        name: &str,
        manifest: &OciDigest,
        platform: Option<&Platform>,
    ) -> Result<Vec<u8>, ImageError> {
        let damaged = || ImageError::damaged(PATH, 0, "its index.json lists no image");
        let mut index: Value = serde_json::from_slice(&self.index).map_err(|_| damaged())?;
        let manifests = index.get_mut("manifests").and_then(Value::as_array_mut);
        let top = manifests.and_then(|manifests| manifests.first_mut()?.as_object_mut()).ok_or_else(damaged)?;
        let digest: OciDigest =
            top.get("digest").and_then(|digest| digest.as_str()?.parse().ok()).ok_or_else(damaged)?;
        top.insert("annotations".to_owned(), json!({ REF_NAME: name }));
        if let Some(platform) = platform.filter(|_| digest == *manifest) {
            top.insert("platform".to_owned(), platform.to_json());
        }
        Ok(index.to_string().into_bytes())
    }

    /// Whether it has a document or a blob with this digest.
    pub fn has(&self, digest: &OciDigest) -> bool {
        self.objects.contains_key(digest)
    }

    /// The sha256 of the tar, which is its name as a layer, and its length.
    pub fn measure(&self) -> (DiffId, Bytes) {
        let (mut hasher, mut bytes) = (Sha256::new(), Bytes::ZERO);
        let mut reader = self.reader();
        while reader.next_piece() {
            hasher.update(&reader.piece);
            bytes += Bytes(reader.piece.len() as u64);
        }
        (DiffId::new(hasher.finalize().into()), bytes)
    }

    /// Reads the tar.
    pub fn reader(&self) -> BundleReader<'_> {
        BundleReader { bundle: self, objects: self.objects.iter(), next: Next::Begin, piece: Vec::new(), at: 0 }
    }
}

/// Reads the tar of a [`Bundle`]. Holds a copy of one object.
#[derive(Debug)]
pub struct BundleReader<'a> {
    bundle: &'a Bundle,
    objects: Iter<'a, OciDigest, Vec<u8>>,
    next: Next,
    piece: Vec<u8>,
    at: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Begin,
    Object,
    Nothing,
}

impl BundleReader<'_> {
    /// Goes on to the next entry, or to the end of the tar; whether there is one.
    fn next_piece(&mut self) -> bool {
        self.at = 0;
        self.piece = match self.next {
            Next::Begin => {
                self.next = Next::Object;
                let layout = entry("oci-layout", b'0', LAYOUT_FILE, "");
                [layout, entry("index.json", b'0', &self.bundle.index, "")].concat()
            }
            Next::Object => match self.objects.next() {
                Some((digest, bytes)) => entry(&blob_path(digest), b'0', bytes, ""),
                None => {
                    self.next = Next::Nothing;
                    END.to_vec()
                }
            },
            Next::Nothing => Vec::new(),
        };
        !self.piece.is_empty()
    }
}

impl Read for BundleReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.piece.len() && !self.next_piece() {
            return Ok(0);
        }
        let rest = &self.piece[self.at..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.at += count;
        Ok(count)
    }
}
