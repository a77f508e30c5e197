//! A folder for temporary files. Dropping the value removes the folder.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use lighter_types::Bytes;
use tempfile::TempDir;

use super::pairs::Pair;
use super::tools::{Files, Peers};
use crate::exit::{Failure, Kind};

/// Room for the messages of tools, and for the file system itself.
const SPARE_BYTES: u64 = 16 << 20;

pub struct Workspace(TempDir);

impl Workspace {
    /// A new folder in `TMPDIR`, if it has room for the files of any one of the pairs, and for stores and trees of
    /// peers if there are any.
    pub fn create(pairs: &[Pair], peers: &Peers) -> Result<Self, Failure> {
        let parent = std::env::temp_dir();
        let folder = tempfile::Builder::new().prefix("lighter-bench-").tempdir_in(&parent);
        let folder = folder.map_err(|error| folder_failure(&parent, &error))?;
        let wanted = Bytes(pairs.iter().map(|pair| room(pair, peers)).max().unwrap_or(0));
        let disk = rustix::fs::statvfs(folder.path()).map_err(|error| folder_failure(&parent, &error.into()))?;
        let free = Bytes(disk.f_bavail.saturating_mul(disk.f_frsize));
        if free < wanted {
            let message = format!("{} has {free} free, and the largest pair takes {wanted} there", parent.display());
            return Err(Failure::new(Kind::Machine, message).hint(HINT));
        }
        Ok(Self(folder))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The files of a pair. Reads target and bases, so that the first tool does not pay for a cold disk, and joins
    /// several bases into one.
    pub fn files<'a>(&self, pair: &'a Pair) -> Result<Files<'a>, Failure> {
        copy(&pair.target, &mut io::sink())?;
        let joined_base = match pair.bases.as_slice() {
            [base] => {
                copy(base, &mut io::sink())?;
                base.clone()
            }
            bases => {
                let joined = self.path("bases");
                let mut file = File::create(&joined).map_err(|error| Failure::file("write", &joined, &error))?;
                bases.iter().try_for_each(|base| copy(base, &mut file))?;
                joined
            }
        };
        let (patch, rebuilt, scratch) = (self.path("patch"), self.path("rebuilt"), self.path("scratch"));
        Ok(Files { pair, joined_base, patch, rebuilt, scratch })
    }

    /// Removes what a turn left, and makes its folder anew.
    pub fn clear(&self, files: &Files<'_>) -> Result<(), Failure> {
        for file in [&files.patch, &files.rebuilt] {
            // The turn before usually left them. The first has none.
            let _ = std::fs::remove_file(file);
        }
        match std::fs::remove_dir_all(&files.scratch) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => std::fs::create_dir(&files.scratch),
        }
        .map_err(|error| folder_failure(&files.scratch, &error))
    }
}

const HINT: &str = "the environment variable TMPDIR names another folder for temporary files";

fn folder_failure(parent: &Path, error: &io::Error) -> Failure {
    Failure::file("make a folder in", parent, error).hint(HINT)
}

/// Bytes for a patch as large as its target, the rebuilt target, and the joined bases. For peers, twice both: OSTree
/// has a store with both trees at each end.
fn room(pair: &Pair, peers: &Peers) -> u64 {
    let joined = if pair.bases.len() > 1 { pair.base_bytes.0 } else { 0 };
    let own = pair.target_bytes.0.saturating_mul(2).saturating_add(joined).saturating_add(SPARE_BYTES);
    let both = pair.target_bytes.0.saturating_add(pair.base_bytes.0);
    if peers.tools.is_empty() { own } else { own.saturating_add(both.saturating_mul(2)) }
}

fn copy(path: &Path, out: &mut dyn io::Write) -> Result<(), Failure> {
    let copied = File::open(path).and_then(|mut file| io::copy(&mut file, out));
    copied.map(|_| ()).map_err(|error| Failure::file("copy", path, &error))
}

/// Whether two files have the same bytes.
pub fn are_equal(one: &Path, other: &Path) -> Result<bool, Failure> {
    let mut left = File::open(one).map_err(|error| Failure::file("read", one, &error))?;
    let mut right = File::open(other).map_err(|error| Failure::file("read", other, &error))?;
    let (mut left_bytes, mut right_bytes) = (Vec::new(), Vec::new());
    loop {
        fill(&mut left, &mut left_bytes).map_err(|error| Failure::file("read", one, &error))?;
        fill(&mut right, &mut right_bytes).map_err(|error| Failure::file("read", other, &error))?;
        if left_bytes != right_bytes || left_bytes.is_empty() {
            return Ok(left_bytes == right_bytes);
        }
    }
}

/// The next MiB of a file, or what is left of it.
fn fill(file: &mut File, buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.clear();
    file.take(1 << 20).read_to_end(buffer).map(|_| ())
}
