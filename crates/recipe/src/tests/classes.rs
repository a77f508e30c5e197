//! The classes of zlib's family and of zstd, from a blob to a recipe and back.

use super::*;

fn pigz(class: Class, level: i8, block_bytes: u32) -> Encoder {
    Encoder { block_bytes: NonZeroU32::new(block_bytes), ..Encoder::new(class, level) }
}

/// One frame of zstd.
fn frame(encoder: Encoder, content: &[u8]) -> Vec<u8> {
    let mut blob = Vec::new();
    let mut engine = encoder.open(&Start::BEGINNING).unwrap();
    engine.write(content, &mut blob);
    engine.finish(&mut blob);
    blob
}

#[test]
fn lazy_levels_and_blocks_of_pigz_have_checkpoints() {
    let tar = sample(9_000_000);
    let streams = [
        Encoder::new(Class::Zlib1, 5),
        Encoder::new(Class::Zlib2, 4),
        Encoder::new(Class::GnuGzip1, 6),
        pigz(Class::Pigz1, 1, 128 << 10),
        pigz(Class::Pigz3, 4, 512 << 10),
    ];
    for encoder in streams {
        let recipe = check(&member(encoder, NAMED, &tar), &tar);
        assert_eq!(encoded(&recipe).encoder, encoder);
        assert_eq!(encoded(&recipe).checkpoints.len(), 2, "{encoder}");
    }
}

#[test]
fn levels_that_skip_positions_have_no_checkpoint() {
    let tar = sample(5_000_000);
    for encoder in [Encoder::new(Class::Zlib1, 1), Encoder::new(Class::GnuGzip1, 3), pigz(Class::Pigz2, 2, 128 << 10)] {
        let recipe = check(&member(encoder, PLAIN, &tar), &tar);
        assert_eq!(encoded(&recipe).encoder, encoder);
        assert!(encoded(&recipe).checkpoints.is_empty(), "{encoder}");
        // A recipe that claims one does not fit.
        let mut claims = recipe.clone();
        let Form::Encoded(changed) = &mut claims.form else { panic!() };
        changed.checkpoints = vec![Checkpoint { tar: 4 << 20, blob: BitPosition { bytes: 1000, partial: 1 } }];
        assert!(matches!(rebuilt(&claims, &tar, 2), Err(RebuildError::Length { .. })));
    }
}

#[test]
fn blocks_of_pigz_have_any_length() {
    let tar = sample(3_000_000);
    for block_bytes in [32 << 10, 50 << 10, 300 << 10] {
        let encoder = pigz(Class::Pigz1, 4, block_bytes);
        assert_eq!(encoded(&check(&member(encoder, NAMED, &tar), &tar)).encoder, encoder);
    }
}

#[test]
fn every_encoder_of_zstd_is_found_and_rebuilds_its_blob() {
    let tar = sample(300_000);
    for encoder in Encoder::all(Kind::Zstd, &[]) {
        for first_write in [None, NonZeroU32::new(8)] {
            let encoder = Encoder { first_write, ..encoder };
            let blob = frame(encoder, &tar);
            let recipe = check(&blob, &tar);
            assert_eq!(encoded(&recipe).encoder.first_write, first_write, "{encoder}");
            // Another encoder may make the same bytes.
            assert!(frame(encoded(&recipe).encoder, &tar) == blob, "{encoder}");
            assert!(recipe.to_bytes().len() < 80);
        }
    }
}

#[test]
fn frames_of_all_sizes_are_found() {
    let encoder = Encoder::new(Class::KpZstd6, 2);
    for bytes in [0, 1, 8, 1000, 131_071, 131_072, 131_073, 262_144, 1_179_648] {
        let tar = sample(bytes);
        for is_end_joined in [false, true] {
            let made_by = Encoder { is_end_joined, ..encoder };
            let recipe = check(&frame(made_by, &tar), &tar);
            // It is said only where it shows.
            let shows = bytes > 0 && bytes.is_multiple_of(131_072);
            assert_eq!(encoded(&recipe).encoder.is_end_joined, is_end_joined && shows, "{bytes}");
        }
    }
}

/// Three frames, and bytes behind them.
fn frames() -> (Recipe, Vec<u8>, Vec<u8>) {
    let tar = sample(700_000);
    let encoder = Encoder { first_write: NonZeroU32::new(8), ..Encoder::new(Class::KpZstd6, 1) };
    let mut blob = frame(encoder, &tar[..500_000]);
    blob.extend(frame(encoder, &tar[500_000..500_004]));
    blob.extend(frame(encoder, &tar[500_004..]));
    blob.extend(b"tail");
    (check(&blob, &tar), tar, blob)
}

#[test]
fn cut_and_damaged_recipes_of_zlib_and_zstd_are_refused_or_do_not_fit() {
    let (recipe, tar, blob) = frames();
    assert_eq!(encoded(&recipe).framing.members.len(), 3);
    check_damage(&recipe, &tar, &blob, 1);
    let tar = sample(4_600_000);
    let blob = member(Encoder::new(Class::Zlib1, 4), NAMED, &tar);
    let recipe = found(&blob);
    assert_eq!(encoded(&recipe).checkpoints.len(), 1);
    check_damage(&recipe, &tar, &blob, 13);
}

