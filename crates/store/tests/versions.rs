//! Stores of every schema that this crate opens, as folders in `fixtures/`.
//!
//! A version has the files of a data folder, and `rows.txt` with the rows of its index: column, key and value in
//! hexadecimal. The test copies the files, puts the rows into an index in memory and opens the two. Nobody edits a
//! fixture: a new schema gets a folder of its own (docs/VERSIONS.md).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lighter_store::{
    Batch, Column, Durability, Index, IndexError, MemoryIndex, OpenReport, Options, SCHEMA, Store, StoreError,
};
use lighter_types::{Bytes, DiffId, PatchId, ReadAt};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// A copy of one version's fixture.
struct Fixture {
    folder: TempDir,
    index: MemoryIndex,
}

impl Fixture {
    fn new(version: u32) -> Self {
        let place = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/v{version}"));
        let folder = tempfile::tempdir().unwrap();
        copy(&place.join("folder"), folder.path());
        let index = MemoryIndex::new();
        let mut batch = Batch::default();
        for row in fs::read_to_string(place.join("rows.txt")).unwrap().lines() {
            let [column, key, value] = row.split(' ').collect::<Vec<_>>().try_into().unwrap();
            let column = Column::ALL.into_iter().find(|known| known.name() == column).unwrap();
            batch.put(column, &bytes(key), bytes(value));
        }
        index.write(&batch, Durability::Synced).unwrap();
        Self { folder, index }
    }

    fn open(&self) -> Result<Store, StoreError> {
        Store::open_with(self.folder.path(), Options::default(), Arc::new(self.index.clone()))
    }

    fn schema(&self) -> Option<Vec<u8>> {
        self.index.get(Column::Meta, b"schema").unwrap()
    }
}

/// The bytes of a hexadecimal text; `-` is none.
fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.trim_matches('-');
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn copy(from: &Path, to: &Path) {
    for path in fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
        let place: PathBuf = to.join(path.file_name().unwrap());
        if path.is_dir() {
            fs::create_dir(&place).unwrap();
            copy(&path, &place);
        } else {
            fs::copy(&path, &place).unwrap();
        }
    }
}

/// The store has all that the fixture has; returns its layer.
fn check(store: &Store) -> DiffId {
    // A copy has the modes of whoever made it.
    let was_exposed = store.open_report().was_exposed.clone();
    assert_eq!(store.open_report(), &OpenReport { partial_patches: 1, was_exposed, ..OpenReport::default() });
    let cards = store.cards();
    assert_eq!(cards.len(), 1);
    assert_eq!(
        (cards[0].tar_bytes, cards[0].compressed_bytes, cards[0].tlsh.is_some()),
        (Bytes(240), Bytes(120), true)
    );
    let layer = cards[0].diff_id;
    assert_eq!(store.pins(), [layer]);
    let image = store.reference(&"demo/nginx:1".parse().unwrap()).unwrap();
    assert_eq!((image.layers, image.release_record.as_slice()), (vec![layer], &b"abc"[..]));
    assert_eq!(store.blob(&image.manifest).unwrap().unwrap(), br#"{"a manifest":"of the fixtures"}"#);
    assert_eq!(store.blob(&image.config).unwrap().unwrap(), br#"{"a config":"of the fixtures"}"#);
    let patch = store.open_patch(&PatchId::new([0x41; 32])).unwrap().unwrap();
    assert_eq!((patch.key().settings, patch.key().bases.as_slice()), (0x0502_001c, &[layer][..]));
    let partial = store.resume_patch(&PatchId::new([0x42; 32])).unwrap().unwrap();
    assert_eq!((partial.written(), partial.total_bytes()), (Bytes(26), Bytes(4096)));
    assert_eq!(store.states(b"pull/").unwrap(), [(b"pull/demo/nginx:2".to_vec(), Vec::new())]);
    layer
}

#[test]
fn a_store_of_schema_1_is_opened_without_sketches_and_raised() {
    let fixture = Fixture::new(1);
    let store = fixture.open().unwrap();
    let layer = check(&store);
    assert_eq!(store.sketch(&layer).unwrap(), None);
    assert_eq!(fixture.schema(), Some(SCHEMA.to_le_bytes().to_vec()));
}

#[test]
fn a_store_of_schema_2_is_opened() {
    let fixture = Fixture::new(2);
    let store = fixture.open().unwrap();
    let layer = check(&store);
    assert_eq!(store.sketch(&layer).unwrap().unwrap(), b"a sketch of the fixtures");
    assert_eq!(fixture.schema(), Some(SCHEMA.to_le_bytes().to_vec()));
}

/// Its layer is packed.
#[test]
fn a_store_of_schema_3_is_opened() {
    let fixture = Fixture::new(3);
    let store = fixture.open().unwrap();
    let layer = check(&store);
    let reader = store.open_layer(&layer).unwrap().unwrap();
    assert!(reader.is_packed());
    let mut tar = vec![0; 240];
    reader.read_exact_at(&mut tar, 0).unwrap();
    assert_eq!(DiffId::new(Sha256::digest(&tar).into()), layer);
}

#[test]
fn the_schema_of_today_has_a_fixture() {
    assert_eq!(Fixture::new(SCHEMA).schema(), Some(SCHEMA.to_le_bytes().to_vec()));
}

#[test]
fn a_later_schema_is_refused_with_both_numbers_and_the_way_out() {
    let fixture = Fixture::new(SCHEMA);
    let mut batch = Batch::default();
    batch.put(Column::Meta, b"schema", (SCHEMA + 1).to_le_bytes().to_vec());
    fixture.index.write(&batch, Durability::Synced).unwrap();
    let error = fixture.open().err().unwrap();
    assert!(matches!(error, StoreError::Index(IndexError::NewerSchema { .. })));
    let text = error.to_string();
    assert!(text.ends_with("has schema 4, this program reads up to 3"), "{text}");
}
