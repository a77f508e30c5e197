//! `zstd --patch-from`: the base as a prefix.

use std::ffi::OsStr;

use lighter_types::Bytes;

use super::{Files, Step, Way};

/// zstd's tool refuses to make patches from or of more (FIO_adjustMemLimitForPatchFromMode, zstd 1.5.4).
const BYTES_MAX: Bytes = Bytes(2 << 30);

pub(super) struct Zstd {
    name: &'static str,
    level: &'static str,
    window: &'static str,
}

pub(super) static ZSTD_19: Zstd = Zstd { name: "zstd -19 --patch-from", level: "-19", window: "--long=31" };
pub(super) static ZSTD_3: Zstd = Zstd { name: "zstd -3 --patch-from", level: "-3", window: "--long=27" };

impl Zstd {
    fn step(&self, files: &Files<'_>, arguments: &[&dyn AsRef<OsStr>]) -> Step {
        let first: [&dyn AsRef<OsStr>; 5] = [&"-q", &"-f", &self.window, &"--patch-from", &files.joined_base];
        Step::stock("zstd", &[&first[..], arguments].concat())
    }
}

impl Way for Zstd {
    fn name(&self) -> &'static str {
        self.name
    }

    fn programs(&self) -> &'static [&'static str] {
        &["zstd"]
    }

    fn bytes_max(&self) -> Option<Bytes> {
        Some(BYTES_MAX)
    }

    fn make(&self, files: &Files<'_>) -> Vec<Step> {
        vec![self.step(files, &[&self.level, &files.pair.target, &"-o", &files.patch])]
    }

    fn apply(&self, files: &Files<'_>) -> Vec<Step> {
        vec![self.step(files, &[&"-d", &files.patch, &"-o", &files.rebuilt])]
    }
}
