//! XXH64 with seed 0, whose low 32 bits end a zstd frame (RFC 8878, 3.1.1; method: xxHash's published specification).

use super::parse::load64;

const PRIMES: [u64; 5] =
    [0x9E37_79B1_85EB_CA87, 0xC2B2_AE3D_27D4_EB4F, 0x1656_67B1_9E37_79F9, 0x85EB_CA77_C2B2_AE63, 0x27D4_EB2F_1656_67C5];
const STRIPE_BYTES: usize = 32;

/// The hash of all content so far.
pub(super) struct Checksum {
    lanes: [u64; 4],
    rest: [u8; STRIPE_BYTES],
    rest_bytes: usize,
    total_bytes: u64,
}

impl Checksum {
    pub(super) fn new() -> Self {
        Self {
            lanes: [PRIMES[0].wrapping_add(PRIMES[1]), PRIMES[1], 0, PRIMES[0].wrapping_neg()],
            rest: [0; STRIPE_BYTES],
            rest_bytes: 0,
            total_bytes: 0,
        }
    }

    pub(super) fn update(&mut self, mut content: &[u8]) {
        self.total_bytes = self.total_bytes.wrapping_add(content.len() as u64);
        if self.rest_bytes > 0 {
            let taken = content.len().min(STRIPE_BYTES - self.rest_bytes);
            let (head, tail) = content.split_at(taken);
            self.rest[self.rest_bytes..self.rest_bytes + taken].copy_from_slice(head);
            self.rest_bytes += taken;
            content = tail;
            if self.rest_bytes < STRIPE_BYTES {
                return;
            }
            let stripe = self.rest;
            self.stripes(&stripe);
            self.rest_bytes = 0;
        }
        let whole = content.len() - content.len() % STRIPE_BYTES;
        let (stripes, rest) = content.split_at(whole);
        self.stripes(stripes);
        self.rest[..rest.len()].copy_from_slice(rest);
        self.rest_bytes = rest.len();
    }

    fn stripes(&mut self, content: &[u8]) {
        let [mut first, mut second, mut third, mut fourth] = self.lanes;
        for stripe in content.chunks_exact(STRIPE_BYTES) {
            first = round(first, load64(stripe, 0));
            second = round(second, load64(stripe, 8));
            third = round(third, load64(stripe, 16));
            fourth = round(fourth, load64(stripe, 24));
        }
        self.lanes = [first, second, third, fourth];
    }

    pub(super) fn finish(&self) -> u64 {
        let lanes = self.lanes;
        let mut hash = if self.total_bytes < STRIPE_BYTES as u64 {
            PRIMES[4]
        } else {
            let joined = lanes[0]
                .rotate_left(1)
                .wrapping_add(lanes[1].rotate_left(7))
                .wrapping_add(lanes[2].rotate_left(12))
                .wrapping_add(lanes[3].rotate_left(18));
            lanes
                .iter()
                .fold(joined, |hash, &lane| (hash ^ round(0, lane)).wrapping_mul(PRIMES[0]).wrapping_add(PRIMES[3]))
        };
        hash = hash.wrapping_add(self.total_bytes);
        let words = self.rest[..self.rest_bytes].chunks_exact(8);
        let mut tail = words.remainder();
        for word in words {
            hash =
                (hash ^ round(0, little_endian(word))).rotate_left(27).wrapping_mul(PRIMES[0]).wrapping_add(PRIMES[3]);
        }
        if tail.len() >= 4 {
            let (half, end) = tail.split_at(4);
            hash = (hash ^ little_endian(half).wrapping_mul(PRIMES[0]))
                .rotate_left(23)
                .wrapping_mul(PRIMES[1])
                .wrapping_add(PRIMES[2]);
            tail = end;
        }
        for &byte in tail {
            hash = (hash ^ u64::from(byte).wrapping_mul(PRIMES[4])).rotate_left(11).wrapping_mul(PRIMES[0]);
        }
        hash = (hash ^ (hash >> 33)).wrapping_mul(PRIMES[1]);
        hash = (hash ^ (hash >> 29)).wrapping_mul(PRIMES[2]);
        hash ^ (hash >> 32)
    }
}

#[inline(always)]
fn round(lane: u64, word: u64) -> u64 {
    lane.wrapping_add(word.wrapping_mul(PRIMES[1])).rotate_left(31).wrapping_mul(PRIMES[0])
}

#[inline(always)]
fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, &byte| (word << 8) | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::Checksum;

    fn check(content: &[u8], expected: u64) {
        let mut whole = Checksum::new();
        whole.update(content);
        assert_eq!(whole.finish(), expected, "{} bytes", content.len());
        let mut parts = Checksum::new();
        for part in content.chunks(7) {
            parts.update(part);
        }
        assert_eq!(parts.finish(), expected, "{} bytes in parts of 7", content.len());
    }

    /// Expected values: cespare/xxhash 2.1.2 (`xxhash.Sum64`).
    #[test]
    fn the_hash_is_that_of_xxhash() {
        check(b"", 0xEF46_DB37_51D8_E999);
        check(b"a", 0xD24E_C4F1_A98C_6E5B);
        check(b"Call me Ishmael. Some years ago--never mind how long precisely-", 0x02A2_E854_70D6_FD96);
    }
}
