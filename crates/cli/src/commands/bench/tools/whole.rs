//! The whole layer, compressed as registries serve it.

use super::{Files, Step, Way};

pub(super) struct Gzip;
pub(super) struct Zstd;

impl Way for Gzip {
    fn name(&self) -> &'static str {
        "whole, gzip -6"
    }

    fn programs(&self) -> &'static [&'static str] {
        &["gzip"]
    }

    fn make(&self, files: &Files<'_>) -> Vec<Step> {
        vec![Step::stock("gzip", &[&"-6", &"-n", &"-c", &files.pair.target]).into_file(&files.patch)]
    }

    fn apply(&self, files: &Files<'_>) -> Vec<Step> {
        // `-f` takes a file without the suffix.
        vec![Step::stock("gzip", &[&"-d", &"-f", &"-c", &files.patch]).into_file(&files.rebuilt)]
    }
}

impl Way for Zstd {
    fn name(&self) -> &'static str {
        "whole, zstd -19"
    }

    fn programs(&self) -> &'static [&'static str] {
        &["zstd"]
    }

    fn make(&self, files: &Files<'_>) -> Vec<Step> {
        vec![Step::stock("zstd", &[&"-q", &"-f", &"-19", &files.pair.target, &"-o", &files.patch])]
    }

    fn apply(&self, files: &Files<'_>) -> Vec<Step> {
        vec![Step::stock("zstd", &[&"-q", &"-f", &"-d", &files.patch, &"-o", &files.rebuilt])]
    }
}
