//! Cuts steps into frames, and encodes frames.
//!
//! [`cut`] fills a frame until its load would exceed a limit of the format or its share of the patch. The load is an
//! estimate, so a payload can still turn out too long: [`encode_frames`] then splits the frame and encodes both parts.

use std::io;
use std::ops::Range;

use lighter_types::{Effort, broken};

use crate::compressed::recompress_work;
use crate::error::CodecError;
use crate::frame::{self, MATERIAL_BYTES_MAX, Style};
use crate::limits::{PAYLOAD_BYTES_MAX, TARGET_BYTES_MAX};
use crate::program::{INFLATED_MAX, Inflated, Program, STEPS_MAX, Step};

use super::steps::{From, Kind, Layers, Planned, Recompressed};

/// A frame as it goes into a patch.
pub struct EncodedFrame {
    pub target_bytes: u64,
    pub payload: Vec<u8>,
}

/// Frames are planned to this cost, so that few turn out too large for a payload.
const COST_MAX: u64 = PAYLOAD_BYTES_MAX as u64 * 7 / 8;

/// A receiver works on a frame while the next frames arrive. So no frame costs more than a fourth of the patch, unless
/// that is less than this. Measured on the corpus's pairs at the default effort: fourths make patches 0.5 % larger on
/// average (1.2 % at most), eighths 1.0 % (2.7 %).
const COST_SHARE_MIN: u64 = 64 << 10;

/// So many decoded bytes are worth a frame of their own, which another thread may decode. A frame has at most half as
/// much again.
const MATERIAL_SHARE_BYTES: u64 = 4 << 20;

/// Most new bytes of a frame. A decoder holds them twice while it decompresses them, beside their prefix. With 3 MiB,
/// the corpus's patch of the most new bytes is 1 % smaller, and takes 6 MiB more to apply.
const NEW_SHARE_BYTES: u64 = 7 << 18;

/// Recompressing takes long for few bytes. So that several threads share it, no frame has more than an eighth of its
/// work, unless that is less than this (about 10 ms).
const RECOMPRESS_SHARE_MIN: u64 = 1 << 20;

/// The load of a frame.
#[derive(Default)]
struct Load {
    bytes: u64,
    cost: u64,
    material: u64,
    new: u64,
    /// How long decoding takes, in bytes of material.
    work: u64,
    /// How much of that is recompressing.
    recompress: u64,
    inflated: u64,
    streams: usize,
    steps: usize,
}

impl Load {
    fn of(step: &Planned) -> Self {
        let mut load = Self { bytes: step.bytes, cost: step.cost, steps: 1, ..Self::default() };
        match &step.kind {
            Kind::Copy(From::Address(_) | From::Target(_)) => {}
            Kind::Stream(stream) => {
                let Recompressed { compression, plain, steps, .. } = &**stream;
                load.steps += steps.len();
                load.material = plain.len() as u64 + step.bytes;
                load.recompress = plain.len() as u64 * recompress_work(*compression);
                // A stream counts at every step that reads it: too often, but never too seldom.
                let mut streams: Vec<Inflated> = steps.iter().filter_map(inflated_source).collect();
                streams.sort_by_key(|stream| stream.from);
                streams.dedup();
                load.streams = streams.len();
                load.inflated = streams.iter().map(|stream| stream.plain_bytes.max(stream.bytes)).sum();
            }
            Kind::Copy(_)
            | Kind::Match(_)
            | Kind::New
            | Kind::Raw
            | Kind::Header(_)
            | Kind::NewHeader
            | Kind::Trailer => load.material = step.bytes,
        }
        load.new = new_bytes(step);
        load.work = load.material + load.recompress;
        load
    }

    fn add(&mut self, other: &Self) {
        self.bytes += other.bytes;
        self.cost += other.cost;
        self.material += other.material;
        self.new += other.new;
        self.work += other.work;
        self.recompress += other.recompress;
        self.inflated += other.inflated;
        self.streams += other.streams;
        self.steps += other.steps;
    }

    fn fits(&self, share: &Share) -> bool {
        self.work <= share.work
            && self.recompress <= share.recompress
            && self.cost <= share.cost
            && self.bytes <= u64::from(TARGET_BYTES_MAX)
            && self.material <= MATERIAL_SHARE_BYTES * 3 / 2
            && self.new <= NEW_SHARE_BYTES
            && self.inflated <= MATERIAL_BYTES_MAX
            && self.streams <= INFLATED_MAX
            && self.steps <= STEPS_MAX / 2
    }
}

