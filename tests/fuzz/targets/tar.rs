//! The tar walker: entries lie in the input, in order, one behind the other.
#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use lighter_tar::TarReader;

fuzz_target!(|bytes: &[u8]| {
    let mut tar = TarReader::seekable(Cursor::new(bytes));
    let mut end = 0;
    while let Ok(Some(entry)) = tar.next_entry() {
        assert!(entry.header_offset >= end && entry.content_offset >= entry.header_offset + 512);
        end = entry.content_offset;
    }
});
