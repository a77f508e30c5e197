//! One VCDIFF window (RFC 3284, sections 4.3 and 5): its sections, read as instructions.

use lighter_coder::varint;

use crate::code_table::{Address, AddressCache, CODE_TABLE, Half, Kind, is_byte_mode};

/// The meaning of the front part of a window's address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nothing: copies are from the window itself only.
    Nothing,
    /// A range of the base (`VCD_SOURCE`).
    Base { offset: u64, bytes: u64 },
    /// A range of the target before this window (`VCD_TARGET`).
    Target { offset: u64, bytes: u64 },
}

impl Origin {
    /// Length of the range: the addresses from there on are in the window itself.
    pub fn bytes(&self) -> u64 {
        match *self {
            Self::Nothing => 0,
            Self::Base { bytes, .. } | Self::Target { bytes, .. } => bytes,
        }
    }
}

/// A window as the file has it.
#[derive(Debug)]
pub struct Window {
    pub origin: Origin,
    pub target_bytes: u64,
    /// The checksum of the window's target bytes.
    pub adler32: Option<u32>,
    /// Literals.
    pub data: Vec<u8>,
    /// Instruction codes and sizes.
    pub instructions: Vec<u8>,
    /// Addresses of copies.
    pub addresses: Vec<u8>,
}

/// An instruction, which appends to a window's target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instruction<'a> {
    /// These bytes.
    Add(&'a [u8]),
    /// One byte, so many times.
    Run { byte: u8, bytes: u64 },
    /// Bytes from `address` on, which counts the origin's bytes and then the window's own.
    Copy { address: u64, bytes: u64 },
}

impl Window {
    /// Calls `act` with each instruction in order, and with the position in the window's target where it appends. Every
    /// instruction is checked: none goes past `target_bytes`, and a copy begins before the position where it appends.
    ///
    /// # Errors
    /// Damaged sections, or the error of `act`.
    pub fn for_each<'a, E: From<&'static str>>(
        &'a self,
        mut act: impl FnMut(u64, Instruction<'a>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut reader = Reader {
            origin_bytes: self.origin.bytes(),
            data: &self.data,
            instructions: &self.instructions,
            addresses: &self.addresses,
            cache: AddressCache::new(),
        };
        let mut position = 0u64;
        while let Some((&code, rest)) = reader.instructions.split_first() {
            reader.instructions = rest;
            for half in CODE_TABLE[usize::from(code)] {
                let Some((instruction, bytes)) = reader.read(half, position, self.target_bytes)? else { continue };
                act(position, instruction)?;
                position += bytes;
            }
        }
        if position != self.target_bytes {
            return Err("its instructions end before its target does".into());
        }
        if !reader.data.is_empty() || !reader.addresses.is_empty() {
            return Err("it has data or addresses that no instruction uses".into());
        }
        Ok(())
    }
}

struct Reader<'a> {
    origin_bytes: u64,
    data: &'a [u8],
    instructions: &'a [u8],
    addresses: &'a [u8],
    cache: AddressCache,
}

impl<'a> Reader<'a> {
    /// The instruction of half a code and its length. `None` for a half that stands for nothing, or for no bytes.
    fn read(
        &mut self,
        half: Half,
        position: u64,
        target_bytes: u64,
    ) -> Result<Option<(Instruction<'a>, u64)>, &'static str> {
        if half.kind == Kind::Nothing {
            return Ok(None);
        }
        let bytes = match half.size {
            0 => varint::get(&mut self.instructions).ok_or("its instructions end within a size")?,
            size => size.into(),
        };
        if bytes > target_bytes - position {
            return Err("an instruction goes past its target's end");
        }
        let instruction = match half.kind {
            Kind::Nothing => return Ok(None),
            Kind::Add => {
                let literals = self.data.split_at_checked(bytes as usize).ok_or("its data end within an add")?;
                self.data = literals.1;
                Instruction::Add(literals.0)
            }
            Kind::Run => {
                let (&byte, rest) = self.data.split_first().ok_or("its data end before a run")?;
                self.data = rest;
                Instruction::Run { byte, bytes }
            }
            Kind::Copy(mode) => Instruction::Copy { address: self.address(mode, position)?, bytes },
        };
        Ok((bytes > 0).then_some((instruction, bytes)))
    }

    fn address(&mut self, mode: u8, position: u64) -> Result<u64, &'static str> {
        const SHORT: &str = "its addresses end before its copies do";
        let address = if is_byte_mode(mode) {
            let (&byte, rest) = self.addresses.split_first().ok_or(SHORT)?;
            self.addresses = rest;
            Address::Byte(mode, byte)
        } else {
            Address::Number(mode, varint::get(&mut self.addresses).ok_or(SHORT)?)
        };
        let here = self.origin_bytes.checked_add(position).ok_or("its source range is too long")?;
        self.cache.decode(&address, here).ok_or("a copy from an address that is not written yet")
    }
}
