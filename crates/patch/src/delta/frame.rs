//! A frame's contents, in the order of its program ([`super::payload`] has where everything stands).
//!
//! Encoding and decoding are one walk over the program, [`Walk`], which differs only in the coder.

use std::ops::Range;

use crate::ReadAt;
use crate::codec::{CodecError, decode_zstd, encode_zstd};
use crate::varint;

use super::deflate;
use super::full::Full;
use super::header::{Block, Headers};
use super::light::Light;
use super::payload::{Parts, TIER_FULL, TIER_LIGHT, take};
use super::program::{self, HEADER_BYTES, Program, Step, TRAILER_BYTES};
use super::rebuilt::Rebuilt;
use super::sources::{CopyFrom, Sources, TARGET};
use super::window::Window;
use cabac::{Coder, Decoder, Encoder};

/// Most bytes of a frame's range that are not copied from a base, with all content of its deflate streams.
pub(crate) const MATERIAL_BYTES_MAX: u64 = 8 << 20;

/// Most bytes of a match that are coded as one; a change does not go on from one to the next.
const WINDOW_BYTES_MAX: u64 = 256 << 10;

/// How a frame is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Fast to encode and decode; new bytes by zstd.
    Light { zstd_level: u8 },
    /// Small: every byte by all that is known of it.
    Full,
}

/// Encodes a frame, which makes the bytes of the target at `range`. `known` has, in the order of the program, the bytes that its matches, headers, new and raw steps
/// stand for.
///
/// # Errors
/// A base that cannot be read; a program that does not fit its sources.
pub(crate) fn encode(
    program: &Program,
    bases: &[&dyn ReadAt],
    range: &Range<u64>,
    known: &[u8],
    style: Style,
) -> Result<Vec<u8>, CodecError> {
    let mut sources = Sources::new(bases, range.end)?;
    let mut coder = Encoder::new();
    program::code(&mut coder, program)?;
    sources.inflate(&program.inflated)?;
    let (tier, content) = match style {
        Style::Light { .. } => (TIER_LIGHT, Content::light(&[])),
        Style::Full => (TIER_FULL, Content::full()),
    };
    let mut walk = Walk::new(content, sources, range.start, &[], known);
    walk.run(&mut coder, program)?;
    let (new, raw) = (std::mem::take(&mut walk.new_known), std::mem::take(&mut walk.raw_known));
    let coded = coder.finish();
    let mut payload = vec![tier];
    varint::put(&mut payload, coded.len() as u64);
    let mut compressed = Vec::new();
    if let Style::Light { zstd_level } = style {
        if !new.is_empty() {
            compressed = encode_zstd(&new, zstd_level).map_err(|_| "zstd refused new bytes")?;
        }
        varint::put(&mut payload, compressed.len() as u64);
        varint::put(&mut payload, new.len() as u64);
    }
    payload.extend(coded);
    payload.extend(compressed);
    payload.extend(raw);
    Ok(payload)
}

/// Decodes a payload into the target's bytes at `range`.
///
/// # Errors
/// Whatever cannot be.
pub(crate) fn decode(payload: &[u8], range: Range<u64>, bases: &[&dyn ReadAt]) -> Result<Rebuilt, CodecError> {
    let target_bytes = range.end - range.start;
    let parts = Parts::of(payload)?;
    if parts.new_bytes > MATERIAL_BYTES_MAX {
        return Err("more new bytes than allowed".into());
    }
    let mut new = Vec::new();
    if parts.new_bytes > 0 {
        new.reserve_exact(parts.new_bytes as usize);
        decode_zstd(parts.compressed, parts.new_bytes as usize, &mut new)?;
    } else if !parts.compressed.is_empty() {
        return Err("compressed bytes of nothing".into());
    }
    let mut coder = Decoder::new(parts.coded);
    let program = program::code(&mut coder, &Program::default())?;
    let material = check(&program, target_bytes)?;
    let mut sources = Sources::new(bases, range.end)?;
    sources.inflate(&program.inflated)?;
    let content = if parts.is_full { Content::full() } else { Content::light(&new) };
    let mut walk = Walk::new(content, sources, range.start, parts.raw, &[]);
    walk.rebuilt.material.reserve_exact(material as usize);
    walk.run(&mut coder, &program)?;
    if !coder.is_at_end() || !walk.content.is_done() || !walk.raw.is_empty() {
        return Err("bytes that nothing asks for".into());
    }
    if walk.rebuilt.bytes() != target_bytes {
        return Err("a range of another length than the header says".into());
    }
    Ok(walk.rebuilt)
}

