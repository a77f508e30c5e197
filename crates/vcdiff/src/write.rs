//! Writes VCDIFF windows (RFC 3284, section 4.3) with the default code table and without checksums.

use std::io::{self, Write};

use lighter_coder::varint;

use crate::code_table::{Address, AddressCache};

/// The header of a file: magic, version 0, no indicator.
pub const FILE_HEADER: [u8; 5] = [0xd6, 0xc3, 0xc4, 0x00, 0x00];
/// RFC 3284, section 5.6: ADD with the size to follow; sizes 1 to 17 are the codes after it.
const ADD: u8 = 1;
const ADD_INLINE_MAX: u64 = 17;
/// COPY in mode 0 with the size to follow; sizes 4 to 18 are the codes after it, and each mode has 16 codes.
const COPY: u8 = 19;
const COPY_INLINE: std::ops::RangeInclusive<u64> = 4..=18;

/// A window being put together.
pub struct WindowWriter {
    /// Range of the base that addresses count from.
    source: (u64, u64),
    target_bytes: u64,
    data: Vec<u8>,
    instructions: Vec<u8>,
    addresses: Vec<u8>,
    cache: AddressCache,
}

impl WindowWriter {
    /// `source` is the offset and length of a range of the base that holds every copy; its length may be 0.
    pub fn new(source: (u64, u64)) -> Self {
        let [data, instructions, addresses] = [const { Vec::new() }; 3];
        Self { source, target_bytes: 0, data, instructions, addresses, cache: AddressCache::new() }
    }

    /// Appends these bytes.
    pub fn add(&mut self, literals: &[u8]) {
        let bytes = literals.len() as u64;
        match bytes {
            0 => return,
            1..=ADD_INLINE_MAX => self.instructions.push(ADD + bytes as u8),
            _ => {
                self.instructions.push(ADD);
                varint::put(&mut self.instructions, bytes);
            }
        }
        self.data.extend_from_slice(literals);
        self.target_bytes += bytes;
    }

    /// Appends a copy from `from` in the base, inside the source range.
    pub fn copy(&mut self, from: u64, bytes: u64) {
        let mode = match self.cache.encode(from - self.source.0, self.source.1 + self.target_bytes) {
            Address::Number(mode, number) => {
                varint::put(&mut self.addresses, number);
                mode
            }
            Address::Byte(mode, byte) => {
                self.addresses.push(byte);
                mode
            }
        };
        let code = COPY + mode * 16;
        if COPY_INLINE.contains(&bytes) {
            self.instructions.push(code + (bytes - 3) as u8);
        } else {
            self.instructions.push(code);
            varint::put(&mut self.instructions, bytes);
        }
        self.target_bytes += bytes;
    }

    /// Writes the window; nothing if its target is empty.
    ///
    /// # Errors
    /// The error of `out`.
    pub fn finish(self, out: &mut dyn Write) -> io::Result<()> {
        if self.target_bytes == 0 {
            return Ok(());
        }
        let mut body = Vec::new();
        varint::put(&mut body, self.target_bytes);
        body.push(0);
        for section in [&self.data, &self.instructions, &self.addresses] {
            varint::put(&mut body, section.len() as u64);
        }
        let sections = self.data.len() + self.instructions.len() + self.addresses.len();
        let mut head = vec![u8::from(self.source.1 > 0)];
        if self.source.1 > 0 {
            varint::put(&mut head, self.source.1);
            varint::put(&mut head, self.source.0);
        }
        varint::put(&mut head, (body.len() + sections) as u64);
        for part in [&head, &body, &self.data, &self.instructions, &self.addresses] {
            out.write_all(part)?;
        }
        Ok(())
    }
}
