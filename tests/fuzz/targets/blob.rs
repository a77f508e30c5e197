//! Blobs from registries before the finder: gzip and zstd framing. A recipe that is found is for all of the blob, and
//! can be read back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lighter_recipe::{Found, Recipe, find};

/// More content than this is refused, so a run is short.
const TAR_BYTES_MAX: u64 = 256 << 10;

fuzz_target!(|blob: &[u8]| {
    let mut done = 0;
    let mut progress = |bytes| done = bytes;
    let Ok(Found::Recipe(recipe)) = find(&blob, TAR_BYTES_MAX, &mut progress) else { return };
    assert!(done <= blob.len() as u64);
    assert!(recipe.blob_bytes == blob.len() as u64 && recipe.tar_bytes <= TAR_BYTES_MAX);
    let bytes = recipe.to_bytes();
    assert_eq!(Recipe::from_bytes(&bytes), Ok((recipe, bytes.len())));
});
