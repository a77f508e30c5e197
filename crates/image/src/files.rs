//! Access to the files of an image. The caller implements it for a folder; [`crate::ArchiveFiles`] implements it for an
//! archive.

use std::io::{self, Read};

use lighter_types::OciDigest;

use crate::error::ImageError;
use crate::limits::DOCUMENT_BYTES_MAX;
use crate::referring::{Referring, Subject};

/// Opens the files of an OCI layout or of a `docker save` archive by relative path.
///
/// This crate passes only paths that are safe to join to a folder: parts separated by `/`, none of them empty, `.` or
/// `..`, no leading `/`, at most 255 bytes. An implementation for a folder should not follow a symbolic link out of the
/// folder. In any case, the import checks the content by its digest.
pub trait Files {
    /// Opens the file at `path`; `None` if the file does not exist.
    ///
    /// # Errors
    /// The machine cannot read the file, or the source is damaged.
    fn open(&mut self, path: &str) -> io::Result<Option<OpenFile<'_>>>;

    /// The documents of other platforms, and what refers to the image, are wanted from now on too. A source that has
    /// all of its files at hand has nothing to do.
    fn widen(&mut self) {}

    /// The documents that refer to a manifest, beside the entries of `index.json`.
    ///
    /// # Errors
    /// The source cannot be asked.
    fn referring(&mut self, _subject: &OciDigest, _kind: Subject) -> io::Result<Referring> {
        Ok(Referring::default())
    }
}

/// A file opened for one pass.
pub struct OpenFile<'a> {
    pub reader: Box<dyn Read + Send + 'a>,
    /// The length of the file, known before it is read. If the file turns out shorter, the import fails; it never reads
    /// more bytes.
    pub bytes: u64,
}

impl<F: Files + ?Sized> Files for Box<F> {
    fn open(&mut self, path: &str) -> io::Result<Option<OpenFile<'_>>> {
        (**self).open(path)
    }

    fn widen(&mut self) {
        (**self).widen();
    }

    fn referring(&mut self, subject: &OciDigest, kind: Subject) -> io::Result<Referring> {
        (**self).referring(subject, kind)
    }
}

impl<F: Files + ?Sized> Files for &mut F {
    fn open(&mut self, path: &str) -> io::Result<Option<OpenFile<'_>>> {
        (**self).open(path)
    }

    fn widen(&mut self) {
        (**self).widen();
    }

    fn referring(&mut self, subject: &OciDigest, kind: Subject) -> io::Result<Referring> {
        (**self).referring(subject, kind)
    }
}

/// A path that is safe to join to a folder, without a leading `./`. `None` if the path leaves the folder or is not in
/// its shortest form: a leading `/`, a `..`, an empty part, a NUL.
pub(crate) fn relative_path(path: &str) -> Option<&str> {
    let path = path.strip_prefix("./").unwrap_or(path);
    (path.len() <= 255 && path.split('/').all(is_path_part)).then_some(path)
}

fn is_path_part(part: &str) -> bool {
    !part.is_empty() && part != "." && part != ".." && !part.contains(['\0', '\\'])
}

/// Opens a file, or fails if the file does not exist.
pub(crate) fn open_file<'a>(files: &'a mut dyn Files, path: &str, named_by: &str) -> Result<OpenFile<'a>, ImageError> {
    match files.open(path) {
        Ok(Some(file)) => Ok(file),
        Ok(None) => Err(ImageError::Missing { path: path.to_owned(), named_by: named_by.to_owned() }),
        Err(error) => Err(ImageError::read(path, error)),
    }
}

/// Reads a whole document, or fails if the document does not exist.
pub(crate) fn read_document(files: &mut dyn Files, path: &str, named_by: &str) -> Result<Vec<u8>, ImageError> {
    let limit = DOCUMENT_BYTES_MAX.0;
    let file = open_file(files, path, named_by)?;
    if file.bytes > limit {
        return Err(ImageError::TooLarge { what: path.to_owned(), limit });
    }
    let mut bytes = Vec::new();
    file.reader.take(limit).read_to_end(&mut bytes).map_err(|error| ImageError::read(path, error))?;
    if bytes.len() as u64 != file.bytes {
        let (expected, found) = (file.bytes, bytes.len() as u64);
        return Err(ImageError::Size { what: path.to_owned(), expected, found });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_relative_paths_pass() {
        for path in ["index.json", "blobs/sha256/ab", "./manifest.json"] {
            assert_eq!(relative_path(path), Some(path.trim_start_matches("./")));
        }
        for path in ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/./b", "a/", "a\\b", "a\0b", &"a".repeat(256)] {
            assert_eq!(relative_path(path), None, "{path:?}");
        }
    }
}
