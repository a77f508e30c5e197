//! The data folder: the path of each file, and the few file operations that the store uses.
//!
//! Durability rests on three operations. [`Folder::sync`] waits until a file's bytes are on disk. [`Folder::rename`]
//! gives a synced file its final name and syncs the folder, so that the name survives a power cut. [`Folder::write`]
//! does both for a small file. The callers decide the order; nothing here does.
//!
//! Every operation that changes the disk first takes a step from [`Steps`], so that a test can stop the store between
//! any two changes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use lighter_types::{Bytes, DiffId, ImageReference, OciDigest, PatchId};
use rustix::fs::FallocateFlags;
use sha2::{Digest, Sha256};

use crate::error::{Item, Result, StoreError};
use crate::steps::Steps;

/// The size that a `DiskFull` error names for an operation without a size of its own.
const BLOCK: Bytes = Bytes(4096);

mod modes;

use modes::FILE_MODE;

pub(crate) struct Folder {
    root: PathBuf,
    pub(crate) steps: Steps,
    /// The folders that other users could enter until this opening, and their modes.
    pub(crate) was_exposed: Vec<(PathBuf, u32)>,
}

/// The end of a packed layer's name.
const PACKED: &str = ".zst";

/// A file in one of the folders of items.
pub(crate) enum Found {
    /// The file of an item, and its length.
    Item(Item, Bytes),
    /// A file that the store did not create, or that is in the wrong folder.
    UnknownFile(PathBuf),
}

impl Found {
    /// The length of an item's file; zero for an unknown file.
    pub(crate) fn bytes(&self) -> Bytes {
        match self {
            Self::Item(_, bytes) => *bytes,
            Self::UnknownFile(_) => Bytes::ZERO,
        }
    }
}

/// The folders of a store, beside its index. RocksDB chooses the modes of its own files: the index's folder is closed.
const FOLDERS: [&str; 7] = ["layers/sha256", "blobs/sha256", "patches", "partial", "references", "pins", "quarantine"];

/// Whether there is a store in a data folder, damaged or not.
pub fn is_store(root: &Path) -> bool {
    FOLDERS.iter().chain(&["index"]).any(|name| root.join(name).is_dir())
}

