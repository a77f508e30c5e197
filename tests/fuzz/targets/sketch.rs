//! The sketch's bytes: what decodes, encodes to the same; and the sketch of anything comes back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lighter_similarity::{Sketch, SketchBuilder};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(sketch) = Sketch::from_bytes(bytes) {
        assert_eq!(sketch.to_bytes(), bytes);
    }
    let mut builder = SketchBuilder::new();
    bytes.chunks(97).for_each(|chunk| builder.push(chunk));
    let sketch = builder.finish();
    assert_eq!(Sketch::from_bytes(&sketch.to_bytes()).as_ref(), Ok(&sketch));
});
