//! What a frame does, step by step, before any content is coded: which ranges are copies, which are coded against what.
//!
//! All steps stand before all contents, so that a codec can look at all matches of a frame before it undoes the first
//! difference (a transform of the base by the map that the matches give has its place there).
//!
//! Sources have one address space per frame: the patch's bases in their order, the target up to the frame's end, then the
//! frame's inflated sources, each one byte behind the end of the one before, so that no range grows from one into the next.

use lighter_coder::varint::{fold, unfold};
use lighter_coder::{AnsDecoder, AnsEncoder, Frequencies, Numbers, SymbolCoder};

use crate::compressed::{CORRECTIONS_BYTES_MAX, Compression};

/// One step. Lengths are of the target, at least 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Bytes of a source, as they are. Outside a compressed stream also of the target, from before the step's own place.
    Copy { from: u64, bytes: u64 },
    /// As many bytes, told by how they differ from a source's.
    Match { from: u64, bytes: u64 },
    /// New bytes, compressed.
    New { bytes: u64 },
    /// New bytes that cannot be compressed.
    Raw { bytes: u64 },
    /// A tar header of 512 bytes, told by how it differs from a source's.
    Header { from: u64 },
    /// A tar header told by how it differs from the one before in this frame.
    NewHeader,
    /// A compressed stream. The steps that follow make its `plain_bytes` bytes of content; they are compressed again, with
    /// corrections that make the stream exactly the target's. Not within another.
    Stream { compression: Compression, plain_bytes: u64, corrections: Vec<u8> },
    /// The 8 bytes behind a gzip member: CRC-32 and length of the content of the last stream.
    Trailer,
}

/// A compressed stream of a base that is inflated before anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inflated {
    /// Where the stream begins, in a base; of an xz file the file.
    pub from: u64,
    /// Its length.
    pub bytes: u64,
    /// The length of its content, which the address space has from the end of the sources before.
    pub plain_bytes: u64,
}

/// A frame's steps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    pub inflated: Vec<Inflated>,
    pub steps: Vec<Step>,
}

/// Most steps of a frame.
pub const STEPS_MAX: usize = 1 << 17;
/// Most inflated sources of a frame.
pub const INFLATED_MAX: usize = 1 << 12;

/// Length of a tar header.
pub const HEADER_BYTES: u64 = 512;
/// Length of what stands behind a gzip member's deflate stream.
pub const TRAILER_BYTES: u64 = 8;
/// Diagonals that are remembered: source address minus place in the target.
const DIAGONALS: usize = 4;

impl Step {
    /// How many bytes it adds to the target, or to the content of the stream that it stands in.
    pub fn bytes(&self) -> u64 {
        match *self {
            Self::Copy { bytes, .. } | Self::Match { bytes, .. } | Self::New { bytes } | Self::Raw { bytes } => bytes,
            Self::Header { .. } | Self::NewHeader => HEADER_BYTES,
            Self::Stream { .. } => 0,
            Self::Trailer => TRAILER_BYTES,
        }
    }

    fn kind(&self) -> usize {
        match self {
            Self::Copy { .. } => 0,
            Self::Match { .. } => 1,
            Self::New { .. } => 2,
            Self::Raw { .. } => 3,
            Self::Header { .. } => 4,
            Self::NewHeader => 5,
            Self::Stream { compression: Compression::Deflate, .. } => 6,
            Self::Trailer => 7,
            Self::Stream { compression: Compression::Xz, .. } => 8,
        }
    }

    fn from(&self) -> Option<u64> {
        match *self {
            Self::Copy { from, .. } | Self::Match { from, .. } | Self::Header { from } => Some(from),
            _ => None,
        }
    }
}

/// Codes programs.
struct Programs {
    kinds: Vec<Frequencies>,
    lengths: Numbers,
    ways: Vec<Frequencies>,
    jumps: Numbers,
    rest: Numbers,
    corrections: Numbers,
    /// What came before: kinds, the end of the last source range, the last diagonals, and the place in the target.
    kinds_before: usize,
    source_end: u64,
    diagonals: [u64; DIAGONALS],
    place: u64,
}

/// Ways to tell where a source range begins.
const AT_SOURCE_END: usize = 0;
const ON_DIAGONAL: usize = 1;
const JUMP_BLOCKS: usize = ON_DIAGONAL + DIAGONALS;
const JUMP_BYTES: usize = JUMP_BLOCKS + 1;

/// Encodes a program.
///
/// # Errors
/// More steps or sources than allowed.
pub fn encode(program: &Program) -> Result<Vec<u8>, &'static str> {
    let mut coder = AnsEncoder::new();
    code(&mut coder, program)?;
    Ok(coder.finish())
}

/// Decodes what [`encode`] made.
///
/// # Errors
/// What cannot be.
pub fn decode(bytes: &[u8]) -> Result<Program, &'static str> {
    let mut coder = AnsDecoder::new(bytes);
    let program = code(&mut coder, &Program::default())?;
    if coder.is_at_end() { Ok(program) } else { Err("a program that is cut off, or goes on") }
}

