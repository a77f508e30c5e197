//! One section of a VCDIFF frame's payload: a run of bytes of one kind, as they are or compressed by LZMA.
//!
//! LZMA and not zstd, because the sections of a patch are small: on nginx r1 r2, liblzma gives 1,060,321 bytes where
//! zstd -22 gives 1,097,050. The LZMA stream is raw (LZMA SDK specification, "lzma-specification.txt"): no header, no
//! end marker; lc 3, lp 0, pb 0; its dictionary is the section's length, at most [`DICTIONARY_BYTES_MAX`]. Both coders
//! are the pure Rust of lzma-rust2 without its `optimization` feature, which leaves no `unsafe`.

use std::io::{self, Read, Write};

use lzma_rust2::{EncodeMode, LzmaOptions, LzmaReader, LzmaWriter, MfType};

use lighter_coder::varint;

/// Largest dictionary: a decoder holds it while it reads a section.
pub const DICTIONARY_BYTES_MAX: u32 = 8 << 20;

const RAW: u8 = 0;
const LZMA: u8 = 1;
const LC: u32 = 3;
const LP: u32 = 0;
const PB: u32 = 0;

/// Appends the section's descriptor to `head` and its bytes to `body`, in the smaller of the two codings.
pub fn put(head: &mut Vec<u8>, body: &mut Vec<u8>, bytes: &[u8]) -> io::Result<()> {
    let compressed = compress(bytes)?;
    let (coding, coded) = if compressed.len() < bytes.len() { (LZMA, compressed.as_slice()) } else { (RAW, bytes) };
    head.push(coding);
    varint::put(head, bytes.len() as u64);
    if coding == LZMA {
        varint::put(head, coded.len() as u64);
    }
    body.extend_from_slice(coded);
    Ok(())
}

fn compress(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let options = LzmaOptions {
        dict_size: dictionary_bytes(bytes.len()),
        lc: LC,
        lp: LP,
        pb: PB,
        mode: EncodeMode::Normal,
        nice_len: LzmaOptions::NICE_LEN_MAX,
        mf: MfType::Bt4,
        depth_limit: 0,
        preset_dict: None,
    };
    let mut writer = LzmaWriter::new(Vec::new(), &options, false, false, Some(bytes.len() as u64))?;
    writer.write_all(bytes)?;
    writer.finish()
}

fn dictionary_bytes(section_bytes: usize) -> u32 {
    section_bytes.clamp(4096, DICTIONARY_BYTES_MAX as usize) as u32
}

/// The descriptor of a section, in a payload's head.
pub struct Descriptor {
    coding: u8,
    /// Its length once decoded.
    pub bytes: usize,
    coded_bytes: usize,
}

impl Descriptor {
    /// Takes one descriptor off the front of `head`; `bytes_max` is the most that the section may decode to.
    pub fn take(head: &mut &[u8], bytes_max: usize) -> Result<Self, &'static str> {
        const SHORT: &str = "a payload that ends within its head";
        let (&coding, rest) = head.split_first().ok_or(SHORT)?;
        *head = rest;
        let bytes = usize::try_from(varint::get(head).ok_or(SHORT)?).unwrap_or(usize::MAX);
        if bytes > bytes_max {
            return Err("a section larger than its frame allows");
        }
        let coded_bytes = match coding {
            RAW => bytes,
            LZMA => usize::try_from(varint::get(head).ok_or(SHORT)?).unwrap_or(usize::MAX),
            _ => return Err("a section in an unknown coding"),
        };
        Ok(Self { coding, bytes, coded_bytes })
    }

    /// Takes the section's coded bytes off the front of `body`. Allocates its dictionary, if it is compressed.
    pub fn open<'a>(&self, body: &mut &'a [u8]) -> Result<Section<'a>, &'static str> {
        let (coded, rest) = body.split_at_checked(self.coded_bytes).ok_or("a payload that ends within a section")?;
        *body = rest;
        let input = if self.coding == RAW {
            Input::Raw(coded)
        } else {
            let mut reader = LzmaReader::new(coded, self.bytes as u64, LC, LP, PB, dictionary_bytes(self.bytes), None)
                .map_err(|_| DAMAGED)?;
            reader.set_relaxed_end_condition(false);
            Input::Lzma(Box::new(reader))
        };
        Ok(Section { input, left: self.bytes })
    }
}

const DAMAGED: &str = "a damaged LZMA section";

enum Input<'a> {
    Raw(&'a [u8]),
    Lzma(Box<LzmaReader<&'a [u8]>>),
}

/// A section being read, front to back.
pub struct Section<'a> {
    input: Input<'a>,
    left: usize,
}

impl Section<'_> {
    /// Appends the next `bytes` bytes to `out`.
    pub fn read(&mut self, bytes: usize, out: &mut Vec<u8>) -> Result<(), &'static str> {
        if bytes > self.left {
            return Err("a section that ends too early");
        }
        self.left -= bytes;
        let start = out.len();
        out.resize(start + bytes, 0);
        match &mut self.input {
            Input::Raw(input) => input.read_exact(&mut out[start..]),
            Input::Lzma(input) => input.read_exact(&mut out[start..]),
        }
        .map_err(|_| DAMAGED)
    }

    /// Checks that everything was read, of the section and of its coded bytes.
    pub fn finish(self) -> Result<(), &'static str> {
        if self.left != 0 {
            return Err("a section longer than its instructions need");
        }
        match self.input {
            Input::Raw(_) => Ok(()),
            Input::Lzma(reader) => {
                let (rest, buffered) = reader.into_parts();
                if rest.is_empty() && buffered.is_empty() { Ok(()) } else { Err("bytes after an LZMA section") }
            }
        }
    }
}
