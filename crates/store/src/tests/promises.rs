//! The promises of the store for layers, blobs, patches, references, pins and node state.
//!
//! Each test checks one promise of the public API against both indexes: first while the store is open, and where it
//! matters after it was closed and opened again. Crashes, eviction and damage have test files of their own.

use std::os::unix::fs::FileExt;

use lighter_types::{Blame, Tlsh};

use super::*;
use crate::{BLOB_BYTES_MAX, Holder, Item, RELEASE_RECORD_BYTES_MAX, STATE_BYTES_MAX, StoreError};

#[test]
fn a_layer_is_held_once_it_is_finished_and_after_a_restart() {
    on_both(|bench| {
        let store = bench.open();
        let (tar, card) = layer(1, 10_000);
        let mut writer = store.create_layer(card.diff_id, card.tar_bytes).unwrap();
        writer.append(&tar).unwrap();
        assert_eq!(writer.diff_id(), card.diff_id);
        assert!(store.card(&card.diff_id).is_none() && store.open_layer(&card.diff_id).unwrap().is_none());
        writer.finish(card, NOW).unwrap();
        assert_eq!(store.cards(), [card]);
        drop(store);
        let store = bench.open();
        assert_eq!(store.card(&card.diff_id), Some(card));
        assert_sound(&store);
    });
}

#[test]
fn a_layer_gets_its_tlsh_after_its_commit_once() {
    on_both(|bench| {
        let store = bench.open();
        let (tar, card) = layer(1, 10_000);
        let bare = Card { tlsh: None, ..card };
        let mut writer = store.create_layer(card.diff_id, card.tar_bytes).unwrap();
        writer.append(&tar).unwrap();
        writer.finish(bare, NOW).unwrap();
        let [first, second] = [7, 8].map(|digest| Tlsh::new([digest; 35]));
        let complete = Card { tlsh: Some(first), ..card };
        assert_eq!(store.add_tlsh(&card.diff_id, first).unwrap(), Some(complete));
        assert_eq!(store.add_tlsh(&card.diff_id, second).unwrap(), Some(complete));
        assert_eq!(store.add_tlsh(&DiffId::new([9; 32]), first).unwrap(), None);
        drop(store);
        let store = bench.open();
        assert_eq!(store.card(&card.diff_id), Some(complete));
        assert_sound(&store);
    });
}

#[test]
fn an_unnamed_layer_takes_its_name_from_its_card() {
    on_both(|bench| {
        let store = bench.open();
        let (tar, card) = layer(1, 10_000);
        for expected in [None, Some(Bytes(100)), Some(Bytes(50_000))] {
            let mut writer = store.create_layer_unnamed(expected).unwrap();
            writer.append(&tar).unwrap();
            writer.finish(card, NOW).unwrap();
        }
        assert_eq!(store.cards(), [card]);
        assert_eq!(store.stats().unwrap().used_bytes, card.tar_bytes);
        let mut writer = store.create_layer_unnamed(None).unwrap();
        writer.append(&tar[1..]).unwrap();
        let wrong = Card { tar_bytes: Bytes(9_999), ..card };
        assert!(matches!(writer.finish(wrong, NOW), Err(StoreError::Mismatch { what: "the sha256", .. })));
        assert_sound(&store);
    });
}

#[test]
fn wrong_bytes_leave_nothing() {
    on_both(|bench| {
        let store = bench.open();
        let (tar, card) = layer(1, 10_000);
        let mut flipped = tar.clone();
        flipped[5_000] ^= 1;
        for bytes in [&flipped[..], &tar[..9_999], &[]] {
            let mut writer = store.create_layer(card.diff_id, card.tar_bytes).unwrap();
            writer.append(bytes).unwrap();
            let error = writer.finish(card, NOW).unwrap_err();
            assert_eq!(error.blame(), Blame::Peer, "{error}");
        }
        let mut writer = store.create_layer(card.diff_id, card.tar_bytes).unwrap();
        writer.append(&tar).unwrap();
        let error = writer.append(&[0]).unwrap_err();
        assert!(matches!(error, StoreError::OverLimit { found: 10_001, max: 10_000, .. }), "{error}");
        drop(writer);
        assert!(store.cards().is_empty());
        assert_eq!(store.stats().unwrap().used_bytes, Bytes::ZERO);
        assert_eq!(std::fs::read_dir(bench.path().join("partial")).unwrap().count(), 0);
    });
}

