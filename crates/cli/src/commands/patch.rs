//! `lighter patch`: patches on plain files, with no node.

mod apply;
mod create;
mod have;
mod line;
mod out;
mod rebuild;
mod show;
mod vcdiff;

use std::fs::File;
use std::io::{BufReader, Read};
use std::panic::resume_unwind;
use std::path::Path;
use std::thread;

use lighter_node::FileBase;
use lighter_patch::{ApplyError, EncodeError, Header, HeaderError, Source};
use lighter_types::{Blame, DiffId};
use sha2::{Digest, Sha256};

pub(super) use self::out::{refuse_input, write_whole};

use crate::args::PatchCommand;
use crate::exit::{Failure, Kind};
use crate::output::Output;

/// The hint for a damaged patch file.
const GET_AGAIN: &str = "get the patch again";
/// The hint for a defect of this program.
pub const REPORT_BUG: &str = "please report this bug";

pub fn run(command: PatchCommand, output: &Output) -> Result<(), Failure> {
    match command {
        PatchCommand::Create(args) => create::create(&args, output),
        PatchCommand::Have { base, out } => have::have(&base, &out, output),
        PatchCommand::Apply { patch, base, have, out } => apply::apply(&patch, &base, have.as_deref(), &out, output),
        PatchCommand::Show { patch, frames: false } => show::show(&patch, show::summary, output),
        PatchCommand::Show { patch, frames: true } => show::show(&patch, show::all, output),
        PatchCommand::Export { patch, vcdiff: _, out } => vcdiff::export(&patch, &out, output),
        PatchCommand::Import { vcdiff, base, out } => vcdiff::import(&vcdiff, &base, &out, output),
    }
}

/// A file and its DiffId.
struct Layer {
    diff_id: DiffId,
    file: FileBase<File>,
}

impl Layer {
    /// Opens and hashes all of them at the same time.
    fn open_all(paths: &[&Path]) -> Result<Vec<Self>, Failure> {
        thread::scope(|scope| {
            let open: Vec<_> = paths.iter().map(|&path| scope.spawn(move || Self::open(path))).collect();
            open.into_iter().map(|layer| layer.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
        })
    }

    fn open(path: &Path) -> Result<Self, Failure> {
        Self::read(path).map_err(|error| Failure::file("read", path, &error))
    }

    fn read(path: &Path) -> std::io::Result<Self> {
        let mut file = File::open(path)?;
        let diff_id = sha256(&mut file)?;
        Ok(Self { diff_id, file: FileBase::new(file)? })
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

/// A patch file: its header, and the file behind it.
fn open_patch(path: &Path) -> Result<(Header, File), Failure> {
    let file = File::open(path).map_err(|error| Failure::file("read", path, &error))?;
    let mut file = BufReader::with_capacity(1 << 20, file);
    let header = Header::read_from(&mut file).map_err(|error| {
        if let HeaderError::Read(source) = &error
            && source.kind() == std::io::ErrorKind::UnexpectedEof
        {
            let message = format!("{} ends within its header: it was cut short", path.display());
            return Failure::new(Kind::BadData, message).hint(GET_AGAIN);
        }
        patch_failure(path, error.blame(), &error)
    })?;
    let file = file.into_inner();
    let bytes = file.metadata().map_err(|error| Failure::file("read", path, &error))?.len();
    let more = bytes.saturating_sub(header.patch_bytes().0);
    if more > 0 {
        let message = format!("{} has {more} bytes behind the end of its patch", path.display());
        return Err(Failure::new(Kind::BadData, message).hint(GET_AGAIN));
    }
    Ok((header, file))
}

/// A patch that cannot be read or applied.
fn patch_failure(patch: &Path, blame: Blame, error: &dyn std::error::Error) -> Failure {
    let message = format!("{}: {}", patch.display(), lighter_types::error_chain(error));
    match blame {
        Blame::Peer => Failure::new(Kind::BadData, message).hint(GET_AGAIN),
        Blame::Version => Failure::new(Kind::BadData, message)
            .hint("another version of lighter made the patch: update the older of the two, and make the patch again"),
        Blame::Caller => Failure::new(Kind::Usage, message),
        Blame::Machine => Failure::new(Kind::Machine, message),
        Blame::Bug => Failure::new(Kind::Other, message).hint(REPORT_BUG),
    }
}

fn apply_failure(patch: &Path, error: &ApplyError) -> Failure {
    patch_failure(patch, error.blame(), error)
}

/// A patch that cannot be made.
pub(super) fn encode_failure(error: &EncodeError) -> Failure {
    match error.blame() {
        Blame::Caller => Failure::from_error(Kind::Usage, error),
        Blame::Peer | Blame::Version | Blame::Machine => Failure::from_error(Kind::Machine, error),
        Blame::Bug => Failure::from_error(Kind::Other, error).hint(REPORT_BUG),
    }
}
