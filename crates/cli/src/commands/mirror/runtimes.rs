//! The runtimes: which files they read below a root, how the node gets into them, what has to happen then, and what a
//! runtime cannot do.
//!
//! Nothing is written here: the modules of the formats edit texts, and `kept` has the files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::edit::EditError;
use super::kept::{self, KeptFile};
use super::{containerd, docker, k3s, podman};
use crate::args::Endpoint;
use crate::args::Runtime;
use crate::args::{DOCKER_HUB, RegistryHost};
use crate::exit::{Failure, Kind};

const CERTS: &str = "etc/containerd/certs.d";
const PODMAN: &str = "etc/containers/registries.conf.d/lighter.conf";

impl Runtime {
    pub const ALL: [Self; 4] = [Self::Containerd, Self::Podman, Self::Docker, Self::K3s];

    pub fn name(self) -> &'static str {
        match self {
            Self::Containerd => "containerd",
            Self::Podman => "podman",
            Self::Docker => "docker",
            Self::K3s => "k3s",
        }
    }

    /// Any of these on the search path shows that it is installed.
    pub fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Containerd => &["containerd"],
            Self::Podman => &["podman", "buildah", "skopeo", "crio"],
            Self::Docker => &["dockerd", "docker"],
            Self::K3s => &["k3s"],
        }
    }

    /// The step after a change. `mirror` restarts nothing.
    pub fn then(self) -> &'static str {
        match self {
            Self::Containerd => "nothing to restart: containerd reads hosts.toml at each pull",
            Self::Podman => "nothing to restart: podman, buildah and skopeo read it at each pull; restart CRI-O",
            Self::Docker => "run `systemctl reload docker`",
            Self::K3s => "run `systemctl restart k3s` (or k3s-agent): k3s reads it at its start",
        }
    }

    /// The limits of this runtime, a sentence each.
    pub fn limits(self, root: &Path, endpoint: &Endpoint) -> Vec<String> {
        match self {
            Self::Containerd => {
                let ctr = "`ctr` reads it with `--hosts-dir /etc/containerd/certs.d` alone".to_owned();
                [ctr].into_iter().chain(cri_remark(root)).collect()
            }
            Self::Podman => vec!["podman has no mirror for all registries: each one needs its entry".to_owned()],
            Self::Docker => vec![format!(
                "Docker asks a mirror for images of Docker Hub only: pull others as {}/HOST/REPOSITORY:TAG",
                endpoint.authority()
            )],
            Self::K3s => vec!["an entry for all registries (\"*\") needs k3s of January 2024 or later".to_owned()],
        }
    }

    /// The registries of a command that names none.
    ///
    /// # Errors
    /// A runtime that cannot mirror what is asked.
    pub fn registries(self, named: &[RegistryHost], endpoint: &Endpoint) -> Result<BTreeSet<RegistryHost>, Failure> {
        let all = || BTreeSet::from([RegistryHost::all()]);
        match (self, named) {
            (Self::Containerd | Self::K3s, []) => Ok(all()),
            (Self::Podman, []) => Err(Failure::new(Kind::Usage, "podman has no mirror for all registries")
                .hint("name each one: --registry docker.io --registry registry.example")),
            (Self::Docker, named) => match named.iter().find(|registry| registry.as_str() != DOCKER_HUB) {
                Some(other) => {
                    let message = format!("Docker asks no mirror for images of {other}: only for those of docker.io");
                    Err(Failure::new(Kind::Usage, message)
                        .hint(format!("pull them as {}/{other}/REPOSITORY:TAG", endpoint.authority())))
                }
                None => Ok(BTreeSet::from([RegistryHost::docker_hub()])),
            },
            (Self::Containerd | Self::Podman | Self::K3s, named) => Ok(named.iter().cloned().collect()),
        }
    }

    /// The files for these registries, each with those that are its own.
    pub fn files(self, root: &Path, registries: &BTreeSet<RegistryHost>) -> Vec<(PathBuf, BTreeSet<RegistryHost>)> {
        match self {
            Self::Containerd => {
                let files = registries.iter().map(|registry| {
                    let path = root.join(CERTS).join(containerd::folder(registry)).join("hosts.toml");
                    (path, BTreeSet::from([registry.clone()]))
                });
                files.collect()
            }
            Self::Podman => vec![(root.join(PODMAN), registries.clone())],
            Self::Docker => vec![(root.join("etc/docker/daemon.json"), registries.clone())],
            Self::K3s => vec![(root.join("etc/rancher/k3s/registries.yaml"), registries.clone())],
        }
    }

    /// The files that `mirror` changed.
    pub fn changed_files(self, root: &Path) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = self.found_files(root).into_iter().filter(|path| kept::has_note(path)).collect();
        files.sort();
        files
    }

    /// The files that may name the node. Those of containerd are there; the others may be missing.
    pub fn found_files(self, root: &Path) -> Vec<PathBuf> {
        match self {
            Self::Containerd => {
                let folders = std::fs::read_dir(root.join(CERTS)).into_iter().flatten().flatten();
                let files = folders.map(|folder| folder.path().join("hosts.toml"));
                // A file that somebody deleted still has its note.
                files.filter(|path| path.is_file() || kept::has_note(path)).collect()
            }
            Self::Podman | Self::Docker | Self::K3s => {
                self.files(root, &BTreeSet::new()).into_iter().map(|(path, _)| path).collect()
            }
        }
    }

    /// The file as it must be for these registries, from what it was before.
    ///
    /// # Errors
    /// A file that cannot be merged.
    pub fn edit(
        self,
        root: &Path,
        file: &KeptFile,
        endpoint: &Endpoint,
        registries: &BTreeSet<RegistryHost>,
    ) -> Result<String, Failure> {
        let original = file.original.as_deref();
        let edited = match self {
            Self::Containerd => containerd::edit(original, endpoint, registries),
            Self::Podman => {
                podman_is_free(root, endpoint, registries)?;
                podman::edit(original, endpoint, registries)
            }
            Self::Docker => docker::edit(original, endpoint),
            Self::K3s => k3s::edit(original, endpoint, registries),
        };
        edited.map_err(|error| refused(&file.path, &error))
    }

    /// The registries for which a file with this text makes the runtime ask the endpoint.
    ///
    /// # Errors
    /// A text that the runtime cannot read.
    pub fn pointed(self, path: &Path, text: &str, endpoint: &Endpoint) -> Result<Vec<RegistryHost>, EditError> {
        match self {
            Self::Containerd => {
                let folder = path.parent().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default();
                let registry = if folder == "_default" { Some(RegistryHost::all()) } else { folder.parse().ok() };
                let points = containerd::points(text, endpoint)?;
                Ok(registry.filter(|_| points).into_iter().collect())
            }
            Self::Podman => podman::pointed(text, endpoint),
            Self::Docker => {
                let points = docker::points(text, endpoint)?;
                Ok(points.then(RegistryHost::docker_hub).into_iter().collect())
            }
            Self::K3s => k3s::pointed(text, endpoint),
        }
    }
}

