//! A VCDIFF file (RFC 3284, section 4) read as windows, with a cap on everything.
//!
//! xdelta3 adds two things to the RFC: the application header (bit 2 of the header indicator) and the Adler-32 of a
//! window's target (bit 2 of the window indicator).

use std::io::{self, Read};

use lighter_types::Bytes;

use crate::error::{Feature, VcdiffError};
use crate::window::{Origin, Window};

const MAGIC: [u8; 4] = [0xd6, 0xc3, 0xc4, 0x00];
/// Header indicator: a secondary compressor is named.
const SECONDARY: u8 = 1;
/// Header indicator: a code table of the file's own.
const CODE_TABLE: u8 = 2;
/// Header indicator, xdelta3: an application header.
const APPLICATION_HEADER: u8 = 4;
/// Window indicator: the origin is a range of the source file.
const SOURCE: u8 = 1;
/// Window indicator: the origin is a range of the target file.
const TARGET: u8 = 2;
/// Window indicator, xdelta3: an Adler-32 of the target follows the lengths.
const ADLER32: u8 = 4;

/// Limits of what a file may ask for.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The whole target.
    pub target_bytes_max: Bytes,
    /// One window's target, and about that much for each of its three sections. xdelta3 itself refuses more than
    /// 16 MiB (`XD3_HARDMAXWINSIZE`).
    pub window_bytes_max: Bytes,
    /// How much of the target is kept in memory for windows that copy from the target before them (`VCD_TARGET`).
    /// xdelta3 never writes such windows. A file with such windows and a longer target is refused.
    pub history_bytes_max: Bytes,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            target_bytes_max: Bytes::GIB.times(64),
            window_bytes_max: Bytes::MIB.times(16),
            history_bytes_max: Bytes::MIB.times(16),
        }
    }
}

/// Reads windows off a file, one after the other.
pub struct FileReader<'a> {
    input: &'a mut dyn Read,
    limits: Limits,
    /// How many windows the reader has begun.
    windows: u64,
    /// How many bytes of the current window are unread, by its stated length. `u64::MAX` between windows.
    left: u64,
}

