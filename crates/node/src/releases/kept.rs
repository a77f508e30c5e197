//! The files with what was seen: one for each name and for each handover, in a folder beside the store.
//!
//! A file is its mark, a byte for a release that says whether its date was checked, and the signed record. The record
//! vouches for itself: a file whose signature does not hold is damaged, or somebody wrote it, and counts as absent.
//! Each file is written beside its name and renamed, so a power cut leaves the old one or the new one.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use lighter_types::{ImageReference, PeerId};
use lighter_wire::{Handover, Message, SignedHandover, SignedRelease};
use sha2::{Digest, Sha256};

use super::{KEPT_MAX, Seen, check_signatures};
use crate::identity::is_handed_over;

/// The folder in the node's data folder.
pub const FOLDER: &str = "releases";
/// Begins the file of a release, and that of a handover.
const SEEN_MAGIC: &[u8; 8] = b"LTRSEEN1";
const HANDOVER_MAGIC: &[u8; 8] = b"LTRHAND1";
/// Other users of the machine may not read what this node runs.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

type Kept = (BTreeMap<ImageReference, Seen>, BTreeMap<(String, PeerId), SignedHandover>);

/// Reads the folder. A file that cannot be read is logged and left.
pub fn read(folder: &Path) -> Kept {
    let mut kept = Kept::default();
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return kept,
        Err(error) => {
            tracing::error!(%error, "the newest releases that were seen cannot be read: older ones would count");
            return kept;
        }
    };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort_unstable();
    for path in paths.into_iter().take(2 * KEPT_MAX) {
        if path.extension().is_some_and(|extension| extension == "new") {
            // A power cut left it before it had its name.
            let _ = fs::remove_file(&path);
            continue;
        }
        let is_read = fs::read(&path).is_ok_and(|bytes| take(&mut kept, &bytes));
        if !is_read {
            tracing::error!(path = %path.display(), "a file of the releases that were seen is damaged and does not count");
        }
    }
    kept
}

/// Takes in one file; false if it is damaged.
fn take(kept: &mut Kept, bytes: &[u8]) -> bool {
    if let Some((is_checked, record)) = bytes.strip_prefix(SEEN_MAGIC).and_then(<[u8]>::split_first) {
        let release = SignedRelease::decode(record).ok().filter(|release| check_signatures(release).is_ok());
        let Some(release) = release.filter(|_| *is_checked <= 1) else { return false };
        kept.0.insert(release.release.reference.clone(), Seen { release, is_checked: *is_checked == 1 });
        return true;
    }
    let record = bytes.strip_prefix(HANDOVER_MAGIC).and_then(|record| SignedHandover::decode(record).ok());
    let Some(signed) = record.filter(is_handed_over) else { return false };
    kept.1.insert((signed.handover.repository.clone(), signed.handover.from), signed);
    true
}

/// # Errors
/// If the disk fails.
pub fn write_seen(folder: &Path, seen: &Seen) -> io::Result<()> {
    let record = seen.release.encode().map_err(io::Error::other)?;
    let bytes = [&SEEN_MAGIC[..], &[u8::from(seen.is_checked)], &record].concat();
    write(folder, &seen_path(folder, &seen.release.release.reference), &bytes)
}

/// # Errors
/// If the disk fails.
pub fn write_handover(folder: &Path, signed: &SignedHandover) -> io::Result<()> {
    let record = signed.encode().map_err(io::Error::other)?;
    write(folder, &handover_path(folder, &signed.handover), &[&HANDOVER_MAGIC[..], &record].concat())
}

/// # Errors
/// If the disk fails.
pub fn remove_seen(folder: &Path, reference: &ImageReference) -> io::Result<()> {
    remove(folder, &seen_path(folder, reference))
}

/// # Errors
/// If the disk fails.
pub fn remove_handover(folder: &Path, handover: &Handover) -> io::Result<()> {
    remove(folder, &handover_path(folder, handover))
}

fn seen_path(folder: &Path, reference: &ImageReference) -> PathBuf {
    named(folder, &[reference.as_str().as_bytes()], "seen")
}

fn handover_path(folder: &Path, handover: &Handover) -> PathBuf {
    named(folder, &[handover.from.as_bytes(), handover.repository.as_bytes()], "handover")
}

/// The file of a name, which may be longer than file names can be.
fn named(folder: &Path, parts: &[&[u8]], extension: &str) -> PathBuf {
    let digest: [u8; 32] = Sha256::digest(parts.concat()).into();
    let name: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    folder.join(name).with_extension(extension)
}

fn write(folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)?;
    let new = path.with_added_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(folder)?.sync_all()
}

fn remove(folder: &Path, path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => File::open(folder)?.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
