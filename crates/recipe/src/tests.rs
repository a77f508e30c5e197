//! Recipes from end to end: found, written, read and rebuilt, whole and in ranges.
//!
//! Blobs are made by the engines, which their own tests hold to the bytes of the real tools. Hostile recipes are those
//! of real blobs, cut, changed bit by bit, or made to claim too much.

use std::num::NonZeroU32;

use lighter_types::{Blame, ReadAt};

use crate::bits::BitPosition;
use crate::encoder::{Class, Encoder, Kind};
use crate::engine::Start;
use crate::error::{ReadError, RebuildError};
use crate::recipe::{Checkpoint, Form, Recipe};
use crate::sample::{Numbers, sample};
use crate::{FindError, Found, Reason, Rebuild, correct, find};

mod classes;
mod libzstd;

const GO_6: Encoder = Encoder::new(Class::GoFlate1, 6);

/// One gzip member.
fn member(encoder: Encoder, header: &[u8], content: &[u8]) -> Vec<u8> {
    let mut blob = header.to_vec();
    let mut engine = encoder.open(&Start::BEGINNING).unwrap();
    engine.write(content, &mut blob);
    engine.finish(&mut blob);
    let mut crc = flate2::Crc::new();
    crc.update(content);
    blob.extend(crate::gzip::trailer(&crc));
    blob
}

const PLAIN: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
const NAMED: &[u8] = &[0x1f, 0x8b, 8, 8, 1, 2, 3, 4, 2, 3, b'a', b'.', b't', b'a', b'r', 0];

fn found(blob: &[u8]) -> Recipe {
    match find(&blob, u64::MAX, &mut |_| {}) {
        Ok(Found::Recipe(recipe)) => recipe,
        other => panic!("{other:?}"),
    }
}

fn rebuilt(recipe: &Recipe, tar: &[u8], threads: usize) -> Result<Vec<u8>, RebuildError> {
    let mut out = Vec::new();
    Rebuild::new(recipe, &Vec::new(), &tar)?.whole(threads, &mut out).map(|()| out)
}

/// Finds the recipe, reads it back from its bytes, and rebuilds the blob, whole and in ranges.
fn check(blob: &[u8], tar: &[u8]) -> Recipe {
    let recipe = found(blob);
    assert_eq!(recipe.tar_bytes, tar.len() as u64);
    let bytes = recipe.to_bytes();
    assert_eq!(Recipe::from_bytes(&bytes), Ok((recipe.clone(), bytes.len())));
    for threads in [1, 3] {
        assert!(rebuilt(&recipe, tar, threads).unwrap() == blob, "{threads} threads");
    }
    let mut numbers = Numbers::new(blob.len() as u64);
    for _ in 0..4 {
        let from = numbers.below(blob.len());
        let to = from + numbers.below(blob.len() - from + 1);
        let mut out = Vec::new();
        let range = from as u64..to as u64;
        Rebuild::new(&recipe, &Vec::new(), &tar).unwrap().range(range, &mut out).unwrap();
        assert!(out == blob[from..to], "{from} to {to}");
    }
    recipe
}

fn encoded(recipe: &Recipe) -> &crate::Encoded {
    match &recipe.form {
        Form::Encoded(encoded) => encoded,
        form @ (Form::Corrected(_) | Form::Verbatim) => panic!("{form:?}"),
    }
}

#[test]
fn every_encoder_is_found_and_rebuilds_its_blob() {
    let tar = sample(150_000);
    let go = Encoder::all(Kind::Go, &[NonZeroU32::new(50_000).unwrap()]);
    // One boundary of blocks, which may have no flush: the finder tries this length always.
    let zlib = Encoder::all(Kind::Zlib, &[NonZeroU32::new(128 << 10).unwrap()]);
    for encoder in [go, zlib].concat() {
        let blob = member(encoder, NAMED, &tar);
        let recipe = check(&blob, &tar);
        // Another encoder may make the same bytes; then the commonest is named.
        let same = member(encoded(&recipe).encoder, NAMED, &tar);
        assert!(same == blob, "{encoder}");
        assert!(recipe.to_bytes().len() < 130);
    }
}

