//! The container: a header that decodes, encodes to the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lighter_patch::Header;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(header) = Header::decode(bytes) {
        assert_eq!(header.encode(), bytes);
    }
    let _ = Header::read_from(&mut &bytes[..]);
});
