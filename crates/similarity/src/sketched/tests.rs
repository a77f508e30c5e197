//! The promises of predictions from sketches, on generated layers. examples/predict_corpus.rs uses real layers.
//!
//! The layers are made: noise in files, so that each share of old content, path or header is known. Tests compare the
//! prediction with what that share costs, and look at which bases are chosen, in which order, and how many.

use lighter_types::{DiffId, TLSH_BYTES, Tlsh};

use super::*;
use crate::TlshHasher;
use crate::sketch::tests::{noise, sketch, tar};
use crate::work::counted;
use lighter_tar::entry;

const COMPRESSED_BYTES: u64 = 400_000;

struct Layer {
    card: Card,
    sketch: Sketch,
}

/// A layer of files of 10 KB, one for each seed. `name` fills its DiffId.
fn layer(name: u8, files: impl Iterator<Item = u64>) -> Layer {
    let contents: Vec<Vec<u8>> = files.map(|seed| noise(seed, 10_000)).collect();
    let bytes = tar(contents.iter().map(|content| &content[..]));
    let mut tlsh = TlshHasher::new();
    tlsh.update(&bytes);
    let card = Card {
        diff_id: DiffId::new([name; 32]),
        tar_bytes: Bytes(bytes.len() as u64),
        compressed_bytes: Bytes(COMPRESSED_BYTES),
        tlsh: tlsh.finish(),
    };
    Layer { card, sketch: sketch(&bytes) }
}

fn pool(layers: &[Layer]) -> Vec<(&Card, Option<&Sketch>)> {
    layers.iter().map(|layer| (&layer.card, Some(&layer.sketch))).collect()
}

fn predict_from(target: &Layer, bases: &[Layer]) -> Prediction {
    predict(&target.card, Some(&target.sketch), &pool(bases))
}

/// The prediction must be this percentage of the compressed layer, within its expected error.
fn check(target: &Layer, bases: &[Layer], percent: u64) {
    let prediction = predict_from(target, bases);
    let expected = COMPRESSED_BYTES * percent / 100 + PATCH_BYTES_MIN.0;
    let error = expected * u64::from(prediction.expected_error.0) / 1024;
    assert!(prediction.bytes.0.abs_diff(expected) <= error.max(2000), "{prediction:?} is not {expected}");
}

#[test]
fn a_superset_costs_next_to_nothing() {
    let target = layer(1, 1..101);
    check(&target, &[layer(2, 1..101)], 0);
    check(&target, &[layer(2, 1..301)], 0);
    check(&target, &[layer(2, 1..41), layer(3, 30..101)], 0);
    assert!(predict_from(&target, &[layer(2, 1..301)]).bytes < Bytes(COMPRESSED_BYTES / 100));
}

#[test]
fn an_unrelated_base_costs_what_the_codec_makes_of_the_layer() {
    let target = layer(1, 1..101);
    let unrelated = predict_from(&target, &[layer(2, 201..301)]).bytes.0;
    let none = predict_from(&target, &[]);
    assert_eq!(none.bytes.0, COMPRESSED_BYTES * NEW_COST / 1024 + PATCH_BYTES_MIN.0);
    assert!(unrelated > none.bytes.0 * 97 / 100 && unrelated <= none.bytes.0, "{unrelated}");
}

#[test]
fn new_files_cost_their_share() {
    let target = layer(1, 1..101);
    check(&target, &[layer(2, 11..111)], 10 * 7 / 8);
    check(&target, &[layer(2, 51..151)], 50 * 7 / 8);
    check(&target, &[layer(2, 51..151), layer(3, 26..76)], 25 * 7 / 8);
}

#[test]
fn fewer_missing_samples_have_a_larger_error() {
    let target = layer(1, 1..101);
    let [half, few, none] =
        [51..151, 3..103, 1..101].map(|files| predict_from(&target, &[layer(2, files)]).expected_error);
    assert!(half < few && few < none);
    assert_eq!(predict_from(&target, &[]).expected_error, ExpectedError(RULE_ERROR));
}

#[test]
fn the_target_itself_costs_next_to_nothing_and_is_sure() {
    let target = layer(1, 1..11);
    let prediction = predict_from(&target, &[layer(2, 5..20), layer(1, 1..11)]);
    assert_eq!(prediction, Prediction { bytes: PATCH_BYTES_MIN, expected_error: ExpectedError::NONE });
}

#[test]
fn the_order_of_bases_does_not_matter() {
    let target = layer(1, 1..101);
    let bases = [layer(2, 1..41), layer(3, 41..71), layer(4, 60..400)];
    let mut pool = pool(&bases);
    let expected = predict(&target.card, Some(&target.sketch), &pool);
    for _ in 0..3 {
        pool.rotate_left(1);
        assert_eq!(predict(&target.card, Some(&target.sketch), &pool), expected);
        pool.swap(0, 1);
        assert_eq!(predict(&target.card, Some(&target.sketch), &pool), expected);
    }
}

#[test]
fn without_sketches_tlsh_decides() {
    let target = layer(1, 1..101);
    let bases = [layer(2, 1..96), layer(3, 500..600)];
    let cards: Vec<&Card> = bases.iter().map(|base| &base.card).collect();
    let expected = predict_with_bases(&target.card, cards.iter().copied());
    assert_eq!(predict(&target.card, None, &pool(&bases)), expected);
    assert_eq!(predict(&target.card, Some(&sketch(b"")), &pool(&bases)), expected);
    assert_eq!(predict(&target.card, None, &[]).bytes, target.card.compressed_bytes);
    // A base without a sketch has a prediction by TLSH, beside a base with a sketch.
    let mut alike = layer(4, 700..800).card;
    alike.tlsh = target.card.tlsh;
    let mixed =
        predict(&target.card, Some(&target.sketch), &[(&alike, None), (&bases[1].card, Some(&bases[1].sketch))]);
    assert_eq!(mixed, predict_patch_bytes(&target.card, Some(&alike)));
}

