//! Blobs from registries before the finder: gzip and zstd framing. A recipe that is found is for all of the blob, and
//! can be read back. All encoders together take a second for a blob, so the first byte picks one in so many of them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lighter_recipe::{Found, Recipe, find_among};

/// More content than this is refused, so a run is short.
const TAR_BYTES_MAX: u64 = 512 << 10;
/// There are at most so many encoders for a blob without flushes.
const ENCODERS: u8 = 64;

fuzz_target!(|bytes: &[u8]| {
    let [pick, blob @ ..] = bytes else { return };
    let (mut done, mut number) = (0, 0);
    let mut is_tried = |_| {
        number += 1;
        (number - 1) % usize::from(ENCODERS) == usize::from(pick % ENCODERS)
    };
    let mut progress = |bytes| done = bytes;
    let Ok(Found::Recipe(recipe)) = find_among(&blob, TAR_BYTES_MAX, &mut is_tried, &mut progress) else { return };
    assert!(done <= blob.len() as u64);
    assert!(recipe.blob_bytes == blob.len() as u64 && recipe.tar_bytes <= TAR_BYTES_MAX);
    let bytes = recipe.to_bytes();
    assert_eq!(Recipe::from_bytes(&bytes), Ok((recipe, bytes.len())));
});
