//! From a target and its bases to a patch: the frames by one of the encoders, and the header that names them.
//!
//! Only a failing read, a cancel or a wrong argument is an error: bytes that match nowhere are compressed alone, and
//! bytes that do not compress are stored. The number of threads never changes the patch.

mod delta;
mod progress;
mod source;
mod vcdiff;
mod whole;

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::sync::Mutex;

use lighter_types::{BASES_MAX, Bytes, Effort, PatchId, ReadAt};

pub use self::source::Source;

use self::progress::Progress;
use self::source::EncodedFrame;
use crate::error::{EncodeError, HeaderError};
use crate::header::{Base, FrameEntry, Header};
use crate::limits::FRAMES_MAX;
use crate::settings::{Method, Settings};

/// A patch in memory.
#[derive(Clone, Debug)]
pub struct Patch {
    /// The header.
    pub header: Header,
    /// The payload of each frame of the header.
    pub payloads: Vec<Vec<u8>>,
}

impl Patch {
    /// The patch's name.
    pub fn id(&self) -> PatchId {
        self.header.id()
    }

    /// The length of the patch: header and payloads.
    pub fn bytes(&self) -> Bytes {
        self.header.patch_bytes()
    }

    /// Writes the patch as a file: the header, then the payloads back to back.
    ///
    /// # Errors
    /// The error of `out`.
    pub fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&self.header.encode())?;
        self.payloads.iter().try_for_each(|payload| out.write_all(payload))
    }
}

/// Makes the patch that turns `bases` into `target`, in memory: [`encode_to`] with the payloads collected.
///
/// # Errors
/// As [`encode_to`].
pub fn encode(
    target: &Source<'_>,
    bases: &[Source<'_>],
    settings: &Settings,
    progress: &(dyn Fn(Bytes) -> ControlFlow<()> + Sync),
) -> Result<Patch, EncodeError> {
    let mut payloads = Vec::new();
    let header = encode_to(target, bases, settings, progress, &mut |payload| {
        payloads.push(payload);
        Ok(())
    })?;
    Ok(Patch { header, payloads })
}

/// Makes the patch that turns `bases` into `target`. Without bases it is the compressed target. At
/// [`Effort::Plain`] no base is read, and what does not compress goes as it is. Each frame's payload is
/// given to `out`, in order, as soon as its segment is done; the header is known when the last has been.
///
/// The encoder calls `progress` from any thread with the number of encoded bytes of the target. The number never falls,
/// and may stay the same between steps. `Break` ends the encoding. Matching a segment of 128 MiB against a base, up to
/// some fifteen seconds, is one step. Bases that no frame reads are not in the header.
///
/// Allocates about [`Settings::memory_bytes_max`] (one segment and one frame at a time are always allowed), and the
/// payloads of as many segments of 128 MiB as there are threads.
///
/// # Errors
/// See [`EncodeError`]. Whatever the layers hold, there is a patch.
pub fn encode_to(
    target: &Source<'_>,
    bases: &[Source<'_>],
    settings: &Settings,
    progress: &(dyn Fn(Bytes) -> ControlFlow<()> + Sync),
    out: &mut dyn FnMut(Vec<u8>) -> io::Result<()>,
) -> Result<Header, EncodeError> {
    check(bases, settings)?;
    let progress = Progress { report: progress, done: Mutex::new(0) };
    let mut frames = Vec::new();
    let mut keep = |encoded: Vec<EncodedFrame>| {
        for frame in encoded {
            frames.push((frame.base, frame.entry()));
            out(frame.payload).map_err(EncodeError::Output)?;
        }
        if frames.len() > FRAMES_MAX {
            return Err(EncodeError::TooLong { target_bytes: target.bytes.len() });
        }
        Ok(())
    };
    let used = match settings.method {
        Method::Vcdiff => {
            vcdiff::encode(target, bases, settings, &progress, &mut keep)?;
            (0..bases.len()).filter(|&base| frames.iter().any(|(other, _)| *other == Some(base))).collect()
        }
        Method::Delta(Effort::Plain) => {
            whole::encode(target, settings, &progress, &mut keep)?;
            Vec::new()
        }
        Method::Delta(effort) => delta::encode(target, bases, effort, settings, &progress, &mut keep)?,
    };
    put_together(target, bases, settings, &used, &frames)
}

/// The header of the patch that [`encode_to`] makes of a whole layer at [`Effort::Plain`], without its payloads:
/// [`plain_payload`] makes each of them when it is wanted. Reads and compresses the layer once. The method of the
/// settings does not count.
///
/// # Errors
/// As [`encode_to`].
pub fn plain_header(
    target: &Source<'_>,
    settings: &Settings,
    progress: &(dyn Fn(Bytes) -> ControlFlow<()> + Sync),
) -> Result<Header, EncodeError> {
    let settings = Settings { method: Method::Delta(Effort::Plain), ..settings.clone() };
    check(&[], &settings)?;
    let progress = Progress { report: progress, done: Mutex::new(0) };
    let entries = whole::entries(target, &settings, &progress)?;
    if entries.len() > FRAMES_MAX {
        return Err(EncodeError::TooLong { target_bytes: target.bytes.len() });
    }
    let frames: Vec<_> = entries.into_iter().map(|entry| (None, entry)).collect();
    put_together(target, &[], &settings, &[], &frames)
}

/// The payload of a frame of such a header, from the layer. Where the header is another encoder's, or the layer
/// changed, these are not the bytes that the header names: [`crate::verify_frame`] tells.
///
/// # Errors
/// As [`encode_to`]; [`EncodeError::NoFrame`].
pub fn plain_payload(header: &Header, index: u32, target: &dyn ReadAt) -> Result<Vec<u8>, EncodeError> {
    let missing = || EncodeError::NoFrame { frame: index, frames: header.frames().len() };
    let frame = header.frame(index).ok_or_else(missing)?;
    whole::payload(&Source { diff_id: header.target(), bytes: target }, frame)
}

fn check(bases: &[Source<'_>], settings: &Settings) -> Result<(), EncodeError> {
    settings.check()?;
    if bases.len() > BASES_MAX {
        return Err(EncodeError::TooManyBases { found: bases.len() });
    }
    for (index, base) in bases.iter().enumerate() {
        if bases[..index].iter().any(|other| other.diff_id == base.diff_id) {
            return Err(EncodeError::RepeatedBase(base.diff_id));
        }
    }
    Ok(())
}

/// Makes the header, with the bases that are used, in the order given.
fn put_together(
    target: &Source<'_>,
    bases: &[Source<'_>],
    settings: &Settings,
    used: &[usize],
    frames: &[(Option<usize>, FrameEntry)],
) -> Result<Header, EncodeError> {
    let place = |base: usize| used.iter().position(|&other| other == base).map(|place| place as u8);
    let entries: Vec<FrameEntry> =
        frames.iter().map(|&(base, entry)| FrameEntry { base: base.and_then(place), ..entry }).collect();
    let table =
        used.iter().map(|&base| Base { diff_id: bases[base].diff_id, bytes: bases[base].bytes.len() }).collect();
    Header::new(settings.id(), target.diff_id, target.bytes.len(), table, &entries)
        .map_err(|error| target_changed(target, error))
}

/// Frames that do not make a header: the target's length changed under the encoder.
fn target_changed(target: &Source<'_>, error: HeaderError) -> EncodeError {
    let offset = target.bytes.len().0;
    EncodeError::Read { layer: target.diff_id, offset, source: io::Error::other(error) }
}
