//! One block of a frame: raw, a run of one byte, or compressed literals and sequences (RFC 8878, 3.1.1.2).
//!
//! A block is compressed if its parse saves enough to be worth a try, and if the result is then smaller than the
//! content. Each step down (sequences, literals alone, raw), and which tables the next block may take again, is
//! the original's rule for the class and level: a try that is not written can still change the blocks after it.

use super::huffman::{Coding, Huffman, is_single_stream};
use super::parse::Parse;
use super::sequences::{MATCH_MIN, SequenceCoder};
use super::{Class, Level};

const HEADER_BYTES: usize = 3;

/// The coder of blocks, with the tables that it keeps from block to block.
pub(super) struct BlockCoder {
    class: Class,
    level: Level,
    huffman: Huffman,
    sequences: SequenceCoder,
}

#[derive(Clone, Copy)]
enum Type {
    Raw = 0,
    Run = 1,
    Compressed = 2,
}

#[derive(Clone, Copy)]
enum LiteralsType {
    Raw = 0,
    Run = 1,
    Compressed = 2,
    Again = 3,
}

/// Whether a block is the last of its frame.
#[derive(Clone, Copy)]
pub(super) enum Place {
    Inner = 0,
    Last = 1,
}

impl BlockCoder {
    pub(super) fn new(class: Class, level: Level) -> Self {
        Self { class, level, huffman: Huffman::new(), sequences: SequenceCoder::new() }
    }

    /// Forgets the tables of the blocks before, as at the start of a frame.
    pub(super) fn reset(&mut self) {
        self.huffman.forbid_repeat();
        self.sequences.reset();
    }

    /// Appends the block whose content is `block` and whose parse is `parse`.
    pub(super) fn encode(&mut self, block: &[u8], parse: &Parse, place: Place, out: &mut Vec<u8>) {
        let literals = parse.literals();
        if self.class < Class::RawLiterals && literals.len() == block.len() && block.len() == self.level.block_bytes() {
            write_raw(block, place, out);
            return;
        }
        if parse.sequences.is_empty() {
            self.encode_without_matches(literals, place, out);
            return;
        }
        if let Some(byte) = self.run_of_one_byte(block, parse) {
            write_header(Type::Run, block.len(), place, out);
            out.push(byte);
            return;
        }
        let margin = if self.class < Class::RawLiterals { block.len() >> 5 } else { block.len() >> 6 };
        if block.len() < literals.len() + margin + 16 {
            self.encode_without_matches(block, place, out);
            return;
        }
        let start = out.len();
        write_header(Type::Compressed, 0, place, out);
        self.encode_literals(literals, out);
        let stands = |out: &[u8]| out.len() - HEADER_BYTES - start < block.len();
        if self.sequences.encode(&parse.sequences, out, stands).is_none() {
            out.truncate(start);
            write_raw(block, place, out);
            self.huffman.forbid_repeat();
            return;
        }
        let header = header(Type::Compressed, out.len() - start - HEADER_BYTES, place);
        out[start..start + HEADER_BYTES].copy_from_slice(&header);
    }

    /// The byte of a block that is one match of distance 1, in classes that write it so.
    fn run_of_one_byte(&self, block: &[u8], parse: &Parse) -> Option<u8> {
        if self.class < Class::Runs {
            return None;
        }
        let [sequence] = parse.sequences.as_slice() else { return None };
        let literals = parse.literals().len();
        (literals <= 1 && sequence.literals as usize == literals && sequence.offset == 1 + MATCH_MIN as u32)
            .then(|| block.first().copied())
            .flatten()
    }

    /// Whether blocks of literals alone are coded.
    fn codes_without_matches(&self) -> bool {
        match self.level {
            Level::Fastest => false,
            Level::Default => self.class < Class::RawLiterals,
            Level::Better => true,
        }
    }

