//! The calls of libzstd that may have made a frame: its header says some of them, and its first block tells most
//! levels apart.
//!
//! libzstd makes the first 128 KiB of content one block, whatever follows and however it was called. So each level
//! makes that block once, and only the levels that make it right are tried on the whole beginning, in each way to
//! call them.

use lighter_types::ReadAt;

use super::frame::Header;
use super::trial::Trial;
use crate::encoder::{Class, Encoder, Kind};
use crate::error::FindError;
use crate::libzstd::{CHUNK_BYTES, LONG_LOG, LibZstdCall, Threads};

/// No level up to 19 has a larger window by itself.
const LEVEL_WINDOW_BYTES: u64 = 8 << 20;

/// The encoders of libzstd to try for a blob that begins with this header and content. If no level makes the first
/// block, the likeliest encoder is there for the answer about the nearest.
pub fn encoders(header: Header, content: &[u8], blob: &dyn ReadAt) -> Result<Vec<Encoder>, FindError> {
    let call = LibZstdCall {
        has_checksum: header.has_checksum,
        has_content_size: header.content_bytes.is_some(),
        ..LibZstdCall::STREAM
    };
    let mut made = Vec::new();
    for encoder in Encoder::all(Kind::LibZstd, &[]) {
        for long_log in long_logs(header) {
            let encoder = Encoder { libzstd: LibZstdCall { long_log, ..call }, ..encoder };
            let has_window = header.window_bytes.is_none_or(|bytes| bytes == window_bytes(encoder));
            if encoder.is_known() && has_window && makes_first_block(encoder, header, content, blob)? {
                made.push(encoder);
            }
        }
    }
    if made.is_empty() {
        let likeliest = Encoder { libzstd: call, ..Encoder::new(Class::LibZstd1, 3) };
        return Ok(vec![likeliest].into_iter().filter(|encoder| encoder.is_known()).collect());
    }
    Ok(made.into_iter().flat_map(calls).collect())
}

/// The ways to call it, the commonest first. The command knows the size of a file, and says the end with its last
/// bytes; of a pipe it knows neither. It uses workers unless it is told not to; other programs do not.
fn calls(encoder: Encoder) -> impl Iterator<Item = Encoder> {
    let is_file = encoder.libzstd.has_content_size;
    [is_file, !is_file].into_iter().flat_map(move |is_end_joined| {
        [Threads::Workers, Threads::Caller].into_iter().map(move |threads| Encoder {
            is_end_joined,
            libzstd: LibZstdCall { threads, ..encoder.libzstd },
            ..encoder
        })
    })
}

/// The windows for distant matches that may have been asked for.
fn long_logs(header: Header) -> Vec<u8> {
    let window_bytes = header.window_bytes.or(header.content_bytes).unwrap_or_default();
    if window_bytes <= LEVEL_WINDOW_BYTES {
        return vec![0];
    }
    match header.window_bytes {
        Some(bytes) if bytes.is_power_of_two() => vec![bytes.ilog2() as u8],
        // The window is the content.
        Some(_) | None => vec![0, LONG_LOG],
    }
}

/// The window that its frames declare, unless their content fits into one window (libzstd's `clevels.h`).
fn window_bytes(encoder: Encoder) -> u64 {
    let log = match (encoder.libzstd.long_log, encoder.level) {
        (0, ..=1) => 19,
        (0, 2) => 20,
        (0, 3..=8) => 21,
        (0, 9..=16) => 22,
        (0, 17..) => 23,
        (log, _) => log,
    };
    1 << log
}

fn makes_first_block(encoder: Encoder, header: Header, content: &[u8], blob: &dyn ReadAt) -> Result<bool, FindError> {
    // A frame of one block differs: the block is its last.
    let Some(first) = content.get(..CHUNK_BYTES).filter(|_| content.len() > CHUNK_BYTES) else { return Ok(true) };
    let mut trial = Trial::new(encoder);
    trial.begin(0, 0, header.content_bytes);
    trial.write(first, blob)?;
    trial.drain(blob)?;
    Ok(trial.difference.is_none())
}
