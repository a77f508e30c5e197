//! Sketches of every version that this crate reads, as files in `fixtures/`. Nobody edits a file (docs/VERSIONS.md).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use lighter_similarity::{Sketch, SketchError};

const SMALL: &[u8] = include_bytes!("fixtures/v1/small.sketch");
const EMPTY: &[u8] = include_bytes!("fixtures/v1/empty.sketch");

#[test]
fn sketches_of_version_1() {
    let small = Sketch::from_bytes(SMALL).unwrap();
    assert_eq!((small.entries(), small.content_bytes()), (2, 16));
    assert_eq!(small.to_bytes(), SMALL);
    let empty = Sketch::from_bytes(EMPTY).unwrap();
    assert!(empty.is_empty());
    assert_eq!(empty.to_bytes(), EMPTY);
}

#[test]
fn a_sketch_of_another_version_says_so() {
    let other = [&[2], &SMALL[1..]].concat();
    let error = Sketch::from_bytes(&other).unwrap_err();
    assert_eq!(error, SketchError::Version { found: 2 });
    assert_eq!(error.to_string(), "sketch version 2; this program reads version 1: make the sketch again");
}
