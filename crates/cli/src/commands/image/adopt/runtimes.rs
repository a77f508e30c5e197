//! The clients of the runtimes: how each lists its images and exports one.
//!
//! `ctr`, `podman` and `docker` are run as child processes, as the user of this command. Their output is read, not
//! believed: an archive is checked by its import.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::args::{AdoptFrom, ImageAdopt};
use crate::exit::{Failure, Kind};

/// The most that is shown of what a client says on stderr.
const REASON_CHARS_MAX: usize = 400;

/// An image that a runtime has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub name: String,
    /// The namespace of containerd.
    namespace: String,
    /// The name for the client: podman and docker have images without a name.
    id: String,
}

/// A runtime's client.
pub struct Exporter {
    runtime: AdoptFrom,
    namespace: Option<String>,
    address: Option<String>,
}

/// An image that was asked for, or its name and why there is none.
pub type Wanted = Result<Found, (String, Failure)>;

impl Exporter {
    /// # Errors
    /// Options that the runtime does not have.
    pub fn new(asked: &ImageAdopt) -> Result<Self, Failure> {
        let wrong = |text| Err(Failure::new(Kind::Usage, text));
        match (asked.runtime, &asked.namespace, &asked.address) {
            (AdoptFrom::Podman | AdoptFrom::Docker, Some(_), _) => return wrong("--namespace is containerd's"),
            (AdoptFrom::Podman, None, Some(_)) => {
                return wrong("podman has no --address: run this as the user that the storage belongs to");
            }
            (AdoptFrom::Containerd, _, _) | (AdoptFrom::Docker, None, _) | (AdoptFrom::Podman, None, None) => {}
        }
        let (namespace, address) = (asked.namespace.clone(), asked.address.clone());
        Ok(Self { runtime: asked.runtime, namespace, address })
    }

    /// The images with these names, or all.
    ///
    /// # Errors
    /// If the client is not there or cannot list its images.
    pub fn images(&self, names: &[String]) -> Result<Vec<Wanted>, Failure> {
        match self.runtime {
            AdoptFrom::Containerd => {
                let mut all = Vec::new();
                for namespace in self.namespaces()? {
                    let listed = self.listed(self.ctr(&namespace).args(["images", "list"]))?;
                    all.extend(of_containerd(&listed, &namespace));
                }
                Ok(chosen(all, names))
            }
            // These clients know more names of an image than they list.
            AdoptFrom::Podman | AdoptFrom::Docker if !names.is_empty() => {
                let named = names.iter().map(|name| Found::named(name));
                Ok(named.map(Ok).collect())
            }
            AdoptFrom::Podman => {
                let listed = self.listed(Command::new("podman").args(["images", "--format", "json"]))?;
                Ok(of_podman(&listed)?.into_iter().map(Ok).collect())
            }
            AdoptFrom::Docker => {
                let format = "{{.ID}} {{.Repository}} {{.Tag}}";
                let listed = self.listed(self.docker().args(["image", "ls", "--no-trunc", "--format", format]))?;
                Ok(of_docker(&listed).into_iter().map(Ok).collect())
            }
        }
    }

    /// Has the client export an image, and gives the stream to `take`.
    ///
    /// # Errors
    /// Those of `take`; `NotFound` if the client is not there, `BadData` if it cannot export the image.
    pub fn export<T>(
        &self,
        found: &Found,
        take: impl FnOnce(&mut dyn Read) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut command = match self.runtime {
            AdoptFrom::Containerd => self.ctr(&found.namespace),
            AdoptFrom::Podman => Command::new("podman"),
            AdoptFrom::Docker => self.docker(),
        };
        match self.runtime {
            AdoptFrom::Containerd => command.args(["images", "export", "-", &found.id]),
            // The storage has tars: to compress them would cost time and change nothing.
            AdoptFrom::Podman => command.args(["save", "--quiet", "--format", "docker-archive", &found.id]),
            AdoptFrom::Docker => command.args(["save", &found.id]),
        };
        // A file: a pipe that nobody reads would stop the client.
        let mut said = tempfile::tempfile().map_err(|error| cannot("keep the output of", &command, &error))?;
        let stderr = said.try_clone().map_err(|error| cannot("keep the output of", &command, &error))?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
        let mut child = command.spawn().map_err(|error| cannot("run", &command, &error))?;
        let taken = match &mut child.stdout {
            Some(stream) => take(stream),
            None => Err(Failure::new(Kind::Machine, "a child process without its output")),
        };
        // A reader that gave up ends the client by a closed pipe.
        drop(child.stdout.take());
        let status = child.wait().map_err(|error| cannot("wait for", &command, &error))?;
        let taken = taken?;
        if status.success() {
            return Ok(taken);
        }
        Err(Failure::new(Kind::BadData, format!("{} ended with {status}: {}", shown(&command), reason(&mut said))))
    }

