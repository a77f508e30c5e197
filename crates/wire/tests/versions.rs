//! Messages of every version that this crate reads, as bytes in `fixtures/`.
//!
//! A folder is one version of one protocol; a file is one message in hexadecimal. Nobody edits a file: a new version
//! gets a folder of its own, and the folder stays as long as the version is read (docs/VERSIONS.md).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods, reason = "fixtures are files")]

use std::fs;
use std::path::{Path, PathBuf};

use lighter_wire::{
    ASK_PROTOCOL, Announcement, Answer, GOSSIP_PROTOCOL, Message, PATCH_PROTOCOL, PatchReply, PatchRequest, Request,
    SignedRelease,
};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// The messages of a folder: the name of each file, and its bytes.
fn messages(folder: &str) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(fixtures().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let mut found = Vec::new();
    for path in entries.map(|entry| entry.unwrap().path()) {
        let text: String = fs::read_to_string(&path).unwrap().split_whitespace().collect();
        let bytes = (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect();
        found.push((path.file_stem().unwrap().to_string_lossy().into_owned(), bytes));
    }
    found
}

/// The bytes are one message of this kind, which has the same bytes again.
fn check<M: Message>(name: &str, bytes: &[u8]) {
    let message = M::decode(bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(message.encode().unwrap(), bytes, "{name}");
}

#[test]
fn announcements_of_version_2() {
    for (name, bytes) in messages("gossip-2") {
        check::<Announcement>(&name, &bytes);
    }
}

#[test]
fn questions_and_answers_of_version_10() {
    for (name, bytes) in messages("ask-10") {
        match name.split_once('-').unwrap().0 {
            "request" => check::<Request>(&name, &bytes),
            _ => check::<Answer>(&name, &bytes),
        }
    }
}

#[test]
fn patch_streams_of_version_9() {
    for (name, bytes) in messages("patch-9") {
        match name.split_once('-').unwrap().0 {
            "request" => check::<PatchRequest>(&name, &bytes),
            _ => check::<PatchReply>(&name, &bytes),
        }
    }
}

#[test]
fn releases_of_versions_1_to_3() {
    for version in 1..=3 {
        let folder = format!("release-{version}");
        let messages = messages(&folder);
        let bytes_of = |wanted: &str| messages.iter().find(|(name, _)| name == wanted).unwrap().1.clone();
        let release = SignedRelease::decode(&bytes_of("release")).unwrap();
        assert_eq!(release.release.signed_bytes(), bytes_of("signed-bytes"), "{folder}");
        assert_eq!(
            (release.release.companions.is_some(), release.release.bounds.is_some()),
            (version > 1, version > 2)
        );
        // Earlier records end earlier.
        if version == 3 {
            check::<SignedRelease>(&folder, &bytes_of("release"));
        }
    }
}

#[test]
fn the_versions_that_nodes_speak_have_fixtures() {
    for protocol in [GOSSIP_PROTOCOL, ASK_PROTOCOL, PATCH_PROTOCOL] {
        let folder = protocol.trim_start_matches("/lighter/").replace('/', "-");
        assert!(!messages(&folder).is_empty(), "{folder}");
    }
}
