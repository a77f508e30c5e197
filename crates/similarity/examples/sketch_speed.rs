//! Measures the speed of making sketches: `sketch_speed FILE...`, or noise without a file. Prints the best of five
//! rounds in memory on one core.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a program that measures reads files and clocks"
)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::hint::black_box;
use std::time::Instant;

use lighter_similarity::{Sketch, SketchBuilder};

/// The size of the pieces that a scan passes on (crates/image).
const PIECE_BYTES: usize = 256 << 10;

fn main() {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    if paths.is_empty() {
        measure("noise", &noise(64 << 20));
    }
    for path in &paths {
        measure(path, &std::fs::read(path).unwrap_or_else(|error| panic!("{path}: {error}")));
    }
}

fn measure(name: &str, bytes: &[u8]) {
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let begin = Instant::now();
        black_box(sketch(bytes));
        best = best.min(begin.elapsed().as_secs_f64());
    }
    let encoded = sketch(bytes).to_bytes().len();
    println!("{name}: {:.0} MB/s, {encoded} bytes encoded", bytes.len() as f64 / best / 1e6);
}

fn sketch(bytes: &[u8]) -> Sketch {
    let mut builder = SketchBuilder::new();
    bytes.chunks(PIECE_BYTES).for_each(|piece| builder.push(piece));
    builder.finish()
}

/// Bytes of xorshift64: a stream without tar headers.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    })
    .take(length)
    .collect()
}
