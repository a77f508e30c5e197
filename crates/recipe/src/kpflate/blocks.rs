//! Chooses codes for a block and writes it, as klauspost's compress/flate does.
//!
//! A block may go on with the codes of the block before: then the two are one block of DEFLATE, and its end is owed
//! until other codes are chosen. The choice compares what the old codes cost with an estimate of new ones: a logarithm
//! of four operations, in floating point of 32 bits. The result hangs on each rounding, so the operations stand in the
//! order of the original, without fused ones. (Go fuses some on arm64, so a blob made there may differ.)

use crate::bits::{BitPosition, BitWriter};
use crate::deflate::{
    DISTANCE_EXTRA_BITS, DISTANCE_SYMBOLS, END_OF_BLOCK, LENGTH_EXTRA_BITS, LENGTH_SYMBOL, LITERAL_SYMBOLS,
    STORED_BYTES_MAX, Token, distance_symbol,
};
use crate::header::{BlockHeader, write_stored_header};
use crate::huffman::{Code, Codes};
use crate::tokens::{FixedCodes, write_tokens};

/// Fixed codes are tried for fewer tokens than this.
const FIXED_TOKENS: usize = 250;
/// Codes without distances are thought to need a header of 70 bytes.
const HEADER_BITS_GUESSED: usize = 560;

/// How often each symbol occurs.
#[derive(Clone)]
struct Counts {
    literals: [u32; LITERAL_SYMBOLS],
    distances: [u32; DISTANCE_SYMBOLS],
}

/// The end of a block.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// More content: the end of the block may be owed.
    More,
    /// A flush or the end of the stream.
    Flush,
}

pub struct Blocks {
    writer: BitWriter,
    /// The bits of the header of the codes in use, if the end of their block is owed; else 0.
    owed_header: usize,
    /// The codes in use have no distances.
    is_literal_only: bool,
    /// New codes have to save more than the size over two to this power.
    penalty: u32,
    /// Headers leave out codes at the end that do not occur, also where more content follows.
    trims_headers: bool,
    literals: Codes<LITERAL_SYMBOLS>,
    distances: Codes<DISTANCE_SYMBOLS>,
    fixed: FixedCodes,
    header: BlockHeader,
}

impl Blocks {
    pub fn new(at: BitPosition, penalty: u32, trims_headers: bool) -> Self {
        Self {
            writer: BitWriter::new(at),
            owed_header: 0,
            is_literal_only: false,
            penalty,
            trims_headers,
            literals: Codes::new(),
            distances: Codes::new(),
            fixed: FixedCodes::new(),
            header: BlockHeader::new(),
        }
    }

    /// Writes the block with the codes before it, with codes of its own, with fixed codes or as it is.
    pub fn write(&mut self, tokens: &[Token], content: Option<&[u8]>, after: After, out: &mut Vec<u8>) {
        let mut counts = count(tokens);
        let stored = content.filter(|content| content.len() <= STORED_BYTES_MAX);
        let stored_bits = stored.map_or(usize::MAX, |content| (content.len() + 5) * 8);
        // The end of the block is a token too where it is known to follow.
        let token_count = tokens.len() + usize::from(after == After::Flush);
        if self.is_literal_only && self.owed_header > 0 {
            self.is_literal_only = false;
            self.pay_end(out);
        }
        if self.owed_header > 0 && !self.has_codes(&counts) {
            self.pay_end(out);
        }
        if after == After::Flush || self.trims_headers {
            counts.literals[END_OF_BLOCK] = 1;
        }
        let symbols = self.symbols(&mut counts, after);
        let extra = counts.extra_bits();
        if self.owed_header > 0 {
            let smallest = self.choose_between_codes(&counts, extra, token_count, out);
            let fixed = self.fixed.cost(&counts.literals, &counts.distances) + 3 + extra + 7;
            let is_fixed = token_count < FIXED_TOKENS && fixed < smallest;
            match stored.filter(|_| stored_bits <= smallest) {
                Some(content) => return self.write_stored(content, out),
                None if is_fixed => return self.write_fixed(tokens, out),
                None => {}
            }
        }
        if self.owed_header == 0 {
            counts.literals[END_OF_BLOCK] = 1;
            self.literals.choose(&counts.literals, 15);
            self.distances.choose(&counts.distances, 15);
            self.header.describe(&self.literals.all()[..symbols.0], &self.distances.all()[..symbols.1]);
            // Bits behind symbols count only beside the stored form, as in the original.
            let extra = if stored.is_some() { extra } else { 0 };
            let own = self.header.bits() + self.cost(&counts) + extra;
            let fixed = self.fixed.cost(&counts.literals, &counts.distances) + 3 + extra;
            let is_fixed = token_count < FIXED_TOKENS && fixed <= own;
            let smallest = if is_fixed { fixed } else { own };
            match stored.filter(|_| stored_bits <= smallest) {
                Some(content) => return self.write_stored(content, out),
                None if is_fixed => return self.write_fixed(tokens, out),
                None => {}
            }
            self.header.write(&mut self.writer, out);
            self.owed_header = self.header.bits();
            self.is_literal_only = false;
        }
        write_tokens(tokens, &self.literals, &self.distances, &mut self.writer, out);
        if after == After::Flush {
            self.pay_end(out);
        }
    }

