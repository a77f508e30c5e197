//! How a header is laid out in bytes; the table is in docs/PATCH.md. All numbers are little-endian.

use lighter_types::{BASES_MAX, Blake3, Bytes, DiffId};

use super::{Base, FrameEntry, Header, VERSION, check_count};
use crate::codec::CodecId;
use crate::error::HeaderError;
use crate::limits::FRAMES_MAX;

/// What every patch begins with. The first byte is no ASCII and no UTF-8, so that no text is taken for a patch.
const MAGIC: [u8; 8] = *b"\xB1LIGHTER";
/// Length of what stands before the base table.
pub(super) const FIXED_BYTES: usize = 64;
/// Length of a base's entry.
pub(super) const BASE_BYTES: usize = 40;
/// Length of a frame's entry.
pub(super) const FRAME_BYTES: usize = 42;
/// How "no base" is spelled.
pub(super) const NO_BASE: u8 = 0xff;

/// The part of the header before its tables.
pub(super) struct Fixed {
    bases: usize,
    frames: usize,
    settings_id: u32,
    target: DiffId,
    target_bytes: Bytes,
}

impl Fixed {
    pub(super) fn header_bytes(&self) -> usize {
        header_bytes(self.bases, self.frames)
    }
}

/// Length of a header with that many bases and frames.
pub(super) fn header_bytes(bases: usize, frames: usize) -> usize {
    FIXED_BYTES + bases * BASE_BYTES + frames * FRAME_BYTES
}

/// Reads what stands before the tables, and checks the counts that say how long they are.
pub(super) fn read_fixed(bytes: &[u8]) -> Result<Fixed, HeaderError> {
    let short = HeaderError::Length { expected: FIXED_BYTES, found: bytes.len() };
    let Some(bytes) = bytes.first_chunk::<FIXED_BYTES>() else { return Err(short) };
    let mut fields = Fields(bytes);
    let found: [u8; 8] = fields.take();
    if found != MAGIC {
        return Err(HeaderError::Magic { found });
    }
    let version = u16::from_le_bytes(fields.take());
    if version != VERSION {
        return Err(HeaderError::Version { found: version });
    }
    let bases = usize::from(u16::from_le_bytes(fields.take()));
    let frames = u32::from_le_bytes(fields.take()) as usize;
    let settings_id = u32::from_le_bytes(fields.take());
    let reserved = u32::from_le_bytes(fields.take());
    let target_bytes = Bytes(u64::from_le_bytes(fields.take()));
    let target = DiffId::new(fields.take());
    check_count("base count", bases, BASES_MAX)?;
    check_count("frame count", frames, FRAMES_MAX)?;
    if reserved != 0 {
        return Err(HeaderError::Field { field: "reserved", expected: "0".to_owned(), found: reserved.into() });
    }
    Ok(Fixed { bases, frames, settings_id, target, target_bytes })
}

pub(super) fn decode(bytes: &[u8]) -> Result<Header, HeaderError> {
    let fixed = read_fixed(bytes)?;
    if bytes.len() != fixed.header_bytes() {
        return Err(HeaderError::Length { expected: fixed.header_bytes(), found: bytes.len() });
    }
    let (bases, frames) = bytes[FIXED_BYTES..].split_at(fixed.bases * BASE_BYTES);
    let bases = bases.as_chunks::<BASE_BYTES>().0.iter().map(read_base).collect();
    let frames: Vec<FrameEntry> = frames.as_chunks::<FRAME_BYTES>().0.iter().map(read_frame).collect();
    Header::new(fixed.settings_id, fixed.target, fixed.target_bytes, bases, &frames)
}

pub(super) fn encode(header: &Header) -> Vec<u8> {
    let mut out = Vec::with_capacity(header_bytes(header.bases.len(), header.frames.len()));
    out.extend(MAGIC);
    out.extend(VERSION.to_le_bytes());
    out.extend((header.bases.len() as u16).to_le_bytes());
    out.extend((header.frames.len() as u32).to_le_bytes());
    out.extend(header.settings_id.to_le_bytes());
    out.extend(0u32.to_le_bytes());
    out.extend(header.target_bytes.0.to_le_bytes());
    out.extend(header.target.as_bytes());
    for base in &header.bases {
        out.extend(base.diff_id.as_bytes());
        out.extend(base.bytes.0.to_le_bytes());
    }
    for frame in &header.frames {
        out.push(frame.codec.0);
        out.push(frame.base.unwrap_or(NO_BASE));
        out.extend(frame.target_bytes.to_le_bytes());
        out.extend(frame.payload_bytes.to_le_bytes());
        out.extend(frame.payload_hash.as_bytes());
    }
    out
}

fn read_base(bytes: &[u8; BASE_BYTES]) -> Base {
    let mut fields = Fields(bytes);
    Base { diff_id: DiffId::new(fields.take()), bytes: Bytes(u64::from_le_bytes(fields.take())) }
}

fn read_frame(bytes: &[u8; FRAME_BYTES]) -> FrameEntry {
    let mut fields = Fields(bytes);
    let [codec, base] = fields.take();
    FrameEntry {
        codec: CodecId(codec),
        base: (base != NO_BASE).then_some(base),
        target_bytes: u32::from_le_bytes(fields.take()),
        payload_bytes: u32::from_le_bytes(fields.take()),
        payload_hash: Blake3::new(fields.take()),
    }
}

/// Takes fields of fixed size off the front of an entry. Entries are arrays whose length is the sum of their fields.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self.0.split_first_chunk().unwrap_or((&[0; N], &[]));
        self.0 = rest;
        *field
    }
}