/// Lengths of all steps, before any is done: nothing is allocated for a program that is too large. Returns how many bytes
/// are decoded.
fn check(program: &Program, target_bytes: u64) -> Result<u64, CodecError> {
    let (mut material, mut copied, mut plain_left) = (0u64, 0u64, 0u64);
    for step in &program.steps {
        let bytes = step.bytes();
        match step {
            Step::Deflate { .. } if plain_left > 0 => return Err("a deflate stream within another".into()),
            Step::Deflate { plain_bytes, .. } => plain_left = *plain_bytes,
            Step::Trailer if plain_left > 0 => return Err("a trailer within a deflate stream".into()),
            _ if plain_left > 0 => {
                plain_left = plain_left.checked_sub(bytes).ok_or("a step across the end of a deflate stream")?;
                material = material.saturating_add(bytes);
            }
            Step::Copy { .. } => copied = copied.saturating_add(bytes),
            _ => material = material.saturating_add(bytes),
        }
    }
    if plain_left > 0 {
        return Err("a deflate stream without its end".into());
    }
    if material > MATERIAL_BYTES_MAX {
        return Err("more decoded bytes than allowed".into());
    }
    if copied > target_bytes {
        return Err("more copied bytes than the range has".into());
    }
    Ok(material)
}

/// What contents are coded by.
enum Content<'a> {
    /// With the new bytes that are left, when decoding.
    Light(Box<Light>, &'a [u8]),
    Full(Box<Full>),
}

impl<'a> Content<'a> {
    fn light(new: &'a [u8]) -> Self {
        Self::Light(Box::new(Light::new()), new)
    }

    fn full() -> Self {
        Self::Full(Box::new(Full::new()))
    }

    /// Whether no new bytes are left.
    fn is_done(&self) -> bool {
        !matches!(self, Self::Light(_, new) if !new.is_empty())
    }
}

/// The walk over a program.
struct Walk<'a> {
    sources: Sources<'a>,
    content: Content<'a>,
    headers: Headers,
    rebuilt: Rebuilt,
    /// Where the range begins in the target.
    start: u64,
    /// When decoding: the raw bytes that are left.
    raw: &'a [u8],
    /// When encoding: the bytes that steps stand for, in order.
    known: &'a [u8],
    /// When encoding: what belongs into the parts that are not coded.
    new_known: Vec<u8>,
    raw_known: Vec<u8>,
    /// The deflate stream that is open: where its content begins in the material, how much is missing, corrections.
    open: Option<(usize, u64, &'a [u8])>,
    /// The content of the last one.
    last_plain: Range<usize>,
    window: Window,
    place: u64,
}

impl<'a> Walk<'a> {
    fn new(content: Content<'a>, sources: Sources<'a>, start: u64, raw: &'a [u8], known: &'a [u8]) -> Self {
        Self {
            sources,
            content,
            headers: Headers::new(),
            rebuilt: Rebuilt::default(),
            start,
            raw,
            known,
            new_known: Vec::new(),
            raw_known: Vec::new(),
            open: None,
            last_plain: 0..0,
            window: Window::default(),
            place: 0,
        }
    }