/// The inflated source that a step reads, if it reads one.
fn inflated_source(step: &Planned) -> Option<Inflated> {
    if let Kind::Copy(From::Inflated { stream, .. }) | Kind::Match(From::Inflated { stream, .. }) = step.kind {
        Some(stream)
    } else {
        None
    }
}

fn new_bytes(step: &Planned) -> u64 {
    match &step.kind {
        Kind::New => step.bytes,
        Kind::Stream(stream) => stream.steps.iter().map(new_bytes).sum(),
        Kind::Copy(_) | Kind::Match(_) | Kind::Raw | Kind::Header(_) | Kind::NewHeader | Kind::Trailer => 0,
    }
}

/// The most that a frame of this patch may hold.
struct Share {
    work: u64,
    recompress: u64,
    cost: u64,
}

impl Share {
    fn of(all: &Load) -> Self {
        // As few frames as the limits allow, with about equal work.
        let count = all.cost.div_ceil(COST_MAX).max(all.material.div_ceil(MATERIAL_SHARE_BYTES)).max(1);
        Self {
            work: all.work.div_ceil(count) + 4096,
            recompress: (all.recompress / 8).max(RECOMPRESS_SHARE_MIN),
            cost: (all.cost / 4).clamp(COST_SHARE_MIN, COST_MAX),
        }
    }
}

/// Cuts steps into frames. Each frame keeps all limits, as far as they are known before encoding. A step that is too
/// large for a frame is cut.
pub fn cut(mut steps: Vec<Planned>) -> Vec<Vec<Planned>> {
    let mut all = Load::default();
    steps.iter().for_each(|step| all.add(&Load::of(step)));
    let share = Share::of(&all);
    let mut frames: Vec<Vec<Planned>> = Vec::new();
    let mut load = Load::default();
    // From the end, so that the memory of millions of steps shrinks as the frames grow.
    steps.reverse();
    while let Some(step) = steps.pop() {
        if steps.capacity() / 2 > steps.len().max(STEPS_MAX) {
            steps.shrink_to_fit();
        }
        let own = Load::of(&step);
        if !own.fits(&share)
            && let Some((first, second)) = halves(&step)
        {
            steps.push(second);
            steps.push(first);
            continue;
        }
        let mut sum = Load::default();
        sum.add(&load);
        sum.add(&own);
        match frames.last_mut() {
            Some(frame) if sum.fits(&share) => {
                frame.push(step);
                load = sum;
            }
            last => {
                if let Some(done) = last {
                    done.shrink_to_fit();
                }
                frames.push(vec![step]);
                load = own;
            }
        }
    }
    frames
}

/// The two halves of a step; `None` if the step cannot be cut.
fn halves(step: &Planned) -> Option<(Planned, Planned)> {
    step.split(step.bytes / 2)
}

/// Encodes a frame; the first one of a patch holds the moves. If its payload turns out too long, the result is two or
/// more frames.
///
/// # Errors
/// The error of a reader.
pub fn encode_frames(
    layers: &Layers<'_>,
    frame: &[Planned],
    is_first: bool,
    style: Style,
) -> Result<Vec<EncodedFrame>, CodecError> {
    let start = frame.first().map_or(0, |step| step.at);
    let range = start..start + frame.iter().map(|step| step.bytes).sum::<u64>();
    let (program, known) = assemble(layers, frame, &range).map_err(|source| CodecError::Target { source })?;
    let encode = |style| frame::encode(&program, &layers.bases, &range, &known, (&layers.map, is_first), style);
    let mut payload = encode(style)?;
    if style == Style::Full {
        // Bytes that repeat from far away are zstd's, and little content teaches a model little.
        let light = encode(super::style(Effort::Default))?;
        payload = if light.len() < payload.len() { light } else { payload };
    }
    if payload.len() <= PAYLOAD_BYTES_MAX as usize {
        return Ok(vec![EncodedFrame { target_bytes: range.end - range.start, payload }]);
    }
    let (first, second) = split(frame);
    let mut frames = encode_frames(layers, &first, is_first, style)?;
    frames.extend(encode_frames(layers, &second, false, style)?);
    Ok(frames)
}