#[test]
fn recipes_of_zstd_that_claim_too_much_are_refused() {
    let (recipe, ..) = frames();
    let with = |change: &dyn Fn(&mut crate::Encoded)| {
        let mut recipe = recipe.clone();
        let Form::Encoded(encoded) = &mut recipe.form else { panic!() };
        change(encoded);
        Recipe::from_bytes(&recipe.to_bytes()).map(|_| ())
    };
    assert_eq!(with(&|_| {}), Ok(()));
    // An engine costs more than those of gzip, so there may be fewer.
    let frames = |count: usize| {
        with(&|encoded| {
            let empty = crate::Member { tar_bytes: 0, header: 0, trailer: None };
            encoded.framing.members.resize(count, empty);
        })
    };
    assert_eq!((frames(138), frames(139)), (Ok(()), Err(ReadError::Limit("a count"))));
    let first_write = |bytes| with(&|encoded| encoded.encoder.first_write = NonZeroU32::new(bytes));
    assert_eq!(first_write(65_535), Ok(()));
    assert!(matches!(first_write(65_536), Err(ReadError::Encoder(_))));
    assert!(matches!(with(&|encoded| encoded.encoder.level = 4), Err(ReadError::Encoder(_))));
    assert!(matches!(with(&|encoded| encoded.encoder.class = Class::Pigz1), Err(ReadError::Encoder(_))));
}

#[test]
fn damaged_and_cut_frames_are_refused() {
    let (_, tar, blob) = frames();
    let cut = |bytes: usize| find(&&blob[..bytes], u64::MAX, &mut |_| {});
    for bytes in [5, 9, 5000, 40_000] {
        assert!(matches!(cut(bytes), Err(FindError::Short { member: 0 })), "{bytes}");
    }
    assert!(matches!(cut(blob.len() - 10), Err(FindError::Short { member }) if member > 0));
    assert!(matches!(find(&blob, 699_999, &mut |_| {}), Err(FindError::TarLimit(699_999))));
    let mut numbers = Numbers::new(3);
    for _ in 0..100 {
        let mut damaged = blob.clone();
        let at = numbers.below(damaged.len() - 4);
        damaged[at] ^= 1 << numbers.below(8);
        match find(&damaged, u64::MAX, &mut |_| {}) {
            // The finder may take what stands behind a frame for a tail.
            Ok(Found::Recipe(recipe)) => {
                let content = &tar[..recipe.tar_bytes as usize];
                assert!(rebuilt(&recipe, content, 1).unwrap() == damaged, "{at}");
            }
            Ok(Found::Unknown(_)) => {}
            Err(error) => assert_eq!(error.blame(), Blame::Peer, "{at}"),
        }
    }
    // A window of 256 MiB.
    let wide = [0x28, 0xb5, 0x2f, 0xfd, 4, 18 << 3, 1, 0, 0, 0, 0, 0, 0];
    assert!(matches!(find(&wide.as_slice(), u64::MAX, &mut |_| {}), Err(FindError::Window(_))));
}

#[test]
fn a_frame_of_an_unknown_encoder_is_answered_with_the_nearest_one() {
    // A window of 2.5 MiB, which no encoder has; a raw block of 5 bytes, no checksum.
    let foreign = [0x28, 0xb5, 0x2f, 0xfd, 0, 11 << 3 | 2, 41, 0, 0, b'h', b'e', b'l', b'l', b'o'];
    let Ok(Found::Unknown(unknown)) = find(&foreign.as_slice(), u64::MAX, &mut |_| {}) else { panic!() };
    let nearest = unknown.nearest.unwrap();
    assert_eq!((unknown.reason, nearest.encoder.class), (Reason::Encoder, Class::LibZstd1));
    assert_eq!((nearest.blob_offset, nearest.tar_offset), (5, 5));
}

#[test]
fn the_bytes_of_a_recipe_of_zstd_are_golden() {
    let encoder = Encoder { first_write: NonZeroU32::new(8), is_end_joined: true, ..Encoder::new(Class::KpZstd1, 2) };
    let members = vec![crate::Member { tar_bytes: 1000, header: 0, trailer: None }];
    let framing = crate::Framing { headers: vec![Vec::new()], members, tail: Vec::new() };
    let form = Form::Encoded(crate::Encoded { encoder, framing, checkpoints: Vec::new() });
    let recipe = Recipe { blob: lighter_types::OciDigest::new([7; 32]), blob_bytes: 500, tar_bytes: 1000, form };
    let bytes = recipe.to_bytes();
    assert_eq!(bytes[61..], [12, 2, 17, 1, 0, 1, 0xe8, 7, 0, 0, 0]);
    assert_eq!(Recipe::from_bytes(&bytes), Ok((recipe, bytes.len())));
}

#[test]
fn numbers_and_names_of_classes_are_unique() {
    let mut numbers: Vec<u8> = Class::ALL.iter().map(|class| class.number()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=18).collect::<Vec<u8>>());
    let names: std::collections::BTreeSet<&str> = Class::ALL.iter().map(|class| class.name()).collect();
    assert_eq!(names.len(), Class::ALL.len());
}
