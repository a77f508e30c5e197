//! Damaged and lying patches: every one is refused with an error that blames the right party; none panics.
//!
//! Tests truncate and change bytes of real patches, and build headers and payloads by hand that no encoder makes:
//! counts over their limit, ranges outside the target, codecs that nodes never use.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use lighter_types::{BASES_MAX, Blame, Effort, ReadAt};
use std::io::Write;

use common::{Entry, Unreadable, apply, header_bytes, noise, one_frame, patch, rebuild, text};
use lighter_patch::{
    ApplyError, CodecId, FRAMES_MAX, HEADER_BYTES_MAX, Header, HeaderError, Method, Settings, verify_frame,
};
use lzma_rust2::{EncodeMode, LzmaOptions, LzmaWriter, MfType};

/// The error of a hand-made frame whose hash is right.
fn refuse(codec: u8, base_bytes: Option<u64>, target_bytes: u32, payload: &[u8]) -> ApplyError {
    let header = one_frame(codec, base_bytes, target_bytes, payload);
    let base = Unreadable(base_bytes.unwrap_or(0));
    let bases: Vec<&dyn ReadAt> = base_bytes.iter().map(|_| &base as &dyn ReadAt).collect();
    rebuild(&header, 0, payload, &bases).unwrap_err()
}

fn check_lie(codec: u8, base_bytes: Option<u64>, target_bytes: u32, payload: &[u8], expected: &str) {
    let error = refuse(codec, base_bytes, target_bytes, payload);
    assert_eq!(error.blame(), Blame::Peer, "{error}");
    assert!(error.to_string().contains(expected), "{error}");
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = vec![(value & 0x7f) as u8];
    while value > 0x7f {
        value >>= 7;
        out.insert(0, (value & 0x7f) as u8 | 0x80);
    }
    out
}

