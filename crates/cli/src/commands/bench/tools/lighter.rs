//! The efforts of this program.

use std::process::Command;

use lighter_patch::{Method, Settings};
use lighter_types::Effort;

use super::{Files, Step, Way};
use crate::args::BenchEffort;

struct Lighter(BenchEffort);

pub(super) fn of_effort(effort: BenchEffort) -> &'static dyn Way {
    match effort {
        BenchEffort::Fast => &Lighter(BenchEffort::Fast),
        BenchEffort::Default => &Lighter(BenchEffort::Default),
        BenchEffort::Max => &Lighter(BenchEffort::Max),
        BenchEffort::Vcdiff => &Lighter(BenchEffort::Vcdiff),
    }
}

/// The encoder settings of an effort.
pub fn settings(effort: BenchEffort) -> Settings {
    let method = match effort {
        BenchEffort::Fast => Method::Delta(Effort::Fast),
        BenchEffort::Default => Method::Delta(Effort::Default),
        BenchEffort::Max => Method::Delta(Effort::Max),
        BenchEffort::Vcdiff => Method::Vcdiff,
    };
    Settings { method, ..Settings::default() }
}

impl Way for Lighter {
    fn name(&self) -> &'static str {
        match self.0 {
            BenchEffort::Fast => "lighter fast",
            BenchEffort::Default => "lighter default",
            BenchEffort::Max => "lighter max",
            BenchEffort::Vcdiff => "lighter vcdiff",
        }
    }

    fn programs(&self) -> &'static [&'static str] {
        &[]
    }

    fn make(&self, files: &Files<'_>) -> Vec<Step> {
        let mut command = lighter("create", files);
        command.arg("--target").arg(&files.pair.target).arg("--out").arg(&files.patch).args(match self.0 {
            BenchEffort::Fast => &["--effort", "fast"][..],
            BenchEffort::Default => &["--effort", "default"],
            BenchEffort::Max => &["--effort", "max"],
            BenchEffort::Vcdiff => &["--vcdiff"],
        });
        vec![Step::new(command)]
    }

    fn apply(&self, files: &Files<'_>) -> Vec<Step> {
        let mut command = lighter("apply", files);
        command.arg("--patch").arg(&files.patch).arg("--out").arg(&files.rebuilt);
        vec![Step::new(command)]
    }
}

/// `lighter patch ...` of the running program, even if a build has replaced its file.
fn lighter(action: &str, files: &Files<'_>) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.env_remove("LIGHTER_OUTPUT").env_remove("LIGHTER_SOCKET").args(["--quiet", "patch", action]);
    for base in &files.pair.bases {
        command.arg("--base").arg(base);
    }
    command
}
