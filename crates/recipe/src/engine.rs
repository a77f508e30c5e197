//! The interface of every engine: content in, compressed bytes out, as a stream.

use crate::bits::BitPosition;

/// One behaviour class of one compressor at one level. The sizes of the writes never change the bytes, unless an
/// engine's page says so.
pub trait Engine: Send {
    /// Takes the next content and appends the compressed bytes that are ready to `out`.
    fn write(&mut self, content: &[u8], out: &mut Vec<u8>);

    /// Appends what is made of the content so far, if the engine would wait for more. The content after it may be made
    /// otherwise than without it, so the finder alone calls it, at the end of a trial.
    fn drain(&mut self, _out: &mut Vec<u8>) {}

    /// Appends the rest of the stream to `out`.
    fn finish(&mut self, out: &mut Vec<u8>);

    /// The last place before which everything is written, and from which another engine of the kind can go on, if this
    /// engine has such places.
    fn mark(&self) -> Option<Mark> {
        None
    }
}

/// A place in a stream: content before it, and compressed bytes and bits before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    pub content: u64,
    pub blob: BitPosition,
}

impl Mark {
    pub const START: Self = Self { content: 0, blob: BitPosition::START };
}

/// Where an engine begins.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    pub mark: Mark,
    /// The content before the mark, as much of it as the engine wants, or all there is.
    pub history: &'a [u8],
    /// The content of the whole stream, where it is known. Engines need it that write it into a header.
    pub content_bytes: Option<u64>,
}

impl Start<'_> {
    pub const BEGINNING: Self = Self { mark: Mark::START, history: &[], content_bytes: None };
}
