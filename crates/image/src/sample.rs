//! Estimates the compressed size of a tar from samples: gzip -6 of [`SAMPLE_BYTES`] in every [`STRIDE_BYTES`].
//!
//! The card of a layer has its compressed size. For a layer that arrives uncompressed (from `docker save`, or rebuilt
//! by a patch), compressing all of it would take longer than the rest of the scan. A sample begins with an empty
//! window, which makes it about a sixteenth larger. The estimate subtracts this sixteenth. Estimates of the corpus are
//! within 7 % of the real size (docs/IMAGES.md).

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use lighter_types::Bytes;

/// The size of a sample, which is the beginning of each stride. It is the size of DEFLATE's window (RFC 1951).
const SAMPLE_BYTES: u64 = 32 << 10;
/// The size of a stride. An eighth of the tar is sampled, which takes about 2 ms for each MiB of tar. Fewer and longer
/// samples are less exact: 64 KiB in every MiB were wrong by up to 14 %.
const STRIDE_BYTES: u64 = 256 << 10;

/// Estimates the gzip -6 size of bytes that arrive in pieces. Holds one encoder, about 300 KiB.
#[derive(Default)]
pub(crate) struct CompressionSampler {
    input_bytes: u64,
    sampled_bytes: u64,
    sampled_compressed_bytes: u64,
    sample: Option<GzEncoder<CountingWriter>>,
}

impl CompressionSampler {
    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let within = self.input_bytes % STRIDE_BYTES;
            let until = if within < SAMPLE_BYTES { SAMPLE_BYTES } else { STRIDE_BYTES };
            let count = bytes.len().min(usize::try_from(until - within).unwrap_or(usize::MAX));
            let (piece, rest) = bytes.split_at(count);
            if within < SAMPLE_BYTES {
                let encoder =
                    self.sample.get_or_insert_with(|| GzEncoder::new(CountingWriter::default(), Compression::new(6)));
                // A writer that only counts cannot fail.
                let _ = encoder.write_all(piece);
                self.sampled_bytes += count as u64;
            }
            self.input_bytes += count as u64;
            if self.input_bytes % STRIDE_BYTES == SAMPLE_BYTES {
                self.end_sample();
            }
            bytes = rest;
        }
    }

    /// The estimated size. It is exact for inputs of at most one sample.
    pub(crate) fn finish(mut self) -> Bytes {
        self.end_sample();
        if self.input_bytes == self.sampled_bytes {
            return Bytes(self.sampled_compressed_bytes);
        }
        let scaled = u128::from(self.sampled_compressed_bytes) * u128::from(self.input_bytes) * 15 / 16;
        Bytes(u64::try_from(scaled / u128::from(self.sampled_bytes.max(1))).unwrap_or(u64::MAX))
    }

    fn end_sample(&mut self) {
        if let Some(Ok(writer)) = self.sample.take().map(GzEncoder::finish) {
            self.sampled_compressed_bytes += writer.0;
        }
    }
}

#[derive(Default)]
struct CountingWriter(u64);

impl Write for CountingWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(bytes: &[u8], piece: usize) -> u64 {
        let mut sampler = CompressionSampler::default();
        bytes.chunks(piece).for_each(|chunk| sampler.update(chunk));
        sampler.finish().0
    }

    #[test]
    fn empty_input_has_no_size_and_zeros_a_small_one() {
        assert_eq!(estimate(&[], 1), 0);
        assert!(estimate(&vec![0; 5 << 20], 1000) < 5 << 13);
    }

    #[test]
    fn noise_does_not_shrink_and_the_cuts_do_not_matter() {
        let noise: Vec<u8> = blake3::Hasher::new().finalize_xof().bytes_of(3 << 20);
        let whole = estimate(&noise, noise.len());
        assert_eq!(whole, estimate(&noise, 777));
        assert!(whole.abs_diff(noise.len() as u64) * 15 < noise.len() as u64, "{whole}");
    }

    trait BytesOf {
        fn bytes_of(self, count: usize) -> Vec<u8>;
    }

    impl BytesOf for blake3::OutputReader {
        fn bytes_of(mut self, count: usize) -> Vec<u8> {
            let mut bytes = vec![0; count];
            self.fill(&mut bytes);
            bytes
        }
    }
}
