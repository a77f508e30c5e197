//! Encodes and decodes a frame: walks over its program and codes the contents of each step. [`crate::payload`] has the
//! layout.
//!
//! [`encode`] and [`decode`] are the same walk, [`Walk`]; only the coder of the contents differs. A decoder first
//! checks the lengths of all steps ([`check`]), so that it allocates nothing for a program that is too large. A copy
//! outside a stream is noted and not read.

mod lengths;

use std::ops::{ControlFlow, Range};

use lighter_coder::{AnsDecoder, AnsEncoder, Decoder, Encoder, varint};
use lighter_types::{ReadAt, broken};

use crate::compressed::{self, Compression, deflate};
use crate::error::CodecError;
use crate::models::contents::{Contents, FullContents, LightContents};
use crate::models::earlier::Earlier;
use crate::models::full::Models;
use crate::models::headers::{Block, Headers, Texts};
use crate::models::quick::Quick;
use crate::models::window::Window;
use crate::moves::{self, Map};
use crate::payload::{Parts, TIER_FRESH, TIER_FULL, TIER_LIGHT, TIER_MOVES, TIER_QUICK, TIER_STRETCHES};
use crate::prefix;
use crate::program::{self, HEADER_BYTES, Program, Step, TRAILER_BYTES};
use crate::rebuilt::Rebuilt;
use crate::sources::{CopyFrom, Sources, TARGET};
use crate::take::take;
use crate::zstd;
use lengths::{check, material_bytes_max, room, stream_flags};

/// Most bytes of a frame that are not copied from a base, with all content of its compressed streams.
pub const MATERIAL_BYTES_MAX: u64 = 8 << 20;
/// The same of a frame with streams of LZ4, and most bytes of its inflated sources: the code of a processor is long,
/// and cannot be cut.
pub const LARGE_BYTES_MAX: u64 = 12 << 20;

/// Most bytes of a match that are coded together; a change does not continue from one window into the next. Between two
/// windows, and between as many new bytes, a decoder asks whether to go on.
const WINDOW_BYTES_MAX: u64 = 256 << 10;

/// How a frame is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Fast to encode and decode; new bytes by zstd.
    Light { zstd_level: u8 },
    /// Small: every byte by all that is known of it.
    Full,
}

/// Encodes a frame that makes the bytes of the target at `range`. `known` has the bytes that its matches, headers, new
/// and raw steps make, in the order of the program. The first frame of a patch holds the map.
///
/// # Errors
/// A base that cannot be read; a program that does not fit its sources.
pub fn encode(
    program: &Program,
    bases: &[&dyn ReadAt],
    range: &Range<u64>,
    known: &[u8],
    (map, is_first): (&Map, bool),
    style: Style,
) -> Result<Vec<u8>, CodecError> {
    let mut sources = Sources::new(bases, range.end)?;
    let coded_program = program::encode(program)?;
    sources.inflate(&program.inflated, material_bytes_max(stream_flags(program)))?;
    let (tier, contents, compressed, new_bytes, raw);
    match style {
        Style::Light { zstd_level } => {
            let mut walk = Walk::new(LightContents::new(AnsEncoder::new(), &[]), sources, map, range.start, &[], known);
            walk.run(program)?;
            let new = &walk.contents.new_known;
            compressed = if new.is_empty() {
                Vec::new()
            } else {
                let prefix = prefix::read(program, new.len() as u64, &mut walk.sources)?;
                zstd::encode_behind(&prefix, new, zstd_level).map_err(|_| "zstd refused new bytes")?
            };
            (tier, new_bytes) = (TIER_LIGHT, new.len());
            (contents, raw) = (walk.contents.coder.finish(), walk.raw_known);
        }
        Style::Full => {
            let models = FullContents::<_, Quick>::new(Encoder::new());
            let mut walk = Walk::new(models, sources, map, range.start, &[], known);
            walk.run(program)?;
            (tier, new_bytes, compressed) = (TIER_FULL | TIER_QUICK, 0, Vec::new());
            (contents, raw) = (walk.contents.coder.finish(), walk.raw_known);
        }
    }
    let moves = if is_first && !map.files.is_empty() { moves::coding::encode(map) } else { Vec::new() };
    let flags = stream_flags(program) | if moves.is_empty() { 0 } else { TIER_MOVES };
    let mut payload = vec![tier | TIER_STRETCHES | TIER_FRESH | flags];
    varint::put(&mut payload, coded_program.len() as u64);
    varint::put(&mut payload, contents.len() as u64);
    if tier == TIER_LIGHT {
        varint::put(&mut payload, compressed.len() as u64);
        varint::put(&mut payload, new_bytes as u64);
    }
    if !moves.is_empty() {
        varint::put(&mut payload, moves.len() as u64);
    }
    for part in [moves, coded_program, contents, compressed, raw] {
        payload.extend(part);
    }
    Ok(payload)
}

/// Whether a decoder goes on. It asks after each step, and every 256 KiB within a long one.
pub type Going<'a> = &'a dyn Fn() -> ControlFlow<()>;

