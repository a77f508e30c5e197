//! The header of a patch, container version 2: which target, from which bases, in which frames.
//!
//! Invariants of a [`Header`], however it was made: at most [`BASES_MAX`] distinct bases; at most [`FRAMES_MAX`]
//! frames, none empty, which cover the target exactly and in order; a frame's base is in the table. There is one
//! spelling: what decodes, encodes to the same bytes, so the header's blake3 names the patch. The byte table is in
//! docs/PATCH.md.

mod layout;
mod sizes;

use std::ops::Range;

use lighter_types::{BASES_MAX, Blake3, Bytes, DiffId};

pub use self::sizes::HEADER_BYTES_MAX;

use crate::codec::{Bases, CodecId, Makers, STORED};
use crate::error::HeaderError;
use crate::limits::{FRAME_PAYLOAD_BYTES_MAX, FRAMES_MAX};

/// Payloads are longer than their target by one byte in so many at most, and one whole payload.
const PAYLOAD_GROWTH_PARTS: u64 = 32;

/// A layer that frames copy from, by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Base {
    /// The layer's name.
    pub diff_id: DiffId,
    /// Its length, so that a wrong layer is noticed before anything is decoded.
    pub bytes: Bytes,
}

/// One frame: a range of the target, and the payload that rebuilds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// How the payload is to be read.
    pub codec: CodecId,
    /// Index into the header's bases, if the frame reads one.
    pub base: Option<u8>,
    /// Where its range begins in the target. Not in the bytes: frames follow each other.
    pub target_offset: u64,
    /// How long its range is: at least 1, at most what its codec allows ([`CodecId::target_bytes_max`]).
    pub target_bytes: u32,
    /// Where its payload begins in the patch file. Not in the bytes: payloads follow the header back to back.
    pub payload_offset: u64,
    /// How long its payload is: 1 to [`FRAME_PAYLOAD_BYTES_MAX`].
    pub payload_bytes: u32,
    /// The payload's blake3.
    pub payload_hash: Blake3,
}

impl Frame {
    /// Its range of the target.
    pub(crate) fn range(&self) -> Range<u64> {
        self.target_offset..self.target_offset + u64::from(self.target_bytes)
    }
}

/// The parts of a frame that a header is made of; the place of a frame follows from the frames before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameEntry {
    pub codec: CodecId,
    pub base: Option<u8>,
    pub target_bytes: u32,
    pub payload_bytes: u32,
    pub payload_hash: Blake3,
}

/// The header of a patch. See the module for what always holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    settings_id: u32,
    target: DiffId,
    target_bytes: Bytes,
    bases: Vec<Base>,
    frames: Vec<Frame>,
}

impl Header {
    /// # Errors
    /// Whatever breaks an invariant of the module.
    pub(crate) fn new(
        settings_id: u32,
        target: DiffId,
        target_bytes: Bytes,
        bases: Vec<Base>,
        entries: &[FrameEntry],
    ) -> Result<Self, HeaderError> {
        check_count("base count", bases.len(), BASES_MAX)?;
        check_count("frame count", entries.len(), FRAMES_MAX)?;
        for (index, base) in bases.iter().enumerate() {
            if bases[..index].iter().any(|other| other.diff_id == base.diff_id) {
                let expected = "a base that is not in the table yet".to_owned();
                return Err(HeaderError::Field { field: "repeated base", expected, found: index as u64 });
            }
        }
        let mut payload_offset = sizes::header_bytes(bases.len(), entries.len()) as u64;
        let mut target_offset = 0;
        let mut frames = Vec::with_capacity(entries.len());
        for (index, entry) in entries.iter().enumerate() {
            check_frame(index as u32, entry, bases.len())?;
            frames.push(Frame {
                codec: entry.codec,
                base: entry.base,
                target_offset,
                target_bytes: entry.target_bytes,
                payload_offset,
                payload_bytes: entry.payload_bytes,
                payload_hash: entry.payload_hash,
            });
            target_offset += u64::from(entry.target_bytes);
            payload_offset += u64::from(entry.payload_bytes);
        }
        if target_offset != target_bytes.0 {
            let expected = format!("{target_offset}, the sum of the frames");
            return Err(HeaderError::Field { field: "target length", expected, found: target_bytes.0 });
        }
        Ok(Self { settings_id, target, target_bytes, bases, frames })
    }

