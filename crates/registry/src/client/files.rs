//! An image of a registry as [`Files`]: the OCI layout that `lighter_image` reads, whose blobs come over the network.
//!
//! `index.json` is made here, with the one document that the reference names. Every other file is a blob whose length
//! and kind a document named before. So the import's own choice of a platform and its checks decide, and no archive has
//! to be on disk. Documents are kept in memory, [`DOCUMENTS_BYTES_MAX`] together; layers stream.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use hyper::body::Bytes;
use lighter_image::{
    BlobDescriptor, Choice, DOCUMENT_BYTES_MAX, Files, OpenFile, Platform, Selector, parse_index, parse_manifest,
};
use lighter_types::OciDigest;
use serde_json::json;
use tokio::runtime::Handle;

use super::Upstream;
use super::download::Download;
use super::error::{Failure, UpstreamError};
use super::reference::UpstreamReference;

/// Documents of one image: 16 of the largest. An index for ten platforms with attestations has 60 KB.
const DOCUMENTS_BYTES_MAX: u64 = 64 << 20;
/// Documents of one image, which is the most requests for them.
const DOCUMENTS_MAX: usize = 512;

/// How the registry serves something.
#[derive(Clone, Copy, PartialEq, Eq)]
enum BlobKind {
    Manifest,
    Blob,
}

/// The files of an image in a registry. Reading blocks: it is for a thread that may wait.
pub struct RegistryFiles {
    source: BlobSource,
    index: Vec<u8>,
    wanted: Option<Platform>,
    named: BTreeMap<OciDigest, (BlobKind, BlobDescriptor)>,
    documents: BTreeMap<OciDigest, Vec<u8>>,
    document_bytes: u64,
}

/// Where blobs come from, and the first failure.
#[derive(Clone)]
pub struct BlobSource {
    upstream: Arc<Upstream>,
    handle: Handle,
    registry: String,
    repository: String,
    failure: Arc<Mutex<Option<UpstreamError>>>,
}

impl BlobSource {
    /// The failure that ended the last read, once. `lighter_image` passes on its text only.
    pub fn take_failure(&self) -> Option<UpstreamError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn failed(&self, error: UpstreamError) -> io::Error {
        let shown = io::Error::other(lighter_types::error_chain(&error));
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        shown
    }
}

impl Upstream {
    /// Asks the registry for the document that `reference` names. Blocks; `handle` is of the runtime with the network.
    ///
    /// # Errors
    /// What remains of all attempts at all sources.
    pub fn open(
        self: &Arc<Self>,
        handle: &Handle,
        reference: &UpstreamReference,
        selector: &Selector,
    ) -> Result<RegistryFiles, UpstreamError> {
        let (registry, repository) = (reference.registry().to_owned(), reference.repository().to_owned());
        let asked = reference.manifest();
        let document = handle.block_on(self.document(&registry, &repository, &asked, reference.digest()))?;
        let BlobDescriptor { digest, media_type, bytes } = &document.descriptor;
        let mut entry = json!({ "mediaType": media_type, "digest": digest.to_string(), "size": bytes.0 });
        if let Some(name) = reference.name() {
            entry["annotations"] = json!({ "org.opencontainers.image.ref.name": name.as_str() });
        }
        let index = json!({ "schemaVersion": 2, "manifests": [entry] }).to_string().into_bytes();
        // A chosen digest may be of any platform.
        let is_by_digest = matches!(selector.from, Some(Choice::Digest(_)));
        let platform = || selector.platform.clone().unwrap_or_else(Platform::host);
        let failure = Arc::default();
        let source = BlobSource { upstream: self.clone(), handle: handle.clone(), registry, repository, failure };
        let mut files = RegistryFiles {
            source,
            index,
            wanted: (!is_by_digest).then(platform),
            named: BTreeMap::new(),
            documents: BTreeMap::new(),
            document_bytes: 0,
        };
        files.keep(document.descriptor.digest, document.bytes);
        Ok(files)
    }
}

impl RegistryFiles {
    /// Tells failures apart afterwards.
    pub fn source(&self) -> BlobSource {
        self.source.clone()
    }

