//! The TLSH digest of a stream: 128 buckets and a one-byte checksum, as Debian's `tlsh` tool prints it.
//!
//! Source: Oliver, Cheng, Chen, "TLSH - A Locality Sensitive Hash" (2013), through the crate tlsh2. The hasher never
//! panics. tlsh2 1.1.0 looks up the length in a table that ends at [`TLSH_INPUT_BYTES_MAX`] and would index past its
//! end, so the hasher stops hashing there and only counts. The bucket counters of tlsh2 wrap like those of the
//! reference, which requires a build without overflow checks in dependencies (the workspace's release profile).

use lighter_types::{TLSH_BYTES, Tlsh};

/// The shortest stream with a digest (TLSH's conservative minimum, `MIN_DATA_LENGTH` of tlsh2's 128-bucket builder).
pub const TLSH_INPUT_BYTES_MIN: u64 = 50;
/// The longest stream with a digest: the end of the reference's table of lengths (`topval`, 3.9 GiB).
pub const TLSH_INPUT_BYTES_MAX: u64 = 4_224_281_216;

/// Computes the [`Tlsh`] of bytes that arrive in pieces. Holds about 1 KiB for any length.
#[derive(Clone, Default)]
pub struct TlshHasher {
    builder: tlsh2::TlshDefaultBuilder,
    input_bytes: u64,
}

impl TlshHasher {
    /// A hasher that has seen no bytes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next bytes of the stream.
    pub fn update(&mut self, bytes: &[u8]) {
        self.input_bytes = self.input_bytes.saturating_add(bytes.len() as u64);
        if self.input_bytes <= TLSH_INPUT_BYTES_MAX {
            self.builder.update(bytes);
        }
    }

    /// The digest of all bytes. `None` for fewer than [`TLSH_INPUT_BYTES_MIN`] or more than [`TLSH_INPUT_BYTES_MAX`]
    /// bytes, and for data that is too uniform to fill half of the buckets.
    pub fn finish(self) -> Option<Tlsh> {
        if !(TLSH_INPUT_BYTES_MIN..=TLSH_INPUT_BYTES_MAX).contains(&self.input_bytes) {
            return None;
        }
        digest_from_digits(&self.builder.build()?.hash())
    }
}

/// Converts the only output format of tlsh2: `T1` and 70 upper-case digits.
fn digest_from_digits(digits: &[u8; 72]) -> Option<Tlsh> {
    let mut bytes = [0; TLSH_BYTES];
    for (byte, pair) in bytes.iter_mut().zip(digits[2..].chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high << 4 | low).ok()?;
    }
    Some(Tlsh::new(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of xorshift64, a generator that any language can repeat in three lines.
    fn noise(seed: u64, length: usize) -> Vec<u8> {
        let mut state = seed;
        std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 24) as u8
        })
        .take(length)
        .collect()
    }

    fn digest(bytes: &[u8]) -> Option<String> {
        let mut hasher = TlshHasher::new();
        hasher.update(bytes);
        hasher.finish().map(|tlsh| tlsh.to_string())
    }

    fn check(bytes: &[u8], expected: &str) {
        assert_eq!(digest(bytes).as_deref(), Some(expected));
    }

    /// Digests of Debian's tlsh 3.4.4 (`tlsh -f`), with the prefix `T1` of current versions.
    #[test]
    fn digests_are_those_of_the_tlsh_tool() {
        check(&noise(1, 1 << 20), "T19825335D514C3EFC54368ABA8268DDD13AD7A9180C3C2C6BFC186837681B75B63B8D2D");
        check(&noise(2, 5000), "T1B3A18D8D9B2B79A8CEA1BC10BF6DB057B384484F3B13F61994AA24E5D58647D3032303");
        check(
            include_bytes!("../../../LICENSE-MIT"),
            "T17011862D736007622C5613A0697968D5B26BB15F7AAF2684245EF344332B06CD4FF800",
        );
    }

    #[test]
    fn the_cuts_between_pieces_do_not_matter() {
        let bytes = noise(3, 70_000);
        for piece in [1, 3, 4096, 65_537] {
            let mut hasher = TlshHasher::new();
            bytes.chunks(piece).for_each(|chunk| hasher.update(chunk));
            assert_eq!(hasher.finish().map(|tlsh| tlsh.to_string()), digest(&bytes));
        }
    }

    #[test]
    fn short_and_uniform_data_have_no_digest() {
        assert_eq!(digest(&[]), None);
        assert_eq!(digest(&noise(4, 49)), None);
        assert!(digest(&noise(4, 400)).is_some());
        assert_eq!(digest(&[0; 100_000]), None);
    }

    /// tlsh2 alone would index past its table of lengths.
    #[test]
    fn a_stream_beyond_the_table_of_lengths_has_no_digest() {
        let mut hasher = TlshHasher::new();
        hasher.update(&noise(5, 4096));
        hasher.input_bytes = TLSH_INPUT_BYTES_MAX;
        assert!(hasher.clone().finish().is_some());
        hasher.update(&[0]);
        assert_eq!(hasher.clone().finish(), None);
        hasher.input_bytes = u64::MAX;
        hasher.update(&[0]);
        assert_eq!(hasher.finish(), None);
    }
}