#[test]
fn checkpoints_stand_every_4_mib_and_cost_12_bytes() {
    let tar = sample(13_000_000);
    for encoder in [
        Encoder { level: 5, ..GO_6 },
        Encoder { block_bytes: NonZeroU32::new(1 << 20), ..Encoder::new(Class::KpFlate2, 1) },
    ] {
        let recipe = check(&member(encoder, PLAIN, &tar), &tar);
        let checkpoints = &encoded(&recipe).checkpoints;
        assert!((2..=3).contains(&checkpoints.len()), "{encoder}: {checkpoints:?}");
        assert!(recipe.to_bytes().len() <= 100 + 12 * checkpoints.len());
    }
}

#[test]
fn many_members_cost_few_bytes_each() {
    let tar = sample(9_000_000);
    let mut blob = Vec::new();
    let encoder = Encoder { level: 4, ..GO_6 };
    tar.chunks(40_000).for_each(|part| blob.extend(member(encoder, PLAIN, part)));
    blob.extend(member(encoder, NAMED, &[]));
    let recipe = check(&blob, &tar);
    assert_eq!((encoded(&recipe).framing.members.len(), encoded(&recipe).framing.headers.len()), (226, 2));
    assert_eq!(encoded(&recipe).checkpoints.len(), 2);
    assert!(recipe.to_bytes().len() < 1200);
    // A checkpoint within a member that is not large.
    let blob: Vec<u8> = tar.chunks(650_000).flat_map(|part| member(encoder, PLAIN, part)).collect();
    let recipe = check(&blob, &tar);
    let starts = |checkpoint: &Checkpoint| checkpoint.tar.is_multiple_of(650_000);
    assert!(!encoded(&recipe).checkpoints.iter().all(starts));
}

#[test]
fn wrong_trailers_and_bytes_behind_the_end_are_kept() {
    let tar = sample(50_000);
    let mut blob = member(GO_6, NAMED, &tar);
    let end = blob.len();
    blob[end - 1] ^= 1;
    blob.extend([0; 500]);
    let recipe = check(&blob, &tar);
    assert!(encoded(&recipe).framing.members[0].trailer.is_some());
    assert_eq!(encoded(&recipe).framing.tail.len(), 500);
}

#[test]
fn an_unknown_encoder_is_answered_with_the_nearest_one() {
    let tar = sample(300_000);
    let mut blob = member(GO_6, PLAIN, &tar[..200_000]);
    let first = blob.len() as u64;
    // The second member is made by a level that does not make the first.
    blob.extend(member(Encoder { level: 4, ..GO_6 }, PLAIN, &tar[200_000..]));
    let Ok(Found::Unknown(unknown)) = find(&blob, u64::MAX, &mut |_| {}) else { panic!() };
    let nearest = unknown.nearest.unwrap();
    assert_eq!((unknown.reason, nearest.encoder), (Reason::Encoder, GO_6));
    assert!((first..blob.len() as u64).contains(&nearest.blob_offset), "{nearest:?}");
    assert!((200_000..=300_000).contains(&nearest.tar_offset), "{nearest:?}");
    let Ok(Found::Unknown(unknown)) = find(&tar, u64::MAX, &mut |_| {}) else { panic!() };
    assert_eq!((unknown.reason, unknown.nearest), (Reason::NotCompressed, None));
}

#[test]
fn damaged_and_cut_blobs_are_refused() {
    let blob = member(GO_6, NAMED, &sample(300_000));
    let cut = |bytes: usize| find(&&blob[..bytes], u64::MAX, &mut |_| {});
    for bytes in [blob.len() - 1, blob.len() - 8, blob.len() - 20, 5000] {
        assert!(matches!(cut(bytes), Err(FindError::Short { member: 16 })), "{bytes}");
    }
    assert!(matches!(cut(9), Ok(Found::Unknown(unknown)) if unknown.reason == Reason::NotCompressed));
    assert!(matches!(find(&blob, 299_999, &mut |_| {}), Err(FindError::TarLimit(299_999))));
    let mut damaged = blob.clone();
    damaged[16] = 7;
    assert!(find(&damaged, u64::MAX, &mut |_| {}).is_err_and(|error| error.blame() == Blame::Peer));
}

