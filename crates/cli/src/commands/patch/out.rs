//! The output file of a command: no input, there whole or not at all; a device or a pipe stays what it is.

use std::fs::{self, File};
use std::io::{self, BufWriter, IntoInnerError, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tempfile::SpooledTempFile;

use crate::exit::{Failure, Kind};

/// Refuses an output that is one of the inputs, under whatever name.
pub fn refuse_input<'a>(out: &Path, inputs: impl IntoIterator<Item = &'a Path>) -> Result<(), Failure> {
    let Ok(found) = fs::metadata(out) else { return Ok(()) };
    for input in inputs {
        // An input that cannot be looked at fails when it is opened.
        if fs::metadata(input).is_ok_and(|input| (input.dev(), input.ino()) == (found.dev(), found.ino())) {
            let message = format!("{} is an input, and would be overwritten", out.display());
            return Err(Failure::new(Kind::Usage, message).hint("name another file with --out"));
        }
    }
    Ok(())
}

/// Writes a file so that it is there whole or not at all, also when this process is killed. Like other tools, it leaves
/// to the system when the bytes reach the disk. A link stays a link, and the file that it names is written. A device, a
/// pipe or a socket gets the bytes when all of them are made.
pub fn write_whole(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let unwritable = |error: io::Error| Failure::file("write", path, &error);
    if fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        let held = tempfile::tempfile().map_err(|error| unheld(path, &error))?;
        let mut file = BufWriter::with_capacity(1 << 20, held);
        write(&mut file).map_err(|failure| match failure.kind {
            Kind::DiskFull => unheld(path, &io::ErrorKind::StorageFull.into()),
            _ => failure,
        })?;
        return copy_into(file, path).map_err(unwritable);
    }
    let place = behind_links(path);
    let mut name = place.as_os_str().to_owned();
    name.push(".partial");
    let partial = PathBuf::from(name);
    let created = File::options().read(true).write(true).create(true).truncate(true).open(&partial);
    let mut file = BufWriter::with_capacity(1 << 20, created.map_err(unwritable)?);
    let written = write(&mut file).and_then(|()| put_in_place(file, &partial, &place).map_err(unwritable));
    if written.is_err() {
        // The first failure is the one to report.
        let _ = fs::remove_file(&partial);
    }
    written
}

/// The bytes for a device or a pipe cannot be held until all of them are made.
fn unheld(path: &Path, error: &io::Error) -> Failure {
    let folder = std::env::temp_dir();
    let message = format!("cannot hold the bytes for {} in {}: {error}", path.display(), folder.display());
    let kind = if error.kind() == io::ErrorKind::StorageFull { Kind::DiskFull } else { Kind::Machine };
    Failure::new(kind, message).hint("they are held until all are made: name a folder with room for them in TMPDIR")
}

/// So many bytes are held in memory.
const HELD_BYTES_MAX: usize = 16 << 20;

/// A file without a name for bytes that are not the output yet: in memory while they are few, then on the disk of the
/// output; on that of temporary files, if the output is a device or a pipe.
pub fn spool(path: &Path) -> SpooledTempFile {
    let place = behind_links(path);
    let is_file = fs::metadata(&place).map_or(true, |found| found.is_file());
    let folder = place.parent().filter(|_| is_file).map(|folder| match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    });
    match folder {
        Some(folder) => tempfile::spooled_tempfile_in(HELD_BYTES_MAX, folder),
        None => tempfile::spooled_tempfile(HELD_BYTES_MAX),
    }
}

/// The path that a link names, whether it is there or not.
fn behind_links(path: &Path) -> PathBuf {
    match (fs::canonicalize(path), fs::read_link(path)) {
        (Ok(place), Ok(_)) => place,
        (Err(_), Ok(named)) => path.parent().map_or_else(|| named.clone(), |folder| folder.join(&named)),
        (_, Err(_)) => path.to_owned(),
    }
}

/// Flushes and closes the file, and gives it its final name.
fn put_in_place(file: BufWriter<File>, partial: &Path, path: &Path) -> io::Result<()> {
    drop(file.into_inner().map_err(IntoInnerError::into_error)?);
    fs::rename(partial, path)
}

fn copy_into(file: BufWriter<File>, path: &Path) -> io::Result<()> {
    let mut file = file.into_inner().map_err(IntoInnerError::into_error)?;
    file.rewind()?;
    io::copy(&mut file, &mut File::options().write(true).open(path)?)?;
    Ok(())
}
