//! Sketches of every version there was, as files in `fixtures/`. Nobody edits a file (docs/VERSIONS.md).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use lighter_similarity::{Sketch, SketchError};

const SMALL: &[u8] = include_bytes!("fixtures/v4/small.sketch");
const EMPTY: &[u8] = include_bytes!("fixtures/v4/empty.sketch");
const SMALL_OF_EARLIER_VERSIONS: [(u8, &[u8]); 3] = [
    (1, include_bytes!("fixtures/v1/small.sketch")),
    (2, include_bytes!("fixtures/v2/small.sketch")),
    (3, include_bytes!("fixtures/v3/small.sketch")),
];

#[test]
fn sketches_of_version_4() {
    let small = Sketch::from_bytes(SMALL).unwrap();
    assert_eq!((small.entries(), small.content_bytes()), (2, 16));
    assert_eq!(small.to_bytes(), SMALL);
    let empty = Sketch::from_bytes(EMPTY).unwrap();
    assert!(empty.is_empty());
    assert_eq!(empty.to_bytes(), EMPTY);
}

#[test]
fn a_sketch_of_another_version_says_so() {
    for (found, bytes) in SMALL_OF_EARLIER_VERSIONS {
        let error = Sketch::from_bytes(bytes).unwrap_err();
        assert_eq!(error, SketchError::Version { found });
        assert_eq!(
            error.to_string(),
            format!("sketch version {found}; this program reads version 4: make the sketch again")
        );
    }
    let later = [&[5], &SMALL[1..]].concat();
    assert_eq!(Sketch::from_bytes(&later), Err(SketchError::Version { found: 5 }));
}