#[test]
fn a_blob_of_another_zlib_like_encoder_has_small_corrections() {
    use std::io::Write;
    let tar = sample(3_000_000);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(7));
    encoder.write_all(&tar).unwrap();
    let mut blob = encoder.finish().unwrap();
    blob.extend(member(GO_6, NAMED, &[]));
    assert!(matches!(find(&blob, u64::MAX, &mut |_| {}), Ok(Found::Unknown(_))));
    let (recipe, body) = correct(&blob, &mut |_| {}).unwrap().expect("small corrections");
    assert!(recipe.to_bytes().len() + body.len() <= blob.len() / 50);
    let bytes = recipe.to_bytes();
    assert_eq!(Recipe::from_bytes(&bytes), Ok((recipe.clone(), bytes.len())));
    let mut out = Vec::new();
    let rebuild = Rebuild::new(&recipe, &body, &tar).unwrap();
    rebuild.whole(2, &mut out).unwrap();
    assert!(out == blob);
    out.clear();
    rebuild.range(1000..200_000, &mut out).unwrap();
    assert!(out == blob[1000..200_000]);
    // Damaged corrections are an error, never a panic or another blob.
    let mut numbers = Numbers::new(7);
    for _ in 0..20 {
        let mut damaged = body.clone();
        let at = numbers.below(damaged.len());
        damaged[at] ^= 1 << numbers.below(8);
        let rebuild = Rebuild::new(&recipe, &damaged, &tar).unwrap();
        let mut out = Vec::new();
        assert!(rebuild.whole(1, &mut out).is_err() || out == blob);
    }
    // Noise has nothing to correct.
    assert!(correct(&sample(1000), &mut |_| {}).unwrap().is_none());
}

#[test]
fn a_blob_can_be_kept_as_it_is() {
    let blob = sample(200_000);
    let digest = <sha2::Sha256 as sha2::Digest>::digest(&blob);
    let blob_digest = lighter_types::OciDigest::new(digest.into());
    let recipe = Recipe { blob: blob_digest, blob_bytes: 200_000, tar_bytes: 0, form: Form::Verbatim };
    let bytes = recipe.to_bytes();
    assert_eq!(Recipe::from_bytes(&bytes), Ok((recipe.clone(), bytes.len())));
    let tar: &dyn ReadAt = &Vec::new();
    let mut out = Vec::new();
    Rebuild::new(&recipe, &blob, &tar).unwrap().whole(2, &mut out).unwrap();
    assert!(out == blob);
    let short = &blob[1..];
    assert!(matches!(Rebuild::new(&recipe, &short, &tar), Err(RebuildError::BodyBytes { found: 199_999, .. })));
    let mut other = blob.clone();
    other[5] ^= 1;
    let result = Rebuild::new(&recipe, &other, &tar).unwrap().whole(1, &mut Vec::new());
    assert!(matches!(result, Err(RebuildError::Mismatch { .. })));
}

/// Two members, a tail, and checkpoints.
fn rich() -> (Recipe, Vec<u8>, Vec<u8>) {
    let tar = sample(9_000_000);
    let encoder = Encoder { block_bytes: NonZeroU32::new(1 << 20), ..Encoder::new(Class::KpFlate3, 1) };
    let mut blob = member(encoder, NAMED, &tar[..8_900_000]);
    blob.extend(member(encoder, PLAIN, &tar[8_900_000..]));
    blob.extend(b"tail");
    (found(&blob), tar, blob)
}

/// Recipes that are cut or have a wrong bit are refused, or do not fit. Every n-th of the readable ones is rebuilt.
fn check_damage(recipe: &Recipe, tar: &[u8], blob: &[u8], every: usize) {
    let bytes = recipe.to_bytes();
    (0..bytes.len()).for_each(|length| assert!(Recipe::from_bytes(&bytes[..length]).is_err(), "{length}"));
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let Ok((damaged, _)) = Recipe::from_bytes(&damaged) else { continue };
        // Only some are rebuilt: it takes its time.
        if bit % every == 0 {
            let result = Rebuild::new(&damaged, &Vec::new(), &tar).and_then(|rebuild| {
                let mut out = Vec::new();
                rebuild.whole(2, &mut out).map(|()| out)
            });
            // Some bits change nothing, such as another class that makes the same.
            let is_refused = result.as_ref().is_err_and(|error| error.blame() != Blame::Machine);
            assert!(is_refused || result.is_ok_and(|out| out == blob), "bit {bit}");
        }
    }
    assert!(rebuilt(recipe, tar, 2).unwrap() == blob);
}

