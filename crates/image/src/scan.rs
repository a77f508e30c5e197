//! One pass over a layer's tar: blake3, TLSH, sketch and sizes, while the bytes go on to a sink, which names them.
//!
//! The caller's thread inflates, hashes, sketches and writes; a second one does TLSH, which alone takes more time than
//! all the rest. Full buffers go to it through a bounded channel and come back empty through another, so a scan holds
//! [`BUFFERS`] buffers whatever the layer's size. docs/IMAGES.md has what was measured.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use lighter_similarity::{Sketch, SketchBuilder, TlshHasher};
use lighter_types::{Blake3, Bytes, Card, DiffId, Tlsh};

use crate::error::ImageError;
use crate::sample::CompressionSampler;
use crate::sink::TarSink;

/// Size of a buffer. A buffer that fits the second-level cache is hashed from there.
const BUFFER_BYTES: usize = 256 << 10;
/// How many buffers there are: 4 MiB in all, enough to let either thread wait for a disk while the other works.
const BUFFERS: usize = 16;

/// What one pass over a tar tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TarScan {
    /// DiffId, sizes and TLSH. `compressed_bytes` is the blob's length if it is compressed; for a plain tar what gzip
    /// -6 would make of it, estimated from samples (docs/IMAGES.md has the error). Never more than the tar.
    pub card: Card,
    pub blake3: Blake3,
    /// What its files' contents are made of.
    pub sketch: Sketch,
}

/// How far a scan is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScanProgress {
    /// Bytes taken from the blob, of the length that its descriptor says; for a plain tar, of the tar.
    pub blob_bytes: Bytes,
    /// Bytes given to the sink.
    pub tar_bytes: Bytes,
}

/// Where a scan gets its tar from.
pub(crate) trait TarSource: Read {
    /// Bytes taken from what the tar is made of.
    fn blob_bytes_read(&self) -> Bytes;
    /// Length of the compressed form, if there is one.
    fn compressed_bytes(&self) -> Option<Bytes>;
}

/// Reads a plain tar to its end, writes everything to `sink` in order, and tells what it was. `progress` is called
/// every 256 KiB. Uses two threads and about 5 MiB.
///
/// # Errors
/// `Read` of `path` if the reader fails (an [`ImageError`] within, as it is), `Write` if the sink does. What the sink
/// was given by then is not to be kept.
pub fn scan_tar(
    path: &str,
    reader: &mut dyn Read,
    sink: &mut dyn TarSink,
    progress: &mut dyn FnMut(ScanProgress),
) -> Result<TarScan, ImageError> {
    scan(path, &mut PlainTar { reader, bytes: 0 }, sink, progress)
}

/// [`scan_tar`] of any source.
#[expect(
    clippy::disallowed_methods,
    reason = "TLSH is computed beside the other hashes; the thread ends with the call"
)]
pub(crate) fn scan(
    path: &str,
    source: &mut dyn TarSource,
    sink: &mut dyn TarSink,
    progress: &mut dyn FnMut(ScanProgress),
) -> Result<TarScan, ImageError> {
    thread::scope(|scope| {
        let (full, full_end) = sync_channel::<Vec<u8>>(BUFFERS);
        let (empty_end, empty) = sync_channel::<Vec<u8>>(BUFFERS);
        for _ in 0..BUFFERS {
            // The channel holds as many as there are: this cannot block, nor fail while `empty` lives.
            let _ = empty_end.send(Vec::new());
        }
        let tlsh = thread::Builder::new()
            .name("tlsh".to_owned())
            .spawn_scoped(scope, move || hash_tlsh(&full_end, &empty_end))
            .map_err(|error| ImageError::read("a new thread", error))?;
        let mut hashes = Hashes::new(source.compressed_bytes());
        while let Ok(mut buffer) = empty.recv() {
            buffer.resize(BUFFER_BYTES, 0);
            let count = fill(source, &mut buffer).map_err(|error| ImageError::read(path, error))?;
            buffer.truncate(count);
            hashes.update(&buffer);
            sink.take(&buffer).map_err(|source| ImageError::Write { path: path.to_owned(), source })?;
            progress(ScanProgress { blob_bytes: source.blob_bytes_read(), tar_bytes: Bytes(hashes.tar_bytes) });
            if full.send(buffer).is_err() || count < BUFFER_BYTES {
                break;
            }
        }
        drop(full);
        let diff_id = sink.end().map_err(|source| ImageError::Write { path: path.to_owned(), source })?;
        match tlsh.join() {
            Ok(tlsh) => Ok(hashes.finish(diff_id, tlsh)),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

struct PlainTar<'a> {
    reader: &'a mut dyn Read,
    bytes: u64,
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
        None
    }
}

/// Everything but sha256 and TLSH.
struct Hashes {
    blake3: blake3::Hasher,
    sketch: SketchBuilder,
    compressed: CompressedSize,
    tar_bytes: u64,
}

enum CompressedSize {
    Known(Bytes),
    Sampled(Box<CompressionSampler>),
}

impl Hashes {
    fn new(compressed: Option<Bytes>) -> Self {
        let compressed = match compressed {
            Some(bytes) => CompressedSize::Known(bytes),
            None => CompressedSize::Sampled(Box::default()),
        };
        Self { blake3: blake3::Hasher::new(), sketch: SketchBuilder::new(), compressed, tar_bytes: 0 }
    }

    fn update(&mut self, bytes: &[u8]) {
        self.blake3.update(bytes);
        self.sketch.push(bytes);
        if let CompressedSize::Sampled(sampler) = &mut self.compressed {
            sampler.update(bytes);
        }
        self.tar_bytes += bytes.len() as u64;
    }

    fn finish(self, diff_id: DiffId, tlsh: Option<Tlsh>) -> TarScan {
        let tar_bytes = Bytes(self.tar_bytes);
        let compressed_bytes = match self.compressed {
            CompressedSize::Known(bytes) => bytes,
            CompressedSize::Sampled(sampler) => sampler.finish(),
        };
        let card = Card { diff_id, tar_bytes, compressed_bytes: compressed_bytes.min(tar_bytes), tlsh };
        TarScan { card, blake3: Blake3::new(self.blake3.finalize().into()), sketch: self.sketch.finish() }
    }
}

fn hash_tlsh(full: &Receiver<Vec<u8>>, empty: &SyncSender<Vec<u8>>) -> Option<Tlsh> {
    let mut hasher = TlshHasher::new();
    for buffer in full {
        hasher.update(&buffer);
        // Nobody waits for buffers once the end has been read.
        let _ = empty.send(buffer);
    }
    hasher.finish()
}

/// Reads until `buffer` is full or the bytes end; how many there were.
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
