//! The header of a block with codes of its own (RFC 1951, section 3.2.7), as Go's compress/flate and its descendants
//! write it: runs as long as possible, a run of zeros with the symbol that holds most.

use crate::bits::BitWriter;
use crate::huffman::{Code, Codes};

/// The order in which the lengths of the codes of lengths are sent.
const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// The header of one block.
pub struct BlockHeader {
    literals: usize,
    distances: usize,
    /// Symbols of lengths, each with what follows it.
    symbols: Vec<(u8, u8)>,
    counts: [u32; 19],
    codes: Codes<19>,
    /// How many of `ORDER` are sent.
    sent: usize,
}

impl BlockHeader {
    pub fn new() -> Self {
        let (symbols, counts) = (Vec::with_capacity(320), [0; 19]);
        Self { literals: 0, distances: 0, symbols, counts, codes: Codes::new(), sent: 0 }
    }

    /// Describes the codes of the first symbols; the rest of them have no code.
    pub fn describe(&mut self, literals: &[Code], distances: &[Code]) {
        self.symbols.clear();
        self.counts = [0; 19];
        (self.literals, self.distances) = (literals.len(), distances.len());
        let mut lengths = literals.iter().chain(distances).map(|code| code.length).peekable();
        while let Some(length) = lengths.next() {
            let mut count = 1;
            while lengths.next_if_eq(&length).is_some() {
                count += 1;
            }
            self.run(length, count);
        }
        self.codes.choose(&self.counts, 7);
        self.sent = ORDER.len();
        while self.sent > 4 && self.counts[ORDER[self.sent - 1]] == 0 {
            self.sent -= 1;
        }
    }

    fn run(&mut self, length: u8, mut count: usize) {
        if length == 0 {
            while count >= 11 {
                let part = count.min(138);
                self.symbol(18, part - 11);
                count -= part;
            }
            if count >= 3 {
                self.symbol(17, count - 3);
                count = 0;
            }
        } else {
            self.symbol(length, 0);
            count -= 1;
            while count >= 3 {
                let part = count.min(6);
                self.symbol(16, part - 3);
                count -= part;
            }
        }
        (0..count).for_each(|_| self.symbol(length, 0));
    }

    fn symbol(&mut self, symbol: u8, behind: usize) {
        self.symbols.push((symbol, behind as u8));
        self.counts[usize::from(symbol)] += 1;
    }

    /// The bits of the header, with the three that say what kind of block it is.
    pub fn bits(&self) -> usize {
        let extra = self.counts[16] * 2 + self.counts[17] * 3 + self.counts[18] * 7;
        17 + 3 * self.sent + self.codes.cost(&self.counts) + extra as usize
    }

    /// Writes the header of a block that is not the last.
    pub fn write(&self, writer: &mut BitWriter, out: &mut Vec<u8>) {
        writer.bits(4, 3, out);
        writer.bits(self.literals as u32 - 257, 5, out);
        writer.bits(self.distances as u32 - 1, 5, out);
        writer.bits(self.sent as u32 - 4, 4, out);
        for &symbol in &ORDER[..self.sent] {
            writer.bits(u32::from(self.codes.length(symbol)), 3, out);
        }
        for &(symbol, behind) in &self.symbols {
            let code = self.codes.all()[usize::from(symbol)];
            writer.bits(u32::from(code.bits), u32::from(code.length), out);
            let extra = match symbol {
                16 => 2,
                17 => 3,
                18 => 7,
                _ => 0,
            };
            writer.bits(u32::from(behind), extra, out);
        }
    }
}

/// Writes the header of a stored block: three bits, zeros up to the next byte, the length twice.
pub fn write_stored_header(writer: &mut BitWriter, length: usize, last: bool, out: &mut Vec<u8>) {
    writer.bits(u32::from(last), 3, out);
    writer.align(out);
    writer.bits(length as u32 & 0xffff, 16, out);
    writer.bits(!(length as u32) & 0xffff, 16, out);
}
