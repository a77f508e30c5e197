//! The grammar of the command line, which clap reads from the types and their comments.
//!
//! A comment on a command, an argument or a value is its help text, and ends up in the man pages and completions too.
//! Names of images, ids, rates and sizes are typed: a value that does not parse is wrong usage, before a command runs.

mod bench;
mod endpoint;
mod image;
mod mirror;
mod registry_host;
mod release;
mod sim;

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use lighter_node::config::Rate;
use lighter_types::{Bytes, DiffId};

use crate::format::Format;
pub use bench::{BenchCommand, BenchEffort, BenchPatch, BenchPeer};
pub use endpoint::Endpoint;
pub use image::{AdoptFrom, ExportFormat, ImageAdopt, ImageCommand, ImageExport};
pub use mirror::{MirrorChange, MirrorCommand, MirrorPlace, Runtime};
pub use registry_host::{DOCKER_HUB, RegistryHost};
pub use release::{ReleaseCommand, seconds};
pub use sim::{PlanCommand, SimCommand};

/// Brings container images to fleets over thin uplinks: a peer that holds a similar image sends a patch.
#[derive(Parser)]
#[command(name = "lighter", version, propagate_version = true, after_help = EXIT_CODES)]
pub struct Args {
    /// How results, notes and errors are printed.
    #[arg(long, short, global = true, value_enum, default_value_t = Format::Table, env = "LIGHTER_OUTPUT")]
    pub output: Format,
    /// Print nothing on stderr but errors.
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// The admin socket of the node to talk to. Default: lighter-data/admin.sock.
    #[arg(long, global = true, env = "LIGHTER_SOCKET", value_name = "PATH")]
    pub socket: Option<PathBuf>,
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed for a reason of none of these kinds, 2 wrong usage, \
3 data failed its checks, 4 not found, 5 no peer could provide it, 6 this machine failed (disk, permissions, ports), \
7 no node answers, 8 wrong configuration, 9 cancelled, 10 an expectation not met.";

#[derive(Subcommand)]
pub enum Command {
    /// Run a node, or make one.
    #[command(subcommand)]
    Node(NodeCommand),
    /// Check and show configurations.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Images of a node: import, pull, export.
    #[command(subcommand)]
    Image(ImageCommand),
    /// Releases: sign, cosign, hand a repository over, forget.
    #[command(subcommand)]
    Release(ReleaseCommand),
    /// Make the container runtimes of this host pull through the node.
    #[command(subcommand)]
    Mirror(MirrorCommand),
    /// Layers of a node.
    #[command(subcommand)]
    Layer(LayerCommand),
    /// Other nodes, as a node knows them.
    #[command(subcommand)]
    Peer(PeerCommand),
    /// How a node is doing: peers, traffic, disk, pulls, warnings.
    Status,
    /// Every way to get an image's layers, with predicted bytes and seconds, the chosen first; or what a rollout will
    /// take.
    #[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
    Plan {
        /// repository:tag, repository@sha256:..., or sha256:... of the manifest.
        #[arg(required = true)]
        image: Option<String>,
        #[command(subcommand)]
        rollout: Option<PlanCommand>,
    },
    /// Make, apply and show patches on plain files, without a node.
    #[command(subcommand)]
    Patch(PatchCommand),
    /// Find out how a compressed layer was made, and make it again out of its tar, without a node.
    #[command(subcommand)]
    Recipe(RecipeCommand),
    /// Measure patches and predictions on files of your own, without a node.
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Simulate the rollout of a release: bytes over each link, and when the last node is done.
    #[command(subcommand)]
    Sim(SimCommand),
    /// A node's store: check, repair, clean up.
    #[command(subcommand)]
    Store(StoreCommand),
    /// Print completions for a shell.
    Completions {
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Write man pages into a folder.
    Man { dir: PathBuf },
}

#[derive(Subcommand)]
pub enum NodeCommand {
    /// Run a node until SIGINT or SIGTERM.
    Run(ConfigSource),
    /// Make a folder with a new identity and a commented configuration.
    Init {
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        #[arg(long, value_enum, default_value_t = Role::Edge)]
        role: Role,
    },
    /// Print a node's PeerId.
    Id(ConfigSource),
    /// Change the caps of a running node's traffic; without a cap, print them.
    Limit {
        /// Such as "2 Mbit/s", "500 KiB/s" or "unlimited".
        #[arg(long, value_name = "RATE")]
        upload: Option<String>,
        #[arg(long, value_name = "RATE")]
        download: Option<String>,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Role {
    Hub,
    Edge,
}

/// The sources of a configuration.
#[derive(ClapArgs, Clone, Default)]
pub struct ConfigSource {
    /// The configuration file.
    #[arg(long, short, env = "LIGHTER_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One setting, as in network.mdns=true; before file and environment. May be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

#[derive(Subcommand)]
pub enum ConfigCommand {
    /// Check a configuration: what is wrong, and where.
    Check { file: PathBuf },
    /// Print the configuration in force.
    Show {
        #[arg(env = "LIGHTER_CONFIG")]
        file: Option<PathBuf>,
        /// Also print the origin of each value.
        #[arg(long)]
        origin: bool,
        /// One setting, as in network.mdns=true. May be repeated.
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
    },
}

#[derive(Subcommand)]
pub enum LayerCommand {
    /// List the layers of the node.
    List,
    /// Show a layer, and who else holds it.
    Show { diff_id: DiffId },
    /// Keep a layer whatever happens to the images that have it.
    Pin { diff_id: DiffId },
    /// Take a pin back.
    Unpin { diff_id: DiffId },
}

#[derive(Subcommand)]
pub enum PeerCommand {
    /// List the nodes that the node knows.
    List,
}

#[derive(Subcommand)]
pub enum PatchCommand {
    /// Make a patch that turns the bases into the target.
    Create(PatchCreate),
    /// List the files of layers, for a maker of patches that does not have these layers.
    Have {
        /// A layer. May be repeated.
        #[arg(long, value_name = "FILE", required = true)]
        base: Vec<PathBuf>,
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Rebuild the target out of the bases and a patch, and check its sha256.
    Apply {
        #[arg(long, value_name = "FILE")]
        patch: PathBuf,
        /// The patch's bases, in any order; with --have, also the layers that the list was made of.
        #[arg(long, value_name = "FILE")]
        base: Vec<PathBuf>,
        /// The list that the patch was made with.
        #[arg(long, value_name = "FILE")]
        have: Option<PathBuf>,
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Show the header and the codecs of a patch.
    Show {
        patch: PathBuf,
        /// Every frame.
        #[arg(long)]
        frames: bool,
    },
    /// Write a patch made with --vcdiff as a VCDIFF file that `xdelta3 -d -s BASE` decodes.
    Export {
        #[arg(long, value_name = "FILE")]
        patch: PathBuf,
        /// The only format there is.
        #[arg(long, required = true)]
        vcdiff: bool,
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Decode a VCDIFF file without secondary compression, as `xdelta3 -e -S none -s BASE` writes it.
    Import {
        #[arg(long, value_name = "FILE")]
        vcdiff: PathBuf,
        #[arg(long, value_name = "FILE")]
        base: PathBuf,
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

#[derive(Subcommand)]
pub enum RecipeCommand {
    /// Find the encoder that makes a compressed layer again, byte by byte.
    Find {
        /// The compressed layer, as a registry serves it.
        #[arg(long, value_name = "FILE")]
        blob: PathBuf,
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// If no known encoder makes it: keep corrections to what the nearest zlib-like encoder makes, if they are less
        /// than 2 % of it.
        #[arg(long)]
        allow_corrections: bool,
        /// If no known encoder makes it, and corrections are not allowed or too large: keep its bytes in the recipe.
        #[arg(long)]
        verbatim: bool,
    },
    /// Make the compressed layer again, and check its sha256.
    Rebuild {
        #[arg(long, value_name = "FILE")]
        recipe: PathBuf,
        /// The uncompressed layer.
        #[arg(long, value_name = "FILE")]
        tar: PathBuf,
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// The most threads to use. Default: one for each core.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
        threads: Option<u16>,
    },
    /// Show a recipe.
    Show { recipe: PathBuf },
}

#[derive(ClapArgs)]
pub struct PatchCreate {
    #[arg(long, value_name = "FILE")]
    pub target: PathBuf,
    /// A file that the patch may read from. May be repeated, up to eight times.
    #[arg(long, value_name = "FILE")]
    pub base: Vec<PathBuf>,
    /// A list of files that the receiver has, as `patch have` writes it: the patch leaves them out.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["vcdiff", "rate"])]
    pub have: Option<PathBuf>,
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// How long encoding may take. `auto` takes the effort with which the last receiver is done soonest.
    #[arg(long, value_enum, default_value_t = PatchEffort::Default, requires_if("auto", "rate"))]
    pub effort: PatchEffort,
    /// With --effort auto: the rate of the link that the receivers share, such as "2 Mbit/s".
    #[arg(long, value_name = "RATE")]
    pub rate: Option<Rate>,
    /// With --effort auto: how many receive the patch.
    #[arg(long, value_name = "N", requires = "rate", value_parser = clap::value_parser!(u64).range(1..))]
    pub receivers: Option<u64>,
    /// Make a patch of VCDIFF frames, which `patch export` can write for stock xdelta3. It is larger and slower.
    #[arg(long, conflicts_with_all = ["effort", "rate"])]
    pub vcdiff: bool,
    /// Most memory for encoding, at least 256 MiB.
    #[arg(long, value_name = "SIZE", default_value = "1 GiB")]
    pub memory: Bytes,
    /// Threads. The patch is the same for any number.
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub threads: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PatchEffort {
    Auto,
    Fast,
    Default,
    Max,
}

#[derive(Subcommand)]
pub enum StoreCommand {
    /// Check every file against its name, and the index against the files. The node must not run.
    Fsck {
        #[command(flatten)]
        config: ConfigSource,
        /// Repair: rebuild the index from the files, move what is damaged out of the way.
        #[arg(long)]
        rebuild: bool,
    },
    /// Remove layers and patches that no image names. Asks the node; if none runs, works on the folder.
    Gc {
        #[command(flatten)]
        config: ConfigSource,
        /// Only say what would be removed.
        #[arg(long)]
        dry_run: bool,
    },
    /// Read all that the node holds now, and set aside what is damaged, as the node does from time to time.
    Scrub {
        #[command(flatten)]
        config: ConfigSource,
    },
    /// Show what the store holds and how much room there is. Asks the node; if none runs, reads the folder.
    Stats {
        #[command(flatten)]
        config: ConfigSource,
    },
}
