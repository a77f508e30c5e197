//! The data folder: where each file is, and the few operations on files that the store is made of.
//!
//! Every operation that changes the folder first asks [`Steps`], so that a test can end the store between any two of
//! them. No operation here decides anything.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use lighter_types::{Bytes, DiffId, ImageReference, OciDigest, PatchId};
use rustix::fs::FallocateFlags;
use sha2::{Digest, Sha256};

use crate::error::{Item, Result, StoreError};
use crate::steps::Steps;

/// Nothing in a data folder is for others to read: images may be private.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// What an operation without a size of its own is said to need when the disk is full.
const BLOCK: Bytes = Bytes(4096);

pub(crate) struct Folder {
    root: PathBuf,
    pub(crate) steps: Steps,
}

/// A file that is where the store keeps its items, and is named as an item or is not.
pub(crate) enum Found {
    Item(Item, Bytes),
    Stranger(PathBuf),
}

impl Folder {
    /// Creates what is missing of the folder.
    pub(crate) fn open(root: &Path, steps: Steps) -> Result<Self> {
        let folder = Self { root: root.to_owned(), steps };
        for name in ["layers/sha256", "blobs/sha256", "patches", "partial", "references", "pins", "quarantine"] {
            folder.create_dir(&root.join(name))?;
        }
        for name in ["", "layers", "blobs"] {
            folder.sync_dir(&root.join(name))?;
        }
        Ok(folder)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn index(&self) -> PathBuf {
        self.root.join("index")
    }

    /// Where an item is once it is committed.
    pub(crate) fn path(&self, item: &Item) -> PathBuf {
        let sharded = |folder: &str, hex: String| self.root.join(folder).join("sha256").join(&hex[..2]).join(&hex);
        match item {
            Item::Layer(id) => sharded("layers", id.to_hex()),
            Item::Blob(digest) => sharded("blobs", digest.to_hex()),
            Item::Patch(id) => self.root.join("patches").join(id.to_hex()),
            Item::Image(reference) => self.root.join("references").join(image_file_name(reference)),
        }
    }

    pub(crate) fn partial(&self) -> PathBuf {
        self.root.join("partial")
    }

    pub(crate) fn partial_patch(&self, id: &PatchId) -> PathBuf {
        self.partial().join(format!("{}.patch", id.to_hex()))
    }

    pub(crate) fn temporary(&self, number: u64) -> PathBuf {
        self.partial().join(format!("{number}.tmp"))
    }

    pub(crate) fn pin(&self, id: &DiffId) -> PathBuf {
        self.root.join("pins").join(id.to_hex())
    }

    /// Takes the folder's lock, which ends with the file or the process.
    pub(crate) fn lock(&self) -> Result<File> {
        let path = self.root.join("lock");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE);
        let mut file = options.open(&path).map_err(|error| self.failure("open the lock", &path, error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Only for the message: a lock that cannot be read is still held.
                let read = (&file).take(64).read_to_string(&mut holder);
                let by = match read {
                    Ok(1..) => holder.trim().to_owned(),
                    _ => "another process".to_owned(),
                };
                return Err(StoreError::FolderInUse { path: self.root.clone(), by });
            }
            Err(fs::TryLockError::Error(error)) => return Err(self.failure("lock", &path, error)),
        }
        let written = file.set_len(0).and_then(|()| writeln!(file, "process {}", std::process::id()));
        written.map_err(|error| self.failure("write the lock", &path, error))?;
        Ok(file)
    }

    /// Creates an empty file of our own, readable and writable.
    pub(crate) fn create(&self, path: &Path) -> Result<File> {
        self.step("create", path)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(FILE_MODE);
        options.open(path).map_err(|error| self.failure("create", path, error))
    }

