//! The layout of a frame's payload: the program, the contents in the program's order, in the light tier new bytes by
//! zstd, and raw bytes last.
//!
//! | part | bytes | meaning |
//! |---|---|---|
//! | tier | 1 | 4 light, 5 full; and the flags below |
//! | numbers | 2 to 20 | lengths of the program and of the contents, as coded |
//! | numbers | | light: length of the zstd blocks, and of their content |
//! | number | | with moves: their length |
//! | moves | | with moves: of all executables of the patch ([`crate::moves`]) |
//! | program | | by symbols |
//! | contents | | light: by symbols, full: bit by bit |
//! | zstd blocks | | light: new bytes, if there are any, behind their prefix |
//! | raw bytes | | the rest |

use crate::error::CodecError;
use lighter_coder::varint;

use crate::compressed::recompress_work;
use crate::models::headers::Texts;
use crate::moves::{self, Map};
use crate::overhead::{self, Tables};
use crate::program::{self, Program, Step};
use crate::take::take;

pub const TIER_LIGHT: u8 = 4;
pub const TIER_FULL: u8 = 5;
/// Added to the tier of a program that has streams of xz.
pub const TIER_XZ: u8 = 2;
/// Added to the tier of a program that has streams of LZ4. They are long: its frame may hold more than others.
pub const TIER_LZ4: u8 = 64;
/// The tiers' flags that tell of streams.
pub const TIER_STREAMS: u8 = TIER_XZ | TIER_LZ4;

/// Added to the tier of the first frame of a patch that has moves.
pub const TIER_MOVES: u8 = 8;
/// Added to the tier where the texts of headers are coded by stretches: every program but earlier ones adds it.
pub const TIER_STRETCHES: u8 = 16;
/// Added to the full tier where [`crate::models::quick`] has the models: every program but earlier ones adds it.
pub const TIER_QUICK: u8 = 32;

/// Added to the tier where a match in a stream knows nothing of references that were rewritten for a match before:
/// every program but earlier ones adds it.
pub const TIER_FRESH: u8 = 128;

const TIER_FULL_QUICK: u8 = TIER_FULL | TIER_QUICK;

/// The parts of a payload.
pub struct Parts<'a> {
    pub is_full: bool,
    /// Full only: by the models of today.
    pub is_quick: bool,
    /// The flags of its streams.
    pub streams: u8,
    pub texts: Texts,
    pub is_fresh: bool,
    /// The moves as coded; empty if it has none.
    pub moves: &'a [u8],
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
        let is_full = match tier & !(TIER_STREAMS | TIER_MOVES | TIER_STRETCHES | TIER_FRESH) {
            TIER_LIGHT => false,
            TIER_FULL | TIER_FULL_QUICK => true,
            _ => return Err(CodecError::Unsupported),
        };
        let is_fresh = tier & TIER_FRESH != 0;
        let is_quick = tier & TIER_QUICK != 0;
        let (streams, has_moves) = (tier & TIER_STREAMS, tier & TIER_MOVES != 0);
        // Those knew no such blocks, and are large: together they would take more memory than a frame may.
        if streams & TIER_LZ4 != 0 && is_full && !is_quick {
            return Err("blocks of fatbins with the models of earlier programs".into());
        }
        let texts = if tier & TIER_STRETCHES == 0 { Texts::ByBytes } else { Texts::ByStretches };
        let mut number = || varint::get(&mut rest).ok_or("a length that is cut off");
        let (program_bytes, contents_bytes) = (number()?, number()?);
        let (compressed_bytes, new_bytes) = if is_full { (0, 0) } else { (number()?, number()?) };
        let moves_bytes = if has_moves { number()? } else { 0 };
        if has_moves && moves_bytes == 0 {
            return Err("moves of nothing".into());
        }
        let moves = take(&mut rest, moves_bytes)?;
        let program = take(&mut rest, program_bytes)?;
        let contents = take(&mut rest, contents_bytes)?;
        let compressed = take(&mut rest, compressed_bytes)?;
        Ok(Self {
            is_full,
            is_quick,
            streams,
            texts,
            is_fresh,
            moves,
            program,
            contents,
            compressed,
            new_bytes,
            raw: rest,
        })
    }
}

/// The moves that a payload has: none, if it is not the first of a patch with moves.
///
/// # Errors
/// A payload of an unknown tier, parts that are cut off, damaged moves.
pub fn moves(payload: &[u8]) -> Result<Map, CodecError> {
    let parts = Parts::of(payload)?;
    if parts.moves.is_empty() { Ok(Map::default()) } else { Ok(moves::coding::decode(parts.moves)?) }
}

/// How much memory it takes to decode a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    Light,
    /// At most 4.5 MiB of content, and 4 MiB more for the models of today.
    Full,
    /// Some 16 MiB more, for the models of earlier programs.
    Earlier,
    /// More than that: liblzma's tables, or models and much content.
    Heavy,
}

/// Content of a frame with models beyond which the frame is heavy. The differ aims at 4 MiB.
const HEAVY_BYTES: u64 = 9 << 19;

impl Weight {
    pub fn of(payload: &[u8]) -> Self {
        match payload.first().map(|tier| tier & !(TIER_MOVES | TIER_STRETCHES | TIER_FRESH)) {
            None | Some(TIER_LIGHT) => Self::Light,
            Some(TIER_FULL_QUICK) if content_work(payload) <= HEAVY_BYTES => Self::Full,
            Some(TIER_FULL) if content_work(payload) <= HEAVY_BYTES => Self::Earlier,
            Some(_) => Self::Heavy,
        }
    }
}

/// About how long it takes to decode a payload, in bytes of decoded content; 0 if it cannot be decoded.
pub fn work(payload: &[u8]) -> u64 {
    let Ok(parts) = Parts::of(payload) else { return 0 };
    let Ok(program) = program::decode(parts.program) else { return 0 };
    let tables = match (parts.is_full, parts.is_quick) {
        (false, _) => Tables::Light,
        (true, true) => Tables::Quick,
        (true, false) => Tables::Earlier,
    };
    steps_work(&program).saturating_add(overhead::work(tables, &program))
}

/// The same of the steps alone.
fn content_work(payload: &[u8]) -> u64 {
    let program = Parts::of(payload).and_then(|parts| program::decode(parts.program).map_err(CodecError::Damaged));
    program.map_or(0, |program| steps_work(&program))
}

fn steps_work(program: &Program) -> u64 {
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
    program.steps.iter().map(of_step).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_today_weigh_less_than_those_of_earlier_models() {
        // A tier, and no program that could be decoded: such a frame has no content.
        let weight = |tier: u8| Weight::of(&[tier | TIER_STRETCHES | TIER_FRESH, 0, 0]);
        let tiers = [TIER_LIGHT, TIER_FULL_QUICK, TIER_FULL, TIER_FULL_QUICK | TIER_XZ, TIER_LIGHT | TIER_LZ4];
        let weights = [Weight::Light, Weight::Full, Weight::Earlier, Weight::Heavy, Weight::Heavy];
        assert_eq!(tiers.map(weight), weights);
        assert!(weights.is_sorted());
    }
}
