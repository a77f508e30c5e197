//! Where a scan writes a tar, and who names it: what takes a tar hashes it, so that a store that proves what it commits
//! and a scan of it need one sha256, not two.

use std::io::{self, Write};

use lighter_types::DiffId;
use sha2::{Digest, Sha256};

/// Takes a tar.
pub trait TarSink {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// What keeping them says.
    fn take(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// The sha256 of all that was taken. Called once, behind the last byte, and while TLSH still runs: the time for a
    /// sync.
    ///
    /// # Errors
    /// What keeping the bytes says.
    fn end(&mut self) -> io::Result<DiffId>;
}

/// Any writer as a sink.
pub struct Hashed<W> {
    writer: W,
    sha256: Sha256,
}

impl<W: Write> Hashed<W> {
    /// Hashes what goes to `writer`.
    pub fn new(writer: W) -> Self {
        Self { writer, sha256: Sha256::new() }
    }
}

impl<W: Write> TarSink for Hashed<W> {
    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sha256.update(bytes);
        self.writer.write_all(bytes)
    }

    fn end(&mut self) -> io::Result<DiffId> {
        self.writer.flush()?;
        Ok(DiffId::new(self.sha256.clone().finalize().into()))
    }
}
