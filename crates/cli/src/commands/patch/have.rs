//! `lighter patch have`: writes a list of the files of layers; and the lists that other commands read.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::thread;

use lighter_node::FileBase;
use lighter_patch::{Gathered, HAVE_LIST_BYTES_MAX, HaveList};
use lighter_types::ReadAt;

use super::out::refuse_input;
use super::write_whole;
use crate::exit::{Failure, Kind};
use crate::output::Output;

/// The result of `patch have`.
#[derive(serde::Serialize)]
struct Listed {
    list: String,
    files: usize,
    list_bytes: usize,
}

pub fn have(bases: &[PathBuf], out: &Path, output: &Output) -> Result<(), Failure> {
    refuse_input(out, bases.iter().map(PathBuf::as_path))?;
    let files = open_all(bases)?;
    let list = HaveList::of(&readers(&files), threads()).map_err(|error| unreadable(bases, &error))?;
    let bytes = list.encode();
    write_whole(out, |file| file.write_all(&bytes).map_err(|error| Failure::file("write", out, &error)))?;
    let listed = Listed { list: list.id().to_string(), files: list.files(), list_bytes: bytes.len() };
    output.value(&listed, |listed| format!("{} files, a list of {} bytes", listed.files, listed.list_bytes))
}

/// Reads a list.
pub fn read(path: &Path) -> Result<HaveList, Failure> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(HAVE_LIST_BYTES_MAX as u64 + 1).read_to_end(&mut bytes));
    read.map_err(|error| Failure::file("read", path, &error))?;
    HaveList::decode(&bytes).map_err(|error| {
        let message = format!("{}: {}", path.display(), lighter_types::error_chain(&error));
        Failure::new(Kind::BadData, message).hint("make the list with `lighter patch have`")
    })
}

/// The base that a list stands for, from the layers that it was made of.
pub fn gather<'a>(
    (path, list): (&Path, &HaveList),
    bases: &[PathBuf],
    files: &'a [FileBase<File>],
) -> Result<Gathered<'a>, Failure> {
    let gathered = list.gather(&readers(files), threads()).map_err(|error| unreadable(bases, &error))?;
    let missing = list.files() - gathered.found();
    if missing > 0 {
        let message = format!("{missing} of the {} files of {} are in no --base", list.files(), path.display());
        return Err(Failure::new(Kind::Usage, message).hint("name every layer that the list was made of"));
    }
    Ok(gathered)
}

pub fn open(path: &Path) -> Result<FileBase<File>, Failure> {
    File::open(path).and_then(FileBase::new).map_err(|error| Failure::file("read", path, &error))
}

pub fn open_all(paths: &[PathBuf]) -> Result<Vec<FileBase<File>>, Failure> {
    paths.iter().map(|path| open(path)).collect()
}

fn readers(files: &[FileBase<File>]) -> Vec<&dyn ReadAt> {
    files.iter().map(|file| file as &dyn ReadAt).collect()
}

pub fn threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn unreadable(paths: &[PathBuf], error: &std::io::Error) -> Failure {
    let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    Failure::new(Kind::Machine, format!("cannot read {}: {error}", names.join(" or ")))
}
