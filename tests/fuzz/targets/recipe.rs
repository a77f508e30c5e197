//! Recipes from peers: a recipe that can be read has one spelling, and rebuilding by it ends, in the blob it promises
//! or in an error. The tar is fixed; the bytes name its length, so that hostile recipes come as far as the engines.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use lighter_recipe::{Form, Rebuild, Recipe};

const TAR_BYTES: u32 = 300_000;
/// The place of the tar's length in a recipe (docs/RECIPE.md).
const TAR_BYTES_PLACE: std::ops::Range<usize> = 49..57;

/// Words that repeat, and noise now and then.
static TAR: LazyLock<Vec<u8>> = LazyLock::new(|| {
    (0..TAR_BYTES).map(|n| ((n % 1013).wrapping_mul(n >> 14 | 1).wrapping_mul(2_654_435_761) >> 27) as u8).collect()
});

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = bytes.to_vec();
    if let Some(place) = bytes.get_mut(TAR_BYTES_PLACE) {
        place.copy_from_slice(&u64::from(TAR_BYTES).to_le_bytes());
    }
    let Ok((recipe, head_bytes)) = Recipe::from_bytes(&bytes) else { return };
    assert_eq!(recipe.to_bytes(), bytes[..head_bytes]);
    let body = bytes[head_bytes..].to_vec();
    // preflate-rs is not ours, and its panics are caught; under libFuzzer they would end the run.
    if matches!(recipe.form, Form::Corrected(_)) {
        return;
    }
    let Ok(rebuild) = Rebuild::new(&recipe, &body, &*TAR) else { return };
    let mut whole = Vec::new();
    let is_made = rebuild.whole(2, &mut whole).is_ok();
    assert!(whole.len() as u64 <= recipe.blob_bytes);
    let range = recipe.blob_bytes / 3..recipe.blob_bytes / 2;
    let mut part = Vec::new();
    let is_part_made = rebuild.range(range.clone(), &mut part).is_ok();
    if is_made {
        assert!(is_part_made && part == whole[range.start as usize..range.end as usize]);
    }
});
