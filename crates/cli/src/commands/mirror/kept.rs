//! A configuration file that `mirror` changes, what stood there before, and a note of the change.
//!
//! Beside FILE stand two more: `FILE.before-lighter` has the bytes that were there, if there were any, and
//! `FILE.lighter.json` is the note: endpoint, registries and the sha256 of what was written. Every later change starts
//! from the bytes of before, so that a second `install` does not pile up and `remove` gives back exactly what was
//! there. A file that has another sha256 than the note says was changed by somebody else, and is left alone.
//!
//! Each file is written under another name, synced and renamed. `install` writes the bytes of before, then the note,
//! then the file; `remove` goes the other way. So a power cut leaves a file that is as before or as the note says, and
//! the next command goes on from there.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::args::{Endpoint, RegistryHost};
use crate::exit::{Failure, Kind};

/// The version of the note (docs/VERSIONS.md).
const NOTE_VERSION: u32 = 1;
/// No runtime has a configuration of this size.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// The mode of a file that is new: any user's podman reads it.
const MODE: u32 = 0o644;

/// The note of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    version: u32,
    endpoint: String,
    /// `*` for all.
    registries: Vec<String>,
    /// `sha256:...` of the file.
    written: String,
    /// Whether there was a file before.
    had_file: bool,
    /// The folders that were made for it, the outermost first.
    folders: Vec<PathBuf>,
}

/// The author of what stands in the file now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    /// Not `mirror`: it has no note, or undid its change.
    Others,
    /// `mirror`, and nobody since.
    Lighter,
    /// Somebody, after `mirror` did.
    ChangedSince,
}

/// A file as it was found.
#[derive(Debug)]
pub struct KeptFile {
    pub path: PathBuf,
    pub author: Author,
    /// The text that stands there now.
    pub current: Option<String>,
    /// The text of before `mirror` changed it.
    pub original: Option<String>,
    /// For which registries `mirror` changed it, and to which endpoint.
    pub registries: BTreeSet<RegistryHost>,
    pub endpoint: Option<Endpoint>,
    folders: Vec<PathBuf>,
}

impl KeptFile {
    /// # Errors
    /// A file that cannot be read, is no text, or is a link.
    pub fn open(path: PathBuf) -> Result<Self, Failure> {
        let current = read(&path)?;
        let Some(note) = read_note(&path)? else {
            let original = current.clone();
            let (registries, folders) = (BTreeSet::new(), Vec::new());
            return Ok(Self { path, author: Author::Others, current, original, registries, endpoint: None, folders });
        };
        let original = if note.had_file { read(&backup_path(&path))? } else { None };
        let author = match &current {
            Some(text) if sha256(text) == note.written => Author::Lighter,
            // A command that was cut off had not changed it yet, or had changed it back.
            text if *text == original => Author::Others,
            _ => Author::ChangedSince,
        };
        let registries = match author {
            Author::Others => BTreeSet::new(),
            Author::Lighter | Author::ChangedSince => note.registries.iter().filter_map(|name| parse(name)).collect(),
        };
        let endpoint = note.endpoint.parse().ok();
        Ok(Self { path, author, current, original, registries, endpoint, folders: note.folders })
    }

    /// Where the bytes of before are, if there were any.
    pub fn backup(&self) -> Option<PathBuf> {
        self.original.is_some().then(|| backup_path(&self.path))
    }

    /// The file that a failure about foreign changes names.
    pub fn note_path(&self) -> PathBuf {
        note_path(&self.path)
    }

    /// Writes `text`, which is for these registries.
    ///
    /// # Errors
    /// If the machine cannot.
    pub fn change(&self, text: &str, endpoint: &Endpoint, registries: &BTreeSet<RegistryHost>) -> Result<(), Failure> {
        let folders = make_folders(&self.path)?;
        let like = fs::metadata(&self.path).ok();
        if let Some(original) = &self.original {
            write(&backup_path(&self.path), original, like.as_ref())?;
        }
        let note = Note {
            version: NOTE_VERSION,
            endpoint: endpoint.to_string(),
            registries: registries.iter().map(ToString::to_string).collect(),
            written: sha256(text),
            had_file: self.original.is_some(),
            folders: if folders.is_empty() { self.folders.clone() } else { folders },
        };
        let note = serde_json::to_string_pretty(&note).map_err(|error| Failure::from_error(Kind::Other, &error))?;
        write(&note_path(&self.path), &format!("{note}\n"), like.as_ref())?;
        write(&self.path, text, like.as_ref())
    }

