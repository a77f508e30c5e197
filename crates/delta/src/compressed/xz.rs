//! The first block of an xz file: decompressed, and recompressed to exactly the same bytes.
//!
//! Only liblzma writes what liblzma wrote, so [`decompress`] tries liblzma's presets, and begins with those that have
//! the file's dictionary size. Source: The .xz File Format 1.2.1, sections 2.1.1 (stream header), 3.1 (block header)
//! and 5.3.1 (LZMA2). The bytes around the block's data (headers, check, index) are matched like any bytes, whatever
//! program wrote them.
//!
//! lzma-rust2 reads; liblzma writes, since no port writes the same bytes. liblzma takes 15 MiB for a content of 1 MiB.
//! With presets 4 and up it searches trees, and a dictionary as large as the content gives the same bytes as a larger
//! one. With presets 0 to 3 it follows a limited number of candidates in a chain, and the size of its table changes the
//! result, so the dictionary is the file's.

use std::io::{self, Read, Write};
use std::ops::Range;

use liblzma::stream::{Filters, LzmaOptions, PRESET_EXTREME, Stream};
use liblzma::write::XzEncoder;
use lzma_rust2::Lzma2Reader;

use super::stream::{Compression, Decompressed};

/// Longest content, for the encoder's memory.
const PLAIN_BYTES_MAX: usize = 1 << 20;

const MAGIC: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0];
const STREAM_HEADER_BYTES: usize = 12;
const LZMA2: u64 = 0x21;

/// Presets that differ in more than the dictionary. Corrections are the dictionary's code and an index into this list.
const PRESETS: [u32; 9] = [6, 0, 1, 2, 3, 4, 5, 5 | PRESET_EXTREME, 6 | PRESET_EXTREME];
/// The presets that follow chains, as indices, and their largest dictionary.
const WITH_CHAINS: Range<u8> = 1..5;
const CHAINS_DICTIONARY_BYTES_MAX: usize = 4 << 20;

/// Whether these bytes begin as an xz file.
pub fn is_xz(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// The data of a file's first block.
pub struct Block {
    /// Where it stands in the file.
    pub stream: Range<usize>,
    pub plain: Vec<u8>,
    /// The code of its dictionary's size in the file.
    dictionary: u8,
}

/// The first block of the xz file that `xz` begins with; `None` if it is damaged, filtered, or holds more than
/// `plain_bytes_max`.
pub fn content(xz: &[u8], plain_bytes_max: usize) -> Option<Block> {
    let plain_bytes_max = plain_bytes_max.min(PLAIN_BYTES_MAX);
    let (start, dictionary) = block_header(xz)?;
    let mut rest = &xz[start..];
    // No content is longer than this, so this dictionary serves as well as a larger one.
    let dictionary_bytes = dictionary_bytes(dictionary).min(PLAIN_BYTES_MAX as u32);
    let mut plain = Vec::new();
    let mut reader = Lzma2Reader::new(&mut rest, dictionary_bytes, None).take(plain_bytes_max as u64 + 1);
    reader.read_to_end(&mut plain).ok()?;
    let end = xz.len() - rest.len();
    (plain.len() <= plain_bytes_max).then_some(Block { stream: start..end, plain, dictionary })
}

/// Decompresses the first block of the xz file that `xz` begins with.
pub fn decompress(xz: &[u8], plain_bytes_max: usize) -> Option<Decompressed> {
    let Block { stream, plain, dictionary } = content(xz, plain_bytes_max).filter(|block| !block.plain.is_empty())?;
    let enough = (0..dictionary).find(|&code| dictionary_bytes(code) as usize >= plain.len()).unwrap_or(dictionary);
    let dictionary_of = |preset| if WITH_CHAINS.contains(&preset) { dictionary } else { enough };
    let is_same = |&preset: &u8| {
        let left = encode(&plain, dictionary_of(preset), preset, Same(&xz[stream.clone()]));
        left.is_some_and(|Same(left)| left.is_empty())
    };
    let preset = likely(dictionary).into_iter().find(is_same)?;
    let corrections = vec![dictionary_of(preset), preset];
    Some(Decompressed { compression: Compression::Xz, plain, corrections, start: stream.start, bytes: stream.len() })
}

/// Recompresses a content with its corrections; `None` if these are nonsense.
pub fn recompress(plain: &[u8], corrections: &[u8]) -> Option<Vec<u8>> {
    let &[dictionary, preset] = corrections else { return None };
    if plain.len() > PLAIN_BYTES_MAX { None } else { encode(plain, dictionary, preset, Vec::new()) }
}

fn encode<W: Write>(plain: &[u8], dictionary: u8, preset: u8, out: W) -> Option<W> {
    let mut options = LzmaOptions::new_preset(*PRESETS.get(usize::from(preset))?).ok()?;
    let most = if WITH_CHAINS.contains(&preset) { CHAINS_DICTIONARY_BYTES_MAX } else { PLAIN_BYTES_MAX };
    options.dict_size(Some(dictionary_bytes(dictionary)).filter(|&bytes| bytes as usize <= most)?);
    let mut filters = Filters::new();
    filters.lzma2(&options);
    let mut encoder = XzEncoder::new_stream(out, Stream::new_raw_encoder(&filters).ok()?);
    encoder.write_all(plain).ok()?;
    encoder.finish().ok()
}

/// The presets, as indices, that may have made a file with this dictionary.
fn likely(dictionary: u8) -> Vec<u8> {
    let of_its_dictionary: &[u8] = match dictionary_bytes(dictionary) >> 18 {
        1 => &[1],
        4 => &[2],
        8 => &[3],
        16 => &[5, 4, 7],
        32 => &[0, 6, 8, 7],
        _ => &[],
    };
    let mut presets = of_its_dictionary.to_vec();
    presets.extend([0, 8].iter().filter(|preset| !of_its_dictionary.contains(preset)));
    presets
}

/// The offset of the first block's data, and the code of its dictionary's size.
fn block_header(xz: &[u8]) -> Option<(usize, u8)> {
    let mut header = xz.get(STREAM_HEADER_BYTES..).filter(|_| is_xz(xz))?;
    let header_bytes = (usize::from(*header.first().filter(|&&size| size > 0)?) + 1) * 4;
    header = header.get(1..header_bytes)?;
    let flags = take(&mut header)?;
    // One filter, and no reserved bit.
    if flags & 0x3f != 0 {
        return None;
    }
    for flag in [0x40, 0x80] {
        if flags & flag != 0 {
            number(&mut header)?;
        }
    }
    let (filter, properties) = (number(&mut header)?, number(&mut header)?);
    let dictionary = take(&mut header)?;
    let is_lzma2 = filter == LZMA2 && properties == 1 && dictionary <= 40;
    is_lzma2.then_some((STREAM_HEADER_BYTES + header_bytes, dictionary))
}

fn take(rest: &mut &[u8]) -> Option<u8> {
    let (&byte, after) = rest.split_first()?;
    *rest = after;
    Some(byte)
}

/// A number of up to nine bytes, seven bits in each, the least significant first (section 1.2).
fn number(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for place in 0..9 {
        let byte = take(rest)?;
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn dictionary_bytes(code: u8) -> u32 {
    if code >= 40 { u32::MAX } else { (2 | u32::from(code & 1)) << (code / 2 + 11) }
}

/// Accepts exactly these bytes, in order.
struct Same<'a>(&'a [u8]);

impl Write for Same<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.strip_prefix(bytes).ok_or(io::ErrorKind::InvalidData)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
