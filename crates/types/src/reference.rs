//! Names that people give: of images, and of sites.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::ParseError;

/// A name of an image, `repository:tag`. Without a tag it is read as `repository:latest`.
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
        let error = || ParseError::new(text, "an image reference: repository:tag, as in demo/nginx:1.22.1-11");
        let (repository, tag) = match text.rsplit_once(':') {
            // A colon before the last slash belongs to the registry's port.
            Some((repository, tag)) if !tag.contains('/') => (repository, tag),
            _ => (text, "latest"),
        };
        let good_tag = (1..=128).contains(&tag.len())
            && tag.bytes().all(|c| c.is_ascii_alphanumeric() || b"_.-".contains(&c))
            && !tag.starts_with(['.', '-']);
        let good_part = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || b"._-:".contains(&c))
                && part.starts_with(|c: char| c.is_ascii_alphanumeric())
                && part.ends_with(|c: char| c.is_ascii_alphanumeric())
        };
        let good_repository = repository.len() <= 255
            && repository.split('/').all(good_part)
            && !repository.rsplit('/').next().unwrap_or_default().contains(':');
        if good_tag && good_repository { Ok(Self(format!("{repository}:{tag}"))) } else { Err(error()) }
    }
}

/// The name of a site: the nodes behind one uplink. 1 to 64 letters, digits, `.`, `_` and `-`. Every announcement has
/// one, so copies share it.
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
        ] {
            assert_eq!(text.parse::<ImageReference>().unwrap().to_string(), printed);
        }
    }

    #[test]
    fn refuses_what_no_registry_takes() {
        for text in ["", ":", "Nginx", "a//b", "/a", "a/", "a:b:c", "a:.b", "a b", "../etc/passwd", &"a".repeat(300)] {
            assert!(text.parse::<ImageReference>().is_err(), "{text}");
        }
    }
}
