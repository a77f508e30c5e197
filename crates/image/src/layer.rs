//! Reads a layer's blob as a stream of its tar: decompresses it, limits its size, and checks it against its descriptor.
//!
//! A [`LayerReader`] stacks a decoder on a [`Blob`]. The blob counts and hashes the compressed bytes and never reads
//! beyond the length in the descriptor. The decoder handles gzip files of several members and zstd files of several
//! frames. The reader stops when the tar exceeds the limit, so a small blob cannot fill the disk.
//!
//! Invariant: a reader that reaches its end has read the whole blob, with the length and the sha256 of the descriptor,
//! and found nothing after the compressed data. [`crate::scan`] compares the tar with the DiffId of the config.
//!
//! Sources: RFC 1952 (gzip; several members make one file), RFC 8878 (zstd; several frames, skippable frames).

use std::fmt::Display;
use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;
use lighter_types::{Bytes, OciDigest};
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use sha2::{Digest, Sha256};

use crate::error::ImageError;
use crate::files::OpenFile;
use crate::limits::Limits;
use crate::media::LayerMedia;
use crate::scan::TarSource;

/// The size of the buffer for reading the blob.
const BLOB_BUFFER_BYTES: usize = 256 << 10;
/// zstd decodes at most one block at a time (RFC 8878, section 3.1.1.2).
const ZSTD_STEP: BlockDecodingStrategy = BlockDecodingStrategy::UptoBlocks(1);

/// The tar of one layer. Reading it to its end checks the blob.
pub struct LayerReader<'a> {
    decoder: Decoder<'a>,
    /// The name of the layer in messages.
    path: String,
    blob_bytes: u64,
    tar_bytes: u64,
    tar_bytes_max: u64,
    is_done: bool,
}

