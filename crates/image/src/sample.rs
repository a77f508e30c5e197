//! What a tar would weigh compressed, from samples of it: gzip -6 of [`SAMPLE_BYTES`] in every [`STRIDE_BYTES`].
//!
//! For layers that come uncompressed (`docker save`, or a tar that a patch rebuilt) the card needs a standalone
//! compressed size, and compressing all of it would take longer than everything else together. A sample begins with an
//! empty window, which costs it about a sixteenth; taken off again, estimates of the corpus are within 7 % of the whole
//! (docs/IMAGES.md).

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use lighter_types::Bytes;

/// One sample, the first bytes of each stride; as much as DEFLATE's window (RFC 1951).
const SAMPLE_BYTES: u64 = 32 << 10;
/// One stride: an eighth is sampled, at about 2 ms per MiB of tar. Few long samples miss what a layer is made of:
/// 64 KiB in every MiB were wrong by up to 14 %.
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
                // A writer that only counts does not fail.
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

    /// The estimate; exact for inputs of one sample or less.
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
    fn nothing_weighs_nothing_and_zeros_little() {
        assert_eq!(estimate(&[], 1), 0);
        assert!(estimate(&vec![0; 5 << 20], 1000) < 5 << 13);
    }

    #[test]
    fn noise_does_not_shrink_and_pieces_do_not_matter() {
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
