//! The layout of a frame's payload: the program, the contents in the program's order, in the light tier new bytes by
//! zstd, and raw bytes last.
//!
//! | part | bytes | meaning |
//! |---|---|---|
//! | tier | 1 | 4 is light, 5 is full; 6 and 7 the same with xz streams |
//! | numbers | 2 to 20 | lengths of the program and of the contents, as coded |
//! | numbers | | light: length of the zstd blocks, and of their content |
//! | program | | by symbols |
//! | contents | | light: by symbols, full: bit by bit |
//! | zstd blocks | | light: new bytes, if there are any, behind their prefix |
//! | raw bytes | | the rest |

use crate::error::CodecError;
use lighter_coder::varint;

use crate::compressed::recompress_work;
use crate::program::{self, Step};
use crate::take::take;

pub const TIER_LIGHT: u8 = 4;
pub const TIER_FULL: u8 = 5;
/// Added to the tier of a program that has streams of xz.
pub const TIER_XZ: u8 = 2;

/// The parts of a payload.
pub struct Parts<'a> {
    pub is_full: bool,
    pub has_xz: bool,
    pub program: &'a [u8],
    pub contents: &'a [u8],
    pub compressed: &'a [u8],
    /// How many new bytes `compressed` has, as stated.
    pub new_bytes: u64,
    pub raw: &'a [u8],
}

impl<'a> Parts<'a> {
    /// # Errors
    /// An unknown tier; parts that are cut off.
    pub fn of(payload: &'a [u8]) -> Result<Self, CodecError> {
        let (&tier, mut rest) = payload.split_first().ok_or("an empty payload")?;
        if !(TIER_LIGHT..=TIER_FULL | TIER_XZ).contains(&tier) {
            return Err(CodecError::Unsupported);
        }
        let (is_full, has_xz) = (tier & !TIER_XZ == TIER_FULL, tier & TIER_XZ != 0);
        let mut number = || varint::get(&mut rest).ok_or("a length that is cut off");
        let (program_bytes, contents_bytes) = (number()?, number()?);
        let (compressed_bytes, new_bytes) = if is_full { (0, 0) } else { (number()?, number()?) };
        let program = take(&mut rest, program_bytes)?;
        let contents = take(&mut rest, contents_bytes)?;
        let compressed = take(&mut rest, compressed_bytes)?;
        Ok(Self { is_full, has_xz, program, contents, compressed, new_bytes, raw: rest })
    }
}

/// Whether decoding a payload takes the models of the full tier, or liblzma's tables.
pub fn is_heavy(payload: &[u8]) -> bool {
    payload.first().is_some_and(|&tier| tier != TIER_LIGHT)
}

/// About how long it takes to decode a payload, in bytes of decoded content; 0 if it cannot be decoded.
pub fn work(payload: &[u8]) -> u64 {
    let program = Parts::of(payload).and_then(|parts| program::decode(parts.program).map_err(CodecError::Damaged));
    let steps = program.map_or(Vec::new(), |program| program.steps);
    let of_step = |step: &Step| match step {
        Step::Copy { .. } => 0,
        Step::Stream { compression, plain_bytes, .. } => plain_bytes.saturating_mul(recompress_work(*compression)),
        Step::Match { .. }
        | Step::New { .. }
        | Step::Raw { .. }
        | Step::Header { .. }
        | Step::NewHeader
        | Step::Trailer => step.bytes(),
    };
    steps.iter().map(of_step).fold(0, u64::saturating_add)
}