enum Decoder<'a> {
    Plain(BufReader<Blob<'a>>),
    /// `None` only while the decoder of the next member replaces that of the previous one.
    Gzip(Box<Option<GzDecoder<BufReader<Blob<'a>>>>>),
    Zstd {
        blob: BufReader<Blob<'a>>,
        frame: Box<FrameDecoder>,
        is_within_frame: bool,
    },
}

impl<'a> LayerReader<'a> {
    /// Reads `file` as a blob of `bytes` bytes with the sha256 `digest`, if one is given.
    ///
    /// # Errors
    /// `Size` if the file has another length, `TooLarge` if the blob itself is over the limit for layers.
    pub(crate) fn new(
        path: String,
        file: OpenFile<'a>,
        media: LayerMedia,
        bytes: Bytes,
        digest: Option<OciDigest>,
        limits: &Limits,
    ) -> Result<Self, ImageError> {
        if file.bytes != bytes.0 {
            return Err(ImageError::Size { what: path, expected: bytes.0, found: file.bytes });
        }
        if bytes > limits.tar_bytes_max {
            return Err(ImageError::TooLarge { what: format!("size of {path}"), limit: limits.tar_bytes_max.0 });
        }
        let blob = Blob {
            path: path.clone(),
            reader: file.reader,
            position: 0,
            bytes: bytes.0,
            check: digest.map(|digest| (digest, Sha256::new())),
            failure: None,
        };
        let blob = BufReader::with_capacity(BLOB_BUFFER_BYTES, blob);
        let decoder = match media {
            LayerMedia::Plain => Decoder::Plain(blob),
            LayerMedia::Gzip => Decoder::Gzip(Box::new(Some(GzDecoder::new(blob)))),
            LayerMedia::Zstd => {
                let mut frame = Box::new(FrameDecoder::new());
                frame.set_max_window_size(limits.zstd_window_bytes_max.0);
                Decoder::Zstd { blob, frame, is_within_frame: false }
            }
        };
        let tar_bytes_max = limits.tar_bytes_max.0;
        Ok(Self { decoder, path, blob_bytes: bytes.0, tar_bytes: 0, tar_bytes_max, is_done: false })
    }

    /// Reads a blob whose length and sha256 the caller has checked. The blob itself may be over the limit for layers:
    /// what does not compress has more bytes than its tar.
    ///
    /// # Errors
    /// As those of any layer that is opened.
    pub fn of_checked(
        name: &str,
        reader: &'a mut (dyn Read + Send),
        media: LayerMedia,
        bytes: Bytes,
        limits: &Limits,
    ) -> Result<Self, ImageError> {
        let file = OpenFile { reader: Box::new(reader), bytes: bytes.0 };
        let for_both = Limits { tar_bytes_max: limits.tar_bytes_max.max(bytes), ..*limits };
        let reader = Self::new(format!("layer {name}"), file, media, bytes, None, &for_both)?;
        Ok(Self { tar_bytes_max: limits.tar_bytes_max.0, ..reader })
    }

    /// The name of the layer in messages: `layer` and the digest of its blob.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The length of the blob in its descriptor.
    pub fn blob_bytes(&self) -> Bytes {
        Bytes(self.blob_bytes)
    }

    fn blob(&self) -> Option<&BufReader<Blob<'a>>> {
        match &self.decoder {
            Decoder::Plain(blob) | Decoder::Zstd { blob, .. } => Some(blob),
            Decoder::Gzip(member) => (**member).as_ref().map(GzDecoder::get_ref),
        }
    }

    fn blob_mut(&mut self) -> Option<&mut Blob<'a>> {
        match &mut self.decoder {
            Decoder::Plain(blob) | Decoder::Zstd { blob, .. } => Some(blob.get_mut()),
            Decoder::Gzip(member) => (**member).as_mut().map(|member| member.get_mut().get_mut()),
        }
    }

    /// The offset of the decoder in the blob.
    fn offset(&self) -> u64 {
        self.blob().map_or(0, |blob| blob.get_ref().position - blob.buffer().len() as u64)
    }

    fn damaged(&self, problem: impl Into<String>) -> ImageError {
        ImageError::damaged(&self.path, self.offset(), problem)
    }

    /// The error for a failed decoder: the error of reading the blob if there is one, or else damage.
    fn decoder_error(&mut self, error: impl Display) -> ImageError {
        match self.blob_mut().and_then(|blob| blob.failure.take()) {
            Some(failure) => failure,
            None => self.damaged(error.to_string()),
        }
    }

    fn zstd_error(&mut self, error: FrameDecoderError) -> ImageError {
        if let FrameDecoderError::WindowSizeTooBig { requested, max } = error {
            let what = format!("zstd window of {requested} bytes in {}", self.path);
            return ImageError::TooLarge { what, limit: max };
        }
        let is_no_frame =
            matches!(error, FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::BadMagicNumber(_)));
        if is_no_frame && self.tar_bytes > 0 {
            return self.damaged("more bytes after the end of the zstd data");
        }
        self.decoder_error(error)
    }

    fn read_gzip(&mut self, buffer: &mut [u8]) -> Result<usize, ImageError> {
        let Decoder::Gzip(state) = &mut self.decoder else { return Ok(0) };
        let error = loop {
            let Some(member) = state.as_mut() else { return Ok(0) };
            match member.read(buffer) {
                Ok(0) => {}
                Ok(count) => return Ok(count),
                Err(error) => break error,
            }
            match member.get_mut().fill_buf() {
                Ok([]) => return Ok(0),
                Ok([0x1f, ..]) => **state = state.take().map(|member| GzDecoder::new(member.into_inner())),
                Ok(_) => return Err(self.damaged("more bytes after the end of the gzip data")),
                Err(error) => break error,
            }
        };
        Err(self.decoder_error(error))
    }

    fn read_zstd(&mut self, buffer: &mut [u8]) -> Result<usize, ImageError> {
        loop {
            let Decoder::Zstd { blob, frame, is_within_frame } = &mut self.decoder else { return Ok(0) };
            if !*is_within_frame {
                match next_frame(blob, frame) {
                    Ok(true) => *is_within_frame = true,
                    Ok(false) => return Ok(0),
                    Err(error) => return Err(self.zstd_error(error)),
                }
                continue;
            }
            if frame.can_collect() == 0 {
                if frame.is_finished() {
                    *is_within_frame = false;
                } else if let Err(error) = frame.decode_blocks(&mut *blob, ZSTD_STEP) {
                    return Err(self.zstd_error(error));
                }
                continue;
            }
            return frame.read(buffer).map_err(|error| self.decoder_error(error));
        }
    }
}