#[test]
fn committing_a_held_layer_changes_nothing() {
    on_both(|bench| {
        let store = bench.open();
        let (tar, card) = layer(1, 10_000);
        let mut writers = [(); 3].map(|()| store.create_layer(card.diff_id, card.tar_bytes).unwrap());
        for writer in &mut writers {
            writer.append(&tar).unwrap();
        }
        let other = Card { compressed_bytes: Bytes(1), ..card };
        for (writer, card) in writers.into_iter().zip([card, other, card]) {
            writer.finish(card, NOW).unwrap();
        }
        assert_eq!(store.cards(), [card]);
        assert_eq!(store.stats().unwrap().used_bytes, Bytes(10_000));
        drop(store);
        assert_eq!(bench.open().cards(), [card]);
    });
}

#[test]
fn leased_pinned_or_named_layers_are_not_removed() {
    on_both(|bench| {
        let store = bench.open();
        let id = add(&store, 1, 1_000);
        let reader = store.open_layer(&id).unwrap().unwrap();
        let second_reader = store.open_layer(&id).unwrap().unwrap();
        assert_removal_is_refused(&store, id, Holder::Lease);
        drop(reader);
        assert_removal_is_refused(&store, id, Holder::Lease);
        drop(second_reader);
        store.pin(&id).unwrap();
        store.pin(&id).unwrap();
        assert_removal_is_refused(&store, id, Holder::Pin);
        store.unpin(&id).unwrap();
        store.set_reference(&reference(1), image(&store, 1, vec![id])).unwrap();
        assert_removal_is_refused(&store, id, Holder::Image(reference(1)));
        let config = store.reference(&reference(1)).unwrap().config;
        assert!(matches!(store.remove_blob(&config), Err(StoreError::InUse { .. })));
        store.remove_reference(&reference(1)).unwrap();
        store.remove_layer(&id).unwrap();
        store.remove_blob(&config).unwrap();
        assert!(matches!(store.remove_layer(&id), Err(StoreError::NotHeld { .. })));
        assert!(store.take_gone_layers().is_empty(), "the caller removed the layer itself");
        assert_eq!(add(&store, 1, 1_000), id);
    });
}