    /// Keeps a document, and learns what it names.
    fn keep(&mut self, digest: OciDigest, bytes: Vec<u8>) {
        self.document_bytes += bytes.len() as u64;
        if let Ok(entries) = parse_index(&bytes, &digest) {
            // Each manifest is a request, and Docker Hub counts these: where one is for the wanted platform, those for
            // others are not asked for.
            let is_wanted = |platform: &Option<Platform>| {
                platform.as_ref().zip(self.wanted.as_ref()).is_some_and(|(offered, wanted)| wanted.accepts(offered))
            };
            let has_wanted = entries.iter().any(|(_, platform)| is_wanted(platform));
            for (blob, platform) in &entries {
                if !has_wanted || platform.is_none() || is_wanted(platform) {
                    self.named.insert(blob.digest, (BlobKind::Manifest, blob.clone()));
                }
            }
        } else if let Ok(manifest) = parse_manifest(&bytes, &digest) {
            for blob in std::iter::once(manifest.config).chain(manifest.layers) {
                self.named.insert(blob.digest, (BlobKind::Blob, blob));
            }
        }
        self.documents.insert(digest, bytes);
    }

    /// Whether a blob is a document that the import reads whole: manifests, and configs by their size and place.
    fn fetch_document(&mut self, kind: BlobKind, blob: &BlobDescriptor) -> io::Result<()> {
        let BlobSource { upstream, handle, registry, repository, .. } = self.source.clone();
        let is_over = self.document_bytes + blob.bytes.0 > DOCUMENTS_BYTES_MAX || self.documents.len() >= DOCUMENTS_MAX;
        if is_over {
            let problem = format!("the image has more than {DOCUMENTS_MAX} documents or 64 MiB of them");
            let step = format!("get document {}", blob.digest);
            let failure = Failure::Protocol { problem };
            return Err(self.source.failed(UpstreamError { registry, repository, step, failure }));
        }
        let digest = blob.digest;
        let fetched = match kind {
            BlobKind::Manifest => {
                let asked = digest.to_string();
                let fetched = handle.block_on(upstream.document(&registry, &repository, &asked, Some(digest)));
                fetched.map(|document| document.bytes)
            }
            BlobKind::Blob => handle.block_on(async {
                let mut download = Download::new(upstream.clone(), &registry, &repository, blob.clone());
                let mut bytes = Vec::new();
                while let Some(chunk) = download.chunk().await? {
                    bytes.extend_from_slice(&chunk);
                }
                Ok(bytes)
            }),
        };
        let bytes = fetched.map_err(|error| self.source.failed(error))?;
        self.keep(digest, bytes);
        Ok(())
    }
}

impl Files for RegistryFiles {
    fn open(&mut self, path: &str) -> io::Result<Option<OpenFile<'_>>> {
        if path == "index.json" {
            return Ok(Some(in_memory(&self.index)));
        }
        let digest = path.strip_prefix("blobs/sha256/").and_then(|hex| format!("sha256:{hex}").parse().ok());
        let Some(digest): Option<OciDigest> = digest else { return Ok(None) };
        if !self.documents.contains_key(&digest) {
            let Some((kind, blob)) = self.named.get(&digest).cloned() else { return Ok(None) };
            let is_layer = kind == BlobKind::Blob && lighter_image::LayerMedia::from_media_type(&blob.media_type).is_some();
            if is_layer || blob.bytes > DOCUMENT_BYTES_MAX {
                let bytes = blob.bytes.0;
                let BlobSource { upstream, registry, repository, .. } = self.source.clone();
                let download = Download::new(upstream, &registry, &repository, blob);
                let reader = BlobReader { source: self.source.clone(), download, chunk: Bytes::new() };
                return Ok(Some(OpenFile { reader: Box::new(reader), bytes }));
            }
            self.fetch_document(kind, &blob)?;
        }
        Ok(self.documents.get(&digest).map(|bytes| in_memory(bytes)))
    }
}

fn in_memory(bytes: &[u8]) -> OpenFile<'_> {
    OpenFile { bytes: bytes.len() as u64, reader: Box::new(bytes) }
}

/// Reads a blob on a thread that may wait.
struct BlobReader {
    source: BlobSource,
    download: Download,
    chunk: Bytes,
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.chunk.is_empty() {
            let chunk = self.source.handle.block_on(self.download.chunk());
            self.chunk = chunk.map_err(|error| self.source.failed(error))?.unwrap_or_default();
        }
        let count = buffer.len().min(self.chunk.len());
        buffer[..count].copy_from_slice(&self.chunk.split_to(count));
        Ok(count)
    }
}
