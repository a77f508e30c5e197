//! The contents of a frame in one of two tiers, each a model and its coder.

use lighter_coder::{Coder, SymbolCoder};

use super::full::{Full, Models};
use super::headers::{Block, Headers};
use super::light::Light;
use super::window::Window;
use crate::error::CodecError;
use crate::take::take;

/// Codes contents and appends them to `out`. An encoder is given the bytes in `known`; for a decoder, `known` is empty.
pub trait Contents {
    /// Whether it encodes.
    const ENCODES: bool;

    /// Codes the bytes at the place of the base's `window`.
    fn code_match(&mut self, window: &Window, known: &[u8], out: &mut Vec<u8>);

    /// Codes so many new bytes.
    ///
    /// # Errors
    /// A decoder has fewer bytes left.
    fn code_new(&mut self, bytes: u64, known: &[u8], out: &mut Vec<u8>) -> Result<(), CodecError>;

    /// Codes a tar header.
    fn code_header(&mut self, headers: &mut Headers, like: Option<&Block>, given: &Block) -> Block;

    /// Whether a decoder has read past the end.
    fn is_past_end(&self) -> bool;
}

/// The light tier: symbols. New bytes are collected, to be compressed by zstd.
pub struct LightContents<'a, C> {
    pub coder: C,
    /// None before the first match: a frame of new bytes alone needs no models.
    light: Option<Box<Light>>,
    /// When decoding: the new bytes that are left.
    pub new: &'a [u8],
    /// When encoding: the new bytes.
    pub new_known: Vec<u8>,
}

impl<'a, C: SymbolCoder> LightContents<'a, C> {
    pub fn new(coder: C, new: &'a [u8]) -> Self {
        Self { coder, light: None, new, new_known: Vec::new() }
    }
}

impl<C: SymbolCoder> Contents for LightContents<'_, C> {
    const ENCODES: bool = C::ENCODES;

    fn code_match(&mut self, window: &Window, known: &[u8], out: &mut Vec<u8>) {
        self.light.get_or_insert_with(|| Box::new(Light::new())).code_match(&mut self.coder, window, known, out);
    }

    fn code_new(&mut self, bytes: u64, known: &[u8], out: &mut Vec<u8>) -> Result<(), CodecError> {
        if C::ENCODES {
            self.new_known.extend_from_slice(known);
            out.extend_from_slice(known);
        } else {
            out.extend_from_slice(take(&mut self.new, bytes)?);
        }
        Ok(())
    }

    fn code_header(&mut self, headers: &mut Headers, like: Option<&Block>, given: &Block) -> Block {
        headers.code(&mut self.coder, like, given)
    }

    fn is_past_end(&self) -> bool {
        self.coder.is_past_end()
    }
}

/// Bytes of a payload from which on most pages of the models' tables are needed.
const BUSY_BYTES: usize = 1 << 10;

/// The full tier: bit by bit, by all contexts of one kind of models.
pub struct FullContents<C, M> {
    pub coder: C,
    full: Box<Full<M>>,
}

impl<C: Coder, M: Models> FullContents<C, M> {
    pub fn new(coder: C) -> Self {
        Self { coder, full: Box::new(Full::new()) }
    }

    /// The same, for a payload of so many bytes.
    pub fn for_payload(coder: C, bytes: usize) -> Self {
        let mut contents = Self::new(coder);
        if bytes >= BUSY_BYTES {
            contents.full.warm_up();
        }
        contents
    }
}

impl<C: Coder, M: Models> Contents for FullContents<C, M> {
    const ENCODES: bool = C::ENCODES;

    fn code_match(&mut self, window: &Window, known: &[u8], out: &mut Vec<u8>) {
        self.full.code_match(&mut self.coder, window, known, out);
    }

    fn code_new(&mut self, bytes: u64, known: &[u8], out: &mut Vec<u8>) -> Result<(), CodecError> {
        self.full.code_new(&mut self.coder, bytes as usize, known, out);
        Ok(())
    }

    fn code_header(&mut self, headers: &mut Headers, like: Option<&Block>, given: &Block) -> Block {
        headers.code(&mut self.coder, like, given)
    }

    fn is_past_end(&self) -> bool {
        self.coder.is_past_end()
    }
}
