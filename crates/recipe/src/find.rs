//! Finds the recipe of a blob: which encoder makes it again.
//!
//! The finder inflates the blob once. All encoders compress the content beside each other, and what they make is compared
//! with the blob; each is dropped at its first difference, most of them within their first block. The encoder that is left at
//! the end has rebuilt the blob: no second pass is needed, and the places where it can start again are the checkpoints.
//! An encoder has to make every member of a blob.

mod flushes;

use std::collections::BTreeMap;

use flate2::{Decompress, FlushDecompress, Status};
use lighter_types::ReadAt;

use crate::bits::BitPosition;
use crate::encoder::Encoder;
use crate::engine::{Engine, Start};
use crate::error::FindError;
use crate::gzip::{self, TRAILER_BYTES};
use crate::input::Input;
use crate::recipe::{
    CHECKPOINT_TAR_BYTES, Checkpoint, Encoded, Form, Framing, Member, Recipe, TAIL_BYTES_MAX, members_max,
};

/// Content that is made at once.
const PIECE_BYTES: usize = 64 << 10;
/// Trailers of larger members are kept: a member that is made from a checkpoint has no CRC.
const CALCULATED_TRAILER_BYTES_MAX: u64 = 1 << 20;

/// The answer of [`find`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found {
    Recipe(Recipe),
    Unknown(Unknown),
}

/// A blob without a recipe.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unknown {
    pub reason: Reason,
    /// The encoder that went furthest.
    pub nearest: Option<Nearest>,
}

/// Why a blob has no recipe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// It does not begin with a gzip member.
    NotGzip,
    /// No encoder makes it.
    Encoder,
    /// It has more members than a recipe holds, or more bytes behind them.
    Limit,
}

/// The encoder that went furthest before its first difference.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Nearest {
    pub encoder: Encoder,
    /// The first byte of the blob that it makes differently.
    pub blob_offset: u64,
    /// Content that it had seen by then.
    pub tar_offset: u64,
}

/// Finds the recipe of a blob with at most so much content. `progress` is called with the bytes of the blob that are done.
///
/// # Errors
/// Damaged or cut gzip; more content than `tar_bytes_max`; failures of the blob.
pub fn find(blob: &dyn ReadAt, tar_bytes_max: u64, progress: &mut dyn FnMut(u64)) -> Result<Found, FindError> {
    let encoders = Encoder::all(&flushes::block_bytes(blob)?);
    let mut finder = Finder::new(blob, tar_bytes_max, encoders);
    loop {
        match finder.header()? {
            Some(header) => finder.member(header, progress)?,
            None if finder.members.is_empty() => return Ok(finder.unknown(Reason::NotGzip)),
            None => break,
        }
        if finder.trials.iter().all(|trial| trial.difference.is_some()) {
            return Ok(finder.unknown(Reason::Encoder));
        }
        if finder.members.len() as u64 > members_max(finder.tar_bytes) {
            return Ok(finder.unknown(Reason::Limit));
        }
    }
    finder.finish()
}

struct Finder<'a> {
    input: Input<'a>,
    tar_bytes_max: u64,
    tar_bytes: u64,
    headers: BTreeMap<Vec<u8>, u32>,
    members: Vec<Member>,
    trials: Vec<Trial>,
}

impl<'a> Finder<'a> {
    fn new(blob: &'a dyn ReadAt, tar_bytes_max: u64, encoders: Vec<Encoder>) -> Self {
        let trials = encoders.into_iter().map(Trial::new).collect();
        let (input, members) = (Input::new(blob), Vec::new());
        Self { input, tar_bytes_max, tar_bytes: 0, headers: BTreeMap::new(), members, trials }
    }

    /// Takes the header of the next member; its number. `None` if no member stands here.
    fn header(&mut self) -> Result<Option<u32>, FindError> {
        let next = self.headers.len() as u32;
        let header = self.input.gzip_header()?;
        Ok(header.map(|header| *self.headers.entry(header).or_insert(next)))
    }

