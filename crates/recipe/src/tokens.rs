//! Writes tokens with given codes; the fixed codes (RFC 1951, section 3.2.6).

use crate::bits::BitWriter;
use crate::deflate::{
    DISTANCE_BASE, DISTANCE_EXTRA_BITS, DISTANCE_SYMBOLS, LENGTH_BASE, LENGTH_EXTRA_BITS, LENGTH_SYMBOL,
    LITERAL_SYMBOLS, Token, distance_symbol,
};
use crate::huffman::{Code, Codes};

/// The codes that need no header.
pub struct FixedCodes {
    pub literals: Codes<LITERAL_SYMBOLS>,
    pub distances: Codes<DISTANCE_SYMBOLS>,
}

impl FixedCodes {
    pub fn new() -> Self {
        let mut literals = Codes::new();
        for symbol in 0..LITERAL_SYMBOLS {
            let (bits, length) = match symbol {
                0..144 => (symbol + 48, 8),
                144..256 => (symbol + 256, 9),
                256..280 => (symbol - 256, 7),
                _ => (symbol - 88, 8),
            };
            literals.set(symbol, bits as u16, length);
        }
        let mut distances = Codes::new();
        (0..DISTANCE_SYMBOLS).for_each(|symbol| distances.set(symbol, symbol as u16, 5));
        Self { literals, distances }
    }

    /// The bits of all symbols with these counts.
    pub fn cost(&self, literals: &[u32], distances: &[u32]) -> usize {
        self.literals.cost(literals) + self.distances.cost(distances)
    }
}

/// Writes tokens, without the end of the block.
pub fn write_tokens(
    tokens: &[Token],
    literals: &Codes<LITERAL_SYMBOLS>,
    distances: &Codes<DISTANCE_SYMBOLS>,
    writer: &mut BitWriter,
    out: &mut Vec<u8>,
) {
    // The code of each length with the bits behind it: a token is one addition.
    let lengths: [(u32, u32); 256] = std::array::from_fn(|length| {
        let symbol = usize::from(LENGTH_SYMBOL[length]);
        let Code { bits, length: code_bits } = literals.all()[257 + symbol];
        let behind = (length as u32).wrapping_sub(u32::from(LENGTH_BASE[symbol]));
        (u32::from(bits) | (behind << code_bits), u32::from(code_bits + LENGTH_EXTRA_BITS[symbol]))
    });
    let mut distance_codes = [Code::default(); 32];
    distance_codes[..DISTANCE_SYMBOLS].copy_from_slice(distances.all());
    // 15 bits and 5, 15 and 13: six bytes.
    let mut bits = writer.bulk(tokens.len() * 6, out);
    for token in tokens {
        if token.is_literal() {
            let code = literals.all()[token.byte()];
            bits.add(u64::from(code.bits), u32::from(code.length));
            continue;
        }
        let (mut value, mut count) = (u64::from(lengths[token.length()].0), lengths[token.length()].1);
        let symbol = distance_symbol(token.distance()) & 31;
        let code = distance_codes[symbol];
        let behind = token.distance().wrapping_sub(u32::from(DISTANCE_BASE[symbol]));
        value |= (u64::from(code.bits) | (u64::from(behind) << code.length)) << count;
        count += u32::from(code.length + DISTANCE_EXTRA_BITS[symbol]);
        bits.add(value, count);
    }
    bits.finish();
}
