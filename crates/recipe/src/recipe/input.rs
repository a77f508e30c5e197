//! Numbers and bytes of a recipe, written and read with limits.

use crate::error::ReadError;

/// Numbers of seven bits a byte, the lowest first; the highest bit says that more follow.
pub fn put(mut number: u64, out: &mut Vec<u8>) {
    while number >= 128 {
        out.push(number as u8 | 128);
        number >>= 7;
    }
    out.push(number as u8);
}

pub fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// The bytes that are still to be read.
pub struct Input<'a> {
    pub rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], ReadError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(ReadError::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        self.take(N)?.try_into().map_err(|_| ReadError::Short)
    }

    pub fn number(&mut self) -> Result<u64, ReadError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            let bits = u64::from(byte & 127);
            // The tenth byte has one bit left; a zero at the end is another spelling of the same number.
            if (shift == 63 && bits > 1) || (shift > 0 && byte == 0) {
                break;
            }
            number |= bits << shift;
            if byte & 128 == 0 {
                return Ok(number);
            }
        }
        Err(ReadError::Contradiction("a number is badly spelt"))
    }

    /// A count of items that have at least so many bytes each.
    pub fn count(&mut self, item_bytes: u64, max: u64) -> Result<u64, ReadError> {
        let count = self.number()?;
        if count > max {
            return Err(ReadError::Limit("a count"));
        }
        if count.saturating_mul(item_bytes) > self.rest.len() as u64 { Err(ReadError::Short) } else { Ok(count) }
    }

    pub fn bytes(&mut self, max: u64) -> Result<&'a [u8], ReadError> {
        let count = self.number()?;
        if count > max {
            return Err(ReadError::Limit("a length"));
        }
        self.take(count as usize)
    }
}
