//! Opening a store: locks, schemas, damaged indexes, leftovers of a crash, and the text of the errors.
//!
//! Each test creates a store, closes it, changes the folder or the index as a crash, another version or a damage would,
//! and opens it again, strictly or for repair. RocksDB's own files are changed where the memory index has no
//! equivalent.

use std::os::unix::fs::PermissionsExt;

use lighter_types::Blame;

use super::*;
use crate::{Batch, Column, Durability, FsckMode, IndexError, SCHEMA, StoreError};

#[test]
fn a_second_open_is_refused_and_names_the_folder_and_the_process() {
    on_both(|bench| {
        let store = bench.open();
        let error = bench.try_open(Options::default(), Steps::default(), Opening::Strict).err().unwrap();
        let text = error.to_string();
        assert!(matches!(error, StoreError::FolderInUse { .. }));
        assert!(text.contains(&bench.path().display().to_string()), "{text}");
        assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
        // A reader also keeps the folder locked.
        add(&store, 1, 100);
        let reader = store.open_layer(&store.cards()[0].diff_id).unwrap();
        drop(store);
        assert!(bench.try_open(Options::default(), Steps::default(), Opening::Strict).is_err());
        drop(reader);
        bench.open();
    });
}

/// RocksDB's own lock refuses a process that opens only the index.
#[test]
fn a_second_open_of_the_index_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    let index = RocksIndex::open(&path).unwrap();
    let error = RocksIndex::open(&path).err().unwrap();
    assert!(matches!(error, IndexError::Busy { .. }), "{error:?}");
    drop(index);
    RocksIndex::open(&path).unwrap();
}

#[test]
fn a_newer_schema_is_refused() {
    on_both(|bench| {
        let store = bench.open();
        add(&store, 1, 100);
        let mut batch = Batch::default();
        batch.put(Column::Meta, b"schema", (SCHEMA + 1).to_le_bytes().to_vec());
        store.inner.write(&batch).unwrap();
        drop(store);
        for opening in [Opening::Strict, Opening::Repair] {
            let error = bench.try_open(Options::default(), Steps::default(), opening).err().unwrap();
            assert!(matches!(error, StoreError::Index(IndexError::NewerSchema { found: 4, supported: 3, .. })));
        }
    });
}

/// A column of a newer version must lead to the error about the schema, not to an error of RocksDB.
#[test]
fn a_newer_column_is_refused_by_the_schema() {
    let bench = Bench::new(None);
    drop(bench.open());
    let path = bench.path().join("index");
    let mut options = rocksdb::Options::default();
    options.create_missing_column_families(true);
    let names = Column::ALL.map(Column::name).into_iter().chain(["default", "recipes"]);
    let db = rocksdb::DB::open_cf(&options, &path, names).unwrap();
    db.put_cf(db.cf_handle("meta").unwrap(), b"schema", 9u32.to_le_bytes()).unwrap();
    drop(db);
    let error = bench.try_open(Options::default(), Steps::default(), Opening::Strict).err().unwrap();
    assert!(matches!(error, StoreError::Index(IndexError::NewerSchema { found: 9, .. })), "{error}");
}

#[test]
fn a_row_that_cannot_be_read_is_damage() {
    on_both(|bench| {
        let store = bench.open();
        let id = add(&store, 1, 100);
        let mut batch = Batch::default();
        batch.put(Column::Layers, &[9; 32], b"not a row".to_vec());
        store.inner.write(&batch).unwrap();
        drop(store);
        let error = bench.try_open(Options::default(), Steps::default(), Opening::Strict).err().unwrap();
        assert!(matches!(error, StoreError::Index(IndexError::Damaged { .. })), "{error}");
        let store = bench.try_open(Options::default(), Steps::default(), Opening::Repair).unwrap();
        assert_eq!((store.open_report().rows_unreadable, store.cards().len()), (1, 1));
        store.fsck(FsckMode::Rebuild(&super::fsck::make_card), NOW, &mut |_| {}).unwrap();
        drop(store);
        assert!(bench.open().card(&id).is_some());
    });
}

/// The files of a RocksDB index, apart from its log of messages and its lock.
fn index_files(bench: &Bench) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(bench.path().join("index")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| !["LOG", "LOCK"].iter().any(|name| path.ends_with(name)));
    files.sort();
    files
}

/// A closed RocksDB store with nine layers. Opening a store flushes the log into table files, so five layers are in
/// tables and four in the log.
fn store_with_tables_and_log() -> Bench {
    let bench = Bench::new(None);
    let store = bench.open();
    (0..5).for_each(|seed| _ = add(&store, seed, 100));
    drop(store);
    let store = bench.open();
    (5..9).for_each(|seed| _ = add(&store, seed, 100));
    bench
}

/// Flips a byte in each file of a RocksDB index in turn. The index must open with all rows, or report that it is
/// damaged and be rebuilt. It must never open with fewer rows.
#[test]
fn a_damaged_index_is_reported_and_rebuilt() {
    let count = index_files(&store_with_tables_and_log()).len();
    let mut damaged = 0;
    for number in 0..count {
        let bench = store_with_tables_and_log();
        let file = &index_files(&bench)[number];
        let mut bytes = std::fs::read(file).unwrap();
        if bytes.is_empty() {
            continue;
        }
        let place = bytes.len() / 3;
        bytes[place] ^= 0x10;
        std::fs::write(file, bytes).unwrap();
        match bench.try_open(Options::default(), Steps::default(), Opening::Strict) {
            Ok(store) => assert_eq!(store.cards().len(), 9, "{}", file.display()),
            Err(error) => {
                damaged += 1;
                assert!(is_damaged(&error), "{}: {error:?}", file.display());
                let store = bench.try_open(Options::default(), Steps::default(), Opening::Repair).unwrap();
                store.fsck(FsckMode::Rebuild(&super::fsck::make_card), NOW, &mut |_| {}).unwrap();
                drop(store);
                assert_eq!(bench.open().cards().len(), 9);
            }
        }
    }
    assert!(damaged >= 2, "damage was reported for {damaged} of {count} files only");
}