    /// Puts back what was there before, and removes note, backup and the folders that were made.
    ///
    /// # Errors
    /// If the machine cannot.
    pub fn restore(&self) -> Result<(), Failure> {
        match &self.original {
            Some(original) => write(&self.path, original, fs::metadata(&self.path).ok().as_ref())?,
            None => remove(&self.path)?,
        }
        remove(&note_path(&self.path))?;
        remove(&backup_path(&self.path))?;
        // Only what is empty: others may have put something there.
        for folder in self.folders.iter().rev() {
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// The failure of a command that would overwrite what somebody else wrote.
    pub fn changed_since(&self) -> Failure {
        let path = self.path.display();
        let before = match self.backup() {
            Some(backup) => format!("{} has what was there before", backup.display()),
            None => "there was no such file before".to_owned(),
        };
        let message = format!("{path} was changed after `lighter mirror` wrote it, and is left as it is");
        Failure::new(Kind::Exists, message).hint(format!(
            "edit {path} by hand ({before}), then remove {} so that `lighter mirror` forgets its change",
            self.note_path().display()
        ))
    }
}

/// Whether `mirror` has a note of a change to this file.
pub fn has_note(path: &Path) -> bool {
    note_path(path).is_file()
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn backup_path(path: &Path) -> PathBuf {
    beside(path, ".before-lighter")
}

fn note_path(path: &Path) -> PathBuf {
    beside(path, ".lighter.json")
}

fn parse(name: &str) -> Option<RegistryHost> {
    if name == RegistryHost::all().as_str() { Some(RegistryHost::all()) } else { name.parse().ok() }
}

fn read_note(path: &Path) -> Result<Option<Note>, Failure> {
    let path = note_path(path);
    let Some(text) = read(&path)? else { return Ok(None) };
    let wrong = |why: &str| {
        let message = format!("{} is no note of `lighter mirror`: {why}", path.display());
        Failure::new(Kind::BadData, message).hint("undo the change by hand, then remove this file")
    };
    let note: Note = serde_json::from_str(&text).map_err(|error| wrong(&error.to_string()))?;
    if note.version == NOTE_VERSION { Ok(Some(note)) } else { Err(wrong(&format!("its version is {}", note.version))) }
}

/// The text of a file; none if there is no file.
///
/// # Errors
/// A link, a file that is too large or no text, or a failure of the machine.
pub fn read(path: &Path) -> Result<Option<String>, Failure> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return Err(Failure::file("read", path, &error)),
    };
    let wrong = |what: &str, hint: &str| Failure::new(Kind::Config, format!("{} {what}", path.display())).hint(hint);
    if found.is_symlink() {
        return Err(wrong("is a link: its file belongs to something else", "change the file where it is made"));
    }
    if !found.is_file() || found.len() > FILE_BYTES_MAX {
        return Err(wrong("is no configuration file", "move it out of the way"));
    }
    let bytes = fs::read(path).map_err(|error| Failure::file("read", path, &error))?;
    String::from_utf8(bytes).map(Some).map_err(|_| wrong("is no text", "repair it first"))
}

/// Makes the folders that a file needs. Returns those that were not there, the outermost first.
fn make_folders(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let Some(folder) = path.parent() else { return Ok(Vec::new()) };
    let missing: Vec<&Path> = folder.ancestors().take_while(|folder| !folder.exists()).collect();
    fs::create_dir_all(folder).map_err(|error| unwritable(folder, &error))?;
    Ok(missing.into_iter().rev().filter(|folder| !folder.as_os_str().is_empty()).map(Path::to_owned).collect())
}

/// Writes a file so that it is there whole or not at all, also after a power cut. `like` gives owner and mode.
fn write(path: &Path, text: &str, like: Option<&fs::Metadata>) -> Result<(), Failure> {
    put(path, text, like).map_err(|error| unwritable(path, &error))
}

fn put(path: &Path, text: &str, like: Option<&fs::Metadata>) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".lighter-").tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    let mode = like.map_or(MODE, |like| like.mode() & 0o7777);
    file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
    if let Some(like) = like {
        chown(file.path(), Some(like.uid()), Some(like.gid()))?;
    }
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

