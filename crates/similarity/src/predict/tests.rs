//! The promises of the prediction by TLSH, for any parameters.

use lighter_types::{DiffId, TLSH_BYTES, Tlsh};
use proptest::prelude::*;

use super::*;
use crate::work::counted;

fn card(name: u8, tar_bytes: u64, compressed_bytes: u64, tlsh: Option<[u8; TLSH_BYTES]>) -> Card {
    Card {
        diff_id: DiffId::new([name; 32]),
        tar_bytes: Bytes(tar_bytes),
        compressed_bytes: Bytes(compressed_bytes),
        tlsh: tlsh.map(Tlsh::new),
    }
}

#[test]
fn without_a_base_it_is_the_compressed_layer() {
    let target = card(1, 10_000_000, 4_000_000, Some([7; TLSH_BYTES]));
    assert_eq!(predict_patch_bytes(&target, None).bytes, Bytes(4_000_000));
    assert_eq!(predict_with_bases(&target, []).bytes, Bytes(4_000_000));
    let blank = card(2, 10_000_000, 4_000_000, None);
    assert_eq!(predict_patch_bytes(&target, Some(&blank)).bytes, Bytes(4_000_000));
    assert_eq!(predict_patch_bytes(&blank, Some(&target)).bytes, Bytes(4_000_000));
}

#[test]
fn the_target_itself_costs_next_to_nothing() {
    let target = card(1, 10_000_000, 4_000_000, None);
    assert_eq!(predict_patch_bytes(&target, Some(&target)).bytes, PATCH_BYTES_MIN);
    let small = card(3, 700, 200, None);
    assert_eq!(predict_patch_bytes(&small, Some(&small)).bytes, Bytes(200));
}

#[test]
fn the_nearest_comes_first_and_ties_have_an_order() {
    let mut far = [7; TLSH_BYTES];
    far[3..20].fill(0xff);
    let target = card(1, 10_000_000, 4_000_000, Some([7; TLSH_BYTES]));
    let bases = [
        card(5, 10_000_000, 1, Some(far)),
        card(4, 10_000_000, 1, Some([7; TLSH_BYTES])),
        card(3, 10_000_000, 1, Some([7; TLSH_BYTES])),
        card(6, 20_000_000, 1, Some([7; TLSH_BYTES])),
        card(2, 10_000_000, 1, None),
    ];
    for (count, expected) in [(9, &[6, 3, 4, 5, 2][..]), (2, &[6, 3]), (0, &[])] {
        let ranked = rank_bases(&target, &bases, count);
        let names: Vec<u8> = ranked.iter().map(|ranked| ranked.base.diff_id.as_bytes()[0]).collect();
        assert_eq!(names, expected);
    }
    assert_eq!(predict_with_bases(&target, &bases), rank_bases(&target, &bases, 1)[0].prediction);
}

/// Bases of all distances and several sizes, and the target.
fn many(count: u64) -> (Card, Vec<Card>) {
    let base = |n: u64| {
        let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
        let mut tlsh = [7; TLSH_BYTES];
        tlsh[3..6].copy_from_slice(&mixed[..3]);
        let mut id = [0; 32];
        id[..8].copy_from_slice(&mixed);
        let card = card(0, 9_000_000 + n % 5 * 1_000_000, 1, (!n.is_multiple_of(7)).then_some(tlsh));
        Card { diff_id: DiffId::new(id), ..card }
    };
    (card(1, 10_000_000, 4_000_000, Some([7; TLSH_BYTES])), (0..count).map(base).collect())
}

#[test]
fn the_best_few_are_the_first_of_all() {
    let (target, bases) = many(1000);
    let all = rank_bases(&target, &bases, usize::MAX);
    assert_eq!(all.len(), 1000);
    assert!(all.is_sorted_by_key(|ranked| ranked.prediction.bytes));
    for count in [0, 1, 2, 12, 100, 999] {
        assert_eq!(rank_bases(&target, &bases, count), all[..count]);
    }
}

#[test]
fn steps_grow_with_bases() {
    for few in [false, true] {
        let steps = |size: u64| {
            let (target, bases) = many(2000 * size);
            counted::of(|| drop(rank_bases(&target, &bases, if few { 12 } else { bases.len() })))
        };
        let growth = 100 * steps(2) / steps(1);
        assert!(growth < 250, "{growth}");
    }
}

proptest! {
    #[test]
    fn stays_within_its_range(
        a in any::<[u8; TLSH_BYTES]>(), b in any::<[u8; TLSH_BYTES]>(),
        target_bytes in any::<u64>(), base_bytes in any::<u64>(), compressed in any::<u64>(),
    ) {
        let target = card(1, target_bytes, compressed, Some(a));
        let bytes = predict_patch_bytes(&target, Some(&card(2, base_bytes, 1, Some(b)))).bytes;
        prop_assert!(bytes <= target.compressed_bytes);
        prop_assert!(bytes >= PATCH_BYTES_MIN.min(target.compressed_bytes));
    }

    #[test]
    fn never_falls_with_distance_nor_with_a_smaller_base(
        near in 0u32..900, farther in 0u32..900, target in 1u64..1 << 40, base in 0u64..1 << 41, less in 0u64..1 << 40,
    ) {
        let (target, smaller_base) = (Bytes(target), Bytes(base.saturating_sub(less)));
        let expected = fraction(Distance(near), target, Bytes(base));
        prop_assert!(expected <= fraction(Distance(near.saturating_add(farther)), target, Bytes(base)));
        prop_assert!(expected <= fraction(Distance(near), target, smaller_base));
        prop_assert!(expected <= WHOLE);
    }
}