    /// Takes disk blocks for the first `bytes` of a file without changing its length.
    pub(crate) fn allocate(&self, file: &File, path: &Path, bytes: Bytes) -> Result<()> {
        if bytes == Bytes::ZERO {
            return Ok(());
        }
        self.step("reserve disk for", path)?;
        match rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, 0, bytes.0) {
            Ok(()) => Ok(()),
            // A file system without preallocation: the check of free disk has to do.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
            Err(error) => Err(self.failure_of("reserve disk for", path, error.into(), bytes)),
        }
    }

    /// Waits until a file's bytes and length are on disk.
    pub(crate) fn sync(&self, file: &File, path: &Path) -> Result<()> {
        self.step("sync", path)?;
        file.sync_all().map_err(|error| self.failure("sync", path, error))
    }

    /// Gives a synced file its name, over one that has it, and waits until the name is on disk.
    pub(crate) fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let parent = to.parent().unwrap_or(&self.root);
        if !parent.exists() {
            self.create_dir(parent)?;
            self.sync_dir(parent.parent().unwrap_or(&self.root))?;
        }
        self.step("rename to", to)?;
        fs::rename(from, to).map_err(|error| self.failure("rename to", to, error))?;
        self.sync_dir(parent)
    }

    /// Writes a small file whole: written aside, synced, renamed. `number` is a temporary's that nobody else uses.
    pub(crate) fn write(&self, to: &Path, bytes: &[u8], number: u64) -> Result<()> {
        let aside = self.temporary(number);
        let written = self.create(&aside).and_then(|mut file| {
            self.step("write", &aside)?;
            let written = file.write_all(bytes);
            written.map_err(|error| self.failure_of("write", &aside, error, Bytes(bytes.len() as u64)))?;
            self.sync(&file, &aside)
        });
        let written = written.and_then(|()| self.rename(&aside, to));
        if written.is_err() && !self.steps.is_over() {
            // The first error is the one to tell; what stays behind goes at the next open.
            let _ = fs::remove_file(&aside);
        }
        written
    }

    /// Removes a file; one that is not there is no error.
    pub(crate) fn remove(&self, path: &Path) -> Result<()> {
        self.step("remove", path)?;
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failure("remove", path, error)),
            _ => Ok(()),
        }
    }

    /// Removes a file and waits until the disk has forgotten its name.
    pub(crate) fn remove_synced(&self, path: &Path) -> Result<()> {
        self.remove(path)?;
        self.sync_dir(path.parent().unwrap_or(&self.root))
    }

    /// Moves a file or a folder to `quarantine/`, under its own name and a number; returns where it is.
    pub(crate) fn quarantine(&self, path: &Path) -> Result<PathBuf> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let place = |number| self.root.join("quarantine").join(format!("{name}.{number}"));
        let free = (0..u64::MAX).map(place).find(|place| !place.exists()).unwrap_or_else(|| place(0));
        self.rename(path, &free)?;
        Ok(free)
    }

    /// A file of at most `bytes_max`, whole; `None` if it is not there.
    pub(crate) fn read(&self, path: &Path, bytes_max: usize) -> Result<Option<Vec<u8>>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failure("open", path, error)),
        };
        let mut bytes = Vec::new();
        file.take(bytes_max as u64 + 1).read_to_end(&mut bytes).map_err(|error| self.failure("read", path, error))?;
        if bytes.len() > bytes_max {
            let why = format!("it is longer than {bytes_max} bytes");
            return Err(StoreError::Damaged { path: path.to_owned(), why });
        }
        Ok(Some(bytes))
    }

    /// Every file where layers, blobs and patches are, in the order of their paths.
    pub(crate) fn items(&self) -> Result<Vec<Found>> {
        let mut found = Vec::new();
        for kind in ["layers/sha256", "blobs/sha256"] {
            for shard in self.list(&self.root.join(kind))? {
                if !shard.is_dir() {
                    found.push(Found::Stranger(shard));
                    continue;
                }
                for path in self.list(&shard)? {
                    found.push(self.identify(path, |hex| match kind {
                        "layers/sha256" => DiffId::from_hex(hex).ok().map(Item::Layer),
                        _ => OciDigest::from_hex(hex).ok().map(Item::Blob),
                    })?);
                }
            }
        }
        for path in self.list(&self.root.join("patches"))? {
            found.push(self.identify(path, |hex| PatchId::from_hex(hex).ok().map(Item::Patch))?);
        }
        Ok(found)
    }

    fn identify(&self, path: PathBuf, parse: impl Fn(&str) -> Option<Item>) -> Result<Found> {
        let item = path.file_name().and_then(|name| name.to_str()).and_then(parse);
        let metadata = fs::symlink_metadata(&path).map_err(|error| self.failure("look at", &path, error))?;
        // A file in the wrong shard would never be found again under its name.
        match item {
            Some(item) if metadata.is_file() && self.path(&item) == path => {
                Ok(Found::Item(item, Bytes(metadata.len())))
            }
            _ => Ok(Found::Stranger(path)),
        }
    }

    /// The entries of a folder, sorted.
    pub(crate) fn list(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        let entries = fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
        let mut entries: Vec<PathBuf> = entries.map_err(|error| self.failure("list", folder, error))?;
        entries.sort();
        Ok(entries)
    }

    /// Disk that is free for this process.
    pub(crate) fn free(&self) -> Result<Bytes> {
        let disk =
            rustix::fs::statvfs(&self.root).map_err(|error| self.failure("look at", &self.root, error.into()))?;
        Ok(Bytes(disk.f_bavail.saturating_mul(disk.f_frsize)))
    }

    /// The store's error for a failure of the file system: a full disk, or what it was.
    pub(crate) fn failure(&self, action: &'static str, path: &Path, source: io::Error) -> StoreError {
        self.failure_of(action, path, source, BLOCK)
    }

    /// As [`Self::failure`], for an operation that was to take `needed`.
    pub(crate) fn failure_of(&self, action: &'static str, path: &Path, source: io::Error, needed: Bytes) -> StoreError {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                StoreError::DiskFull { path, needed, free: self.free().unwrap_or_default() }
            }
            _ => StoreError::Io { action, path, source },
        }
    }

    fn create_dir(&self, path: &Path) -> Result<()> {
        self.step("create the folder", path)?;
        let created = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path);
        created.map_err(|error| self.failure("create the folder", path, error))
    }

    fn sync_dir(&self, path: &Path) -> Result<()> {
        self.step("sync the folder", path)?;
        let synced = File::open(path).and_then(|folder| folder.sync_all());
        synced.map_err(|error| self.failure("sync the folder", path, error))
    }

    fn step(&self, action: &'static str, path: &Path) -> Result<()> {
        self.steps.take().map_err(|source| StoreError::Io { action, path: path.to_owned(), source })
    }
}

/// References may hold characters and lengths that file names may not: the file is called by the sha256 of the text.
fn image_file_name(reference: &ImageReference) -> String {
    OciDigest::new(Sha256::digest(reference.as_str()).into()).to_hex()
}