/// Codes a program; when decoding, `given` is empty.
pub fn code<C: SymbolCoder>(coder: &mut C, given: &Program) -> Result<Program, &'static str> {
    let mut programs = Programs {
        kinds: vec![Frequencies::EVEN; 64],
        lengths: Numbers::new(8),
        ways: vec![Frequencies::EVEN; 64],
        jumps: Numbers::new(2),
        rest: Numbers::new(5),
        corrections: Numbers::new(1),
        kinds_before: 0,
        source_end: 0,
        diagonals: [0; DIAGONALS],
        place: 0,
    };
    let mut program = Program::default();
    let inflated = programs.rest.code(coder, 0, given.inflated.len() as u64);
    if inflated > INFLATED_MAX as u64 {
        return Err("more inflated sources than allowed");
    }
    let mut end = 0u64;
    for index in 0..inflated as usize {
        let given = given.inflated.get(index).copied().unwrap_or(Inflated { from: 0, bytes: 0, plain_bytes: 0 });
        let gap = unfold(programs.rest.code(coder, 1, fold(given.from.wrapping_sub(end) as i64)));
        let bytes = programs.rest.code(coder, 2, given.bytes);
        let plain_bytes = programs.rest.code(coder, 3, given.plain_bytes);
        let from = end.wrapping_add(gap as u64);
        end = from.checked_add(bytes).ok_or("an inflated source outside all bases")?;
        program.inflated.push(Inflated { from, bytes, plain_bytes });
    }
    let steps = programs.rest.code(coder, 4, given.steps.len() as u64);
    if steps > STEPS_MAX as u64 {
        return Err("more steps than allowed");
    }
    for index in 0..steps as usize {
        let step = programs.step(coder, given.steps.get(index))?;
        program.steps.push(step);
    }
    Ok(program)
}

impl Programs {
    fn step<C: SymbolCoder>(&mut self, coder: &mut C, given: Option<&Step>) -> Result<Step, &'static str> {
        let kind = self.kinds[self.kinds_before].code(coder, given.map_or(0, Step::kind));
        self.kinds_before = (self.kinds_before << 3 | kind) & 63;
        let from = given.and_then(Step::from).unwrap_or(0);
        let bytes = given.map_or(1, Step::bytes);
        let step = match kind {
            0 => {
                let bytes = self.length(coder, 0, bytes);
                Step::Copy { from: self.address(coder, from, bytes), bytes }
            }
            1 => {
                let bytes = self.length(coder, 1, bytes);
                Step::Match { from: self.address(coder, from, bytes), bytes }
            }
            2 => Step::New { bytes: self.length(coder, 2, bytes) },
            3 => Step::Raw { bytes: self.length(coder, 3, bytes) },
            4 => Step::Header { from: self.address(coder, from, HEADER_BYTES) },
            5 => Step::NewHeader,
            6 | 8 => {
                let (plain, corrections) = match given {
                    Some(Step::Stream { plain_bytes, corrections, .. }) => (*plain_bytes, corrections.as_slice()),
                    _ => (1, &[][..]),
                };
                let plain_bytes = self.length(coder, 4, plain);
                let corrections = self.corrections(coder, corrections)?;
                let compression = if kind == 6 { Compression::Deflate } else { Compression::Xz };
                Step::Stream { compression, plain_bytes, corrections }
            }
            7 => Step::Trailer,
            _ => return Err("an unknown kind of step"),
        };
        self.place = self.place.checked_add(step.bytes()).ok_or("a frame beyond all lengths")?;
        Ok(step)
    }

    fn length<C: SymbolCoder>(&mut self, coder: &mut C, kind: usize, bytes: u64) -> u64 {
        self.lengths.code(coder, kind, bytes.saturating_sub(1)) + 1
    }

    /// An address: where the last source range ended, on one of the last diagonals, or a jump from there.
    fn address<C: SymbolCoder>(&mut self, coder: &mut C, from: u64, bytes: u64) -> u64 {
        let diagonal = from.wrapping_sub(self.place);
        let jump = from.wrapping_sub(self.source_end) as i64;
        let known = self.diagonals.iter().position(|&known| known == diagonal);
        let given = match known {
            _ if jump == 0 => AT_SOURCE_END,
            Some(index) => ON_DIAGONAL + index,
            None if jump % HEADER_BYTES as i64 == 0 => JUMP_BLOCKS,
            None => JUMP_BYTES,
        };
        let way = self.ways[self.kinds_before].code(coder, given);
        let from = match way {
            AT_SOURCE_END => self.source_end,
            JUMP_BLOCKS => {
                let blocks = unfold(self.jumps.code(coder, 0, fold(jump / HEADER_BYTES as i64)));
                self.source_end.wrapping_add_signed(blocks.wrapping_mul(HEADER_BYTES as i64))
            }
            index if index < JUMP_BLOCKS => self.diagonals[index - ON_DIAGONAL].wrapping_add(self.place),
            _ => self.source_end.wrapping_add_signed(unfold(self.jumps.code(coder, 1, fold(jump)))),
        };
        let diagonal = from.wrapping_sub(self.place);
        let index = self.diagonals.iter().position(|&known| known == diagonal).unwrap_or(DIAGONALS - 1);
        self.diagonals[..=index].rotate_right(1);
        self.diagonals[0] = diagonal;
        self.source_end = from.wrapping_add(bytes);
        from
    }

    fn corrections<C: SymbolCoder>(&mut self, coder: &mut C, given: &[u8]) -> Result<Vec<u8>, &'static str> {
        let count = self.lengths.code(coder, 5, given.len() as u64);
        if count > CORRECTIONS_BYTES_MAX {
            return Err("longer corrections than allowed");
        }
        let byte = |index: usize| u64::from(given.get(index).copied().unwrap_or(0));
        Ok((0..count as usize).map(|index| self.corrections.code(coder, 0, byte(index)) as u8).collect())
    }
}
