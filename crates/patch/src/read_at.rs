//! Reading by position: how bases and targets reach this crate, which opens no file itself.

use std::io;

use lighter_types::Bytes;

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

    /// The files that it is made of, in order, where it is no tar to be cut into files and what stands between them is not
    /// to be read; `None` for what is whole.
    fn files(&self) -> Option<&[File]> {
        None
    }
}

/// A file that is part of something larger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Path in a layer, as in a tar.
    pub path: Vec<u8>,
    /// Where it begins: a multiple of 512. Up to the next such multiple behind it stand zeros.
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