impl<'a> FileReader<'a> {
    /// Reads the file's header.
    pub fn open(input: &'a mut dyn Read, limits: Limits) -> Result<Self, VcdiffError> {
        let mut reader = Self { input, limits, windows: 0, left: u64::MAX };
        let mut found = [0; 4];
        reader.input.read_exact(&mut found).map_err(VcdiffError::Input)?;
        if found != MAGIC {
            return Err(VcdiffError::Magic { found });
        }
        let indicator = reader.byte()?;
        if indicator & CODE_TABLE != 0 {
            return Err(VcdiffError::Unsupported(Feature::OwnCodeTable));
        }
        if indicator & SECONDARY != 0 {
            return Err(VcdiffError::Unsupported(Feature::SecondaryCompression));
        }
        if indicator & !APPLICATION_HEADER != 0 {
            return Err(VcdiffError::Unsupported(Feature::UnknownHeaderFlag));
        }
        if indicator & APPLICATION_HEADER != 0 {
            let bytes = reader.number()?;
            reader.check("an application header", bytes, Bytes(64 << 10))?;
            let copied =
                io::copy(&mut (&mut *reader.input).take(bytes), &mut io::sink()).map_err(VcdiffError::Input)?;
            if copied != bytes {
                return Err(VcdiffError::Input(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        Ok(reader)
    }

    /// The number of the window read last, from 0.
    pub fn window_number(&self) -> u64 {
        self.windows.saturating_sub(1)
    }

    /// The next window, or `None` at the end of the file.
    pub fn next_window(&mut self) -> Result<Option<Window>, VcdiffError> {
        let mut indicator = [0];
        self.left = u64::MAX;
        loop {
            match self.input.read(&mut indicator) {
                Ok(0) => return Ok(None),
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(VcdiffError::Input(error)),
            }
        }
        self.windows += 1;
        let origin = self.origin(indicator[0])?;
        self.left = self.number()?;
        let window_max = self.limits.window_bytes_max;
        let target_bytes = self.number()?;
        self.check("a target", target_bytes, window_max)?;
        if self.byte()? != 0 {
            return Err(self.damaged("compressed sections, and no secondary compressor in the header"));
        }
        let lengths = [self.number()?, self.number()?, self.number()?];
        let adler32 = if indicator[0] & ADLER32 == 0 { None } else { Some(u32::from_be_bytes(self.array()?)) };
        // The widest instruction that appends a byte takes 10 bytes; tools write far less than one byte a byte.
        let section_max = Bytes(window_max.0.saturating_add(64 << 10));
        let mut sections = [const { Vec::new() }; 3];
        for (section, bytes) in sections.iter_mut().zip(lengths) {
            self.check("a section", bytes, section_max)?;
            *section = self.bytes(bytes)?;
        }
        if self.left != 0 {
            return Err(self.damaged("its length is not the sum of its parts"));
        }
        let [data, instructions, addresses] = sections;
        Ok(Some(Window { origin, target_bytes, adler32, data, instructions, addresses }))
    }

    fn origin(&mut self, indicator: u8) -> Result<Origin, VcdiffError> {
        if indicator & !(SOURCE | TARGET | ADLER32) != 0 {
            return Err(VcdiffError::Unsupported(Feature::UnknownWindowFlag));
        }
        if indicator & (SOURCE | TARGET) == 0 {
            return Ok(Origin::Nothing);
        }
        let (bytes, offset) = (self.number()?, self.number()?);
        if offset.checked_add(bytes).is_none_or(|end| end > i64::MAX as u64) {
            return Err(self.damaged("a source range past 2^63"));
        }
        match indicator & (SOURCE | TARGET) {
            SOURCE => Ok(Origin::Base { offset, bytes }),
            TARGET => Ok(Origin::Target { offset, bytes }),
            _ => Err(self.damaged("both a source and a target range")),
        }
    }

    pub fn damaged(&self, what: &'static str) -> VcdiffError {
        VcdiffError::Damaged { window: self.window_number(), what }
    }

    pub fn check(&self, what: &'static str, found: u64, limit: Bytes) -> Result<(), VcdiffError> {
        if found <= limit.0 {
            return Ok(());
        }
        Err(VcdiffError::Limit { window: self.window_number(), what, found: Bytes(found), limit })
    }

    /// Bytes of a checked length. The buffer grows as they arrive.
    fn bytes(&mut self, bytes: u64) -> Result<Vec<u8>, VcdiffError> {
        self.spend(bytes)?;
        let mut out = Vec::new();
        (&mut *self.input).take(bytes).read_to_end(&mut out).map_err(VcdiffError::Input)?;
        if out.len() as u64 != bytes {
            return Err(VcdiffError::Input(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(out)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], VcdiffError> {
        self.spend(N as u64)?;
        let mut out = [0; N];
        self.input.read_exact(&mut out).map_err(VcdiffError::Input)?;
        Ok(out)
    }

    fn byte(&mut self) -> Result<u8, VcdiffError> {
        Ok(self.array::<1>()?[0])
    }

    fn number(&mut self) -> Result<u64, VcdiffError> {
        let mut value = 0u64;
        loop {
            let byte = self.byte()?;
            if value >> 57 != 0 {
                return Err(self.damaged("a number of more than 64 bits"));
            }
            value = value << 7 | u64::from(byte & 0x7f);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
    }

    /// Counts bytes against the window's stated length.
    fn spend(&mut self, bytes: u64) -> Result<(), VcdiffError> {
        if self.left == u64::MAX {
            return Ok(());
        }
        self.left = self.left.checked_sub(bytes).ok_or_else(|| self.damaged("its parts are longer than its length"))?;
        Ok(())
    }
}
