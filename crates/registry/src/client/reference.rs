//! References to images in registries, as `docker://HOST/REPOSITORY:TAG@sha256:...`.
//!
//! A reference without a host means Docker Hub, and there a repository without a namespace means `library/`, as in
//! docker's own references (github.com/distribution/reference, `normalize.go`).

use std::fmt;
use std::str::FromStr;

use lighter_types::{ImageReference, OciDigest};

/// The scheme of a reference in an import's source.
const SCHEME: &str = "docker://";
/// Docker Hub's name in references.
pub(crate) const DOCKER_HUB: &str = "docker.io";
/// The names of Docker Hub that references and configurations use.
const DOCKER_HUB_NAMES: [&str; 3] = [DOCKER_HUB, "index.docker.io", "registry-1.docker.io"];

/// An image in a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamReference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<OciDigest>,
}

/// A text that names no image of a registry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} does not name an image of a registry: {problem}")]
pub struct ReferenceError {
    /// The first 120 characters of the text.
    pub text: String,
    pub problem: &'static str,
}

impl UpstreamReference {
    /// Whether a source of an import is a registry.
    pub fn is_upstream(source: &str) -> bool {
        source.starts_with(SCHEME)
    }

    /// The registry's host and port, `docker.io` for Docker Hub.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository in the registry.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The manifest's digest, if the reference has one. It decides, whatever the tag says.
    pub fn digest(&self) -> Option<OciDigest> {
        self.digest
    }

    /// The name of the image, `registry/repository:tag`. `None` if the reference has only a digest.
    pub fn name(&self) -> Option<ImageReference> {
        format!("{}/{}:{}", self.registry, self.repository, self.tag.as_ref()?).parse().ok()
    }

    /// The tag or the digest by which the registry is asked for the manifest.
    pub(crate) fn manifest(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.clone().unwrap_or_else(|| "latest".to_owned()),
        }
    }
}

/// The name of a registry in settings and references: Docker Hub has several.
pub(crate) fn registry_name(host: &str) -> &str {
    if DOCKER_HUB_NAMES.contains(&host) { DOCKER_HUB } else { host }
}

impl fmt::Display for UpstreamReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.registry, self.repository)?;
        self.tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
        self.digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
    }
}

impl FromStr for UpstreamReference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let error = |problem| ReferenceError { text: text.chars().take(120).collect(), problem };
        let rest = text.strip_prefix(SCHEME).ok_or_else(|| error("it must begin with docker://"))?;
        let (name, digest) = match rest.split_once('@') {
            Some((name, digest)) => {
                let digest =
                    digest.parse().map_err(|_| error("its digest must be sha256: and 64 lower-case digits"))?;
                (name, Some(digest))
            }
            None => (rest, None),
        };
        let (host, path) = match name.split_once('/') {
            Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (registry_name(host), path),
            _ => (DOCKER_HUB, name),
        };
        let is_short = host == DOCKER_HUB && !path.contains('/');
        let path = if is_short { format!("library/{path}") } else { path.to_owned() };
        let has_tag = path.rsplit('/').next().is_some_and(|last| last.contains(':'));
        // The rules of a repository and a tag are those of the names that this node gives its images.
        let whole: ImageReference = format!("{host}/{path}")
            .parse()
            .map_err(|_| error("it must be docker://HOST/REPOSITORY:TAG or docker://HOST/REPOSITORY@sha256:..."))?;
        let tag = (has_tag || digest.is_none()).then(|| whole.tag().to_owned());
        let repository = whole.repository().split_once('/').map(|(_, repository)| repository.to_owned());
        let repository = repository.ok_or_else(|| error("it has no repository"))?;
        Ok(Self { registry: host.to_owned(), repository, tag, digest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0123456789012345678901234567890123456789012345678901234567890123";

    fn check(text: &str, registry: &str, repository: &str, asked: &str, name: Option<&str>) {
        let reference: UpstreamReference = text.parse().unwrap();
        assert_eq!((reference.registry(), reference.repository()), (registry, repository), "{text}");
        assert_eq!(reference.manifest(), asked, "{text}");
        assert_eq!(reference.name().map(|name| name.to_string()).as_deref(), name, "{text}");
        assert_eq!(reference.to_string().parse(), Ok(reference));
    }

    #[test]
    fn names_are_completed_as_docker_completes_them() {
        let hub = Some("docker.io/library/nginx:1");
        for text in ["docker://nginx:1", "docker://docker.io/nginx:1", "docker://index.docker.io/library/nginx:1"] {
            check(text, "docker.io", "library/nginx", "1", hub);
        }
        check("docker://demo/app", "docker.io", "demo/app", "latest", Some("docker.io/demo/app:latest"));
        check("docker://localhost/app:2", "localhost", "app", "2", Some("localhost/app:2"));
        check("docker://r.example:5000/a/b/c:2", "r.example:5000", "a/b/c", "2", Some("r.example:5000/a/b/c:2"));
        check("docker://[::1]:5000/a:2", "[::1]:5000", "a", "2", Some("[::1]:5000/a:2"));
    }

    #[test]
    fn a_digest_decides_and_names_nothing() {
        check(&format!("docker://r.example/a@{DIGEST}"), "r.example", "a", DIGEST, None);
        check(&format!("docker://r.example/a:1@{DIGEST}"), "r.example", "a", DIGEST, Some("r.example/a:1"));
    }

    #[test]
    fn texts_that_name_no_image_are_refused() {
        for text in
            ["r.example/a", "docker://", "docker://r.example/", "docker://r.example/A", "docker://r.example/a:b:c"]
        {
            assert!(text.parse::<UpstreamReference>().is_err(), "{text}");
        }
        for text in ["a@sha512:00", "a@sha256:00", "a@", "a/../b", "r.example/a?x", "r.example/a b", "user@r.example/a"]
        {
            assert!(format!("docker://{text}").parse::<UpstreamReference>().is_err(), "{text}");
        }
    }
}