impl Folder {
    /// Creates the data folder and its subfolders where they are missing, and closes to other users those that they
    /// could enter.
    pub(crate) fn open(root: &Path, steps: Steps) -> Result<Self> {
        let mut folder = Self { root: root.to_owned(), steps, was_exposed: Vec::new() };
        for name in FOLDERS.into_iter().chain(["index"]) {
            folder.create_dir(&root.join(name))?;
        }
        folder.close_to_others(root)?;
        for name in FOLDERS.into_iter().chain(["index"]) {
            folder.close_to_others(&root.join(name))?;
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

    /// Sets a damaged index aside, and makes room for a new one.
    pub(crate) fn quarantine_index(&self) -> Result<()> {
        self.quarantine(&self.index())?;
        self.create_dir(&self.index())
    }

    /// The path of a committed item. A packed layer has that of its packed file.
    pub(crate) fn path(&self, item: &Item) -> PathBuf {
        match item {
            Item::Layer(id) => {
                let packed = self.packed(id);
                if packed.exists() { packed } else { self.tar(id) }
            }
            Item::Blob(digest) => self.sharded_path("blobs", &digest.to_hex()),
            Item::Patch(id) => self.root.join("patches").join(id.to_hex()),
            Item::Image(reference) => self.root.join("references").join(image_file_name(reference)),
        }
    }

    /// The path of a layer's tar.
    pub(crate) fn tar(&self, id: &DiffId) -> PathBuf {
        self.sharded_path("layers", &id.to_hex())
    }

    /// The path of a layer's packed file.
    pub(crate) fn packed(&self, id: &DiffId) -> PathBuf {
        self.sharded_path("layers", &format!("{}{PACKED}", id.to_hex()))
    }

    fn sharded_path(&self, folder: &str, hex: &str) -> PathBuf {
        self.root.join(folder).join("sha256").join(&hex[..2]).join(hex)
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

    /// The path of an image's pin. Earlier programs skip it, because its name is no DiffId.
    pub(crate) fn image_pin(&self, reference: &ImageReference) -> PathBuf {
        self.root.join("pins").join(format!("{}.image", image_file_name(reference)))
    }

    /// Locks the folder. The lock ends when the returned file is dropped or the process ends.
    pub(crate) fn lock(&self) -> Result<File> {
        let path = self.root.join("lock");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE);
        let mut file = options.open(&path).map_err(|error| self.failure("open the lock", &path, error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // The content only serves the message. If it cannot be read, the lock is still held.
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

    /// Creates an empty file for reading and writing, or empties the existing one.
    pub(crate) fn create(&self, path: &Path) -> Result<File> {
        self.step("create", path)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(FILE_MODE);
        options.open(path).map_err(|error| self.failure("create", path, error))
    }

    /// Allocates disk blocks for the first `bytes` of a file without changing its length.
    pub(crate) fn allocate(&self, file: &File, path: &Path, bytes: Bytes) -> Result<()> {
        if bytes == Bytes::ZERO {
            return Ok(());
        }
        self.step("reserve disk for", path)?;
        match rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, 0, bytes.0) {
            Ok(()) => Ok(()),
            // The file system cannot allocate in advance. The store relies on its check of the free space alone.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
            Err(error) => Err(self.failure_of("reserve disk for", path, error.into(), bytes)),
        }
    }

    /// Waits until a file's bytes and length are on disk.
    pub(crate) fn sync(&self, file: &File, path: &Path) -> Result<()> {
        self.step("sync", path)?;
        file.sync_all().map_err(|error| self.failure("sync", path, error))
    }

    /// Renames a synced file, replacing a file of the new name, and waits until the new name is on disk.
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

    /// Writes a small file: writes a temporary file, syncs it, renames it. `number` is the number of a temporary file
    /// that the caller has reserved.
    pub(crate) fn write(&self, to: &Path, bytes: &[u8], number: u64) -> Result<()> {
        let temporary = self.temporary(number);
        let written = self.write_synced(&temporary, bytes).and_then(|()| self.rename(&temporary, to));
        if written.is_err() && !self.steps.are_used_up() {
            // The first error is the one to report. If the temporary file stays, the next open removes it.
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    pub(crate) fn write_synced(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let mut file = self.create(path)?;
        self.step("write", path)?;
        let written = file.write_all(bytes);
        written.map_err(|error| self.failure_of("write", path, error, Bytes(bytes.len() as u64)))?;
        self.sync(&file, path)
    }

    /// Removes a file. A missing file is no error.
    pub(crate) fn remove(&self, path: &Path) -> Result<()> {
        self.step("remove", path)?;
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failure("remove", path, error)),
            _ => Ok(()),
        }
    }

    /// Removes the file of an item, and the other one of a layer that has two.
    pub(crate) fn remove_item(&self, item: &Item) -> Result<()> {
        if let Item::Layer(id) = item
            && self.packed(id).exists()
        {
            self.remove(&self.packed(id))?;
            if !self.tar(id).exists() {
                return Ok(());
            }
        }
        self.remove(&self.path(item))
    }

    /// Removes a file and waits until the removal is on disk. A missing file is no error.
    pub(crate) fn remove_synced(&self, path: &Path) -> Result<()> {
        self.remove(path)?;
        self.sync_dir(path.parent().unwrap_or(&self.root))
    }

    /// Moves a file or a folder to `quarantine/`, under its own name and a number. Returns the new path.
    pub(crate) fn quarantine(&self, path: &Path) -> Result<PathBuf> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut number = 0u64;
        let place = loop {
            let place = self.root.join("quarantine").join(format!("{name}.{number}"));
            if !place.exists() {
                break place;
            }
            number += 1;
        };
        self.rename(path, &place)?;
        Ok(place)
    }

    /// Reads a file of at most `bytes_max`. `None` if the file does not exist.
    pub(crate) fn read(&self, path: &Path, bytes_max: usize) -> Result<Option<Vec<u8>>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failure("open", path, error)),
        };
        let mut bytes = Vec::new();
        file.take(bytes_max as u64 + 1).read_to_end(&mut bytes).map_err(|error| self.failure("read", path, error))?;
        if bytes.len() > bytes_max {
            let why = format!("the file is longer than {bytes_max} bytes");
            return Err(StoreError::Damaged { path: path.to_owned(), why });
        }
        Ok(Some(bytes))
    }

