//! GNU gzip's DEFLATE, levels 1 to 9: the raw stream, byte for byte.
//!
//! The class: GNU gzip 1.12, compared at all levels; without `--rsyncable`. Its method is zlib's, which came from it,
//! with three differences. GNU gzip's source (GPL) was not read: the differences were derived from its output and from
//! what zlib's sources (zlib licence) say of their origin.
//!
//! - A block has at most 32,767 symbols. From level 3 on a block also ends at a multiple of 4,096 symbols where it
//!   compresses well. zlib 1.2.11 has this test, for 8,192 symbols, behind `TRUNCATE_BLOCK`; the count is observed.
//! - The search for a match goes on past the end of the content: zlib's comment says that it stops there to be
//!   deterministic, so its ancestor did not. The window holds zeros there, or what it held before it slid, and the two
//!   bytes behind the content are cleared (observed: with one, three or more cleared, about a fifth of 500 files that
//!   end in repeats differ).
//! - Once the end was read the window slides no more. Behind index 65,274 no match is searched (observed; zlib asserts
//!   the same bound in its search).
//!
//! Each file is a stream of its own here. `gzip A B` compresses `B` with what `A` left in the window, which can change
//! the last match of `B`.

use super::encoder::{BlockEnd, Class, Ending, Start};
use super::{Zlib, ZlibBoundary, ZlibLevel};

const SYMBOLS_MAX: usize = 32_767;
const SYMBOLS_BETWEEN: usize = 4096;
const HASH_BITS: u32 = 15;

/// A stream that begins with nothing before it. It holds 1 MiB at most.
pub(super) fn new(level: ZlibLevel) -> Zlib {
    Zlib::begun(level, class(level), &Start::dictionary(&[]))
}

/// Goes on at a boundary of a stream of the same level, as [`Zlib::restart`] does: `None` for levels 1 to 3.
pub(super) fn restart(level: ZlibLevel, at: &ZlibBoundary, history: &[u8]) -> Option<Zlib> {
    Zlib::restarted(level, class(level), at, history)
}

fn class(level: ZlibLevel) -> Class {
    let symbols_between = if level.number() > 2 { SYMBOLS_BETWEEN } else { SYMBOLS_MAX };
    let block_end = BlockEnd { symbols_max: SYMBOLS_MAX, symbols_between };
    Class { hash_bits: HASH_BITS, block_end, ending: Ending::Loose }
}