/// The reason that keeps Kubernetes over containerd from asking the node.
fn cri_remark(root: &Path) -> Option<String> {
    let config = root.join("etc/containerd/config.toml");
    let text = kept::read(&config).ok().flatten().unwrap_or_default();
    (!containerd::has_config_path(&text)).then(|| {
        format!(
            "{} sets no config_path: for Kubernetes, set it to \"/etc/containerd/certs.d\" in \
             [plugins.\"io.containerd.grpc.v1.cri\".registry] (containerd 2: \
             [plugins.\"io.containerd.cri.v1.images\".registry]), and restart containerd",
            config.display()
        )
    })
}

/// Podman takes one of two files that name a registry, and not both.
fn podman_is_free(root: &Path, endpoint: &Endpoint, registries: &BTreeSet<RegistryHost>) -> Result<(), Failure> {
    let folder = root.join("etc/containers");
    let own = root.join(PODMAN);
    let more = std::fs::read_dir(folder.join("registries.conf.d")).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = more.map(|entry| entry.path()).filter(|path| *path != own).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
    files.push(folder.join("registries.conf"));
    files.sort();
    for path in files {
        // A link to a file of the distribution is read as well.
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let named = podman::named(&text, registries).map_err(|error| refused(&path, &error))?;
        if let Some(registry) = named.first() {
            let message =
                format!("{} has settings for {registry}, and podman would take only one of both", path.display());
            let location = podman::mirror(endpoint, registry);
            let hint = format!("add a [[registry.mirror]] with location = {location:?} there");
            return Err(Failure::new(Kind::Config, message).hint(hint));
        }
    }
    Ok(())
}

fn refused(path: &Path, error: &EditError) -> Failure {
    let failure = Failure::new(Kind::Config, format!("{} is not changed: {}", path.display(), error.problem));
    if error.lines.is_empty() {
        return failure.hint("repair the file first");
    }
    failure.hint(format!("add this to it by hand:\n{}", error.lines.trim_end()))
}
