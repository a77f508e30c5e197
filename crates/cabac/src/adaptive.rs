//! Bits and numbers by probabilities that learn while they code: the traits and types that preflate-rs calls.
//!
//! A context is one probability of 16 bits, which moves by 1/16 of the distance at each bit. A number is coded bit by
//! bit, or in unary; each place has a context, and the last context serves all places behind it.

use std::io::{Error, Read, Result, Write};

use lighter_coder::{Coder, Decoder, Encoder};

/// The probability of a 1, of 65536.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context(u16);

/// A bit moves the probability by 1/16 of the distance, as a right shift.
const RATE: u32 = 4;
/// Numbers in unary are below this; a longer one was not written here.
const UNARY_MAX: usize = 64;

impl Default for Context {
    fn default() -> Self {
        Self(1 << 15)
    }
}

impl Context {
    fn code<C: Coder>(&mut self, coder: &mut C, bit: bool) -> bool {
        let found = coder.code(bit, self.0.clamp(1, u16::MAX));
        if found {
            self.0 += (u16::MAX - self.0) >> RATE;
        } else {
            self.0 -= self.0 >> RATE;
        }
        found
    }
}

/// Writes bits.
pub trait CabacWriter<C> {
    /// Writes a bit that is as likely 1 as 0.
    ///
    /// # Errors
    /// The error of the output.
    fn put_bypass(&mut self, bit: bool) -> Result<()>;

    /// Writes a bit by its context.
    ///
    /// # Errors
    /// The error of the output.
    fn put(&mut self, bit: bool, context: &mut C) -> Result<()>;

    /// Writes the end of the message. Nothing may be put after that.
    ///
    /// # Errors
    /// The error of the output.
    fn finish(&mut self) -> Result<()>;

    /// Writes the lowest `count` bits of `bits`, the highest first. Each place has its context; places past the last
    /// context share it.
    ///
    /// # Errors
    /// The error of the output.
    fn put_n_bits<const N: usize>(&mut self, bits: u64, count: usize, contexts: &mut [C; N]) -> Result<()> {
        (0..count).rev().try_for_each(|place| self.put(bits >> place & 1 == 1, &mut contexts[place.min(N - 1)]))
    }

    /// Writes a number below 64 as so many 1 bits and a 0.
    ///
    /// # Errors
    /// The error of the output.
    fn put_unary_encoded<const N: usize>(&mut self, number: usize, contexts: &mut [C; N]) -> Result<()> {
        (0..=number).try_for_each(|place| self.put(place < number, &mut contexts[place.min(N - 1)]))
    }
}

/// Reads what a [`CabacWriter`] wrote. Zeros follow the end of the input.
pub trait CabacReader<C> {
    /// Reads a bit that [`CabacWriter::put_bypass`] wrote.
    ///
    /// # Errors
    /// None here.
    fn get_bypass(&mut self) -> Result<bool>;

    /// Reads a bit by its context.
    ///
    /// # Errors
    /// None here.
    fn get(&mut self, context: &mut C) -> Result<bool>;

    /// Reads `count` bits, at most 64.
    ///
    /// # Errors
    /// More bits than a number has.
    fn get_n_bits<const N: usize>(&mut self, count: usize, contexts: &mut [C; N]) -> Result<u64> {
        if count > 64 {
            return Err(Error::other("more bits than a number has"));
        }
        (0..count).rev().try_fold(0, |bits, place| {
            let bit = self.get(&mut contexts[place.min(N - 1)])?;
            Ok(bits << 1 | u64::from(bit))
        })
    }

    /// Reads a number in unary.
    ///
    /// # Errors
    /// A number that cannot have been written.
    fn get_unary_encoded<const N: usize>(&mut self, contexts: &mut [C; N]) -> Result<usize> {
        for number in 0..UNARY_MAX {
            if !self.get(&mut contexts[number.min(N - 1)])? {
                return Ok(number);
            }
        }
        Err(Error::other("a number that is too long"))
    }
}

/// Writes to `W`; all bytes come at the end.
pub struct AdaptiveWriter<W> {
    coder: Encoder,
    out: W,
}

impl<W: Write> AdaptiveWriter<W> {
    /// A writer to `out`.
    ///
    /// # Errors
    /// None here.
    pub fn new(out: W) -> Result<Self> {
        Ok(Self { coder: Encoder::new(), out })
    }
}

impl<W: Write> CabacWriter<Context> for AdaptiveWriter<W> {
    fn put_bypass(&mut self, bit: bool) -> Result<()> {
        self.coder.code(bit, 1 << 15);
        Ok(())
    }

    fn put(&mut self, bit: bool, context: &mut Context) -> Result<()> {
        context.code(&mut self.coder, bit);
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.out.write_all(&std::mem::take(&mut self.coder).finish())
    }
}

/// Reads from an input that is held in memory.
pub struct AdaptiveReader {
    coder: Decoder<Vec<u8>>,
}

impl AdaptiveReader {
    /// A reader of the whole `input`.
    ///
    /// # Errors
    /// The error of the input.
    pub fn new(mut input: impl Read) -> Result<Self> {
        let mut bytes = Vec::new();
        input.read_to_end(&mut bytes)?;
        Ok(Self { coder: Decoder::new(bytes) })
    }
}

impl CabacReader<Context> for AdaptiveReader {
    fn get_bypass(&mut self) -> Result<bool> {
        Ok(self.coder.code(false, 1 << 15))
    }

    fn get(&mut self, context: &mut Context) -> Result<bool> {
        Ok(context.code(&mut self.coder, false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_and_numbers_come_back() {
        let numbers: Vec<u64> = (0..500).map(|n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (n % 64)).collect();
        let mut bytes = Vec::new();
        let mut writer = AdaptiveWriter::new(&mut bytes).unwrap();
        let (mut lengths, mut places) = ([Context::default(); 8], [Context::default(); 8]);
        for &number in &numbers {
            let bits = 64 - number.leading_zeros() as usize;
            writer.put_unary_encoded(bits % 64, &mut lengths).unwrap();
            writer.put_n_bits(number, bits % 64, &mut places).unwrap();
            writer.put_bypass(number % 3 == 0).unwrap();
        }
        writer.finish().unwrap();
        drop(writer);
        let mut reader = AdaptiveReader::new(bytes.as_slice()).unwrap();
        let (mut lengths, mut places) = ([Context::default(); 8], [Context::default(); 8]);
        for &number in &numbers {
            let bits = reader.get_unary_encoded(&mut lengths).unwrap();
            assert_eq!(bits, (64 - number.leading_zeros() as usize) % 64);
            let mask = (1u64 << bits) - 1;
            assert_eq!(reader.get_n_bits(bits, &mut places).unwrap(), number & mask);
            assert_eq!(reader.get_bypass().unwrap(), number % 3 == 0);
        }
    }

    #[test]
    fn hostile_input_ends_in_an_error() {
        let mut reader = AdaptiveReader::new(&[][..]).unwrap();
        let mut contexts = [Context::default(); 4];
        // Zeros read as 1 bits without end.
        assert!(reader.get_unary_encoded(&mut contexts).is_err());
        assert!(reader.get_n_bits(65, &mut contexts).is_err());
    }
}
