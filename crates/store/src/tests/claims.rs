//! Room for what a peer claims: taken as bytes come, given back when the file is dropped, and no more displaced than
//! came.

use super::*;
use crate::{Claim, StoreError};

const TARGET: DiffId = DiffId::new([9; 32]);
/// More than any store here has.
const HUGE: Bytes = Bytes(39 << 30);

fn used(store: &Store) -> u64 {
    store.stats().unwrap().used_bytes.0
}

#[test]
fn a_claimed_patch_takes_no_room_before_its_bytes_come() {
    on_both(|bench| {
        let store = bench.open_with(budget(10_000));
        let layers: Vec<DiffId> = (0..3).map(|n| try_add(&store, n, 3_000, UnixSeconds(100 + n)).unwrap()).collect();
        let mut writer = store.create_patch(key(TARGET, 0), patch_id(1), HUGE).unwrap();
        writer.append(&content(1, 1_000)).unwrap();
        writer.sync().unwrap();
        assert_eq!((used(&store), store.cards().len()), (10_000, 3), "nothing gave way");
        // The next byte is there: it may displace what a byte of any item may.
        writer.append(&content(2, 500)).unwrap();
        assert_eq!(store.take_gone_layers(), [layers[0]]);
        assert_eq!(used(&store), 7_500);
        drop(writer);
        assert_eq!(used(&store), 7_000, "what was not synced is given back");
        let store = reopened(store, bench);
        assert_eq!(used(&store), 7_000);
        let mut writer = store.resume_patch(&patch_id(1)).unwrap().unwrap();
        writer.append(&content(2, 500)).unwrap();
        assert_eq!(used(&store), 7_500);
        drop(writer);
        store.discard_patch(&patch_id(1)).unwrap();
        assert_eq!(used(&store), 6_000);
        assert_sound(&store);
    });
}

fn reopened(store: Store, bench: &Bench) -> Store {
    drop(store);
    bench.open_with(budget(10_000))
}

#[test]
fn the_blocks_of_a_claimed_patch_are_given_back() {
    on_both(|bench| {
        let store = bench.open();
        let mut writer = store.create_patch(key(TARGET, 0), patch_id(1), HUGE).unwrap();
        writer.append(&content(1, 1_000)).unwrap();
        writer.sync().unwrap();
        assert_eq!(used(&store), 16 << 20, "a step is reserved while the writer is open");
        drop(writer);
        assert_eq!(used(&store), 1_000);
        let mut files = std::fs::read_dir(bench.path().join("partial")).unwrap();
        let file = files.next().unwrap().unwrap().metadata().unwrap();
        assert_eq!(file.len(), 1_000);
        assert!(std::os::unix::fs::MetadataExt::blocks(&file) * 512 < 1 << 20);
    });
}

#[test]
fn decoded_bytes_displace_no_more_than_the_caller_says() {
    on_both(|bench| {
        let store = bench.open_with(budget(10_000));
        let layers: Vec<DiffId> = (0..3).map(|n| try_add(&store, n, 3_000, UnixSeconds(100 + n)).unwrap()).collect();
        let claim = Claim { tar_bytes: HUGE, displacing_max: Bytes(2_500) };
        let mut writer = store.create_layer_claimed(TARGET, claim).unwrap();
        assert_eq!(used(&store), 9_000);
        writer.append(&content(1, 1_000)).unwrap();
        assert_eq!(store.cards().len(), 3);
        writer.append(&content(1, 1_500)).unwrap();
        assert_eq!(store.take_gone_layers(), [layers[0]]);
        // There is room for 1,500 more; beyond that only another layer could give way.
        writer.append(&content(1, 1_500)).unwrap();
        let refused = writer.append(&content(1, 1)).unwrap_err();
        assert!(matches!(refused, StoreError::BudgetFull { needed: Bytes(1), available: Bytes(0), .. }), "{refused}");
        assert_eq!(store.cards().len(), 2);
        drop(writer);
        assert_eq!(used(&store), 6_000);
        assert_sound(&store);
    });
}

#[test]
fn a_claimed_layer_has_its_length_and_its_sha256_or_is_refused() {
    on_both(|bench| {
        let store = bench.open();
        let (tar, card) = layer(1, 3_000);
        let claim = |bytes| Claim { tar_bytes: Bytes(bytes), displacing_max: Bytes::ZERO };
        let mut long = store.create_layer_claimed(card.diff_id, claim(2_999)).unwrap();
        assert!(matches!(long.append(&tar), Err(StoreError::OverLimit { .. })));
        drop(long);
        let mut short = store.create_layer_claimed(card.diff_id, claim(3_001)).unwrap();
        short.append(&tar).unwrap();
        assert!(matches!(short.finish(card, NOW), Err(StoreError::Mismatch { .. })));
        let mut right = store.create_layer_claimed(card.diff_id, claim(3_000)).unwrap();
        right.append(&tar).unwrap();
        assert_eq!(used(&store), 3_000, "a step is no more than the rest of the claim");
        right.finish(card, NOW).unwrap();
        assert_eq!(used(&store), 3_000);
        assert_sound(&store);
    });
}
