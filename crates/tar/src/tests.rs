//! Tars of every kind, hostile ones too. Tars of GNU tar and Go are tested in crates/image/tests.
//!
//! The tests build headers by hand: octal and base-256 numbers, long names by pax and by GNU, sparse files, damaged
//! checksums, truncation at every byte.

use std::io::Cursor;

use proptest::prelude::*;

use super::*;

fn walk(bytes: &[u8]) -> (Vec<TarEntry>, Option<String>) {
    let mut tar = TarReader::new(bytes);
    let mut entries = Vec::new();
    loop {
        match tar.next_entry() {
            Ok(Some(entry)) => entries.push(entry),
            Ok(None) => return (entries, None),
            Err(error) => return (entries, Some(error.to_string())),
        }
    }
}

/// The tar must hold these entries, as a stream and as a file: path, kind, link, content bytes.
fn check(bytes: &[u8], expected: &[(&str, EntryKind, &str, u64)]) {
    let (entries, error) = walk(bytes);
    assert_eq!(error, None);
    let shown: Vec<_> =
        entries.iter().map(|entry| (text(&entry.path), entry.kind, text(&entry.link), entry.content_bytes)).collect();
    let expected: Vec<_> = expected.iter().map(|&(path, kind, link, n)| (path.into(), kind, link.into(), n)).collect();
    assert_eq!(shown, expected);
    let mut seekable = TarReader::seekable(Cursor::new(bytes));
    for entry in entries {
        assert_eq!(seekable.next_entry().unwrap(), Some(entry));
    }
    assert!(seekable.next_entry().unwrap().is_none());
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn pax(records: &[(&str, &str)]) -> Vec<u8> {
    let mut content = Vec::new();
    for (key, value) in records {
        let rest = format!(" {key}={value}\n");
        let length = (rest.len()..).find(|n| n.to_string().len() + rest.len() == *n).unwrap();
        content.extend(format!("{length}{rest}").bytes());
    }
    super::entry("PaxHeaders/x", b'x', &content, "")
}

#[test]
fn every_kind_of_entry_is_told() {
    let tar = [
        super::entry("etc/", b'5', b"", ""),
        super::entry("etc/a", b'0', &[7; 1000], ""),
        super::entry("etc/b", 0, b"v7", ""),
        super::entry("etc/c", b'1', b"", "etc/a"),
        super::entry("etc/d", b'2', b"", "../../../etc/passwd"),
        super::entry("dev/null", b'3', b"", ""),
        super::entry("dev/sda", b'4', b"", ""),
        super::entry("run/fifo", b'6', b"", ""),
        super::entry("x", b'Z', b"vendor", ""),
        vec![0; 1024],
    ];
    let expected = [
        ("etc/", EntryKind::Folder, "", 0),
        ("etc/a", EntryKind::File, "", 1000),
        ("etc/b", EntryKind::File, "", 2),
        ("etc/c", EntryKind::HardLink, "etc/a", 0),
        ("etc/d", EntryKind::SymbolicLink, "../../../etc/passwd", 0),
        ("dev/null", EntryKind::CharacterDevice, "", 0),
        ("dev/sda", EntryKind::BlockDevice, "", 0),
        ("run/fifo", EntryKind::Fifo, "", 0),
        ("x", EntryKind::Other(b'Z'), "", 6),
    ];
    check(&tar.concat(), &expected);
}

#[test]
fn offsets_lead_to_the_content() {
    let tar =
        [super::entry("a", b'0', b"first", ""), pax(&[("path", "b/long")]), super::entry("b", b'0', b"second", "")];
    let (entries, _) = walk(&tar.concat());
    let bytes = tar.concat();
    assert_eq!((entries[0].header_offset, entries[0].content_offset), (0, 512));
    assert_eq!((entries[1].header_offset, entries[1].content_offset), (1024, 2560));
    assert_eq!(&bytes[2560..2566], b"second");
    let mut reader = TarReader::new(&bytes[..]);
    reader.next_entry().unwrap();
    reader.next_entry().unwrap();
    let mut content = [0; 100];
    assert_eq!(reader.read_content(&mut content).unwrap(), 6);
    assert_eq!(reader.read_content(&mut content).unwrap(), 0);
    assert!(reader.next_entry().unwrap().is_none());
}

#[test]
fn long_names_come_from_gnu_and_pax_headers() {
    let long = "d/".repeat(2000) + "file";
    let target = "t/".repeat(300);
    let tar = [
        super::entry("././@LongLink", b'L', format!("{long}\0").as_bytes(), ""),
        super::entry("././@LongLink", b'K', format!("{target}\0").as_bytes(), ""),
        super::entry("d/d/d", b'2', b"", "t/t"),
        pax(&[("path", &long), ("linkpath", &target), ("mtime", "1.5")]),
        super::entry("short", b'1', b"", "short"),
        pax(&[("size", "3")]),
        super::entry("sized", b'0', b"abc", ""),
        super::entry("g", b'g', b"19 comment=released\n", ""),
        super::entry("../../escape", b'0', b"x", ""),
    ];
    let expected = [
        (&*long, EntryKind::SymbolicLink, &*target, 0),
        (&long, EntryKind::HardLink, &target, 0),
        ("sized", EntryKind::File, "", 3),
        ("g", EntryKind::GlobalHeader, "", 20),
        ("../../escape", EntryKind::File, "", 1),
    ];
    check(&tar.concat(), &expected);
}

#[test]
fn sparse_files_are_told() {
    let mut old = super::entry("old", b'S', &[1; 600], "");
    old[482] = 1;
    seal(&mut old[..512]);
    let mut map = vec![0; 1024];
    map[504] = 1;
    let content = old.split_off(512);
    let records = [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.name", "real")];
    let tar =
        [old, map, content, pax(&records), super::entry("GNUSparseFile.1/real", b'0', &[2; 512], ""), vec![0; 1024]];
    check(&tar.concat(), &[("old", EntryKind::SparseFile, "", 600), ("real", EntryKind::SparseFile, "", 512)]);
}

#[test]
fn prefixes_and_large_numbers_are_read() {
    let mut entry = super::entry("name", b'0', b"12345", "");
    entry[345..351].copy_from_slice(b"prefix");
    entry[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5]);
    seal(&mut entry[..512]);
    check(&entry, &[("prefix/name", EntryKind::File, "", 5)]);
}

#[test]
fn the_end_may_be_cut_or_followed_by_garbage() {
    let entry = super::entry("a", b'0', b"12345", "");
    let expected = [("a", EntryKind::File, "", 5)];
    check(&entry, &expected);
    check(&entry[..517], &expected);
    check(&[&entry[..], &[0; 512], b"garbage that is no tar"].concat(), &expected);
    check(&[&entry[..], &[0; 300]].concat()[..1024], &expected);
    check(&[], &[]);
}

fn check_refused(bytes: &[u8], words: &str) {
    let error = walk(bytes).1.unwrap();
    assert!(error.contains(words), "{error}");
}

#[test]
fn damage_and_lies_end_the_walk() {
    let entry = super::entry("a", b'0', b"12345", "");
    check_refused(b"garbage", "the bytes end within a header");
    check_refused(&[b'x'; 512], "byte 0: wrong header checksum");
    check_refused(&[&entry[..], &[b'x'; 512]].concat(), "byte 1024: wrong header checksum");
    check_refused(&entry[..515], "the bytes end within a file");
    check_refused(&super::entry("l", b'L', b"name", ""), "headers without their entry");
    check_refused(&super::entry("x", b'x', b"99 path=a\n", ""), "malformed pax records");
    check_refused(&super::entry("l", b'L', &vec![b'a'; 70_000], ""), "a name over the limit of 65536 bytes");
    check_refused(&super::entry("x", b'x', &vec![b'a'; 2 << 20], ""), "a pax header over the limit of 1048576 bytes");
    check_refused(&super::entry("l", b'L', b"name", "").repeat(40), "too many headers before one entry");
    for size in [*b"99999999999\0", *b"777777777777", [0xff; 12], *b"-0000000001\0"] {
        let mut lying = super::entry("a", b'0', b"12345", "");
        lying[124..136].copy_from_slice(&size);
        seal(&mut lying[..512]);
        assert!(walk(&lying).1.is_some());
    }
    let huge = [pax(&[("size", "18446744073709551615")]), entry].concat();
    check_refused(&huge, "size is beyond all files");
}

#[test]
fn one_block_tells_what_is_stored_behind_it() {
    check_block(b'0', true, 700);
    check_block(b'S', true, 700);
    check_block(b'2', true, 0);
    check_block(b'5', true, 0);
    check_block(b'x', false, 700);
    check_block(b'L', false, 700);
    check_no_header(&|block| block[0] ^= 1);
    check_no_header(&|block| block.fill(0));
    check_no_header(&|block| {
        block[124..136].fill(b'9');
        seal(block);
    });
    check_no_header(&|block| {
        block[257] = b'U';
        seal(block);
    });
}

/// The header of a file of 700 bytes, with this type.
fn check_block(type_flag: u8, is_entry: bool, stored_bytes: u64) {
    let block = super::entry("path", type_flag, &[7; 700], "link");
    let block: &[u8; 512] = block.first_chunk().unwrap();
    assert_eq!(header_block(block), Some(HeaderBlock { is_entry, stored_bytes }));
}

/// A header with this change is none.
fn check_no_header(change: &dyn Fn(&mut [u8])) {
    let mut block = super::entry("path", b'0', b"", "");
    change(&mut block);
    assert_eq!(header_block(block.first_chunk().unwrap()), None);
}

proptest! {
    #[test]
    fn nothing_panics(at in 0usize..4096, value in any::<u8>(), cut in 0usize..4096) {
        let mut tar = [
            pax(&[("path", "long"), ("size", "9")]), super::entry("a", b'0', b"123456789", ""),
            super::entry("l", b'L', b"name\0", ""), super::entry("s", b'S', &[1; 100], ""),
        ].concat();
        let at = at % tar.len();
        tar[at] = value;
        for header in 0..tar.len() / 512 {
            if header != at / 512 || at % 3 != 0 { continue }
            seal(&mut tar[header * 512..][..512]);
        }
        let cut = cut.min(tar.len());
        walk(&tar[..cut]);
        let mut seekable = TarReader::seekable(Cursor::new(&tar[..cut]));
        while let Ok(Some(_)) = seekable.next_entry() {}
    }
}