    /// Whether a node takes the patch from a peer: nodes never make frames of some codecs, nor patches that are much
    /// longer than their target, so a node refuses them before it decodes anything or makes room. An unknown codec
    /// passes: it may be one of a later build, and [`crate::apply_frame`] says so.
    ///
    /// # Errors
    /// [`HeaderError::ToolsOnly`], with the first such frame; [`HeaderError::Field`] for payloads that are too long.
    pub fn check_from_peer(&self) -> Result<(), HeaderError> {
        let (payloads, most) = (self.patch_bytes() - self.header_bytes(), self.payloads_max());
        if payloads > most {
            let expected = format!("at most {}, for a target of {}", most.0, self.target_bytes.0);
            return Err(HeaderError::Field { field: "length of all payloads", expected, found: payloads.0 });
        }
        for (frame, index) in self.frames.iter().zip(0..) {
            if frame.codec.find().is_some_and(|codec| codec.makers == Makers::Tools) {
                return Err(HeaderError::ToolsOnly { frame: index, codec: frame.codec });
            }
        }
        Ok(())
    }

    /// Whether every payload is its range of the target as it stands there: a peer's header may say so of payloads of
    /// another length.
    pub fn is_stored(&self) -> bool {
        self.frames.iter().all(|frame| frame.codec == STORED.id && frame.payload_bytes == frame.target_bytes)
    }

    /// The number of the settings that made the patch: `Settings::id`.
    pub fn settings_id(&self) -> u32 {
        self.settings_id
    }

    /// The layer that the patch rebuilds.
    pub fn target(&self) -> DiffId {
        self.target
    }

    /// The length of the target.
    pub fn target_bytes(&self) -> Bytes {
        self.target_bytes
    }

    /// The layers that frames read, at most [`BASES_MAX`].
    pub fn bases(&self) -> &[Base] {
        &self.bases
    }

    /// The frames, in the order of their ranges, at most [`FRAMES_MAX`].
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// One frame, if there is one of that index.
    pub fn frame(&self, index: u32) -> Option<&Frame> {
        self.frames.get(index as usize)
    }

    /// The length of the header itself.
    pub fn header_bytes(&self) -> Bytes {
        Bytes(sizes::header_bytes(self.bases.len(), self.frames.len()) as u64)
    }

    /// The length of the whole patch: the header and every payload.
    pub fn patch_bytes(&self) -> Bytes {
        self.frames.iter().fold(self.header_bytes(), |sum, frame| sum + Bytes(frame.payload_bytes.into()))
    }
}

impl Header {
    /// The most bytes of payloads that a node makes for the target. Bytes that nothing compresses are stored as they
    /// are; a frame of the full tier may grow by a few bytes in a thousand where its content is noise.
    fn payloads_max(&self) -> Bytes {
        self.target_bytes + Bytes(self.target_bytes.0 / PAYLOAD_GROWTH_PARTS) + Bytes(FRAME_PAYLOAD_BYTES_MAX.into())
    }
}

fn check_count(field: &'static str, found: usize, most: usize) -> Result<(), HeaderError> {
    if found <= most {
        return Ok(());
    }
    Err(HeaderError::Field { field, expected: format!("at most {most}"), found: found as u64 })
}

fn check_frame(frame: u32, entry: &FrameEntry, bases: usize) -> Result<(), HeaderError> {
    let target_bytes_max = entry.codec.target_bytes_max();
    if !(1..=target_bytes_max).contains(&entry.target_bytes) {
        return refuse(frame, "target length", format!("1 to {target_bytes_max}"), entry.target_bytes.into());
    }
    if !(1..=FRAME_PAYLOAD_BYTES_MAX).contains(&entry.payload_bytes) {
        let expected = format!("1 to {FRAME_PAYLOAD_BYTES_MAX}");
        return refuse(frame, "payload length", expected, entry.payload_bytes.into());
    }
    let found = u64::from(entry.base.unwrap_or(sizes::NO_BASE));
    match entry.codec.find().map(|codec| codec.bases) {
        Some(Bases::Without | Bases::All) if entry.base.is_some() => {
            refuse(frame, "base", "none (255)".to_owned(), found)
        }
        Some(Bases::One) if entry.base.is_none() => refuse(frame, "base", "one of the table".to_owned(), found),
        _ if entry.base.is_some_and(|base| usize::from(base) >= bases) => {
            refuse(frame, "base", format!("below {bases}"), found)
        }
        _ => Ok(()),
    }
}

fn refuse(frame: u32, field: &'static str, expected: String, found: u64) -> Result<(), HeaderError> {
    Err(HeaderError::Frame { frame, field, expected, found })
}