    /// A block of literals alone.
    fn encode_without_matches(&mut self, content: &[u8], place: Place, out: &mut Vec<u8>) {
        if content.len() < 32 || !self.codes_without_matches() {
            write_raw(content, place, out);
            return;
        }
        match self.coding(content, 0) {
            Coding::Raw => write_raw(content, place, out),
            Coding::Run => {
                write_header(Type::Run, content.len(), place, out);
                out.extend(content.first());
            }
            coding @ (Coding::New | Coding::Again) => {
                self.huffman.allow_repeat();
                let coded = self.huffman.coded();
                let bytes = literals_header_bytes(coded.len(), content.len()) + coded.len() + 1;
                write_header(Type::Compressed, bytes, place, out);
                write_coded_literals(&coding, coded, content.len(), out);
                out.push(0);
            }
        }
    }

    /// The literals section of a compressed block.
    fn encode_literals(&mut self, literals: &[u8], out: &mut Vec<u8>) {
        match self.coding(literals, plain_header_bytes(literals.len())) {
            Coding::Raw => {
                write_plain_header(LiteralsType::Raw, literals.len(), out);
                out.extend_from_slice(literals);
            }
            Coding::Run => {
                write_plain_header(LiteralsType::Run, literals.len(), out);
                out.extend(literals.first());
            }
            coding @ (Coding::New | Coding::Again) => {
                self.huffman.allow_repeat();
                write_coded_literals(&coding, self.huffman.coded(), literals.len(), out);
            }
        }
    }

    /// How literals are coded beside `raw_header_bytes` and as they are.
    fn coding(&mut self, literals: &[u8], raw_header_bytes: usize) -> Coding {
        let fewest = if self.class < Class::ShortLiterals { 32 } else { 16 };
        if literals.len() <= fewest {
            return Coding::Raw;
        }
        let coding = self.huffman.encode(literals);
        if self.class < Class::ShortLiterals || matches!(coding, Coding::Raw | Coding::Run) {
            return coding;
        }
        let coded = self.huffman.coded().len();
        if coded + 5 > literals.len()
            && coded + literals_header_bytes(coded, literals.len()) >= literals.len() + raw_header_bytes
        {
            return Coding::Raw;
        }
        coding
    }
}

fn header(kind: Type, bytes: usize, place: Place) -> [u8; HEADER_BYTES] {
    let [low, middle, high, _] = ((bytes as u32) << 3 | (kind as u32) << 1 | place as u32).to_le_bytes();
    [low, middle, high]
}

fn write_header(kind: Type, bytes: usize, place: Place, out: &mut Vec<u8>) {
    out.extend_from_slice(&header(kind, bytes, place));
}

/// Appends a raw block.
pub(super) fn write_raw(content: &[u8], place: Place, out: &mut Vec<u8>) {
    write_header(Type::Raw, content.len(), place, out);
    out.extend_from_slice(content);
}

fn plain_header_bytes(literals: usize) -> usize {
    match literals {
        0..0x10 => 1,
        0x10..0x800 => 2,
        _ => 3,
    }
}

/// The header of raw and run literals (RFC 8878, 3.1.1.3.1.1).
fn write_plain_header(kind: LiteralsType, literals: usize, out: &mut Vec<u8>) {
    let bytes = plain_header_bytes(literals);
    let value = match bytes {
        1 => (literals as u32) << 3,
        2 => (1 << 2) | (literals as u32) << 4,
        _ => (3 << 2) | (literals as u32) << 4,
    };
    out.extend(value.wrapping_add(kind as u32).to_le_bytes().into_iter().take(bytes));
}

fn literals_header_bytes(coded: usize, literals: usize) -> usize {
    match coded.max(literals) {
        0..0x400 => 3,
        0x400..0x4000 => 4,
        _ => 5,
    }
}

/// Coded literals with their header (RFC 8878, 3.1.1.3.1.1).
fn write_coded_literals(coding: &Coding, coded: &[u8], literals: usize, out: &mut Vec<u8>) {
    let kind = match coding {
        Coding::Again => LiteralsType::Again,
        Coding::New | Coding::Raw | Coding::Run => LiteralsType::Compressed,
    };
    let bytes = literals_header_bytes(coded.len(), literals);
    let (format, width) = match bytes {
        3 => (u64::from(!is_single_stream(literals)), 10),
        4 => (2, 14),
        _ => (3, 18),
    };
    let value = kind as u64 | format << 2 | (literals as u64) << 4 | (coded.len() as u64) << (4 + width);
    out.extend(value.to_le_bytes().into_iter().take(bytes));
    out.extend_from_slice(coded);
}