#[test]
fn leftovers_of_a_crash_are_removed() {
    on_both(|bench| {
        let store = bench.open();
        drop(store.create_patch(key(DiffId::new([3; 32]), 0), patch_id(1), Bytes(10)).unwrap());
        drop(store);
        let partial = bench.path().join("partial");
        let leftovers = [partial.join("3.tmp"), partial.join(format!("{}.patch", patch_id(2).to_hex()))];
        leftovers.iter().for_each(|path| std::fs::write(path, b"x").unwrap());
        let store = bench.open();
        assert_eq!((store.open_report().leftovers_removed, store.open_report().partial_patches), (2, 1));
        assert!(leftovers.iter().all(|path| !path.exists()));
    });
}

#[test]
fn state_and_errors_can_cross_threads() {
    fn crosses<T: Send + Sync + 'static>() {}
    crosses::<Store>();
    crosses::<StoreError>();
    crosses::<crate::LayerReader>();
    crosses::<crate::LayerWriter>();
    crosses::<crate::PatchReader>();
    crosses::<crate::PatchWriter>();
}

#[test]
fn a_folder_that_may_not_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    std::fs::write(&path, b"a file, not a folder").unwrap();
    let error = Store::open(&path, Options::default()).err().unwrap();
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    assert_eq!(error.blame(), Blame::Machine);
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o500)).unwrap();
    // Root may write anywhere.
    if std::fs::write(path.join("probe"), b"").is_err() {
        let error = Store::open(&path, Options::default()).err().unwrap();
        assert!(matches!(&error, StoreError::Io { path: named, .. } if named.starts_with(&path)), "{error}");
    }
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn lazy_writes_may_be_lost_and_nothing_else() {
    let index = MemoryIndex::new();
    let bench = Bench::new(Some(index.clone()));
    let store = bench.open();
    let id = add(&store, 1, 100);
    store.touch(&id, UnixSeconds(NOW.0 + 100)).unwrap();
    drop(store);
    index.cut_power();
    assert_eq!(index.get(Column::Layers, id.as_bytes()).unwrap().map(|_| ()), Some(()));
    assert_eq!(bench.open().cards().len(), 1);
    assert!(index.write(&Batch::default(), Durability::Lazy).is_ok());
}

#[test]
fn a_store_of_schema_1_is_upgraded() {
    on_both(|bench| {
        let store = bench.open();
        let id = add(&store, 1, 100);
        let mut batch = Batch::default();
        batch.put(Column::Meta, b"schema", 1u32.to_le_bytes().to_vec());
        batch.delete(Column::Sketches, id.as_bytes());
        store.inner.write(&batch).unwrap();
        drop(store);
        if bench.memory.is_none() {
            let path = bench.path().join("index");
            let names = rocksdb::DB::list_cf(&rocksdb::Options::default(), &path).unwrap();
            let mut db = rocksdb::DB::open_cf(&rocksdb::Options::default(), &path, names).unwrap();
            db.drop_cf("sketches").unwrap();
        }
        let store = bench.open();
        assert_eq!((store.cards().len(), store.sketch(&id).unwrap()), (1, None));
        assert_eq!(store.inner.index.get(Column::Meta, b"schema").unwrap(), Some(SCHEMA.to_le_bytes().to_vec()));
    });
}

#[test]
fn a_sketch_that_cannot_be_read_is_made_anew() {
    on_both(|bench| {
        let store = bench.open();
        let (old, new) = (add(&store, 1, 100), add(&store, 2, 200));
        let of_old = sketch_of(&content(1, 100));
        store.drop_sketches(&|sketch| sketch == of_old).unwrap();
        assert_eq!((store.sketch(&old).unwrap(), store.sketch(&new).unwrap().is_some()), (None, true));
        let report = store.fsck(FsckMode::Rebuild(&super::fsck::make_card), NOW, &mut |_| {}).unwrap();
        assert_eq!((report.sketches_made, store.sketch(&old).unwrap()), (1, Some(of_old)));
    });
}

#[test]
fn a_sketch_is_written_and_deleted_with_its_layer() {
    on_both(|bench| {
        let store = bench.open();
        let id = add(&store, 1, 100);
        drop(store);
        let store = bench.open();
        assert_eq!(store.sketch(&id).unwrap(), Some(sketch_of(&content(1, 100))));
        store.remove_layer(&id).unwrap();
        assert_eq!(store.sketch(&id).unwrap(), None);
        assert_eq!(store.inner.index.get(Column::Sketches, id.as_bytes()).unwrap(), None, "the row must be deleted");
        let (tar, card) = layer(2, 100);
        let mut writer = store.create_layer(card.diff_id, card.tar_bytes).unwrap();
        writer.append(&tar).unwrap();
        let error = writer.finish_sketched(card, vec![0; crate::SKETCH_BYTES_MAX + 1], NOW).unwrap_err();
        assert!(matches!(error, StoreError::OverLimit { .. }), "{error}");
        assert!(store.card(&card.diff_id).is_none());
    });
}

/// Whether `fsck` can help.
fn is_damaged(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Damaged { .. } | StoreError::Index(IndexError::Lost { .. } | IndexError::Damaged { .. })
    )
}
