//! The grammar of `image`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use lighter_types::ImageReference;

#[derive(Subcommand)]
pub enum ImageCommand {
    /// Import an image: a folder with an OCI layout, an OCI archive, a `docker save` archive, or out of a registry.
    Import {
        /// The folder or the archive; - reads an archive from standard input. Or docker://HOST/REPOSITORY:TAG, or
        /// docker://HOST/REPOSITORY@sha256:...: the node gets the image from the registry.
        path: PathBuf,
        /// Its name here, repository:tag. Default: the one in PATH, or HOST/REPOSITORY:TAG.
        #[arg(long, value_name = "REF")]
        name: Option<ImageReference>,
        /// Which of several images: its name in PATH, its digest, or its number.
        #[arg(long, value_name = "IMAGE")]
        from: Option<String>,
        /// Import every image in PATH, under the name that it has there.
        #[arg(long, conflicts_with_all = ["name", "from"])]
        all: bool,
        /// Which of several platforms, os/architecture. Default: this machine's.
        #[arg(long, value_name = "PLATFORM")]
        platform: Option<String>,
        /// Ask the registry over plain HTTP.
        #[arg(long)]
        insecure: bool,
        /// Sign no release: the layers are taken as bases, and the image's name is that of a pull by digest.
        #[arg(long, conflicts_with = "name")]
        unsigned: bool,
        /// The release expires after this time, such as 90d, 12h or 30m. Default: never.
        #[arg(long, value_name = "TIME", value_parser = super::seconds, conflicts_with = "unsigned")]
        expires: Option<u64>,
    },
    /// List the images of the node.
    List,
    /// Show an image.
    Show { reference: ImageReference },
    /// Get an image from the fleet.
    Pull {
        /// repository:tag, repository@sha256:..., or sha256:... of the manifest.
        image: String,
        /// Only print the plan: the same as `lighter plan`.
        #[arg(long)]
        dry_run: bool,
    },
    /// Give up a pull that is under way. The next pull keeps the bytes that have arrived.
    Cancel { image: String },
    /// Write an image as an OCI layout into a new folder, or as an archive.
    ///
    /// It has the blobs and the manifest of the image's registry where the node can make them, else plain tars.
    Export(ImageExport),
    /// Take the images that a runtime on this host has into the node, so that the first update is already a patch.
    ///
    /// Nothing is signed: their layers are what patches read from. Ends with the code of the first image that cannot be
    /// taken, after all others were.
    Adopt(ImageAdopt),
    /// Keep an image: it never gives way to others, and cannot be removed.
    Pin { reference: ImageReference },
    /// Take a pin back.
    Unpin { reference: ImageReference },
    /// Remove an image's name. Its layers stay until `store gc`, or until the store needs the room.
    Remove { reference: ImageReference },
}

#[derive(ClapArgs)]
#[command(group(clap::ArgGroup::new("place").required(true).args(["path", "out"])))]
#[command(group(clap::ArgGroup::new("blobs").args(["exact", "plain", "gzip"])))]
pub struct ImageExport {
    pub reference: ImageReference,
    /// A new or empty folder for a layout, a file for an archive; - writes an archive to stdout.
    pub path: Option<PathBuf>,
    /// The same as PATH.
    #[arg(long, value_name = "PATH")]
    pub out: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t = ExportFormat::Layout)]
    pub format: ExportFormat,
    /// Only with the blobs and the manifest of the image's registry; fails (4) where the node cannot make one of them.
    #[arg(long)]
    pub exact: bool,
    /// With plain tars as layers.
    #[arg(long)]
    pub plain: bool,
    /// With layers that gzip -6 compresses. In a layout only.
    #[arg(long)]
    pub gzip: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// A folder with an OCI layout.
    Layout,
    /// A tar of an OCI layout.
    OciArchive,
    /// An archive for `docker load` and `podman load`. Its layers are plain tars.
    DockerArchive,
}

#[derive(ClapArgs)]
pub struct ImageAdopt {
    /// Images, as the runtime names them. Default: all that it has.
    #[arg(value_name = "REF")]
    pub images: Vec<String>,
    #[arg(long, value_enum, value_name = "RUNTIME")]
    pub runtime: AdoptFrom,
    /// The namespace of containerd. Default: all.
    #[arg(long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// The socket of containerd or Docker, as `ctr --address` and `docker --host` take it.
    #[arg(long, value_name = "ADDRESS")]
    pub address: Option<String>,
    /// Also sign a release of each under the runtime's name for it, as `image import` does.
    #[arg(long)]
    pub release: bool,
}

/// A runtime that images can be taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AdoptFrom {
    /// By `ctr images export`. The images keep their manifests.
    Containerd,
    /// By `podman save`. Also the images of buildah and CRI-O, which share its storage.
    Podman,
    /// By `docker save`.
    Docker,
}
