//! The beginning of a blob: enough content to tell encoders apart, and guesses at the length of blocks that were
//! compressed apart.
//!
//! Such blocks end with a flush, an empty stored block (RFC 1951, section 3.2.4): the bytes 00 00 FF FF. Other data has
//! these bytes now and then, so the first few places are all tried.

use std::num::NonZeroU32;

use flate2::{Decompress, FlushDecompress, Status};
use lighter_types::ReadAt;

use super::Nearest;
use super::trial::Trial;
use crate::encoder::Encoder;
use crate::error::FindError;
use crate::gzip::{self, Header};

const FLUSH: [u8; 4] = [0, 0, 0xff, 0xff];
/// So many guesses, within so much of the blob and of its content.
const GUESSES_MAX: usize = 3;
const BLOB_BYTES: u64 = 4 << 20;
const GUESS_CONTENT_BYTES: u64 = 4 << 20;
/// Content for the encoders.
const CONTENT_BYTES: usize = 1 << 20;

pub struct Beginning {
    /// Where the compressed data begins.
    start: u64,
    content: Vec<u8>,
    /// Where the compressed data ends, if that is all content.
    end: Option<u64>,
    /// The content before the first flushes.
    pub block_bytes: Vec<NonZeroU32>,
}

impl Beginning {
    /// Reads the beginning of the first member. `None` if the blob does not begin with gzip.
    pub fn read(blob: &dyn ReadAt) -> Result<Option<Self>, FindError> {
        let mut bytes = vec![0; blob.len().0.min(BLOB_BYTES) as usize];
        blob.read_exact_at(&mut bytes, 0).map_err(|source| FindError::Blob { offset: 0, source })?;
        let Header::Bytes(start) = gzip::header(&bytes) else { return Ok(None) };
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
        Ok(Some(Self { start, content, end, block_bytes: block_bytes(deflated) }))
    }

    /// Where an encoder first differs.
    pub fn difference(&self, encoder: Encoder, blob: &dyn ReadAt) -> Result<Option<Nearest>, FindError> {
        let mut trial = Trial::new(encoder);
        trial.begin(self.start, 0);
        for piece in self.content.chunks(super::PIECE_BYTES) {
            trial.write(piece, blob)?;
            if trial.difference.is_some() {
                return Ok(trial.difference);
            }
        }
        if let Some(end) = self.end {
            trial.finish(end, self.content.len() as u64, blob)?;
        }
        Ok(trial.difference)
    }
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
