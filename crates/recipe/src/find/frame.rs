//! Frames of zstd: their content, by ruzstd, and what their first and last bytes say of their encoder.

use std::io::{self, Read};
use std::num::NonZeroU32;

use lighter_types::ReadAt;
use ruzstd::decoding::errors::FrameDecoderError;
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use crate::encoder::{Class, Encoder, Kind};
use crate::error::FindError;
use crate::input::Input;
use crate::zstd::MAGIC;

/// The largest window: as much content is in memory.
const WINDOW_BYTES_MAX: u64 = 128 << 20;

/// One frame that is read.
pub struct Frame {
    /// Where it begins.
    start: u64,
    decoder: FrameDecoder,
    is_begun: bool,
}

impl Frame {
    pub fn new(start: u64) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(WINDOW_BYTES_MAX);
        Self { start, decoder, is_begun: false }
    }

    /// Puts content at the beginning of `piece`; how much. Nothing is left at the end of the frame, which is consumed.
    pub fn read(&mut self, input: &mut Input<'_>, piece: &mut [u8]) -> Result<usize, FindError> {
        let mut source = Source { input, error: None };
        if !self.is_begun {
            let begun = self.decoder.init(&mut source);
            begun.map_err(|error| self.failure(source.error.take(), &error, source.input))?;
            self.is_begun = true;
        }
        loop {
            let made = self.decoder.read(piece).map_err(|_| self.damaged(source.input))?;
            if made > 0 || self.decoder.is_finished() {
                return Ok(made);
            }
            let decoded = self.decoder.decode_blocks(&mut source, BlockDecodingStrategy::UptoBytes(piece.len()));
            decoded.map_err(|error| self.failure(source.error.take(), &error, source.input))?;
        }
    }

    fn damaged(&self, input: &Input<'_>) -> FindError {
        FindError::Damaged { member: self.start, offset: input.at }
    }

    fn failure(&self, read: Option<FindError>, error: &FrameDecoderError, input: &mut Input<'_>) -> FindError {
        if let Some(read) = read {
            return read;
        }
        if let FrameDecoderError::WindowSizeTooBig { max, .. } = error {
            return FindError::Window(*max);
        }
        match input.peek(1) {
            Ok([]) => FindError::Short { member: self.start },
            Ok(_) => self.damaged(input),
            Err(error) => error,
        }
    }
}

/// The blob as a reader, which keeps the error of the blob.
struct Source<'i, 'a> {
    input: &'i mut Input<'a>,
    error: Option<FindError>,
}

impl Read for Source<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let found = self.input.peek(1).map_err(|error| {
            self.error = Some(error);
            io::Error::from(io::ErrorKind::Other)
        })?;
        let count = found.len().min(buffer.len());
        let (Some(from), Some(to)) = (found.get(..count), buffer.get_mut(..count)) else { return Ok(0) };
        to.copy_from_slice(from);
        self.input.consume(count);
        Ok(count)
    }
}

/// The longest header of a frame (RFC 8878, section 3.1.1.1).
pub const HEADER_BYTES_MAX: usize = 18;

/// A frame's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    pub has_checksum: bool,
    pub content_bytes: Option<u64>,
    /// None of a frame of a single segment: its window is its content.
    pub window_bytes: Option<u64>,
}

impl Header {
    /// Reads a header at the beginning of `bytes` (RFC 8878, section 3.1.1.1). `None` if it is cut or names a
    /// dictionary.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (&descriptor, mut rest) = bytes.strip_prefix(&MAGIC)?.split_first()?;
        let (is_single_segment, dictionary) = (descriptor & 1 << 5 != 0, descriptor & 3);
        let mut window_bytes = None;
        if !is_single_segment {
            let (&window, behind) = rest.split_first()?;
            let base = 1u64 << (10 + (window >> 3));
            window_bytes = Some(base + base / 8 * u64::from(window & 7));
            rest = behind;
        }
        let size_bytes = [usize::from(is_single_segment), 2, 4, 8][usize::from(descriptor >> 6)];
        let mut size = [0; 8];
        size.get_mut(..size_bytes)?.copy_from_slice(rest.get(..size_bytes)?);
        // Two bytes count from 256.
        let content_bytes = u64::from_le_bytes(size).checked_add(if size_bytes == 2 { 256 } else { 0 })?;
        let content_bytes = (size_bytes > 0).then_some(content_bytes);
        let header = Self { has_checksum: descriptor & 1 << 2 != 0, content_bytes, window_bytes };
        (dictionary == 0).then_some(header)
    }
}

/// The descriptor of klauspost's frames: a checksum, no length (RFC 8878, section 3.1.1.1).
const STREAM_DESCRIPTOR: u8 = 4;
/// An empty last block, before the checksum.
const EMPTY_BLOCK: [u8; 3] = [1, 0, 0];
const CHECKSUM_BYTES: usize = 4;

/// The encoders of klauspost to try for a blob that begins with this frame.
pub fn encoders(blob: &dyn ReadAt, bytes: &[u8]) -> Result<Vec<Encoder>, FindError> {
    let mut end = [0; EMPTY_BLOCK.len() + CHECKSUM_BYTES];
    let offset = blob.len().0.saturating_sub(end.len() as u64);
    if blob.len().0 >= end.len() as u64 {
        blob.read_exact_at(&mut end, offset).map_err(|source| FindError::Blob { offset, source })?;
    }
    let is_end_joined = !end.starts_with(&EMPTY_BLOCK);
    let mut all = Encoder::all(Kind::Zstd, &[]);
    let first_write = first_write(bytes);
    for encoder in &mut all {
        (encoder.first_write, encoder.is_end_joined) = (first_write, is_end_joined);
    }
    all.retain(|encoder| encoder.is_known());
    let window_bytes = window_bytes(bytes);
    if all.iter().any(|encoder| encoder.zstd_window_bytes() == window_bytes) {
        all.retain(|encoder| encoder.zstd_window_bytes() == window_bytes);
    }
    // Such a first write is skopeo's, and most of those are of the first class.
    all.sort_by_key(|encoder| first_write.is_some() && encoder.class != Class::KpZstd1);
    Ok(all)
}

/// The window that a frame of a stream declares.
fn window_bytes(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [_, _, _, _, STREAM_DESCRIPTOR, window, ..] if window & 7 == 0 => Some(1 << (10 + (window >> 3))),
        _ => None,
    }
}

/// The content of the first block, if it is as short as a write that was made apart. Such a block is raw, or one byte
/// repeated.
fn first_write(bytes: &[u8]) -> Option<NonZeroU32> {
    let [_, _, _, _, STREAM_DESCRIPTOR, _, low, middle, high, ..] = bytes else { return None };
    let header = u32::from_le_bytes([*low, *middle, *high, 0]);
    let is_last_or_compressed = header & LAST_OR_COMPRESSED != 0;
    NonZeroU32::new(header >> 3).filter(|bytes| !is_last_or_compressed && bytes.get() < WRITE_BYTES_MAX)
}

/// Bits of a block's header (RFC 8878, section 3.1.1.2).
const LAST_OR_COMPRESSED: u32 = 0b101;
/// A longer first block is not one of a peek, but of content that does not compress.
const WRITE_BYTES_MAX: u32 = 64 << 10;
