//! The tests of the store. Most run against both indexes, on real files in a temporary folder.

use std::path::Path;
use std::sync::Arc;

use lighter_types::{Bytes, Card, DiffId, ImageReference, OciDigest, PatchId, ReadAt};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::open::Opening;
use crate::steps::Steps;
use crate::{Image, Index, IndexError, MemoryIndex, Options, PatchKey, Result, RocksIndex, Store, UnixSeconds};

mod budget;
mod claims;
mod copies;
mod crash;
mod fsck;
mod gc;
mod index;
mod layer_parts;
mod model;
mod modes;
mod opening;
mod packing;
mod promises;
mod releases;
mod scrub;

/// A folder and its index, so that a test can close a store and open it again.
struct Bench {
    folder: TempDir,
    /// `None` for RocksDB.
    memory: Option<MemoryIndex>,
}

/// Runs a test against both indexes, each in a fresh folder.
fn on_both(test: impl Fn(&Bench)) {
    test(&Bench::new(Some(MemoryIndex::new())));
    test(&Bench::new(None));
}

impl Bench {
    /// Uses a folder in memory if the machine has a file system for that. These tests open hundreds of stores, and a
    /// sync to a disk would only slow them down.
    fn new(memory: Option<MemoryIndex>) -> Self {
        let disk_wanted = Options::default().disk_free_min.times(4).0;
        let in_memory = rustix::fs::statvfs("/dev/shm").is_ok_and(|disk| disk.f_bavail * disk.f_frsize > disk_wanted);
        let folder = if in_memory { tempfile::tempdir_in("/dev/shm") } else { tempfile::tempdir() };
        Self { folder: folder.unwrap(), memory }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn open(&self) -> Store {
        self.open_with(Options::default())
    }

    fn open_with(&self, options: Options) -> Store {
        self.try_open(options, Steps::default(), Opening::Strict).unwrap()
    }

    fn try_open(&self, options: Options, steps: Steps, opening: Opening) -> Result<Store> {
        Store::open_as(self.path(), options, &|path| self.open_index(path), steps, opening)
    }

    fn open_index(&self, path: &Path) -> Result<Arc<dyn Index>, IndexError> {
        match &self.memory {
            Some(memory) => Ok(Arc::new(memory.clone())),
            None => Ok(Arc::new(RocksIndex::open(path)?)),
        }
    }

    /// Deletes the index with its files.
    fn lose_index(&self) {
        match &self.memory {
            Some(memory) => memory.lose(),
            None => std::fs::remove_dir_all(self.path().join("index")).unwrap(),
        }
    }
}

const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

fn budget(bytes_max: u64) -> Options {
    Options { bytes_max: Bytes(bytes_max), disk_free_min: Bytes::ZERO, ..Options::default() }
}

/// Bytes that depend on `seed`.
fn content(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length);
    for _ in 0..length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.push((state >> 56) as u8);
    }
    bytes
}

fn card_of(tar: &[u8]) -> Card {
    Card {
        diff_id: DiffId::new(Sha256::digest(tar).into()),
        tar_bytes: Bytes(tar.len() as u64),
        compressed_bytes: Bytes(tar.len() as u64 / 2),
        tlsh: None,
    }
}

/// Bytes that depend on the tar alone. The store does not interpret a sketch, so any bytes will do.
fn sketch_of(tar: &[u8]) -> Vec<u8> {
    [&b"sketch"[..], &Sha256::digest(tar)].concat()
}

fn layer(seed: u64, length: usize) -> (Vec<u8>, Card) {
    let tar = content(seed, length);
    let card = card_of(&tar);
    (tar, card)
}

fn try_add(store: &Store, seed: u64, length: usize, now: UnixSeconds) -> Result<DiffId> {
    let (tar, card) = layer(seed, length);
    let mut writer = store.create_layer(card.diff_id, card.tar_bytes)?;
    for part in tar.chunks(1000) {
        writer.append(part)?;
    }
    writer.finish_sketched(card, sketch_of(&tar), now)?;
    Ok(card.diff_id)
}

fn add(store: &Store, seed: u64, length: usize) -> DiffId {
    try_add(store, seed, length, NOW).unwrap()
}

fn try_add_blob(store: &Store, seed: u64) -> Result<OciDigest> {
    let bytes = content(seed, 500);
    let digest = OciDigest::new(Sha256::digest(&bytes).into());
    store.put_blob(&digest, &bytes, NOW)?;
    Ok(digest)
}

fn reference(tag: u64) -> ImageReference {
    format!("demo/nginx:{tag}").parse().unwrap()
}

/// An image of the given layers, with a manifest and a config of its own.
fn image(store: &Store, seed: u64, layers: Vec<DiffId>) -> Image {
    Image {
        manifest: try_add_blob(store, seed * 2 + 1000).unwrap(),
        config: try_add_blob(store, seed * 2 + 1001).unwrap(),
        layers,
        release_record: content(seed, 200),
    }
}

fn key(target: DiffId, settings: u32) -> PatchKey {
    PatchKey { target, bases: vec![DiffId::new([1; 32]), DiffId::new([2; 32])], settings }
}

fn patch_id(seed: u64) -> PatchId {
    PatchId::new(Sha256::digest(seed.to_le_bytes()).into())
}

fn try_add_patch(store: &Store, key: PatchKey, seed: u64, length: usize, now: UnixSeconds) -> Result<PatchId> {
    let id = patch_id(seed);
    let mut writer = store.create_patch(key, id, Bytes(length as u64))?;
    let bytes = content(seed, length);
    let (first, rest) = bytes.split_at(length / 2);
    writer.append(first)?;
    writer.sync()?;
    writer.append(rest)?;
    writer.finish(id, now)?;
    Ok(id)
}

fn add_patch(store: &Store, key: PatchKey, seed: u64, length: usize) -> PatchId {
    try_add_patch(store, key, seed, length, NOW).unwrap()
}

/// Asserts that every listed layer, blob and patch can be read, that layers match their DiffId, and that nothing is
/// reserved.
fn assert_sound(store: &Store) {
    for card in store.cards() {
        let reader = store.open_layer(&card.diff_id).unwrap().expect("a layer with a card");
        let mut tar = vec![0; usize::try_from(card.tar_bytes.0).unwrap()];
        reader.read_exact_at(&mut tar, 0).unwrap();
        assert_eq!(DiffId::new(Sha256::digest(&tar).into()), card.diff_id);
    }
    for (digest, _) in store.blobs() {
        store.blob(&digest).unwrap().expect("a blob that is listed");
    }
    for patch in store.patches() {
        store.open_patch(&patch.patch_id).unwrap().expect("a patch that is listed");
    }
    assert_eq!(store.stats().unwrap().reserved_bytes, Bytes::ZERO);
}
