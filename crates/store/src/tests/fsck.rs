//! fsck against each kind of damage.
//!
//! A test damages a closed store in one way. A check must find the damage and change nothing, a rebuild must find and
//! repair it, and a second check must find nothing.

use std::error::Error;
use std::io::Read;

use super::*;
use crate::{Damage, Finding, FsckMode, IndexError, Item, LayerFacts, Repair, StoreError};

/// Makes the card and the sketch that [`try_add`] commits, from the tar.
pub(super) fn make_card(_: DiffId, tar: &mut dyn Read) -> Result<LayerFacts, Box<dyn Error + Send + Sync>> {
    let mut bytes = Vec::new();
    tar.read_to_end(&mut bytes)?;
    Ok(LayerFacts { card: card_of(&bytes), sketch: Some(sketch_of(&bytes)) })
}

fn findings(store: &Store, mode: FsckMode<'_>) -> Vec<Finding> {
    store.fsck(mode, NOW, &mut |_| {}).unwrap().findings
}

/// Creates a store with two layers, a blob, a patch and a reference that names the second layer. Closes it, damages it,
/// and checks and rebuilds it. Every finding must match `expected`; afterwards the store holds `held_after` layers.
fn check(damage: impl Fn(&Bench, &[Item]), expected: impl Fn(&Damage, &Repair) -> bool, held_after: usize) {
    on_both(|bench| {
        let store = bench.open();
        let items: Vec<Item> = [1, 2].map(|seed| Item::Layer(add(&store, seed, 1_000))).to_vec();
        let Item::Layer(second) = items[1] else { unreachable!() };
        let image = image(&store, 1, vec![second]);
        let items = [items, vec![Item::Blob(try_add_blob(&store, 5).unwrap())]].concat();
        let items = [items, vec![Item::Patch(add_patch(&store, key(second, 0), 1, 100))]].concat();
        store.set_reference(&reference(1), image).unwrap();
        let items = [items, vec![Item::Image(reference(1))]].concat();
        let images = store.references();
        drop(store);
        damage(bench, &items);
        let store = bench.open();
        let found = findings(&store, FsckMode::Check);
        assert!(!found.is_empty(), "nothing found");
        assert!(found.iter().all(|finding| finding.repair == Repair::None));
        assert_eq!(findings(&store, FsckMode::Check), found, "a check changes nothing");
        let rebuilt = findings(&store, FsckMode::Rebuild(&make_card));
        assert_eq!(paths_and_damages(&rebuilt), paths_and_damages(&found));
        assert!(rebuilt.iter().all(|finding| expected(&finding.damage, &finding.repair)), "{rebuilt:?}");
        assert_eq!(findings(&store, FsckMode::Check), []);
        assert_eq!(store.references(), images);
        assert_eq!(store.cards().len(), held_after);
        drop(store);
        let store = bench.open();
        assert_eq!(findings(&store, FsckMode::Check), []);
        assert_eq!(store.cards().len(), held_after);
        assert_sound(&store);
    });
}

fn paths_and_damages(findings: &[Finding]) -> Vec<(&Path, &Damage)> {
    findings.iter().map(|finding| (finding.path.as_path(), &finding.damage)).collect()
}

fn path(bench: &Bench, item: &Item) -> std::path::PathBuf {
    crate::folder::Folder::open(bench.path(), Steps::default()).unwrap().path(item)
}

fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_flipped_bit_is_found_and_the_file_quarantined() {
    for (item, held_after) in [(0, 1), (2, 2), (3, 2)] {
        check(|bench, items| flip(&path(bench, &items[item])), is_quarantined_for_wrong_bytes, held_after);
    }
}

fn is_quarantined_for_wrong_bytes(damage: &Damage, repair: &Repair) -> bool {
    match (damage, repair) {
        (Damage::WrongBytes { .. }, Repair::Quarantined(place)) => place.exists(),
        _ => false,
    }
}

#[test]
fn a_flipped_bit_in_a_reference_is_repaired_from_its_row() {
    check(
        |bench, items| flip(&path(bench, &items[4])),
        |damage, repair| matches!((damage, repair), (Damage::Unreadable { .. }, Repair::FileWritten)),
        2,
    );
}

#[test]
fn a_truncated_file_is_found_and_quarantined() {
    check(
        |bench, items| std::fs::File::options().write(true).open(path(bench, &items[0])).unwrap().set_len(999).unwrap(),
        is_quarantined_for_wrong_bytes,
        1,
    );
}

#[test]
fn a_missing_file_is_found_and_its_row_deleted() {
    for item in [0, 2, 3] {
        check(
            |bench, items| std::fs::remove_file(path(bench, &items[item])).unwrap(),
            |damage, repair| matches!((damage, repair), (Damage::NoFile, Repair::RowDeleted)),
            if item == 0 { 1 } else { 2 },
        );
    }
}

#[test]
fn an_intact_file_without_a_row_gets_a_row() {
    check(
        |bench, _| {
            let (tar, card) = layer(9, 1_000);
            let path = path(bench, &Item::Layer(card.diff_id));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, tar).unwrap();
        },
        |damage, repair| matches!((damage, repair), (Damage::NoRow, Repair::RowWritten)),
        3,
    );
}

#[test]
fn a_patch_without_a_row_is_removed() {
    check(
        |bench, _| std::fs::write(path(bench, &Item::Patch(patch_id(99))), b"patch").unwrap(),
        |damage, repair| matches!((damage, repair), (Damage::NoRow, Repair::Removed)),
        2,
    );
}

