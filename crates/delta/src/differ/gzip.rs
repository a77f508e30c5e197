//! The header of a gzip member, behind which its deflate stream begins.

/// The length of a gzip member's header (RFC 1952, section 2.3); `None` if this is no gzip member.
pub fn header_bytes(content: &[u8]) -> Option<usize> {
    let flags = *content.get(3).filter(|_| content.starts_with(&[0x1f, 0x8b, 8]))?;
    let mut end = 10;
    if flags & 4 != 0 {
        let length: [u8; 2] = content.get(end..end + 2)?.try_into().ok()?;
        end += 2 + usize::from(u16::from_le_bytes(length));
    }
    for flag in [8, 16] {
        if flags & flag != 0 {
            end += content.get(end..)?.iter().position(|&byte| byte == 0)? + 1;
        }
    }
    if flags & 2 != 0 {
        end += 2;
    }
    (end < content.len()).then_some(end)
}
