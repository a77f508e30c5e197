//! VCDIFF in both directions against the stock xdelta3 tool, and files that no tool writes.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a test with other tools goes through files")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use common::{apply, noise, text, vcdiff_patch};
use lighter_patch::{ExportError, Patch, export_vcdiff};
use lighter_types::{Blame, Bytes};
use lighter_vcdiff::{Feature, Limits, VcdiffError, decode_vcdiff};

fn xdelta3(folder: &Path, arguments: &[&str]) {
    let output = Command::new("xdelta3").args(arguments).current_dir(folder).output().unwrap_or_else(|error| {
        panic!("the stock tool xdelta3 does not start ({error}); install it: apt-get install xdelta3")
    });
    assert!(output.status.success(), "xdelta3 {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn export(patch: &Patch) -> Result<Vec<u8>, ExportError> {
    let mut payloads = patch.payloads.iter();
    let mut out = Vec::new();
    export_vcdiff(
        &patch.header,
        &mut |_| payloads.next().cloned().ok_or(io::ErrorKind::UnexpectedEof.into()),
        &mut out,
    )?;
    Ok(out)
}

fn decode(file: &[u8], base: &[u8]) -> Result<Vec<u8>, VcdiffError> {
    let mut out = Vec::new();
    let base = base.to_vec();
    let bytes = decode_vcdiff(&mut &file[..], &base, &mut out, Limits::default())?;
    assert_eq!(bytes, Bytes(out.len() as u64));
    Ok(out)
}

/// A base and a target with changes of every kind, longer than one window of xdelta3.
fn pair() -> (Vec<u8>, Vec<u8>) {
    let mut base = text(1, 2 << 20);
    base.extend(noise(2, 8 << 20));
    let mut target = base.clone();
    for at in (0..target.len() - 100).step_by(40_009) {
        target[at..at + 30].copy_from_slice(&noise(at as u64, 30));
    }
    target.splice(1_000_000..1_000_000, noise(3, 300_000));
    target.drain(6_000_000..6_500_000);
    target.extend(vec![0; 100_000]);
    target.extend(text(9, 200_000));
    target[1_500_000..1_700_000].rotate_left(77_777);
    (base, target)
}

#[test]
fn stock_xdelta3_decodes_what_is_exported() {
    let (base, target) = pair();
    for base in [base, Vec::new()] {
        let bases = if base.is_empty() { vec![] } else { vec![base.clone()] };
        let patch = vcdiff_patch(&target, &bases);
        let file = export(&patch).unwrap();
        assert!(decode(&file, &base).unwrap() == target);
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("base"), &base).unwrap();
        fs::write(folder.path().join("patch"), &file).unwrap();
        xdelta3(folder.path(), &["-d", "-s", "base", "patch", "target"]);
        assert!(fs::read(folder.path().join("target")).unwrap() == target);
    }
}

#[test]
fn files_of_stock_xdelta3_are_decoded() {
    let (base, target) = pair();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("base"), &base).unwrap();
    fs::write(folder.path().join("target"), &target).unwrap();
    let settings: [&[&str]; 5] = [&["-9"], &["-1"], &["-0"], &["-9", "-n"], &["-6", "-A", "-W", "65536"]];
    for setting in settings {
        let arguments = [&["-f", "-e", "-S", "none"], setting, &["-s", "base", "target", "patch"]].concat();
        xdelta3(folder.path(), &arguments);
        let file = fs::read(folder.path().join("patch")).unwrap();
        assert!(decode(&file, &base).unwrap() == target, "{setting:?}");
        xdelta3(folder.path(), &[&["-f", "-e", "-S", "none"], setting, &["target", "patch"]].concat());
        let file = fs::read(folder.path().join("patch")).unwrap();
        assert!(decode(&file, b"").unwrap() == target, "{setting:?} without a source");
    }
}

#[test]
fn secondary_compression_is_refused_with_a_hint() {
    let (base, target) = pair();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("base"), &base).unwrap();
    fs::write(folder.path().join("target"), &target).unwrap();
    for secondary in ["djw", "lzma"] {
        xdelta3(folder.path(), &["-f", "-e", "-S", secondary, "-s", "base", "target", "patch"]);
        let error = decode(&fs::read(folder.path().join("patch")).unwrap(), &base).unwrap_err();
        assert!(matches!(error, VcdiffError::Unsupported(Feature::SecondaryCompression)), "{error}");
        assert_eq!(error.blame(), Blame::Version);
    }
}

#[test]
fn a_wrong_base_is_told_by_the_checksum() {
    let (base, target) = pair();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("base"), &base).unwrap();
    fs::write(folder.path().join("target"), &target).unwrap();
    xdelta3(folder.path(), &["-f", "-e", "-S", "none", "-s", "base", "target", "patch"]);
    let file = fs::read(folder.path().join("patch")).unwrap();
    let error = decode(&file, &noise(7, base.len())).unwrap_err();
    assert!(matches!(error, VcdiffError::Checksum { .. }), "{error}");
    let error = decode(&file, &base[..1000]).unwrap_err();
    assert!(error.to_string().contains("past the base's end"), "{error}");
}

