//! `lighter patch`: patches on plain files, with no node.

mod apply;
mod create;
mod have;
mod line;
mod rebuild;

use std::fs::File;
use std::io::{BufReader, BufWriter, Read};
use std::os::unix::fs::FileExt;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

use lighter_node::FileBase;
use lighter_patch::{ApplyError, ExportError, Frame, Header, HeaderError, Source, codec_names, export_vcdiff};
use lighter_types::{Blame, DiffId};
use lighter_vcdiff::{Limits, decode_vcdiff};
use sha2::{Digest, Sha256};

use crate::args::PatchCommand;
use crate::exit::{Code, Failure};
use crate::output::{Output, right, table};

/// The hint for a patch that this program cannot read or apply.
const VERSION_HINT: &str = "another version of lighter made the patch: update the older program, or make it again";

pub fn run(command: PatchCommand, output: &Output) -> Result<(), Failure> {
    match command {
        PatchCommand::Create(args) => create::create(&args, output),
        PatchCommand::Have { base, out } => have::have(&base, &out, output),
        PatchCommand::Apply { patch, base, have, out } => apply::apply(&patch, &base, have.as_deref(), &out, output),
        PatchCommand::Show { patch, frames } => show(&patch, frames, output),
        PatchCommand::Export { patch, vcdiff: _, out } => export(&patch, &out, output),
        PatchCommand::Import { vcdiff, base, out } => import(&vcdiff, &base, &out),
    }
}

/// A file with its name as a layer.
struct Layer {
    diff_id: DiffId,
    file: FileBase<File>,
}

impl Layer {
    /// Opens all of them, and hashes them at the same time.
    fn open_all(paths: &[&Path]) -> Result<Vec<Self>, Failure> {
        thread::scope(|scope| {
            let open: Vec<_> = paths.iter().map(|&path| scope.spawn(move || Self::open(path))).collect();
            open.into_iter().map(|layer| layer.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
        })
    }

    fn open(path: &Path) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::file("read", path, &error);
        let mut file = File::open(path).map_err(failed)?;
        let diff_id = sha256(&mut file).map_err(failed)?;
        Ok(Self { diff_id, file: FileBase::new(file).map_err(failed)? })
    }

    fn source(&self) -> Source<'_> {
        Source { diff_id: self.diff_id, bytes: &self.file }
    }
}

fn sha256(file: &mut File) -> std::io::Result<DiffId> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(DiffId::new(hasher.finalize().into())),
            count => hasher.update(&buffer[..count]),
        }
    }
}

/// Writes a file so that it is there whole or not at all, also when this process is killed. As other tools do, it leaves
/// to the system when the bytes reach the disk.
pub(super) fn write_whole(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::file("write", path, &error);
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    let partial = PathBuf::from(name);
    let created = File::options().read(true).write(true).create(true).truncate(true).open(&partial);
    let mut file = BufWriter::with_capacity(1 << 20, created.map_err(failed)?);
    let written = write(&mut file).and_then(|()| {
        let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
        drop(file);
        std::fs::rename(&partial, path).map_err(failed)
    });
    if written.is_err() {
        // What went wrong first is what is told.
        let _ = std::fs::remove_file(&partial);
    }
    written
}

/// A patch file: its header, and the file behind it.
fn open_patch(path: &Path) -> Result<(Header, File), Failure> {
    let file = File::open(path).map_err(|error| Failure::file("read", path, &error))?;
    let mut file = BufReader::with_capacity(1 << 20, file);
    let header = Header::read_from(&mut file).map_err(|error| {
        if let HeaderError::Read(source) = &error
            && source.kind() == std::io::ErrorKind::UnexpectedEof
        {
            let message = format!("{} ends within its header: it was cut short", path.display());
            return Failure::new(Code::BadData, message).hint("get the patch again");
        }
        let code = if error.blame() == Blame::Machine { Code::Machine } else { Code::BadData };
        let failure = Failure::new(code, format!("{}: {}", path.display(), lighter_node::error_chain(&error)));
        if error.blame() == Blame::Version { failure.hint(VERSION_HINT) } else { failure }
    })?;
    Ok((header, file.into_inner()))
}

fn apply_failure(patch: &Path, error: &ApplyError) -> Failure {
    let message = format!("{}: {}", patch.display(), lighter_node::error_chain(error));
    match error.blame() {
        Blame::Peer => Failure::new(Code::BadData, message).hint("the patch is damaged: get it again"),
        Blame::Version => Failure::new(Code::BadData, message).hint(VERSION_HINT),
        Blame::Caller => Failure::new(Code::Usage, message),
        Blame::Machine | Blame::Bug => Failure::new(Code::Machine, message),
    }
}

