//! rdiff, rsync's method on files: literal bytes and blocks of the base. The delta is compressed by zstd -19, as
//! balena's are compressed. The wire carries the compressed delta alone: the maker holds the base, so no signature goes
//! up.

use std::path::PathBuf;

use super::{Files, Step, Way};

pub(super) struct Rdiff;

fn signature(files: &Files<'_>) -> PathBuf {
    files.scratch.join("signature")
}

fn delta(files: &Files<'_>) -> PathBuf {
    files.scratch.join("delta")
}

impl Way for Rdiff {
    fn name(&self) -> &'static str {
        "rdiff, zstd -19"
    }

    fn programs(&self) -> &'static [&'static str] {
        &["rdiff", "zstd"]
    }

    fn make(&self, files: &Files<'_>) -> Vec<Step> {
        vec![
            Step::stock("rdiff", &[&"signature", &files.joined_base, &signature(files)]),
            Step::stock("rdiff", &[&"delta", &signature(files), &files.pair.target, &delta(files)]),
            Step::stock("zstd", &[&"-q", &"-f", &"-19", &delta(files), &"-o", &files.patch]),
        ]
    }

    fn apply(&self, files: &Files<'_>) -> Vec<Step> {
        let received = files.scratch.join("received");
        vec![
            Step::stock("zstd", &[&"-q", &"-f", &"-d", &files.patch, &"-o", &received]),
            Step::stock("rdiff", &[&"patch", &files.joined_base, &received, &files.rebuilt]),
        ]
    }
}