#[test]
fn bases_are_chosen_for_their_saving() {
    let target = layer(1, 1..101);
    let layers =
        [layer(2, 500..600), layer(3, 1..41), layer(4, 1..61), layer(5, 61..91), layer(6, 61..81), layer(7, 700..1000)];
    let choose = |count| choose_bases(&target.card, Some(&target.sketch), &pool(&layers), count);
    assert_eq!(choose(8).indices, [2, 3]);
    assert_eq!(choose(1).indices, [2]);
    assert_eq!(choose(0), ChosenBases { indices: vec![], prediction: predict_from(&target, &[]) });
    let both = [&layers[2], &layers[3]].map(|layer| (&layer.card, Some(&layer.sketch)));
    assert_eq!(choose(8).prediction, predict(&target.card, Some(&target.sketch), &both));
}

#[test]
fn steps_grow_with_the_pool() {
    let target = layer(1, 1..101);
    let steps = |size: u64| {
        let layers: Vec<Layer> = (0..20 * size).map(|n| layer(n as u8 + 2, 1 + n..40 + 2 * n)).collect();
        let mut chosen = Vec::new();
        let steps = counted::of(|| {
            chosen = choose_bases(&target.card, Some(&target.sketch), &pool(&layers), 2).indices;
        });
        assert_eq!(chosen.len(), 2);
        steps
    };
    let growth = 100 * steps(2) / steps(1);
    assert!(growth < 250, "{growth}");
}

#[test]
fn ties_go_to_the_larger_base_and_then_to_the_lower_name() {
    let target = layer(1, 1..21);
    let mut layers = [layer(5, 1..21), layer(4, 1..21), layer(3, 1..21)];
    let choose = |layers: &[Layer]| choose_bases(&target.card, Some(&target.sketch), &pool(layers), 3).indices;
    assert_eq!(choose(&layers), [2]);
    layers[0].card.tar_bytes.0 += 512;
    assert_eq!(choose(&layers), [0]);
}

/// A layer of 2,000 small files in a folder, all of one kind.
fn small_files(name: u8, folder: &str, kind: u8) -> Layer {
    let file = |n: u64| entry(&format!("{folder}/{n}"), kind, &noise(n + 1, 100), "");
    let bytes: Vec<u8> = (0..2000).flat_map(file).collect();
    Layer { sketch: sketch(&bytes), ..layer(name, 1..2) }
}

#[test]
fn headers_cost_where_the_contents_are_old() {
    let target = small_files(1, "new", b'0');
    let same = predict_from(&target, &[small_files(2, "new", b'0')]);
    let touched = predict_from(&target, &[small_files(3, "new", b'7')]);
    let renamed = predict_from(&target, &[small_files(4, "old", b'0')]);
    assert!(same.bytes < PATCH_BYTES_MIN + Bytes(500), "{same:?}");
    assert!((1_800..2_500).contains(&touched.bytes.0), "{touched:?}");
    assert!((7_500..8_500).contains(&renamed.bytes.0), "{renamed:?}");
    // The one with the right paths comes first, and the other one adds nothing.
    let layers = [small_files(2, "old", b'0'), small_files(3, "new", b'0')];
    assert_eq!(choose_bases(&target.card, Some(&target.sketch), &pool(&layers), 2).indices, [1]);
}

#[test]
fn headers_of_new_contents_are_a_part_of_the_compressed_layer() {
    let target = small_files(1, "new", b'0');
    let unrelated = predict_from(&target, &[layer(2, 3000..3100)]);
    assert!(unrelated.bytes <= predict_from(&target, &[]).bytes, "{unrelated:?}");
    assert_eq!(unrelated.expected_error, ExpectedError(RULE_ERROR));
}

#[test]
fn nothing_overflows() {
    let mut target = layer(1, 1..11);
    target.card.compressed_bytes = Bytes(u64::MAX);
    target.card.tlsh = Some(Tlsh::new([7; TLSH_BYTES]));
    assert!(predict_from(&target, &[layer(2, 1..6)]).bytes.0 > u64::MAX / 4);
    assert!(predict_from(&target, &[layer(2, 50..60)]).bytes.0 > u64::MAX / 2);
    target.card.compressed_bytes = Bytes(0);
    assert_eq!(predict_from(&target, &[layer(2, 1..6)]).bytes, Bytes(0));
}

#[test]
fn offered_bases_are_kept_in_their_order_if_they_save_enough() {
    let target = layer(1, 1..101);
    let offered = [layer(2, 1..61), layer(3, 201..301), layer(4, 40..101), layer(5, 1..101)];
    let kept = |count| keep_bases(&target.card, Some(&target.sketch), &pool(&offered), count);
    assert_eq!(kept(4).indices, [0, 2]);
    assert_eq!(kept(1).indices, [0]);
    assert_eq!(kept(0).indices, []);
    let chosen = choose_bases(&target.card, Some(&target.sketch), &pool(&offered[..3]), 4);
    let in_order: Vec<_> = chosen.indices.iter().map(|&index| pool(&offered)[index]).collect();
    let all = keep_bases(&target.card, Some(&target.sketch), &in_order, 4);
    assert_eq!((all.indices.len(), all.prediction), (chosen.indices.len(), chosen.prediction));
    assert_eq!(keep_bases(&target.card, None, &pool(&offered), 4).indices, [0]);
}
