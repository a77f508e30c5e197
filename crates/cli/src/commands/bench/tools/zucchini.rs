//! Zucchini, the differ of Chromium and Firefox for executables. It finds those within a tar by itself. Its patches are
//! made to be compressed: xz -9e, as in the figures that its users publish.

use std::path::PathBuf;

use super::{Files, Step, Way};

pub(super) struct Zucchini;

fn raw(files: &Files<'_>) -> PathBuf {
    files.scratch.join("raw")
}

impl Way for Zucchini {
    fn name(&self) -> &'static str {
        "Zucchini, xz -9e"
    }

    fn programs(&self) -> &'static [&'static str] {
        &["zucchini", "xz"]
    }

    fn make(&self, files: &Files<'_>) -> Vec<Step> {
        vec![
            Step::stock("zucchini", &[&"-gen", &files.joined_base, &files.pair.target, &raw(files)]),
            Step::stock("xz", &[&"-q", &"-9e", &"-T1", &"-c", &raw(files)]).into_file(&files.patch),
        ]
    }

    fn apply(&self, files: &Files<'_>) -> Vec<Step> {
        let received = files.scratch.join("received");
        vec![
            Step::stock("xz", &[&"-q", &"-d", &"-c", &files.patch]).into_file(&received),
            Step::stock("zucchini", &[&"-apply", &files.joined_base, &received, &files.rebuilt]),
        ]
    }
}