/// Decodes a payload into the target's bytes at `range`. `map` has the [`crate::moves()`] of the patch's first payload.
///
/// # Errors
/// A damaged payload, a version that is not known, a base that cannot be read; `Stopped` when `going` says so.
pub fn decode(
    payload: &[u8],
    range: Range<u64>,
    bases: &[&dyn ReadAt],
    map: &Map,
    going: Going<'_>,
) -> Result<Rebuilt, CodecError> {
    let target_bytes = range.end - range.start;
    let parts = Parts::of(payload)?;
    if range.start > 0 && !parts.moves.is_empty() {
        return Err("moves behind the first frame".into());
    }
    let program = program::decode(parts.program)?;
    if stream_flags(&program) != parts.streams {
        return Err("streams that the tier does not tell of".into());
    }
    let bytes_max = material_bytes_max(parts.streams);
    let material = check(&program, target_bytes, bytes_max)?;
    if parts.new_bytes > material {
        return Err("more new bytes than steps have".into());
    }
    let mut sources = Sources::new(bases, range.end)?;
    sources.inflate(&program.inflated, bytes_max)?;
    let mut new = Vec::new();
    if parts.new_bytes > 0 {
        new.reserve_exact(parts.new_bytes as usize);
        let prefix = prefix::read(&program, parts.new_bytes, &mut sources)?;
        zstd::decode_behind(&prefix, parts.compressed, parts.new_bytes as usize, &mut new)?;
    } else if !parts.compressed.is_empty() {
        return Err("compressed bytes of nothing".into());
    }
    let place = (sources, map, range.start);
    let (rebuilt, is_at_end) = match (parts.is_full, parts.is_quick) {
        (true, true) => decode_full::<Quick>(&parts, place, &program, material, going)?,
        (true, false) => decode_full::<Earlier>(&parts, place, &program, material, going)?,
        (false, _) => {
            let contents = LightContents::new(AnsDecoder::new(parts.contents), &new);
            let walk = Walk::new(contents, place.0, map, range.start, parts.raw, &[]).while_going(going);
            let walk = walk.decode(&program, material, &parts)?;
            let LightContents { coder, new, .. } = walk.contents;
            (walk.rebuilt, coder.is_at_end() && new.is_empty() && walk.raw.is_empty())
        }
    };
    if !is_at_end {
        return Err("bytes that nothing asks for".into());
    }
    if rebuilt.bytes() != target_bytes {
        return Err("a range of another length than the header says".into());
    }
    Ok(rebuilt)
}

/// Decodes contents of the full tier by one kind of models: what they make, and whether they end where they should.
fn decode_full<'a, M: Models>(
    parts: &Parts<'a>,
    (sources, map, start): (Sources<'a>, &'a Map, u64),
    program: &'a Program,
    material: u64,
    going: Going<'a>,
) -> Result<(Rebuilt, bool), CodecError> {
    let contents = FullContents::<_, M>::for_payload(Decoder::new(parts.contents), parts.contents.len());
    let walk = Walk::new(contents, sources, map, start, parts.raw, &[]).while_going(going);
    let walk = walk.decode(program, material, parts)?;
    Ok((walk.rebuilt, walk.contents.coder.is_at_end() && walk.raw.is_empty()))
}

/// A compressed stream whose content is being made.
struct Open<'a> {
    compression: Compression,
    /// Where the content begins in the material.
    start: usize,
    /// How much of the content is missing.
    left: u64,
    corrections: &'a [u8],
}

/// The walk over a program.
struct Walk<'a, T> {
    sources: Sources<'a>,
    map: &'a Map,
    contents: T,
    headers: Headers,
    rebuilt: Rebuilt,
    /// Where the range begins in the target.
    start: u64,
    /// When decoding: the raw bytes that are left.
    raw: &'a [u8],
    /// When encoding: the bytes that the steps make, in order.
    known: &'a [u8],
    /// When encoding: the bytes of raw steps.
    raw_known: Vec<u8>,
    /// The stream that is open.
    open: Option<Open<'a>>,
    /// The content of the last stream.
    last_plain: Range<usize>,
    window: Window,
    place: u64,
    going: Going<'a>,
}

impl<'a, T: Contents> Walk<'a, T> {
    fn new(contents: T, sources: Sources<'a>, map: &'a Map, start: u64, raw: &'a [u8], known: &'a [u8]) -> Self {
        Self {
            sources,
            map,
            contents,
            headers: Headers::new(Texts::ByStretches),
            rebuilt: Rebuilt::default(),
            start,
            raw,
            known,
            raw_known: Vec::new(),
            open: None,
            last_plain: 0..0,
            window: Window::default(),
            place: 0,
            going: &|| ControlFlow::Continue(()),
        }
    }

    fn while_going(self, going: Going<'a>) -> Self {
        Self { going, ..self }
    }

    /// Ends the walk if the caller says so.
    fn go_on(&self) -> Result<(), CodecError> {
        if (self.going)().is_break() { Err(CodecError::Stopped) } else { Ok(()) }
    }