fn remove(path: &Path) -> Result<(), Failure> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(unwritable(path, &error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    let failure = Failure::file("write", path, error);
    if error.kind() == ErrorKind::PermissionDenied { failure.hint("run this as root") } else { failure }
}

fn sha256(text: &str) -> String {
    lighter_types::OciDigest::new(Sha256::digest(text.as_bytes()).into()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registries() -> BTreeSet<RegistryHost> {
        BTreeSet::from(["a.b".parse().unwrap()])
    }

    fn endpoint() -> Endpoint {
        "http://x:1".parse().unwrap()
    }

    fn open(path: &Path) -> KeptFile {
        KeptFile::open(path.to_owned()).unwrap()
    }

    #[test]
    fn the_file_of_before_comes_back_with_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("daemon.json");
        fs::write(&path, "{}").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        open(&path).change("new", &endpoint(), &registries()).unwrap();
        let changed = open(&path);
        assert_eq!((changed.author, changed.registries.clone()), (Author::Lighter, registries()));
        assert_eq!((changed.current.as_deref(), changed.original.as_deref()), (Some("new"), Some("{}")));
        // A second change starts from what was there before the first.
        changed.change("newer", &endpoint(), &registries()).unwrap();
        assert_eq!(open(&path).original.as_deref(), Some("{}"));
        open(&path).restore().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_and_folders_that_were_not_there_go_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("etc/certs.d/a.b/hosts.toml");
        open(&path).change("new", &endpoint(), &registries()).unwrap();
        open(&path).restore().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        // Folders in which somebody put something stay.
        open(&path).change("new", &endpoint(), &registries()).unwrap();
        fs::write(folder.path().join("etc/certs.d/other"), "").unwrap();
        open(&path).restore().unwrap();
        assert!(folder.path().join("etc/certs.d/other").exists() && !folder.path().join("etc/certs.d/a.b").exists());
    }

    #[test]
    fn a_change_of_somebody_else_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        open(&path).change("new", &endpoint(), &registries()).unwrap();
        fs::write(&path, "mine").unwrap();
        assert_eq!(open(&path).author, Author::ChangedSince);
        let failure = open(&path).changed_since();
        assert!(failure.hint_text().unwrap().contains("there was no such file before"), "{failure:?}");
        fs::remove_file(&path).unwrap();
        // Without it, what was there before is there again.
        assert_eq!(open(&path).author, Author::Others);
    }

    #[test]
    fn a_command_that_was_cut_off_is_no_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "old").unwrap();
        open(&path).change("new", &endpoint(), &registries()).unwrap();
        // The note and the backup are there, the file is not changed: before the rename, or in the middle of a restore.
        fs::write(&path, "old").unwrap();
        let found = open(&path);
        assert_eq!((found.author, found.registries.len()), (Author::Others, 0));
        found.change("newer", &endpoint(), &registries()).unwrap();
        open(&path).restore().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    }

    #[test]
    fn links_and_what_is_no_text_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::os::unix::fs::symlink("elsewhere", &path).unwrap();
        assert!(KeptFile::open(path.clone()).is_err());
        fs::remove_file(&path).unwrap();
        fs::write(&path, [0xff]).unwrap();
        assert!(KeptFile::open(path.clone()).is_err());
        fs::write(&path, "text").unwrap();
        fs::write(note_path(&path), "{\"version\": 2}").unwrap();
        assert!(KeptFile::open(path).is_err());
    }

    #[test]
    fn the_note_has_these_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        open(&path).change("new", &endpoint(), &registries()).unwrap();
        let golden = "{\n  \"version\": 1,\n  \"endpoint\": \"http://x:1\",\n  \"registries\": [\n    \"a.b\"\n  ],\n  \
                      \"written\": \"sha256:11507a0e2f5e69d5dfa40a62a1bd7b6ee57e6bcd85c67c9b8431b36fff21c437\",\n  \
                      \"had_file\": false,\n  \"folders\": []\n}\n";
        assert_eq!(fs::read_to_string(note_path(&path)).unwrap(), golden);
    }
}
