//! Reading by position: how bases and targets reach the rooms that open no file themselves.

use std::io;

use crate::Bytes;

/// Bytes of a fixed length that can be read at any position, from several threads at once.
pub trait ReadAt: Send + Sync {
    /// How many bytes there are. It must not change while it is in use.
    fn len(&self) -> Bytes;

    /// Fills `buf` with the bytes from `offset` on.
    ///
    /// # Errors
    /// `UnexpectedEof` where fewer bytes stand there; otherwise whatever the medium says.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// Whether there are no bytes.
    fn is_empty(&self) -> bool {
        self.len() == Bytes::ZERO
    }

    /// The files in it, in order, if it is a set of files and no tar: the bytes between them are not to be read. `None`
    /// for everything else.
    fn files(&self) -> Option<&[File]> {
        None
    }
}

/// A file in a set of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its path, as in a tar.
    pub path: Vec<u8>,
    /// Where it begins: a multiple of 512. Zeros follow it up to the next multiple of 512.
    pub at: u64,
    pub bytes: u64,
}

impl ReadAt for [u8] {
    fn len(&self) -> Bytes {
        Bytes(<[u8]>::len(self) as u64)
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let found = usize::try_from(offset)
            .ok()
            .and_then(|start| self.get(start..start.checked_add(buf.len())?))
            .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        buf.copy_from_slice(found);
        Ok(())
    }
}

impl ReadAt for Vec<u8> {
    fn len(&self) -> Bytes {
        ReadAt::len(self.as_slice())
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.as_slice().read_exact_at(buf, offset)
    }
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn len(&self) -> Bytes {
        (**self).len()
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read_exact_at(buf, offset)
    }

    fn files(&self) -> Option<&[File]> {
        (**self).files()
    }
}
