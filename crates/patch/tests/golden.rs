//! Bytes that must never change: the container's, each codec's, and what the encoder makes of known input.
//!
//! docs/PATCH.md tells what each byte means. If the last test fails because an encoder was changed on purpose, raise
//! `ENCODER_VERSION` in src/settings.rs and put the new id here.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Entry, apply, header_bytes, name, noise, one_frame, patch_with, rebuild, text};
use lighter_patch::{Header, Method, Settings};
use lighter_types::{Blake3, Bytes, Effort, ReadAt};

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// The example of docs/PATCH.md: 13 bytes of target, one base of 1000 bytes, a stored and a vcdiff frame.
const HEADER: &str = "
    b1 4c 49 47 48 54 45 52   02 00   01 00   02 00 00 00   1c 00 02 02   00 00 00 00   0d 00 00 00 00 00 00 00
    0000000000000000000000000000000000000000000000000000000000000000
    0101010101010101010101010101010101010101010101010101010101010101   e8 03 00 00 00 00 00 00
    00 ff   03 00 00 00   03 00 00 00   6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85
    02 00   0a 00 00 00   10 00 00 00   <hash of the vcdiff payload>
";
/// One copy of 7 bytes after 1 literal, from 900 bytes further on in the base; 2 literals more.
const VCDIFF: &str = "01   00 01   00 01   00 02   00 03   01   07   8e 08   78 79 7a";

#[test]
fn the_container_is_laid_out_as_documented() {
    let payload = hex(VCDIFF);
    let hash = Blake3::new(*blake3::hash(&payload).as_bytes()).to_hex();
    let expected = hex(&HEADER.replace("<hash of the vcdiff payload>", &hash));
    let entries = [
        Entry { codec: 0, base: 255, target_bytes: 3, payload: b"abc" },
        Entry { codec: 2, base: 0, target_bytes: 10, payload: &payload },
    ];
    assert_eq!(header_bytes(13, &[1000], &entries), expected);
    let header = Header::decode(&expected).unwrap();
    assert_eq!(header.encode(), expected);
    assert_eq!((header.target(), header.target_bytes()), (name(0), Bytes(13)));
    assert_eq!(header.header_bytes(), Bytes(64 + 40 + 2 * 42));
    assert_eq!(header.patch_bytes(), Bytes(64 + 40 + 2 * 42 + 3 + 16));
    let frame = header.frame(1).unwrap();
    assert_eq!((frame.codec.0, frame.base, frame.target_offset), (2, Some(0), 3));
    assert_eq!(frame.payload_offset, 64 + 40 + 2 * 42 + 3);
    assert_eq!(header.id().as_bytes(), blake3::hash(&expected).as_bytes());
}

fn check(codec: u8, base: Option<&Vec<u8>>, payload: &str, expected: &[u8]) {
    let payload = hex(payload);
    let header = one_frame(codec, base.map(|base| base.len() as u64), expected.len() as u32, &payload);
    let bases: Vec<&dyn ReadAt> = base.iter().map(|base| *base as &dyn ReadAt).collect();
    assert_eq!(rebuild(&header, 0, &payload, &bases).unwrap(), expected);
}

#[test]
fn payloads_are_laid_out_as_documented() {
    check(0, None, "61 62 63", b"abc");
    // RFC 8878: magic, descriptor (single segment), content size 5, one last RLE block of 5 times "a".
    check(1, None, "28 b5 2f fd 20 05 2b 00 00 61", b"aaaaa");
    let base = noise(1, 1000);
    check(2, Some(&base), VCDIFF, &[b"x", &base[901..908], b"yz"].concat());
    // No copies; 40 literals "a" as LZMA.
    check(2, Some(&base), "00   00 00   00 00   00 00   01 28 07   00 30 ee b4 b0 00 00", &[b'a'; 40]);
}

#[test]
fn known_input_makes_a_known_patch() {
    let base = text(1, 3 << 20);
    let mut target = base.clone();
    for at in (0..target.len() - 100).step_by(7001) {
        target[at..at + 20].copy_from_slice(&noise(at as u64, 20));
    }
    target.extend(text(2, 1 << 20));
    let bases = [base];
    let methods =
        [Method::Delta(Effort::Fast), Method::Delta(Effort::Default), Method::Delta(Effort::Max), Method::Vcdiff];
    let ids = methods.map(|method| {
        let settings = Settings { method, ..Settings::default() };
        let (with_base, alone) = (patch_with(&target, &bases, &settings), patch_with(&target, &[], &settings));
        assert!(apply(&with_base, &bases) == target && apply(&alone, &[]) == target);
        [with_base.id().to_hex(), alone.id().to_hex()].map(|id| id[..16].to_owned())
    });
    let known = [
        ["b9176a1914e83450", "54ff60c4206497f7"],
        ["616707248e2bd475", "1681a036b35bec1b"],
        ["620ad88aa1d0c915", "cf6320451f12c08d"],
        ["6040e9a6d2f69abf", "5c5cf1808b539379"],
    ];
    assert_eq!(ids, known.map(|pair| pair.map(str::to_owned)));
}
