//! Corrections for a blob whose encoder is not known: what preflate-rs has to be told to make it again.
//!
//! preflate-rs finds the parameters of a zlib-like encoder, predicts each token, and keeps its wrong predictions. It
//! works on parts of the compressed data, so that memory is bounded: a part, its content of at most 64 MiB, and its
//! tables. Each part is made again at once and compared. The version of preflate-rs is pinned: only the code that made
//! corrections can read them (docs/decisions/0010-delta-codec.md).

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use lighter_types::ReadAt;
use preflate_rs::{PreflateConfig, PreflateStreamProcessor};

use crate::encoder::Kind;
use crate::error::FindError;
use crate::gzip::{self, TRAILER_BYTES};
use crate::input::Input;
use crate::recipe::{
    CORRECTIONS_BYTES_MAX, Corrected, Form, Framing, Member, PIECE_TAR_BYTES_MAX, Piece, Recipe, TAIL_BYTES_MAX,
    members_max,
};

/// Compressed data that is worked on at once, unless a block is longer.
const PART_BYTES: usize = 1 << 20;
const PART_BYTES_MAX: usize = 16 << 20;
/// As long as the longest chain of zlib's best level.
const CHAIN_LENGTH_MAX: u32 = 4096;
/// Corrections are not worth while beyond this share of the blob: one part of so many.
const SHARE: u64 = 50;

/// A recipe with corrections, and the bytes behind its head. `None` if they are more than 2 % of the blob, if
/// preflate-rs cannot make the blob, or if it is no gzip. `progress` is called with the bytes of the blob that are
/// done.
///
/// # Errors
/// Failures of the blob.
pub fn correct(blob: &dyn ReadAt, progress: &mut dyn FnMut(u64)) -> Result<Option<(Recipe, Vec<u8>)>, FindError> {
    let body_max = (blob.len().0 / SHARE) as usize;
    let mut work = Work {
        input: Input::new(blob),
        body_max,
        body: Vec::new(),
        pieces: Vec::new(),
        headers: BTreeMap::new(),
        members: Vec::new(),
        tar_bytes: 0,
    };
    while let Some(header) = work.input.gzip_header()? {
        let next = work.headers.len() as u32;
        let header = *work.headers.entry(header).or_insert(next);
        if !work.member(header, progress)? || work.members.len() as u64 > members_max(Kind::Zlib, work.tar_bytes) {
            return Ok(None);
        }
    }
    let tail = work.input.peek(TAIL_BYTES_MAX + 1)?.to_vec();
    if work.members.is_empty() || tail.len() > TAIL_BYTES_MAX {
        return Ok(None);
    }
    work.input.consume(tail.len());
    let mut headers: Vec<(Vec<u8>, u32)> = work.headers.into_iter().collect();
    headers.sort_by_key(|(_, number)| *number);
    let headers = headers.into_iter().map(|(header, _)| header).collect();
    let framing = Framing { headers, members: work.members, tail };
    let form = Form::Corrected(Corrected { framing, pieces: work.pieces });
    let (blob_bytes, blob) = (work.input.at, work.input.digest());
    let recipe = Recipe { blob, blob_bytes, tar_bytes: work.tar_bytes, form };
    let is_small = recipe.to_bytes().len() + work.body.len() <= body_max;
    Ok(is_small.then_some((recipe, work.body)))
}

struct Work<'a> {
    input: Input<'a>,
    body_max: usize,
    body: Vec<u8>,
    pieces: Vec<Piece>,
    headers: BTreeMap<Vec<u8>, u32>,
    members: Vec<Member>,
    tar_bytes: u64,
}

impl Work<'_> {
    /// Takes the compressed data and the trailer of a member; false if that is not possible.
    fn member(&mut self, header: u32, progress: &mut dyn FnMut(u64)) -> Result<bool, FindError> {
        let plain_text_limit = PIECE_TAR_BYTES_MAX as usize;
        let config = PreflateConfig { max_chain_length: CHAIN_LENGTH_MAX, plain_text_limit, verify_compression: true };
        let mut processor = PreflateStreamProcessor::new(&config);
        let mut crc = flate2::Crc::new();
        let (member_tar, mut wanted) = (self.tar_bytes, PART_BYTES);
        loop {
            let found = self.input.peek(wanted)?;
            let (part, is_end) = (&found[..found.len().min(wanted)], found.len() <= wanted);
            let result = guard(|| processor.decompress(part).ok());
            let done = result.filter(|result| result.compressed_size > 0);
            let Some(result) = done else {
                // No block ends within the part. The library keeps no state of what it could not use.
                if is_end || wanted >= PART_BYTES_MAX || member_tar != self.tar_bytes {
                    return Ok(false);
                }
                wanted *= 4;
                processor = PreflateStreamProcessor::new(&config);
                continue;
            };
            let content = processor.plain_text().text();
            crc.update(content);
            let (tar_bytes, corrections_bytes) = (content.len() as u32, result.corrections.len() as u32);
            let is_last = processor.is_done();
            self.tar_bytes += u64::from(tar_bytes);
            self.pieces.push(Piece { tar_bytes, corrections_bytes, is_last });
            self.body.extend_from_slice(&result.corrections);
            if self.body.len() > self.body_max || u64::from(corrections_bytes) > CORRECTIONS_BYTES_MAX {
                return Ok(false);
            }
            self.input.consume(result.compressed_size);
            processor.shrink_to_dictionary();
            progress(self.input.at);
            if is_last {
                break;
            }
        }
        let Some(trailer) = self.input.peek(TRAILER_BYTES)?.get(..TRAILER_BYTES) else { return Ok(false) };
        let trailer = (trailer != gzip::trailer(&crc)).then(|| Box::from(trailer));
        self.input.consume(TRAILER_BYTES);
        self.members.push(Member { tar_bytes: self.tar_bytes - member_tar, header, trailer });
        Ok(true)
    }
}

/// Runs the library. Should it index past its hostile input, that is a refusal and not a panic.
fn guard<T>(work: impl FnOnce() -> Option<T>) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok().flatten()
}