    /// Decides whether the codes in use are kept; the bits of what is chosen.
    fn choose_between_codes(&mut self, counts: &Counts, extra: usize, tokens: usize, out: &mut Vec<u8>) -> usize {
        let new = self.owed_header + counts.estimated_bits(tokens);
        let new = new + usize::from(self.literals.length(END_OF_BLOCK)) + (new >> self.penalty);
        let old = self.cost(counts) + extra;
        if new < old {
            self.pay_end(out);
        }
        new.min(old)
    }

    /// How many symbols a header describes.
    fn symbols(&self, counts: &mut Counts, after: After) -> (usize, usize) {
        if after == After::More && !self.trims_headers {
            return (LITERAL_SYMBOLS, DISTANCE_SYMBOLS);
        }
        let literals = counts.literals.iter().rposition(|&count| count != 0).unwrap_or(END_OF_BLOCK);
        let distances = counts.distances.iter().rposition(|&count| count != 0);
        if distances.is_none() {
            counts.distances[0] = 1;
        }
        (literals + 1, distances.unwrap_or(0) + 1)
    }

    fn has_codes(&self, counts: &Counts) -> bool {
        let literals = counts.literals.iter().zip(self.literals.all());
        let mut all = literals.chain(counts.distances.iter().zip(self.distances.all()));
        all.all(|(&count, code)| count == 0 || code.length > 0)
    }

    fn cost(&self, counts: &Counts) -> usize {
        self.literals.cost(&counts.literals) + self.distances.cost(&counts.distances)
    }

    /// Writes the end of the block with the codes in use.
    fn pay_end(&mut self, out: &mut Vec<u8>) {
        let end = self.literals.all()[END_OF_BLOCK];
        self.writer.bits(u32::from(end.bits), u32::from(end.length), out);
        self.owed_header = 0;
    }

    fn pay_what_is_owed(&mut self, out: &mut Vec<u8>) {
        if self.owed_header > 0 {
            self.pay_end(out);
        }
    }

    fn write_fixed(&mut self, tokens: &[Token], out: &mut Vec<u8>) {
        self.pay_what_is_owed(out);
        self.writer.bits(2, 3, out);
        let (literals, distances) = (&self.fixed.literals, &self.fixed.distances);
        write_tokens(tokens, literals, distances, &mut self.writer, out);
        self.writer.bits(0, 7, out);
    }

    /// Writes the block without matches, with the literal codes in use or new ones, or as it is.
    pub fn write_literals(&mut self, content: &[u8], after: After, out: &mut Vec<u8>) {
        let mut counts = [0u32; END_OF_BLOCK + 1];
        content.iter().for_each(|&byte| counts[usize::from(byte)] += 1);
        let stored_bits = (content.len() + 5) * 8;
        if content.len() > 1024 && is_noise(&counts[..256], content.len()) {
            return self.write_stored(content, out);
        }
        counts[END_OF_BLOCK] = 1;
        let mut new_codes = Codes::new();
        new_codes.choose(&counts, 15);
        let header = if self.owed_header > 0 { self.owed_header } else { HEADER_BITS_GUESSED };
        let new = new_codes.cost(&counts) + header;
        let new = new + (new >> self.penalty);
        if stored_bits <= new {
            return self.write_stored(content, out);
        }
        if self.owed_header > 0 {
            let codes = counts[..256].iter().zip(self.literals.all());
            let is_usable = codes.clone().all(|(&count, code)| count == 0 || code.length > 0);
            if !is_usable || new < self.literals.cost(&counts[..256]) {
                self.pay_end(out);
            }
        }
        if self.owed_header == 0 {
            self.literals = new_codes;
            let no_distance = [Code { bits: 0, length: 1 }];
            self.header.describe(&self.literals.all()[..END_OF_BLOCK + 1], &no_distance);
            self.header.write(&mut self.writer, out);
            self.is_literal_only = true;
            self.owed_header = self.header.bits();
        }
        let mut bits = self.writer.bulk(content.len() * 2, out);
        for &byte in content {
            let code = self.literals.all()[usize::from(byte)];
            bits.add(u64::from(code.bits), u32::from(code.length));
        }
        bits.finish();
        if after == After::Flush {
            self.pay_end(out);
            self.is_literal_only = false;
        }
    }