#[test]
fn cut_and_damaged_recipes_are_refused_or_do_not_fit() {
    let (recipe, tar, blob) = rich();
    check_damage(&recipe, &tar, &blob, 11);
}

#[test]
fn a_recipe_for_another_tar_does_not_fit() {
    let (recipe, mut tar, _) = rich();
    tar[3_000_000] ^= 1;
    assert!(rebuilt(&recipe, &tar, 1).is_err_and(|error| error.blame() == Blame::Peer));
    tar.pop();
    assert!(matches!(rebuilt(&recipe, &tar, 1), Err(RebuildError::TarBytes { .. })));
}

#[test]
fn recipes_that_claim_too_much_are_refused() {
    let (recipe, ..) = rich();
    let with = |change: &dyn Fn(&mut Recipe)| {
        let mut recipe = recipe.clone();
        change(&mut recipe);
        Recipe::from_bytes(&recipe.to_bytes()).map(|_| ())
    };
    let parts = |recipe: &mut Recipe, change: &dyn Fn(&mut crate::Encoded)| match &mut recipe.form {
        Form::Encoded(encoded) => change(encoded),
        form @ (Form::Corrected(_) | Form::Verbatim) => panic!("{form:?}"),
    };
    let close = Checkpoint { tar: 1000, blob: BitPosition { bytes: 500, partial: 1 } };
    let refused = |result| matches!(result, Err(ReadError::Contradiction(_) | ReadError::Limit(_)));
    assert!(refused(with(&|recipe| recipe.tar_bytes += 1)));
    assert!(refused(with(&|recipe| parts(recipe, &|encoded| encoded.checkpoints.insert(0, close)))));
    assert!(refused(with(&|recipe| parts(recipe, &|encoded| encoded.checkpoints.reverse()))));
    assert!(refused(with(&|recipe| parts(recipe, &|encoded| encoded.framing.tail = vec![0; 70_000]))));
    assert!(refused(with(&|recipe| parts(recipe, &|encoded| encoded.framing.members[0].header = 9))));
    assert!(refused(with(&|recipe| parts(recipe, &|encoded| {
        let empty = crate::Member { tar_bytes: 0, ..encoded.framing.members[0].clone() };
        encoded.framing.members.extend(vec![empty; 40_000]);
    }))));
    let level = |level| with(&|recipe| parts(recipe, &|encoded| encoded.encoder.level = level));
    assert!(matches!(level(10), Err(ReadError::Encoder(_))));
    let mut bytes = recipe.to_bytes();
    bytes[57..61].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(Recipe::from_bytes(&bytes).map(|_| ()), Err(ReadError::Limit("its head")));
    bytes[7] = b'9';
    assert_eq!(Recipe::from_bytes(&bytes).unwrap_err().blame(), Blame::Version);
}

#[test]
fn the_bytes_of_a_recipe_are_golden() {
    let recipe = Recipe {
        blob: lighter_types::OciDigest::new([7; 32]),
        blob_bytes: 5_000_000,
        tar_bytes: 9_000_000,
        form: Form::Encoded(crate::Encoded {
            encoder: Encoder { block_bytes: NonZeroU32::new(1 << 20), ..Encoder::new(Class::KpFlate3, -2) },
            framing: crate::Framing {
                headers: vec![PLAIN.to_vec()],
                members: vec![crate::Member { tar_bytes: 9_000_000, header: 0, trailer: Some(Box::from([9; 8])) }],
                tail: vec![1, 2],
            },
            checkpoints: vec![Checkpoint { tar: 4_194_304, blob: BitPosition { bytes: 300, partial: 5 } }],
        }),
    };
    let mut golden = b"LTRRCP01\x01".to_vec();
    golden.extend(5_000_000u64.to_le_bytes());
    golden.extend([7; 32]);
    golden.extend(9_000_000u64.to_le_bytes());
    golden.extend(43u32.to_le_bytes());
    golden.extend([4, 254, 128, 128, 64]);
    golden.extend([1, 10, 0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
    golden.extend([1, 0xc0, 0xa8, 0xa5, 4, 1, 8, 9, 9, 9, 9, 9, 9, 9, 9]);
    golden.extend([2, 1, 2, 1, 0x80, 0x80, 0x80, 2, 0xac, 2, 5]);
    assert_eq!(recipe.to_bytes(), golden);
    assert_eq!(Recipe::from_bytes(&golden), Ok((recipe, golden.len())));
}
