//! The sources of a frame: the bases, read by position; inflated streams of the bases; and, for copies only, the target
//! before the step's place.

use std::ops::Range;

use lighter_types::{BaseCache, ReadAt};

use crate::compressed;
use crate::error::CodecError;
use crate::models::window::{MARGIN_BEFORE, MARGIN_BEHIND};
use crate::program::Inflated;

const OUTSIDE: CodecError = CodecError::Damaged("a range outside its source");
/// A frame is decoded before the rest of the target exists.
pub const TARGET: CodecError = CodecError::Damaged("a step that needs the target's bytes to be decoded");

/// The source that a copy reads.
pub enum CopyFrom {
    Base { index: usize, offset: u64 },
    Target { offset: u64 },
    Inflated,
}

/// The address space of a frame.
pub struct Sources<'a> {
    bases: BaseCache<'a>,
    /// Where each base begins, then where the target begins and where it ends.
    starts: Vec<u64>,
    inflated: Vec<Vec<u8>>,
    inflated_starts: Vec<u64>,
}

/// A range of one source.
enum Place {
    Base { index: usize, offset: u64, left: u64, behind: u64 },
    Target { offset: u64 },
    Inflated { index: usize, offset: usize },
}

impl<'a> Sources<'a> {
    /// `target_end` is where the frame's range ends in the target.
    ///
    /// # Errors
    /// The sum of the lengths is too large for an address.
    pub fn new(bases: &[&'a dyn ReadAt], target_end: u64) -> Result<Self, CodecError> {
        let mut starts = vec![0u64];
        let mut end = 0u64;
        for bytes in bases.iter().map(|base| base.len().0).chain([target_end]) {
            // One byte between two sources keeps their ranges from growing together.
            let next = bytes.checked_add(1).and_then(|bytes| end.checked_add(bytes));
            end = next.filter(|&end| end < 1 << 62).ok_or(OUTSIDE)?;
            starts.push(end);
        }
        Ok(Self { bases: BaseCache::new(bases), starts, inflated: Vec::new(), inflated_starts: vec![end] })
    }

    /// Inflates streams of the bases, in order. All content and all streams have at most `bytes_max` bytes.
    ///
    /// # Errors
    /// Ranges outside a base, more bytes than that, streams that are not of the length stated.
    pub fn inflate(&mut self, streams: &[Inflated], bytes_max: u64) -> Result<(), CodecError> {
        let sum = |of: fn(&Inflated) -> u64| streams.iter().map(of).fold(0, u64::saturating_add);
        if sum(|stream| stream.plain_bytes) > bytes_max || sum(|stream| stream.bytes) > bytes_max {
            return Err("more inflated content than allowed".into());
        }
        for stream in streams {
            let mut deflated = vec![0; stream.bytes as usize];
            self.read(stream.from, &mut deflated)?;
            let plain = compressed::content(&deflated, stream.plain_bytes as usize)
                .map(|(plain, _)| plain)
                .filter(|plain| plain.len() as u64 == stream.plain_bytes)
                .ok_or("a source that does not inflate")?;
            let start = self.inflated_starts.last().copied().unwrap_or_default();
            self.inflated_starts.push(start + plain.len() as u64 + 1);
            self.inflated.push(plain);
        }
        Ok(())
    }

    /// Fills `buffer` from `from` on, all of it from one source.
    ///
    /// # Errors
    /// A range outside a source; a base that cannot be read.
    pub fn read(&mut self, from: u64, buffer: &mut [u8]) -> Result<(), CodecError> {
        match self.place(from, buffer.len() as u64)? {
            Place::Base { index, offset, .. } => read_base(&mut self.bases, index, offset, buffer),
            Place::Target { .. } => Err(TARGET),
            Place::Inflated { index, offset } => {
                buffer.copy_from_slice(&self.inflated[index][offset..offset + buffer.len()]);
                Ok(())
            }
        }
    }

    /// Puts into `window` the `bytes` bytes from `from` on, with the margins around them.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn window(&mut self, from: u64, bytes: usize, window: &mut Vec<u8>) -> Result<(), CodecError> {
        let (before, behind) = (MARGIN_BEFORE, MARGIN_BEHIND);
        window.resize(before + bytes + behind, 0);
        // The margins that the source does not have.
        window[..before].fill(0);
        window[before + bytes..].fill(0);
        match self.place(from, bytes as u64)? {
            Place::Base { index, offset, left, behind: more } => {
                let front = left.min(before as u64) as usize;
                let back = more.min(behind as u64) as usize;
                let part = &mut window[before - front..before + bytes + back];
                read_base(&mut self.bases, index, offset - front as u64, part)
            }
            Place::Target { .. } => Err(TARGET),
            Place::Inflated { index, offset } => {
                let source = &self.inflated[index];
                let front = offset.min(before);
                let back = (source.len() - offset - bytes).min(behind);
                window[before - front..before + bytes + back]
                    .copy_from_slice(&source[offset - front..offset + bytes + back]);
                Ok(())
            }
        }
    }

    /// Where a copy reads.
    ///
    /// # Errors
    /// A range outside a source.
    pub fn copied(&self, from: u64, bytes: u64) -> Result<CopyFrom, CodecError> {
        Ok(match self.place(from, bytes)? {
            Place::Base { index, offset, .. } => CopyFrom::Base { index, offset },
            Place::Target { offset } => CopyFrom::Target { offset },
            Place::Inflated { .. } => CopyFrom::Inflated,
        })
    }

    /// Up to `before` and `after` bytes around a place, as far as its source goes; none where that is the target.
    ///
    /// # Errors
    /// A place outside all sources.
    pub fn around(&self, at: u64, before: u64, after: u64) -> Result<Option<Range<u64>>, CodecError> {
        let (left, behind) = match self.place(at, 0)? {
            Place::Base { left, behind, .. } => (left, behind),
            Place::Target { .. } => return Ok(None),
            Place::Inflated { index, offset } => (offset as u64, (self.inflated[index].len() - offset) as u64),
        };
        Ok(Some(at - left.min(before)..at + behind.min(after)))
    }

    fn place(&self, from: u64, bytes: u64) -> Result<Place, CodecError> {
        let end = from.checked_add(bytes).ok_or(OUTSIDE)?;
        let (starts, inflated) = if from < self.starts[self.starts.len() - 1] {
            (&self.starts, false)
        } else {
            (&self.inflated_starts, true)
        };
        // The last source that begins at or before the address. Empty sources are skipped.
        let index = starts.partition_point(|&start| start <= from).checked_sub(1).ok_or(OUTSIDE)?;
        let source_end = starts.get(index + 1).map(|&next| next - 1).filter(|&source_end| end <= source_end);
        let source_end = source_end.ok_or(OUTSIDE)?;
        let offset = from - starts[index];
        Ok(if inflated {
            Place::Inflated { index, offset: offset as usize }
        } else if index == self.bases.bases() {
            Place::Target { offset }
        } else {
            Place::Base { index, offset, left: offset, behind: source_end - end }
        })
    }
}

fn read_base(bases: &mut BaseCache<'_>, base: usize, offset: u64, buffer: &mut [u8]) -> Result<(), CodecError> {
    bases.read(base, buffer, offset).map_err(|(offset, source)| CodecError::Base { base, offset, source })
}
