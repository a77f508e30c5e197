//! The parts that all DEFLATE engines share: the symbols of lengths and distances (RFC 1951, section 3.2.5), and
//! tokens.
//!
//! A token is a literal byte, or a match: the length less 3 and the distance less 1.

/// The most bytes that a stored block holds.
pub const STORED_BYTES_MAX: usize = 65_535;
/// How far back a match may reach.
pub const WINDOW_BYTES: usize = 32_768;
/// The longest match.
pub const MATCH_BYTES_MAX: usize = 258;
/// The symbol that ends a block.
pub const END_OF_BLOCK: usize = 256;
/// Literals, the end of a block, and lengths.
pub const LITERAL_SYMBOLS: usize = 286;
pub const DISTANCE_SYMBOLS: usize = 30;

/// Bits behind each symbol of a length.
pub const LENGTH_EXTRA_BITS: [u8; 32] =
    [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0, 0, 0, 0];
/// Bits behind each symbol of a distance.
pub const DISTANCE_EXTRA_BITS: [u8; 32] =
    [0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 0, 0];
/// The first length of each symbol, less 3.
pub const LENGTH_BASE: [u16; 32] = bases(&LENGTH_EXTRA_BITS);
/// The first distance of each symbol, less 1.
pub const DISTANCE_BASE: [u16; 32] = bases(&DISTANCE_EXTRA_BITS);
/// The symbol of each length less 3, counted from 257.
pub static LENGTH_SYMBOL: [u8; 256] = length_symbols();
/// The symbols of distances: of distances less 1 below 256 in the first half, by their upper bits in the second.
static DISTANCE_SYMBOL: [u8; 512] = distance_symbols();

const fn bases(extra_bits: &[u8; 32]) -> [u16; 32] {
    let mut bases = [0; 32];
    let (mut at, mut symbol) = (0u32, 0);
    while symbol < 32 {
        bases[symbol] = at as u16;
        at += 1 << extra_bits[symbol];
        symbol += 1;
    }
    // The longest match has a symbol of its own.
    if extra_bits[8] == 1 {
        bases[28] = 255;
    }
    bases
}

const fn length_symbols() -> [u8; 256] {
    let mut symbols = [0; 256];
    let mut length = 0;
    while length < 256 {
        let mut symbol = 28;
        while LENGTH_BASE[symbol] as usize > length {
            symbol -= 1;
        }
        symbols[length] = symbol as u8;
        length += 1;
    }
    symbols
}

const fn distance_symbols() -> [u8; 512] {
    let mut symbols = [0; 512];
    let mut slot = 0;
    while slot < 512 {
        let distance = if slot < 256 { slot } else { (slot - 256) << 7 };
        let mut symbol = 29;
        while DISTANCE_BASE[symbol] as usize > distance {
            symbol -= 1;
        }
        symbols[slot] = symbol as u8;
        slot += 1;
    }
    symbols
}

/// The symbol of a distance less 1.
#[inline]
pub fn distance_symbol(distance: u32) -> usize {
    let slot = if distance < 256 { distance } else { 256 | (distance >> 7) };
    usize::from(DISTANCE_SYMBOL[slot as usize & 511])
}

/// A literal, or a match.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Token(u32);

impl Token {
    const MATCH: u32 = 1 << 31;

    #[inline]
    pub fn literal(byte: u8) -> Self {
        Self(u32::from(byte))
    }

    /// A match of 3 to 258 bytes, at a distance of 1 to 32,768.
    #[inline]
    pub fn matching(length: usize, distance: usize) -> Self {
        let (length, distance) = (length.wrapping_sub(3) as u32 & 255, distance.wrapping_sub(1) as u32 & 32_767);
        Self(Self::MATCH | (length << 16) | distance)
    }

    #[inline]
    pub fn is_literal(self) -> bool {
        self.0 & Self::MATCH == 0
    }

    /// The byte, of a literal.
    #[inline]
    pub fn byte(self) -> usize {
        self.0 as usize & 255
    }

    /// The length less 3, of a match.
    #[inline]
    pub fn length(self) -> usize {
        (self.0 >> 16) as usize & 255
    }

    /// The distance less 1, of a match.
    #[inline]
    pub fn distance(self) -> u32 {
        self.0 & 32_767
    }
}

/// How many bytes at `a` and `b` are the same, at most `max`. Both must have `max` bytes behind them.
#[inline]
pub fn match_length(bytes: &[u8], a: usize, b: usize, max: usize) -> usize {
    let (Some(a), Some(b)) = (bytes.get(a..a + max), bytes.get(b..b + max)) else { return 0 };
    let mut same = 0;
    let (a_words, a_rest) = a.as_chunks::<8>();
    let (b_words, b_rest) = b.as_chunks::<8>();
    for (a, b) in a_words.iter().zip(b_words) {
        let differing = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        if differing != 0 {
            return same + (differing.trailing_zeros() >> 3) as usize;
        }
        same += 8;
    }
    same + a_rest.iter().zip(b_rest).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_those_of_the_rfc() {
        // RFC 1951, section 3.2.5: lengths 3, 10, 11, 257, 258; distances 1, 5, 257, 24,577, 32,768.
        let lengths = [3, 10, 11, 257, 258].map(|length: usize| LENGTH_SYMBOL[length - 3]);
        assert_eq!(lengths, [0, 7, 8, 27, 28]);
        assert_eq!([1, 5, 257, 24_577, 32_768].map(|distance| distance_symbol(distance - 1)), [0, 4, 16, 29, 29]);
        for distance in 0..32_768u32 {
            let symbol = distance_symbol(distance);
            let base = u32::from(DISTANCE_BASE[symbol]);
            assert!((base..base + (1 << DISTANCE_EXTRA_BITS[symbol])).contains(&distance));
        }
    }

    #[test]
    fn tokens_keep_what_they_are_made_of() {
        let token = Token::matching(258, 32_768);
        assert_eq!((token.is_literal(), token.length(), token.distance()), (false, 255, 32_767));
        assert_eq!((Token::literal(255).is_literal(), Token::literal(255).byte()), (true, 255));
    }
}
