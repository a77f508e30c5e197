//! The program of a frame: its steps, before any content. A step says which bytes of which source it copies, or
//! compares the target with.
//!
//! All steps stand before all contents.
//!
//! All sources of a frame have one address space: the patch's bases in their order, the target up to the frame's end,
//! then the frame's inflated sources. Each source begins one byte behind the end of the source before, so that no range
//! reaches from one source into the next.
//!
//! [`encode`] and [`decode`] are the same walk, [`code`]. A program is coded by symbols: a symbol for the kind of each
//! step ([`Kind`]), numbers for its lengths, and an address relative to the addresses before ([`Programs::address`]).

use lighter_coder::varint::{fold, unfold};
use lighter_coder::{AnsDecoder, AnsEncoder, Frequencies, Numbers, SymbolCoder};

use crate::compressed::{CORRECTIONS_BYTES_MAX, Compression};

/// One step. A length counts bytes of the target, and is at least 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The bytes of a source. Outside a compressed stream also of the target, from before the step's own place.
    Copy { from: u64, bytes: u64 },
    /// As many bytes as a range of a source has, coded by their differences from it.
    Match { from: u64, bytes: u64 },
    /// New bytes, compressed.
    New { bytes: u64 },
    /// New bytes that cannot be compressed.
    Raw { bytes: u64 },
    /// A tar header of 512 bytes, coded by its differences from a header of a source.
    Header { from: u64 },
    /// A tar header, coded by its differences from the header before in this frame.
    NewHeader,
    /// A compressed stream. The steps that follow make its `plain_bytes` bytes of content. The content is then
    /// recompressed; the corrections make the stream exactly the target's. A stream does not stand within another.
    Stream { compression: Compression, plain_bytes: u64, corrections: Vec<u8> },
    /// The 8 bytes of a gzip member's trailer: CRC-32 and length of the content of the last stream.
    Trailer,
}

/// A compressed stream of a base. A decoder inflates it before it does any step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inflated {
    /// Where the stream begins in a base; of an xz file, where the file begins, and of a fatbin's element, its header.
    pub from: u64,
    /// Its length.
    pub bytes: u64,
    /// The length of its content. The content follows the sources before it in the address space.
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

    fn kind(&self) -> Kind {
        match self {
            Self::Copy { .. } => Kind::Copy,
            Self::Match { .. } => Kind::Match,
            Self::New { .. } => Kind::New,
            Self::Raw { .. } => Kind::Raw,
            Self::Header { .. } => Kind::Header,
            Self::NewHeader => Kind::NewHeader,
            Self::Stream { compression: Compression::Deflate, .. } => Kind::Deflate,
            Self::Stream { compression: Compression::Xz, .. } => Kind::Xz,
            Self::Stream { compression: Compression::Lz4, .. } => Kind::Lz4,
            Self::Trailer => Kind::Trailer,
        }
    }

    fn from(&self) -> Option<u64> {
        match *self {
            Self::Copy { from, .. } | Self::Match { from, .. } | Self::Header { from } => Some(from),
            Self::New { .. } | Self::Raw { .. } | Self::NewHeader | Self::Stream { .. } | Self::Trailer => None,
        }
    }
}

/// The kinds of steps. The symbol of a kind is its place in [`Kind::ALL`].
#[derive(Clone, Copy)]
enum Kind {
    Copy,
    Match,
    New,
    Raw,
    Header,
    NewHeader,
    Deflate,
    Trailer,
    Xz,
    Lz4,
}

impl Kind {
    const ALL: [Self; 10] = [
        Self::Copy,
        Self::Match,
        Self::New,
        Self::Raw,
        Self::Header,
        Self::NewHeader,
        Self::Deflate,
        Self::Trailer,
        Self::Xz,
        Self::Lz4,
    ];
}

/// The kinds of lengths. Each has a context of its own.
#[derive(Clone, Copy)]
enum Length {
    Copy,
    Match,
    New,
    Raw,
    Content,
    Corrections,
}

/// The other numbers: each has a context of its own.
#[derive(Clone, Copy)]
enum Number {
    InflatedCount,
    InflatedGap,
    InflatedBytes,
    InflatedPlainBytes,
    StepCount,
}

/// The model of programs.
struct Programs {
    kinds: Vec<Frequencies>,
    lengths: Numbers,
    address_codes: Vec<Frequencies>,
    jumps: Numbers,
    numbers: Numbers,
    corrections: Numbers,
    /// The kinds of the last two steps.
    kinds_before: usize,
    /// Where the last source range ended.
    source_end: u64,
    /// The last diagonals, the latest first.
    diagonals: [u64; DIAGONALS],
    /// The place in the target.
    place: u64,
}

/// Codes of an address: where the last source range ended, on one of the last diagonals, a jump in blocks, a jump in
/// bytes.
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
/// A damaged program, or one over its limits.
pub fn decode(bytes: &[u8]) -> Result<Program, &'static str> {
    let mut coder = AnsDecoder::new(bytes);
    let program = code(&mut coder, &Program::default())?;
    if coder.is_at_end() { Ok(program) } else { Err("a program that is cut off, or goes on") }
}

