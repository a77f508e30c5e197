//! xdelta3: VCDIFF, at its highest level and with one window over the whole base.

use super::{Files, Step, Way};

pub(super) struct Xdelta3;

/// The window of the source. xdelta3 allocates it whatever the file; larger files are read through it.
const WINDOW: &str = "1073741824";

impl Way for Xdelta3 {
    fn name(&self) -> &'static str {
        "xdelta3 -9"
    }

    fn programs(&self) -> &'static [&'static str] {
        &["xdelta3"]
    }

    fn make(&self, files: &Files<'_>) -> Vec<Step> {
        let (base, target, patch) = (&files.joined_base, &files.pair.target, &files.patch);
        vec![Step::stock("xdelta3", &[&"-e", &"-9", &"-B", &WINDOW, &"-q", &"-f", &"-s", base, target, patch])]
    }

    fn apply(&self, files: &Files<'_>) -> Vec<Step> {
        let (base, patch, rebuilt) = (&files.joined_base, &files.patch, &files.rebuilt);
        vec![Step::stock("xdelta3", &[&"-d", &"-B", &WINDOW, &"-q", &"-f", &"-s", base, patch, rebuilt])]
    }
}
