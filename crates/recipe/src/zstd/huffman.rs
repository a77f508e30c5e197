//! Huffman coding of literals: codes, their description, one or four streams, and when the codes of the block before
//! are taken again.
//!
//! The format is RFC 8878, 4.2. The rules of what is worth coding are those of klauspost's `huff0`.

use super::bits::BitWriter;
use super::code_lengths::code_lengths;
use super::fse::{Counts, Table, table_log};

/// From this length on, literals are coded in four streams.
const FOUR_STREAMS_MIN: usize = 1024;

/// A code for each byte: its value above its length in bits (the low eight bits), 0 for none.
type Codes = [u32; 256];

/// How literals are coded best.
pub(super) enum Coding {
    /// Not worth coding.
    Raw,
    /// One byte, repeated.
    Run,
    /// Coded, with the description of the codes before it.
    New,
    /// Coded by the codes of the block before.
    Again,
}

/// The coder of literals with what it keeps from block to block.
pub(super) struct Huffman {
    previous: Option<Box<Codes>>,
    /// Whether a block has been coded since the codes were last given up.
    may_repeat: bool,
    writer: BitWriter,
    weights: BitWriter,
    coded: Vec<u8>,
}

impl Huffman {
    pub(super) fn new() -> Self {
        Self {
            previous: None,
            may_repeat: false,
            writer: BitWriter::new(),
            weights: BitWriter::new(),
            coded: Vec::new(),
        }
    }

    /// The next block may take the codes of this one.
    pub(super) fn allow_repeat(&mut self) {
        self.may_repeat = true;
    }

    /// The next block has to have codes of its own.
    pub(super) fn forbid_repeat(&mut self) {
        self.may_repeat = false;
    }

    /// The bytes that the last [`Self::encode`] made.
    pub(super) fn coded(&self) -> &[u8] {
        &self.coded
    }

    /// Codes literals in one stream when they are fewer than 1,024, else in four; the result is in [`Self::coded`].
    pub(super) fn encode(&mut self, literals: &[u8]) -> Coding {
        if !self.may_repeat {
            self.previous = None;
        }
        self.coded.clear();
        let counts = histogram(literals);
        let largest = counts.iter().copied().max().unwrap_or(0) as usize;
        if largest >= literals.len() {
            return if literals.len() == 1 { Coding::Raw } else { Coding::Run };
        }
        if largest == 1 || largest < literals.len() >> 7 {
            return Coding::Raw;
        }
        let wanted = literals.len() - (literals.len() >> 4);
        let lengths = code_lengths(&counts, literals.len());
        let codes = codes_of(&lengths);
        if let Some(previous) = &self.previous
            && covers(previous, &counts)
            && (coded_bytes(previous, &counts) <= coded_bytes(&codes, &counts) || wanted <= 12)
        {
            let fits = encode_streams(literals, previous, &mut self.writer, &mut self.coded);
            return if fits && self.coded.len() < wanted { Coding::Again } else { Coding::Raw };
        }
        let symbols = lengths.iter().rposition(|&length| length > 0).map_or(0, |last| last + 1);
        let described = describe(lengths.get(..symbols).unwrap_or_default(), &mut self.weights, &mut self.coded);
        if !described
            || !encode_streams(literals, &codes, &mut self.writer, &mut self.coded)
            || self.coded.len() >= wanted
        {
            return Coding::Raw;
        }
        self.previous = Some(Box::new(codes));
        Coding::New
    }
}

/// Whether literals of this length are coded in one stream.
pub(super) fn is_single_stream(literals_bytes: usize) -> bool {
    literals_bytes < FOUR_STREAMS_MIN
}

fn histogram(literals: &[u8]) -> [u32; 256] {
    let mut lanes = [[0_u32; 256]; 4];
    let mut chunks = literals.chunks_exact(4);
    for chunk in &mut chunks {
        for (lane, &byte) in lanes.iter_mut().zip(chunk) {
            let count = &mut lane[usize::from(byte)];
            *count = count.wrapping_add(1);
        }
    }
    let [mut counts, others @ ..] = lanes;
    for &byte in chunks.remainder() {
        counts[usize::from(byte)] += 1;
    }
    for lane in &others {
        for (count, other) in counts.iter_mut().zip(lane) {
            *count += other;
        }
    }
    counts
}

fn covers(codes: &Codes, counts: &[u32; 256]) -> bool {
    codes.iter().zip(counts).all(|(&code, &count)| count == 0 || code != 0)
}

fn coded_bytes(codes: &Codes, counts: &[u32; 256]) -> u32 {
    let bits: u32 = codes.iter().zip(counts).map(|(&code, &count)| (code & 0xFF) * count).sum();
    (bits + 7) >> 3
}

