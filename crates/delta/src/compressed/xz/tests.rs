//! Files of every preset are recompressed exactly; files that liblzma would not write, and damaged ones, are left
//! alone.

use liblzma::stream::Check;

use super::*;

/// Lines of words that recur.
fn text(bytes: usize) -> Vec<u8> {
    let mut text = Vec::new();
    let mut state = 1u64;
    while text.len() < bytes {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.extend(format!("{:x} {}\n", state >> 52, state >> 44 & 0xff).bytes());
    }
    text.truncate(bytes);
    text
}

fn file(plain: &[u8], preset: u32, check: Check) -> Vec<u8> {
    let mut encoder = XzEncoder::new_stream(Vec::new(), Stream::new_easy_encoder(preset, check).unwrap());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn check_recompressed(xz: &[u8], plain: &[u8]) {
    let decompressed = decompress(xz, 2 << 20).unwrap();
    assert!(decompressed.plain == plain);
    assert_eq!(decompressed.compression, Compression::Xz);
    let stream = &xz[decompressed.start..][..decompressed.bytes];
    assert!(recompress(&decompressed.plain, &decompressed.corrections).unwrap() == stream);
    // Behind it come padding, check, index and footer alone.
    assert!(xz.len() - decompressed.start - decompressed.bytes < 3 + 32 + 16 + 12);
    assert_eq!(content(xz, plain.len()).unwrap().plain, plain);
    assert!(content(xz, plain.len() - 1).is_none());
}

#[test]
fn every_preset_check_recompressed() {
    let (short, long) = (text(20_000), text(400_000));
    for level in 0..=9 {
        for preset in [level, level | PRESET_EXTREME] {
            let may_be_unlikely = [0, 1, 2, 4].contains(&level) && preset != level;
            for check in [Check::None, Check::Sha256] {
                let xz = file(&short, preset, check);
                if !may_be_unlikely || decompress(&xz, 1 << 20).is_some() {
                    check_recompressed(&xz, &short);
                }
            }
            if !may_be_unlikely {
                check_recompressed(&file(&long, preset, Check::Crc64), &long);
            }
        }
    }
    // Larger than its dictionary.
    let longest = text(1 << 20);
    for preset in [0, 1, 6] {
        check_recompressed(&file(&longest, preset, Check::Crc64), &longest);
    }
}

#[test]
fn a_header_that_tells_lengths_is_read() {
    let plain = text(5000);
    let xz = file(&plain, 6, Check::Crc64);
    // Block header of 12 bytes: size, flags, filter, its properties, padding, CRC-32; as xz writes it with several
    // threads.
    assert_eq!(xz[12..17], [2, 0, 0x21, 1, 22]);
    let header = [3u8, 0xc0, 0x88, 0x27, 0x88, 0x27, 0x21, 1, 22, 0, 0, 0, 1, 2, 3, 4];
    check_recompressed(&[&xz[..12], &header, &xz[24..]].concat(), &plain);
}

#[test]
fn a_stream_that_liblzma_did_not_write_is_left_alone() {
    let plain = text(5000);
    let xz = file(&plain, 6, Check::Crc64);
    for end in 0..xz.len() - 40 {
        assert!(decompress(&xz[..end], 1 << 20).is_none(), "{end}");
    }
    for at in 0..xz.len() {
        for bit in [1, 0x40, 0x80] {
            let mut damaged = xz.clone();
            damaged[at] ^= bit;
            if let Some(decompressed) = decompress(&damaged, 1 << 20) {
                assert!(
                    recompress(&decompressed.plain, &decompressed.corrections).unwrap()
                        == damaged[decompressed.start..][..decompressed.bytes]
                );
            }
        }
    }
    // Two filters.
    let mut filtered = xz.clone();
    filtered[13] = 1;
    assert!(content(&filtered, 1 << 20).is_none());
    let too_long = text((1 << 20) + 1);
    assert!(decompress(&file(&too_long, 6, Check::Crc64), 2 << 20).is_none());
    assert!(decompress(&file(b"", 6, Check::Crc64), 1 << 20).is_none());
    // One block that is stored, by no encoder that would have: it is read, and cannot be recompressed.
    let mut stored = xz[..24].to_vec();
    stored.extend([1, 0x13, 0x87]);
    stored.extend([plain.as_slice(), &[0]].concat());
    assert!(content(&stored, 1 << 20).unwrap().plain == plain);
    assert!(decompress(&stored, 1 << 20).is_none());
}

#[test]
fn corrections_that_lie_are_refused() {
    let plain = text(5000);
    assert!(recompress(&plain, &[0, 0]).is_some());
    for corrections in [&[] as &[u8], &[0], &[0, 0, 0], &[0, 9], &[0, 255], &[17, 0], &[40, 0], &[255, 0], &[21, 1]] {
        assert!(recompress(&plain, corrections).is_none(), "{corrections:?}");
    }
    assert!(recompress(&vec![0; PLAIN_BYTES_MAX + 1], &[0, 0]).is_none());
}
