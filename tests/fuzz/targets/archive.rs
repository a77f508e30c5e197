//! Archives of images: an OCI layout or what `docker save` writes, as a tar. One that opens leads to layers that are
//! read to their end or to an error, gzip, zstd and plain ones, within the limits.
#![no_main]

use std::io::{Cursor, Read};

use libfuzzer_sys::fuzz_target;
use lighter_image::{ArchiveFiles, Limits, Selector, open_image};
use lighter_types::Bytes;

const TAR_BYTES_MAX: u64 = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { tar_bytes_max: Bytes(TAR_BYTES_MAX), zstd_window_bytes_max: Bytes(8 << 20) };
    let Ok(files) = ArchiveFiles::open("input", Cursor::new(bytes)) else { return };
    let Ok(mut image) = open_image(files, &Selector::default(), limits) else { return };
    for index in 0..image.image().layers.len() {
        let Ok(layer) = image.read_layer(index) else { continue };
        let mut tar = Vec::new();
        let _ = layer.take(TAR_BYTES_MAX + 1).read_to_end(&mut tar);
        assert!(tar.len() as u64 <= TAR_BYTES_MAX);
    }
});
