//! `lighter patch show`: the header of a patch, and its frames.

use std::path::Path;

use comfy_table::Table;
use lighter_patch::{Base, Frame};

use super::open_patch;
use crate::exit::Failure;
use crate::output::{Output, right, table};

/// The result of `patch show`.
#[derive(serde::Serialize)]
pub struct Shown {
    patch: String,
    settings: u32,
    target: String,
    target_bytes: u64,
    bases: Vec<ShownBase>,
    patch_bytes: u64,
    header_bytes: u64,
    frames: Vec<ShownFrame>,
}

#[derive(serde::Serialize)]
struct ShownBase {
    diff_id: String,
    bytes: u64,
}

#[derive(serde::Serialize)]
struct ShownFrame {
    codec: String,
    base: Option<u8>,
    target_offset: u64,
    target_bytes: u32,
    payload_offset: u64,
    payload_bytes: u32,
    payload_blake3: String,
}

/// Shows a patch; `text` is for people.
pub fn show(patch: &Path, text: fn(&Shown) -> String, output: &Output) -> Result<(), Failure> {
    let (header, _) = open_patch(patch)?;
    let shown = Shown {
        patch: header.id().to_string(),
        settings: header.settings_id(),
        target: header.target().to_string(),
        target_bytes: header.target_bytes().0,
        bases: header.bases().iter().map(shown_base).collect(),
        patch_bytes: header.patch_bytes().0,
        header_bytes: header.header_bytes().0,
        frames: header.frames().iter().map(shown_frame).collect(),
    };
    output.value(&shown, text)
}

fn shown_base(base: &Base) -> ShownBase {
    ShownBase { diff_id: base.diff_id.to_string(), bytes: base.bytes.0 }
}

fn shown_frame(frame: &Frame) -> ShownFrame {
    ShownFrame {
        codec: frame.codec.to_string(),
        base: frame.base,
        target_offset: frame.target_offset,
        target_bytes: frame.target_bytes,
        payload_offset: frame.payload_offset,
        payload_bytes: frame.payload_bytes,
        payload_blake3: frame.payload_hash.to_string(),
    }
}

/// The header, and a line for each codec.
pub fn summary(shown: &Shown) -> String {
    let mut lines = vec![
        format!("patch     {}", shown.patch),
        format!("size      {} bytes, {} of them header", shown.patch_bytes, shown.header_bytes),
        format!("target    {} of {} bytes", shown.target, shown.target_bytes),
        format!("settings  {:#010x}", shown.settings),
    ];
    lines.extend(shown.bases.iter().map(|base| format!("base      {} of {} bytes", base.diff_id, base.bytes)));
    lines.extend(codec_lines(&shown.frames));
    lines.join("\n")
}

/// The summary, and a row for each frame.
pub fn all(shown: &Shown) -> String {
    format!("{}\n{}", summary(shown), frame_table(&shown.frames))
}

/// A line for each codec: how many frames it has, and how much they hold. In the order in which codecs first appear.
fn codec_lines(frames: &[ShownFrame]) -> Vec<String> {
    let mut codecs: Vec<&str> = Vec::new();
    for frame in frames {
        if !codecs.contains(&frame.codec.as_str()) {
            codecs.push(&frame.codec);
        }
    }
    let mut lines = Vec::new();
    for codec in codecs {
        let (mut count, mut payload, mut target) = (0, 0, 0);
        for frame in frames.iter().filter(|frame| frame.codec == codec) {
            count += 1;
            payload += u64::from(frame.payload_bytes);
            target += u64::from(frame.target_bytes);
        }
        lines.push(format!("{codec:<9} {count} frames, {payload} bytes for {target} of target"));
    }
    lines
}

fn frame_table(frames: &[ShownFrame]) -> Table {
    let mut table = table(&["frame", "codec", "target offset", "target bytes", "payload bytes"]);
    for (index, frame) in frames.iter().enumerate() {
        table.add_row([
            right(index),
            frame.codec.clone().into(),
            right(frame.target_offset),
            right(frame.target_bytes),
            right(frame.payload_bytes),
        ]);
    }
    table
}
