//! The class of libzstd, from a blob to a recipe and back. The lengths and checksums are those of blobs that Python's
//! `zstandard` 0.25 made with its own libzstd 1.5.7.

use super::*;
use crate::{LibZstdCall, Threads};

const CALL: LibZstdCall = LibZstdCall::STREAM;
const JOBS: LibZstdCall = LibZstdCall { threads: Threads::Workers, ..CALL };
const SIZED: LibZstdCall = LibZstdCall { has_content_size: true, has_checksum: true, ..CALL };

fn by(level: i8, libzstd: LibZstdCall, is_end_joined: bool) -> Encoder {
    Encoder { libzstd, is_end_joined, ..Encoder::new(Class::LibZstd1, level) }
}

fn workers(call: LibZstdCall) -> LibZstdCall {
    LibZstdCall { threads: Threads::Workers, ..call }
}

/// One frame, whose content goes to the engine in parts.
fn frame(encoder: Encoder, content: &[u8], part_bytes: usize) -> Vec<u8> {
    let mut blob = Vec::new();
    let start = Start { content_bytes: Some(content.len() as u64), ..Start::BEGINNING };
    let mut engine = encoder.open(&start).unwrap();
    content.chunks(part_bytes).for_each(|part| engine.write(part, &mut blob));
    engine.finish(&mut blob);
    blob
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

#[test]
fn frames_of_libzstd_are_found_and_rebuilt() {
    let tar = sample(3_000_000);
    let long = LibZstdCall { long_log: 24, ..CALL };
    for (level, call) in [(1, CALL), (3, CALL), (3, SIZED), (9, CALL), (15, SIZED), (3, long)] {
        for call in [call, workers(call)] {
            let encoder = by(level, call, call.has_content_size);
            let blob = frame(encoder, &tar, 10_007);
            assert!(frame(encoder, &tar, 1 << 20) == blob, "{encoder} {call:?}: the sizes of writes change nothing");
            let recipe = check(&blob, &tar);
            // Other calls may make the same bytes; then the commonest is named.
            let same = encoded(&recipe).encoder;
            assert!(frame(same, &tar, 1 << 20) == blob, "{encoder} {call:?}");
            assert_eq!((same.class, same.level, same.libzstd.long_log), (Class::LibZstd1, level, call.long_log));
            assert!(recipe.to_bytes().len() < 90);
        }
    }
}

#[test]
fn frames_of_libzstd_of_all_sizes_are_found() {
    for bytes in [0, 1, 1000, 131_071, 131_072, 131_073, 262_144, 600_000, 1_048_576, 1_179_648] {
        let tar = sample(bytes);
        for (call, is_end_joined) in [(CALL, false), (CALL, true), (workers(SIZED), true), (SIZED, false)] {
            let blob = frame(by(3, call, is_end_joined), &tar, 70_000);
            check(&blob, &tar);
        }
    }
}

#[test]
fn several_frames_of_libzstd_have_checkpoints() {
    let tar = sample(9_000_000);
    let encoder = by(1, SIZED, true);
    let mut blob: Vec<u8> = tar.chunks(4_300_000).flat_map(|part| frame(encoder, part, 1 << 20)).collect();
    blob.extend(b"tail");
    let recipe = check(&blob, &tar);
    assert_eq!((encoded(&recipe).framing.members.len(), encoded(&recipe).checkpoints.len()), (3, 2));
}

/// Level, call, bytes and CRC-32 of what the library made of `sample(3_000_000)`.
const VECTORS: [(i8, LibZstdCall, usize, u32); 9] = [
    (1, CALL, 936_314, 0x9759_a792),
    (3, CALL, 877_748, 0x6f5e_ed7a),
    (3, JOBS, 876_312, 0x7a4f_bf29),
    // By two workers.
    (3, LibZstdCall { threads: Threads::Workers, ..SIZED }, 876_320, 0x01a1_bb86),
    (3, SIZED, 877_756, 0x83ab_ab52),
    (9, LibZstdCall { has_checksum: true, ..JOBS }, 861_778, 0x6216_c044),
    (19, CALL, 756_929, 0x070b_6040),
    (6, LibZstdCall { has_content_size: true, ..CALL }, 867_868, 0x4ece_a00d),
    (3, LibZstdCall { long_log: 24, ..JOBS }, 880_522, 0xc790_23e8),
];

#[test]
fn frames_of_the_real_library_are_made_again() {
    let tar = sample(3_000_000);
    for (level, call, bytes, sum) in VECTORS {
        let blob = frame(by(level, call, false), &tar, 1 << 20);
        assert_eq!((blob.len(), crc(&blob)), (bytes, sum), "level {level}, {call:?}");
    }
}

#[test]
fn damaged_recipes_of_libzstd_are_refused_or_do_not_fit() {
    let tar = sample(600_000);
    let blob = frame(by(3, SIZED, true), &tar, 1 << 20);
    check_damage(&found(&blob), &tar, &blob, 5);
}

#[test]
fn recipes_of_libzstd_that_claim_too_much_are_refused() {
    let tar = sample(600_000);
    let recipe = found(&frame(by(3, SIZED, true), &tar, 1 << 20));
    let with = |encoder: Encoder, frames: usize| {
        let mut recipe = recipe.clone();
        let Form::Encoded(encoded) = &mut recipe.form else { panic!() };
        encoded.encoder = encoder;
        let empty = crate::Member { tar_bytes: 0, header: 0, trailer: None };
        encoded.framing.members.resize(frames, empty);
        Recipe::from_bytes(&recipe.to_bytes()).map(|_| ())
    };
    let long = |long_log| LibZstdCall { long_log, ..CALL };
    assert_eq!((with(by(19, CALL, true), 1), with(by(12, long(27), false), 1)), (Ok(()), Ok(())));
    for encoder in [by(20, CALL, false), by(-1, CALL, false), by(3, long(28), false), by(3, long(9), false)] {
        assert!(matches!(with(encoder, 1), Err(ReadError::Encoder(_))), "{encoder:?}");
    }
    assert!(matches!(with(by(13, long(27), false), 1), Err(ReadError::Encoder(_))));
    assert_eq!(
        (with(by(3, CALL, false), 128), with(by(3, CALL, false), 129)),
        (Ok(()), Err(ReadError::Limit("a count")))
    );
    // A frame that promises other content than it has is no frame.
    let mut engine = by(3, SIZED, true).open(&Start { content_bytes: Some(5), ..Start::BEGINNING }).unwrap();
    let mut out = Vec::new();
    engine.write(&tar, &mut out);
    engine.finish(&mut out);
    assert!(out.len() < 100);
    assert!(by(3, SIZED, true).open(&Start::BEGINNING).is_none());
}

#[test]
fn the_bytes_of_a_recipe_of_libzstd_are_golden() {
    let encoder = by(3, workers(LibZstdCall { long_log: 27, ..SIZED }), true);
    let members = vec![crate::Member { tar_bytes: 1000, header: 0, trailer: None }];
    let framing = crate::Framing { headers: vec![Vec::new()], members, tail: Vec::new() };
    let form = Form::Encoded(crate::Encoded { encoder, framing, checkpoints: Vec::new() });
    let recipe = Recipe { blob: lighter_types::OciDigest::new([7; 32]), blob_bytes: 500, tar_bytes: 1000, form };
    let bytes = recipe.to_bytes();
    assert_eq!(bytes[61..], [18, 3, 0xbf, 3, 1, 0, 1, 0xe8, 7, 0, 0, 0]);
    assert_eq!(Recipe::from_bytes(&bytes), Ok((recipe, bytes.len())));
}