impl Read for LayerReader<'_> {
    /// # Errors
    /// A wrapped [`ImageError`]: `Damaged`, `Size`, `Digest`, `TooLarge`, `Read`.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_done || buffer.is_empty() {
            return Ok(0);
        }
        let count = match &mut self.decoder {
            Decoder::Plain(blob) => blob.read(buffer).map_err(|error| self.decoder_error(error))?,
            Decoder::Gzip(_) => self.read_gzip(buffer)?,
            Decoder::Zstd { .. } => self.read_zstd(buffer)?,
        };
        if count == 0 {
            self.blob_mut().map_or(Ok(()), Blob::check_digest)?;
            self.is_done = true;
        }
        self.tar_bytes += count as u64;
        if self.tar_bytes > self.tar_bytes_max {
            let what = format!("uncompressed size of {} ({} bytes compressed)", self.path, self.blob_bytes);
            return Err(ImageError::TooLarge { what, limit: self.tar_bytes_max }.into());
        }
        Ok(count)
    }
}

impl TarSource for LayerReader<'_> {
    fn blob_bytes_read(&self) -> Bytes {
        Bytes(self.blob().map_or(0, |blob| blob.get_ref().position))
    }

    fn compressed_bytes(&self) -> Option<Bytes> {
        match self.decoder {
            Decoder::Plain(_) => None,
            Decoder::Gzip(_) | Decoder::Zstd { .. } => Some(Bytes(self.blob_bytes)),
        }
    }
}

/// The bytes of a blob. Counts and hashes them while they are read.
struct Blob<'a> {
    path: String,
    reader: Box<dyn Read + Send + 'a>,
    position: u64,
    bytes: u64,
    check: Option<(OciDigest, Sha256)>,
    /// The error of a failed read. It is kept here, because decoders wrap errors in their own types.
    failure: Option<ImageError>,
}

impl Blob<'_> {
    fn fail(&mut self, failure: ImageError) -> io::Error {
        let error = io::Error::other(failure.to_string());
        self.failure = Some(failure);
        error
    }

    fn check_digest(&mut self) -> Result<(), ImageError> {
        let Some((expected, hasher)) = self.check.take() else { return Ok(()) };
        let found = OciDigest::new(hasher.finalize().into());
        if found == expected {
            return Ok(());
        }
        let what = format!("sha256 of {}", self.path);
        Err(ImageError::Digest { what, expected: expected.to_string(), found: found.to_string() })
    }
}

impl Read for Blob<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.bytes - self.position).unwrap_or(usize::MAX);
        let wanted = left.min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        let count = loop {
            match self.reader.read(&mut buffer[..wanted]) {
                Ok(0) => {
                    let what = self.path.clone();
                    return Err(self.fail(ImageError::Size { what, expected: self.bytes, found: self.position }));
                }
                Ok(count) => break count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.fail(ImageError::read(&self.path, error))),
            }
        };
        if let Some((_, hasher)) = &mut self.check {
            hasher.update(&buffer[..count]);
        }
        self.position += count as u64;
        Ok(count)
    }
}

/// Begins the next frame after skippable ones. Returns false at the end of the blob.
fn next_frame(blob: &mut impl BufRead, frame: &mut FrameDecoder) -> Result<bool, FrameDecoderError> {
    loop {
        if blob.fill_buf().map_err(FrameDecoderError::FailedToReadChecksum)?.is_empty() {
            return Ok(false);
        }
        match frame.init(&mut *blob) {
            Ok(()) => return Ok(true),
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                let wanted = u64::from(length);
                match io::copy(&mut blob.by_ref().take(wanted), &mut io::sink()) {
                    Ok(skipped) if skipped == wanted => {}
                    _ => return Err(FrameDecoderError::FailedToSkipFrame),
                }
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