fn assert_removal_is_refused(store: &Store, id: DiffId, expected: Holder) {
    match store.remove_layer(&id) {
        Err(StoreError::InUse { item, by }) => assert_eq!((item, by), (Item::Layer(id), expected)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn blobs_are_checked_when_written_and_when_read() {
    on_both(|bench| {
        let store = bench.open();
        let digest = try_add_blob(&store, 1).unwrap();
        assert_eq!(try_add_blob(&store, 1).unwrap(), digest);
        assert_eq!(store.blob(&digest).unwrap(), Some(content(1, 500)));
        assert_eq!(store.blob(&OciDigest::new([0; 32])).unwrap(), None);
        let wrong = store.put_blob(&OciDigest::new([0; 32]), b"x", NOW).unwrap_err();
        assert_eq!(wrong.blame(), Blame::Peer);
        let long = store.put_blob(&digest, &vec![0; BLOB_BYTES_MAX + 1], NOW).unwrap_err();
        assert!(matches!(long, StoreError::OverLimit { .. }));
        std::fs::write(store.inner.path(&Item::Blob(digest)), content(2, 500)).unwrap();
        assert!(matches!(store.blob(&digest), Err(StoreError::Damaged { .. })));
        assert_eq!(store.blob(&digest).unwrap(), None);
        assert_eq!(try_add_blob(&store, 1).unwrap(), digest);
        assert_eq!(store.blob(&digest).unwrap(), Some(content(1, 500)));
    });
}

#[test]
fn references_name_held_items_and_survive_a_restart() {
    on_both(|bench| {
        let store = bench.open();
        let (old, new) = (add(&store, 1, 100), add(&store, 2, 100));
        let (first, second) = (image(&store, 1, vec![old]), image(&store, 2, vec![old, new]));
        let absent = Image { layers: vec![DiffId::new([9; 32])], ..first.clone() };
        assert!(matches!(store.set_reference(&reference(1), absent), Err(StoreError::NotHeld { .. })));
        let long = Image { release_record: vec![0; RELEASE_RECORD_BYTES_MAX + 1], ..first.clone() };
        assert!(matches!(store.set_reference(&reference(1), long), Err(StoreError::OverLimit { .. })));
        store.set_reference(&reference(1), first.clone()).unwrap();
        store.set_reference(&reference(2), first).unwrap();
        store.set_reference(&reference(1), second.clone()).unwrap();
        store.remove_reference(&reference(2)).unwrap();
        assert!(matches!(store.remove_reference(&reference(2)), Err(StoreError::NotHeld { .. })));
        drop(store);
        let store = bench.open();
        assert_eq!(store.references(), [(reference(1), second.clone())]);
        assert_eq!(store.reference(&reference(1)), Some(second));
        assert_eq!(store.open_report().references_settled, 0);
    });
}

#[test]
fn a_patch_is_resumed_at_its_last_sync() {
    on_both(|bench| {
        let store = bench.open();
        let (bytes, id) = (content(7, 3_000), patch_id(7));
        let key = key(DiffId::new([3; 32]), 0);
        let mut writer = store.create_patch(key.clone(), id, Bytes(3_000)).unwrap();
        assert!(matches!(store.resume_patch(&id), Err(StoreError::InUse { .. })));
        writer.append(&bytes[..1_000]).unwrap();
        writer.sync().unwrap();
        writer.append(&bytes[1_000..1_700]).unwrap();
        assert!(matches!(writer.append(&bytes[..1_301]), Err(StoreError::OverLimit { .. })));
        assert_eq!(store.stats().unwrap().used_bytes, Bytes(3_000));
        drop(writer);
        assert_eq!(store.stats().unwrap().used_bytes, Bytes(1_000));
        drop(store);
        let store = bench.open();
        let partial = store.partial_patch_for(&key.target).unwrap();
        assert_eq!((partial.patch_id, &partial.key, partial.synced_bytes), (id, &key, Bytes(1_000)));
        assert!(store.find_patch(&key).is_none() && store.open_patch(&id).unwrap().is_none());
        let mut writer = store.resume_patch(&id).unwrap().unwrap();
        assert_eq!(writer.written(), Bytes(1_000));
        let mut arrived = vec![0; 1_000];
        writer.file().read_exact_at(&mut arrived, 0).unwrap();
        assert_eq!(arrived, bytes[..1_000]);
        writer.append(&bytes[1_000..]).unwrap();
        writer.finish(id, NOW).unwrap();
        assert_eq!(store.find_patch(&key), Some((id, Bytes(3_000))));
        let mut whole = vec![0; 3_000];
        store.open_patch(&id).unwrap().unwrap().file().read_exact_at(&mut whole, 0).unwrap();
        assert_eq!(whole, bytes);
        assert!(store.partial_patches().is_empty() && store.resume_patch(&id).unwrap().is_none());
    });
}

#[test]
fn patches_are_committed_complete_and_under_their_id() {
    on_both(|bench| {
        let store = bench.open();
        let target = add(&store, 1, 100);
        let mut short = store.create_patch(key(target, 0), patch_id(1), Bytes(10)).unwrap();
        short.append(b"123").unwrap();
        assert!(matches!(short.finish(patch_id(1), NOW), Err(StoreError::Mismatch { .. })));
        let named = store.create_patch(key(target, 0), patch_id(1), Bytes(0)).unwrap();
        assert!(matches!(named.finish(patch_id(2), NOW), Err(StoreError::Mismatch { .. })));
        store.discard_patch(&patch_id(1)).unwrap();
        assert!(store.partial_patches().is_empty());
        let mut made = store.create_patch_unnamed(key(target, 0), Bytes(100)).unwrap();
        made.append(b"made here").unwrap();
        made.finish(patch_id(3), NOW).unwrap();
        assert_eq!(store.find_patch(&key(target, 0)), Some((patch_id(3), Bytes(9))));
        assert_eq!(store.find_patch(&key(target, 1)), None);
        // The same patch arrives from a peer. The cached one stays unchanged.
        assert_eq!(add_patch(&store, key(target, 0), 3, 9), patch_id(3));
        let lease = store.open_patch(&patch_id(3)).unwrap().unwrap();
        assert!(matches!(store.remove_patch(&patch_id(3)), Err(StoreError::InUse { .. })));
        drop(lease);
        store.remove_patch(&patch_id(3)).unwrap();
        assert!(store.patches().is_empty());
        assert_eq!(store.stats().unwrap().used_bytes, Bytes(100));
    });
}

#[test]
fn state_is_kept_by_key() {
    on_both(|bench| {
        let store = bench.open();
        store.put_state(b"pull/b", b"2").unwrap();
        store.put_state(b"pull/a", b"1").unwrap();
        store.put_state(b"pulled", &vec![7; STATE_BYTES_MAX]).unwrap();
        store.put_state(b"pull/a", b"3").unwrap();
        drop(store);
        let store = bench.open();
        assert_eq!(store.state(b"pull/a").unwrap(), Some(b"3".to_vec()));
        let pulls = store.states(b"pull/").unwrap();
        assert_eq!(pulls, [(b"pull/a".to_vec(), b"3".to_vec()), (b"pull/b".to_vec(), b"2".to_vec())]);
        store.delete_state(b"pull/a").unwrap();
        assert_eq!(store.state(b"pull/a").unwrap(), None);
        for (key, value) in [(&b""[..], 0), (&[0; 257], 0), (b"k", STATE_BYTES_MAX + 1)] {
            assert!(matches!(store.put_state(key, &vec![0; value]), Err(StoreError::OverLimit { .. })));
        }
    });
}

#[test]
fn a_damaged_layer_is_not_served() {
    on_both(|bench| {
        let store = bench.open();
        let (cut, gone, good) = (add(&store, 1, 1_000), add(&store, 2, 1_000), add(&store, 3, 1_000));
        std::fs::write(store.inner.path(&Item::Layer(cut)), b"cut").unwrap();
        std::fs::remove_file(store.inner.path(&Item::Layer(gone))).unwrap();
        for id in [cut, gone] {
            let error = store.open_layer(&id).err().unwrap();
            assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
            assert!(store.open_layer(&id).unwrap().is_none());
        }
        let mut expected = vec![cut, gone];
        expected.sort();
        assert_eq!(store.take_gone_layers(), expected);
        assert_eq!(store.cards().iter().map(|card| card.diff_id).collect::<Vec<_>>(), [good]);
        // Both can be committed again, even with another card.
        for seed in [1, 2] {
            let (tar, card) = layer(seed, 1_000);
            let mut writer = store.create_layer_unnamed(None).unwrap();
            writer.append(&tar).unwrap();
            writer.finish(Card { compressed_bytes: Bytes(3), ..card }, NOW).unwrap();
        }
        assert_eq!(store.cards().len(), 3);
        drop(store);
        assert_sound(&bench.open());
    });
}