    fn namespaces(&self) -> Result<Vec<String>, Failure> {
        if let Some(namespace) = &self.namespace {
            return Ok(vec![namespace.clone()]);
        }
        let listed = self.listed(self.ctr("default").args(["namespaces", "list", "-q"]))?;
        Ok(listed.split_whitespace().map(str::to_owned).collect())
    }

    fn ctr(&self, namespace: &str) -> Command {
        let mut command = Command::new("ctr");
        if let Some(address) = &self.address {
            command.args(["--address", address]);
        }
        command.args(["--namespace", namespace]);
        command
    }

    fn docker(&self) -> Command {
        let mut command = Command::new("docker");
        if let Some(address) = &self.address {
            command.args(["--host", address]);
        }
        command
    }

    /// The output of a short command.
    fn listed(&self, command: &mut Command) -> Result<String, Failure> {
        let done = command.stdin(Stdio::null()).output().map_err(|error| cannot("run", command, &error))?;
        if done.status.success() {
            return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
        }
        let why = last_lines(&String::from_utf8_lossy(&done.stderr));
        let failure = Failure::new(Kind::Machine, format!("{} ended with {}: {why}", shown(command), done.status));
        Err(failure.hint("run this as a user that may use the runtime; --address names another socket"))
    }
}

impl Found {
    fn named(name: &str) -> Self {
        Self { name: name.to_owned(), namespace: String::new(), id: name.to_owned() }
    }
}

/// The images in the table that `ctr images list` prints: name, type, digest. CRI keeps an image under three names; the
/// one of each digest that people use is taken.
fn of_containerd(listed: &str, namespace: &str) -> Vec<Found> {
    let mut rows: Vec<(&str, &str)> = listed
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            let (name, digest) = (fields.next()?, fields.nth(1)?);
            digest.starts_with("sha256:").then_some((name, digest))
        })
        .collect();
    rows.sort_by_key(|(name, _)| (name.starts_with("sha256:"), name.contains('@')));
    let mut seen = BTreeSet::new();
    rows.retain(|(_, digest)| seen.insert(*digest));
    let found = rows.into_iter().map(|(name, _)| {
        let name = name.to_owned();
        Found { id: name.clone(), name, namespace: namespace.to_owned() }
    });
    found.collect()
}

/// Those with these names, or all. containerd's names are whole: short ones mean Docker Hub, as for `nerdctl`.
fn chosen(all: Vec<Found>, names: &[String]) -> Vec<Wanted> {
    if names.is_empty() {
        return all.into_iter().map(Ok).collect();
    }
    let find = |name: &String| {
        let tagged = match name.rsplit('/').next().is_some_and(|last| last.contains([':', '@'])) {
            true => name.clone(),
            false => format!("{name}:latest"),
        };
        let whole =
            [name.clone(), tagged.clone(), format!("docker.io/{tagged}"), format!("docker.io/library/{tagged}")];
        let found = whole.iter().find_map(|name| all.iter().find(|found| found.name == *name));
        found.cloned().ok_or_else(|| {
            let failure = Failure::new(Kind::NotFound, format!("containerd has no image {name}"));
            (name.clone(), failure.hint("`ctr --namespace NAME images list` shows the images of a namespace"))
        })
    };
    names.iter().map(find).collect()
}

/// The images that `podman images --format json` prints: an entry for each id, or one for each name.
fn of_podman(listed: &str) -> Result<Vec<Found>, Failure> {
    let unreadable = |why: &str| Failure::new(Kind::Other, format!("the list of podman cannot be read: {why}"));
    let entries: Value = serde_json::from_str(listed).map_err(|error| unreadable(&error.to_string()))?;
    let entries = entries.as_array().ok_or_else(|| unreadable("it is no list"))?;
    let mut seen = BTreeSet::new();
    let found = entries.iter().filter_map(|entry| {
        let id = entry["Id"].as_str()?;
        let name = entry["Names"].as_array().and_then(|names| names.first()?.as_str()).unwrap_or(id);
        seen.insert(id).then(|| Found { name: name.to_owned(), namespace: String::new(), id: id.to_owned() })
    });
    Ok(found.collect())
}

