//! LZ4 blocks, the elements of fatbins that have them, and the encoder that makes the blocks again. The first byte
//! picks one of these; the rest is for it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lighter_delta::{fatbin, lz4};

/// Longer contents only take longer.
const PLAIN_BYTES_MAX: usize = 1 << 18;

fuzz_target!(|bytes: &[u8]| {
    let [kind, rest @ ..] = bytes else { return };
    match kind % 4 {
        0 => block(rest),
        1 => round_trip(rest),
        2 => round_trip(&repetitive(rest)),
        _ => element(rest),
    }
});

/// A block of somebody, with a stated length of its content.
fn block(bytes: &[u8]) {
    let [low, high, block @ ..] = bytes else { return };
    let plain_bytes = usize::from(u16::from_le_bytes([*low, *high]));
    if let Some(plain) = lz4::content(block, plain_bytes) {
        assert_eq!(plain.len(), plain_bytes);
        // Another encoder may have made another block of it.
        round_trip(&plain);
    }
    if let Some(front) = lz4::front(block, plain_bytes) {
        // Literals may go on behind the length that was asked for, as far as the block.
        assert!(front.len() <= plain_bytes + block.len() + 5);
    }
}

fn round_trip(plain: &[u8]) {
    let block = lz4::compress(plain);
    assert!(block.len() <= plain.len() + plain.len() / 255 + 16);
    assert!(lz4::content(&block, plain.len()).as_deref() == Some(plain));
    assert!(lz4::content(&block, plain.len() + 1).is_none());
    let half = plain.len() / 2;
    assert!(lz4::front(&block, half).is_some_and(|front| front[..half] == plain[..half]));
}

/// Literals, and copies from near and far: each byte says how many of which, and one or two follow. So a few bytes have
/// matches that overlap and reach behind the window.
fn repetitive(mut bytes: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::new();
    while let [op, argument, rest @ ..] = bytes
        && out.len() < PLAIN_BYTES_MAX
    {
        bytes = rest;
        let count = usize::from(op >> 2) + 1;
        match op & 3 {
            0 => out.extend_from_slice(&rest[..count.min(rest.len())]),
            1 => out.extend((0..count).map(|n| (n as u8).wrapping_mul(*argument) ^ argument >> 3)),
            kind => {
                let distance = if kind == 2 { usize::from(*argument) + 1 } else { usize::from(*argument) * 521 + 1 };
                let Some(from) = out.len().checked_sub(distance) else { continue };
                let count = if kind == 2 { count } else { count * 97 };
                (from..from + count).for_each(|at| out.push(out[at]));
            }
        }
    }
    out
}

/// An element of a fatbin, and the header of a container.
fn element(bytes: &[u8]) {
    if let Some(header) = bytes.first_chunk() {
        fatbin::container(header);
    }
    let Some(element) = fatbin::element(bytes) else { return };
    assert_eq!(fatbin::is_compressed(bytes), element.block_bytes.is_some());
    assert!(element.block_bytes.is_none_or(|block_bytes| block_bytes <= element.bytes - element.header_bytes));
    if let Some((plain, start, block_bytes)) = fatbin::content(bytes, PLAIN_BYTES_MAX) {
        assert!(plain.len() as u64 == element.plain_bytes && start + block_bytes <= bytes.len());
    }
    if element.plain_bytes <= PLAIN_BYTES_MAX as u64
        && let Some(found) = fatbin::decompress(bytes)
    {
        assert!(lz4::compress(&found.plain) == bytes[found.start..found.start + found.bytes]);
    }
}
