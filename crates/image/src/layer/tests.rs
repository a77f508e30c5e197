//! Blobs that inflate too far, end too early or have bytes after their end.

use super::*;
use crate::manifest::digest_of;
use crate::testing::{compress, gzip};

fn read(blob: &[u8], media: LayerMedia, limits: &Limits) -> Result<Vec<u8>, ImageError> {
    let file = OpenFile { reader: Box::new(blob), bytes: blob.len() as u64 };
    let bytes = Bytes(blob.len() as u64);
    let mut reader = LayerReader::new("layer x".to_owned(), file, media, bytes, Some(digest_of(blob)), limits)?;
    let mut tar = Vec::new();
    match reader.read_to_end(&mut tar) {
        Ok(_) => Ok(tar),
        Err(error) => Err(ImageError::read("layer x", error)),
    }
}

fn check_refused(blob: &[u8], media: LayerMedia, words: &str) {
    let error = read(blob, media, &Limits::default()).unwrap_err().to_string();
    assert!(error.contains(words), "{error}");
}

#[test]
fn a_layer_that_inflates_too_far_is_refused() {
    let limits = Limits { tar_bytes_max: Bytes(3 << 20), ..Limits::default() };
    let zeros = vec![0; (3 << 20) + 1];
    for media in [LayerMedia::Plain, LayerMedia::Gzip, LayerMedia::Zstd] {
        assert!(read(&compress(&zeros[1..], media), media, &limits).is_ok(), "{media:?}");
        let error = read(&compress(&zeros, media), media, &limits).unwrap_err();
        assert!(matches!(error, ImageError::TooLarge { limit: 0x30_0000, .. }), "{error}");
    }
}

/// A file of zeros is no attack: `useradd` makes one, and zstd compresses 100 MB of it to 3 KB.
#[test]
fn zeros_are_read_at_any_ratio() {
    let zeros = vec![0; 100 << 20];
    for media in [LayerMedia::Gzip, LayerMedia::Zstd] {
        assert!(read(&compress(&zeros, media), media, &Limits::default()).unwrap() == zeros, "{media:?}");
    }
}

#[test]
fn a_zstd_window_over_the_limit_is_refused_before_it_is_allocated() {
    // RFC 8878, 3.1.1.1.2: exponent 20, mantissa 0 is a window of 1 GiB.
    let blob = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 20 << 3, 1, 0, 0];
    check_refused(&blob, LayerMedia::Zstd, "zstd window of 1073741824 bytes in layer x is over the limit of 134217728");
}

#[test]
fn bytes_after_the_end_are_refused() {
    let blob = gzip(&[7; 5000]);
    let end = blob.len();
    let words = format!("at byte {end}: more bytes after the end of the gzip data");
    check_refused(&[&blob[..], b"garbage"].concat(), LayerMedia::Gzip, &words);
    check_refused(&[&blob[..], &[0; 512]].concat(), LayerMedia::Gzip, &words);
    check_refused(&[&blob[..], &[0x1f, 0x00]].concat(), LayerMedia::Gzip, "is damaged");
    let blob = compress(&[7; 5000], LayerMedia::Zstd);
    check_refused(&[&blob[..], b"garbage"].concat(), LayerMedia::Zstd, "more bytes after the end of the zstd data");
}

/// The digest matches the truncated blob, so that only the format can show the damage.
#[test]
fn truncated_blobs_are_damaged_at_every_length() {
    for media in [LayerMedia::Gzip, LayerMedia::Zstd] {
        let blob = compress(b"some text, and some more text, and some more", media);
        for cut in 0..blob.len() {
            // An empty zstd blob decodes to an empty tar. The DiffId would not match.
            if cut > 0 || media == LayerMedia::Gzip {
                check_refused(&blob[..cut], media, "is damaged at byte");
            }
        }
    }
}

#[test]
fn flipped_bits_never_panic() {
    let tar: Vec<u8> = (0..20_000u32).flat_map(|n| (n * n).to_le_bytes()).collect();
    for media in [LayerMedia::Gzip, LayerMedia::Zstd] {
        let blob = compress(&tar, media);
        for at in (0..blob.len()).step_by(blob.len() / 500 + 1) {
            let mut flipped = blob.clone();
            flipped[at] ^= 1 << (at % 8);
            let _ = read(&flipped, media, &Limits::default());
        }
    }
}

#[test]
fn a_wrong_digest_is_reported_at_the_end() {
    let blob = gzip(b"text");
    let file = OpenFile { reader: Box::new(&blob[..]), bytes: blob.len() as u64 };
    let (bytes, digest) = (Bytes(blob.len() as u64), Some(digest_of(b"other")));
    let mut reader =
        LayerReader::new("layer x".into(), file, LayerMedia::Gzip, bytes, digest, &Limits::default()).unwrap();
    let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
    assert!(matches!(ImageError::read("", error), ImageError::Digest { .. }));
}

/// A file that shrinks after its length was taken, and a disk that fails.
#[test]
fn errors_of_the_source_keep_their_kind() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is gone"))
        }
    }
    for media in [LayerMedia::Plain, LayerMedia::Gzip, LayerMedia::Zstd] {
        let blob = compress(&[7; 5000], media);
        let half = &blob[..blob.len() / 2];
        let error = read_error(Box::new(half), media, blob.len() as u64);
        assert!(matches!(error, ImageError::Size { .. }), "{media:?}: {error}");
        let error = read_error(Box::new(half.chain(Failing)), media, blob.len() as u64);
        assert!(matches!(error, ImageError::Read { .. }), "{media:?}: {error}");
    }
}

/// The error of reading a layer of this length.
fn read_error(reader: Box<dyn Read + Send + '_>, media: LayerMedia, bytes: u64) -> ImageError {
    let (file, limits) = (OpenFile { reader, bytes }, Limits::default());
    let mut layer = LayerReader::new("layer x".into(), file, media, Bytes(bytes), None, &limits).unwrap();
    ImageError::read("", layer.read_to_end(&mut Vec::new()).unwrap_err())
}
