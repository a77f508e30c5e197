//! Where an answer came from: the header `Lighter-Source`.

use std::fmt;

/// The party that said what a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A publisher of the fleet.
    Release,
    /// The upstream registry.
    Upstream,
    /// The upstream registry said so once; now it does not answer.
    LastKnown,
}

/// The source of a blob's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BlobClass {
    /// A manifest or a config.
    Document,
    /// The layer's tar itself.
    Plain,
    /// Made again out of the tar.
    Recipe,
    /// Kept as it is.
    Verbatim,
}

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    pub origin: Origin,
    /// The class of a blob; none for a manifest.
    pub class: Option<BlobClass>,
    /// How long ago upstream said so, if it was not asked for this answer.
    pub age_s: Option<u64>,
}

impl Source {
    pub fn of(origin: Origin) -> Self {
        Self { origin, class: None, age_s: None }
    }
}

impl Origin {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Upstream => "upstream",
            Self::LastKnown => "last-known",
        }
    }
}

impl BlobClass {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Document => "document",
            Self::Plain => "plain",
            Self::Recipe => "recipe",
            Self::Verbatim => "verbatim",
        }
    }
}

/// `upstream; blob=recipe; age=12`
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.origin.as_str())?;
        self.class.iter().try_for_each(|class| write!(f, "; blob={}", class.as_str()))?;
        self.age_s.iter().try_for_each(|age| write!(f, "; age={age}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_told_in_one_line() {
        let blob = Source { class: Some(BlobClass::Recipe), ..Source::of(Origin::Release) };
        assert_eq!(blob.to_string(), "release; blob=recipe");
        let last = Source { age_s: Some(90), ..Source::of(Origin::LastKnown) };
        assert_eq!(last.to_string(), "last-known; age=90");
    }
}
