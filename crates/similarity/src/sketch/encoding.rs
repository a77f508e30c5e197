//! The bytes of a sketch, version 4. Numbers are little-endian.
//!
//! | offset | size | meaning |
//! |---|---|---|
//! | 0 | 1 | version: 4 |
//! | 1 | 8 | content bytes |
//! | 9 | 4 | entries |
//! | 13 | 1 | share of the contents that are executables of Go, in 1/255 |
//! | 14 | 7 | plain set: shift (1), limit (4), samples (2) |
//! | 21 | 7 | masked set: the same |
//! | 28 | 7 | long set: the same |
//! | 35 | 7 | set of headers: the same |
//! | 42 | 7 | set of paths: the same |
//! | 49 | 352 | odd sketch of masked windows: 11 levels of 256 cells, the lowest bit of a byte first |
//! | 401 | 352 | odd sketch of long windows: the same |
//! | 753 | n | the samples of all sets as bits, the highest bit of a byte first, filled up with zeros |
//!
//! Limits: shift at most 63; at most 200 plain, 550 masked and 400 long samples, 64 headers and 64 paths; limit at most
//! 64 times that, with `limit << shift` within 64 bits.
//!
//! The first sample is encoded as its value, each other sample as its distance to the previous one, minus one. The code
//! is Rice's (Rice, Plaunt, 1971): the quotient by 2^r as that many ones and a zero, then r bits of remainder. r is the
//! whole part of the binary logarithm of limit / samples. A sketch has one encoding only: bytes that decode also encode
//! to the same bytes.

use super::parity::{PARITY_BYTES, Parities};
use super::sample::{Level, SampleSet};
use super::{
    ENTRY_SAMPLES_MAX, EntrySamples, LONG_SAMPLES_MAX, MASKED_SAMPLES_MAX, PLAIN_SAMPLES_MAX, Sketch, WindowSets,
};

/// The longest sketch: 753 bytes, and at most 8 bits for each sample ([`SampleSet`] has under 64 slots for each).
pub const SKETCH_BYTES_MAX: usize =
    HEADER_BYTES + 2 * PARITY_BYTES + PLAIN_SAMPLES_MAX + MASKED_SAMPLES_MAX + LONG_SAMPLES_MAX + 2 * ENTRY_SAMPLES_MAX;

const SKETCH_VERSION: u8 = 4;
const HEADER_BYTES: usize = 49;

/// The reason why bytes are not a sketch. The sender is to blame, unless it has a newer version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SketchError {
    #[error("sketch of {bytes} bytes is over the limit of {SKETCH_BYTES_MAX}")]
    TooLong { bytes: usize },
    #[error("sketch version {found}; this program reads version {SKETCH_VERSION}: make the sketch again")]
    Version { found: u8 },
    #[error("sketch ends early")]
    Short,
    #[error("sketch has a set ({set}) of {samples} samples in {limit} slots, shifted by {shift}")]
    Shape { set: &'static str, samples: u16, limit: u32, shift: u8 },
    #[error("sketch has a sample ({set}) beyond its limit of {limit}")]
    Sample { set: &'static str, limit: u32 },
    #[error("sketch has bytes or bits after its last sample")]
    Trailing,
}

impl Sketch {
    /// The sketch's bytes, at most [`SKETCH_BYTES_MAX`].
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![SKETCH_VERSION];
        bytes.extend(self.content_bytes.to_le_bytes());
        bytes.extend(self.entries.to_le_bytes());
        bytes.push(self.go);
        for set in self.sets() {
            // Both numbers fit: a shift is under 64, and a set has at most 550 samples.
            bytes.push(set.level().shift as u8);
            bytes.extend(set.level().limit.to_le_bytes());
            bytes.extend((set.values().len() as u16).to_le_bytes());
        }
        bytes.extend(self.windows.masked_odd.to_bytes().chain(self.windows.long_odd.to_bytes()));
        let mut bits = BitWriter { bytes, used: 8 };
        for set in self.sets() {
            write_samples(set, &mut bits);
        }
        bits.bytes
    }

    /// The sets in the order of their bytes.
    fn sets(&self) -> [&SampleSet; 5] {
        let WindowSets { plain, masked, long, .. } = &*self.windows;
        [plain, masked, long, self.headers(), self.paths()]
    }

    /// Decodes a sketch. Allocates at most 6 KB.
    ///
    /// # Errors
    /// [`SketchError`] for all bytes that [`Sketch::to_bytes`] does not write.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SketchError> {
        if bytes.len() > SKETCH_BYTES_MAX {
            return Err(SketchError::TooLong { bytes: bytes.len() });
        }
        match bytes.first() {
            Some(&SKETCH_VERSION) => {}
            Some(&found) => return Err(SketchError::Version { found }),
            None => return Err(SketchError::Short),
        }
        let (header, samples) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(SketchError::Short)?;
        let (masked_odd, samples) = samples.split_first_chunk().ok_or(SketchError::Short)?;
        let (long_odd, samples) = samples.split_first_chunk().ok_or(SketchError::Short)?;
        let plain = Shape::read("plain", &header[14..21], PLAIN_SAMPLES_MAX)?;
        let masked = Shape::read("masked", &header[21..28], MASKED_SAMPLES_MAX)?;
        let long = Shape::read("long", &header[28..35], LONG_SAMPLES_MAX)?;
        let headers = Shape::read("headers", &header[35..42], ENTRY_SAMPLES_MAX)?;
        let paths = Shape::read("paths", &header[42..49], ENTRY_SAMPLES_MAX)?;
        let mut bits = BitReader { bytes: samples, offset: 0 };
        let windows = WindowSets {
            plain: plain.read_samples(&mut bits)?,
            masked: masked.read_samples(&mut bits)?,
            masked_odd: Parities::from_bytes(masked_odd),
            long: long.read_samples(&mut bits)?,
            long_odd: Parities::from_bytes(long_odd),
        };
        let of_entries =
            EntrySamples { headers: headers.read_samples(&mut bits)?, paths: paths.read_samples(&mut bits)? };
        let sketch = Self {
            content_bytes: header[1..9].iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)),
            entries: number(&header[9..13]),
            go: header[13],
            windows: Box::new(windows),
            of_entries: Box::new(of_entries),
        };
        bits.finish()?;
        Ok(sketch)
    }
}

