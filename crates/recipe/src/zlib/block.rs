//! One block: its symbols while they are collected, and the choice how to write it.
//!
//! A block is written in the shortest of three ways: as it is (stored), with the fixed codes, or with codes of its own.
//! The sizes are compared in whole bytes, and at the same size the fixed codes are taken, then the codes of its own; a
//! block is stored where that saves a byte at least, counted without the header bits. The choice is zlib's
//! (`_tr_flush_block`), and GNU gzip's too.

use super::bits::BitWriter;
use super::huffman::Code;
use super::tables::{
    CODE_LENGTH_CODES, CODE_LENGTH_EXTRA_BITS, CODE_LENGTH_ORDER, DISTANCE_CODES, DISTANCES, END_OF_BLOCK,
    FIXED_DISTANCE_BITS, LENGTH_CODE, LENGTHS, LITERAL_CODES, LITERALS, MATCH_MIN, distance_code, fixed_literal_bits,
};

/// As many symbols as any class collects.
const SYMBOLS_MAX: usize = 32_768;
/// The longest code of a literal, a length or a distance.
const BITS_MAX: usize = 15;
/// The longest code of a code length.
const CODE_LENGTH_BITS_MAX: usize = 7;
/// Literal codes with the two that the fixed code has and no block uses.
const FIXED_LITERAL_CODES: usize = LITERAL_CODES + 2;

/// Whether a block ends the stream.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    No,
    Yes,
}

/// The symbols of the block under way, and how often each code is used.
pub(super) struct Block {
    /// A literal, or a distance above sixteen bits that hold the match length less three.
    symbols: Box<[u32; SYMBOLS_MAX]>,
    count: usize,
    matches: usize,
    literal_weights: [u32; LITERAL_CODES],
    distance_weights: [u32; DISTANCE_CODES],
}

impl Block {
    pub(super) fn new() -> Block {
        let mut block = Block {
            symbols: Box::new([0; SYMBOLS_MAX]),
            count: 0,
            matches: 0,
            literal_weights: [0; LITERAL_CODES],
            distance_weights: [0; DISTANCE_CODES],
        };
        block.clear();
        block
    }

