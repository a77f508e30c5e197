//! Puts the steps of a changed content in their places in the target, with the compressed streams of the content.

use std::io;

use crate::compressed::deflate;

use super::loading::Changed;
use super::steps::{From, Kind, Layers, Planned, Recompressed, STEP_COST, push};
use super::streams::{Form, Stream};

/// The steps of a content, from the steps of its parts, each counted from the start of the part. The first part is the
/// content without its streams (not of a gzip member); then follows a part for each stream.
///
/// # Errors
/// The error of a reader.
pub fn weave(
    layers: &Layers<'_>,
    changed: &Changed,
    parts: impl Iterator<Item = Vec<Planned>>,
) -> io::Result<Vec<Planned>> {
    let mut parts = parts;
    let mut steps = parts.next().unwrap_or_default();
    match &changed.form {
        Form::Plain => {
            steps.iter_mut().for_each(|step| step.at += changed.range.start);
            Ok(steps)
        }
        Form::Gzip(stream) => gzip(layers, changed, stream, steps),
        Form::Archive(streams) => Ok(archive(changed.range.start, steps, streams.iter().zip(parts))),
    }
}

/// The step that makes a stream, from the steps that make its content.
pub fn stream_step(stream: &Stream, steps: Vec<Planned>) -> Planned {
    let decompressed = &stream.decompressed;
    let cost = steps.iter().map(|step| step.cost).sum::<u64>() + decompressed.corrections.len() as u64 + STEP_COST;
    let kind = Kind::Stream(Box::new(Recompressed {
        compression: decompressed.compression,
        plain: decompressed.plain.clone(),
        corrections: decompressed.corrections.clone(),
        steps,
    }));
    Planned { kind, at: stream.at, bytes: decompressed.bytes as u64, cost }
}

fn gzip(layers: &Layers<'_>, changed: &Changed, stream: &Stream, steps: Vec<Planned>) -> io::Result<Vec<Planned>> {
    let mut out = Vec::new();
    let at = changed.range.start;
    let header = stream.at - at;
    let header_kind = match changed.old_address {
        Some((address, bytes)) if bytes >= header => Kind::Match(From::Address(address)),
        _ => Kind::New,
    };
    push(&mut out, Planned { kind: header_kind, at, bytes: header, cost: 4 });
    push(&mut out, stream_step(stream, steps));
    let mut end = stream.at + stream.decompressed.bytes as u64;
    let rest = layers.read_target(end..changed.range.end)?;
    let trailer = deflate::trailer(&stream.decompressed.plain);
    if rest.starts_with(&trailer) {
        push(&mut out, Planned { kind: Kind::Trailer, at: end, bytes: trailer.len() as u64, cost: 1 });
        end += trailer.len() as u64;
    }
    let bytes = changed.range.end - end;
    push(&mut out, Planned { kind: Kind::New, at: end, bytes, cost: bytes / 64 + STEP_COST });
    Ok(out)
}

/// Puts the streams, in their order, between the steps of an archive without its streams.
fn archive<'a>(
    start: u64,
    steps: Vec<Planned>,
    streams: impl Iterator<Item = (&'a Stream, Vec<Planned>)>,
) -> Vec<Planned> {
    let mut out = Vec::new();
    let mut at = start;
    let mut put = |mut step: Planned| {
        step.at = at;
        at += step.bytes;
        push(&mut out, step);
        at
    };
    let mut waiting: Vec<Planned> = steps.into_iter().rev().collect();
    let mut end = start;
    for (stream, steps) in streams {
        while end < stream.at
            && let Some(step) = waiting.pop()
        {
            let step = match step.split(stream.at - end) {
                Some((first, second)) => {
                    waiting.push(second);
                    first
                }
                None => step,
            };
            end = put(step);
        }
        end = put(stream_step(stream, steps));
    }
    for step in waiting.into_iter().rev() {
        put(step);
    }
    out
}
