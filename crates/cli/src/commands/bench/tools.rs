//! The tools that are measured: the efforts of this program, and peers, which are other ways to bring a layer to a node
//! that has a base.
//!
//! Each family has a file and implements `Way`: what is ready before, how the bytes are made that cross the wire, how
//! many they are, how the target is made of them. Stock tools get the options that are best on layers.

mod bsdiff;
mod casync;
mod changed_files;
mod hdiffz;
mod lighter;
mod ostree;
mod rdiff;
mod whole;
mod xdelta3;
mod zchunk;
mod zstd;
mod zucchini;

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::ValueEnum;
use lighter_types::Bytes;

use super::pairs::Pair;
use crate::args::{BenchEffort, BenchPeer};

pub use lighter::settings;

/// Something that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    Lighter(BenchEffort),
    Peer(BenchPeer),
}

/// One way to bring a target to a node that has the base.
trait Way {
    fn name(&self) -> &'static str;

    /// The programs that must be on PATH.
    fn programs(&self) -> &'static [&'static str];

    /// The largest base and target that it takes.
    fn bytes_max(&self) -> Option<Bytes> {
        None
    }

    /// The bytes on the wire by a model, instead of all that follows: it has no steps. `None` for a tool that is run.
    fn modelled_bytes(&self, _files: &Files<'_>) -> Option<io::Result<u64>> {
        None
    }

    /// Steps that both ends took with the base before there was a target. They are not measured.
    fn prepare(&self, _files: &Files<'_>) -> Vec<Step> {
        Vec::new()
    }

    fn make(&self, files: &Files<'_>) -> Vec<Step>;

    /// The bytes that cross the wire to the node, after `make`.
    fn wire_bytes(&self, files: &Files<'_>) -> io::Result<u64> {
        file_bytes(&files.patch)
    }

    fn apply(&self, files: &Files<'_>) -> Vec<Step>;

    /// For a result that is no tar: steps that write what was rebuilt, and the file that it must be equal to. They are
    /// not measured.
    fn check(&self, _files: &Files<'_>) -> Option<(Vec<Step>, PathBuf)> {
        None
    }
}

/// A process to run. Its stdout goes to a file, or nowhere.
pub struct Step {
    pub command: Command,
    stdout: Option<PathBuf>,
}

/// The files of a pair, and the files that are made from it.
pub struct Files<'a> {
    pub pair: &'a Pair,
    /// The base, or a file of all bases one after the other: stock tools take one.
    pub joined_base: PathBuf,
    pub patch: PathBuf,
    pub rebuilt: PathBuf,
    /// A folder that is new for each turn.
    pub scratch: PathBuf,
}

/// The peers whose programs are on PATH, and the programs that are missing.
pub struct Peers {
    pub tools: Vec<Tool>,
    pub missing: Vec<&'static str>,
}

impl Peers {
    pub fn none() -> Self {
        Self { tools: Vec::new(), missing: Vec::new() }
    }

    /// Looks on PATH for the programs of these peers, or of all.
    pub fn find(wanted: Option<&[BenchPeer]>) -> Self {
        let mut peers = Self::none();
        for &peer in wanted.unwrap_or(BenchPeer::value_variants()) {
            let tool = Tool::Peer(peer);
            let programs = tool.way().programs().iter().copied();
            let missing: Vec<&str> = programs.filter(|program| !is_on_path(program)).collect();
            if missing.is_empty() && !peers.tools.contains(&tool) {
                peers.tools.push(tool);
            }
            for program in missing {
                if !peers.missing.contains(&program) {
                    peers.missing.push(program);
                }
            }
        }
        peers
    }
}

fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

impl Tool {
    fn way(self) -> &'static dyn Way {
        match self {
            Self::Lighter(effort) => lighter::of_effort(effort),
            Self::Peer(BenchPeer::WholeGzip) => &whole::Gzip,
            Self::Peer(BenchPeer::WholeZstd) => &whole::Zstd,
            Self::Peer(BenchPeer::ChangedFiles) => &changed_files::ChangedFiles,
            Self::Peer(BenchPeer::Casync) => &casync::Casync,
            Self::Peer(BenchPeer::Zchunk) => &zchunk::Zchunk,
            Self::Peer(BenchPeer::Rdiff) => &rdiff::Rdiff,
            Self::Peer(BenchPeer::Ostree) => &ostree::Ostree,
            Self::Peer(BenchPeer::Bsdiff) => &bsdiff::Bsdiff,
            Self::Peer(BenchPeer::Zucchini) => &zucchini::Zucchini,
            Self::Peer(BenchPeer::Xdelta3) => &xdelta3::Xdelta3,
            Self::Peer(BenchPeer::Zstd3) => &zstd::ZSTD_3,
            Self::Peer(BenchPeer::Zstd19) => &zstd::ZSTD_19,
            Self::Peer(BenchPeer::Hdiffz) => &hdiffz::Hdiffz,
        }
    }

    pub fn name(self) -> &'static str {
        self.way().name()
    }

    pub fn is_peer(self) -> bool {
        matches!(self, Self::Peer(_))
    }

    /// The reason why the tool cannot take a pair, if there is one.
    pub fn obstacle(self, pair: &Pair) -> Option<String> {
        let largest = pair.target_bytes.max(pair.base_bytes);
        let limit = self.way().bytes_max().filter(|limit| largest > *limit)?;
        Some(format!("a file of {largest}; it takes {limit} at most"))
    }

    /// The bytes that a model counts. `None` for a tool that is run.
    pub fn modelled_bytes(self, files: &Files<'_>) -> Option<io::Result<u64>> {
        self.way().modelled_bytes(files)
    }

    pub fn prepare(self, files: &Files<'_>) -> Vec<Step> {
        self.way().prepare(files)
    }

    pub fn make(self, files: &Files<'_>) -> Vec<Step> {
        self.way().make(files)
    }

    pub fn wire_bytes(self, files: &Files<'_>) -> io::Result<u64> {
        self.way().wire_bytes(files)
    }

    pub fn apply(self, files: &Files<'_>) -> Vec<Step> {
        self.way().apply(files)
    }

    pub fn check(self, files: &Files<'_>) -> Option<(Vec<Step>, PathBuf)> {
        self.way().check(files)
    }
}

impl Step {
    fn new(command: Command) -> Self {
        Self { command, stdout: None }
    }

    /// A stock tool, without options from the environment.
    fn stock(program: &str, arguments: &[&dyn AsRef<OsStr>]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments.iter().map(AsRef::as_ref));
        for name in ["GZIP", "XDELTA", "ZSTD_CLEVEL", "ZSTD_NBTHREADS"] {
            command.env_remove(name);
        }
        Self::new(command)
    }

    fn into_file(self, file: &Path) -> Self {
        Self { stdout: Some(file.to_owned()), ..self }
    }

    /// The stdout for its process.
    pub fn stdout(&self) -> io::Result<Stdio> {
        self.stdout.as_ref().map_or_else(|| Ok(Stdio::null()), |file| Ok(File::create(file)?.into()))
    }
}

fn file_bytes(path: &Path) -> io::Result<u64> {
    Ok(std::fs::metadata(path)?.len())
}
