//! An image of a registry as [`Files`]: the OCI layout that `lighter_image` reads, whose blobs come over the network.
//!
//! `index.json` is made here, with the one document that the reference names. Every other file is a blob whose length
//! and kind a document named before. So the import's own choice of a platform and its checks decide, and no archive has
//! to be on disk. Documents are kept in memory, [`DOCUMENTS_BYTES_MAX`] together; layers stream.
//!
//! At first, the documents of the wanted platform alone can be opened, because an import may want no others. After
//! [`Files::widen`], all that a document names can be, and a document that the registry does not have is absent.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use hyper::body::Bytes;
use lighter_image::{
    ARTIFACT_BYTES_MAX, BlobDescriptor, Choice, DOCUMENT_BYTES_MAX, Document, Files, LayerMedia, OpenFile, Platform,
    Referring, Selector, Subject, parse_index, parse_manifest,
};
use lighter_types::OciDigest;
use serde_json::json;
use tokio::runtime::Handle;

use super::Upstream;
use super::download::Download;
use super::error::{Failure, UpstreamError};
use super::reference::UpstreamReference;
use super::referring::{Asked, Asking};

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
    /// How what refers to the image is asked for, once that is wanted.
    asking: Option<Asking>,
    /// The last blob of an artifact.
    beside: Vec<u8>,
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

    /// Waits for the network on this thread.
    fn wait<T>(&self, step: &str, work: impl Future<Output = Result<T, UpstreamError>>) -> Result<T, UpstreamError> {
        self.handle.block_on(async {
            tokio::select! {
                done = work => done,
                () = self.upstream.stop.cancelled() => Err(self.error(step, Failure::Stopping)),
            }
        })
    }

    fn error(&self, step: &str, failure: Failure) -> UpstreamError {
        let (registry, repository) = (self.registry.as_str().into(), self.repository.as_str().into());
        UpstreamError { registry, repository, step: step.into(), failure }
    }

    fn download(&self, blob: BlobDescriptor) -> Download {
        Download::new(self.upstream.clone(), &self.registry, &self.repository, blob)
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
    /// The last failure, when all attempts at all sources failed.
    pub fn open(
        self: &Arc<Self>,
        handle: &Handle,
        reference: &UpstreamReference,
        selector: &Selector,
    ) -> Result<RegistryFiles, UpstreamError> {
        let (registry, repository) = (reference.registry().to_owned(), reference.repository().to_owned());
        let asked = reference.manifest();
        let failure = Arc::default();
        let source = BlobSource { upstream: self.clone(), handle: handle.clone(), registry, repository, failure };
        let got = self.document(&source.registry, &source.repository, &asked, reference.digest());
        let document = source.wait(&format!("get manifest {asked}"), got)?;
        let BlobDescriptor { digest, media_type, bytes } = &document.descriptor;
        let mut entry = json!({ "mediaType": media_type, "digest": digest.to_string(), "size": bytes.0 });
        if let Some(name) = reference.name() {
            entry["annotations"] = json!({ "org.opencontainers.image.ref.name": name.as_str() });
        }
        let index = json!({ "schemaVersion": 2, "manifests": [entry] }).to_string().into_bytes();
        // A chosen digest may be of any platform.
        let is_by_digest = matches!(selector.from, Some(Choice::Digest(_)));
        let platform = || selector.platform.clone().unwrap_or_else(Platform::host);
        let mut files = RegistryFiles {
            source,
            index,
            wanted: (!is_by_digest).then(platform),
            named: BTreeMap::new(),
            documents: BTreeMap::new(),
            document_bytes: 0,
            asking: None,
            beside: Vec::new(),
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

    /// The same files, to be read beside these. Failures of its reads are its own.
    pub fn another(&self) -> Self {
        let BlobSource { upstream, handle, registry, repository, failure: _ } = self.source.clone();
        Self {
            source: BlobSource { upstream, handle, registry, repository, failure: Arc::default() },
            index: self.index.clone(),
            wanted: self.wanted.clone(),
            named: self.named.clone(),
            documents: self.documents.clone(),
            document_bytes: self.document_bytes,
            asking: None,
            beside: Vec::new(),
        }
    }

    /// Takes a document or a blob that the caller has, so that the registry is not asked for it. The reader compares
    /// it with its digest. It is left out where there is no room.
    pub fn know(&mut self, digest: OciDigest, bytes: Vec<u8>) {
        if !self.documents.contains_key(&digest) && !self.is_full(bytes.len() as u64) {
            self.document_bytes += bytes.len() as u64;
            self.documents.insert(digest, bytes);
        }
    }

    /// Learns all that a document names, of whatever kind it is.
    fn learn(&mut self, digest: OciDigest, bytes: &[u8]) {
        let Ok(document) = Document::read(&format!("document {digest}"), bytes) else { return };
        let manifests = document.manifests.into_iter().map(|blob| (BlobKind::Manifest, blob));
        let named = manifests.chain(document.blobs.into_iter().map(|blob| (BlobKind::Blob, blob)));
        for (kind, blob) in named {
            self.named.entry(blob.digest).or_insert((kind, blob));
        }
    }

    /// Keeps a document, and learns what it names.
    fn keep(&mut self, digest: OciDigest, bytes: Vec<u8>) {
        self.document_bytes += bytes.len() as u64;
        if self.asking.is_some() {
            self.learn(digest, &bytes);
        } else if let Ok(entries) = parse_index(&bytes, &digest) {
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

    /// Opens a document of another platform or of an artifact, or a blob of one: absent if the registry does not have
    /// it, or if it is one too many. The caller keeps blobs; they are not kept here too.
    fn open_beside(&mut self, kind: BlobKind, blob: &BlobDescriptor) -> io::Result<Option<OpenFile<'_>>> {
        let fetched = match kind {
            BlobKind::Manifest if self.is_full(blob.bytes.0) => return Ok(None),
            BlobKind::Manifest => self.fetch_document(kind, blob),
            BlobKind::Blob => {
                let step = format!("get blob {}", blob.digest);
                let read = self.source.wait(&step, whole(self.source.download(blob.clone())));
                read.map(|bytes| self.beside = bytes)
            }
        };
        match fetched {
            Ok(()) if kind == BlobKind::Blob => Ok(Some(in_memory(&self.beside))),
            Ok(()) => Ok(self.documents.get(&blob.digest).map(|bytes| in_memory(bytes))),
            Err(error) if error.failure.is_not_found() => Ok(None),
            Err(error) => Err(self.source.failed(error)),
        }
    }

    /// Whether no further document of this length is kept.
    fn is_full(&self, bytes: u64) -> bool {
        self.document_bytes + bytes > DOCUMENTS_BYTES_MAX || self.documents.len() >= DOCUMENTS_MAX
    }

    /// Fetches and keeps a document that the import reads whole.
    fn fetch_document(&mut self, kind: BlobKind, blob: &BlobDescriptor) -> Result<(), UpstreamError> {
        let (source, digest) = (&self.source, blob.digest);
        let step = format!("get document {digest}");
        if self.is_full(blob.bytes.0) {
            let problem = format!("the image has more than {DOCUMENTS_MAX} documents or 64 MiB of them");
            return Err(source.error(&step, Failure::Protocol { problem }));
        }
        let bytes = match kind {
            BlobKind::Manifest => {
                let (upstream, asked) = (&source.upstream, digest.to_string());
                let got = upstream.document(&source.registry, &source.repository, &asked, Some(digest));
                source.wait(&step, got)?.bytes
            }
            BlobKind::Blob => source.wait(&step, whole(source.download(blob.clone())))?,
        };
        self.keep(digest, bytes);
        Ok(())
    }
}

async fn whole(mut download: Download) -> Result<Vec<u8>, UpstreamError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = download.chunk().await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
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
            let is_layer = kind == BlobKind::Blob && LayerMedia::from_media_type(&blob.media_type).is_some();
            let bytes_max = if self.asking.is_some() { ARTIFACT_BYTES_MAX } else { DOCUMENT_BYTES_MAX };
            // The import refuses a larger one before it reads it.
            if is_layer || blob.bytes > bytes_max {
                let (bytes, step) = (blob.bytes.0, format!("get blob {}", blob.digest));
                let (source, download) = (self.source.clone(), self.source.download(blob));
                let reader = BlobReader { source, step, download, chunk: Bytes::new() };
                return Ok(Some(OpenFile { reader: Box::new(reader), bytes }));
            }
            if self.asking.is_some() {
                return self.open_beside(kind, &blob);
            }
            self.fetch_document(kind, &blob).map_err(|error| self.source.failed(error))?;
        }
        Ok(self.documents.get(&digest).map(|bytes| in_memory(bytes)))
    }

    fn widen(&mut self) {
        self.asking = Some(Asking::default());
        for (digest, bytes) in self.documents.clone() {
            self.learn(digest, &bytes);
        }
    }

    fn referring(&mut self, subject: &OciDigest, kind: Subject) -> io::Result<Referring> {
        let source = self.source.clone();
        let Some(asking) = &mut self.asking else { return Ok(Referring::default()) };
        let asked = asking.referring(&source.upstream, &source.registry, &source.repository, *subject, kind);
        let step = format!("list what refers to {subject}");
        let Asked { referring, documents } = source.wait(&step, asked).map_err(|error| source.failed(error))?;
        for found in &referring.found {
            self.named.entry(found.blob.digest).or_insert((BlobKind::Manifest, found.blob.clone()));
        }
        for (digest, bytes) in documents {
            if !self.is_full(bytes.len() as u64) {
                self.keep(digest, bytes);
            }
        }
        Ok(referring)
    }
}

fn in_memory(bytes: &[u8]) -> OpenFile<'_> {
    OpenFile { bytes: bytes.len() as u64, reader: Box::new(bytes) }
}

/// Reads a blob on a thread that may wait.
struct BlobReader {
    source: BlobSource,
    step: String,
    download: Download,
    chunk: Bytes,
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.chunk.is_empty() {
            let chunk = self.source.wait(&self.step, self.download.chunk());
            self.chunk = chunk.map_err(|error| self.source.failed(error))?.unwrap_or_default();
        }
        let count = buffer.len().min(self.chunk.len());
        buffer[..count].copy_from_slice(&self.chunk.split_to(count));
        Ok(count)
    }
}
