//! The distance between two TLSH digests, computed on the 35 bytes without parsing them.
//!
//! Source: the reference's `Tlsh::totalDiff` with the length term (tlsh 4.x, `tlsh_impl.cpp`). A test compares the
//! results with tlsh2's `diff`. tlsh2 has to parse a digest first, which takes 183 ns, and 41 ns to compare. A planner
//! compares one target with thousands of layers, so this module compares the bytes, in 16 ns for a pair
//! (docs/PREDICTION.md).

use lighter_types::{TLSH_BYTES, Tlsh};

/// The distance of two digests: 0 for equal digests, at most [`DISTANCE_MAX`]. A distance below about 100 means that
/// two layers are releases of the same software. A larger distance means little.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Distance(pub u32);

/// The largest distance: length 128 x 12, two quartile ratios of 7 x 12, checksum 1, 128 bucket codes of 6.
pub const DISTANCE_MAX: Distance = Distance(128 * 12 + 2 * 7 * 12 + 1 + 128 * 6);

/// The bytes before the bucket codes: checksum, length, quartile ratios.
const HEADER_BYTES: usize = 3;
/// The weight of a step of the length or of a quartile ratio (`LENGTH_MULT`, `QRATIO_MULT` of the reference).
const STEP_WEIGHT: u32 = 12;
/// The low bit of every two-bit bucket code.
const LOW_BITS: u64 = 0x5555_5555_5555_5555;

/// The distance of two digests, including the length term. It is symmetric and 0 for equal digests. It is not a metric,
/// because the triangle inequality does not hold.
pub fn distance(one: &Tlsh, other: &Tlsh) -> Distance {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    // The bytes have the two digits of the length swapped, as in print, so they are swapped back. The digits of the
    // checksum are swapped too, but it is only compared for equality.
    let length = ring_difference(one[1].rotate_left(4), other[1].rotate_left(4), 256);
    let length = if length <= 1 { length } else { length * STEP_WEIGHT };
    Distance(length + content_term(one, other))
}

/// The distance without the length term. Predictions use it, because a larger base is no worse.
pub(crate) fn content_distance(one: &Tlsh, other: &Tlsh) -> Distance {
    Distance(content_term(one.as_bytes(), other.as_bytes()))
}

fn content_term(one: &[u8; TLSH_BYTES], other: &[u8; TLSH_BYTES]) -> u32 {
    let quartiles = quartile_term(one[2] >> 4, other[2] >> 4) + quartile_term(one[2] & 0x0f, other[2] & 0x0f);
    let checksum = u32::from(one[0] != other[0]);
    quartiles + checksum + buckets_term(one, other)
}

/// The shorter distance on a ring of `size` values.
fn ring_difference(one: u8, other: u8, size: u32) -> u32 {
    let difference = u32::from(one.abs_diff(other));
    difference.min(size - difference)
}

fn quartile_term(one: u8, other: u8) -> u32 {
    match ring_difference(one, other, 16) {
        difference @ 0..=1 => difference,
        difference => (difference - 1) * STEP_WEIGHT,
    }
}

/// The sum over the 128 two-bit codes of their differences: 0, 1, 2, or 6 for codes that differ by 3. Handles 32 codes
/// at a time, without a table and without instructions that some x86-64 machines lack.
fn buckets_term(one: &[u8; TLSH_BYTES], other: &[u8; TLSH_BYTES]) -> u32 {
    // At most 24 in a byte of a word, so at most 96 over the four words.
    let in_bytes: u64 = bucket_words(one).into_iter().zip(bucket_words(other)).map(|(a, b)| differences(a, b)).sum();
    let in_pairs = (in_bytes & 0x00ff_00ff_00ff_00ff) + (in_bytes >> 8 & 0x00ff_00ff_00ff_00ff);
    (in_pairs.wrapping_mul(0x0001_0001_0001_0001) >> 48) as u32
}

/// The bucket codes as four words of 32 codes.
fn bucket_words(bytes: &[u8; TLSH_BYTES]) -> [u64; 4] {
    std::array::from_fn(|index| {
        let start = HEADER_BYTES + index * 8;
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[start..start + 8]);
        u64::from_le_bytes(word)
    })
}

/// The differences of 32 codes, summed within each byte.
fn differences(a: u64, b: u64) -> u64 {
    let low = (a ^ b) & LOW_BITS;
    let high = (a ^ b) >> 1 & LOW_BITS;
    // If both bits differ, the codes are 0 and 3 if the two bits of `a` are equal, else 1 and 2.
    let six = low & high & !(a ^ a >> 1);
    let two = high & !low;
    let one = low & !six;
    let up_to_two = one | two << 1;
    const NIBBLES: u64 = 0x3333_3333_3333_3333;
    let pairs = (up_to_two & NIBBLES) + (up_to_two >> 2 & NIBBLES) + 6 * ((six & NIBBLES) + (six >> 2 & NIBBLES));
    const BYTES: u64 = 0x0f0f_0f0f_0f0f_0f0f;
    (pairs & BYTES) + (pairs >> 4 & BYTES)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn distance_by_tlsh2(one: &Tlsh, other: &Tlsh) -> u32 {
        let [one, other] = [one, other].map(|tlsh| tlsh.to_string().parse::<tlsh2::TlshDefault>().expect("a digest"));
        u32::try_from(one.diff(&other, true)).expect("a distance is not negative")
    }

    proptest! {
        #[test]
        fn is_the_distance_of_tlsh2(one in any::<[u8; TLSH_BYTES]>(), other in any::<[u8; TLSH_BYTES]>()) {
            let (one, other) = (Tlsh::new(one), Tlsh::new(other));
            prop_assert_eq!(distance(&one, &other).0, distance_by_tlsh2(&one, &other));
            prop_assert_eq!(distance(&one, &other), distance(&other, &one));
            prop_assert_eq!(distance(&one, &one), Distance(0));
            prop_assert!(distance(&one, &other) <= DISTANCE_MAX);
        }
    }

    /// Distances from Debian's tlsh 3.4.4 over the corpus, for example `tlsh -c nginx-r1.tar -f nginx-r2.tar`.
    #[test]
    fn is_the_distance_of_the_tlsh_tool() {
        let nginx_r1 = "T19F078D077A9128FCC5E6C230966BD532AE74B4985312AA7F389CD6343F52F344F1EA61";
        let nginx_r2 = "T198078D077A9128FCC5E6C230966BD532AE74B4985312AA7F389CD6343F52F344F1EA61";
        let debian12_r1 = "T15E48BF07B6C115B9C582C1319257A622BB74FCB95322677B348CB6343FA2E344B7EB61";
        for (other, expected) in [(nginx_r2, 1), (debian12_r1, 327)] {
            assert_eq!(distance(&nginx_r1.parse().unwrap(), &other.parse().unwrap()), Distance(expected));
        }
    }
}
