//! The interface of the index: both indexes give the same answers, and the memory index enforces the rules of columns.

use super::*;
use crate::{Batch, Column, Durability, IndexError, StoreError};

fn put(column: Column, key: &[u8], value: &[u8]) -> Batch {
    let mut batch = Batch::default();
    batch.put(column, key, value.to_vec());
    batch
}

#[test]
fn both_indexes_read_back_in_key_order() {
    let folder = tempfile::tempdir().unwrap();
    let indexes: [Arc<dyn Index>; 2] =
        [Arc::new(MemoryIndex::new()), Arc::new(RocksIndex::open(&folder.path().join("index")).unwrap())];
    for index in indexes {
        for key in [&b"b/2"[..], b"a", b"b/1", b"b", b"c"] {
            index.write(&put(Column::States, key, key), Durability::Synced).unwrap();
        }
        index.write(&put(Column::Uses, b"b/3", b""), Durability::Lazy).unwrap();
        let mut batch = put(Column::States, b"d", b"1");
        batch.put(Column::States, b"d", b"2".to_vec());
        batch.delete(Column::States, b"b/1");
        batch.delete(Column::States, b"none");
        index.write(&batch, Durability::Synced).unwrap();
        let mut seen = Vec::new();
        index.scan(Column::States, b"b", &mut |key, _| seen.push(key.to_vec())).unwrap();
        assert_eq!(seen, [&b"b"[..], b"b/2"]);
        assert_eq!(index.get(Column::States, b"d").unwrap(), Some(b"2".to_vec()));
        assert_eq!(index.get(Column::States, b"b/1").unwrap(), None);
        assert_eq!(index.get(Column::Uses, b"b/3").unwrap(), Some(Vec::new()));
        assert_eq!(index.get(Column::Layers, b"d").unwrap(), None);
    }
}

#[test]
fn the_memory_index_is_strict() {
    let index = MemoryIndex::new();
    let synced = Durability::Synced;
    index.write(&put(Column::Layers, &[1; 32], b"card"), synced).unwrap();
    index.write(&put(Column::Layers, &[1; 32], b"card"), synced).unwrap();
    index.write(&put(Column::Blobs, &[1; 32], b"bytes"), synced).unwrap();
    let refused = [
        (put(Column::Blobs, &[1; 32], b"other"), synced),
        (put(Column::Layers, &[2; 32], &[0; 65]), synced),
        (put(Column::Layers, &[0; 33], b"card"), synced),
        (put(Column::States, b"", b""), synced),
        (put(Column::States, b"key", b""), Durability::Lazy),
    ];
    for (batch, durability) in refused {
        let error = index.write(&batch, durability).unwrap_err();
        assert!(matches!(error, IndexError::Refused { .. }), "{error}");
    }
    index.write(&put(Column::Uses, b"lost", b"1"), Durability::Lazy).unwrap();
    index.cut_power();
    assert_eq!(index.get(Column::Uses, b"lost").unwrap(), None);
    assert_eq!(index.get(Column::Layers, &[1; 32]).unwrap(), Some(b"card".to_vec()));
}

/// The index fails at the write of a commit, and at the write of a removal. The store reports the error, holds the same
/// layers as before, and can repeat the operation.
#[test]
fn a_failed_write_is_an_error_and_loses_nothing() {
    let index = MemoryIndex::new();
    let bench = Bench::new(Some(index.clone()));
    let store = bench.open();
    let kept = add(&store, 1, 100);
    index.fail_after(0);
    let error = try_add(&store, 2, 100, NOW).unwrap_err();
    assert!(matches!(error, StoreError::Index(IndexError::Failed { .. })), "{error}");
    assert_eq!(store.cards().len(), 1);
    assert_eq!(store.stats().unwrap().unindexed_files, 1);
    index.fail_after(0);
    assert!(store.remove_layer(&kept).is_err());
    assert_eq!(store.cards().len(), 1);
    assert_sound(&store);
    add(&store, 2, 100);
    assert_eq!((store.cards().len(), store.stats().unwrap().unindexed_files), (2, 0));
    store.remove_layer(&kept).unwrap();
    drop(store);
    assert_sound(&bench.open());
}