    /// Decodes a program that makes so many bytes beside copies.
    fn decode(mut self, program: &'a Program, material: u64, parts: &Parts<'_>) -> Result<Self, CodecError> {
        self.headers = Headers::new(parts.texts);
        self.window.keeps_original = !parts.is_fresh;
        self.rebuilt.material.reserve_exact(room(program, material));
        self.run(program)?;
        Ok(self)
    }

    fn run(&mut self, program: &'a Program) -> Result<(), CodecError> {
        for step in &program.steps {
            self.go_on()?;
            let start = self.rebuilt.material.len();
            if let Step::Stream { compression, plain_bytes, corrections } = step {
                self.open = Some(Open { compression: *compression, start, left: *plain_bytes, corrections });
                continue;
            }
            self.step(step)?;
            if self.contents.is_past_end() {
                return Err("contents that are cut off".into());
            }
            self.place = self.place.wrapping_add(step.bytes());
            let material = start..self.rebuilt.material.len();
            match &mut self.open {
                None if !material.is_empty() => self.rebuilt.add_material(material),
                None => {}
                Some(open) => {
                    open.left -= step.bytes();
                    if open.left == 0 {
                        self.close()?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Recompresses the content of the open stream, which is complete.
    fn close(&mut self) -> Result<(), CodecError> {
        let Some(open) = self.open.take() else {
            broken("a stream that ends before it begins");
            return Ok(());
        };
        let start = self.rebuilt.material.len();
        let stream = compressed::recompress(open.compression, &self.rebuilt.material[open.start..], open.corrections)?;
        if (start + stream.len()) as u64 > 3 * MATERIAL_BYTES_MAX {
            return Err("more compressed bytes than allowed".into());
        }
        self.rebuilt.material.extend(stream);
        self.rebuilt.add_material(start..self.rebuilt.material.len());
        self.last_plain = open.start..start;
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), CodecError> {
        match *step {
            Step::Copy { from, bytes } => self.copy(from, bytes)?,
            Step::Match { from, bytes } => self.match_step(from, bytes)?,
            Step::New { bytes } => self.new_step(bytes)?,
            Step::Raw { bytes } if T::ENCODES => {
                let known = self.take_known(bytes);
                self.raw_known.extend_from_slice(known);
                self.rebuilt.material.extend_from_slice(known);
            }
            Step::Raw { bytes } => self.rebuilt.material.extend_from_slice(take(&mut self.raw, bytes)?),
            Step::Header { from } => {
                let mut like: Block = [0; HEADER_BYTES as usize];
                self.sources.read(from, &mut like)?;
                self.header(Some(&like));
            }
            Step::NewHeader => self.header(None),
            Step::Trailer => {
                let plain = &self.rebuilt.material[self.last_plain.clone()];
                let trailer = deflate::trailer(plain);
                self.take_known(TRAILER_BYTES);
                self.rebuilt.material.extend_from_slice(&trailer);
            }
            // Opened by `run`.
            Step::Stream { .. } => {}
        }
        Ok(())
    }

    /// Codes new bytes, as many at a time as a window has.
    fn new_step(&mut self, bytes: u64) -> Result<(), CodecError> {
        let mut left = bytes;
        while left > 0 {
            let count = left.min(WINDOW_BYTES_MAX);
            let known = self.take_known(count);
            self.contents.code_new(count, known, &mut self.rebuilt.material)?;
            left -= count;
            self.go_on()?;
        }
        Ok(())
    }

    /// Codes a match window by window.
    fn match_step(&mut self, from: u64, bytes: u64) -> Result<(), CodecError> {
        let mut done = 0;
        while done < bytes {
            let count = (bytes - done).min(WINDOW_BYTES_MAX);
            let known = self.take_known(count);
            let from = from.wrapping_add(done);
            (self.window.from, self.window.to) = (from, self.place.wrapping_add(done));
            self.sources.window(from, count as usize, &mut self.window.bytes)?;
            if self.open.is_none() {
                let to = self.start + self.rebuilt.bytes() + done;
                self.window.rewrite(self.map, from, to);
            } else {
                self.window.leave();
            }
            self.contents.code_match(&self.window, known, &mut self.rebuilt.material);
            done += count;
            self.go_on()?;
        }
        Ok(())
    }

    /// Notes a copy outside a stream; reads a copy within a stream.
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
            CopyFrom::Base { .. } | CopyFrom::Inflated => {
                let start = self.rebuilt.material.len();
                self.rebuilt.material.resize(start + bytes as usize, 0);
                self.sources.read(from, &mut self.rebuilt.material[start..])?;
            }
        }
        Ok(())
    }

    fn header(&mut self, like: Option<&Block>) {
        let given = self.take_known(HEADER_BYTES).first_chunk().copied().unwrap_or([0; HEADER_BYTES as usize]);
        let header = self.contents.code_header(&mut self.headers, like, &given);
        self.rebuilt.material.extend_from_slice(&header);
    }

    /// When encoding, the next bytes that a step makes; nothing when decoding.
    fn take_known(&mut self, bytes: u64) -> &'a [u8] {
        let (taken, rest) = self.known.split_at_checked(bytes as usize).unwrap_or((&[], self.known));
        self.known = rest;
        taken
    }
}

#[cfg(test)]
mod tests;
