//! Patches and have-lists of every version that this crate reads, as files in `fixtures/`.
//!
//! A patch of `v2/` makes `target.tar` out of `base.tar`, or out of nothing. Its header names the target by 32 zero
//! bytes and the base by 32 bytes of 1. Nobody edits a file: a new version of the container or of a codec gets new
//! files, and the files stay as long as the version is read (docs/VERSIONS.md).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{name, rebuild_onto};
use lighter_patch::{ApplyError, CodecId, HaveList, HaveListError, Header, HeaderError, Moves, apply_frame};
use lighter_types::{Blame, ReadAt};

const BASE: &[u8] = include_bytes!("fixtures/v2/base.tar");
const TARGET: &[u8] = include_bytes!("fixtures/v2/target.tar");
const DEFAULT: &[u8] = include_bytes!("fixtures/v2/default.patch");
const LIST: &[u8] = include_bytes!("fixtures/have-1/base.list");

/// Applies a whole file to [`BASE`].
fn check(patch: &[u8], codec: &str) {
    let mut rest = patch;
    let header = Header::read_from(&mut rest).unwrap();
    assert_eq!(header.encode(), patch[..patch.len() - rest.len()]);
    assert_eq!(header.target(), name(0));
    assert!(header.frames().iter().any(|frame| frame.codec.to_string() == codec), "no frame of {codec}");
    let bases: Vec<&dyn ReadAt> = header.bases().iter().map(|_| &BASE as &dyn ReadAt).collect();
    let mut target = Vec::new();
    for (frame, index) in header.frames().iter().zip(0..) {
        let (payload, after) = rest.split_at(frame.payload_bytes as usize);
        rebuild_onto(&mut target, &header, index, payload, (&bases, &Moves::default())).unwrap();
        rest = after;
    }
    assert!(target == TARGET && rest.is_empty());
}

#[test]
fn patches_of_version_2() {
    check(include_bytes!("fixtures/v2/fast.patch"), "delta");
    check(DEFAULT, "delta");
    check(include_bytes!("fixtures/v2/max.patch"), "delta");
    check(include_bytes!("fixtures/v2/vcdiff.patch"), "vcdiff");
    check(include_bytes!("fixtures/v2/no-base.patch"), "delta");
    check(include_bytes!("fixtures/v2/stretches.patch"), "delta");
    check(include_bytes!("fixtures/v2/no-base-vcdiff.patch"), "zstd");
}

#[test]
fn have_lists_of_version_1() {
    assert_eq!(HaveList::decode(LIST).unwrap().encode(), LIST);
    assert_eq!(HaveList::of(&[&BASE], 1).unwrap().encode(), LIST);
}

#[test]
fn other_versions_are_named() {
    let mut later = DEFAULT.to_vec();
    later[8] = 3;
    let error = Header::read_from(&mut later.as_slice()).unwrap_err();
    assert!(matches!(error, HeaderError::Version { found: 3 }));
    assert_eq!(error.to_string(), "patch container version 3; this program reads version 2");
    assert_eq!(error.blame(), Blame::Version);
    let mut list = LIST.to_vec();
    list[8] = 2;
    assert!(matches!(HaveList::decode(&list), Err(HaveListError::Version(2))));
}

#[test]
fn an_unknown_codec_is_a_matter_of_versions() {
    let mut unknown = DEFAULT.to_vec();
    let entry = 64 + 40;
    unknown[entry..entry + 2].copy_from_slice(&[9, 255]);
    let mut rest = unknown.as_slice();
    let header = Header::read_from(&mut rest).unwrap();
    let payload = &rest[..header.frame(0).unwrap().payload_bytes as usize];
    let bases: Vec<&dyn ReadAt> = header.bases().iter().map(|_| &BASE as &dyn ReadAt).collect();
    let error = apply_frame(&header, 0, payload, &bases, &Moves::default()).map(|_| ()).unwrap_err();
    assert!(matches!(error, ApplyError::CodecUnsupported { frame: 0, codec: CodecId(9) }));
    assert_eq!(error.blame(), Blame::Version);
}
