//! The tools that are measured: the efforts of this program, and stock tools with the options that are best on layers.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use lighter_patch::{Method, Settings};
use lighter_types::{Bytes, Effort};

use super::pairs::Pair;
use crate::args::BenchEffort;

/// zstd's tool refuses to make patches from or of more (FIO_adjustMemLimitForPatchFromMode, zstd 1.5.4).
const ZSTD_BYTES_MAX: Bytes = Bytes(2 << 30);
/// bsdiff takes 17 bytes of memory for each of the old file (its manual page): 1 GiB.
const BSDIFF_BYTES_MAX: Bytes = Bytes(64 << 20);
/// The window of the source. xdelta3 allocates it whatever the file; larger files are read through it.
const XDELTA3_WINDOW: &str = "1073741824";

/// Something that makes and applies patches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    Lighter(BenchEffort),
    Hdiffz,
    Xdelta3,
    Zstd19,
    Zstd3,
    Bsdiff,
}

/// The stock tools on PATH, and the programs that are missing.
pub struct Peers {
    pub tools: Vec<Tool>,
    pub missing: Vec<&'static str>,
}

impl Peers {
    const ALL: [Tool; 5] = [Tool::Hdiffz, Tool::Xdelta3, Tool::Zstd19, Tool::Zstd3, Tool::Bsdiff];

    pub fn none() -> Self {
        Self { tools: Vec::new(), missing: Vec::new() }
    }

    /// Looks on PATH.
    pub fn find() -> Self {
        let mut peers = Self::none();
        for tool in Self::ALL {
            let missing: Vec<&str> = tool.programs().iter().copied().filter(|program| !is_on_path(program)).collect();
            if missing.is_empty() {
                peers.tools.push(tool);
            }
            peers.missing.extend(missing);
        }
        peers.missing.dedup();
        peers
    }
}

fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
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

/// The files of a pair, and the files that are made from it.
pub struct Files<'a> {
    pub pair: &'a Pair,
    /// The base, or a file of all bases one after the other: stock tools take one.
    pub joined_base: PathBuf,
    pub patch: PathBuf,
    pub rebuilt: PathBuf,
}

impl Tool {
    pub fn name(self) -> &'static str {
        match self {
            Self::Lighter(BenchEffort::Fast) => "lighter fast",
            Self::Lighter(BenchEffort::Default) => "lighter default",
            Self::Lighter(BenchEffort::Max) => "lighter max",
            Self::Lighter(BenchEffort::Vcdiff) => "lighter vcdiff",
            Self::Hdiffz => "hdiffz",
            Self::Xdelta3 => "xdelta3 -9",
            Self::Zstd19 => "zstd -19",
            Self::Zstd3 => "zstd -3",
            Self::Bsdiff => "bsdiff",
        }
    }

    pub fn is_peer(self) -> bool {
        !matches!(self, Self::Lighter(_))
    }

    /// The programs that must be on PATH.
    fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Lighter(_) => &[],
            Self::Hdiffz => &["hdiffz", "hpatchz"],
            Self::Xdelta3 => &["xdelta3"],
            Self::Zstd19 | Self::Zstd3 => &["zstd"],
            Self::Bsdiff => &["bsdiff", "bspatch"],
        }
    }

    /// The reason why the tool cannot take a pair, if there is one.
    pub fn obstacle(self, pair: &Pair) -> Option<String> {
        let largest = pair.target_bytes.max(pair.base_bytes);
        let limit = match self {
            Self::Zstd19 | Self::Zstd3 => ZSTD_BYTES_MAX,
            Self::Bsdiff => BSDIFF_BYTES_MAX,
            Self::Lighter(_) | Self::Hdiffz | Self::Xdelta3 => return None,
        };
        (largest > limit).then(|| format!("a file of {largest}; it takes {limit} at most"))
    }

    pub fn encode(self, files: &Files<'_>) -> Command {
        let (base, target, patch) = (files.joined_base.as_path(), files.pair.target.as_path(), files.patch.as_path());
        match self {
            Self::Lighter(effort) => {
                let mut command = lighter("create", files);
                command.arg("--target").arg(target).arg("--out").arg(patch).args(match effort {
                    BenchEffort::Fast => &["--effort", "fast"][..],
                    BenchEffort::Default => &["--effort", "default"],
                    BenchEffort::Max => &["--effort", "max"],
                    BenchEffort::Vcdiff => &["--vcdiff"],
                });
                command
            }
            Self::Hdiffz => stock("hdiffz", &[&"-f", &"-m-6", &"-SD", &"-c-zstd-21-24", &base, &target, &patch]),
            Self::Xdelta3 => {
                stock("xdelta3", &[&"-e", &"-9", &"-B", &XDELTA3_WINDOW, &"-q", &"-f", &"-s", &base, &target, &patch])
            }
            Self::Zstd19 => zstd(files, &[&"-19", &"--long=31", &target, &"-o", &patch]),
            Self::Zstd3 => zstd(files, &[&"-3", &"--long=27", &target, &"-o", &patch]),
            Self::Bsdiff => stock("bsdiff", &[&base, &target, &patch]),
        }
    }

    pub fn apply(self, files: &Files<'_>) -> Command {
        let (base, patch, rebuilt) = (files.joined_base.as_path(), files.patch.as_path(), files.rebuilt.as_path());
        match self {
            Self::Lighter(_) => {
                let mut command = lighter("apply", files);
                command.arg("--patch").arg(patch).arg("--out").arg(rebuilt);
                command
            }
            Self::Hdiffz => stock("hpatchz", &[&"-f", &base, &patch, &rebuilt]),
            Self::Xdelta3 => {
                stock("xdelta3", &[&"-d", &"-B", &XDELTA3_WINDOW, &"-q", &"-f", &"-s", &base, &patch, &rebuilt])
            }
            Self::Zstd19 => zstd(files, &[&"-d", &"--long=31", &patch, &"-o", &rebuilt]),
            Self::Zstd3 => zstd(files, &[&"-d", &"--long=27", &patch, &"-o", &rebuilt]),
            Self::Bsdiff => stock("bspatch", &[&base, &rebuilt, &patch]),
        }
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

/// A stock tool, without options from the environment.
fn stock(program: &str, arguments: &[&dyn AsRef<OsStr>]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments.iter().map(AsRef::as_ref));
    for name in ["XDELTA", "ZSTD_CLEVEL", "ZSTD_NBTHREADS"] {
        command.env_remove(name);
    }
    command
}

fn zstd(files: &Files<'_>, arguments: &[&dyn AsRef<OsStr>]) -> Command {
    let mut command = stock("zstd", &[&"-q", &"-f", &"--patch-from", &files.joined_base]);
    command.args(arguments.iter().map(AsRef::as_ref));
    command
}
