//! Where an image's files come from. The caller supplies a folder's; an archive's is [`crate::ArchiveFiles`].

use std::io::{self, Read};

/// Opens the files of an OCI layout or of a `docker save` archive by relative path.
///
/// Paths that are asked for are written by this crate and are safe to join to a folder: parts separated by `/`, none
/// of them empty, `.` or `..`, no leading `/`, at most 255 bytes. An implementation for a folder should not follow a
/// symbolic link out of it; the content is checked by digest whatever it does.
pub trait Files {
    /// The file at `path`, or `None` if there is none.
    ///
    /// # Errors
    /// The machine cannot read it, or the source is damaged there.
    fn open(&mut self, path: &str) -> io::Result<Option<OpenFile<'_>>>;
}

/// A file opened for one pass.
pub struct OpenFile<'a> {
    pub reader: Box<dyn Read + Send + 'a>,
    /// Its length in bytes, known without reading it. What is read may turn out shorter; more is never read.
    pub bytes: u64,
}

impl<F: Files + ?Sized> Files for Box<F> {
    fn open(&mut self, path: &str) -> io::Result<Option<OpenFile<'_>>> {
        (**self).open(path)
    }
}

impl<F: Files + ?Sized> Files for &mut F {
    fn open(&mut self, path: &str) -> io::Result<Option<OpenFile<'_>>> {
        (**self).open(path)
    }
}

/// `path` as it may be joined to a folder, or `None` if it leaves it or says the same in another way: a leading `/`, a
/// `..`, an empty part, a NUL. A leading `./` is taken off.
pub(crate) fn relative_path(path: &str) -> Option<&str> {
    let path = path.strip_prefix("./").unwrap_or(path);
    let good = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains(['\0', '\\']);
    (path.len() <= 255 && path.split('/').all(good)).then_some(path)
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
