//! An image as its documents describe it, and the choice of one image in a source.

use lighter_types::OciDigest;

use crate::manifest::LayerDescriptor;
use crate::platform::Platform;

/// Which image of a source is wanted. By default: its only one, or the only one for this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// The name that the source gives it: `org.opencontainers.image.ref.name` or `io.containerd.image.name` of a
    /// layout, a RepoTag of a docker archive.
    pub ref_name: Option<String>,
    /// If given, an image for another platform is refused even where it is the only one.
    pub platform: Option<Platform>,
}

/// The kinds of sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// An OCI layout, as a folder or in an archive, also that of a `docker save` that wrote one.
    OciLayout,
    /// Written by `docker save` before version 25 and by `skopeo copy docker-archive:`: a `manifest.json` alone.
    DockerArchive,
}

/// An image's documents and what they say: checked against their digests, and the layers' count against each other.
/// The layers themselves have not been looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedImage {
    pub source_kind: SourceKind,
    /// A docker archive has no manifest: one is made then, the same for the same archive.
    pub manifest_digest: OciDigest,
    pub manifest_bytes: Vec<u8>,
    pub config_digest: OciDigest,
    pub config_bytes: Vec<u8>,
    /// Lowest first.
    pub layers: Vec<LayerDescriptor>,
    /// From the config, or else from the index.
    pub platform: Option<Platform>,
    /// The image's name in the source; not checked to be a reference.
    pub ref_name: Option<String>,
}
