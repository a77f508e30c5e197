//! Finds the deflate streams of a zip archive (jar, whl and others) by its central directory.
//!
//! Source: PKWARE's APPNOTE.TXT 6.3.10, sections 4.3.7 (local headers), 4.3.12 (central directory), 4.3.16 (its end).
//! Zip64, encrypted and stored members are bytes like others. A directory that lies only costs matches: a stream is
//! used only if it inflates, and deflates to the same bytes.

use std::io;
use std::ops::Range;

use lighter_types::ReadAt;

/// A deflated member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub name: Vec<u8>,
    pub crc: u64,
    /// Length of its content, as the directory has it.
    pub plain_bytes: u64,
    /// Where its stream stands in the layer.
    pub stream: Range<u64>,
}

/// The longest central directory that is read: some 100,000 members.
const DIRECTORY_BYTES_MAX: u64 = 8 << 20;

const LOCAL_BYTES: usize = 30;
const DIRECTORY_ENTRY_BYTES: usize = 46;
const END_BYTES: usize = 22;
const COMMENT_BYTES_MAX: u64 = 0xffff;
const DEFLATED: u64 = 8;
const ENCRYPTED: u64 = 1;
/// Stands for a number that is in a zip64 record instead.
const ELSEWHERE: u64 = 0xffff_ffff;

/// The deflated members of the zip at `content` of a layer, in the order of their streams; the streams do not overlap.
/// Empty if that is no zip. Holds the central directory, at most 8 MiB.
///
/// # Errors
/// The error of the layer's reader. No content of a zip is an error.
pub fn members(layer: &dyn ReadAt, content: &Range<u64>) -> io::Result<Vec<Member>> {
    let Some(end) = find_end(layer, content)? else { return Ok(Vec::new()) };
    let stated = content.start + end.offset;
    // Bytes before the archive, such as a program that unpacks it, move all of it.
    let Some(moved) = end.directory.start.checked_sub(stated) else { return Ok(Vec::new()) };
    let mut directory = vec![0; (end.directory.end - end.directory.start) as usize];
    layer.read_exact_at(&mut directory, end.directory.start)?;
    let mut members = Vec::new();
    let mut rest = directory.as_slice();
    while let Some((member, local, after)) = entry(rest) {
        rest = after;
        let Some(mut member) = member else { continue };
        let local = content.start + moved + local;
        if local + LOCAL_BYTES as u64 > end.directory.start {
            continue;
        }
        let mut header = [0; LOCAL_BYTES];
        layer.read_exact_at(&mut header, local)?;
        let [name, extra] = [26, 28].map(|at| number(&header, at, 2).unwrap_or(0));
        let start = local + LOCAL_BYTES as u64 + name + extra;
        member.stream = start..start + member.stream.end;
        if header.starts_with(b"PK\x03\x04") && member.stream.end <= end.directory.start {
            members.push(member);
        }
    }
    members.sort_by_key(|member| (member.stream.start, member.stream.end));
    let mut free = 0;
    members.retain(|member| {
        let is_apart = member.stream.start >= free;
        free = free.max(member.stream.end);
        is_apart
    });
    Ok(members)
}

/// The end record of an archive.
struct End {
    /// Where the central directory stands in the layer.
    directory: Range<u64>,
    /// Where the directory begins by the record, from the archive's start.
    offset: u64,
}

fn find_end(layer: &dyn ReadAt, content: &Range<u64>) -> io::Result<Option<End>> {
    let bytes = content.end - content.start;
    if bytes < (LOCAL_BYTES + DIRECTORY_ENTRY_BYTES + END_BYTES) as u64 {
        return Ok(None);
    }
    let tail = |bytes: u64| {
        let mut tail = vec![0; bytes as usize];
        layer.read_exact_at(&mut tail, content.end - bytes).map(|()| tail)
    };
    let last = tail(END_BYTES as u64)?;
    if let Some(end) = end_in(&last, content) {
        return Ok(Some(end));
    }
    // A comment may follow the record. Only contents that begin as a zip are searched for it.
    let mut magic = [0; 4];
    layer.read_exact_at(&mut magic, content.start)?;
    if magic != *b"PK\x03\x04" {
        return Ok(None);
    }
    let tail = tail(bytes.min(END_BYTES as u64 + COMMENT_BYTES_MAX))?;
    Ok((0..tail.len() - END_BYTES).rev().find_map(|at| end_in(&tail[at..], content)))
}

/// The end record at the front of `tail`, the last bytes of `content`, if the record and its comment end with the
/// content.
fn end_in(tail: &[u8], content: &Range<u64>) -> Option<End> {
    let comment = number(tail, 20, 2)?;
    if !tail.starts_with(b"PK\x05\x06") || tail.len() as u64 != END_BYTES as u64 + comment {
        return None;
    }
    let (bytes, offset) = (number(tail, 12, 4)?, number(tail, 16, 4)?);
    let end = content.end - tail.len() as u64;
    let start = end.checked_sub(bytes).filter(|&start| start >= content.start && bytes <= DIRECTORY_BYTES_MAX)?;
    Some(End { directory: start..end, offset })
}

