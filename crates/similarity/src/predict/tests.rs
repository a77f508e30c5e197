//! The promises of the prediction by TLSH, for any parameters.

use lighter_types::{DiffId, TLSH_BYTES, Tlsh};
use proptest::prelude::*;

use super::*;

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
