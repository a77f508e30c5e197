//! Applies a VCDIFF file to a base.

use std::io::{self, Read, Write};

use lighter_types::{BaseCache, Bytes, ReadAt};

use crate::error::{Feature, VcdiffError};
use crate::file::{FileReader, Limits};
use crate::window::{Instruction, Origin, Window};

/// Applies the VCDIFF file `input` to `base` and writes the target to `out`. Returns its length.
///
/// Allocates at most four times `window_bytes_max`, `history_bytes_max` and 2 MiB. If the Adler-32 of a window is
/// wrong, the windows before it are written, and that window is not.
///
/// # Errors
/// See [`VcdiffError::blame`].
pub fn decode_vcdiff(
    input: &mut dyn Read,
    base: &dyn ReadAt,
    out: &mut dyn Write,
    limits: Limits,
) -> Result<Bytes, VcdiffError> {
    let mut file = FileReader::open(input, limits)?;
    let mut base = BaseCache::new(&[base]);
    let mut history = Some(Vec::new());
    let mut written = 0u64;
    while let Some(window) = file.next_window()? {
        written = written.saturating_add(window.target_bytes);
        file.check("a whole target", written, limits.target_bytes_max)?;
        let target = apply(&window, &file, &mut base, history.as_deref())?;
        out.write_all(&target).map_err(VcdiffError::Output)?;
        if written > limits.history_bytes_max.0 {
            history = None;
        } else if let Some(history) = &mut history {
            history.extend_from_slice(&target);
        }
    }
    out.flush().map_err(VcdiffError::Output)?;
    Ok(Bytes(written))
}

enum Failure {
    Damaged(&'static str),
    Base(u64, io::Error),
}

impl From<&'static str> for Failure {
    fn from(what: &'static str) -> Self {
        Self::Damaged(what)
    }
}

/// One window's target.
fn apply(
    window: &Window,
    file: &FileReader<'_>,
    base: &mut BaseCache<'_>,
    history: Option<&[u8]>,
) -> Result<Vec<u8>, VcdiffError> {
    let history = match (window.origin, history) {
        (Origin::Base { offset, bytes }, _) if offset + bytes > base.bytes(0) => {
            return Err(file.damaged("a source range past the base's end"));
        }
        (Origin::Target { offset, bytes }, Some(history)) => history
            .get(offset as usize..(offset + bytes) as usize)
            .ok_or_else(|| file.damaged("a target range that is not written yet"))?,
        (Origin::Target { .. }, None) => {
            return Err(VcdiffError::Unsupported(Feature::CopiesFromFarWindows));
        }
        _ => &[],
    };
    let mut target = Vec::with_capacity(window.target_bytes as usize);
    let result = window.for_each(|_, instruction| {
        match instruction {
            Instruction::Add(literals) => target.extend_from_slice(literals),
            Instruction::Run { byte, bytes } => target.resize(target.len() + bytes as usize, byte),
            Instruction::Copy { address, bytes } => {
                copy(&mut target, window.origin, history, base, address, bytes)
                    .map_err(|(offset, source)| Failure::Base(offset, source))?;
            }
        }
        Ok(())
    });
    match result {
        Ok(()) => {}
        Err(Failure::Damaged(what)) => return Err(file.damaged(what)),
        Err(Failure::Base(offset, source)) => return Err(VcdiffError::Base { offset, source }),
    }
    match window.adler32 {
        Some(expected) if expected != adler32(&target) => {
            Err(VcdiffError::Checksum { window: file.window_number(), expected, found: adler32(&target) })
        }
        _ => Ok(target),
    }
}

/// Appends `bytes` bytes from `address` on. They may begin in the origin and go on in the window.
fn copy(
    target: &mut Vec<u8>,
    origin: Origin,
    history: &[u8],
    base: &mut BaseCache<'_>,
    address: u64,
    bytes: u64,
) -> Result<(), (u64, io::Error)> {
    let from_origin = origin.bytes().saturating_sub(address).min(bytes);
    if from_origin > 0 {
        let at = target.len();
        target.resize(at + from_origin as usize, 0);
        match origin {
            Origin::Base { offset, .. } => base.read(0, &mut target[at..], offset + address)?,
            Origin::Nothing | Origin::Target { .. } => {
                target[at..].copy_from_slice(&history[address as usize..][..from_origin as usize]);
            }
        }
    }
    let start = (address + from_origin - origin.bytes().min(address + from_origin)) as usize;
    let mut left = (bytes - from_origin) as usize;
    // A copy may read the bytes that it writes: it repeats the bytes between the two positions.
    while left > 0 {
        let step = left.min(target.len() - start);
        target.extend_from_within(start..start + step);
        left -= step;
    }
    Ok(())
}

/// RFC 1950, section 8.
fn adler32(bytes: &[u8]) -> u32 {
    const MODULUS: u32 = 65_521;
    let (mut a, mut b) = (1u32, 0u32);
    // 5552 is the most that cannot overflow 32 bits (zlib's NMAX).
    for chunk in bytes.chunks(5552) {
        for &byte in chunk {
            a += u32::from(byte);
            b += a;
        }
        a %= MODULUS;
        b %= MODULUS;
    }
    b << 16 | a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adler32_of_known_texts() {
        assert_eq!(adler32(b""), 1);
        assert_eq!(adler32(b"Wikipedia"), 0x11e6_0398);
        assert_eq!(adler32(&vec![0xff; 1 << 20]), {
            let (a, b) = (0..1 << 20).fold((1u64, 0u64), |(a, b), _| ((a + 255) % 65_521, (b + a + 255) % 65_521));
            (b << 16 | a) as u32
        });
    }
}