/// What `patch show` prints.
#[derive(serde::Serialize)]
struct Shown {
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

fn show(patch: &Path, with_frames: bool, output: &Output) -> Result<(), Failure> {
    let (header, _) = open_patch(patch)?;
    let frame = |frame: &Frame| ShownFrame {
        codec: frame.codec.to_string(),
        base: frame.base,
        target_offset: frame.target_offset,
        target_bytes: frame.target_bytes,
        payload_offset: frame.payload_offset,
        payload_bytes: frame.payload_bytes,
        payload_blake3: frame.payload_hash.to_string(),
    };
    let base = |base: &lighter_patch::Base| ShownBase { diff_id: base.diff_id.to_string(), bytes: base.bytes.0 };
    let shown = Shown {
        patch: header.id().to_string(),
        settings: header.settings_id(),
        target: header.target().to_string(),
        target_bytes: header.target_bytes().0,
        bases: header.bases().iter().map(base).collect(),
        patch_bytes: header.patch_bytes().0,
        header_bytes: header.header_bytes().0,
        frames: header.frames().iter().map(frame).collect(),
    };
    output.value(&shown, |shown| shown_text(shown, with_frames))
}

fn shown_text(shown: &Shown, with_frames: bool) -> String {
    let mut lines = vec![
        format!("patch     {}", shown.patch),
        format!("size      {} bytes, {} of them header", shown.patch_bytes, shown.header_bytes),
        format!("target    {} of {} bytes", shown.target, shown.target_bytes),
        format!("settings  {:#010x}", shown.settings),
    ];
    lines.extend(shown.bases.iter().map(|base| format!("base      {} of {} bytes", base.diff_id, base.bytes)));
    for codec in codec_names() {
        let of: Vec<&ShownFrame> = shown.frames.iter().filter(|frame| frame.codec == codec).collect();
        if !of.is_empty() {
            let payload: u64 = of.iter().map(|frame| u64::from(frame.payload_bytes)).sum();
            let target: u64 = of.iter().map(|frame| u64::from(frame.target_bytes)).sum();
            lines.push(format!("{codec:<9} {} frames, {payload} bytes for {target} of target", of.len()));
        }
    }
    if with_frames {
        let mut table = table(&["frame", "codec", "target offset", "target bytes", "payload bytes"]);
        for (index, frame) in shown.frames.iter().enumerate() {
            table.add_row([
                right(index),
                frame.codec.clone().into(),
                right(frame.target_offset),
                right(frame.target_bytes),
                right(frame.payload_bytes),
            ]);
        }
        lines.push(table.to_string());
    }
    lines.join("\n")
}

fn export(patch: &Path, out: &Path, output: &Output) -> Result<(), Failure> {
    let (header, file) = open_patch(patch)?;
    write_whole(out, |vcdiff| {
        let mut read = |frame: &Frame| {
            let mut payload = vec![0; frame.payload_bytes as usize];
            file.read_exact_at(&mut payload, frame.payload_offset).map(|()| payload)
        };
        export_vcdiff(&header, &mut read, vcdiff).map_err(|error| {
            let failure = vcdiff_failure(patch, &error, error.blame());
            match error {
                ExportError::NotVcdiff { .. } => failure.hint("make it again with `patch create --vcdiff`"),
                _ => failure,
            }
        })
    })?;
    match header.bases().first() {
        Some(base) => output.say(format!(
            "decode it with: xdelta3 -d -s BASE {} TARGET, BASE being {}",
            out.display(),
            base.diff_id
        )),
        None => output.say(format!("decode it with: xdelta3 -d {} TARGET", out.display())),
    }
    Ok(())
}

fn import(path: &Path, base: &Path, out: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::file("read", path, &error);
    let mut input = BufReader::with_capacity(1 << 20, File::open(path).map_err(failed)?);
    let base_file = File::open(base).map_err(|error| Failure::file("read", base, &error))?;
    let base_file = FileBase::new(base_file).map_err(|error| Failure::file("read", base, &error))?;
    write_whole(out, |target| {
        decode_vcdiff(&mut input, &base_file, target, Limits::default())
            .map(|_| ())
            .map_err(|error| vcdiff_failure(path, &error, error.blame()))
    })
}

fn vcdiff_failure(path: &Path, error: &dyn std::error::Error, blame: Blame) -> Failure {
    let code = match blame {
        Blame::Peer | Blame::Version => Code::BadData,
        Blame::Caller => Code::Usage,
        Blame::Machine | Blame::Bug => Code::Machine,
    };
    Failure::new(code, format!("{}: {}", path.display(), lighter_node::error_chain(error)))
}