    fn run<C: Coder + Ends>(&mut self, coder: &mut C, program: &'a Program) -> Result<(), CodecError> {
        for step in &program.steps {
            let start = self.rebuilt.material.len();
            if let Step::Deflate { plain_bytes, corrections } = step {
                self.open = Some((start, *plain_bytes, corrections));
                continue;
            }
            self.step(coder, step)?;
            if coder.is_past_end() {
                return Err("contents that are cut off".into());
            }
            self.place = self.place.wrapping_add(step.bytes());
            let material = start..self.rebuilt.material.len();
            match self.open {
                None if !material.is_empty() => self.rebuilt.add_material(material),
                None => {}
                Some((plain, left, corrections)) => {
                    let left = left - step.bytes();
                    self.open = Some((plain, left, corrections));
                    if left == 0 {
                        self.close(plain, corrections)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Deflates the content that is complete now.
    fn close(&mut self, plain: usize, corrections: &[u8]) -> Result<(), CodecError> {
        let start = self.rebuilt.material.len();
        let deflated = deflate::again(&self.rebuilt.material[plain..], corrections)?;
        if (start + deflated.len()) as u64 > 3 * MATERIAL_BYTES_MAX {
            return Err("more deflated bytes than allowed".into());
        }
        self.rebuilt.material.extend(deflated);
        self.rebuilt.add_material(start..self.rebuilt.material.len());
        self.last_plain = plain..start;
        self.open = None;
        Ok(())
    }

    fn step<C: Coder>(&mut self, coder: &mut C, step: &Step) -> Result<(), CodecError> {
        match *step {
            Step::Copy { from, bytes } => self.copy(from, bytes)?,
            Step::Match { from, bytes } => self.match_step(coder, from, bytes)?,
            Step::New { bytes } => {
                let known = self.take_known(bytes);
                let out = &mut self.rebuilt.material;
                match &mut self.content {
                    Content::Full(full) => full.code_new(coder, bytes as usize, known, out),
                    Content::Light(..) if C::ENCODES => {
                        self.new_known.extend_from_slice(known);
                        out.extend_from_slice(known);
                    }
                    Content::Light(_, new) => out.extend_from_slice(take(new, bytes)?),
                }
            }
            Step::Raw { bytes } if C::ENCODES => {
                let known = self.take_known(bytes);
                self.raw_known.extend_from_slice(known);
                self.rebuilt.material.extend_from_slice(known);
            }
            Step::Raw { bytes } => self.rebuilt.material.extend_from_slice(take(&mut self.raw, bytes)?),
            Step::Header { from } => {
                let mut like: Block = [0; HEADER_BYTES as usize];
                self.sources.read(from, &mut like)?;
                self.header(coder, Some(&like));
            }
            Step::NewHeader => self.header(coder, None),
            Step::Trailer => {
                let plain = &self.rebuilt.material[self.last_plain.clone()];
                let trailer = deflate::trailer(plain);
                self.take_known(TRAILER_BYTES);
                self.rebuilt.material.extend_from_slice(&trailer);
            }
            // Opened by `run`.
            Step::Deflate { .. } => {}
        }
        Ok(())
    }

    /// A match is coded window by window.
    fn match_step<C: Coder>(&mut self, coder: &mut C, from: u64, bytes: u64) -> Result<(), CodecError> {
        let mut done = 0;
        while done < bytes {
            let count = (bytes - done).min(WINDOW_BYTES_MAX);
            let known = self.take_known(count);
            let from = from.wrapping_add(done);
            (self.window.from, self.window.to) = (from, self.place.wrapping_add(done));
            self.sources.window(from, count as usize, &mut self.window.bytes)?;
            let out = &mut self.rebuilt.material;
            match &mut self.content {
                Content::Light(light, _) => light.code_match(coder, &self.window, known, out),
                Content::Full(full) => full.code_match(coder, &self.window, known, out),
            }
            done += count;
        }
        Ok(())
    }

    /// Outside a deflate stream a copy from a base or from the target is only noted.
    fn copy(&mut self, from: u64, bytes: u64) -> Result<(), CodecError> {
        match self.sources.copied(from, bytes)? {
            CopyFrom::Base { index, offset } if self.open.is_none() => self.rebuilt.add_base(index, offset, bytes),
            CopyFrom::Target { .. } if self.open.is_some() => return Err(TARGET),
            CopyFrom::Target { offset } if offset + bytes > self.start + self.rebuilt.bytes() => {
                return Err("a copy of the target from its own place or behind it".into());
            }
            CopyFrom::Target { offset } => self.rebuilt.add_target(offset, bytes),
            _ if self.rebuilt.material.len() as u64 + bytes > 3 * MATERIAL_BYTES_MAX => {
                return Err("more decoded bytes than allowed".into());
            }
            _ => {
                let start = self.rebuilt.material.len();
                self.rebuilt.material.resize(start + bytes as usize, 0);
                self.sources.read(from, &mut self.rebuilt.material[start..])?;
            }
        }
        Ok(())
    }

    fn header<C: Coder>(&mut self, coder: &mut C, like: Option<&Block>) {
        let given = self.take_known(HEADER_BYTES).first_chunk().copied().unwrap_or([0; HEADER_BYTES as usize]);
        let header = self.headers.code(coder, like, &given);
        self.rebuilt.material.extend_from_slice(&header);
    }

    /// When encoding, the next bytes that a step stands for; nothing when decoding.
    fn take_known(&mut self, bytes: u64) -> &'a [u8] {
        let (taken, rest) = self.known.split_at_checked(bytes as usize).unwrap_or((&[], self.known));
        self.known = rest;
        taken
    }
}

/// Whether a coder has read more than there is; never so when writing.
trait Ends {
    fn is_past_end(&self) -> bool;
}

impl Ends for Encoder {
    fn is_past_end(&self) -> bool {
        false
    }
}

impl Ends for Decoder<&[u8]> {
    fn is_past_end(&self) -> bool {
        Decoder::is_past_end(self)
    }
}

#[cfg(test)]
mod tests;
