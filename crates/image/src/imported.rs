//! An image as its documents describe it, and the choice of one image in a source.

use lighter_types::OciDigest;

use crate::manifest::LayerDescriptor;
use crate::platform::Platform;

/// Selects an image of a source. The default selects the only image, or the only image for this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// The name of the image in the source: `org.opencontainers.image.ref.name` or `io.containerd.image.name` in a
    /// layout, a RepoTag in a docker archive.
    pub ref_name: Option<String>,
    /// The platform of the image. If given, an image for another platform is refused even if it is the only one.
    pub platform: Option<Platform>,
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
    /// The name of the image in the source. It may not be a valid reference.
    pub ref_name: Option<String>,
}
