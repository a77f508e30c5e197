//! The one call into xdelta3's C code (crate `xdelta3` 0.1.5, xdelta 3.0.x), on layers of this machine only.
//!
//! The crate's own `encode` cannot set a level and allocates twice the sum of its inputs, so the C function that it
//! links is declared here. See docs/decisions/0003-xdelta3.md.

#![allow(unsafe_code)]

use std::sync::Once;

// Links the C library.
use xdelta3 as _;

/// `XD3_NOCOMPRESS` in xdelta3.h: look for copies in the base only, none inside the target.
const BASE_COPIES_ONLY: i32 = 1 << 13;
/// `XD3_COMPLEVEL_SHIFT` in xdelta3.h.
const LEVEL_SHIFT: u32 = 20;

/// Longest base or target of one call. The C code rounds a base's length up to a power of two and shifts a 32-bit
/// `int` by its logarithm.
pub const INPUT_BYTES_MAX: usize = 1 << 30;

unsafe extern "C" {
    // xdelta3.h: usize_t is uint32_t (SIZEOF_USIZE_T is 4).
    fn xd3_encode_memory(
        input: *const u8,
        input_size: u32,
        source: *const u8,
        source_size: u32,
        output: *mut u8,
        output_size: *mut u32,
        output_size_max: u32,
        flags: i32,
    ) -> i32;
}

/// A VCDIFF file (RFC 3284) that turns `base` into `target`, with copies from the base only and without checksums.
/// `None` if an input is empty or longer than [`INPUT_BYTES_MAX`], or if xdelta3 gives up (no memory, no room).
///
/// Allocates, beside the result, four bytes for each second byte of the base's length rounded up to a power of two.
pub fn encode(target: &[u8], base: &[u8], level: u8) -> Option<Vec<u8>> {
    static TABLE_BUILT: Once = Once::new();
    if target.is_empty() || base.is_empty() || target.len() > INPUT_BYTES_MAX || base.len() > INPUT_BYTES_MAX {
        return None;
    }
    TABLE_BUILT.call_once(|| drop(call(b"a", b"a", level)));
    call(target, base, level)
}

/// One call of the C function. The C code has one global state: a code table that the first call builds without a lock.
/// The caller makes sure that the first call returns before others begin.
fn call(target: &[u8], base: &[u8], level: u8) -> Option<Vec<u8>> {
    // Short copies from far away can take more bytes than they save; a target full of them is not worth encoding.
    let mut output = vec![0; target.len() + target.len() / 4 + (64 << 10)];
    let mut output_bytes = 0u32;
    // SAFETY: the three pointers are to live slices of the lengths given, which fit u32 (INPUT_BYTES_MAX is 2^30); the
    // output does not overlap the inputs; the C code writes at most output_size_max bytes and keeps no pointer when it
    // returns. Its only global state, the code table, is built by the first call and only read afterwards; `encode`
    // orders the two by a Once.
    let result = unsafe {
        xd3_encode_memory(
            target.as_ptr(),
            target.len() as u32,
            base.as_ptr(),
            base.len() as u32,
            output.as_mut_ptr(),
            &raw mut output_bytes,
            output.len() as u32,
            BASE_COPIES_ONLY | i32::from(level) << LEVEL_SHIFT,
        )
    };
    if result != 0 {
        return None;
    }
    output.truncate(output_bytes as usize);
    output.shrink_to_fit();
    Some(output)
}
