//! Import and export of images: converts OCI layouts, OCI archives and `docker save` archives to layers as plain tars,
//! and back. An import checks everything that an image claims: sizes, digests, counts and media types.
//!
//! The crate must not unpack a layer, follow a path or a link out of its source, or touch the file system, a clock or a
//! network. It reads files through [`Files`] and writes them through [`LayoutWriter`]. docs/IMAGES.md lists the
//! accepted and refused images.
//!
//! Reading is streaming. [`open_image`] checks manifest and config. Then [`OpenedImage::scan_layer`] reads each layer
//! once, writes its tar to the caller's sink and returns its [`TarScan`].

#![cfg_attr(not(test), deny(clippy::float_arithmetic))]
#![deny(clippy::iter_over_hash_type, clippy::wildcard_enum_match_arm)]

mod archive;
mod companions;
mod docker;
mod document;
mod error;
mod export;
mod files;
mod imported;
mod layer;
mod layout;
mod limits;
mod manifest;
mod media;
mod open;
mod platform;
mod referring;
mod sample;
mod scan;
mod sink;
#[cfg(test)]
mod testing;

pub use archive::ArchiveFiles;
pub use companions::{
    ARTIFACT_BYTES_MAX, Artifact, BUNDLE_BYTES_MAX, Bundle, BundleReader, COMPANIONS_BYTES_MAX, COMPANIONS_MAX,
    CompanionSlice, Companions,
};
pub use document::Document;
pub use error::ImageError;
pub use export::{ArchiveFormat, ExportedImage, ImageArchive, LayerFormat, LayoutWriter, OpenLayer, export_image};
pub use files::{Files, OpenFile};
pub use imported::{Choice, ImportedImage, Selector, SourceKind};
pub use layer::LayerReader;
pub use limits::{ARCHIVE_ENTRIES_MAX, DOCUMENT_BYTES_MAX, INDEX_DEPTH_MAX, INDEX_ENTRIES_MAX, LAYERS_MAX, Limits};
pub use manifest::{
    BlobDescriptor, Config, LayerDescriptor, Manifest, image_layers, parse_config, parse_index, parse_manifest,
};
pub use media::LayerMedia;
pub use open::{Keep, OpenedImage, count_images, open_image};
pub use platform::{Platform, PlatformError};
pub use referring::{Referrer, Referring, Subject, artifact_tags, subject_of_tag};
pub use scan::{Hashes, ScanProgress, TarScan, scan_tar, scan_tar_with};
pub use sink::{Hashed, TarSink};
