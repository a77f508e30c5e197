//! One encoder beside the blob: what it makes is compared, and it is dropped at its first difference.

use lighter_types::ReadAt;

use super::Nearest;
use crate::bits::BitPosition;
use crate::encoder::Encoder;
use crate::engine::{Engine, Start};
use crate::error::FindError;
use crate::gzip::TRAILER_BYTES;
use crate::recipe::{CHECKPOINT_TAR_BYTES, Checkpoint};

/// An encoder that has made everything so far, or where it first differed.
pub struct Trial {
    pub encoder: Encoder,
    engine: Option<Box<dyn Engine>>,
    made: Vec<u8>,
    found: Vec<u8>,
    /// The member's first compressed byte, its first byte of content, and what is compared so far.
    member: u64,
    member_tar: u64,
    at: u64,
    content: u64,
    pub difference: Option<Nearest>,
    pub checkpoints: Vec<Checkpoint>,
}

impl Trial {
    pub fn new(encoder: Encoder) -> Self {
        let (made, found, checkpoints) = (Vec::new(), Vec::new(), Vec::new());
        let (member, member_tar, at, content) = (0, 0, 0, 0);
        Self { encoder, engine: None, made, found, member, member_tar, at, content, difference: None, checkpoints }
    }

    /// A member begins. Its content has so many bytes, if its header says.
    pub fn begin(&mut self, member: u64, member_tar: u64, content_bytes: Option<u64>) {
        if self.difference.is_some() {
            return;
        }
        // The last member ended where the header of this one begins.
        self.add_checkpoint(Checkpoint { tar: member_tar, blob: BitPosition { bytes: self.at, partial: 1 } });
        (self.member, self.member_tar, self.at, self.content) = (member, member_tar, member, 0);
        self.engine = self.encoder.open(&Start { content_bytes, ..Start::BEGINNING });
    }

    pub fn write(&mut self, piece: &[u8], blob: &dyn ReadAt) -> Result<(), FindError> {
        let Some(engine) = &mut self.engine else { return Ok(()) };
        self.content += piece.len() as u64;
        engine.write(piece, &mut self.made);
        let mark = engine.mark();
        self.compare(blob)?;
        if let Some(mark) = mark {
            let blob = BitPosition { bytes: self.member + mark.blob.bytes, partial: mark.blob.partial };
            self.add_checkpoint(Checkpoint { tar: self.member_tar + mark.content, blob });
        }
        Ok(())
    }

    /// Compares what the engine makes of the content so far. No more is written then.
    pub fn drain(&mut self, blob: &dyn ReadAt) -> Result<(), FindError> {
        let Some(engine) = &mut self.engine else { return Ok(()) };
        engine.drain(&mut self.made);
        self.compare(blob)
    }

    /// The member ends at this place of the blob.
    pub fn finish(&mut self, end: u64, tar_bytes: u64, blob: &dyn ReadAt) -> Result<(), FindError> {
        let Some(engine) = &mut self.engine else { return Ok(()) };
        engine.finish(&mut self.made);
        self.compare(blob)?;
        if self.difference.is_none() && self.at != end {
            self.differ_at(self.at.min(end));
        }
        let trailer_bytes = if self.encoder.class.kind().is_zstd() { 0 } else { TRAILER_BYTES };
        self.at = end + trailer_bytes as u64;
        // That would be taken for the beginning of the next member.
        self.checkpoints.pop_if(|checkpoint| checkpoint.tar >= tar_bytes);
        Ok(())
    }

    fn differ_at(&mut self, blob_offset: u64) {
        let tar_offset = self.member_tar + self.content;
        self.difference = Some(Nearest { encoder: self.encoder, blob_offset, tar_offset });
    }

    fn add_checkpoint(&mut self, checkpoint: Checkpoint) {
        let before = self.checkpoints.last().map_or(0, |checkpoint| checkpoint.tar);
        if self.difference.is_none() && checkpoint.tar >= before + CHECKPOINT_TAR_BYTES {
            self.checkpoints.push(checkpoint);
        }
    }

    /// Compares what the engine has made with the blob.
    fn compare(&mut self, blob: &dyn ReadAt) -> Result<(), FindError> {
        let there = blob.len().0.saturating_sub(self.at).min(self.made.len() as u64) as usize;
        self.found.resize(there, 0);
        let offset = self.at;
        blob.read_exact_at(&mut self.found, offset).map_err(|source| FindError::Blob { offset, source })?;
        if self.found != self.made {
            let same = self.made.iter().zip(&self.found).take_while(|(made, found)| made == found).count();
            self.differ_at(self.at + same as u64);
            self.engine = None;
            (self.made, self.found) = (Vec::new(), Vec::new());
        }
        self.at += self.made.len() as u64;
        self.made.clear();
        Ok(())
    }
}
