//! Estimates the compressed size of a tar from samples: gzip -6 of [`SAMPLE_BYTES`] in every [`STRIDE_BYTES`], and in
//! every [`FAR_STRIDE_BYTES`] of what lies behind [`NEAR_BYTES`].
//!
//! The card of a layer has its compressed size. For a layer that arrives uncompressed (from `docker save`, or rebuilt
//! by a patch), compressing all of it would take longer than the rest of the scan. A sample begins with an empty
//! window, which makes it about a sixteenth larger. The estimate subtracts this sixteenth, but no more than a fourth of
//! what the sample saves: what does not compress loses nothing by an empty window. Estimates of the corpus are within
//! 7 % of the real size (docs/IMAGES.md).

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use lighter_types::Bytes;

/// The size of a sample, which is the beginning of each stride. It is the size of DEFLATE's window (RFC 1951).
const SAMPLE_BYTES: u64 = 32 << 10;
/// The size of a stride. An eighth of the tar is sampled, which takes about 2 ms for each MiB of tar. Fewer and longer
/// samples are less exact: 64 KiB in every MiB were wrong by up to 14 %.
const STRIDE_BYTES: u64 = 256 << 10;
/// The samples of this much are enough for one part of the estimate. A larger tar is sampled less, so that samples are
/// no bound of the scan.
const NEAR_BYTES: u64 = 64 << 20;
/// The size of a stride behind it.
const FAR_STRIDE_BYTES: u64 = 1 << 20;

/// Estimates the gzip -6 size of bytes that arrive in pieces. Holds one encoder, about 300 KiB.
#[derive(Default)]
pub(crate) struct CompressionSampler {
    near: Part,
    far: Part,
    sample: Option<GzEncoder<CountingWriter>>,
}

/// A part of the input with its samples.
#[derive(Default)]
struct Part {
    input_bytes: u64,
    sampled_bytes: u64,
    sampled_compressed_bytes: u64,
    /// The sampled bytes that the samples before the one under way have.
    ended_bytes: u64,
    /// The compressed bytes that are due to empty windows.
    excess_bytes: u64,
}

impl CompressionSampler {
    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let is_near = self.near.input_bytes < NEAR_BYTES;
            let (part, stride) =
                if is_near { (&mut self.near, STRIDE_BYTES) } else { (&mut self.far, FAR_STRIDE_BYTES) };
            let within = part.input_bytes % stride;
            let until = if within < SAMPLE_BYTES { SAMPLE_BYTES } else { stride };
            let count = bytes.len().min(usize::try_from(until - within).unwrap_or(usize::MAX));
            let (piece, rest) = bytes.split_at(count);
            if within < SAMPLE_BYTES {
                let encoder =
                    self.sample.get_or_insert_with(|| GzEncoder::new(CountingWriter::default(), Compression::new(6)));
                // A writer that only counts cannot fail.
                let _ = encoder.write_all(piece);
                part.sampled_bytes += count as u64;
            }
            part.input_bytes += count as u64;
            if part.input_bytes % stride == SAMPLE_BYTES {
                part.end_sample(self.sample.take());
            }
            bytes = rest;
        }
    }

    /// The estimated size. It is exact for inputs of at most one sample.
    pub(crate) fn finish(mut self) -> Bytes {
        let last = if self.far.input_bytes > 0 { &mut self.far } else { &mut self.near };
        last.end_sample(self.sample.take());
        self.near.estimate() + self.far.estimate()
    }
}

impl Part {
    fn end_sample(&mut self, sample: Option<GzEncoder<CountingWriter>>) {
        if let Some(Ok(writer)) = sample.map(GzEncoder::finish) {
            let sample_bytes = self.sampled_bytes - self.ended_bytes;
            let saved = sample_bytes.saturating_sub(writer.0);
            self.ended_bytes = self.sampled_bytes;
            self.sampled_compressed_bytes += writer.0;
            self.excess_bytes += (writer.0 / 16).min(saved / 4);
        }
    }

    fn estimate(&self) -> Bytes {
        if self.input_bytes == self.sampled_bytes {
            return Bytes(self.sampled_compressed_bytes);
        }
        let of_samples = self.sampled_compressed_bytes - self.excess_bytes;
        let scaled = u128::from(of_samples) * u128::from(self.input_bytes) / u128::from(self.sampled_bytes.max(1));
        Bytes(u64::try_from(scaled).unwrap_or(u64::MAX))
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
        assert!(whole.abs_diff(noise.len() as u64) * 500 < noise.len() as u64, "{whole}");
    }

    /// Behind the first 64 MiB there are fewer samples, and each counts for more.
    #[test]
    fn a_long_input_is_estimated_by_parts() {
        let noise: Vec<u8> = blake3::Hasher::new().finalize_xof().bytes_of(70 << 20);
        let whole = estimate(&noise, 1 << 20);
        assert!(whole.abs_diff(noise.len() as u64) * 500 < noise.len() as u64, "{whole}");
        let mut half = noise;
        half[64 << 20..].fill(0);
        let near = estimate(&half[..64 << 20], 1 << 20);
        assert!(estimate(&half, 1 << 20).abs_diff(near) < 6 << 13);
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