/// The images in lines of id, repository and tag. Docker keeps an image under several names, and some under none.
fn of_docker(listed: &str) -> Vec<Found> {
    let mut seen = BTreeSet::new();
    let found = listed.lines().filter_map(|line| {
        let mut fields = line.split_whitespace();
        let (id, repository, tag) = (fields.next()?, fields.next()?, fields.next()?);
        let is_named = repository != "<none>" && tag != "<none>";
        let name = if is_named { format!("{repository}:{tag}") } else { id.to_owned() };
        seen.insert(id).then(|| Found { id: name.clone(), name, namespace: String::new() })
    });
    found.collect()
}

fn cannot(action: &str, command: &Command, error: &std::io::Error) -> Failure {
    let program = command.get_program().to_string_lossy();
    match error.kind() {
        ErrorKind::NotFound => Failure::new(Kind::NotFound, format!("there is no {program} on the search path"))
            .hint("install it: the images are exported by the runtime's own client"),
        _ => Failure::new(Kind::Machine, format!("cannot {action} {program}: {error}")),
    }
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// The end of what a client said.
fn reason(said: &mut File) -> String {
    let mut text = Vec::new();
    let read = said.rewind().and_then(|()| said.take(1 << 20).read_to_end(&mut text));
    match read {
        Ok(_) => last_lines(&String::from_utf8_lossy(&text)),
        Err(error) => error.to_string(),
    }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let joined = lines[lines.len().saturating_sub(3)..].join("; ");
    let start = joined.char_indices().rev().nth(REASON_CHARS_MAX).map_or(0, |(at, _)| at);
    joined[start..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(found: &[Found]) -> Vec<&str> {
        found.iter().map(|found| found.name.as_str()).collect()
    }

    const CTR: &str = "\
REF                                   TYPE                                       DIGEST       SIZE    PLATFORMS   LABELS
docker.io/library/nginx@sha256:aa     application/vnd.oci.image.index.v1+json    sha256:aa    1.0 MiB linux/amd64 -
docker.io/library/nginx:1             application/vnd.oci.image.index.v1+json    sha256:aa    1.0 MiB linux/amd64 -
sha256:cc                             application/vnd.oci.image.index.v1+json    sha256:aa    1.0 MiB linux/amd64 -
registry.example/app:latest           application/vnd.oci.image.manifest.v1+json sha256:bb    1.0 MiB linux/amd64 -
";

    #[test]
    fn each_image_of_containerd_is_taken_once_by_its_best_name() {
        let found = of_containerd(CTR, "k8s.io");
        assert_eq!(names(&found), ["docker.io/library/nginx:1", "registry.example/app:latest"]);
        assert_eq!(found[0].namespace, "k8s.io");
        assert_eq!(of_containerd("REF TYPE DIGEST\n", "default"), []);
    }

    #[test]
    fn short_names_mean_docker_hub() {
        let all = of_containerd(CTR, "default");
        let asked = ["nginx:1", "registry.example/app", "nginx"].map(str::to_owned);
        let found = chosen(all, &asked);
        assert_eq!(found[0].as_ref().unwrap().name, "docker.io/library/nginx:1");
        assert_eq!(found[1].as_ref().unwrap().name, "registry.example/app:latest");
        let (name, failure) = found[2].as_ref().unwrap_err();
        assert_eq!((name.as_str(), failure.kind), ("nginx", Kind::NotFound));
    }

    #[test]
    fn images_of_podman_and_docker_without_a_name_go_by_their_id() {
        let podman =
            r#"[{"Id":"a1","Names":["localhost/app:1","localhost/app:2"]},{"Id":"b2","Names":null},{"Id":"a1"}]"#;
        assert_eq!(names(&of_podman(podman).unwrap()), ["localhost/app:1", "b2"]);
        assert!(of_podman("{}").is_err() && of_podman("x").is_err());
        let docker = "sha256:a1 app 1\nsha256:a1 app 2\nsha256:b2 <none> <none>\n";
        assert_eq!(names(&of_docker(docker)), ["app:1", "sha256:b2"]);
    }

    #[test]
    fn a_reason_is_the_end_of_what_was_said() {
        assert_eq!(last_lines("a\n\nb\nc\n d \n"), "b; c; d");
        assert_eq!(last_lines(&"é".repeat(900)).chars().count(), REASON_CHARS_MAX + 1);
        assert_eq!(last_lines(""), "");
    }
}