    pub(super) fn clear(&mut self) {
        self.count = 0;
        self.matches = 0;
        self.literal_weights = [0; LITERAL_CODES];
        self.distance_weights = [0; DISTANCE_CODES];
        self.literal_weights[END_OF_BLOCK] = 1;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    #[inline(always)]
    pub(super) fn symbols(&self) -> usize {
        self.count
    }

    pub(super) fn matches(&self) -> usize {
        self.matches
    }

    /// An upper bound of the bytes that the block takes: eight bits a symbol, and five with its extra bits a distance.
    pub(super) fn bytes_estimate(&self) -> u64 {
        let distances = self.distance_weights.iter().zip(&DISTANCES);
        let bits = distances.map(|(weight, range)| u64::from(*weight) * (5 + u64::from(range.extra_bits)));
        (self.count as u64 * 8 + bits.sum::<u64>()) >> 3
    }

    #[inline(always)]
    pub(super) fn add_literal(&mut self, literal: u8) {
        self.symbols[self.count & (SYMBOLS_MAX - 1)] = u32::from(literal);
        self.count = self.count.wrapping_add(1);
        let weight = &mut self.literal_weights[usize::from(literal)];
        *weight = weight.wrapping_add(1);
    }

    /// Adds a match of 3 to 258 bytes at a distance of 1 to 32,768.
    #[inline(always)]
    pub(super) fn add_match(&mut self, length: usize, distance: usize) {
        let extra_length = length.wrapping_sub(MATCH_MIN) as u8;
        self.symbols[self.count & (SYMBOLS_MAX - 1)] = (distance as u32) << 16 | u32::from(extra_length);
        self.count = self.count.wrapping_add(1);
        self.matches = self.matches.wrapping_add(1);
        let length_code = usize::from(LENGTH_CODE[usize::from(extra_length)]);
        let weight = &mut self.literal_weights[(LITERALS + 1 + length_code).min(LITERAL_CODES - 1)];
        *weight = weight.wrapping_add(1);
        let code = distance_code(distance.wrapping_sub(1) as u16);
        let weight = &mut self.distance_weights[code.min(DISTANCE_CODES - 1)];
        *weight = weight.wrapping_add(1);
    }

    /// Writes the block and begins the next one. `content` is what the block stands for, where it is still at hand:
    /// otherwise the block cannot be stored.
    pub(super) fn write(&mut self, content: Option<&[u8]>, last: Last, bits: &mut BitWriter, out: &mut Vec<u8>) {
        let literals = Code::build(&self.literal_weights, BITS_MAX);
        let distances = Code::build(&self.distance_weights, BITS_MAX);
        let header = Header::new(&literals, &distances);
        let own_bytes = (self.bits(&literals.lengths, &distances.lengths) + header.bits() + 3 + 7) >> 3;
        let fixed_literals: [u8; LITERAL_CODES] = std::array::from_fn(fixed_literal_bits);
        let fixed_bytes = (self.bits(&fixed_literals, &[FIXED_DISTANCE_BITS; DISTANCE_CODES]) + 3 + 7) >> 3;
        let shortest = own_bytes.min(fixed_bytes);
        match content {
            Some(content) if content.len() as u64 + 4 <= shortest => write_stored(content, last, bits, out),
            Some(_) | None if fixed_bytes == shortest => {
                let lengths: [u8; FIXED_LITERAL_CODES] = std::array::from_fn(fixed_literal_bits);
                let distances = Code::from_lengths([FIXED_DISTANCE_BITS; DISTANCE_CODES]);
                bits.put(0b010 | last.bit(), 3, out);
                self.write_symbols(&Code::from_lengths(lengths), &distances, bits, out);
            }
            Some(_) | None => {
                bits.put(0b100 | last.bit(), 3, out);
                header.write(bits, out);
                self.write_symbols(&literals, &distances, bits, out);
            }
        }
        self.clear();
        if last == Last::Yes {
            bits.align(out);
        }
    }

    /// The bits of all symbols under codes of these lengths, the extra bits with them.
    fn bits(&self, literals: &[u8; LITERAL_CODES], distances: &[u8; DISTANCE_CODES]) -> u64 {
        let extra = |code: usize| code.checked_sub(LITERALS + 1).map_or(0, |length| LENGTHS[length].extra_bits);
        let of_literals = (0..LITERAL_CODES)
            .map(|code| u64::from(self.literal_weights[code]) * u64::from(literals[code] + extra(code)));
        let of_distances = (0..DISTANCE_CODES).map(|code| {
            u64::from(self.distance_weights[code]) * u64::from(distances[code] + DISTANCES[code].extra_bits)
        });
        of_literals.sum::<u64>() + of_distances.sum::<u64>()
    }

    fn write_symbols<const N: usize>(
        &self,
        literals: &Code<N>,
        distances: &Code<DISTANCE_CODES>,
        bits: &mut BitWriter,
        out: &mut Vec<u8>,
    ) {
        let literal_table = SymbolBits::literals(literals);
        let distance_table = SymbolBits::distances(distances);
        for &symbol in &self.symbols[..self.count.min(SYMBOLS_MAX)] {
            let (low, distance) = (symbol as u8, (symbol >> 16) as u16);
            if distance == 0 {
                let code = literal_table.literal[usize::from(low)];
                bits.put(u64::from(code.bits), u32::from(code.count), out);
                continue;
            }
            let length = literal_table.length[usize::from(low)];
            let less_one = distance.wrapping_sub(1);
            let place = distance_code(less_one).min(DISTANCE_CODES - 1);
            let code = distance_table[place];
            let extra = u64::from(less_one.wrapping_sub(DISTANCES[place].first)) << (code.count & 15);
            let value = u64::from(length.bits) | (u64::from(code.bits) | extra) << (length.count & 31);
            let count = u32::from(length.count) + u32::from(code.count) + u32::from(DISTANCES[place].extra_bits);
            bits.put(value, count, out);
        }
        let end = &literals.codes[END_OF_BLOCK];
        bits.put(u64::from(*end), u32::from(literals.lengths[END_OF_BLOCK]), out);
    }
}

/// The bits that stand for one symbol.
#[derive(Clone, Copy, Default)]
struct Bits {
    bits: u32,
    count: u8,
}

/// The bits of each literal, and of each match length with its extra bits.
struct SymbolBits {
    literal: [Bits; 256],
    length: [Bits; 256],
}

impl SymbolBits {
    fn literals<const N: usize>(code: &Code<N>) -> SymbolBits {
        let bits_of = |symbol: usize| Bits { bits: u32::from(code.codes[symbol]), count: code.lengths[symbol] };
        let length_bits = |length: usize| {
            let place = usize::from(LENGTH_CODE[length]);
            let (range, own) = (LENGTHS[place], bits_of(LITERALS + 1 + place));
            let extra = length as u32 - u32::from(range.first);
            Bits { bits: own.bits | extra << own.count, count: own.count + range.extra_bits }
        };
        SymbolBits { literal: std::array::from_fn(bits_of), length: std::array::from_fn(length_bits) }
    }

