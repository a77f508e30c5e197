//! Media types of documents and layers.

/// The media type of an OCI manifest, which exports write.
pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// The accepted media types of a manifest.
pub(crate) const MANIFEST_TYPES: [&str; 2] = [OCI_MANIFEST, DOCKER_MANIFEST];
/// The media types of an image's config.
pub(crate) const CONFIG_TYPES: [&str; 2] = [OCI_CONFIG, DOCKER_CONFIG];
/// The accepted media types of an index.
pub(crate) const INDEX_TYPES: [&str; 2] = [OCI_INDEX, DOCKER_INDEX];

/// The compression of a layer's blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LayerMedia {
    Plain,
    Gzip,
    Zstd,
}

impl LayerMedia {
    /// The compression of OCI's and Docker's media types for layers. `None` for other media types, and for layers that
    /// must not be distributed (`nondistributable` and `foreign`).
    pub fn from_media_type(media_type: &str) -> Option<Self> {
        match media_type {
            "application/vnd.oci.image.layer.v1.tar" | "application/vnd.docker.image.rootfs.diff.tar" => {
                Some(Self::Plain)
            }
            "application/vnd.oci.image.layer.v1.tar+gzip" | "application/vnd.docker.image.rootfs.diff.tar.gzip" => {
                Some(Self::Gzip)
            }
            "application/vnd.oci.image.layer.v1.tar+zstd" | "application/vnd.docker.image.rootfs.diff.tar.zstd" => {
                Some(Self::Zstd)
            }
            _ => None,
        }
    }

    /// OCI's media type for a layer of this compression.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Plain => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }

    /// The compression of a blob by its first bytes. A tar begins with a path, so a real tar has none of the magic
    /// numbers.
    pub(crate) fn from_first_bytes(bytes: &[u8]) -> Self {
        match bytes {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::Plain,
        }
    }
}