#[test]
fn a_patch_of_two_bases_cannot_be_exported() {
    let bases = [noise(1, 3 << 20), noise(2, 3 << 20)];
    let patch = vcdiff_patch(&bases.concat(), &bases);
    assert!(apply(&patch, &bases) == bases.concat());
    assert!(matches!(export(&patch), Err(ExportError::SeveralBases { found: 2 })));
}

const HEADER: [u8; 5] = [0xd6, 0xc3, 0xc4, 0, 0];

/// A file of one window: indicator and source range, target length, data, instructions, addresses (short lengths).
fn window(head: &[u8], target: u8, [data, instructions, addresses]: [&[u8]; 3]) -> Vec<u8> {
    let sections = data.len() + instructions.len() + addresses.len();
    let mut out = head.to_vec();
    out.extend([(5 + sections) as u8, target, 0, data.len() as u8, instructions.len() as u8, addresses.len() as u8]);
    out.extend([data, instructions, addresses].concat());
    out
}

/// RFC 3284, section 3: the example, with a source of `abcdefghijklmnop`.
#[test]
fn the_rfc_example_is_decoded() {
    let instructions = [20, 1 + 4, 19, 12, 0, 4];
    // COPY 4 at 0; ADD 4 "wxyz"; COPY 4 at 4; COPY 12 at 24; RUN 4 "z".
    let instructions = [&instructions[..2], &[20], &instructions[2..]].concat();
    let file = [&HEADER[..], &window(&[1, 16, 0], 28, [b"wxyzz", &instructions, &[0, 4, 24]])].concat();
    assert_eq!(decode(&file, b"abcdefghijklmnop").unwrap(), b"abcdwxyzefghefghefghefghzzzz");
}

#[test]
fn target_windows_are_decoded() {
    let first = window(&[0], 6, [b"abcdef", &[1 + 6], &[]]);
    let second = window(&[2, 4, 1], 8, [b"", &[19, 8], &[0]]);
    let file = [&HEADER[..], &first, &second].concat();
    // Four bytes of the earlier target, and then the copy reads what it has written.
    assert_eq!(decode(&file, b"").unwrap(), b"abcdefbcdebcde");
    let early = window(&[2, 4, 3], 4, [b"", &[20], &[0]]);
    assert!(decode(&[&HEADER[..], &first, &early].concat(), b"").is_err());
}

/// Window indicator and source range, target length, sections.
type Lie<'a> = (&'a [u8], u8, [&'a [u8]; 3]);

#[test]
fn damaged_files_are_refused() {
    let good = [&HEADER[..], &window(&[1, 16, 0], 12, [b"wxyz", &[20, 5, 20], &[0, 4]])].concat();
    let base = b"abcdefghijklmnop";
    assert_eq!(decode(&good, base).unwrap(), b"abcdwxyzefgh");
    for end in (0..good.len()).filter(|&end| end != HEADER.len()) {
        assert_eq!(decode(&good[..end], base).unwrap_err().blame(), Blame::Peer, "cut at {end}");
    }
    for bit in 0..good.len() * 8 {
        let mut flipped = good.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let _ = decode(&flipped, base);
    }
    let lies: [Lie<'_>; 9] = [
        (&[1, 17, 0], 4, [b"", &[20], &[0]]),
        (&[1, 16, 1], 4, [b"", &[20], &[0]]),
        (&[3, 1, 0], 4, [b"", &[20], &[0]]),
        (&[1, 16, 0], 4, [b"", &[20], &[16]]),
        (&[1, 16, 0], 4, [b"", &[19, 5], &[0]]),
        (&[1, 16, 0], 4, [b"", &[19, 3], &[0]]),
        (&[1, 16, 0], 4, [b"x", &[20], &[0]]),
        (&[1, 16, 0], 4, [b"", &[20], &[0, 0]]),
        (&[0], 4, [b"abc", &[5], &[]]),
    ];
    for (head, target, sections) in lies {
        let error = decode(&[&HEADER[..], &window(head, target, sections)].concat(), base).unwrap_err();
        assert_eq!(error.blame(), Blame::Peer, "{error}");
    }
    // A source range of 2^63 bytes; a window of 2^35 bytes.
    let mut far = [&HEADER[..], &[1]].concat();
    far.extend([0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00, 0x00]);
    assert!(decode(&far, base).is_err());
    let wide = [&HEADER[..], &[0, 20, 0x81, 0x80, 0x80, 0x80, 0x80, 0x00]].concat();
    assert!(matches!(decode(&wide, base), Err(VcdiffError::Limit { .. })));
}