/// Canonical codes: longer ones first, by symbol within a length.
fn codes_of(lengths: &[u8; 256]) -> Codes {
    let mut of_length = [0_u32; 16];
    for &length in lengths.iter().filter(|&&length| length > 0) {
        of_length[usize::from(length & 15)] += 1;
    }
    let mut next = [0_u32; 16];
    let mut first = 0;
    for length in (1..16).rev() {
        next[length] = first;
        first = (first + of_length[length]) >> 1;
    }
    let mut codes = [0; 256];
    for (code, &length) in codes.iter_mut().zip(lengths) {
        if length > 0 {
            let value = &mut next[usize::from(length & 15)];
            *code = (*value << 8) | u32::from(length);
            *value += 1;
        }
    }
    codes
}

/// Appends the weights of all symbols but the last (RFC 8878, 4.2.1). False if they cannot be described.
fn describe(lengths: &[u8], writer: &mut BitWriter, out: &mut Vec<u8>) -> bool {
    let longest = lengths.iter().copied().max().unwrap_or(0);
    let Some((_, described)) = lengths.split_last() else { return false };
    let weights: Vec<u8> = described.iter().map(|&length| if length == 0 { 0 } else { longest + 1 - length }).collect();
    if weights.len() >= 2 {
        let start = out.len();
        out.push(0);
        let coded = describe_by_fse(&weights, writer, out).is_some();
        let bytes = out.len() - start - 1;
        if coded && bytes < weights.len() && bytes < lengths.len() >> 1 {
            out[start] = bytes as u8;
            return true;
        }
        out.truncate(start);
    }
    if weights.len() > 128 || weights.is_empty() {
        return false;
    }
    out.push(127 + weights.len() as u8);
    out.extend(weights.chunks(2).map(|pair| (pair[0] << 4) | pair.get(1).copied().unwrap_or(0)));
    true
}

/// Appends the weights coded by two FSE states that take turns (RFC 8878, 4.2.1.2).
fn describe_by_fse(weights: &[u8], writer: &mut BitWriter, out: &mut Vec<u8>) -> Option<()> {
    let counts = Counts::of(weights);
    let largest = counts.largest();
    if largest == counts.total || largest <= 1 || largest < counts.total >> 7 || weights.len() <= 2 {
        return None;
    }
    let source_bits = (counts.total - 1).max(1).ilog2() + 1;
    let table = Table::of_counts(&counts, table_log(&counts, 6, source_bits))?;
    table.describe(writer, out);
    writer.clear();
    // The symbol at an even place is coded by the first state.
    let last = weights.len() - 1;
    let mut states = [table.start(weights[last]), table.start(weights[last - 1])];
    if last % 2 == 1 {
        states.swap(0, 1);
    }
    for (place, &weight) in weights.iter().enumerate().take(last - 1).rev() {
        table.encode(&mut states[place % 2], weight, writer);
        writer.flush();
    }
    for state in [states[1], states[0]] {
        table.write_state(state, writer);
        writer.flush();
    }
    writer.close();
    out.extend_from_slice(writer.bytes());
    Some(())
}

/// Appends one stream, or four with the lengths of three before them. False if a length does not fit.
fn encode_streams(literals: &[u8], codes: &Codes, writer: &mut BitWriter, out: &mut Vec<u8>) -> bool {
    if is_single_stream(literals.len()) {
        encode_stream(literals, codes, writer);
        out.extend_from_slice(writer.bytes());
        return true;
    }
    let lengths_at = out.len();
    out.extend_from_slice(&[0; 6]);
    for (index, part) in literals.chunks(literals.len().div_ceil(4)).enumerate() {
        encode_stream(part, codes, writer);
        let Ok(length) = u16::try_from(writer.bytes().len()) else { return false };
        if index < 3 {
            let at = lengths_at + index * 2;
            out[at..at + 2].copy_from_slice(&length.to_le_bytes());
        }
        out.extend_from_slice(writer.bytes());
    }
    true
}

/// Codes from the last literal to the first.
fn encode_stream(literals: &[u8], codes: &Codes, writer: &mut BitWriter) {
    writer.clear();
    let chunks = literals.chunks_exact(4);
    for &byte in chunks.remainder().iter().rev() {
        let code = codes[usize::from(byte)];
        writer.add(u64::from(code >> 8), code & 0xFF);
    }
    writer.flush();
    for chunk in chunks.rev() {
        for &byte in chunk.iter().rev() {
            let code = codes[usize::from(byte)];
            writer.add(u64::from(code >> 8), code & 0xFF);
        }
        writer.flush();
    }
    writer.close();
}
