//! A layer that is scanned on its way into the store.

use std::io;

use lighter_image::TarSink;
use lighter_store::LayerWriter;
use lighter_types::DiffId;

use crate::flusher::Flusher;

/// Writes the layer, and hashes it as the store does.
pub struct IntoStore<'a> {
    writer: &'a mut LayerWriter,
    flusher: Option<Flusher>,
}

impl<'a> IntoStore<'a> {
    /// # Errors
    /// If no more files or threads can be had.
    pub fn new(writer: &'a mut LayerWriter) -> io::Result<Self> {
        let flusher = Some(Flusher::new(writer.file().map_err(io::Error::other)?)?);
        Ok(Self { writer, flusher })
    }
}

impl TarSink for IntoStore<'_> {
    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.append(bytes).map_err(io::Error::other)?;
        if let Some(flusher) = &mut self.flusher {
            flusher.wrote(bytes.len());
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<DiffId> {
        self.flusher.take().map_or(Ok(()), Flusher::finish)?;
        self.writer.sync().map_err(io::Error::other)?;
        Ok(self.writer.diff_id())
    }
}
