//! An image as its documents describe it, and the choice of one image in a source.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use lighter_types::{ImageReference, OciDigest};

use crate::manifest::LayerDescriptor;
use crate::platform::Platform;

/// Selects an image of a source. The default selects the only image, or the only image for this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// Which image, if there are several.
    pub from: Option<Choice>,
    /// The platform of the image. If given, an image for another platform is refused even if it is the only one.
    pub platform: Option<Platform>,
}

/// One of several images of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// By its name in the source: `org.opencontainers.image.ref.name` or `io.containerd.image.name` in a layout, a
    /// RepoTag in a docker archive. As it is written there, or another spelling of the same reference.
    Name(String),
    /// By the digest of its manifest or its index; in a docker archive, of its config.
    Digest(OciDigest),
    /// By its place among the images of the source, counted from 1.
    Place(usize),
}

impl Choice {
    /// Whether one of these names is the chosen one.
    pub(crate) fn is_named(wanted: &str, names: &[String]) -> bool {
        let wanted_reference = wanted.parse::<ImageReference>();
        names.iter().any(|name| name == wanted || wanted_reference.is_ok() && name.parse() == wanted_reference)
    }
}

impl FromStr for Choice {
    type Err = Infallible;

    /// A number is a place, `sha256:` and 64 digits a digest, anything else a name.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        let place = text.parse().ok().filter(|&place| place > 0 && text.len() <= 5).map(Self::Place);
        let digest = text.parse().ok().map(Self::Digest);
        Ok(place.or(digest).unwrap_or_else(|| Self::Name(text.to_owned())))
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "named {name:?}"),
            Self::Digest(digest) => write!(f, "of the digest {digest}"),
            Self::Place(place) => write!(f, "number {place}"),
        }
    }
}

/// The kinds of sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// An OCI layout as a folder or in an archive. Newer versions of `docker save` write one too.
    OciLayout,
    /// An archive with only a `manifest.json`, from `docker save` before version 25 or `skopeo copy docker-archive:`.
    DockerArchive,
}

/// The documents of an image and their content. Each document matches its digest, and manifest and config have the same
/// number of layers. The layers themselves are not checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedImage {
    pub source_kind: SourceKind,
    /// A docker archive has no manifest. The import makes one, which is always the same for the same archive.
    pub manifest_digest: OciDigest,
    pub manifest_bytes: Vec<u8>,
    pub config_digest: OciDigest,
    pub config_bytes: Vec<u8>,
    /// Lowest first.
    pub layers: Vec<LayerDescriptor>,
    /// The platform in the config, or else in the index.
    pub platform: Option<Platform>,
    /// The names of the image in the source; the chosen one alone, if it was chosen by name. A name may be only a tag,
    /// or no valid reference.
    pub names: Vec<String>,
    /// A line for each entry of the source that is no image, or that cannot be read and was not chosen.
    pub passed_over: Vec<String>,
}
