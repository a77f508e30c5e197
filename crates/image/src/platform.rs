//! The platform of an image: `os/architecture[/variant]`, with the names of Go (OCI image spec, "Image Index").

use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};

/// A platform, such as `linux/amd64` or `linux/arm/v7`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform {
    pub os: String,
    pub architecture: String,
    pub variant: Option<String>,
}

/// A text that is not a platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a platform: os/architecture or os/architecture/variant, as in \"linux/arm64\"")]
pub struct PlatformError {
    /// The first 80 characters of the text.
    pub text: String,
}

impl Platform {
    /// Linux on the architecture of this build. Images for other systems need a name or a platform in the selector.
    pub fn host() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "x86" => ("386", None),
            "aarch64" => ("arm64", None),
            "arm" => ("arm", Some("v7".to_owned())),
            "powerpc64" => ("ppc64le", None),
            "loongarch64" => ("loong64", None),
            other => (other, None),
        };
        Self { os: "linux".to_owned(), architecture: architecture.to_owned(), variant }
    }

    /// As an index names it.
    pub(crate) fn to_json(&self) -> Value {
        let mut platform = json!({ "os": self.os, "architecture": self.architecture });
        if let Some(variant) = &self.variant {
            platform["variant"] = json!(variant);
        }
        platform
    }

    /// Whether an image for `offered` runs on this platform. A platform without a variant accepts any variant. `arm64`
    /// and
    /// `arm64/v8` are the same (containerd's platforms package, "Normalize").
    pub fn accepts(&self, offered: &Self) -> bool {
        self.os == offered.os
            && self.architecture == offered.architecture
            && (self.variant.is_none() || self.normal_variant() == offered.normal_variant())
    }

    fn normal_variant(&self) -> Option<&str> {
        match (self.architecture.as_str(), self.variant.as_deref()) {
            ("arm64", Some("v8")) => None,
            ("arm", None) => Some("v7"),
            (_, variant) => variant,
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let parts: Vec<&str> = text.split('/').collect();
        let (os, architecture, variant) = match parts[..] {
            _ if !parts.iter().all(|part| is_part(part)) => return Err(PlatformError::new(text)),
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant.to_owned())),
            _ => return Err(PlatformError::new(text)),
        };
        Ok(Self { os: os.to_owned(), architecture: architecture.to_owned(), variant })
    }
}

impl PlatformError {
    fn new(text: &str) -> Self {
        Self { text: text.chars().take(80).collect() }
    }
}

fn is_part(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_alphanumeric() || b"._-".contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_print_as_they_parse() {
        for text in ["linux/amd64", "linux/arm/v7", "windows/amd64"] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), text);
        }
        assert_eq!(Platform::host().to_string().parse(), Ok(Platform::host()));
        for text in ["", "linux", "linux/", "/amd64", "a/b/c/d", "linux/amd64/", "linux/am d64", &"x/".repeat(200)] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }

    #[test]
    fn accepts_by_variant() {
        check("linux/amd64", "linux/amd64", true);
        check("linux/amd64", "linux/arm64", false);
        check("linux/amd64", "windows/amd64", false);
        check("linux/arm64", "linux/arm64/v8", true);
        check("linux/arm64/v8", "linux/arm64", true);
        check("linux/arm", "linux/arm/v6", true);
        check("linux/arm/v7", "linux/arm", true);
        check("linux/arm/v6", "linux/arm/v7", false);
    }

    fn check(wanted: &str, offered: &str, expected: bool) {
        let (one, other): (Platform, Platform) = (wanted.parse().unwrap(), offered.parse().unwrap());
        assert_eq!(one.accepts(&other), expected, "{wanted} {offered}");
    }
}
