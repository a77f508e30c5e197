//! A layer that is scanned on its way into the store.

use std::io;

use lighter_image::TarSink;
use lighter_store::LayerWriter;
use lighter_types::DiffId;

/// Writes the layer, and hashes it as the store does.
pub struct IntoStore<'a>(pub &'a mut LayerWriter);

impl TarSink for IntoStore<'_> {
    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.append(bytes).map_err(io::Error::other)
    }

    fn end(&mut self) -> io::Result<DiffId> {
        self.0.sync().map_err(io::Error::other)?;
        Ok(self.0.diff_id())
    }
}
