//! A frame's payload: its program, then the contents in the program's order; in the light tier, new bytes in a zstd frame
//! of their own; raw bytes last.
//!
//! | part | bytes | meaning |
//! |---|---|---|
//! | tier | 1 | 2 is light, 3 is full |
//! | numbers | 2 to 20 | lengths of the program and of the contents, as coded |
//! | numbers | | light: length of the zstd frame, and of its content |
//! | program | | by symbols |
//! | contents | | light: by symbols, full: bit by bit |
//! | zstd frame | | light: new bytes, if there are any |
//! | raw bytes | | the rest |

use crate::codec::CodecError;
use crate::varint;

use super::program::{self, Step};

pub(super) const TIER_LIGHT: u8 = 2;
pub(super) const TIER_FULL: u8 = 3;

/// Deflating a byte of content again takes as long as decoding so many bytes.
pub(crate) const DEFLATE_WORK: u64 = 6;

/// Where everything stands in a payload.
pub(super) struct Parts<'a> {
    pub is_full: bool,
    pub program: &'a [u8],
    pub contents: &'a [u8],
    pub compressed: &'a [u8],
    /// How many new bytes `compressed` says it has.
    pub new_bytes: u64,
    pub raw: &'a [u8],
}

impl<'a> Parts<'a> {
    /// # Errors
    /// An unknown tier; parts that are cut off.
    pub(super) fn of(payload: &'a [u8]) -> Result<Self, CodecError> {
        let (&tier, mut rest) = payload.split_first().ok_or("an empty payload")?;
        if tier != TIER_LIGHT && tier != TIER_FULL {
            return Err(CodecError::Unsupported);
        }
        let is_full = tier == TIER_FULL;
        let mut number = || varint::get(&mut rest).ok_or("a length that is cut off");
        let (program_bytes, contents_bytes) = (number()?, number()?);
        let (compressed_bytes, new_bytes) = if is_full { (0, 0) } else { (number()?, number()?) };
        let program = take(&mut rest, program_bytes)?;
        let contents = take(&mut rest, contents_bytes)?;
        let compressed = take(&mut rest, compressed_bytes)?;
        Ok(Self { is_full, program, contents, compressed, new_bytes, raw: rest })
    }
}

/// Takes so many bytes off the front.
pub(super) fn take<'a>(rest: &mut &'a [u8], bytes: u64) -> Result<&'a [u8], CodecError> {
    let taken = usize::try_from(bytes).ok().and_then(|bytes| rest.split_at_checked(bytes));
    let (taken, after) = taken.ok_or("a part that is cut off")?;
    *rest = after;
    Ok(taken)
}

/// Whether a payload is of the full tier.
pub(crate) fn is_full(payload: &[u8]) -> bool {
    payload.first() == Some(&TIER_FULL)
}

/// How long decoding a payload takes, about, in bytes of content that is decoded; 0 if it cannot be.
pub(crate) fn work(payload: &[u8]) -> u64 {
    let program = Parts::of(payload).and_then(|parts| program::decode(parts.program).map_err(CodecError::Damaged));
    let steps = program.map_or(Vec::new(), |program| program.steps);
    let of_step = |step: &Step| match step {
        Step::Copy { .. } => 0,
        Step::Deflate { plain_bytes, .. } => plain_bytes.saturating_mul(DEFLATE_WORK),
        _ => step.bytes(),
    };
    steps.iter().map(of_step).fold(0, u64::saturating_add)
}