    fn member(&mut self, header: u32, progress: &mut dyn FnMut(u64)) -> Result<(), FindError> {
        let (member, member_tar) = (self.input.at, self.tar_bytes);
        self.trials.iter_mut().for_each(|trial| trial.begin(member, member_tar));
        let mut inflate = Decompress::new(false);
        let mut crc = flate2::Crc::new();
        let mut content = vec![0; PIECE_BYTES];
        loop {
            let input = self.input.peek(1)?;
            let is_short = input.is_empty();
            let (before_in, before_out) = (inflate.total_in(), inflate.total_out());
            let status = inflate.decompress(input, &mut content, FlushDecompress::None);
            let status = status.map_err(|_| FindError::Damaged { member, offset: self.input.at })?;
            self.input.consume((inflate.total_in() - before_in) as usize);
            let made = (inflate.total_out() - before_out) as usize;
            let piece = content.get(..made).unwrap_or_default();
            crc.update(piece);
            self.tar_bytes += made as u64;
            if self.tar_bytes > self.tar_bytes_max {
                return Err(FindError::TarLimit(self.tar_bytes_max));
            }
            for trial in self.trials.iter_mut().filter(|trial| trial.difference.is_none()) {
                trial.write(piece, self.input.blob)?;
            }
            progress(self.input.at);
            if status == Status::StreamEnd {
                break;
            }
            if is_short && made == 0 {
                return Err(FindError::Short { member });
            }
            if self.trials.iter().all(|trial| trial.difference.is_some()) {
                // The caller gives the answer.
                return Ok(());
            }
        }
        let end = self.input.at;
        for trial in self.trials.iter_mut().filter(|trial| trial.difference.is_none()) {
            trial.finish(end, self.tar_bytes, self.input.blob)?;
        }
        let trailer = self.input.peek(TRAILER_BYTES)?.get(..TRAILER_BYTES).ok_or(FindError::Short { member })?;
        let tar_bytes = self.tar_bytes - member_tar;
        let is_kept = tar_bytes > CALCULATED_TRAILER_BYTES_MAX || trailer != gzip::trailer(&crc);
        let trailer = is_kept.then(|| Box::from(trailer));
        self.input.consume(TRAILER_BYTES);
        self.members.push(Member { tar_bytes, header, trailer });
        Ok(())
    }

    fn finish(mut self) -> Result<Found, FindError> {
        let tail = self.input.peek(TAIL_BYTES_MAX + 1)?.to_vec();
        if tail.len() > TAIL_BYTES_MAX {
            return Ok(self.unknown(Reason::Limit));
        }
        self.input.consume(tail.len());
        let Some(place) = self.trials.iter().position(|trial| trial.difference.is_none()) else {
            return Ok(self.unknown(Reason::Encoder));
        };
        let trial = self.trials.swap_remove(place);
        let mut headers: Vec<(Vec<u8>, u32)> = self.headers.into_iter().collect();
        headers.sort_by_key(|(_, number)| *number);
        let headers = headers.into_iter().map(|(header, _)| header).collect();
        let framing = Framing { headers, members: self.members, tail };
        let encoded = Encoded { encoder: trial.encoder, framing, checkpoints: trial.checkpoints };
        let (blob_bytes, blob) = (self.input.at, self.input.digest());
        Ok(Found::Recipe(Recipe { blob, blob_bytes, tar_bytes: self.tar_bytes, form: Form::Encoded(encoded) }))
    }

    fn unknown(&self, reason: Reason) -> Found {
        let differing = self.trials.iter().filter_map(|trial| Some((trial.encoder, trial.difference?)));
        let nearest = differing
            .map(|(encoder, (blob_offset, tar_offset))| Nearest { encoder, blob_offset, tar_offset })
            // The first of several that are as near is the commonest.
            .reduce(|best, next| if next.blob_offset > best.blob_offset { next } else { best });
        Found::Unknown(Unknown { reason, nearest })
    }
}

/// An encoder that has made everything so far, or where it first differed.
struct Trial {
    encoder: Encoder,
    engine: Option<Box<dyn Engine>>,
    made: Vec<u8>,
    found: Vec<u8>,
    /// The member's first compressed byte, its first byte of content, and what is compared so far.
    member: u64,
    member_tar: u64,
    at: u64,
    content: u64,
    /// Offset in the blob, and content that was seen.
    difference: Option<(u64, u64)>,
    checkpoints: Vec<Checkpoint>,
}

impl Trial {
    fn new(encoder: Encoder) -> Self {
        let (made, found, checkpoints) = (Vec::new(), Vec::new(), Vec::new());
        let (member, member_tar, at, content) = (0, 0, 0, 0);
        Self { encoder, engine: None, made, found, member, member_tar, at, content, difference: None, checkpoints }
    }

    fn begin(&mut self, member: u64, member_tar: u64) {
        if self.difference.is_some() {
            return;
        }
        // The last member ended where the header of this one begins.
        self.add_checkpoint(Checkpoint { tar: member_tar, blob: BitPosition { bytes: self.at, partial: 1 } });
        (self.member, self.member_tar, self.at, self.content) = (member, member_tar, member, 0);
        self.engine = self.encoder.open(&Start::BEGINNING);
    }

    fn write(&mut self, piece: &[u8], blob: &dyn ReadAt) -> Result<(), FindError> {
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

    /// The member ends at this place of the blob.
    fn finish(&mut self, end: u64, tar_bytes: u64, blob: &dyn ReadAt) -> Result<(), FindError> {
        let Some(engine) = &mut self.engine else { return Ok(()) };
        engine.finish(&mut self.made);
        self.compare(blob)?;
        if self.difference.is_none() && self.at != end {
            self.difference = Some((self.at.min(end), self.member_tar + self.content));
        }
        self.at = end + TRAILER_BYTES as u64;
        // That would be taken for the beginning of the next member.
        self.checkpoints.pop_if(|checkpoint| checkpoint.tar >= tar_bytes);
        Ok(())
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
            self.difference = Some((self.at + same as u64, self.member_tar + self.content));
            self.engine = None;
            (self.made, self.found) = (Vec::new(), Vec::new());
        }
        self.at += self.made.len() as u64;
        self.made.clear();
        Ok(())
    }
}
