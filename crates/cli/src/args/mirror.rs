//! The grammar of `mirror`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand, ValueEnum};

use super::endpoint::Endpoint;
use super::registry_host::RegistryHost;

#[derive(Subcommand)]
pub enum MirrorCommand {
    /// Make a container runtime ask the node first: change its configuration, and keep what was there.
    Install(MirrorChange),
    /// Show for each runtime whether it asks the node, and prove it by a pull through the node.
    ///
    /// Ends with 7 if nothing answers at the endpoint, and with 10 if a runtime of --runtime does not ask it.
    Status {
        /// Which runtimes. Default: all.
        #[arg(long, value_enum, value_name = "RUNTIME", value_delimiter = ',')]
        runtime: Vec<Runtime>,
        #[command(flatten)]
        place: MirrorPlace,
        /// An image to pull through the endpoint, blob by blob: each digest is compared and nothing is kept.
        #[arg(value_name = "REF")]
        image: Option<String>,
    },
    /// Take the changes of `mirror install` back: what was there before stands there again.
    Remove(MirrorChange),
}

#[derive(ClapArgs)]
pub struct MirrorChange {
    #[arg(long, value_enum, value_name = "RUNTIME")]
    pub runtime: Runtime,
    /// A registry such as registry.example or docker.io. May be repeated. Default: all that the runtime can; `remove`
    /// takes all back.
    #[arg(long, value_name = "HOST")]
    pub registry: Vec<RegistryHost>,
    #[command(flatten)]
    pub place: MirrorPlace,
    /// Only print the changes, as a diff.
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(ClapArgs)]
pub struct MirrorPlace {
    /// Where the node's registry listens (`registry.listen`).
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:4480")]
    pub endpoint: Endpoint,
    /// A folder that stands for /, such as the image of a machine.
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
}

/// A container runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Runtime {
    /// containerd, with or without Kubernetes: certs.d/HOST/hosts.toml.
    Containerd,
    /// podman, buildah, skopeo, CRI-O: registries.conf.d/lighter.conf.
    Podman,
    /// Docker: daemon.json. Images of Docker Hub only.
    Docker,
    /// k3s: registries.yaml.
    K3s,
}
