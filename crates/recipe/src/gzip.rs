//! The headers of gzip members (RFC 1952, section 2.3): only where they end. Their bytes are kept as they are.

/// The longest header that a recipe keeps.
pub const HEADER_BYTES_MAX: usize = 128 << 10;
/// CRC-32 and length, behind each member.
pub const TRAILER_BYTES: usize = 8;

const EXTRA: u8 = 4;
const NAME: u8 = 8;
const COMMENT: u8 = 16;
const HEADER_CRC: u8 = 2;

/// A header at the beginning of bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Header {
    /// It has so many bytes.
    Bytes(usize),
    /// It does not end within the bytes.
    Unfinished,
    /// The bytes are no gzip member.
    Absent,
}

/// Looks at the header that `bytes` begin with.
pub fn header(bytes: &[u8]) -> Header {
    if !bytes.starts_with(&[0x1f, 0x8b, 8]) {
        return Header::Absent;
    }
    let Some(&flags) = bytes.get(3) else { return Header::Unfinished };
    let mut at = Some(10);
    if flags & EXTRA != 0 {
        at = at.and_then(|at| {
            let length: [u8; 2] = bytes.get(at..at + 2)?.try_into().ok()?;
            Some(at + 2 + usize::from(u16::from_le_bytes(length)))
        });
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            at = at.and_then(|at| Some(at + 1 + bytes.get(at..)?.iter().position(|&byte| byte == 0)?));
        }
    }
    if flags & HEADER_CRC != 0 {
        at = at.map(|at| at + 2);
    }
    at.filter(|&at| at <= bytes.len()).map_or(Header::Unfinished, Header::Bytes)
}

/// The trailer of a member with this content, as RFC 1952 wants it.
pub fn trailer(crc: &flate2::Crc) -> [u8; TRAILER_BYTES] {
    let mut trailer = [0; TRAILER_BYTES];
    trailer[..4].copy_from_slice(&crc.sum().to_le_bytes());
    trailer[4..].copy_from_slice(&crc.amount().to_le_bytes());
    trailer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_ends_where_the_rfc_says() {
        let plain = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1, 2, 3];
        assert_eq!(header(&plain), Header::Bytes(10));
        let mut whole = vec![0x1f, 0x8b, 8, EXTRA | NAME | COMMENT | HEADER_CRC, 0, 0, 0, 0, 0, 3];
        whole.extend(b"\x03\x00abcname\0comment\0CC");
        assert_eq!(header(&whole), Header::Bytes(whole.len()));
        (3..whole.len()).for_each(|length| assert_eq!(header(&whole[..length]), Header::Unfinished, "{length}"));
        assert_eq!(header(b"\x28\xb5\x2f\xfd"), Header::Absent);
        assert_eq!(header(b"\x1f\x8b"), Header::Absent);
    }
}
