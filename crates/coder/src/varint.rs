//! Integers of variable size: seven bits a byte, most significant first; all but the last byte have the high bit set
//! (RFC 3284, section 2). [`fold`] maps signed numbers to unsigned ones first: 0, -1, 1, -2, ... to 0, 1, 2, 3, ...

/// Most bytes that [`put`] writes: 64 bits in groups of seven.
pub const VARINT_BYTES_MAX: usize = 10;

/// Appends `value`.
pub fn put(out: &mut Vec<u8>, value: u64) {
    let mut bytes = [0; VARINT_BYTES_MAX];
    let mut first = VARINT_BYTES_MAX - 1;
    bytes[first] = (value & 0x7f) as u8;
    let mut rest = value >> 7;
    while rest != 0 {
        first -= 1;
        bytes[first] = (rest & 0x7f) as u8 | 0x80;
        rest >>= 7;
    }
    out.extend_from_slice(&bytes[first..]);
}

/// Takes one integer off the front of `input`. `None` if the input ends early, or if the integer is longer than ten
/// bytes or exceeds 64 bits.
pub fn get(input: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for _ in 0..VARINT_BYTES_MAX {
        let (&byte, rest) = input.split_first()?;
        *input = rest;
        if value >> 57 != 0 {
            return None;
        }
        value = value << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Maps a signed number to an unsigned one, so that small numbers stay short.
pub const fn fold(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The inverse of [`fold`].
pub const fn unfold(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_read_back() {
        for value in [0, 1, 127, 128, 16_383, 16_384, 123_456_789, u64::from(u32::MAX), u64::MAX / 2, u64::MAX] {
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            let mut rest = bytes.as_slice();
            assert_eq!(get(&mut rest), Some(value));
            assert!(rest.is_empty());
            assert_eq!(get(&mut &bytes[..bytes.len() - 1]), None);
        }
    }

    /// RFC 3284, section 2: the example of 123456789.
    #[test]
    fn spelled_as_in_the_rfc() {
        let mut bytes = Vec::new();
        put(&mut bytes, 123_456_789);
        assert_eq!(bytes, [0b1011_1010, 0b1110_1111, 0b1001_1010, 0b0001_0101]);
    }

    #[test]
    fn refuses_more_than_64_bits() {
        assert_eq!(get(&mut [0xff; 20].as_slice()), None);
        assert_eq!(get(&mut [0x80; 20].as_slice()), None);
        assert_eq!(get(&mut [0x83, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00].as_slice()), None);
    }

    #[test]
    fn signed_numbers_fold() {
        for value in [0, -1, 1, 63, -64, i64::MAX, i64::MIN] {
            assert_eq!(unfold(fold(value)), value);
        }
        assert_eq!([fold(0), fold(-1), fold(1), fold(-2)], [0, 1, 2, 3]);
    }
}
