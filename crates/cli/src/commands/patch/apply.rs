//! `lighter patch apply`: a target from a patch file and its bases.

use std::fs::File;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{channel, sync_channel};
use std::thread;
use std::time::Instant;

use lighter_node::FileBase;
use lighter_patch::Header;
use lighter_types::{DiffId, ReadAt};
use sha2::{Digest, Sha256};

use super::out::refuse_input;
use super::rebuild::PatchFile;
use super::{GET_AGAIN, Layer, have, open_patch, write_whole};
use crate::exit::{Failure, Kind};
use crate::output::Output;
use crate::progress::{Progress, duration};

/// Pieces of the target that may wait for being hashed, 256 KiB each.
const HASH_QUEUE: usize = 4;

/// The result of `patch apply`.
#[derive(serde::Serialize)]
struct Applied {
    out: String,
    target: String,
    target_bytes: u64,
    took_ms: u64,
}

pub fn apply(patch: &Path, bases: &[PathBuf], list: Option<&Path>, out: &Path, output: &Output) -> Result<(), Failure> {
    let started = Instant::now();
    refuse_input(out, bases.iter().map(PathBuf::as_path).chain(list).chain([patch]))?;
    let (header, file) = open_patch(patch)?;
    let patch = PatchFile { path: patch, file: &file, header: &header };
    let task = Task { patch, is_by_list: list.is_some(), out, output };
    let files = have::open_all(bases)?;
    let list = list.map(|path| Ok::<_, Failure>((path, have::read(path)?))).transpose()?;
    let gathered = list.as_ref().map(|(path, list)| have::gather((path, list), bases, &files)).transpose()?;
    let listed = list.as_ref().zip(gathered.as_ref()).map(|((_, list), files)| (list.id(), files as &dyn ReadAt));
    // The sha256 of the result proves the bases too. Hash them only to find out what went wrong.
    match by_length(&header, &files, listed) {
        Some(readers) => match task.run(&readers) {
            Err(failure) if failure.kind == Kind::BadData => {
                task.by_name(bases, listed)?;
                return Err(failure);
            }
            other => other?,
        },
        None => {
            let layers = task.by_name(bases, listed)?;
            task.run(&layers.iter().map(AsRef::as_ref).collect::<Vec<_>>())?;
        }
    }
    let applied = Applied {
        out: out.display().to_string(),
        target: header.target().to_string(),
        target_bytes: header.target_bytes().0,
        took_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    };
    output.done(&applied, format!("{} is {}, {}", applied.out, applied.target, duration(applied.took_ms)))
}

/// The base that a have-list stands for.
type ListedBase<'a> = (DiffId, &'a dyn ReadAt);

/// The header's bases among the files, if their lengths alone tell them apart. The base that a list stands for is known
/// by its id.
fn by_length<'a>(
    header: &Header,
    files: &'a [FileBase<File>],
    listed: Option<ListedBase<'a>>,
) -> Option<Vec<&'a dyn ReadAt>> {
    let mut readers: Vec<&dyn ReadAt> = Vec::new();
    for base in header.bases() {
        if let Some((_, reader)) = listed.filter(|(id, _)| *id == base.diff_id) {
            readers.push(reader);
            continue;
        }
        let mut fitting = files.iter().filter(|file| file.len() == base.bytes);
        let alike = header.bases().iter().filter(|other| other.bytes == base.bytes);
        readers.push(fitting.next().filter(|_| fitting.next().is_none() && alike.count() == 1)?);
    }
    Some(readers)
}

/// A patch to be applied.
struct Task<'a> {
    patch: PatchFile<'a>,
    /// One of its bases stands for a list of files.
    is_by_list: bool,
    out: &'a Path,
    output: &'a Output,
}

impl Task<'_> {
    /// The header's bases among the files by their sha256, and the base that a list stands for.
    fn by_name<'a>(
        &self,
        files: &[PathBuf],
        listed: Option<ListedBase<'a>>,
    ) -> Result<Vec<Box<dyn ReadAt + 'a>>, Failure> {
        let mut layers = Layer::open_all(&files.iter().map(PathBuf::as_path).collect::<Vec<_>>())?;
        let mut readers: Vec<Box<dyn ReadAt + 'a>> = Vec::new();
        for base in self.patch.header.bases() {
            if let Some((_, reader)) = listed.filter(|(id, _)| *id == base.diff_id) {
                readers.push(Box::new(reader));
                continue;
            }
            let found = layers.iter().position(|layer| layer.diff_id == base.diff_id);
            let layer = found.map(|index| layers.swap_remove(index)).ok_or_else(|| {
                let message = format!("the patch reads base {}, and no --base is that file", base.diff_id);
                let hint = "`lighter patch show` lists the bases; compare with sha256sum. One made with --have needs that list";
                Failure::new(Kind::Usage, message).hint(hint)
            })?;
            let held = layer.file.len();
            if held != base.bytes {
                // The file has the sha256 that the patch names, so the patch lies about the length.
                let (patch, said) = (self.patch.path.display(), base.bytes.0);
                let message = format!("{patch}: says that base {} has {said} bytes; it has {}", base.diff_id, held.0);
                return Err(Failure::new(Kind::BadData, message).hint(GET_AGAIN));
            }
            readers.push(Box::new(layer.file));
        }
        Ok(readers)
    }

    /// Writes the target. Another thread hashes it meanwhile.
    fn run(&self, bases: &[&dyn ReadAt]) -> Result<(), Failure> {
        let Self { patch, is_by_list, out, output } = self;
        let mut progress = Progress::new(output);
        write_whole(out, |target| {
            let found = thread::scope(|scope| {
                let (pieces, queue) = sync_channel::<Vec<u8>>(HASH_QUEUE);
                let (free, buffers) = channel();
                let hashing = scope.spawn(move || {
                    let mut hasher = Sha256::new();
                    for piece in queue {
                        hasher.update(&piece);
                        // Fails at the end, when no buffer is needed.
                        let _ = free.send(piece);
                    }
                    DiffId::new(hasher.finalize().into())
                });
                let mut done = 0;
                // `rebuild` writes by position, past the buffer, which stays empty.
                patch.rebuild(bases, (out, target.get_ref()), &mut |bytes| {
                    done += bytes.len() as u64;
                    progress.set("applying", done, patch.header.target_bytes().0, "");
                    // The hashing thread takes every piece.
                    let _ = pieces.send(bytes);
                    buffers.try_recv().unwrap_or_default()
                })?;
                drop(pieces);
                Ok::<_, Failure>(hashing.join().unwrap_or_else(|panic| resume_unwind(panic)))
            })?;
            if found != patch.header.target() {
                let (patch, target) = (patch.path.display(), patch.header.target());
                let message = format!("{patch}: the result has {found}, and the patch promised {target}");
                let hint = match is_by_list {
                    true => "the hashes of a list are short, or the patch is wrong: make it again without --have",
                    false => "the patch does not rebuild what it promises: get another one",
                };
                return Err(Failure::new(Kind::BadData, message).hint(hint));
            }
            Ok(())
        })
    }
}
