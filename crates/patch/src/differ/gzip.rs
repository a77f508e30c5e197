//! Contents that are gzip members.

use std::io;

use crate::delta::{self, Apart, MATERIAL_BYTES_MAX};

use super::files::Entry;
use super::steps::Layers;

/// Content of a deflate stream that fits a frame with its stream and its sources.
pub(super) const PLAIN_BYTES_MAX: usize = (MATERIAL_BYTES_MAX / 4) as usize;
/// Takes apart a content that is a gzip member, if that can be undone.
pub(super) fn take_apart(layers: &Layers<'_>, entry: &Entry) -> io::Result<Option<(u64, Apart)>> {
    if entry.content_bytes < 64 || entry.content_bytes > PLAIN_BYTES_MAX as u64 {
        return Ok(None);
    }
    let mut magic = [0; 3];
    layers.target.read_exact_at(&mut magic, entry.content)?;
    if magic != [0x1f, 0x8b, 8] {
        return Ok(None);
    }
    let content = layers.read_target(entry.content..entry.content + entry.content_bytes)?;
    let Some(start) = gzip_header_bytes(&content) else { return Ok(None) };
    Ok(delta::apart(&content[start..], PLAIN_BYTES_MAX).map(|apart| (start as u64, apart)))
}

/// The length of a gzip member's header (RFC 1952, section 2.3), if that is one.
pub(super) fn gzip_header_bytes(content: &[u8]) -> Option<usize> {
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
