//! The grammar of `bench`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand, ValueEnum};

#[derive(Subcommand)]
pub enum BenchCommand {
    /// Patches beside what else brings a layer: bytes on the wire, seconds to make and apply, memory at the peak.
    Patch(BenchPatch),
    /// Predicted bytes of patches beside actual ones, by TLSH alone and by sketches, for all ordered pairs of layers.
    ///
    /// Shows the error of predictions, how well they order the bases of a target, and the cost of following them.
    Predict {
        /// A folder of tars. Those named NAME-rN.tar are releases of the same package.
        dir: PathBuf,
        /// The effort that the actual patches are made with.
        #[arg(long, value_enum, default_value_t = BenchEffort::Default)]
        effort: BenchEffort,
        /// A file that keeps the bytes of patches between runs, by digests and encoder settings. Created if it is
        /// missing.
        #[arg(long, value_name = "FILE")]
        cache: Option<PathBuf>,
        /// Try sets of up to four bases too: the set that a node chooses by sketches, beside the best that is found by
        /// making patches. Makes up to 13 more patches for each target.
        #[arg(long)]
        sets: bool,
    },
}

/// Patches beside what else brings a layer: bytes on the wire, seconds to make and apply, memory at the peak.
///
/// Each effort is a run of this program's `patch create` and `patch apply`. The stock tools take turns with it on the
/// same files, as far as they are on PATH. Every result is compared with the target.
#[derive(ClapArgs)]
pub struct BenchPatch {
    /// A folder of NAME-rN.tar, each patched from the release before it; or a file of [[pair]] in TOML.
    #[arg(value_name = "DIR|PAIRS.TOML")]
    pub source: PathBuf,
    /// The efforts to measure, with commas between them.
    #[arg(long, value_enum, value_name = "EFFORT,...", value_delimiter = ',', default_value = "fast,default,max")]
    pub effort: Vec<BenchEffort>,
    /// The peers to measure, with commas between them. Default: all whose programs are on PATH.
    #[arg(long, value_enum, value_name = "PEER,...", value_delimiter = ',')]
    pub peers: Option<Vec<BenchPeer>>,
    /// Leave the peers out.
    #[arg(long, conflicts_with = "peers")]
    pub no_peers: bool,
    /// The most time that a peer may take to make or to apply one patch. It is ended then.
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..))]
    pub peer_limit_s: u64,
    /// How often each tool runs, 1 to 100. Seconds are medians, bytes of memory the most of all runs.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub runs: u32,
    /// Also draw the bytes of all pairs and tools.
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BenchEffort {
    Fast,
    Default,
    Max,
    /// As `patch create --vcdiff`.
    Vcdiff,
}

/// Other ways to bring a layer to a node that has a base.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BenchPeer {
    /// The whole layer, gzip -6.
    WholeGzip,
    /// The whole layer, zstd -19.
    WholeZstd,
    /// The files that the base lacks, each compressed alone: a model of zstd:chunked and eStargz.
    ChangedFiles,
    Casync,
    Zchunk,
    /// rdiff's delta, compressed by zstd -19.
    Rdiff,
    /// An OSTree static delta between two commits of the trees.
    Ostree,
    Bsdiff,
    /// A port of Zucchini, the differ of Chromium and Firefox for executables, compressed by xz -9e.
    Zucchini,
    Xdelta3,
    Zstd3,
    Zstd19,
    Hdiffz,
}