/// Splits a frame into two parts of about the same cost. Neither part is empty.
fn split(frame: &[Planned]) -> (Vec<Planned>, Vec<Planned>) {
    if let [step] = frame {
        // A stream cannot be cut, but its bytes can.
        let plain = Planned { kind: Kind::Raw, ..step.clone() };
        let step = if matches!(step.kind, Kind::Stream(_)) { &plain } else { step };
        if let Some((first, second)) = halves(step) {
            return (vec![first], vec![second]);
        }
    }
    let total: u64 = frame.iter().map(|step| step.cost).sum();
    let mut sum = 0;
    let middle = frame.iter().take_while(|step| {
        sum += step.cost;
        sum <= total / 2
    });
    let middle = middle.count().clamp(1, frame.len().saturating_sub(1).max(1));
    (frame[..middle].to_vec(), frame[middle..].to_vec())
}

/// The program of a frame that makes the target's bytes at `range`, and the bytes that its steps make.
fn assemble(layers: &Layers<'_>, frame: &[Planned], range: &Range<u64>) -> io::Result<(Program, Vec<u8>)> {
    let target = layers.bases.iter().map(|base| base.len().0 + 1).sum();
    let end = target + range.end + 1;
    let mut assembly = Assembly { program: Program::default(), known: Vec::new(), target, end, ends: Vec::new() };
    // The stream of a trailer may be in the frame before; then the trailer is new bytes.
    let mut has_stream = false;
    for step in frame {
        match &step.kind {
            Kind::Stream(stream) => {
                let Recompressed { compression, plain, corrections, steps } = &**stream;
                let (compression, plain_bytes, corrections) = (*compression, plain.len() as u64, corrections.clone());
                assembly.program.steps.push(Step::Stream { compression, plain_bytes, corrections });
                for step in steps {
                    let content = &plain[step.at as usize..(step.at + step.bytes) as usize];
                    assembly.add(step, || Ok(content.to_vec()))?;
                }
                has_stream = true;
            }
            Kind::Trailer if !has_stream => {
                let step = Planned { kind: Kind::New, ..step.clone() };
                assembly.add(&step, || layers.read_target(step.at..step.at + step.bytes))?;
            }
            Kind::Copy(_)
            | Kind::Match(_)
            | Kind::New
            | Kind::Raw
            | Kind::Header(_)
            | Kind::NewHeader
            | Kind::Trailer => assembly.add(step, || layers.read_target(step.at..step.at + step.bytes))?,
        }
    }
    Ok((assembly.program, assembly.known))
}

struct Assembly {
    program: Program,
    known: Vec<u8>,
    /// Where the target begins in the address space.
    target: u64,
    /// Where the address space ends so far.
    end: u64,
    /// Where each inflated source begins.
    ends: Vec<u64>,
}

impl Assembly {
    fn add(&mut self, step: &Planned, content: impl FnOnce() -> io::Result<Vec<u8>>) -> io::Result<()> {
        let bytes = step.bytes;
        let done = match step.kind {
            Kind::Copy(from) => Step::Copy { from: self.address(from), bytes },
            Kind::Match(from) => Step::Match { from: self.address(from), bytes },
            Kind::New => Step::New { bytes },
            Kind::Raw => Step::Raw { bytes },
            Kind::Header(from) => Step::Header { from },
            Kind::NewHeader => Step::NewHeader,
            Kind::Trailer => Step::Trailer,
            Kind::Stream(_) => {
                broken("a stream within a stream");
                Step::Raw { bytes }
            }
        };
        if !matches!(done, Step::Copy { .. }) {
            self.known.extend(content()?);
        }
        self.program.steps.push(done);
        Ok(())
    }

    fn address(&mut self, from: From) -> u64 {
        match from {
            From::Address(address) => address,
            From::Target(offset) => self.target + offset,
            From::Inflated { stream, offset } => {
                let known = self.program.inflated.iter().position(|other| *other == stream);
                let index = known.unwrap_or_else(|| {
                    self.program.inflated.push(stream);
                    self.ends.push(self.end);
                    self.end += stream.plain_bytes + 1;
                    self.ends.len() - 1
                });
                self.ends[index] + offset
            }
        }
    }
}
