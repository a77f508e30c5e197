//! Garbage collection: the items that it removes, the items that it keeps, and the report of a dry run.

use super::*;
use crate::{GcMode, Item, StoreError};

#[test]
fn an_unused_layer_goes_by_its_name_unless_something_needs_it() {
    on_both(|bench| {
        let store = bench.open();
        let [named, pinned, leased, recent, unused] = [1, 2, 3, 4, 5].map(|seed| add(&store, seed, 100));
        store.set_reference(&reference(1), image(&store, 1, vec![named])).unwrap();
        store.pin(&pinned).unwrap();
        let lease = store.lease_layer(&leased).unwrap();
        store.touch(&recent, UnixSeconds(NOW.0 + 10)).unwrap();
        let since = UnixSeconds(NOW.0 + 5);
        for layer in [named, pinned, leased, recent, DiffId::new([9; 32])] {
            assert!(!store.remove_unused_layer(&layer, since).unwrap());
        }
        assert!(store.remove_unused_layer(&unused, since).unwrap());
        assert_eq!((store.cards().len(), store.take_gone_layers()), (4, vec![unused]));
        drop(lease);
        assert_sound(&store);
    });
}

#[test]
fn a_dry_run_reports_what_gc_removes() {
    on_both(|bench| {
        let store = bench.open();
        let [named, pinned, leased, recent, unused] = [1, 2, 3, 4, 5].map(|seed| add(&store, seed, 100));
        store.set_reference(&reference(1), image(&store, 1, vec![named])).unwrap();
        store.pin(&pinned).unwrap();
        let lease = store.open_layer(&leased).unwrap().unwrap();
        store.touch(&recent, UnixSeconds(NOW.0 + 10)).unwrap();
        let blob = try_add_blob(&store, 77).unwrap();
        let kept = add_patch(&store, key(named, 0), 1, 10);
        let orphan = add_patch(&store, key(DiffId::new([9; 32]), 0), 2, 10);
        let of_unused = add_patch(&store, key(unused, 0), 3, 10);
        for (seed, target) in [(4, named), (5, DiffId::new([9; 32]))] {
            let mut writer = store.create_patch(key(target, 0), patch_id(seed), Bytes(90)).unwrap();
            writer.append(&content(seed, 50)).unwrap();
            writer.sync().unwrap();
        }
        let writing = store.create_layer_unnamed(Some(Bytes(100))).unwrap();
        let leftover = bench.path().join("partial/999.tmp");
        std::fs::write(&leftover, b"1234").unwrap();

        let nothing = store.gc(GcMode::DryRun, UnixSeconds(0)).unwrap();
        assert!(nothing.items.is_empty(), "{nothing:?}");
        let before = store.cards();
        let dry = store.gc(GcMode::DryRun, UnixSeconds(NOW.0 + 5)).unwrap();
        assert_eq!(store.cards(), before);
        assert!(leftover.exists());
        let mut patches = [(Item::Patch(orphan), Bytes(10)), (Item::Patch(of_unused), Bytes(10))];
        patches.sort();
        let first = [(Item::Layer(unused), Bytes(100)), (Item::Blob(blob), Bytes(500))];
        assert_eq!(dry.items, [&first[..], &patches[..]].concat());
        assert_eq!(dry.partial_patches, [(patch_id(4), Bytes(50))]);
        assert_eq!(dry.leftovers, [(leftover.clone(), Bytes(4))]);
        assert_eq!(dry.layers().collect::<Vec<_>>(), [unused]);
        assert_eq!(dry.bytes(), Bytes(100 + 500 + 20 + 50 + 4));

        assert_eq!(store.gc(GcMode::Remove, UnixSeconds(NOW.0 + 5)).unwrap(), dry);
        assert!(!leftover.exists());
        assert_eq!(store.take_gone_layers(), [unused]);
        assert_eq!(store.cards().len(), 4);
        assert_eq!(store.patches().iter().map(|patch| patch.patch_id).collect::<Vec<_>>(), [kept]);
        assert!(matches!(store.remove_layer(&unused), Err(StoreError::NotHeld { .. })));
        let second = store.gc(GcMode::Remove, UnixSeconds(NOW.0 + 5)).unwrap();
        assert_eq!(second.bytes(), Bytes::ZERO, "{second:?}");
        drop((writing, lease));
        assert_sound(&store);
        drop(store);
        assert_sound(&bench.open());
    });
}