#[test]
fn unknown_files_are_quarantined() {
    for name in ["layers/sha256/notes.txt", "patches/README", "partial/notes", "references/notes"] {
        check(
            |bench, _| std::fs::write(bench.path().join(name), b"mine").unwrap(),
            |damage, repair| {
                matches!(damage, Damage::UnknownFile | Damage::Unreadable { .. })
                    && matches!(repair, Repair::Quarantined(_))
            },
            2,
        );
    }
}

#[test]
fn leftovers_are_found_while_the_store_is_open() {
    on_both(|bench| {
        let store = bench.open();
        let writing = store.create_layer_unnamed(Some(Bytes(10))).unwrap();
        std::fs::write(bench.path().join("partial/77.tmp"), b"x").unwrap();
        let found = findings(&store, FsckMode::Rebuild(&make_card));
        assert_eq!(found.len(), 1);
        assert_eq!((&found[0].damage, &found[0].repair), (&Damage::Leftover, &Repair::Removed));
        assert_eq!(findings(&store, FsckMode::Check), []);
        drop(writing);
    });
}

#[test]
fn a_damaged_layer_of_an_image_is_reported_as_missing() {
    on_both(|bench| {
        let store = bench.open();
        let id = add(&store, 1, 1_000);
        store.set_reference(&reference(1), image(&store, 1, vec![id])).unwrap();
        flip(&store.inner.path(&Item::Layer(id)));
        let reader = store.open_layer(&id).unwrap().unwrap();
        let busy = findings(&store, FsckMode::Rebuild(&make_card));
        assert!(matches!(busy[..], [Finding { repair: Repair::None, .. }]), "a reader is open: {busy:?}");
        drop(reader);
        let report = store.fsck(FsckMode::Rebuild(&make_card), NOW, &mut |_| {}).unwrap();
        assert!(!report.is_clean());
        assert!(matches!(report.findings[1].damage, Damage::NotHeld { item: Item::Layer(layer) } if layer == id));
        assert_eq!(store.take_gone_layers(), [id]);
        // A pull commits the layer again, which repairs the image.
        add(&store, 1, 1_000);
        assert_eq!(findings(&store, FsckMode::Check), []);
    });
}

#[test]
fn a_layer_without_a_possible_card_is_quarantined() {
    on_both(|bench| {
        let store = bench.open();
        let id = add(&store, 1, 1_000);
        drop(store);
        bench.lose_index();
        let store = bench.try_open(Options::default(), Steps::default(), Opening::Repair).unwrap();
        let found = findings(&store, FsckMode::Rebuild(&|_, _| Err("no card".into())));
        assert!(matches!(&found[0].repair, Repair::Quarantined(place) if place.exists()), "{found:?}");
        assert!(store.card(&id).is_none());
    });
}

#[test]
fn a_lost_index_is_rebuilt_to_the_same_cards_and_references() {
    on_both(|bench| {
        let store = bench.open();
        let ids = [1, 2, 3].map(|seed| add(&store, seed, 1_000));
        store.set_reference(&reference(1), image(&store, 1, ids[..2].to_vec())).unwrap();
        store.set_reference(&reference(2), image(&store, 2, ids[1..].to_vec())).unwrap();
        store.pin(&ids[2]).unwrap();
        add_patch(&store, key(ids[0], 0), 1, 100);
        let (cards, images, blobs, pins) = (store.cards(), store.references(), store.blobs(), store.pins());
        drop(store);
        bench.lose_index();
        let error = bench.try_open(Options::default(), Steps::default(), Opening::Strict).err().unwrap();
        assert!(matches!(error, StoreError::Index(IndexError::Lost { .. })), "{error}");
        let store = bench.try_open(Options::default(), Steps::default(), Opening::Repair).unwrap();
        let mut seen = 0;
        let report = store.fsck(FsckMode::Rebuild(&make_card), NOW, &mut |progress| {
            seen += 1;
            assert!(progress.files_done < progress.files && progress.bytes_done < progress.bytes);
        });
        let report = report.unwrap();
        assert!(report.is_clean(), "{report:?}");
        assert_eq!((report.layers, report.blobs, report.patches, report.images, seen), (3, 4, 1, 2, 8));
        drop(store);
        let store = bench.open();
        assert_eq!((store.cards(), store.references(), store.blobs(), store.pins()), (cards, images, blobs, pins));
        assert!(store.patches().is_empty(), "the cache is lost with its keys");
        for (seed, id) in (1..).zip(ids) {
            assert_eq!(store.sketch(&id).unwrap(), Some(sketch_of(&content(seed, 1_000))));
        }
        assert_sound(&store);
    });
}

/// A layer may lack a sketch because an earlier schema wrote it, or because its caller had no sketch.
#[test]
fn a_rebuild_makes_the_sketches_that_are_missing() {
    on_both(|bench| {
        let store = bench.open();
        let sketched = add(&store, 1, 1_000);
        let (tar, card) = layer(2, 1_000);
        let mut writer = store.create_layer(card.diff_id, card.tar_bytes).unwrap();
        writer.append(&tar).unwrap();
        writer.finish(card, NOW).unwrap();
        assert_eq!(store.sketch(&card.diff_id).unwrap(), None);
        assert_eq!(findings(&store, FsckMode::Check), [], "a missing sketch is no damage");
        for expected in [1, 0] {
            let report = store.fsck(FsckMode::Rebuild(&make_card), NOW, &mut |_| {}).unwrap();
            assert_eq!(report.sketches_made, expected);
        }
        assert_eq!(store.sketch(&card.diff_id).unwrap(), Some(sketch_of(&tar)));
        assert_eq!(store.sketch(&sketched).unwrap(), Some(sketch_of(&content(1, 1_000))));
    });
}
