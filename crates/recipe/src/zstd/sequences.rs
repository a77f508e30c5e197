//! The sequences section of a block: codes, the choice of tables, and the interleaved stream (RFC 8878, 3.1.1.3.2).
//!
//! For each of the three kinds of code klauspost weighs three tables by their estimated sizes: the predefined one, the
//! one last used, and a new one with its description and a penalty of a sixteenth.

use super::bits::BitWriter;
use super::fse::{Counts, SYMBOLS, State, Table, count, table_log};

/// The shortest match that a sequence can have.
pub(super) const MATCH_MIN: usize = 3;

/// Literals and then a match.
#[derive(Clone, Copy)]
pub(super) struct Sequence {
    pub(super) literals: u32,
    /// The match's length less [`MATCH_MIN`].
    pub(super) length: u32,
    /// The distance and 3, or 1 for the last distance.
    pub(super) offset: u32,
}

/// The kinds of code, in the order in which the modes and descriptions are written.
#[derive(Clone, Copy)]
enum Kind {
    Literals,
    Offset,
    Length,
}

/// The tables of one kind that need no description.
struct Tables {
    predefined: Option<Table>,
    previous: Option<Table>,
}

/// The table that codes one kind in one block.
enum Chosen {
    Predefined,
    Run(u8),
    New(Box<Table>),
    Previous,
}

/// The coder of sequences with the tables that it keeps from block to block.
pub(super) struct SequenceCoder {
    tables: [Tables; 3],
    codes: Vec<[u8; 3]>,
    writer: BitWriter,
}

const LITERAL_CODES: [u8; 64] = codes_below::<64>(&LITERAL_BITS);
const LENGTH_CODES: [u8; 128] = codes_below::<128>(&LENGTH_BITS);

/// Extra bits by code of a literal length.
const LITERAL_BITS: [u8; 36] =
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
/// Extra bits by code of a match length.
const LENGTH_BITS: [u8; 53] = [
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2,
    3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
];

/// The code of each small value, from the extra bits of the codes.
const fn codes_below<const VALUES: usize>(bits: &[u8]) -> [u8; VALUES] {
    let mut codes = [0; VALUES];
    let mut value = 0;
    let mut code = 0;
    while value < VALUES {
        let end = value + (1 << bits[code]);
        while value < end && value < VALUES {
            codes[value] = code as u8;
            value += 1;
        }
        code += 1;
    }
    codes
}

/// The predefined distributions (RFC 8878, 3.1.1.3.2.2).
const PREDEFINED: [(u32, &[i16]); 3] = [
    (
        6,
        &[
            4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1,
            -1,
        ],
    ),
    (5, &[1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1]),
    (
        6,
        &[
            1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
            1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1,
        ],
    ),
];

impl Sequence {
    #[inline(always)]
    fn codes(self) -> [u8; 3] {
        let literals = match LITERAL_CODES.get(self.literals as usize) {
            Some(&code) => code,
            None => self.literals.max(1).ilog2() as u8 + 19,
        };
        let length = match LENGTH_CODES.get(self.length as usize) {
            Some(&code) => code,
            None => self.length.max(1).ilog2() as u8 + 36,
        };
        [literals, self.offset.max(1).ilog2() as u8, length]
    }
}

impl SequenceCoder {
    pub(super) fn new() -> Self {
        let tables = PREDEFINED.map(|(log, shares)| {
            let mut padded = [0; SYMBOLS];
            padded[..shares.len()].copy_from_slice(shares);
            Tables { predefined: Table::of_shares(padded, shares.len(), log), previous: None }
        });
        Self { tables, codes: Vec::new(), writer: BitWriter::new() }
    }

    /// Forgets the tables of the blocks before, as at the start of a frame.
    pub(super) fn reset(&mut self) {
        for tables in &mut self.tables {
            tables.previous = None;
        }
    }

    /// Appends the section of at least one sequence. `keep` then says of all that was written whether the block stands;
    /// only then are its tables kept. `None` if the sequences cannot be coded or the block does not stand.
    pub(super) fn encode(
        &mut self,
        sequences: &[Sequence],
        out: &mut Vec<u8>,
        keep: impl FnOnce(&[u8]) -> bool,
    ) -> Option<()> {
        write_number(sequences.len(), out);
        let [literals, offsets, lengths] = self.count_codes(sequences);
        let chosen = [
            self.choose(Kind::Literals, &literals)?,
            self.choose(Kind::Offset, &offsets)?,
            self.choose(Kind::Length, &lengths)?,
        ];
        let modes = chosen.iter().fold(0, |modes, chosen| (modes << 2) | chosen.mode());
        out.push(modes << 2);
        for chosen in &chosen {
            match chosen {
                Chosen::New(table) => table.describe(&mut self.writer, out),
                Chosen::Run(code) => out.push(*code),
                Chosen::Predefined | Chosen::Previous => {}
            }
        }
        self.write_stream(sequences, &chosen)?;
        out.extend_from_slice(self.writer.bytes());
        if !keep(out) {
            return None;
        }
        for (tables, chosen) in self.tables.iter_mut().zip(chosen) {
            match chosen {
                Chosen::New(table) => tables.previous = Some(*table),
                Chosen::Predefined | Chosen::Run(_) => tables.previous = None,
                Chosen::Previous => {}
            }
        }
        Some(())
    }