/// The header of a set.
struct Shape {
    set: &'static str,
    level: Level,
    samples: u16,
}

impl Shape {
    fn read(set: &'static str, bytes: &[u8], samples_max: usize) -> Result<Self, SketchError> {
        let (shift, limit, samples) = (bytes[0], number(&bytes[1..5]), number(&bytes[5..7]) as u16);
        let is_right = usize::from(samples) <= samples_max
            && limit <= SampleSet::limit_max(samples_max)
            && u32::from(shift) < u64::BITS
            && u64::from(limit) <= u64::MAX >> shift;
        if !is_right {
            return Err(SketchError::Shape { set, samples, limit, shift });
        }
        Ok(Self { set, level: Level { shift: shift.into(), limit }, samples })
    }

    fn read_samples(&self, bits: &mut BitReader<'_>) -> Result<SampleSet, SketchError> {
        let limit = self.level.limit;
        let width = rice_width(limit, usize::from(self.samples));
        let mut slots = Vec::with_capacity(self.samples.into());
        let mut next = 0;
        for _ in 0..self.samples {
            let mut quotient = 0;
            while bits.next_bit()? == 1 {
                quotient += 1;
            }
            let mut gap = quotient;
            for _ in 0..width {
                gap = gap << 1 | bits.next_bit()?;
            }
            // A quotient has at most the bits of SKETCH_BYTES_MAX bytes, and is shifted by at most 16, so it cannot
            // overflow.
            let slot = next + gap;
            if slot >= limit {
                return Err(SketchError::Sample { set: self.set, limit });
            }
            slots.push(u64::from(slot));
            next = slot + 1;
        }
        Ok(SampleSet::new(self.level, slots.into_iter()))
    }
}

fn write_samples(set: &SampleSet, bits: &mut BitWriter) {
    let width = rice_width(set.level().limit, set.values().len());
    let mut next = 0;
    for &slot in set.values() {
        let gap = slot - next;
        (0..gap >> width).for_each(|_| bits.push(1));
        bits.push(0);
        (0..width).rev().for_each(|bit| bits.push(gap >> bit & 1));
        next = slot + 1;
    }
}

/// The number of bits of a remainder: the whole part of the binary logarithm of the mean distance between samples.
fn rice_width(limit: u32, samples: usize) -> u32 {
    let samples = u32::try_from(samples).unwrap_or(u32::MAX).max(1);
    (limit / samples).checked_ilog2().unwrap_or(0)
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |number, &byte| number << 8 | u32::from(byte))
}

struct BitWriter {
    bytes: Vec<u8>,
    /// The used bits of the last byte.
    used: u32,
}

impl BitWriter {
    fn push(&mut self, bit: u32) {
        if self.used == 8 {
            self.bytes.push(0);
            self.used = 0;
        }
        self.used += 1;
        if let Some(last) = self.bytes.last_mut()
            && bit == 1
        {
            *last |= 1 << (8 - self.used);
        }
    }
}

struct BitReader<'a> {
    bytes: &'a [u8],
    /// The offset of the next bit, in bits.
    offset: usize,
}

impl BitReader<'_> {
    fn next_bit(&mut self) -> Result<u32, SketchError> {
        let byte = self.bytes.get(self.offset / 8).ok_or(SketchError::Short)?;
        let bit = byte >> (7 - self.offset % 8) & 1;
        self.offset += 1;
        Ok(bit.into())
    }

    /// Checks that only zeros follow up to the end of the byte, and no more bytes.
    fn finish(mut self) -> Result<(), SketchError> {
        while !self.offset.is_multiple_of(8) {
            if self.next_bit()? == 1 {
                return Err(SketchError::Trailing);
            }
        }
        if self.offset / 8 == self.bytes.len() { Ok(()) } else { Err(SketchError::Trailing) }
    }
}