    fn distances(code: &Code<DISTANCE_CODES>) -> [Bits; DISTANCE_CODES] {
        std::array::from_fn(|place| Bits { bits: u32::from(code.codes[place]), count: code.lengths[place] })
    }
}

/// The codes of a block as it sends them: lengths, repeated ones shortened (RFC 1951, section 3.2.7).
struct Header {
    /// A code length or a repetition, and the value of its extra bits.
    symbols: Vec<(u8, u8)>,
    code: Code<CODE_LENGTH_CODES>,
    literals: usize,
    distances: usize,
    /// How many lengths of the code length code are sent.
    sent: usize,
}

impl Header {
    fn new(literals: &Code<LITERAL_CODES>, distances: &Code<DISTANCE_CODES>) -> Header {
        let mut symbols = Vec::with_capacity(LITERAL_CODES + DISTANCE_CODES);
        repeat(&literals.lengths[..=literals.last], &mut symbols);
        repeat(&distances.lengths[..=distances.last], &mut symbols);
        let mut weights = [0; CODE_LENGTH_CODES];
        for (symbol, _) in &symbols {
            weights[usize::from(*symbol)] += 1;
        }
        let code = Code::build(&weights, CODE_LENGTH_BITS_MAX);
        let used = CODE_LENGTH_ORDER.iter().rposition(|symbol| code.lengths[usize::from(*symbol)] != 0);
        let sent = used.map_or(0, |place| place + 1).max(4);
        Header { symbols, code, literals: literals.last + 1, distances: distances.last + 1, sent }
    }

    fn bits(&self) -> u64 {
        let symbols = self.symbols.iter().map(|(symbol, _)| {
            let symbol = usize::from(*symbol);
            u64::from(self.code.lengths[symbol] + CODE_LENGTH_EXTRA_BITS[symbol])
        });
        5 + 5 + 4 + 3 * self.sent as u64 + symbols.sum::<u64>()
    }

    fn write(&self, bits: &mut BitWriter, out: &mut Vec<u8>) {
        bits.put(self.literals as u64 - 257, 5, out);
        bits.put(self.distances as u64 - 1, 5, out);
        bits.put(self.sent as u64 - 4, 4, out);
        for symbol in &CODE_LENGTH_ORDER[..self.sent] {
            bits.put(u64::from(self.code.lengths[usize::from(*symbol)]), 3, out);
        }
        for &(symbol, extra) in &self.symbols {
            let symbol = usize::from(symbol);
            bits.put(u64::from(self.code.codes[symbol]), u32::from(self.code.lengths[symbol]), out);
            bits.put(u64::from(extra), u32::from(CODE_LENGTH_EXTRA_BITS[symbol]), out);
        }
    }
}

impl Last {
    fn bit(self) -> u64 {
        u64::from(self == Last::Yes)
    }
}

/// Writes a stored block. Its length is taken modulo 65,536, which no caller exceeds.
pub(super) fn write_stored(content: &[u8], last: Last, bits: &mut BitWriter, out: &mut Vec<u8>) {
    bits.put(last.bit(), 3, out);
    bits.align(out);
    let length = content.len() as u16;
    bits.put_bytes(&length.to_le_bytes(), out);
    bits.put_bytes(&(!length).to_le_bytes(), out);
    bits.put_bytes(content, out);
}

/// Writes an empty block with the fixed codes: ten bits.
pub(super) fn write_empty_fixed(bits: &mut BitWriter, out: &mut Vec<u8>) {
    bits.put(0b010, 10, out);
}

/// Appends the lengths in the form that is sent. A run begins anew with each length that differs, and a length is sent
/// once before it is repeated.
fn repeat(lengths: &[u8], symbols: &mut Vec<(u8, u8)>) {
    let mut rest = lengths;
    while let Some(&length) = rest.first() {
        let mut run = rest.iter().take_while(|other| **other == length).count();
        rest = &rest[run..];
        if length != 0 {
            symbols.push((length, 0));
            run -= 1;
        }
        let (longest, shortest) = if length == 0 { (138, 3) } else { (6, 3) };
        while run >= shortest {
            let part = run.min(longest);
            symbols.push(match (length, part) {
                (0, 3..=10) => (17, part as u8 - 3),
                (0, _) => (18, part as u8 - 11),
                (_, _) => (16, part as u8 - 3),
            });
            run -= part;
        }
        symbols.extend(std::iter::repeat_n((length, 0), run));
    }
}
