//! One ustar entry from its parts: what tests and measurements build their tars of.

use crate::BLOCK_BYTES;

/// A header, `content` and its padding, with mode 0644 and everything else zero. `path` and `link` are cut at 100
/// bytes.
pub fn entry(path: &str, type_flag: u8, content: &[u8], link: &str) -> Vec<u8> {
    let mut block = [0u8; BLOCK_BYTES as usize];
    put(&mut block[..100], path.as_bytes());
    put(&mut block[100..108], b"0000644\0");
    put(&mut block[124..136], format!("{:011o}\0", content.len()).as_bytes());
    block[156] = type_flag;
    put(&mut block[157..257], link.as_bytes());
    put(&mut block[257..265], b"ustar\x0000");
    seal(&mut block);
    let mut entry = block.to_vec();
    entry.extend(content);
    entry.resize(entry.len().next_multiple_of(BLOCK_BYTES as usize), 0);
    entry
}

/// Puts a text into a field, as far as it fits.
fn put(field: &mut [u8], text: &[u8]) {
    field.iter_mut().zip(text).for_each(|(to, &from)| *to = from);
}

/// Puts the right checksum into a header: a block of [`BLOCK_BYTES`].
pub fn seal(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}
