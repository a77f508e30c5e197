//! Makes a blob again by preflate-rs and corrections, piece by piece, on one thread.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use preflate_rs::RecreateStreamProcessor;

use super::{Rebuild, Sink};
use crate::error::RebuildError;
use crate::gzip;
use crate::recipe::{Corrected, Member, Piece};

impl Rebuild<'_> {
    /// Makes the blob up to `end`.
    pub(super) fn corrected(&self, corrected: &Corrected, end: u64, sink: &mut Sink<'_>) -> Result<(), RebuildError> {
        let mut output = Made { at: 0, end, is_whole: end == self.recipe.blob_bytes, sink };
        let (mut tar, mut body) = (0, 0);
        let mut pieces = corrected.pieces.as_slice();
        for member in &corrected.framing.members {
            if output.at >= end {
                return Ok(());
            }
            output.put(corrected.framing.header(member))?;
            let own = pieces.iter().position(|piece| piece.is_last).map_or(pieces.len(), |last| last + 1);
            let (mine, rest) = pieces.split_at(own);
            self.corrected_member(member, mine, (&mut tar, &mut body), &mut output)?;
            pieces = rest;
        }
        output.put(&corrected.framing.tail)?;
        if output.at == end { Ok(()) } else { Err(RebuildError::Length { blob_offset: output.at }) }
    }

    fn corrected_member(
        &self,
        member: &Member,
        pieces: &[Piece],
        (tar, body): (&mut u64, &mut u64),
        output: &mut Made<'_, '_>,
    ) -> Result<(), RebuildError> {
        let mut recreate = RecreateStreamProcessor::new();
        let mut crc = flate2::Crc::new();
        for piece in pieces {
            let mut content = vec![0; piece.tar_bytes as usize];
            self.read(&mut content, *tar)?;
            let mut corrections = vec![0; piece.corrections_bytes as usize];
            self.body.read_exact_at(&mut corrections, *body).map_err(|source| RebuildError::Body { source })?;
            if member.trailer.is_none() {
                crc.update(&content);
            }
            let made = guard(|| Some(recreate.recompress(&mut Cursor::new(&content), &corrections).ok()?.0));
            output.put(&made.ok_or(RebuildError::Length { blob_offset: output.at })?)?;
            *tar += content.len() as u64;
            *body += corrections.len() as u64;
            if output.at >= output.end && !output.is_whole {
                return Ok(());
            }
        }
        match &member.trailer {
            Some(trailer) => output.put(trailer),
            None => output.put(&gzip::trailer(&crc)),
        }
    }
}

/// Counts what is made, and stops at the end.
struct Made<'s, 'f> {
    at: u64,
    end: u64,
    /// Nothing may follow the end.
    is_whole: bool,
    sink: &'s mut Sink<'f>,
}

impl Made<'_, '_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), RebuildError> {
        let room = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        if bytes.len() > room && self.is_whole {
            return Err(RebuildError::Length { blob_offset: self.at });
        }
        let bytes = &bytes[..bytes.len().min(room)];
        self.at += bytes.len() as u64;
        (self.sink)(bytes)
    }
}

/// Runs the library. Should it index past its hostile input, that is a refusal and not a panic.
fn guard<T>(work: impl FnOnce() -> Option<T>) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok().flatten()
}
