//! Files that are no archive, and archives with a hostile table of contents.

use std::io::Cursor;

use super::*;
use crate::testing::{compress, layout, small_tar};

fn open(bytes: Vec<u8>) -> Result<ArchiveFiles<Cursor<Vec<u8>>>, ImageError> {
    ArchiveFiles::open("image.tar", Cursor::new(bytes))
}

fn read(archive: &mut ArchiveFiles<Cursor<Vec<u8>>>, path: &str) -> Result<Option<Vec<u8>>, String> {
    let Some(mut file) = archive.open_file(path).map_err(|error| error.to_string())? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.reader.read_to_end(&mut bytes).unwrap();
    Ok(Some(bytes))
}

impl ArchiveFiles<Cursor<Vec<u8>>> {
    fn open_file(&mut self, path: &str) -> io::Result<Option<OpenFile<'_>>> {
        Files::open(self, path)
    }
}

#[test]
fn a_file_that_is_no_archive_is_named() {
    let good = layout(&[(small_tar("a"), LayerMedia::Plain)]).to_archive();
    check_refused(
        compress(&good, LayerMedia::Gzip),
        "a gzip-compressed archive, wanted an uncompressed tar (gunzip it)",
    );
    check_refused(compress(&good, LayerMedia::Zstd), "a zstd-compressed archive");
    check_refused(b"\xfd7zXZ\0\0\x04".to_vec(), "an xz-compressed archive");
    check_refused(b"BZh91AY&SY".to_vec(), "a bzip2-compressed archive");
    check_refused(b"PK\x03\x04\x14\0".to_vec(), "a zip archive");
    check_refused(b"%PDF-1.7 and so on".to_vec(), "a file that is no tar");
    check_refused(vec![b'x'; 100_000], "a file that is no tar");
    for cut in [600, good.len() / 2, good.len() - 2000] {
        check_refused(good[..cut].to_vec(), "is damaged at byte");
    }
}

fn check_refused(bytes: Vec<u8>, words: &str) {
    let error = open(bytes).unwrap_err().to_string();
    assert!(error.contains(words), "{error}");
}

#[test]
fn an_empty_archive_is_an_image_of_no_kind() {
    let error = crate::testing::import(open(vec![0; 10240]).unwrap(), crate::Limits::default()).unwrap_err();
    assert!(error.to_string().contains("neither index.json nor manifest.json"), "{error}");
}

#[test]
fn names_are_found_as_written_and_with_a_dot() {
    let tar = [lighter_tar::entry("./a", b'0', b"one", ""), lighter_tar::entry("b/c", b'0', b"two", "")].concat();
    let mut archive = open(tar).unwrap();
    assert_eq!(read(&mut archive, "a"), Ok(Some(b"one".to_vec())));
    assert_eq!(read(&mut archive, "b/c"), Ok(Some(b"two".to_vec())));
    assert_eq!(read(&mut archive, "b"), Ok(None));
}

#[test]
fn names_that_leave_the_archive_are_unreachable_and_duplicates_are_refused() {
    let tar = [
        lighter_tar::entry("../a", b'0', b"x", ""),
        lighter_tar::entry("/b", b'0', b"x", ""),
        lighter_tar::entry("c", b'0', b"x", ""),
        lighter_tar::entry("./c", b'0', b"y", ""),
        lighter_tar::entry("d", b'2', b"", "e/../c/../f"),
        lighter_tar::entry("f", b'0', b"z", ""),
    ];
    let mut archive = open(tar.concat()).unwrap();
    assert_eq!(read(&mut archive, "a"), Ok(None));
    assert_eq!(read(&mut archive, "b"), Ok(None));
    assert!(read(&mut archive, "c").unwrap_err().contains("two files of this name"));
    assert_eq!(read(&mut archive, "d"), Ok(Some(b"z".to_vec())));
}

#[test]
fn entries_that_are_no_files_are_named() {
    for (kind, words) in [(b'S', "a sparse file"), (b'3', "a device"), (b'6', "a pipe")] {
        let mut archive = open(lighter_tar::entry("index.json", kind, b"", "")).unwrap();
        assert!(read(&mut archive, "index.json").unwrap_err().contains(words), "{words}");
    }
}

#[test]
fn too_many_entries_are_refused() {
    let mut tar = Vec::new();
    for index in 0..=ARCHIVE_ENTRIES_MAX {
        tar.extend(lighter_tar::entry(&format!("{index}"), b'0', b"", ""));
    }
    assert!(open(tar).unwrap_err().to_string().contains("number of entries"));
}
