//! Names that people choose: of images and of sites.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;
use std::sync::Arc;

use crate::ParseError;

/// The name of an image, `repository:tag`. A text without a tag parses as `repository:latest`.
///
/// At most 255 bytes of repository and 128 of tag (OCI distribution spec, "Pulling manifests").
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageReference(String);

impl ImageReference {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn repository(&self) -> &str {
        self.0.rsplit_once(':').map_or(&self.0, |(repository, _)| repository)
    }

    pub fn tag(&self) -> &str {
        self.0.rsplit_once(':').map_or("latest", |(_, tag)| tag)
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ImageReference {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (repository, tag) = match text.rsplit_once(':') {
            // A colon before the last slash belongs to the registry's port.
            Some((repository, tag)) if !tag.contains('/') => (repository, tag),
            _ => (text, "latest"),
        };
        if is_repository(repository) && is_tag(tag) {
            Ok(Self(format!("{repository}:{tag}")))
        } else {
            Err(ParseError::new(text, "an image reference: repository:tag, as in demo/nginx:1.22.1-11"))
        }
    }
}

fn is_tag(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|c| c.is_ascii_alphanumeric() || b"_.-".contains(&c))
        && !text.starts_with(['.', '-'])
}

fn is_repository(text: &str) -> bool {
    let parts = match text.split_once('/') {
        Some((host, path)) if is_host(host) => path,
        _ => text,
    };
    text.len() <= 255 && parts.split('/').all(is_repository_part)
}

/// Whether the first part of a name is a registry: a host's name or an IPv6 address in brackets, and a port. A name
/// without dots and port that is not localhost is part of the path.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_port = |port: &str| (1..=5).contains(&port.len()) && port.bytes().all(|c| c.is_ascii_digit());
    let is_label = |label: &str| {
        let is_inner = |c: u8| c.is_ascii_alphanumeric() || c == b'-';
        !label.is_empty() && label.bytes().all(is_inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    let is_name = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => host.split('.').all(is_label) && (host.contains('.') || host == "localhost" || port.is_some()),
    };
    is_name && port.is_none_or(is_port)
}

fn is_repository_part(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || b"._-".contains(&c))
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
}

/// The name of a site, which is a group of nodes behind one uplink. 1 to 64 letters, digits, `.`, `_` and `-`. Copies
/// share the text, because every announcement has one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteName(Arc<str>);

impl SiteName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SiteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for SiteName {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let good =
            (1..=64).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_alphanumeric() || b"._-".contains(&c));
        if good {
            Ok(Self(text.into()))
        } else {
            Err(ParseError::new(text, "a site name: 1 to 64 letters, digits, '.', '_' or '-'"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_have_one_spelling() {
        for (text, printed) in [
            ("demo/nginx:1.22.1-9", "demo/nginx:1.22.1-9"),
            ("nginx", "nginx:latest"),
            ("localhost:5000/nginx", "localhost:5000/nginx:latest"),
            ("localhost:5000/nginx:1", "localhost:5000/nginx:1"),
            ("[fd00::1]:5000/demo/nginx", "[fd00::1]:5000/demo/nginx:latest"),
            ("[fd00::1]/nginx:1", "[fd00::1]/nginx:1"),
            ("Registry.Example.org/nginx", "Registry.Example.org/nginx:latest"),
        ] {
            assert_eq!(text.parse::<ImageReference>().unwrap().to_string(), printed);
        }
    }

    #[test]
    fn refuses_names_that_no_registry_accepts() {
        let hosts = ["[fd00::1/a", "[x]/a", "[fd00::1]:/a", "[fd00::1]:x/a", "a:b/c", "a/b:1/c", "-a.b/c", "[fd00::1]"];
        for text in hosts {
            assert!(text.parse::<ImageReference>().is_err(), "{text}");
        }
        for text in ["", ":", "Nginx", "a//b", "/a", "a/", "a:b:c", "a:.b", "a b", "../etc/passwd", &"a".repeat(300)] {
            assert!(text.parse::<ImageReference>().is_err(), "{text}");
        }
    }
}
