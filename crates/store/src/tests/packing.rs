//! Layers that are packed at rest: they are read as before, count with their real bytes, and fsck knows them.

use lighter_types::ReadAt;

use super::fsck::make_card;
use super::*;
use crate::{Damage, FsckMode, Item, Packing, Repair, StoreError};

/// A tar that compresses well.
pub(super) fn text(seed: u64) -> Vec<u8> {
    format!("{seed}: the lighter takes the cargo off the ship. ").bytes().cycle().take(300_000).collect()
}

/// Adds the layer of that tar.
pub(super) fn add_text(store: &Store, seed: u64) -> DiffId {
    let tar = text(seed);
    let card = card_of(&tar);
    let mut writer = store.create_layer(card.diff_id, card.tar_bytes).unwrap();
    writer.append(&tar).unwrap();
    writer.finish_sketched(card, sketch_of(&tar), NOW).unwrap();
    card.diff_id
}

pub(super) fn pack(store: &Store, layer: DiffId) -> Result<Packing> {
    store.pack_layer(&layer, &mut || true)
}

#[test]
fn a_packed_layer_is_read_as_before_and_takes_less() {
    on_both(|bench| {
        let store = bench.open();
        let layer = add_text(&store, 1);
        let earlier = store.open_layer(&layer).unwrap().unwrap();
        let before = store.stats().unwrap().used_bytes;
        let Packing::Packed { saved } = pack(&store, layer).unwrap() else { panic!("not packed") };
        assert_eq!(store.stats().unwrap().used_bytes, before - saved);
        assert!(saved > Bytes(290_000));
        assert_eq!(pack(&store, layer).unwrap(), Packing::Nothing);
        assert_eq!(store.unpacked_layers(), []);
        // A reader of the tar keeps it.
        for reader in [earlier, store.open_layer(&layer).unwrap().unwrap()] {
            let mut part = vec![0; 1000];
            reader.read_exact_at(&mut part, 131_000).unwrap();
            assert_eq!(part, text(1)[131_000..132_000]);
        }
        drop(store);
        let store = bench.open();
        assert_eq!(store.stats().unwrap().layer_bytes, before - saved);
        assert_sound(&store);
        assert_eq!(store.fsck(FsckMode::Check, NOW, &mut |_| {}).unwrap().findings, []);
        store.remove_layer(&layer).unwrap();
        assert_eq!(store.stats().unwrap().used_bytes, Bytes::ZERO);
        add_text(&store, 1);
        assert_eq!(store.unpacked_layers(), [layer]);
        assert_sound(&store);
    });
}

#[test]
fn a_layer_that_does_not_get_smaller_stays_a_tar() {
    let bench = Bench::new(Some(MemoryIndex::new()));
    let store = bench.open();
    let layer = add(&store, 1, 200_000);
    assert_eq!(pack(&store, layer).unwrap(), Packing::NotSmaller);
    assert_eq!(store.unpacked_layers(), [layer]);
    let text = add_text(&store, 1);
    assert_eq!(store.pack_layer(&text, &mut || false).unwrap(), Packing::Stopped);
    assert_eq!(pack(&store, DiffId::new([9; 32])).unwrap(), Packing::Nothing);
    assert_sound(&store);
}

#[test]
fn nothing_gives_way_to_a_packed_file() {
    let bench = Bench::new(Some(MemoryIndex::new()));
    let store = bench.open_with(budget(400_000));
    let layer = add_text(&store, 1);
    let patch = add_patch(&store, key(layer, 0), 1, 50_000);
    assert_eq!(pack(&store, layer).unwrap(), Packing::NoRoom);
    assert!(store.open_patch(&patch).unwrap().is_some());
    assert_sound(&store);
}

#[test]
fn a_damaged_tar_is_not_packed() {
    let bench = Bench::new(Some(MemoryIndex::new()));
    let store = bench.open();
    let layer = add_text(&store, 1);
    let path = store.inner.path(&Item::Layer(layer));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[7] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert!(matches!(pack(&store, layer), Err(StoreError::Damaged { .. })));
    assert_eq!(store.unpacked_layers(), [layer]);
}

/// Index and folder without each other: the packed files are enough for a rebuild.
#[test]
fn fsck_knows_packed_layers() {
    on_both(|bench| {
        let store = bench.open();
        let [whole, damaged] = [1, 2].map(|seed| add_text(&store, seed));
        let cards = store.cards();
        for layer in [whole, damaged] {
            pack(&store, layer).unwrap();
        }
        drop(store);
        bench.lose_index();
        let store = bench.try_open(Options::default(), Steps::default(), Opening::Repair).unwrap();
        let report = store.fsck(FsckMode::Rebuild(&make_card), NOW, &mut |_| {}).unwrap();
        assert!(report.findings.iter().all(|finding| finding.repair == Repair::RowWritten), "{report:?}");
        assert_eq!(store.cards(), cards);
        assert_eq!(store.unpacked_layers(), []);
        assert_sound(&store);
        let path = store.inner.path(&Item::Layer(damaged));
        drop(store);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[7] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let store = bench.open();
        let report = store.fsck(FsckMode::Rebuild(&make_card), NOW, &mut |_| {}).unwrap();
        let [finding] = &report.findings[..] else { panic!("{report:?}") };
        assert!(matches!(finding.damage, Damage::WrongBytes { .. } | Damage::Unreadable { .. }), "{finding:?}");
        assert!(matches!(finding.repair, Repair::Quarantined(_)));
        assert!(store.card(&damaged).is_none() && store.card(&whole).is_some());
    });
}
