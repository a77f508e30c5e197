//! Fixed tables: the codes of lengths and distances, and the fixed Huffman codes (RFC 1951, sections 3.2.5 and 3.2.6).

/// A code with its number of extra bits and its first value.
#[derive(Clone, Copy)]
pub(super) struct Range {
    pub(super) extra_bits: u8,
    pub(super) first: u16,
}

pub(super) const LITERALS: usize = 256;
pub(super) const END_OF_BLOCK: usize = 256;
pub(super) const LENGTH_CODES: usize = 29;
pub(super) const LITERAL_CODES: usize = LITERALS + 1 + LENGTH_CODES;
pub(super) const DISTANCE_CODES: usize = 30;
pub(super) const CODE_LENGTH_CODES: usize = 19;
/// The history that a match can refer to.
pub(super) const HISTORY: usize = 32_768;
pub(super) const MATCH_MIN: usize = 3;
pub(super) const MATCH_MAX: usize = 258;

/// The order in which the lengths of the code length code are sent (RFC 1951, section 3.2.7).
pub(super) const CODE_LENGTH_ORDER: [u8; CODE_LENGTH_CODES] =
    [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// Extra bits of the symbols 16, 17 and 18 of the code length code.
pub(super) const CODE_LENGTH_EXTRA_BITS: [u8; CODE_LENGTH_CODES] =
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 3, 7];

/// By code: its range of match lengths, less three.
pub(super) const LENGTHS: [Range; LENGTH_CODES] = length_ranges();
/// By code: its range of distances, less one.
pub(super) const DISTANCES: [Range; DISTANCE_CODES] = distance_ranges();
/// By match length less three: its code.
pub(super) static LENGTH_CODE: [u8; 256] = length_codes();
/// By distance less one below 256: its code; from place 256 on by distance less one over 128.
static DISTANCE_CODE: [u8; 512] = distance_codes();

/// The code of a distance, given less one and below 32,768.
#[inline(always)]
pub(super) fn distance_code(distance_less_one: u16) -> usize {
    let high = 256 + usize::from(distance_less_one >> 7);
    let place = if distance_less_one < 256 { usize::from(distance_less_one) } else { high };
    usize::from(DISTANCE_CODE[place & 511])
}

/// Bits of a fixed literal or length code (RFC 1951, section 3.2.6).
pub(super) const fn fixed_literal_bits(symbol: usize) -> u8 {
    match symbol {
        0..144 => 8,
        144..256 => 9,
        256..280 => 7,
        _ => 8,
    }
}

/// Bits of every fixed distance code.
pub(super) const FIXED_DISTANCE_BITS: u8 = 5;

const fn length_ranges() -> [Range; LENGTH_CODES] {
    let mut ranges = [Range { extra_bits: 0, first: 0 }; LENGTH_CODES];
    let mut code = 0;
    let mut first = 0;
    while code < LENGTH_CODES - 1 {
        let extra_bits = if code < 8 { 0 } else { (code as u8 - 4) / 4 };
        ranges[code] = Range { extra_bits, first };
        first += 1 << extra_bits;
        code += 1;
    }
    // The longest match has a code of its own, though the range before it would reach it.
    ranges[LENGTH_CODES - 1] = Range { extra_bits: 0, first: 255 };
    ranges
}

const fn distance_ranges() -> [Range; DISTANCE_CODES] {
    let mut ranges = [Range { extra_bits: 0, first: 0 }; DISTANCE_CODES];
    let mut code = 0;
    let mut first = 0;
    while code < DISTANCE_CODES {
        let extra_bits = if code < 4 { 0 } else { (code as u8 - 2) / 2 };
        ranges[code] = Range { extra_bits, first };
        first += 1 << extra_bits;
        code += 1;
    }
    ranges
}

const fn length_codes() -> [u8; 256] {
    let mut codes = [0; 256];
    let mut code = 0;
    while code < LENGTH_CODES {
        let range = LENGTHS[code];
        let mut offset = 0;
        while offset < 1 << range.extra_bits && range.first as usize + offset < 256 {
            codes[range.first as usize + offset] = code as u8;
            offset += 1;
        }
        code += 1;
    }
    codes
}

const fn distance_codes() -> [u8; 512] {
    let mut codes = [0; 512];
    let mut code = 0;
    while code < DISTANCE_CODES {
        let range = DISTANCES[code];
        let first = range.first as usize;
        let end = first + (1 << range.extra_bits);
        let mut distance = first;
        while distance < end {
            if distance < 256 {
                codes[distance] = code as u8;
            } else {
                codes[256 + (distance >> 7)] = code as u8;
            }
            distance += 1;
        }
        code += 1;
    }
    codes
}
