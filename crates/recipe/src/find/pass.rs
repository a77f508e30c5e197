//! One encoder through the whole blob. If it makes all of it, the pass has rebuilt the blob and written the recipe.

use std::collections::BTreeMap;

use flate2::{Decompress, FlushDecompress, Status};
use lighter_types::ReadAt;

use super::frame::{Frame, HEADER_BYTES_MAX, Header};
use super::trial::Trial;
use super::{Found, PIECE_BYTES, Reason, Unknown};
use crate::encoder::{Encoder, Kind};
use crate::error::FindError;
use crate::gzip::{self, TRAILER_BYTES};
use crate::input::Input;
use crate::recipe::{Encoded, Form, Framing, Member, Recipe, TAIL_BYTES_MAX, members_max};
use crate::zstd::MAGIC;

pub struct Pass<'a> {
    input: Input<'a>,
    tar_bytes_max: u64,
    tar_bytes: u64,
    headers: BTreeMap<Vec<u8>, u32>,
    members: Vec<Member>,
    trial: Trial,
    kind: Kind,
}

impl<'a> Pass<'a> {
    pub fn new(blob: &'a dyn ReadAt, tar_bytes_max: u64, encoder: Encoder) -> Self {
        let trial = Trial::new(encoder);
        let (input, members) = (Input::new(blob), Vec::new());
        Self {
            input,
            tar_bytes_max,
            tar_bytes: 0,
            headers: BTreeMap::new(),
            members,
            trial,
            kind: encoder.class.kind(),
        }
    }

    /// Goes through the blob, up to its end or to the first difference.
    pub fn run(mut self, progress: &mut dyn FnMut(u64)) -> Result<Found, FindError> {
        while let Some(header) = self.header()? {
            match self.kind {
                Kind::Go | Kind::Zlib => self.member(header, progress)?,
                Kind::Zstd | Kind::LibZstd => self.frame(header, progress)?,
            }
            if self.trial.difference.is_some() {
                return Ok(self.unknown(Reason::Encoder));
            }
            if self.members.len() as u64 > members_max(self.kind, self.tar_bytes) {
                return Ok(self.unknown(Reason::Limit));
            }
        }
        self.finish()
    }

    /// Takes the header of the next member; its number. `None` if no member stands here.
    fn header(&mut self) -> Result<Option<u32>, FindError> {
        let next = self.headers.len() as u32;
        let header = match self.kind {
            Kind::Go | Kind::Zlib => self.input.gzip_header()?,
            // The engine makes the headers of frames.
            Kind::Zstd | Kind::LibZstd => self.input.peek(MAGIC.len())?.starts_with(&MAGIC).then(Vec::new),
        };
        Ok(header.map(|header| *self.headers.entry(header).or_insert(next)))
    }

    fn member(&mut self, header: u32, progress: &mut dyn FnMut(u64)) -> Result<(), FindError> {
        let (member, member_tar) = (self.input.at, self.tar_bytes);
        self.trial.begin(member, member_tar, None);
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
            self.trial.write(piece, self.input.blob)?;
            progress(self.input.at);
            if status == Status::StreamEnd {
                break;
            }
            if is_short && made == 0 {
                return Err(FindError::Short { member });
            }
            if self.trial.difference.is_some() {
                // The caller gives the answer.
                return Ok(());
            }
        }
        self.trial.finish(self.input.at, self.tar_bytes, self.input.blob)?;
        let trailer = self.input.peek(TRAILER_BYTES)?.get(..TRAILER_BYTES).ok_or(FindError::Short { member })?;
        let tar_bytes = self.tar_bytes - member_tar;
        // No CRC is known of a member that is made from a checkpoint within it.
        let has_checkpoint = self.trial.checkpoints.last().is_some_and(|checkpoint| checkpoint.tar > member_tar);
        let is_kept = has_checkpoint || trailer != gzip::trailer(&crc);
        let trailer = is_kept.then(|| Box::from(trailer));
        self.input.consume(TRAILER_BYTES);
        self.members.push(Member { tar_bytes, header, trailer });
        Ok(())
    }

    fn frame(&mut self, header: u32, progress: &mut dyn FnMut(u64)) -> Result<(), FindError> {
        let (start, frame_tar) = (self.input.at, self.tar_bytes);
        let content_bytes = Header::read(self.input.peek(HEADER_BYTES_MAX)?).and_then(|header| header.content_bytes);
        self.trial.begin(start, frame_tar, content_bytes);
        let (mut frame, mut content) = (Frame::new(start), vec![0; PIECE_BYTES]);
        loop {
            let made = frame.read(&mut self.input, &mut content)?;
            self.tar_bytes += made as u64;
            if self.tar_bytes > self.tar_bytes_max {
                return Err(FindError::TarLimit(self.tar_bytes_max));
            }
            if made == 0 {
                break;
            }
            self.trial.write(content.get(..made).unwrap_or_default(), self.input.blob)?;
            progress(self.input.at);
            if self.trial.difference.is_some() {
                return Ok(());
            }
        }
        self.trial.finish(self.input.at, self.tar_bytes, self.input.blob)?;
        self.members.push(Member { tar_bytes: self.tar_bytes - frame_tar, header, trailer: None });
        Ok(())
    }

    fn finish(mut self) -> Result<Found, FindError> {
        let tail = self.input.peek(TAIL_BYTES_MAX + 1)?.to_vec();
        if tail.len() > TAIL_BYTES_MAX {
            return Ok(self.unknown(Reason::Limit));
        }
        self.input.consume(tail.len());
        let mut headers: Vec<(Vec<u8>, u32)> = self.headers.into_iter().collect();
        headers.sort_by_key(|(_, number)| *number);
        let headers = headers.into_iter().map(|(header, _)| header).collect();
        let framing = Framing { headers, members: self.members, tail };
        let mut encoder = self.trial.encoder;
        // How the end came is said only where it shows.
        encoder.is_end_joined &= framing.members.iter().any(|frame| encoder.shows_how_the_end_came(frame.tar_bytes));
        let encoded = Encoded { encoder, framing, checkpoints: self.trial.checkpoints };
        let (blob_bytes, blob) = (self.input.at, self.input.digest());
        Ok(Found::Recipe(Recipe { blob, blob_bytes, tar_bytes: self.tar_bytes, form: Form::Encoded(encoded) }))
    }

    fn unknown(&self, reason: Reason) -> Found {
        Found::Unknown(Unknown { reason, nearest: self.trial.difference })
    }
}
