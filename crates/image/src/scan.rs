//! One pass over a layer's tar: computes sketch, sizes and, where it is wanted, TLSH, and passes the bytes on to a
//! sink, which computes the DiffId.
//!
//! The caller's thread decompresses and writes, and the sink hashes. Where there is no blob, the same thread estimates
//! the compressed size: the sketch takes longer than all of that. A second thread does the rest. Full buffers go to
//! it through a bounded channel and come back through another channel, so a scan holds [`BUFFERS`] buffers for a layer
//! of any size. TLSH takes more time than everything else together, so whoever has a layer to commit makes it later
//! ([`Hashes::Sketch`]). docs/IMAGES.md has the measurements.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use lighter_similarity::{Sketch, SketchBuilder, TlshHasher};
use lighter_types::{Bytes, Card, DiffId};

use crate::error::ImageError;
use crate::sample::CompressionSampler;
use crate::sink::TarSink;

/// The size of a buffer. It fits in the second-level cache, from which the hashes read it.
const BUFFER_BYTES: usize = 256 << 10;
/// The number of buffers: 4 MiB in total, enough for one thread to continue while the other waits for a disk.
const BUFFERS: usize = 16;

/// The hashes that tell how alike layers are, as a scan makes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hashes {
    /// TLSH and sketch.
    All,
    /// The sketch: plans need it as soon as the layer is there. The card has no TLSH yet.
    Sketch,
    /// Neither: the bytes are no tar, and nothing is like them. The sketch is that of no content.
    None,
}

/// The results of one pass over a tar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TarScan {
    /// DiffId, sizes and TLSH. `compressed_bytes` is the length of the compressed blob. For a tar without one, it is
    /// the size with gzip -6, estimated from samples (docs/IMAGES.md has the error). It is never more than the tar.
    pub card: Card,
    /// The sketch of the contents of the tar's files.
    pub sketch: Sketch,
}

/// The progress of a scan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScanProgress {
    /// Bytes read of the blob, or of a plain tar.
    pub blob_bytes: Bytes,
    /// Bytes passed to the sink.
    pub tar_bytes: Bytes,
}

/// The source of a scanned tar.
pub(crate) trait TarSource: Read {
    /// The bytes read of the blob.
    fn blob_bytes_read(&self) -> Bytes;
    /// The length of the compressed blob, if it is known.
    fn compressed_bytes(&self) -> Option<Bytes>;
}

/// Scans a plain tar: reads it to its end and writes it to `sink`. Calls `progress` every 256 KiB. Uses two threads and
/// about 5 MiB of memory. `compressed` is the length of the layer's compressed blob, if there is one and it is known.
///
/// # Errors
/// `Read` of `path` if the reader fails (or the [`ImageError`] that its error wraps), `Write` if the sink fails. After
/// an error, the caller must discard the bytes in the sink.
pub fn scan_tar(
    path: &str,
    reader: &mut dyn Read,
    compressed: Option<Bytes>,
    sink: &mut dyn TarSink,
    progress: &mut dyn FnMut(ScanProgress),
) -> Result<TarScan, ImageError> {
    scan(path, &mut PlainTar { reader, bytes: 0, compressed }, Hashes::All, sink, progress)
}

/// As [`scan_tar`], with these hashes.
///
/// # Errors
/// As [`scan_tar`].
pub fn scan_tar_with(
    hashes: Hashes,
    path: &str,
    reader: &mut dyn Read,
    compressed: Option<Bytes>,
    sink: &mut dyn TarSink,
) -> Result<TarScan, ImageError> {
    scan(path, &mut PlainTar { reader, bytes: 0, compressed }, hashes, sink, &mut |_| {})
}