    fn count_codes(&mut self, sequences: &[Sequence]) -> [Counts; 3] {
        let mut counts = [[0; SYMBOLS]; 3];
        self.codes.clear();
        self.codes.extend(sequences.iter().map(|sequence| {
            let codes = sequence.codes();
            for (counts, code) in counts.iter_mut().zip(codes) {
                count(counts, code);
            }
            codes
        }));
        counts.map(Counts::new)
    }

    fn choose(&self, kind: Kind, counts: &Counts) -> Option<Chosen> {
        if counts.largest() == counts.total {
            return Some(Chosen::Run(self.codes.first()?[kind as usize]));
        }
        let source_bits = counts.total.max(1).ilog2() + 1;
        let new = Table::of_counts(counts, table_log(counts, 8, source_bits))?;
        let tables = &self.tables[kind as usize];
        let estimate =
            |table: &Option<Table>| table.as_ref().and_then(|table| table.estimate_bits(counts)).unwrap_or(u32::MAX);
        let new_bits = new.estimate_bits(counts).unwrap_or(u32::MAX).wrapping_add(new.description_bits());
        let new_bits = new_bits.wrapping_add(new_bits.wrapping_add(2 * 8 * 16) >> 4);
        let (predefined_bits, previous_bits) = (estimate(&tables.predefined), estimate(&tables.previous));
        Some(if predefined_bits <= previous_bits && predefined_bits <= new_bits {
            Chosen::Predefined
        } else if previous_bits <= new_bits {
            Chosen::Previous
        } else {
            Chosen::New(Box::new(new))
        })
    }

    /// Writes all sequences, the last first.
    fn write_stream(&mut self, sequences: &[Sequence], chosen: &[Chosen; 3]) -> Option<()> {
        let coder = |kind: Kind| {
            let tables = &self.tables[kind as usize];
            match &chosen[kind as usize] {
                Chosen::Predefined => tables.predefined.as_ref(),
                Chosen::Previous => tables.previous.as_ref(),
                Chosen::New(table) => Some(&**table),
                Chosen::Run(_) => None,
            }
        };
        let tables = [coder(Kind::Literals), coder(Kind::Offset), coder(Kind::Length)];
        let writer = &mut self.writer;
        writer.clear();
        let mut pairs = sequences.iter().zip(&self.codes).rev();
        let (last, last_codes) = pairs.next()?;
        let mut states: [Option<State>; 3] =
            [0, 1, 2].map(|kind| tables[kind].map(|table| table.start(last_codes[kind])));
        write_extra(last, last_codes, writer);
        if let ([Some(literals), Some(offset), Some(length)], [Some(first), Some(second), Some(third)]) =
            (tables, states)
        {
            let (mut first, mut second, mut third) = (first, second, third);
            for (sequence, codes) in pairs {
                offset.encode(&mut second, codes[1], writer);
                length.encode(&mut third, codes[2], writer);
                literals.encode(&mut first, codes[0], writer);
                writer.flush();
                write_extra(sequence, codes, writer);
            }
            states = [Some(first), Some(second), Some(third)];
        } else {
            for (sequence, codes) in pairs {
                for kind in [Kind::Offset, Kind::Length, Kind::Literals] {
                    if let (Some(table), Some(state)) = (tables[kind as usize], &mut states[kind as usize]) {
                        table.encode(state, codes[kind as usize], writer);
                    }
                }
                writer.flush();
                write_extra(sequence, codes, writer);
            }
        }
        for kind in [Kind::Length, Kind::Offset, Kind::Literals] {
            if let (Some(table), Some(state)) = (tables[kind as usize], states[kind as usize]) {
                table.write_state(state, writer);
            }
        }
        writer.close();
        Some(())
    }
}

impl Chosen {
    fn mode(&self) -> u8 {
        match self {
            Self::Predefined => 0,
            Self::Run(_) => 1,
            Self::New(_) => 2,
            Self::Previous => 3,
        }
    }
}

/// The low bits of all three values: at most 16, 16 and 31.
#[inline(always)]
fn write_extra(sequence: &Sequence, codes: &[u8; 3], writer: &mut BitWriter) {
    let low = |value: u32, bits: u8| {
        (u64::from(value & 1_u32.wrapping_shl(u32::from(bits)).wrapping_sub(1)), u32::from(bits))
    };
    let (value, bits) = low(sequence.literals, LITERAL_BITS[usize::from(codes[0]).min(35)]);
    writer.add(value, bits);
    let (value, bits) = low(sequence.length, LENGTH_BITS[usize::from(codes[2]).min(52)]);
    writer.add(value, bits);
    writer.flush();
    let (value, bits) = low(sequence.offset, codes[1]);
    writer.add(value, bits);
    writer.flush();
}

/// The number of sequences (RFC 8878, 3.1.1.3.2.1).
fn write_number(number: usize, out: &mut Vec<u8>) {
    const LARGE: usize = 0x7F00;
    match number {
        0..128 => out.push(number as u8),
        128..LARGE => out.extend_from_slice(&[128 + (number >> 8) as u8, number as u8]),
        _ => {
            let rest = number - LARGE;
            out.extend_from_slice(&[255, rest as u8, (rest >> 8) as u8]);
        }
    }
}
