//! HDiffPatch: `hdiffz` and `hpatchz`, with compressed differences.

use super::{Files, Step, Way};

pub(super) struct Hdiffz;

impl Way for Hdiffz {
    fn name(&self) -> &'static str {
        "hdiffz"
    }

    fn programs(&self) -> &'static [&'static str] {
        &["hdiffz", "hpatchz"]
    }

    fn make(&self, files: &Files<'_>) -> Vec<Step> {
        let (base, target, patch) = (&files.joined_base, &files.pair.target, &files.patch);
        vec![Step::stock("hdiffz", &[&"-f", &"-m-6", &"-SD", &"-c-zstd-21-24", base, target, patch])]
    }

    fn apply(&self, files: &Files<'_>) -> Vec<Step> {
        vec![Step::stock("hpatchz", &[&"-f", &files.joined_base, &files.patch, &files.rebuilt])]
    }
}
