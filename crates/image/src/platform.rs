//! Which machine an image is for: `os/architecture[/variant]`, in Go's words (OCI image spec, "Image Index").

use std::fmt;
use std::str::FromStr;

/// A platform as people and indexes write it: `linux/amd64`, `linux/arm/v7`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform {
    pub os: String,
    pub architecture: String,
    pub variant: Option<String>,
}

/// Why a text is no platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a platform: os/architecture or os/architecture/variant, as in \"linux/arm64\"")]
pub struct PlatformError {
    /// The text, cut at 80 characters.
    pub text: String,
}

impl Platform {
    /// Linux on the architecture that this program was built for; images for other systems are chosen by name only.
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

    /// Whether an image for `offered` is one for this platform. Without a variant, any is right; `arm64` is `arm64/v8`
    /// (containerd's platforms package, "Normalize").
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
        let error = || PlatformError { text: text.chars().take(80).collect() };
        let good = |part: &str| {
            (1..=32).contains(&part.len()) && part.bytes().all(|c| c.is_ascii_alphanumeric() || b"._-".contains(&c))
        };
        let parts: Vec<&str> = text.split('/').collect();
        let (os, architecture, variant) = match parts[..] {
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant)),
            _ => return Err(error()),
        };
        if !good(os) || !good(architecture) || variant.is_some_and(|variant| !good(variant)) {
            return Err(error());
        }
        let variant = variant.map(str::to_owned);
        Ok(Self { os: os.to_owned(), architecture: architecture.to_owned(), variant })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_what_it_parses() {
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
        let check = |wanted: &str, offered: &str, expected: bool| {
            let (one, other): (Platform, Platform) = (wanted.parse().unwrap(), offered.parse().unwrap());
            assert_eq!(one.accepts(&other), expected, "{wanted} {offered}");
        };
        check("linux/amd64", "linux/amd64", true);
        check("linux/amd64", "linux/arm64", false);
        check("linux/amd64", "windows/amd64", false);
        check("linux/arm64", "linux/arm64/v8", true);
        check("linux/arm64/v8", "linux/arm64", true);
        check("linux/arm", "linux/arm/v6", true);
        check("linux/arm/v7", "linux/arm", true);
        check("linux/arm/v6", "linux/arm/v7", false);
    }
}
