//! The sources of imports: a folder or an archive on this machine, or a registry.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Seek};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use lighter_image::{ArchiveFiles, Selector};
use lighter_registry::{BlobSource, Upstream, UpstreamReference};
use tokio::runtime::Handle;

use super::folder::FolderFiles;
use super::{AnyFiles, ImagesError};

/// Where an image comes from.
pub enum ImageSource {
    /// A folder with an OCI layout, an OCI archive or a docker archive.
    Path(PathBuf),
    Registry(RegistrySource),
}

/// An image in a registry, which a worker reads over the runtime's network.
pub struct RegistrySource {
    upstream: Arc<Upstream>,
    handle: Handle,
    reference: UpstreamReference,
    /// Set when it is opened: it knows why a read failed.
    blobs: OnceLock<BlobSource>,
}

impl ImageSource {
    /// An image in a registry. `handle` is of the runtime that has the network.
    pub fn registry(upstream: Arc<Upstream>, handle: Handle, reference: UpstreamReference) -> Self {
        Self::Registry(RegistrySource { upstream, handle, reference, blobs: OnceLock::new() })
    }

    /// Whether its bytes cross the network.
    pub fn is_remote(&self) -> bool {
        match self {
            Self::Path(_) => false,
            Self::Registry(_) => true,
        }
    }

    /// The files of the image.
    ///
    /// # Errors
    /// `Open`, `NoFile`, `Image` of a path; `Upstream` of a registry.
    pub fn open(&self, selector: &Selector) -> Result<AnyFiles, ImagesError> {
        match self {
            Self::Path(path) => open_files(path),
            Self::Registry(RegistrySource { upstream, handle, reference, blobs }) => {
                let files = upstream.open(handle, reference, selector)?;
                let _ = blobs.set(files.source());
                Ok(Box::new(files))
            }
        }
    }

    /// The failure of the registry behind an error of the import: it says more.
    pub fn failure_within(&self, error: ImagesError) -> ImagesError {
        let failure = match self {
            Self::Path(_) => None,
            Self::Registry(source) => source.blobs.get().and_then(BlobSource::take_failure),
        };
        failure.map_or(error, ImagesError::Upstream)
    }
}

impl fmt::Display for ImageSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Registry(source) => source.reference.fmt(f),
        }
    }
}

/// The files of the image at `path`: a folder with an OCI layout, or an archive.
///
/// # Errors
/// `Open`, `NoFile`, `Image`.
pub fn open_files(path: &Path) -> Result<AnyFiles, ImagesError> {
    let text = path.display().to_string();
    // Looked at before it is opened: opening a pipe waits for its writer.
    let metadata = std::fs::metadata(path).map_err(|source| open_error(path, source))?;
    if metadata.is_dir() {
        return Ok(Box::new(FolderFiles::new(path)));
    }
    if !metadata.is_file() {
        return Err(ImagesError::NoFile { path: text });
    }
    let file = File::open(path).map_err(|source| open_error(path, source))?;
    let mut file = BufReader::with_capacity(256 << 10, file);
    file.rewind().map_err(|source| open_error(path, source))?;
    Ok(Box::new(ArchiveFiles::open(&text, file)?))
}

fn open_error(path: &Path, source: io::Error) -> ImagesError {
    ImagesError::Open { path: path.display().to_string(), source }
}
