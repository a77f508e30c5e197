//! Images in and out: OCI layouts, OCI archives and `docker save` archives on one side, layers as plain tars on the
//! other. Everything that an image claims - sizes, digests, counts, media types - is checked on the way in.
//!
//! What it must not do: unpack a layer, follow a path or link out of its source, touch the file system, a clock or a
//! network. Files come through [`Files`] and leave through [`LayoutWriter`]; what is taken and refused is in
//! docs/IMAGES.md.
//!
//! Reading is streaming: [`open_image`] checks manifest and config; [`OpenedImage::scan_layer`] then reads each layer
//! once, writes its tar to the caller's sink and tells its [`TarScan`].

#![cfg_attr(not(test), deny(clippy::float_arithmetic))]
#![deny(clippy::iter_over_hash_type, clippy::wildcard_enum_match_arm)]

mod archive;
mod docker;
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
mod sample;
mod scan;
mod sink;
#[cfg(test)]
mod testing;

pub use archive::ArchiveFiles;
pub use error::ImageError;
pub use export::{ExportedImage, LayerFormat, LayoutWriter, OpenLayer, export_image};
pub use files::{Files, OpenFile};
pub use imported::{ImportedImage, Selector, SourceKind};
pub use layer::LayerReader;
pub use limits::{ARCHIVE_ENTRIES_MAX, DOCUMENT_BYTES_MAX, INDEX_DEPTH_MAX, INDEX_ENTRIES_MAX, LAYERS_MAX, Limits};
pub use manifest::{BlobDescriptor, Config, LayerDescriptor, Manifest, image_layers, parse_config, parse_manifest};
pub use media::LayerMedia;
pub use open::{OpenedImage, open_image};
pub use platform::{Platform, PlatformError};
pub use scan::{ScanProgress, TarScan, scan_tar};
pub use sink::{Hashed, TarSink};
