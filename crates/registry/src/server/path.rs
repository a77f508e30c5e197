//! The paths of the specification ("Endpoints"): `/v2/<name>/<kind>/<reference>`.
//!
//! A name has slashes itself, so the kind is looked for from the end. A name that is valid has no other spelling, and
//! never leads out of anything: it is compared with names, and no path is made from it.

use lighter_types::{ImageReference, OciDigest};

use super::errors::Refusal;

/// The request's repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    pub name: String,
    /// The upstream registry that the client means: containerd names it to a mirror as `?ns=`.
    pub registry: Option<String>,
}

/// Names one manifest of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    Tag(String),
    Digest(OciDigest),
}

#[derive(Debug, PartialEq, Eq)]
pub enum Target {
    Base,
    Manifest(Reference),
    Blob(OciDigest),
    Tags { count: Option<usize>, last: Option<String> },
    Referrers { subject: OciDigest, artifact_type: Option<String> },
}

#[derive(Debug, PartialEq, Eq)]
pub struct Path {
    pub repository: Repository,
    pub target: Target,
}

/// The registry that a name without one means.
const DEFAULT_REGISTRY: &str = "docker.io";
/// The longest query that is read.
const QUERY_BYTES_MAX: usize = 2048;

impl Repository {
    /// The names under which a node may know the repository, the likeliest first.
    ///
    /// A name without a registry means Docker Hub, as for every client. So another registry's repository is known by
    /// its full name only: one fleet's `shop/app` is never given out as that of a registry it does not come from.
    pub fn names(&self) -> Vec<String> {
        let mut names = Vec::with_capacity(3);
        let (registry, path) = match (&self.registry, self.name.split_once('/')) {
            (Some(registry), _) => (Some(registry.as_str()), self.name.as_str()),
            (None, Some((registry, path))) if registry.contains(['.', ':']) || registry == "localhost" => {
                (Some(registry), path)
            }
            (None, _) => (None, self.name.as_str()),
        };
        match registry {
            Some(registry) if registry != DEFAULT_REGISTRY => return vec![format!("{registry}/{path}")],
            Some(_) => names.extend([format!("{DEFAULT_REGISTRY}/{path}"), path.to_owned()]),
            None => names.extend([path.to_owned(), format!("{DEFAULT_REGISTRY}/{path}")]),
        }
        names.extend(path.strip_prefix("library/").map(str::to_owned));
        names
    }
}

impl Path {
    /// # Errors
    /// A path that is none of the specification's; a name, digest or tag that is not valid.
    pub fn parse(path: &str, query: Option<&str>) -> Result<Self, Refusal> {
        let query: Vec<(String, String)> =
            query.filter(|query| query.len() <= QUERY_BYTES_MAX).map_or(Vec::new(), pairs);
        let parameter = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let rest = path.strip_prefix("/v2").ok_or(Refusal::NoPath)?;
        // A longer first segment, as in `/v2foo/`, is another path.
        let rest = if rest.is_empty() { rest } else { rest.strip_prefix('/').ok_or(Refusal::NoPath)? };
        let registry = parameter("ns").filter(|registry| !registry.is_empty());
        if rest.is_empty() {
            return Ok(Self { repository: Repository { name: String::new(), registry }, target: Target::Base });
        }
        let (name, target) = if let Some((name, reference)) = split(rest, "/manifests/") {
            (name, Target::Manifest(Reference::parse(reference)?))
        } else if let Some((name, digest)) = split(rest, "/blobs/") {
            // A push begins here. It is told so by its method, whatever stands behind.
            if digest.starts_with("uploads") {
                return Err(Refusal::ReadOnly);
            }
            (name, Target::Blob(digest.parse().map_err(|_| Refusal::Digest)?))
        } else if let Some((name, subject)) = split(rest, "/referrers/") {
            let artifact_type = parameter("artifactType").filter(|kind| !kind.is_empty());
            (name, Target::Referrers { subject: subject.parse().map_err(|_| Refusal::Digest)?, artifact_type })
        } else if let Some(name) = rest.strip_suffix("/tags/list") {
            let count = parameter("n").and_then(|count| count.parse().ok());
            (name, Target::Tags { count, last: parameter("last") })
        } else {
            return Err(Refusal::NoPath);
        };
        // As a reference: the rules for names are the same.
        let is_valid = |name: &str| format!("{name}:latest").parse::<ImageReference>().is_ok();
        if !is_valid(name) || registry.as_ref().is_some_and(|registry| !is_valid(&format!("{registry}/{name}"))) {
            return Err(Refusal::Name);
        }
        Ok(Self { repository: Repository { name: name.to_owned(), registry }, target })
    }
}

impl Reference {
    fn parse(text: &str) -> Result<Self, Refusal> {
        if text.contains(':') {
            return text.parse().map(Self::Digest).map_err(|_| Refusal::Digest);
        }
        match format!("x:{text}").parse::<ImageReference>() {
            Ok(_) => Ok(Self::Tag(text.to_owned())),
            Err(_) => Err(Refusal::Tag),
        }
    }
}

/// The name before the last `kind`, and what stands behind it.
fn split<'a>(path: &'a str, kind: &str) -> Option<(&'a str, &'a str)> {
    path.rsplit_once(kind).filter(|(name, reference)| !name.is_empty() && !reference.contains('/') || kind == "/blobs/")
}

