//! How a header is laid out in bytes; the table is in docs/PATCH.md. All numbers are little-endian.

use std::io::Read;

use lighter_types::{BASES_MAX, Blake3, Bytes, DiffId, PatchId};

use super::sizes::{BASE_BYTES, FIXED_BYTES, FRAME_BYTES, NO_BASE, header_bytes};
use super::{Base, FrameEntry, Header, VERSION, check_count};
use crate::codec::CodecId;
use crate::error::HeaderError;
use crate::limits::FRAMES_MAX;

/// The first bytes of every patch. The first byte is neither ASCII nor UTF-8, so that no text looks like a patch.
const MAGIC: [u8; 8] = *b"\xB1LIGHTER";
impl Header {
    /// Reads exactly the header from the front of a patch file or stream, and nothing behind it. Allocates at most
    /// [`crate::HEADER_BYTES_MAX`] and twice that for the parsed frames.
    ///
    /// # Errors
    /// As [`Header::decode`]; and [`HeaderError::Read`], with `UnexpectedEof` where the stream ends too early.
    pub fn read_from(input: &mut dyn Read) -> Result<Self, HeaderError> {
        let mut bytes = vec![0; FIXED_BYTES];
        input.read_exact(&mut bytes).map_err(HeaderError::Read)?;
        let total = read_fixed(&bytes)?.header_bytes();
        bytes.resize(total, 0);
        input.read_exact(&mut bytes[FIXED_BYTES..]).map_err(HeaderError::Read)?;
        Self::decode(&bytes)
    }

    /// Reads a header that is all of `bytes`.
    ///
    /// # Errors
    /// Bytes that are no header, of another version, too short or too long, or whose fields contradict each other.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        decode(bytes)
    }

    /// The header's bytes, at most [`crate::HEADER_BYTES_MAX`].
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// The patch's name: the blake3 of the header's bytes.
    pub fn id(&self) -> PatchId {
        PatchId::new(*blake3::hash(&self.encode()).as_bytes())
    }
}

/// The part of the header before its tables.
struct Fixed {
    bases: usize,
    frames: usize,
    settings_id: u32,
    target: DiffId,
    target_bytes: Bytes,
}

impl Fixed {
    fn header_bytes(&self) -> usize {
        header_bytes(self.bases, self.frames)
    }
}

/// Reads the part before the tables, and checks the two counts that give the tables' lengths.
fn read_fixed(bytes: &[u8]) -> Result<Fixed, HeaderError> {
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

fn decode(bytes: &[u8]) -> Result<Header, HeaderError> {
    let fixed = read_fixed(bytes)?;
    if bytes.len() != fixed.header_bytes() {
        return Err(HeaderError::Length { expected: fixed.header_bytes(), found: bytes.len() });
    }
    let (bases, frames) = bytes[FIXED_BYTES..].split_at(fixed.bases * BASE_BYTES);
    let bases = bases.as_chunks::<BASE_BYTES>().0.iter().map(read_base).collect();
    let frames: Vec<FrameEntry> = frames.as_chunks::<FRAME_BYTES>().0.iter().map(read_frame).collect();
    Header::new(fixed.settings_id, fixed.target, fixed.target_bytes, bases, &frames)
}

fn encode(header: &Header) -> Vec<u8> {
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
