//! bsdiff: suffix sorting, differences compressed by bzip2.

use lighter_types::Bytes;

use super::{Files, Step, Way};

pub(super) struct Bsdiff;

/// bsdiff takes 17 bytes of memory for each of the old file (its manual page): 2.1 GiB.
const BYTES_MAX: Bytes = Bytes(128 << 20);

impl Way for Bsdiff {
    fn name(&self) -> &'static str {
        "bsdiff"
    }

    fn programs(&self) -> &'static [&'static str] {
        &["bsdiff", "bspatch"]
    }

    fn bytes_max(&self) -> Option<Bytes> {
        Some(BYTES_MAX)
    }

    fn make(&self, files: &Files<'_>) -> Vec<Step> {
        vec![Step::stock("bsdiff", &[&files.joined_base, &files.pair.target, &files.patch])]
    }

    fn apply(&self, files: &Files<'_>) -> Vec<Step> {
        vec![Step::stock("bspatch", &[&files.joined_base, &files.rebuilt, &files.patch])]
    }
}