/// The first entry of a directory: the member, if it is deflated, with its stream counted from 0; the stated offset of
/// its local header; the rest of the directory.
fn entry(directory: &[u8]) -> Option<(Option<Member>, u64, &[u8])> {
    if !directory.starts_with(b"PK\x01\x02") {
        return None;
    }
    let [name, extra, comment] =
        [number(directory, 28, 2)?, number(directory, 30, 2)?, number(directory, 32, 2)?].map(|bytes| bytes as usize);
    let name_end = DIRECTORY_ENTRY_BYTES + name;
    let after = directory.get(name_end + extra + comment..)?;
    let name = directory[DIRECTORY_ENTRY_BYTES..name_end].to_vec();
    let (flags, method) = (number(directory, 8, 2)?, number(directory, 10, 2)?);
    let (crc, bytes, plain_bytes) = (number(directory, 16, 4)?, number(directory, 20, 4)?, number(directory, 24, 4)?);
    let local = number(directory, 42, 4)?;
    let is_deflated = method == DEFLATED && flags & ENCRYPTED == 0 && ![bytes, plain_bytes, local].contains(&ELSEWHERE);
    Some((is_deflated.then_some(Member { name, crc, plain_bytes, stream: 0..bytes }), local, after))
}

/// A little-endian number.
fn number(bytes: &[u8], at: usize, count: usize) -> Option<u64> {
    Some(bytes.get(at..at + count)?.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An archive of members whose streams are not looked at here: name, flags, method, stream.
    fn zip(members: &[(&str, u16, u16, &[u8])]) -> Vec<u8> {
        let (mut out, mut directory) = (Vec::new(), Vec::new());
        for (name, flags, method, stream) in members {
            let local = out.len() as u32;
            let mut fields = vec![20, 0];
            fields.extend([flags.to_le_bytes(), method.to_le_bytes(), [0, 0], [0, 0]].concat());
            fields.extend([[7, 0, 0, 0], (<[u8]>::len(stream) as u32).to_le_bytes(), 100u32.to_le_bytes()].concat());
            fields.extend([(name.len() as u16).to_le_bytes(), [0, 0]].concat());
            out.extend([b"PK\x03\x04".as_slice(), &fields, name.as_bytes(), stream].concat());
            directory.extend([b"PK\x01\x02\x14\x00".as_slice(), &fields, &[0; 10]].concat());
            directory.extend([local.to_le_bytes().as_slice(), name.as_bytes()].concat());
        }
        let start = out.len() as u32;
        out.extend(&directory);
        out.extend([b"PK\x05\x06".as_slice(), &[0; 8], &(directory.len() as u32).to_le_bytes()].concat());
        out.extend([start.to_le_bytes().as_slice(), &[0, 0]].concat());
        out
    }

    fn found(layer: &[u8]) -> Vec<(String, Vec<u8>)> {
        let layer = layer.to_vec();
        let members = members(&layer, &(0..layer.len() as u64)).unwrap();
        let shown = |member: &Member| {
            let stream = &layer[member.stream.start as usize..member.stream.end as usize];
            (String::from_utf8_lossy(&member.name).into_owned(), stream.to_vec())
        };
        members.iter().map(shown).collect()
    }

    const TWO: [(&str, u16, u16, &[u8]); 2] = [("a", 0, 8, b"stream of a"), ("long/b", 0, 8, b"stream of b")];

    #[test]
    fn streams_are_found_with_whatever_stands_around_the_archive() {
        let expected = TWO.map(|(name, _, _, stream)| (name.to_owned(), stream.to_vec()));
        let plain = zip(&TWO);
        assert_eq!(found(&plain), expected);
        assert_eq!(found(&[b"#!/bin/sh\n".as_slice(), &plain].concat()), expected);
        let mut commented = plain.clone();
        let count = commented.len();
        commented[count - 2..].copy_from_slice(&5u16.to_le_bytes());
        commented.extend(b"hello");
        assert_eq!(found(&commented), expected);
    }

    #[test]
    fn stored_encrypted_and_zip64_members_are_bytes() {
        assert_eq!(found(&zip(&[("a", 0, 0, b"stored"), ("b", 1, 8, b"secret"), ("c", 0, 12, b"bzip2")])), []);
        let mut zip64 = zip(&TWO);
        let entry = zip64.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
        zip64[entry + 20..entry + 24].fill(0xff);
        assert_eq!(found(&zip64).len(), 1);
    }

    #[test]
    fn members_that_share_bytes_count_once() {
        let mut lying = zip(&TWO);
        let entries: Vec<usize> = (0..lying.len()).filter(|&at| lying[at..].starts_with(b"PK\x01\x02")).collect();
        lying.copy_within(entries[0] + 42..entries[0] + 46, entries[1] + 42);
        assert_eq!(found(&lying), [("a".to_owned(), TWO[0].3.to_vec())]);
    }

    #[test]
    fn false_and_truncated_input_is_survived() {
        let good = zip(&TWO);
        for end in 0..good.len() {
            assert_eq!(found(&good[..end]), [], "{end}");
        }
        for at in 0..good.len() {
            for byte in [0, 0x7f, 0xff] {
                let mut lying = good.clone();
                lying[at] = byte;
                assert!(found(&lying).len() <= 2);
            }
            let mut lying = good.clone();
            lying[at..].iter_mut().take(4).for_each(|byte| *byte = 0xff);
            assert!(found(&lying).len() <= 2);
        }
    }
}