fn lzma(bytes: &[u8]) -> Vec<u8> {
    let options = LzmaOptions {
        dict_size: bytes.len().clamp(4096, 8 << 20) as u32,
        lc: 3,
        lp: 0,
        pb: 0,
        mode: EncodeMode::Fast,
        nice_len: 273,
        mf: MfType::Hc4,
        depth_limit: 0,
        preset_dict: None,
    };
    let mut writer = LzmaWriter::new(Vec::new(), &options, false, false, Some(bytes.len() as u64)).unwrap();
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

/// A VCDIFF payload with raw sections.
fn payload(copies: &[(u64, u64, u64)], literals: &[u8]) -> Vec<u8> {
    let streams = [0, 1, 2]
        .map(|part| -> Vec<u8> { copies.iter().flat_map(|copy| varint([copy.0, copy.1, copy.2][part])).collect() });
    let mut out = varint(copies.len() as u64);
    for stream in streams.iter().map(Vec::as_slice).chain([literals]) {
        out.push(0);
        out.extend(varint(stream.len() as u64));
    }
    for stream in streams.iter().map(Vec::as_slice).chain([literals]) {
        out.extend(stream);
    }
    out
}

#[test]
fn copies_outside_the_base_or_the_frame_are_refused() {
    let lie = |copies: &[(u64, u64, u64)], literals: &[u8]| {
        check_lie(2, Some(1000), 100, &payload(copies, literals), "");
    };
    // The change of diagonal is folded: 2 * n forward, 2 * n - 1 back.
    lie(&[(0, 100, 2 * 901)], b"");
    lie(&[(0, 100, 1)], b"");
    lie(&[(0, 101, 0)], b"");
    lie(&[(100, 1, 0)], &[0; 99]);
    lie(&[(0, 0, 0)], &[0; 100]);
    lie(&[(0, 50, 0), (0, 51, 0)], b"");
    lie(&[(0, 50, u64::MAX - 1), (0, 50, u64::MAX - 1)], b"");
    lie(&[(u64::from(u32::MAX), u64::from(u32::MAX), 0)], b"");
    lie(&[(u64::MAX, 1, 0)], b"");
    lie(&[(0, u64::MAX, 0)], b"");
    // Literals that do not fill what the copies leave.
    lie(&[(0, 50, 0)], &[0; 49]);
    lie(&[(0, 50, 0)], &[0; 51]);
    lie(&[], b"");
}

#[test]
fn good_instructions_over_a_bad_base_blame_this_machine() {
    let error = refuse(2, Some(1000), 100, &payload(&[(10, 50, 2 * 900)], &[0; 50]));
    assert!(matches!(&error, ApplyError::BaseRead { .. }), "{error}");
    assert_eq!(error.blame(), Blame::Machine);
}

/// The second of two bases cannot be read: the error names that one.
#[test]
fn the_base_that_cannot_be_read_is_named() {
    let good = payload(&[(0, 100, 0)], b"");
    let entry = Entry { codec: 2, base: 1, target_bytes: 100, payload: &good };
    let header = Header::decode(&header_bytes(100, &[500, 1000], &[entry])).unwrap();
    let second = header.bases()[1].diff_id;
    let [first, unreadable] = [0, 1].map(|index| Unreadable(header.bases()[index].bytes.0));
    let error = rebuild(&header, 0, &good, &[&first, &unreadable]).unwrap_err();
    assert!(matches!(error, ApplyError::BaseRead { diff_id, .. } if diff_id == second), "{error}");
}

#[test]
fn malformed_payloads_are_refused() {
    let good = payload(&[(10, 50, 2 * 900), (5, 10, 0)], &[0; 40]);
    for end in 0..good.len() {
        if end > 0 {
            check_lie(2, Some(1000), 100, &good[..end], "");
        }
    }
    let mut longer = good;
    longer.push(0);
    check_lie(2, Some(1000), 100, &longer, "bytes after the sections");
    check_lie(2, Some(1000), 100, &varint(u64::MAX), "too many copies");
    check_lie(2, Some(1000), 100, &varint(1 << 40), "too many copies");
    check_lie(2, Some(1000), 100, &[0, 9, 0], "unknown coding");
    check_lie(2, Some(1000), 100, &[[0, 0].as_slice(), &varint(u64::MAX)].concat(), "larger than its frame");
    let mut huge = vec![0, 0, 0, 0, 0, 0, 0, 1, 100];
    huge.extend(varint(u64::MAX));
    check_lie(2, Some(1000), 100, &huge, "ends within a section");
}

#[test]
fn sections_that_inflate_or_fall_short_are_refused() {
    let head = |stated: u64, coded: &[u8]| {
        let mut out = vec![0, 0, 0, 0, 0, 0, 0, 1];
        out.extend(varint(stated));
        out.extend(varint(coded.len() as u64));
        out.extend(coded);
        out
    };
    let bomb = lzma(&vec![0; 64 << 20]);
    assert!(bomb.len() < 1 << 20);
    check_lie(2, Some(1000), 16 << 20, &head(64 << 20, &bomb), "larger than its frame");
    check_lie(2, Some(1000), 16 << 20, &head(16 << 20, &bomb), "LZMA section");
    check_lie(2, Some(1000), 100, &head(100, &lzma(&[7; 99])), "LZMA section");
    check_lie(2, Some(1000), 100, &head(100, &lzma(&[7; 101])), "LZMA section");
    check_lie(2, Some(1000), 100, &head(100, &[lzma(&[7; 100]), vec![0]].concat()), "LZMA section");
    check_lie(2, Some(1000), 100, &head(100, b""), "LZMA section");
    let header = one_frame(2, Some(1000), 100, &head(100, &lzma(&[7; 100])));
    let out = rebuild(&header, 0, &head(100, &lzma(&[7; 100])), &[&Unreadable(1000)]).unwrap();
    assert_eq!(out, [7; 100]);
}

#[test]
fn zstd_frames_that_lie_are_refused() {
    let compress = |bytes: &[u8]| zstd::bulk::compress(bytes, 3).unwrap();
    let bomb = compress(&vec![0; 64 << 20]);
    check_lie(1, None, 100, &bomb, "zstd");
    check_lie(1, None, 16 << 20, &bomb, "zstd");
    check_lie(1, None, 100, &compress(&[7; 99]), "shorter");
    check_lie(1, None, 100, &compress(&[7; 101]), "longer");
    check_lie(1, None, 100, &[compress(&[7; 100]), vec![1]].concat(), "after the zstd frame");
    check_lie(1, None, 100, b"not zstd", "zstd");
    // A window of 2^41 bytes: magic, descriptor 0, window descriptor 0xf8, one empty last block.
    check_lie(1, None, 1, &[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xf8, 0x01, 0x00, 0x00], "window");
}

#[test]
fn stored_frames_of_another_length_are_refused() {
    check_lie(0, None, 3, b"ab", "length");
    check_lie(0, None, 3, b"abcd", "length");
}

#[test]
fn an_unknown_codec_is_a_matter_of_versions() {
    let error = refuse(77, None, 3, b"abc");
    assert!(matches!(error, ApplyError::CodecUnsupported { codec: CodecId(77), .. }), "{error}");
    assert_eq!(error.blame(), Blame::Version);
}

#[test]
fn frames_that_nodes_never_make_are_refused_from_peers() {
    let header = |codecs: &[u8]| {
        let entries: Vec<Entry<'_>> = codecs
            .iter()
            .map(|&codec| Entry { codec, base: if codec == 2 { 0 } else { 255 }, target_bytes: 3, payload: b"abc" })
            .collect();
        Header::decode(&header_bytes(3 * codecs.len() as u64, &[9], &entries)).unwrap()
    };
    let error = header(&[3, 2]).check_from_peer().unwrap_err();
    assert!(matches!(error, HeaderError::ToolsOnly { frame: 1, .. }), "{error}");
    assert_eq!(error.blame(), Blame::Peer);
    assert_eq!(error.to_string(), "frame 1 is vcdiff, which nodes never make");
    // A codec of a later build is a matter of versions, which applying tells.
    for codecs in [&[][..], &[0], &[1, 0], &[3], &[3, 3], &[3, 77]] {
        assert!(header(codecs).check_from_peer().is_ok(), "{codecs:?}");
    }
}

/// For every effort of nodes, with bases and without.
#[test]
fn whatever_a_node_makes_is_accepted_from_peers() {
    let base = text(1, 300_000);
    let mut target = base.clone();
    target.extend(noise(2, 100_000));
    for effort in Effort::ALL {
        let settings = Settings { method: Method::Delta(effort), ..Settings::default() };
        for bases in [&[][..], std::slice::from_ref(&base)] {
            for target in [&target[..], b"", &noise(3, 5000)] {
                let patch = common::patch_with(target, bases, &settings);
                assert!(patch.header.check_from_peer().is_ok(), "{effort:?}");
            }
        }
    }
}

#[test]
fn bases_are_counted_and_measured() {
    let good = payload(&[(0, 100, 0)], b"");
    let header = one_frame(2, Some(1000), 100, &good);
    let base = noise(1, 999);
    let error = rebuild(&header, 0, &good, &[&base]).unwrap_err();
    assert!(matches!(error, ApplyError::BaseLength { .. }) && error.blame() == Blame::Machine, "{error}");
    let error = rebuild(&header, 0, &good, &[]).unwrap_err();
    assert!(matches!(error, ApplyError::BaseCount { .. }) && error.blame() == Blame::Caller, "{error}");
    let error = rebuild(&header, 1, &good, &[&base]).unwrap_err();
    assert!(matches!(error, ApplyError::NoSuchFrame { .. }), "{error}");
}

#[test]
fn a_wrong_base_of_the_right_length_gives_another_target() {
    let base = noise(1, 100_000);
    let patch = patch(&base, std::slice::from_ref(&base));
    let other = [noise(2, 100_000)];
    assert_ne!(apply(&patch, &other), base);
}

#[test]
fn headers_that_lie_are_refused() {
    let entry = |codec, base, target_bytes, payload| Entry { codec, base, target_bytes, payload };
    let check = |bytes: &[u8], expected: &str| {
        let error = Header::decode(bytes).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(Header::read_from(&mut &bytes[..]).is_err());
    };
    let payload = b"abc".as_slice();
    let long = vec![0; (1 << 20) + 1];
    check(&header_bytes(4, &[], &[entry(0, 255, 3, payload)]), "target length is 4");
    check(&header_bytes(0, &[], &[entry(0, 255, 0, payload)]), "target length of frame 0");
    check(&header_bytes(3, &[], &[entry(0, 255, 3, b"")]), "payload length of frame 0");
    check(&header_bytes(16_777_217, &[], &[entry(0, 255, 16_777_217, payload)]), "target length of frame 0");
    check(&header_bytes(3, &[], &[entry(0, 255, 3, &long)]), "payload length of frame 0");
    check(&header_bytes(3, &[], &[entry(2, 0, 3, payload)]), "base of frame 0");
    check(&header_bytes(3, &[9], &[entry(2, 1, 3, payload)]), "base of frame 0");
    check(&header_bytes(3, &[9], &[entry(2, 255, 3, payload)]), "base of frame 0");
    check(&header_bytes(3, &[9], &[entry(1, 0, 3, payload)]), "base of frame 0");
    check(&header_bytes(3, &[9], &[entry(99, 7, 3, payload)]), "base of frame 0");
    let mut repeated = header_bytes(3, &[9, 9], &[entry(0, 255, 3, payload)]);
    repeated.copy_within(64..104, 104);
    check(&repeated, "repeated base");
    let too_many = header_bytes(0, &[9; BASES_MAX + 1], &[]);
    check(&too_many, "base count");
}

#[test]
fn a_million_tiny_frames_are_refused_before_they_are_read() {
    let mut bytes = header_bytes(1_000_000, &[], &[]);
    bytes[12..16].copy_from_slice(&1_000_000u32.to_le_bytes());
    for bytes in [bytes.clone(), [bytes, vec![1; 42_000_000]].concat()] {
        let mut rest = bytes.as_slice();
        let error = Header::read_from(&mut rest).unwrap_err();
        assert!(matches!(error, HeaderError::Field { field: "frame count", .. }), "{error}");
        assert_eq!(rest.len(), bytes.len() - 64);
    }
    assert_eq!(HEADER_BYTES_MAX, 64 + BASES_MAX * 40 + FRAMES_MAX * 42);
}

fn small_patch() -> (lighter_patch::Patch, Vec<Vec<u8>>, Vec<u8>) {
    let bases = vec![text(1, 3000)];
    let mut target = bases[0].clone();
    target.truncate(2000);
    target.extend(noise(2, 30));
    (patch(&target, &bases), bases, target)
}

#[test]
fn every_truncation_is_refused() {
    let (patch, _, target) = small_patch();
    let header = patch.header.encode();
    let (header_bytes, target_bytes) = (patch.header.header_bytes().0, patch.header.target_bytes().0);
    assert_eq!((header_bytes, target_bytes), (header.len() as u64, target.len() as u64));
    assert_eq!(patch.header.patch_bytes().0, header_bytes + patch.payloads[0].len() as u64);
    for end in 0..header.len() {
        let error = Header::decode(&header[..end]).unwrap_err();
        assert_eq!(error.blame(), Blame::Peer, "{error}");
        assert!(Header::read_from(&mut &header[..end]).is_err());
    }
    assert!(Header::decode(&[header.as_slice(), &[0]].concat()).is_err());
    let payload = &patch.payloads[0];
    for end in 0..payload.len() {
        let error = verify_frame(&patch.header, 0, &payload[..end]).unwrap_err();
        assert!(matches!(error, ApplyError::PayloadLength { .. }), "{error}");
    }
}

#[test]
fn every_bit_flip_is_refused() {
    let (patch, bases, _) = small_patch();
    let header = patch.header.encode();
    for bit in 0..header.len() * 8 {
        let mut flipped = header.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        // Whoever knows the PatchId knows.
        if let Ok(other) = Header::decode(&flipped) {
            assert_ne!(other.id(), patch.id());
            assert_eq!(other.encode(), flipped, "two spellings of one header");
        }
    }
    for bit in 0..patch.payloads[0].len() * 8 {
        let mut flipped = patch.payloads[0].clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let error = rebuild(&patch.header, 0, &flipped, &[&bases[0]]).unwrap_err();
        assert!(matches!(error, ApplyError::PayloadHash { .. }) && error.blame() == Blame::Peer, "{error}");
    }
}

/// The same, by someone who also puts the right hash into the header: an error or another target, never a panic, never
/// more or fewer bytes than the frame has.
#[test]
fn every_bit_flip_with_the_right_hash_is_survived() {
    let (patch, bases, target) = small_patch();
    let vcdiff = common::vcdiff_patch(&target, &bases);
    let compressed = common::vcdiff_patch(&target, &[]);
    let cases =
        [(&patch.payloads[0], 3, Some(3000)), (&vcdiff.payloads[0], 2, Some(3000)), (&compressed.payloads[0], 1, None)];
    for (payload, codec, base) in cases {
        for bit in 0..payload.len() * 8 {
            let mut flipped = payload.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let header = one_frame(codec, base, target.len() as u32, &flipped);
            let readers: Vec<&dyn ReadAt> = base.iter().map(|_| &bases[0] as &dyn ReadAt).collect();
            match rebuild(&header, 0, &flipped, &readers) {
                Ok(out) => assert_eq!(out.len(), target.len()),
                // A flip in the byte that tells the model makes it one of a later build.
                Err(error) => {
                    let later = codec == 3 && bit < 8 && error.blame() == Blame::Version;
                    assert!(later || error.blame() == Blame::Peer, "{error}");
                }
            }
        }
    }
}
