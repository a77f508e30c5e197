//! Guesses the length of the blocks that were compressed apart: the content before the first flushes.
//!
//! A flush is an empty stored block (RFC 1951, section 3.2.4): the bytes 00 00 FF FF. Other data has these bytes now and
//! then, so the first few places are all tried.

use std::num::NonZeroU32;

use flate2::{Decompress, FlushDecompress, Status};
use lighter_types::ReadAt;

use crate::error::FindError;
use crate::gzip::{self, Header};

const FLUSH: [u8; 4] = [0, 0, 0xff, 0xff];
/// So many guesses, within so much of the blob and of its content.
const GUESSES_MAX: usize = 3;
const BLOB_BYTES: u64 = 16 << 20;
const CONTENT_BYTES: u64 = 16 << 20;

/// The content before the first flushes of the first member. Empty if there is none, or no gzip.
pub fn block_bytes(blob: &dyn ReadAt) -> Result<Vec<NonZeroU32>, FindError> {
    let mut bytes = vec![0; blob.len().0.min(BLOB_BYTES) as usize];
    blob.read_exact_at(&mut bytes, 0).map_err(|source| FindError::Blob { offset: 0, source })?;
    let Header::Bytes(start) = gzip::header(&bytes) else { return Ok(Vec::new()) };
    let deflated = bytes.get(start..).unwrap_or_default();
    let mut inflate = Decompress::new(false);
    let mut content = vec![0; 256 << 10];
    let mut guesses = Vec::new();
    let flushes = deflated.windows(FLUSH.len()).enumerate().filter(|(_, window)| *window == FLUSH);
    for (at, _) in flushes {
        let end = at + FLUSH.len();
        let is_running = inflate_to(&mut inflate, deflated.get(..end).unwrap_or_default(), &mut content);
        if !is_running || inflate.total_out() > CONTENT_BYTES {
            break;
        }
        let guess = u32::try_from(inflate.total_out()).ok().and_then(NonZeroU32::new);
        guesses.extend(guess.filter(|guess| !guesses.contains(guess)));
        if guesses.len() == GUESSES_MAX {
            break;
        }
    }
    Ok(guesses)
}

/// Inflates as far as the bytes reach. Whether the stream goes on there.
fn inflate_to(inflate: &mut Decompress, deflated: &[u8], content: &mut [u8]) -> bool {
    loop {
        let before = (inflate.total_in(), inflate.total_out());
        let rest = deflated.get(before.0 as usize..).unwrap_or_default();
        match inflate.decompress(rest, content, FlushDecompress::None) {
            Ok(Status::Ok | Status::BufError) if inflate.total_out() > CONTENT_BYTES => return false,
            Ok(Status::Ok | Status::BufError) if (inflate.total_in(), inflate.total_out()) == before => return true,
            Ok(Status::Ok | Status::BufError) => {}
            Ok(Status::StreamEnd) | Err(_) => return false,
        }
    }
}
