//! One 512-byte tar header: ustar, GNU and V7.
//!
//! | offset | size | field | | offset | size | field |
//! |---|---|---|---|---|---|---|
//! | 0 | 100 | name | | 157 | 100 | link name |
//! | 124 | 12 | size | | 257 | 8 | magic and version |
//! | 148 | 8 | checksum | | 345 | 155 | prefix (ustar only) |
//! | 156 | 1 | type flag | | 482 | 1 | more sparse map (GNU `S`) |

use super::EntryKind;

/// In a block that continues a sparse map: whether another follows.
pub(super) const SPARSE_MORE_IN_MAP: usize = 504;
const SPARSE_MORE_IN_HEADER: usize = 482;

/// The meaning of one header for the bytes behind it: enough to tell contents from the rest while a tar streams by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderBlock {
    /// Content of what is unpacked; otherwise names and records about other entries (GNU `L` and `K`, pax `x` and `g`).
    pub is_entry: bool,
    /// Length of what is stored behind it, without padding: 0 for links, folders and devices.
    pub stored_bytes: u64,
}

/// Reads a block as a ustar or GNU header, without the pax records and long names around it. `None` if it is none: no
/// `ustar` magic, a wrong checksum, or a size that is no number.
pub fn header_block(block: &[u8; 512]) -> Option<HeaderBlock> {
    if &block[MAGIC..MAGIC + 5] != b"ustar" {
        return None;
    }
    let header = Header::new(*block)?;
    let size = header.size()?;
    Some(match header.type_flag() {
        b'L' | b'K' | b'x' | b'g' => HeaderBlock { is_entry: false, stored_bytes: size },
        _ => HeaderBlock { is_entry: true, stored_bytes: if header.kind(b"", false).has_content() { size } else { 0 } },
    })
}

/// Where `ustar` stands in a header.
const MAGIC: usize = 257;

/// A header whose checksum is right.
pub(super) struct Header([u8; 512]);

impl Header {
    /// `None` if the checksum is wrong: of unsigned bytes, or of signed ones as some old programs wrote.
    pub(super) fn new(block: [u8; 512]) -> Option<Self> {
        let stored = number(&block[148..156])?;
        let mut summed = block;
        summed[148..156].fill(b' ');
        let unsigned: u64 = summed.into_iter().map(u64::from).sum();
        let signed: i64 = summed.into_iter().map(|byte| i64::from(byte.cast_signed())).sum();
        (stored == unsigned || i64::try_from(stored) == Ok(signed)).then_some(Self(block))
    }

    pub(super) fn type_flag(&self) -> u8 {
        self.0[156]
    }

    pub(super) fn size(&self) -> Option<u64> {
        number(&self.0[124..136])
    }

    pub(super) fn path(&self) -> Vec<u8> {
        let name = text(&self.0[..100]);
        let prefix = if &self.0[257..263] == b"ustar\0" { text(&self.0[345..500]) } else { b"" };
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }

    pub(super) fn link(&self) -> Vec<u8> {
        text(&self.0[157..257]).to_vec()
    }

    /// Whether blocks of a sparse map follow this header.
    pub(super) fn has_sparse_extension(&self) -> bool {
        self.type_flag() == b'S' && self.0[SPARSE_MORE_IN_HEADER] != 0
    }

    /// `path` is the entry's whole path; V7 marks a folder by a slash at its end.
    pub(super) fn kind(&self, path: &[u8], is_pax_sparse: bool) -> EntryKind {
        match self.type_flag() {
            b'0' | 0 | b'7' if is_pax_sparse => EntryKind::SparseFile,
            b'0' | 0 if path.ends_with(b"/") => EntryKind::Folder,
            b'0' | 0 | b'7' => EntryKind::File,
            b'1' => EntryKind::HardLink,
            b'2' => EntryKind::SymbolicLink,
            b'3' => EntryKind::CharacterDevice,
            b'4' => EntryKind::BlockDevice,
            b'5' => EntryKind::Folder,
            b'6' => EntryKind::Fifo,
            b'S' => EntryKind::SparseFile,
            b'g' => EntryKind::GlobalHeader,
            other => EntryKind::Other(other),
        }
    }
}

/// Up to the first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// Octal digits with spaces around and a NUL, or, with the top bit set, a big-endian number (GNU). Empty is 0.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let mut value = u64::from(field[0] & 0x7f);
        for &byte in &field[1..] {
            value = value.checked_mul(256)? | u64::from(byte);
        }
        return Some(value);
    }
    let digits = text(field).trim_ascii();
    digits.iter().try_fold(0u64, |value, &digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}
