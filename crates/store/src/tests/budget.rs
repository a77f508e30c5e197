//! The budget: the order of eviction, reservations, and refusals.

use super::*;
use crate::StoreError;

fn held(store: &Store) -> Vec<DiffId> {
    store.cards().iter().map(|card| card.diff_id).collect()
}

#[test]
fn patches_go_before_layers_and_the_least_recently_used_first() {
    on_both(|bench| {
        let store = bench.open_with(budget(10_000));
        let layers: Vec<DiffId> = (0..4).map(|n| try_add(&store, n, 2_000, UnixSeconds(100 + n)).unwrap()).collect();
        let old = try_add_patch(&store, key(layers[0], 0), 1, 1_000, UnixSeconds(900)).unwrap();
        let new = try_add_patch(&store, key(layers[0], 1), 2, 1_000, UnixSeconds(901)).unwrap();
        store.touch(&layers[0], UnixSeconds(500)).unwrap();
        // The times of last use survive a restart.
        drop(store);
        let store = bench.open_with(budget(10_000));

        add(&store, 10, 1_000);
        assert!(store.open_patch(&old).unwrap().is_none() && store.open_patch(&new).unwrap().is_some());
        assert_eq!(held(&store).len(), 5);
        add(&store, 11, 1_500);
        assert!(store.patches().is_empty());
        assert_eq!(store.take_gone_layers(), [layers[1]]);
        add(&store, 12, 3_000);
        assert_eq!(store.take_gone_layers(), [layers[2]]);
        assert!(held(&store).contains(&layers[0]) && held(&store).contains(&layers[3]));
        assert_sound(&store);
    });
}

#[test]
fn items_in_use_are_never_evicted() {
    on_both(|bench| {
        let store = bench.open_with(budget(6_000));
        let ids: Vec<DiffId> = (0..4).map(|n| add(&store, n, 1_000)).collect();
        store.pin(&ids[0]).unwrap();
        store.set_reference(&reference(1), image(&store, 1, vec![ids[1]])).unwrap();
        let lease = store.open_layer(&ids[2]).unwrap().unwrap();
        let patch = add_patch(&store, key(ids[0], 0), 1, 500);
        let reader = store.open_patch(&patch).unwrap().unwrap();
        // 5,500 bytes are used, and the store can evict only ids[3].
        let error = store.create_layer(DiffId::new([0; 32]), Bytes(1_600)).err().unwrap();
        match &error {
            StoreError::BudgetFull { needed, available, budget } => {
                assert_eq!((needed.0, available.0, budget.0), (1_600, 1_500, 6_000));
            }
            other => panic!("{other}"),
        }
        assert_eq!(held(&store).len(), 4, "a refusal evicts nothing");
        drop(store.create_layer(DiffId::new([0; 32]), Bytes(1_500)).unwrap());
        assert_eq!(store.take_gone_layers(), [ids[3]]);
        drop((lease, reader));
        drop(store.create_layer(DiffId::new([0; 32]), Bytes(3_000)).unwrap());
        assert_eq!(store.take_gone_layers(), [ids[2]]);
        assert!(store.patches().is_empty());
        assert_sound(&store);
    });
}

#[test]
fn reservations_count_and_are_returned() {
    on_both(|bench| {
        let store = bench.open_with(budget(5_000));
        let (tar, card) = layer(1, 3_000);
        let mut writer = store.create_layer(card.diff_id, card.tar_bytes).unwrap();
        assert_eq!(store.stats().unwrap().reserved_bytes, Bytes(3_000));
        assert!(matches!(
            store.create_layer(card.diff_id, card.tar_bytes).err(),
            Some(StoreError::BudgetFull { available: Bytes(2_000), .. })
        ));
        let mut partial = store.create_patch(key(card.diff_id, 0), patch_id(1), Bytes(1_000)).unwrap();
        partial.append(&content(2, 1_000)).unwrap();
        partial.sync().unwrap();
        assert!(matches!(
            store.create_patch_unnamed(key(card.diff_id, 0), Bytes(1_001)).err(),
            Some(StoreError::BudgetFull { .. })
        ));
        writer.append(&tar).unwrap();
        writer.finish(card, NOW).unwrap();
        drop(partial);
        assert_eq!(store.stats().unwrap().used_bytes, Bytes(4_000));
        store.discard_patch(&patch_id(1)).unwrap();
        drop(store.create_layer_unnamed(Some(Bytes(2_000))).unwrap());
        assert_eq!(store.stats().unwrap().used_bytes, Bytes(3_000));
        assert_eq!(held(&store), [card.diff_id]);
    });
}

#[test]
fn an_unnamed_layer_that_outgrows_the_budget_is_refused() {
    on_both(|bench| {
        let store = bench.open_with(budget(20 << 20));
        let mut writer = store.create_layer_unnamed(None).unwrap();
        let part = content(1, 1 << 20);
        let refused = (0..40).find_map(|_| writer.append(&part).err()).unwrap();
        assert!(matches!(refused, StoreError::BudgetFull { .. }), "{refused}");
        drop(writer);
        assert_eq!(store.stats().unwrap().used_bytes, Bytes::ZERO);
    });
}

#[test]
fn a_full_disk_is_distinguished_from_a_full_budget() {
    on_both(|bench| {
        let store = bench.open();
        let id = add(&store, 1, 1_000);
        drop(store);
        let options = Options { bytes_max: Bytes(u64::MAX), disk_free_min: Bytes(u64::MAX), ..Options::default() };
        let store = bench.open_with(options);
        let error = store.create_layer(DiffId::new([0; 32]), Bytes(100)).err().unwrap();
        assert!(matches!(error, StoreError::DiskFull { needed: Bytes(100), .. }), "{error}");
        assert_eq!(held(&store), [id]);
        // Twice the free bytes of the disk.
        let options = Options { bytes_max: Bytes(u64::MAX), disk_free_min: Bytes::ZERO, ..Options::default() };
        drop(store);
        let store = bench.open_with(options);
        let free = store.stats().unwrap().disk_free_bytes;
        let error = store.create_layer(DiffId::new([0; 32]), free.times(2)).err().unwrap();
        assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
        assert_eq!(held(&store), [id]);
        assert_eq!(std::fs::read_dir(bench.path().join("partial")).unwrap().count(), 0);
    });
}
