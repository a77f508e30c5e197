//! The elements of fatbins: code for graphics processors, which CUDA's compiler keeps in the executables of the host.
//!
//! NVIDIA has published no description. The files show this: an executable has a section `.nv_fatbin` with containers,
//! one behind the other. A container is a header of 16 bytes (its magic, a version of 2 bytes, its own length of 2, the
//! length of all its elements of 8), then elements. An element is a header and a payload. The payload is a small ELF
//! file (kind 2) or a text (kind 1), and mostly an LZ4 block of it ([`super::lz4`]). Elements of other kinds have other
//! headers behind the lengths; nothing is done with them.

use super::lz4;
use super::stream::{Compression, Decompressed};

/// The longest content that is decompressed.
pub const PLAIN_BYTES_MAX: usize = 10 << 20;

const CONTAINER_MAGIC: u32 = 0xba55_ed50;
pub const CONTAINER_HEADER_BYTES: usize = 16;
/// So much of an element's header is read.
pub const HEADER_BYTES: usize = 64;
const HEADER_BYTES_MAX: u32 = 1 << 10;
const ELEMENT_MARK: u16 = 0x0101;
const KINDS: [u16; 2] = [1, 2];
/// The flag of a payload that is an LZ4 block.
const IS_LZ4: u64 = 0x2000;

/// The header of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element {
    pub header_bytes: u64,
    /// The length of the LZ4 block behind the header; `None` if the payload is none.
    pub block_bytes: Option<u64>,
    /// The length of the block's content, as stated.
    pub plain_bytes: u64,
    /// From the start of the header to the next element.
    pub bytes: u64,
    /// The processor that the code is for.
    pub processor: u32,
}

/// The lengths of a container's header and of all its elements.
pub fn container(header: &[u8; CONTAINER_HEADER_BYTES]) -> Option<(u64, u64)> {
    let is_one = number::<4>(header, 0) == Some(u64::from(CONTAINER_MAGIC));
    is_one.then_some((number::<2>(header, 6)?, number::<8>(header, 8)?))
}

/// The element that begins with these bytes.
pub fn element(header: &[u8]) -> Option<Element> {
    let [kind, mark] = [number::<2>(header, 0)?, number::<2>(header, 2)?];
    let header_bytes = number::<4>(header, 4)?;
    let is_one =
        mark == u64::from(ELEMENT_MARK) && (HEADER_BYTES as u64..=u64::from(HEADER_BYTES_MAX)).contains(&header_bytes);
    let payload_bytes = number::<8>(header, 8)?;
    let block_bytes = number::<4>(header, 16)?;
    let is_lz4 = KINDS.contains(&(kind as u16)) && number::<8>(header, 40)? & IS_LZ4 != 0;
    let is_block = is_lz4 && block_bytes <= payload_bytes;
    let bytes = header_bytes.checked_add(payload_bytes)?;
    let element = Element {
        header_bytes,
        block_bytes: is_block.then_some(block_bytes),
        plain_bytes: number::<8>(header, 56)?,
        bytes,
        processor: number::<4>(header, 28)? as u32,
    };
    is_one.then_some(element)
}

/// Whether these bytes begin as an element with an LZ4 block.
pub fn is_compressed(bytes: &[u8]) -> bool {
    element(bytes).is_some_and(|element| element.block_bytes.is_some())
}

/// The content of the element that `bytes` begins with, and the lengths of its header and its block. `None` if it is
/// damaged, or its content longer than `plain_bytes_max`.
pub fn content(bytes: &[u8], plain_bytes_max: usize) -> Option<(Vec<u8>, usize, usize)> {
    let element = element(bytes)?;
    let (header_bytes, block_bytes) = (element.header_bytes as usize, element.block_bytes? as usize);
    let block = bytes.get(header_bytes..)?.get(..block_bytes)?;
    let plain_bytes = usize::try_from(element.plain_bytes).ok().filter(|&bytes| bytes <= plain_bytes_max)?;
    Some((lz4::content(block, plain_bytes)?, header_bytes, block_bytes))
}

/// Decompresses the element that `bytes` begins with.
pub fn decompress(bytes: &[u8]) -> Option<Decompressed> {
    let (plain, start, block_bytes) = content(bytes, PLAIN_BYTES_MAX).filter(|(plain, ..)| !plain.is_empty())?;
    let is_same = lz4::compress(&plain) == bytes[start..start + block_bytes];
    is_same.then_some(Decompressed {
        compression: Compression::Lz4,
        plain,
        corrections: Vec::new(),
        start,
        bytes: block_bytes,
    })
}

fn number<const BYTES: usize>(header: &[u8], at: usize) -> Option<u64> {
    let bytes = header.get(at..at + BYTES)?;
    Some(bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
}
