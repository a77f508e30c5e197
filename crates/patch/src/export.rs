//! Writes a patch as a standard VCDIFF file for the whole layer, which `xdelta3 -d -s BASE` decodes.

use std::io::{self, Write};
use std::ops::ControlFlow;

use lighter_delta::{CodecError, Map};
use lighter_types::Blame;
use lighter_vcdiff::{Copy, FILE_HEADER, WindowWriter};

use crate::apply::verify_frame;
use crate::codec::vcdiff::{Copies, decode_copies};
use crate::codec::{Codec, CodecId, Export};
use crate::error::ApplyError;
use crate::header::{Frame, Header};

/// Why a patch could not be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The patch was made with a codec that VCDIFF cannot express.
    #[error("frame {frame} is {codec}, which a VCDIFF file cannot hold")]
    NotVcdiff { frame: u32, codec: CodecId },
    /// A VCDIFF file has one source at most.
    #[error("the patch reads {found} bases; a VCDIFF file can have one")]
    SeveralBases { found: usize },
    /// A payload could not be read.
    #[error("cannot read the patch")]
    Payload(#[source] io::Error),
    /// A frame is not what the header says, or is nonsense.
    #[error("cannot export the patch")]
    Frame(#[source] ApplyError),
    /// The file could not be written.
    #[error("cannot write the VCDIFF file")]
    Output(#[source] io::Error),
}

impl ExportError {
    /// The party at fault; `Peer` stands for the maker of the patch.
    pub fn blame(&self) -> Blame {
        match self {
            Self::SeveralBases { .. } | Self::NotVcdiff { .. } => Blame::Caller,
            Self::Payload(source) if source.kind() == io::ErrorKind::UnexpectedEof => Blame::Peer,
            Self::Payload(_) | Self::Output(_) => Blame::Machine,
            Self::Frame(error) => error.blame(),
        }
    }
}

/// Longest target of a window: xdelta3's own default.
const WINDOW_BYTES: u32 = 8 << 20;

/// Writes the patch to `out` as one VCDIFF file, without reading the base. `payload` returns the payload of each frame,
/// in order; the payload is checked against the header. Frames without a base become literals, so the file is larger
/// than the patch: VCDIFF without secondary compression does not compress.
///
/// Allocates as [`crate::apply_frame`] does, and as much again for the window being written.
///
/// # Errors
/// See [`ExportError`].
pub fn export_vcdiff(
    header: &Header,
    payload: &mut dyn FnMut(&Frame) -> io::Result<Vec<u8>>,
    out: &mut dyn Write,
) -> Result<(), ExportError> {
    if header.bases().len() > 1 {
        return Err(ExportError::SeveralBases { found: header.bases().len() });
    }
    let mut exports = Vec::with_capacity(header.frames().len());
    for (frame, number) in header.frames().iter().zip(0..) {
        let export = frame.codec.find().and_then(|codec| Some((codec, codec.export?)));
        exports.push(export.ok_or(ExportError::NotVcdiff { frame: number, codec: frame.codec })?);
    }
    out.write_all(&FILE_HEADER).map_err(ExportError::Output)?;
    for ((frame, (codec, export)), number) in header.frames().iter().zip(exports).zip(0..) {
        let payload = payload(frame).map_err(ExportError::Payload)?;
        verify_frame(header, number, &payload).map_err(ExportError::Frame)?;
        match export {
            Export::Literals => export_literals(codec, frame, number, &payload, out)?,
            Export::Copies => export_copies(header, frame, number, &payload, out)?,
        }
    }
    out.flush().map_err(ExportError::Output)
}

fn export_literals(
    codec: &Codec,
    frame: &Frame,
    number: u32,
    payload: &[u8],
    out: &mut dyn Write,
) -> Result<(), ExportError> {
    let decoded = (codec.decode)(payload, frame.range(), &[], &Map::default(), &|| ControlFlow::Continue(()));
    let target = decoded.map_err(|error| blame(frame, number, &error))?;
    for literals in target.material.chunks(WINDOW_BYTES as usize) {
        let mut window = WindowWriter::new((0, 0));
        window.add(literals);
        window.finish(out).map_err(ExportError::Output)?;
    }
    Ok(())
}

fn export_copies(
    header: &Header,
    frame: &Frame,
    number: u32,
    payload: &[u8],
    out: &mut dyn Write,
) -> Result<(), ExportError> {
    let base_bytes = header.bases().first().map_or(0, |base| base.bytes.0);
    let decoded = decode_copies(payload, frame.target_bytes as usize, base_bytes);
    let Copies { copies, mut literals } = decoded.map_err(|what| damaged(frame, number, what))?;
    let copies = split_at_windows(copies);
    let mut rest = copies.as_slice();
    let mut position = 0;
    let mut gap = Vec::new();
    while position < frame.target_bytes {
        let end = (position + WINDOW_BYTES).min(frame.target_bytes);
        let (inside, later) = rest.split_at(rest.partition_point(|copy| copy.at < end));
        rest = later;
        let mut window = WindowWriter::new(source_range(inside));
        // Literals come before each copy, and behind the last one.
        for copy in inside.iter().map(Some).chain([None]) {
            let next = copy.map_or(end, |copy| copy.at);
            gap.clear();
            let read = literals.read((next - position) as usize, &mut gap);
            read.map_err(|what| damaged(frame, number, what))?;
            window.add(&gap);
            position = next;
            if let Some(copy) = copy {
                window.copy(copy.from, copy.bytes.into());
                position = copy.end();
            }
        }
        window.finish(out).map_err(ExportError::Output)?;
    }
    literals.finish().map_err(|what| damaged(frame, number, what))
}

fn damaged(frame: &Frame, number: u32, what: &'static str) -> ExportError {
    blame(frame, number, &CodecError::Damaged(what))
}

/// Splits the copies that cross a window's end.
fn split_at_windows(copies: Vec<Copy>) -> Vec<Copy> {
    let mut parts = Vec::with_capacity(copies.len() + 2);
    for mut copy in copies {
        loop {
            let first = WINDOW_BYTES - copy.at % WINDOW_BYTES;
            if copy.bytes <= first {
                break;
            }
            parts.push(Copy { bytes: first, ..copy });
            copy = Copy { at: copy.at + first, bytes: copy.bytes - first, from: copy.from + u64::from(first) };
        }
        parts.push(copy);
    }
    parts
}

/// Offset and length of the smallest range of the base that holds every copy.
fn source_range(copies: &[Copy]) -> (u64, u64) {
    let start = copies.iter().map(|copy| copy.from).min().unwrap_or(0);
    let end = copies.iter().map(|copy| copy.from + u64::from(copy.bytes)).max().unwrap_or(0);
    (start, end - start)
}

fn blame(frame: &Frame, number: u32, error: &CodecError) -> ExportError {
    let codec = frame.codec;
    ExportError::Frame(match *error {
        CodecError::Damaged(what) => ApplyError::Damaged { frame: number, codec, what },
        // None happens without a base, and nobody says to stop; they would mean a codec that cannot be exported.
        CodecError::Unsupported
        | CodecError::Base { .. }
        | CodecError::Target { .. }
        | CodecError::Memory { .. }
        | CodecError::Stopped => ApplyError::CodecUnsupported { frame: number, codec },
    })
}