/// As [`scan_tar`], for any source.
#[expect(
    clippy::disallowed_methods,
    reason = "the layer's hashes are computed beside its sha256; the thread ends with the call"
)]
pub(crate) fn scan(
    path: &str,
    source: &mut dyn TarSource,
    hashes: Hashes,
    sink: &mut dyn TarSink,
    progress: &mut dyn FnMut(ScanProgress),
) -> Result<TarScan, ImageError> {
    let mut facts = Facts::new(hashes);
    let mut compressed = CompressedSize::new(source.compressed_bytes());
    thread::scope(|scope| {
        let (full, full_end) = sync_channel::<Vec<u8>>(BUFFERS);
        let (empty_end, empty) = sync_channel::<Vec<u8>>(BUFFERS);
        for _ in 0..BUFFERS {
            // The channel has room for all buffers, and `empty` lives, so this neither blocks nor fails.
            let _ = empty_end.send(Vec::new());
        }
        let hashing = thread::Builder::new()
            .name("hashes".to_owned())
            .spawn_scoped(scope, move || {
                facts.take_all(&full_end, &empty_end);
                facts
            })
            .map_err(|error| ImageError::read("a new thread", error))?;
        let mut tar_bytes = 0;
        while let Ok(mut buffer) = empty.recv() {
            buffer.resize(BUFFER_BYTES, 0);
            let count = fill(source, &mut buffer).map_err(|error| ImageError::read(path, error))?;
            buffer.truncate(count);
            compressed.update(&buffer);
            sink.take(&buffer).map_err(|source| ImageError::Write { path: path.to_owned(), source })?;
            tar_bytes += count as u64;
            progress(ScanProgress { blob_bytes: source.blob_bytes_read(), tar_bytes: Bytes(tar_bytes) });
            if full.send(buffer).is_err() || count < BUFFER_BYTES {
                break;
            }
        }
        drop(full);
        let diff_id = sink.end().map_err(|source| ImageError::Write { path: path.to_owned(), source })?;
        match hashing.join() {
            Ok(facts) => Ok(facts.finish(diff_id, compressed)),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

struct PlainTar<'a> {
    reader: &'a mut dyn Read,
    bytes: u64,
    compressed: Option<Bytes>,
}

impl Read for PlainTar<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.bytes += count as u64;
        Ok(count)
    }
}

impl TarSource for PlainTar<'_> {
    fn blob_bytes_read(&self) -> Bytes {
        Bytes(self.bytes)
    }

    fn compressed_bytes(&self) -> Option<Bytes> {
        self.compressed
    }
}

/// The hashes but the sha256.
struct Facts {
    tlsh: Option<TlshHasher>,
    sketch: Option<SketchBuilder>,
    tar_bytes: u64,
}

enum CompressedSize {
    Known(Bytes),
    Sampled(Box<CompressionSampler>),
}

impl CompressedSize {
    fn new(known: Option<Bytes>) -> Self {
        known.map_or_else(|| Self::Sampled(Box::default()), Self::Known)
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Known(_) => {}
            Self::Sampled(sampler) => sampler.update(bytes),
        }
    }

    fn finish(self) -> Bytes {
        match self {
            Self::Known(bytes) => bytes,
            Self::Sampled(sampler) => sampler.finish(),
        }
    }
}

impl Facts {
    fn new(hashes: Hashes) -> Self {
        let tlsh = (hashes == Hashes::All).then(TlshHasher::new);
        let sketch = (hashes != Hashes::None).then(SketchBuilder::new);
        Self { tlsh, sketch, tar_bytes: 0 }
    }

    fn take_all(&mut self, full: &Receiver<Vec<u8>>, empty: &SyncSender<Vec<u8>>) {
        for buffer in full {
            self.update(&buffer);
            // At the end of the tar nobody receives the empty buffers.
            let _ = empty.send(buffer);
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        if let Some(tlsh) = &mut self.tlsh {
            tlsh.update(bytes);
        }
        if let Some(sketch) = &mut self.sketch {
            sketch.push(bytes);
        }
        self.tar_bytes += bytes.len() as u64;
    }

    fn finish(self, diff_id: DiffId, compressed: CompressedSize) -> TarScan {
        let tar_bytes = Bytes(self.tar_bytes);
        let tlsh = self.tlsh.and_then(TlshHasher::finish);
        let card = Card { diff_id, tar_bytes, compressed_bytes: compressed.finish().min(tar_bytes), tlsh };
        TarScan { card, sketch: self.sketch.unwrap_or_default().finish() }
    }
}

/// Reads until `buffer` is full or the bytes end. Returns the number of bytes.
fn fill(reader: &mut dyn TarSource, buffer: &mut [u8]) -> io::Result<usize> {
    let mut count = 0;
    while count < buffer.len() {
        match reader.read(&mut buffer[count..]) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests;
