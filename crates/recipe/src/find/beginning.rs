//! The beginning of a blob: enough content to tell encoders apart, and the encoders to try.
//!
//! Blocks that were compressed apart end with a flush, an empty stored block (RFC 1951, section 3.2.4): the bytes 00 00
//! FF FF. Other data has these bytes now and then, so the first few places are all tried as lengths of blocks. pigz
//! ends about half of its blocks so: the length of its blocks divides those of all such places.

use std::num::NonZeroU32;

use flate2::{Decompress, FlushDecompress, Status};
use lighter_types::ReadAt;

use super::frame::{self, Frame};
use super::trial::Trial;
use super::{Nearest, PIECE_BYTES, libzstd};
use crate::encoder::{Encoder, Kind};
use crate::error::FindError;
use crate::gzip::{self, Header};
use crate::input::Input;
use crate::zstd::MAGIC;

const FLUSH: [u8; 4] = [0, 0, 0xff, 0xff];
/// So many guesses, within so much of the blob and of its content.
const GUESSES_MAX: usize = 3;
const BLOB_BYTES: u64 = 4 << 20;
const GUESS_CONTENT_BYTES: u64 = 4 << 20;
/// The length of pigz's blocks: without an option, and what divides any.
const PIGZ_BLOCK_BYTES: NonZeroU32 = NonZeroU32::new(128 << 10).unwrap();
const PIGZ_UNIT_BYTES: u32 = 1 << 10;
/// The place of the operating system in a header of gzip, and the number of Unix (RFC 1952, section 2.3.1).
const OS_PLACE: usize = 9;
const UNIX: u8 = 3;
/// Content for the encoders.
const CONTENT_BYTES: usize = 1 << 20;

pub struct Beginning {
    /// Where the compressed data begins.
    start: u64,
    content: Vec<u8>,
    /// All content of the first member, if its header says.
    content_bytes: Option<u64>,
    /// Where the compressed data ends, if that is all content.
    end: Option<u64>,
    /// The encoders to try, the likeliest first.
    pub encoders: Vec<Encoder>,
}

impl Beginning {
    /// Reads the beginning of the first member. `None` if the blob begins with neither gzip nor zstd.
    pub fn read(blob: &dyn ReadAt) -> Result<Option<Self>, FindError> {
        let mut bytes = vec![0; blob.len().0.min(BLOB_BYTES) as usize];
        blob.read_exact_at(&mut bytes, 0).map_err(|source| FindError::Blob { offset: 0, source })?;
        match gzip::header(&bytes) {
            Header::Bytes(start) => Self::of_gzip(blob, &bytes, start).map(Some),
            Header::Absent if bytes.starts_with(&MAGIC) => Self::of_zstd(blob, &bytes).map(Some),
            Header::Unfinished | Header::Absent => Ok(None),
        }
    }

    fn of_zstd(blob: &dyn ReadAt, bytes: &[u8]) -> Result<Self, FindError> {
        let header = frame::Header::read(bytes);
        let (mut input, mut frame, mut content) = (Input::new(blob), Frame::new(0), Vec::new());
        let content_bytes = header.and_then(|header| header.content_bytes);
        let mut piece = vec![0; PIECE_BYTES];
        // One byte more tells that the frame goes on.
        while content.len() <= CONTENT_BYTES {
            let made = frame.read(&mut input, &mut piece)?;
            if made == 0 {
                let encoders = zstd_encoders(header, blob, bytes, &content)?;
                return Ok(Self { start: 0, content, content_bytes, end: Some(input.at), encoders });
            }
            content.extend_from_slice(piece.get(..made).unwrap_or_default());
        }
        // A whole number of blocks.
        content.truncate(CONTENT_BYTES);
        let encoders = zstd_encoders(header, blob, bytes, &content)?;
        Ok(Self { start: 0, content, content_bytes, end: None, encoders })
    }

    fn of_gzip(blob: &dyn ReadAt, bytes: &[u8], start: usize) -> Result<Self, FindError> {
        let deflated = bytes.get(start..).unwrap_or_default();
        let start = start as u64;
        let mut inflate = Decompress::new(false);
        let mut content = vec![0; CONTENT_BYTES];
        let damaged = |_| FindError::Damaged { member: start, offset: start };
        let status = inflate_into(&mut inflate, deflated, &mut content).map_err(damaged)?;
        content.truncate(inflate.total_out() as usize);
        let end = (status == Status::StreamEnd).then(|| start + inflate.total_in());
        if end.is_none() && content.len() < CONTENT_BYTES && blob.len().0 <= BLOB_BYTES {
            return Err(FindError::Short { member: start });
        }
        let encoders = encoders(&block_bytes(deflated), bytes);
        Ok(Self { start, content, content_bytes: None, end, encoders })
    }