    /// Writes the block as it is.
    pub fn write_stored(&mut self, content: &[u8], out: &mut Vec<u8>) {
        self.pay_what_is_owed(out);
        write_stored_header(&mut self.writer, content.len(), false, out);
        self.writer.bytes(content, out);
    }

    /// A flush: an empty stored block.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        self.pay_what_is_owed(out);
        write_stored_header(&mut self.writer, 0, false, out);
    }

    /// Ends the stream: an empty block with fixed codes.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.pay_what_is_owed(out);
        self.writer.bits(3, 10, out);
        self.writer.align(out);
    }
}

fn count(tokens: &[Token]) -> Counts {
    let mut counts = Counts { literals: [0; LITERAL_SYMBOLS], distances: [0; DISTANCE_SYMBOLS] };
    for token in tokens {
        if token.is_literal() {
            counts.literals[token.byte()] += 1;
        } else {
            counts.literals[257 + usize::from(LENGTH_SYMBOL[token.length()])] += 1;
            counts.distances[distance_symbol(token.distance())] += 1;
        }
    }
    counts
}

impl Counts {
    /// Bits behind symbols.
    fn extra_bits(&self) -> usize {
        extra(&self.literals[257..], &LENGTH_EXTRA_BITS) + extra(&self.distances, &DISTANCE_EXTRA_BITS)
    }

    /// The bits that codes made for these counts would need, roughly.
    #[expect(clippy::float_arithmetic, reason = "the original estimates in floating point of 32 bits")]
    fn estimated_bits(&self, tokens: usize) -> usize {
        let mut sum = 0f32;
        if tokens > 0 {
            let share = 1.0 / tokens as f32;
            add_entropy(&self.literals[..256], share, &mut sum);
            sum += 15.0;
            add_entropy(&self.literals[257..], share, &mut sum);
        }
        let matches: u32 = self.literals[257..].iter().sum();
        if matches > 0 {
            add_entropy(&self.distances, 1.0 / matches as f32, &mut sum);
        }
        sum as usize + self.extra_bits()
    }
}

fn extra(counts: &[u32], bits: &[u8]) -> usize {
    counts.iter().zip(bits).map(|(&count, &bits)| count as usize * usize::from(bits)).sum()
}

#[expect(clippy::float_arithmetic, reason = "the original estimates in floating point of 32 bits")]
fn add_entropy(counts: &[u32], share: f32, sum: &mut f32) {
    for &count in counts.iter().filter(|count| **count > 0) {
        let count = count as f32;
        *sum += (-rough_log2(count * share)).clamp(1.0, 15.0) * count;
    }
}

/// The logarithm of a number: its exponent, and a parabola through its mantissa.
#[expect(clippy::float_arithmetic, reason = "the original estimates in floating point of 32 bits")]
fn rough_log2(value: f32) -> f32 {
    let bits = value.to_bits() as i32;
    let exponent = (((bits >> 23) & 255) - 128) as f32;
    let mantissa = f32::from_bits(((bits & -0x7f80_0001) + (127 << 23)) as u32);
    exponent + (((-0.344_848_43 * mantissa) + 2.024_665_8) * mantissa - 0.674_877_6)
}

/// Whether no byte is much commoner than another: the squares of the differences from the mean are small together.
fn is_noise(counts: &[u32], bytes: usize) -> bool {
    let bytes = bytes as i64;
    let squares = counts.iter().map(|&count| (i64::from(count) * 256 - bytes).pow(2)).sum::<i64>();
    squares < bytes * 2 * 65_536
}