/// Codes a program. A decoder is given an empty one.
pub fn code<C: SymbolCoder>(coder: &mut C, given: &Program) -> Result<Program, &'static str> {
    let mut programs = Programs {
        kinds: vec![Frequencies::EVEN; 64],
        lengths: Numbers::new(8),
        address_codes: vec![Frequencies::EVEN; 64],
        jumps: Numbers::new(2),
        numbers: Numbers::new(5),
        corrections: Numbers::new(1),
        kinds_before: 0,
        source_end: 0,
        diagonals: [0; DIAGONALS],
        place: 0,
    };
    let mut program = Program::default();
    let inflated = programs.number(coder, Number::InflatedCount, given.inflated.len() as u64);
    if inflated > INFLATED_MAX as u64 {
        return Err("more inflated sources than allowed");
    }
    let mut end = 0u64;
    for index in 0..inflated as usize {
        let given = given.inflated.get(index).copied().unwrap_or(Inflated { from: 0, bytes: 0, plain_bytes: 0 });
        let gap = fold(given.from.wrapping_sub(end) as i64);
        let gap = unfold(programs.number(coder, Number::InflatedGap, gap));
        let bytes = programs.number(coder, Number::InflatedBytes, given.bytes);
        let plain_bytes = programs.number(coder, Number::InflatedPlainBytes, given.plain_bytes);
        let from = end.wrapping_add(gap as u64);
        end = from.checked_add(bytes).ok_or("an inflated source outside all bases")?;
        program.inflated.push(Inflated { from, bytes, plain_bytes });
    }
    let steps = programs.number(coder, Number::StepCount, given.steps.len() as u64);
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
        let symbol = self.kinds[self.kinds_before].code(coder, given.map_or(0, |step| step.kind() as usize));
        self.kinds_before = (self.kinds_before << 3 | symbol) & 63;
        let from = given.and_then(Step::from).unwrap_or(0);
        let bytes = given.map_or(1, Step::bytes);
        let step = match *Kind::ALL.get(symbol).ok_or("an unknown kind of step")? {
            Kind::Copy => {
                let bytes = self.length(coder, Length::Copy, bytes);
                Step::Copy { from: self.address(coder, from, bytes), bytes }
            }
            Kind::Match => {
                let bytes = self.length(coder, Length::Match, bytes);
                Step::Match { from: self.address(coder, from, bytes), bytes }
            }
            Kind::New => Step::New { bytes: self.length(coder, Length::New, bytes) },
            Kind::Raw => Step::Raw { bytes: self.length(coder, Length::Raw, bytes) },
            Kind::Header => Step::Header { from: self.address(coder, from, HEADER_BYTES) },
            Kind::NewHeader => Step::NewHeader,
            Kind::Deflate => self.stream(coder, Compression::Deflate, given)?,
            Kind::Trailer => Step::Trailer,
            Kind::Xz => self.stream(coder, Compression::Xz, given)?,
            Kind::Lz4 => self.stream(coder, Compression::Lz4, given)?,
        };
        self.place = self.place.checked_add(step.bytes()).ok_or("a frame beyond all lengths")?;
        Ok(step)
    }

    fn stream<C: SymbolCoder>(
        &mut self,
        coder: &mut C,
        compression: Compression,
        given: Option<&Step>,
    ) -> Result<Step, &'static str> {
        let (plain_bytes, corrections) = match given {
            Some(Step::Stream { plain_bytes, corrections, .. }) => (*plain_bytes, corrections.as_slice()),
            _ => (1, &[][..]),
        };
        let plain_bytes = self.length(coder, Length::Content, plain_bytes);
        let corrections = self.corrections(coder, corrections)?;
        Ok(Step::Stream { compression, plain_bytes, corrections })
    }

    fn number<C: SymbolCoder>(&mut self, coder: &mut C, kind: Number, number: u64) -> u64 {
        self.numbers.code(coder, kind as usize, number)
    }

    fn length<C: SymbolCoder>(&mut self, coder: &mut C, kind: Length, bytes: u64) -> u64 {
        self.lengths.code(coder, kind as usize, bytes.saturating_sub(1)) + 1
    }

    /// Codes an address: the end of the last source range, a place on one of the last diagonals, or a jump from that
    /// end.
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
        let code = self.address_codes[self.kinds_before].code(coder, given);
        let from = match code {
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
        let count = self.lengths.code(coder, Length::Corrections as usize, given.len() as u64);
        if count > CORRECTIONS_BYTES_MAX {
            return Err("longer corrections than allowed");
        }
        let byte = |index: usize| u64::from(given.get(index).copied().unwrap_or(0));
        Ok((0..count as usize).map(|index| self.corrections.code(coder, 0, byte(index)) as u8).collect())
    }
}
