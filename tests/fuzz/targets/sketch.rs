//! The sketch's bytes: what decodes, encodes to the same; and the sketch of anything comes back. The first byte tells
//! which: the bytes behind it are a sketch, or a layer that comes in pieces of so many bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lighter_similarity::{Sketch, SketchBuilder};

fuzz_target!(|bytes: &[u8]| {
    match bytes {
        [] => {}
        [0..8, sketch @ ..] => {
            if let Ok(decoded) = Sketch::from_bytes(sketch) {
                assert_eq!(decoded.to_bytes(), sketch);
            }
        }
        [piece, layer @ ..] => {
            let mut builder = SketchBuilder::new();
            layer.chunks(usize::from(*piece)).for_each(|chunk| builder.push(chunk));
            let sketch = builder.finish();
            assert_eq!(Sketch::from_bytes(&sketch.to_bytes()).as_ref(), Ok(&sketch));
        }
    }
});
