//! The sink to which a scan writes a tar. The sink computes the sha256 of the tar. A store needs this hash for its
//! commit, so the scan and the store share one computation.

use std::io::{self, Write};

use lighter_types::DiffId;
use sha2::{Digest, Sha256};

/// Receives the bytes of a tar.
pub trait TarSink {
    /// Stores the next bytes.
    ///
    /// # Errors
    /// The sink cannot store the bytes.
    fn take(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Returns the sha256 of all bytes. The scan calls this once after the last byte, while TLSH still runs, so it is a
    /// good time for a sync.
    ///
    /// # Errors
    /// The sink cannot store the bytes.
    fn end(&mut self) -> io::Result<DiffId>;
}

/// A sink that passes the bytes to a writer.
pub struct Hashed<W> {
    writer: W,
    sha256: Sha256,
}

impl<W: Write> Hashed<W> {
    /// Hashes all bytes and passes them to `writer`.
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
