//! What every engine offers: content in, compressed bytes out, as a stream.

/// One behaviour class of one compressor at one level. The sizes of the writes never change the bytes, unless an engine's
/// page says so.
pub trait Engine {
    /// Takes the next content and appends the compressed bytes that are ready to `out`.
    fn write(&mut self, content: &[u8], out: &mut Vec<u8>);

    /// Appends the rest of the stream to `out`.
    fn finish(&mut self, out: &mut Vec<u8>);
}