    /// All files in the folders of layers, blobs and patches: in this order, and sorted by path in each folder.
    pub(crate) fn items(&self) -> Result<Vec<Found>> {
        let mut found = Vec::new();
        self.add_shards("layers", parse_layer, &mut found)?;
        self.add_shards("blobs", parse_blob, &mut found)?;
        for path in self.list(&self.root.join("patches"))? {
            found.push(self.identify(path, parse_patch)?);
        }
        Ok(found)
    }

    fn add_shards(&self, folder: &str, parse: ParseItem, found: &mut Vec<Found>) -> Result<()> {
        for shard in self.list(&self.root.join(folder).join("sha256"))? {
            if !shard.is_dir() {
                found.push(Found::UnknownFile(shard));
                continue;
            }
            for path in self.list(&shard)? {
                found.push(self.identify(path, parse)?);
            }
        }
        Ok(())
    }

    fn identify(&self, path: PathBuf, parse: ParseItem) -> Result<Found> {
        let item = path.file_name().and_then(|name| name.to_str()).and_then(parse);
        let metadata = fs::symlink_metadata(&path).map_err(|error| self.failure("inspect", &path, error))?;
        // The store looks for an item at one path only, so a file in the wrong shard is an unknown file.
        match item {
            Some(item) if metadata.is_file() && self.has_path(&item, &path) => {
                Ok(Found::Item(item, Bytes(metadata.len())))
            }
            _ => Ok(Found::UnknownFile(path)),
        }
    }

    /// Whether the store looks for an item at this path.
    fn has_path(&self, item: &Item, path: &Path) -> bool {
        match item {
            Item::Layer(id) => path == self.tar(id) || path == self.packed(id),
            Item::Blob(_) | Item::Patch(_) | Item::Image(_) => path == self.path(item),
        }
    }

    /// The entries of a folder, sorted.
    pub(crate) fn list(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        let entries = fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
        let mut entries: Vec<PathBuf> = entries.map_err(|error| self.failure("list", folder, error))?;
        entries.sort();
        Ok(entries)
    }

    /// The bytes that this process may still take on the disk.
    pub(crate) fn free(&self) -> Result<Bytes> {
        let disk =
            rustix::fs::statvfs(&self.root).map_err(|error| self.failure("inspect", &self.root, error.into()))?;
        Ok(Bytes(disk.f_bavail.saturating_mul(disk.f_frsize)))
    }

    /// The store's error for a failure of the file system: `DiskFull` or `Io`.
    pub(crate) fn failure(&self, action: &'static str, path: &Path, source: io::Error) -> StoreError {
        self.failure_of(action, path, source, BLOCK)
    }

    /// As [`Self::failure`], for an operation that needed this many bytes of disk.
    pub(crate) fn failure_of(&self, action: &'static str, path: &Path, source: io::Error, needed: Bytes) -> StoreError {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                StoreError::DiskFull { path, needed, free: self.free().unwrap_or_default() }
            }
            _ => StoreError::Io { action, path, source },
        }
    }

    fn sync_dir(&self, path: &Path) -> Result<()> {
        self.step("sync the folder", path)?;
        let synced = File::open(path).and_then(|folder| folder.sync_all());
        synced.map_err(|error| self.failure("sync the folder", path, error))
    }

    /// Takes the step of a write to the index.
    pub(crate) fn step_of_index(&self) -> Result<()> {
        self.step("write the index", &self.index())
    }

    fn step(&self, action: &'static str, path: &Path) -> Result<()> {
        self.steps.take().map_err(|source| StoreError::Io { action, path: path.to_owned(), source })
    }
}

/// Reads the item from the name of a file.
type ParseItem = fn(&str) -> Option<Item>;

fn parse_layer(hex: &str) -> Option<Item> {
    DiffId::from_hex(hex.strip_suffix(PACKED).unwrap_or(hex)).ok().map(Item::Layer)
}

fn parse_blob(hex: &str) -> Option<Item> {
    OciDigest::from_hex(hex).ok().map(Item::Blob)
}

fn parse_patch(hex: &str) -> Option<Item> {
    PatchId::from_hex(hex).ok().map(Item::Patch)
}

/// The name of a reference's file: the sha256 of the reference's text. The text itself may be too long for a file name
/// and may contain slashes.
fn image_file_name(reference: &ImageReference) -> String {
    OciDigest::new(Sha256::digest(reference.as_str()).into()).to_hex()
}
