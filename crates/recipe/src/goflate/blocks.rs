//! Chooses codes for a block and writes it, as compress/flate of Go does.

use crate::bits::{BitPosition, BitWriter};
use crate::deflate::{
    DISTANCE_EXTRA_BITS, DISTANCE_SYMBOLS, END_OF_BLOCK, LENGTH_EXTRA_BITS, LENGTH_SYMBOL, LITERAL_SYMBOLS,
    STORED_BYTES_MAX, Token, distance_symbol,
};
use crate::header::{BlockHeader, write_stored_header};
use crate::huffman::Codes;
use crate::tokens::{FixedCodes, write_tokens};

pub struct Blocks {
    writer: BitWriter,
    literal_counts: [u32; LITERAL_SYMBOLS],
    distance_counts: [u32; DISTANCE_SYMBOLS],
    literals: Codes<LITERAL_SYMBOLS>,
    distances: Codes<DISTANCE_SYMBOLS>,
    fixed: FixedCodes,
    header: BlockHeader,
}

impl Blocks {
    pub fn new(at: BitPosition) -> Self {
        Self {
            writer: BitWriter::new(at),
            literal_counts: [0; LITERAL_SYMBOLS],
            distance_counts: [0; DISTANCE_SYMBOLS],
            literals: Codes::new(),
            distances: Codes::new(),
            fixed: FixedCodes::new(),
            header: BlockHeader::new(),
        }
    }

    pub fn position(&self) -> BitPosition {
        self.writer.position()
    }

    /// Writes the block in the form that takes the fewest bits. `content` is `None` where it is no longer there.
    pub fn write_smallest(&mut self, tokens: &[Token], content: Option<&[u8]>, out: &mut Vec<u8>) {
        self.choose_codes(tokens);
        let content = content.filter(|content| content.len() <= STORED_BYTES_MAX);
        // The same for both forms with codes: it counts only beside the stored form.
        let extra = if content.is_some() { self.extra_bits() } else { 0 };
        let fixed = 3 + self.fixed.cost(&self.literal_counts, &self.distance_counts) + extra;
        let own = self.own_bits() + extra;
        if let Some(content) = content.filter(|content| (content.len() + 5) * 8 < own.min(fixed)) {
            return self.write_stored(content, out);
        }
        if own < fixed {
            self.header.write(&mut self.writer, out);
            write_tokens(tokens, &self.literals, &self.distances, &mut self.writer, out);
            self.end(out);
        } else {
            self.writer.bits(2, 3, out);
            let (literals, distances) = (&self.fixed.literals, &self.fixed.distances);
            write_tokens(tokens, literals, distances, &mut self.writer, out);
            self.writer.bits(0, 7, out);
        }
    }

    /// Writes the block with codes of its own, or stores it if they save less than a sixteenth.
    pub fn write_own_codes(&mut self, tokens: &[Token], content: &[u8], out: &mut Vec<u8>) {
        self.choose_codes(tokens);
        let own = self.own_bits();
        if (content.len() + 5) * 8 < own + (own >> 4) {
            return self.write_stored(content, out);
        }
        self.header.write(&mut self.writer, out);
        write_tokens(tokens, &self.literals, &self.distances, &mut self.writer, out);
        self.end(out);
    }

    /// Writes the end of the block with its own codes.
    fn end(&mut self, out: &mut Vec<u8>) {
        let end = self.literals.all()[END_OF_BLOCK];
        self.writer.bits(u32::from(end.bits), u32::from(end.length), out);
    }

    /// Writes the block without matches, or stores it if that saves less than a sixteenth.
    pub fn write_literals(&mut self, content: &[u8], out: &mut Vec<u8>) {
        self.literal_counts = [0; LITERAL_SYMBOLS];
        content.iter().for_each(|&byte| self.literal_counts[usize::from(byte)] += 1);
        self.literal_counts[END_OF_BLOCK] = 1;
        self.distance_counts = [0; DISTANCE_SYMBOLS];
        self.distance_counts[0] = 1;
        self.literals.choose(&self.literal_counts, 15);
        self.distances.choose(&self.distance_counts, 15);
        self.header.describe(&self.literals.all()[..END_OF_BLOCK + 1], &self.distances.all()[..1]);
        let own = self.own_bits();
        if (content.len() + 5) * 8 < own + (own >> 4) {
            return self.write_stored(content, out);
        }
        self.header.write(&mut self.writer, out);
        let mut bits = self.writer.bulk(content.len() * 2, out);
        for &byte in content {
            let code = self.literals.all()[usize::from(byte)];
            bits.add(u64::from(code.bits), u32::from(code.length));
        }
        bits.finish();
        self.end(out);
    }

    /// Writes the block as it is.
    pub fn write_stored(&mut self, content: &[u8], out: &mut Vec<u8>) {
        write_stored_header(&mut self.writer, content.len(), false, out);
        self.writer.bytes(content, out);
    }

    /// Ends the stream: an empty stored block.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        write_stored_header(&mut self.writer, 0, true, out);
    }

    fn choose_codes(&mut self, tokens: &[Token]) {
        self.literal_counts = [0; LITERAL_SYMBOLS];
        self.distance_counts = [0; DISTANCE_SYMBOLS];
        for token in tokens {
            if token.is_literal() {
                self.literal_counts[token.byte()] += 1;
            } else {
                self.literal_counts[257 + usize::from(LENGTH_SYMBOL[token.length()])] += 1;
                self.distance_counts[distance_symbol(token.distance())] += 1;
            }
        }
        self.literal_counts[END_OF_BLOCK] = 1;
        let literals = 1 + self.literal_counts.iter().rposition(|&count| count != 0).unwrap_or(END_OF_BLOCK);
        let distances = self.distance_counts.iter().rposition(|&count| count != 0);
        if distances.is_none() {
            self.distance_counts[0] = 1;
        }
        self.literals.choose(&self.literal_counts, 15);
        self.distances.choose(&self.distance_counts, 15);
        self.header.describe(&self.literals.all()[..literals], &self.distances.all()[..1 + distances.unwrap_or(0)]);
    }

    /// Bits of the block with codes of its own, without those behind symbols.
    fn own_bits(&self) -> usize {
        self.header.bits() + self.literals.cost(&self.literal_counts) + self.distances.cost(&self.distance_counts)
    }

    /// Bits behind symbols.
    fn extra_bits(&self) -> usize {
        extra(&self.literal_counts[257..], &LENGTH_EXTRA_BITS) + extra(&self.distance_counts, &DISTANCE_EXTRA_BITS)
    }
}

fn extra(counts: &[u32], bits: &[u8]) -> usize {
    counts.iter().zip(bits).map(|(&count, &bits)| count as usize * usize::from(bits)).sum()
}