    /// Where an encoder first differs.
    pub fn difference(&self, encoder: Encoder, blob: &dyn ReadAt) -> Result<Option<Nearest>, FindError> {
        let mut trial = Trial::new(encoder);
        trial.begin(self.start, 0, self.content_bytes);
        for piece in self.content.chunks(PIECE_BYTES) {
            trial.write(piece, blob)?;
            if trial.difference.is_some() {
                return Ok(trial.difference);
            }
        }
        match self.end {
            Some(end) => trial.finish(end, self.content.len() as u64, blob)?,
            None => trial.drain(blob)?,
        }
        Ok(trial.difference)
    }
}

/// The encoders for a frame of zstd: klauspost's first, which make most blobs.
fn zstd_encoders(
    header: Option<frame::Header>,
    blob: &dyn ReadAt,
    bytes: &[u8],
    content: &[u8],
) -> Result<Vec<Encoder>, FindError> {
    let mut all = frame::encoders(blob, bytes)?;
    if let Some(header) = header {
        all.extend(libzstd::encoders(header, content, blob)?);
    }
    Ok(all)
}

/// The encoders for a gzip member with flushes behind so much content. The header tells nothing for sure; but the
/// libraries of Go and klauspost do not claim to be on Unix, and GNU gzip and pigz always do.
fn encoders(flushes: &[NonZeroU32], header: &[u8]) -> Vec<Encoder> {
    let go = Encoder::all(Kind::Go, flushes);
    let zlib = Encoder::all(Kind::Zlib, &pigz_block_bytes(flushes));
    let is_unix = header.get(OS_PLACE) == Some(&UNIX);
    let mut all = if is_unix { [zlib, go].concat() } else { [go, zlib].concat() };
    // Streams with flushes are made in blocks, most of them.
    all.sort_by_key(|encoder| encoder.block_bytes.is_some() == flushes.is_empty());
    all
}

/// The lengths of blocks with which pigz may flush there: its default, and what divides all of them.
fn pigz_block_bytes(flushes: &[NonZeroU32]) -> Vec<NonZeroU32> {
    let flushes = flushes.iter().map(|bytes| bytes.get()).filter(|bytes| bytes.is_multiple_of(PIGZ_UNIT_BYTES));
    let divisor = flushes.reduce(greatest_common_divisor).unwrap_or_default();
    let parts = [1, 2, 3].map(|part| divisor / part).into_iter().filter(|part| part.is_multiple_of(PIGZ_UNIT_BYTES));
    let mut lengths = vec![PIGZ_BLOCK_BYTES];
    lengths.extend(parts.filter_map(NonZeroU32::new).filter(|&part| part != PIGZ_BLOCK_BYTES));
    lengths
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// Inflates until the content is full or the bytes are used.
fn inflate_into(
    inflate: &mut Decompress,
    deflated: &[u8],
    content: &mut [u8],
) -> Result<Status, flate2::DecompressError> {
    loop {
        let (used, made) = (inflate.total_in(), inflate.total_out());
        let (rest, room) = (deflated.get(used as usize..), content.get_mut(made as usize..));
        let (rest, room) = (rest.unwrap_or_default(), room.unwrap_or_default());
        let status = inflate.decompress(rest, room, FlushDecompress::None)?;
        if status == Status::StreamEnd || (inflate.total_in(), inflate.total_out()) == (used, made) {
            return Ok(status);
        }
    }
}

/// The content before the first flushes. Empty if there is none.
fn block_bytes(deflated: &[u8]) -> Vec<NonZeroU32> {
    let mut inflate = Decompress::new(false);
    let mut content = vec![0; 256 << 10];
    let mut guesses = Vec::new();
    let flushes = deflated.windows(FLUSH.len()).enumerate().filter(|(_, window)| *window == FLUSH);
    for (at, _) in flushes {
        let end = at + FLUSH.len();
        let is_running = inflate_to(&mut inflate, deflated.get(..end).unwrap_or_default(), &mut content);
        let guess = u32::try_from(inflate.total_out()).ok().and_then(NonZeroU32::new);
        if !is_running || inflate.total_out() > GUESS_CONTENT_BYTES {
            break;
        }
        guesses.extend(guess.filter(|guess| !guesses.contains(guess)));
        if guesses.len() == GUESSES_MAX {
            break;
        }
    }
    guesses
}

/// Inflates as far as the bytes reach. Whether the stream goes on there.
fn inflate_to(inflate: &mut Decompress, deflated: &[u8], content: &mut [u8]) -> bool {
    loop {
        let before = (inflate.total_in(), inflate.total_out());
        let rest = deflated.get(before.0 as usize..).unwrap_or_default();
        match inflate.decompress(rest, content, FlushDecompress::None) {
            Ok(Status::Ok | Status::BufError) if inflate.total_out() > GUESS_CONTENT_BYTES => return false,
            Ok(Status::Ok | Status::BufError) if (inflate.total_in(), inflate.total_out()) == before => return true,
            Ok(Status::Ok | Status::BufError) => {}
            Ok(Status::StreamEnd) | Err(_) => return false,
        }
    }
}