/// The pairs of a query, decoded.
fn pairs(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (decoded(key), decoded(value))).collect()
}

/// Text with `+` and `%` sequences decoded (WHATWG URL, "application/x-www-form-urlencoded parsing"). A sequence that
/// is none stays as it is.
fn decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        let escaped = after.first_chunk::<2>().filter(|_| *byte == b'%').and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
            u8::from_str_radix(digits, 16).ok()
        });
        match (escaped, byte) {
            (Some(value), _) => {
                out.push(value);
                rest = &after[2..];
            }
            (None, b'+') => {
                out.push(b' ');
                rest = after;
            }
            (None, _) => {
                out.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest() -> OciDigest {
        OciDigest::new([7; 32])
    }

    fn check(path: &str, query: Option<&str>, name: &str, target: Target) {
        let found = Path::parse(path, query).unwrap();
        assert_eq!((found.repository.name.as_str(), found.target), (name, target), "{path}");
    }

    #[test]
    fn paths_are_read() {
        let tag = |tag: &str| Target::Manifest(Reference::Tag(tag.to_owned()));
        check("/v2", None, "", Target::Base);
        check("/v2/", None, "", Target::Base);
        check("/v2/demo/nginx/manifests/1.22.1-11", None, "demo/nginx", tag("1.22.1-11"));
        check("/v2/a/manifests/b/manifests/c", None, "a/manifests/b", tag("c"));
        let digest = digest();
        check(&format!("/v2/a/manifests/{digest}"), None, "a", Target::Manifest(Reference::Digest(digest)));
        check(&format!("/v2/a/b/c/blobs/{digest}"), None, "a/b/c", Target::Blob(digest));
        let tags = Target::Tags { count: Some(3), last: Some("1.0".into()) };
        check("/v2/a/tags/list", Some("n=3&last=1.0"), "a", tags);
        let referrers = Target::Referrers { subject: digest, artifact_type: Some("application/x+y".into()) };
        check(&format!("/v2/a/referrers/{digest}"), Some("artifactType=application%2Fx%2By"), "a", referrers);
    }

    #[test]
    fn bad_paths_are_told_apart() {
        let digest = digest();
        for (path, refusal) in [
            ("/".to_owned(), Refusal::NoPath),
            ("/v3/".to_owned(), Refusal::NoPath),
            ("/v2foo".to_owned(), Refusal::NoPath),
            ("/v2foo/".to_owned(), Refusal::NoPath),
            ("/v2foo/a/manifests/x".to_owned(), Refusal::NoPath),
            (format!("/v2a/blobs/{digest}"), Refusal::NoPath),
            (format!("/v2.0/a/referrers/{digest}"), Refusal::NoPath),
            ("/v22/a/tags/list".to_owned(), Refusal::NoPath),
            ("/v2/a".to_owned(), Refusal::NoPath),
            ("/v2/_catalog".to_owned(), Refusal::NoPath),
            ("/v2/A/manifests/x".to_owned(), Refusal::Name),
            ("/v2/a/../b/manifests/x".to_owned(), Refusal::Name),
            ("/v2/a/manifests/.x".to_owned(), Refusal::Tag),
            ("/v2/a/manifests/sha512:00".to_owned(), Refusal::Digest),
            ("/v2/a/blobs/sha256:00".to_owned(), Refusal::Digest),
            ("/v2/a/blobs/uploads/".to_owned(), Refusal::ReadOnly),
            (format!("/v2/a//b/blobs/{digest}"), Refusal::Name),
        ] {
            assert_eq!(Path::parse(&path, None).unwrap_err(), refusal, "{path}");
        }
        let bad_registry = Path::parse("/v2/a/manifests/x", Some("ns=../etc"));
        assert_eq!(bad_registry.unwrap_err(), Refusal::Name);
    }

    fn check_names(name: &str, registry: Option<&str>, expected: &[&str]) {
        let repository = Repository { name: name.to_owned(), registry: registry.map(str::to_owned) };
        assert_eq!(repository.names(), expected);
    }

    #[test]
    fn a_repository_has_the_names_that_people_give_it() {
        check_names("demo/nginx", None, &["demo/nginx", "docker.io/demo/nginx"]);
        check_names("library/nginx", Some("docker.io"), &["docker.io/library/nginx", "library/nginx", "nginx"]);
        check_names("docker.io/library/nginx", None, &["docker.io/library/nginx", "library/nginx", "nginx"]);
        check_names("library/nginx", None, &["library/nginx", "docker.io/library/nginx", "nginx"]);
        check_names("a/b", Some("registry.example:5000"), &["registry.example:5000/a/b"]);
        check_names("library/a", Some("registry.example"), &["registry.example/library/a"]);
    }

    #[test]
    fn hostile_queries_are_text() {
        assert_eq!(decoded("%41%zz%4%+%+1"), "A%zz%4% %+1".replace("%+1", "% 1"));
        assert!(Path::parse("/v2/", Some(&"n=%".repeat(5000))).is_ok());
    }

    proptest::proptest! {
        #[test]
        fn any_path_is_read_or_refused(path in "/v2/[a-z/.:_%-]{0,60}", query in ".{0,60}") {
            let _ = Path::parse(&path, Some(&query));
        }
    }
}
