//! Crashes. Each test runs one operation, stops it after 0, 1, 2... changes of the disk, and opens the folder again.
//!
//! An acknowledged operation must survive. An operation that was not acknowledged must leave its item out, or complete.
//! The store must open without repair, and the same operation must succeed after the crash. With the memory index, all
//! writes that were not synced are lost too, as in a power cut.

use super::packing::{add_text, pack, text};
use super::releases::{keeping, try_add_release};
use super::*;
use crate::{FsckMode, GcMode, StoreError};

/// More steps than any operation here takes.
const STEPS_MAX: u64 = 200;

/// Runs `setup` without a crash, then `act` with a limit of 0, 1, 2... steps until `act` succeeds. After each crash,
/// calls `check` with the reopened store and with whether `act` was acknowledged. Then `act` must succeed without a
/// limit.
pub fn check(
    options: Options,
    setup: impl Fn(&Store),
    act: impl Fn(&Store) -> Result<()>,
    check: impl Fn(&Store, bool),
) {
    on_both_kinds(|new_bench, stride| {
        for steps in (0..STEPS_MAX).step_by(stride) {
            let bench = new_bench();
            let store = bench.open_with(options);
            setup(&store);
            drop(store);
            let limited = Steps::limited(steps);
            let store = bench.try_open(options, limited.clone(), Opening::Strict);
            let acted = store.and_then(|store| act(&store));
            if let Some(memory) = &bench.memory {
                memory.cut_power();
            }
            let store = bench.open_with(options);
            assert_sound(&store);
            check(&store, acted.is_ok());
            if let Err(error) = &acted {
                assert!(limited.are_used_up(), "{error} without a crash");
                act(&store).unwrap_or_else(|error| panic!("a retry failed after a crash at step {steps}: {error}"));
            }
            check(&store, true);
            drop(store);
            let store = bench.open_with(options);
            assert_sound(&store);
            check(&store, true);
            // A crash may leave files whose row was deleted. They stay until eviction or gc removes them.
            store.gc(GcMode::Remove, UnixSeconds(0)).unwrap();
            let report = store.fsck(FsckMode::Check, NOW, &mut |_| {}).unwrap();
            assert!(report.findings.is_empty(), "after {steps} steps: {report:?}");
            if acted.is_ok() {
                assert!(steps > 3, "the operation took only {steps} steps");
                return;
            }
        }
        panic!("{STEPS_MAX} steps were not enough");
    });
}

/// Calls `test` for both indexes, with the stride of the crash points. RocksDB takes a second for each crash point, so
/// it is tested at every fifth step.
fn on_both_kinds(test: impl Fn(&dyn Fn() -> Bench, usize)) {
    test(&|| Bench::new(Some(MemoryIndex::new())), 1);
    test(&|| Bench::new(None), 5);
}

/// Whether a layer is held. Asserts that the sketch of the layer is there exactly if its card is.
fn is_held(store: &Store, seed: u64, length: usize) -> bool {
    let (tar, card) = layer(seed, length);
    let is_held = store.card(&card.diff_id).is_some();
    assert_eq!(store.sketch(&card.diff_id).unwrap(), is_held.then(|| sketch_of(&tar)));
    is_held
}

#[test]
fn a_layer_is_held_whole_or_not_at_all() {
    check(
        Options::default(),
        |store| _ = add(store, 1, 5_000),
        |store| try_add(store, 2, 5_000, NOW).map(drop),
        |store, acknowledged| {
            assert!(is_held(store, 1, 5_000));
            assert!(is_held(store, 2, 5_000) || !acknowledged);
        },
    );
}

#[test]
fn a_layer_is_held_whatever_becomes_of_its_packing() {
    let layer = card_of(&text(1)).diff_id;
    check(
        Options::default(),
        |store| _ = (add(store, 2, 5_000), add_text(store, 1)),
        |store| pack(store, layer).map(drop),
        |store, acknowledged| {
            assert!(is_held(store, 2, 5_000));
            assert!(store.card(&layer).is_some());
            assert!(!store.unpacked_layers().contains(&layer) || !acknowledged);
        },
    );
}

#[test]
fn eviction_removes_only_evictable_items() {
    check(
        budget(10_000),
        |store| {
            add(store, 1, 3_000);
            let named = add(store, 2, 3_000);
            store.set_reference(&reference(1), image(store, 1, vec![named])).unwrap();
            add_patch(store, key(named, 0), 1, 2_000);
        },
        |store| try_add(store, 3, 4_000, NOW).map(drop),
        |store, acknowledged| {
            assert!(is_held(store, 2, 3_000));
            assert!(is_held(store, 3, 4_000) || !acknowledged);
            assert!(store.stats().unwrap().used_bytes <= Bytes(10_000));
        },
    );
}

#[test]
fn a_removed_layer_is_gone_or_whole() {
    let id = layer(1, 5_000).1.diff_id;
    check(
        Options::default(),
        |store| _ = (add(store, 1, 5_000), add(store, 2, 5_000)),
        |store| match store.remove_layer(&id) {
            Err(StoreError::NotHeld { .. }) => store.gc(GcMode::Remove, UnixSeconds(0)).map(drop),
            removed => removed,
        },
        |store, acknowledged| {
            assert!(is_held(store, 2, 5_000));
            assert!(!is_held(store, 1, 5_000) || !acknowledged);
        },
    );
}

#[test]
fn a_blob_is_held_whole_or_not_at_all() {
    check(
        Options::default(),
        |store| _ = try_add_blob(store, 1).unwrap(),
        |store| try_add_blob(store, 2).map(drop),
        |store, acknowledged| {
            let blobs = store.blobs().len();
            assert!(blobs == 2 || (blobs == 1 && !acknowledged));
        },
    );
}

#[test]
fn a_reference_names_the_old_image_or_the_new() {
    check(
        Options::default(),
        |store| {
            let id = add(store, 1, 100);
            store.set_reference(&reference(1), image(store, 1, vec![id])).unwrap();
        },
        |store| {
            let image = Image { layers: vec![], ..store.references()[0].1.clone() };
            store.set_reference(&reference(1), image)
        },
        |store, acknowledged| {
            assert_eq!(store.references().len(), 1);
            assert!(store.references()[0].1.layers.is_empty() || !acknowledged);
        },
    );
}

#[test]
fn a_removed_reference_is_gone_or_unchanged() {
    check(
        Options::default(),
        |store| store.set_reference(&reference(1), image(store, 1, vec![])).unwrap(),
        |store| match store.remove_reference(&reference(1)) {
            Err(StoreError::NotHeld { .. }) => Ok(()),
            removed => removed,
        },
        |store, acknowledged| assert!(store.references().is_empty() || !acknowledged),
    );
}

#[test]
fn pins_are_there_or_not() {
    let id = layer(1, 100).1.diff_id;
    check(
        Options::default(),
        |store| _ = add(store, 1, 100),
        |store| store.pin(&id),
        |store, acknowledged| assert!(store.pins() == [id] || !acknowledged),
    );
    check(
        Options::default(),
        |store| store.pin(&add(store, 1, 100)).unwrap(),
        |store| store.unpin(&id),
        |store, acknowledged| assert!(store.pins().is_empty() || !acknowledged),
    );
}

#[test]
fn image_pins_are_there_or_not() {
    let setup = |store: &Store| store.set_reference(&reference(1), image(store, 1, vec![])).unwrap();
    check(
        Options::default(),
        setup,
        |store| store.pin_image(&reference(1)),
        |store, acknowledged| assert!(store.is_image_pinned(&reference(1)) || !acknowledged),
    );
    check(
        Options::default(),
        |store| {
            setup(store);
            store.pin_image(&reference(1)).unwrap();
        },
        |store| store.unpin_image(&reference(1)),
        |store, acknowledged| assert!(!store.is_image_pinned(&reference(1)) || !acknowledged),
    );
}

/// A release whose name is there is whole, at whatever step the others gave way.
#[test]
fn a_release_gives_way_or_is_whole() {
    let add_release = |store: &Store, n: u64| try_add_release(store, n, 2_000).map(drop);
    check(
        keeping(1, 10_000),
        |store| (1..=3).for_each(|n| add_release(store, n).unwrap()),
        // Once more, a layer that is held would be reserved anew.
        |store| if store.reference(&reference(4)).is_some() { Ok(()) } else { add_release(store, 4) },
        |store, acknowledged| {
            let images = store.references();
            for (reference, image) in &images {
                let is_whole = store.card(&image.layers[0]).is_some() && store.blob(&image.manifest).unwrap().is_some();
                assert!(is_whole, "{reference}");
            }
            let names: Vec<_> = images.into_iter().map(|(reference, _)| reference).collect();
            assert!(names.contains(&reference(3)), "the newest stays");
            assert!(names == [2, 3, 4].map(reference) || !acknowledged);
        },
    );
}

/// The synced bytes of a patch are never lost, even if a crash stops the commit between two of its steps.
#[test]
fn a_patch_resumes_where_it_was_synced() {
    let target = DiffId::new([3; 32]);
    let bytes = content(7, 3_000);
    check(
        Options::default(),
        |store| {
            let mut writer = store.create_patch(key(target, 0), patch_id(7), Bytes(3_000)).unwrap();
            writer.append(&bytes[..2_000]).unwrap();
            writer.sync().unwrap();
        },
        |store| {
            let Some(mut writer) = store.resume_patch(&patch_id(7))? else { return Ok(()) };
            let arrived = usize::try_from(writer.written().0).unwrap();
            writer.append(&bytes[arrived..])?;
            writer.finish(patch_id(7), NOW)
        },
        |store, acknowledged| {
            let partial = store.partial_patch_for(&target);
            let cached = store.find_patch(&key(target, 0));
            assert!(cached.is_some() || !acknowledged);
            assert_eq!(partial.is_none(), cached.is_some());
            assert!(partial.is_none_or(|partial| partial.synced_bytes >= Bytes(2_000)));
        },
    );
}

#[test]
fn a_new_patch_is_there_or_not() {
    let target = DiffId::new([3; 32]);
    check(
        Options::default(),
        |store| drop(store.create_patch(key(target, 0), patch_id(7), Bytes(3_000)).unwrap()),
        |store| try_add_patch(store, key(target, 0), 7, 1_000, NOW).map(drop),
        |store, acknowledged| assert!(store.find_patch(&key(target, 0)).is_some() || !acknowledged),
    );
}

/// After a crash a rebuild can run again. Strict opening refuses the store until a rebuild has finished.
#[test]
fn an_interrupted_rebuild_can_run_again() {
    on_both_kinds(|new_bench, stride| {
        for steps in (0..STEPS_MAX).step_by(stride) {
            let bench = new_bench();
            let store = bench.open();
            let ids = [add(&store, 1, 1_000), add(&store, 2, 1_000)];
            store.set_reference(&reference(1), image(&store, 1, ids.to_vec())).unwrap();
            let (cards, images, blobs) = (store.cards(), store.references(), store.blobs());
            drop(store);
            bench.lose_index();
            let rebuilt = rebuild(&bench, Steps::limited(steps));
            if rebuilt.is_err() {
                assert!(bench.try_open(Options::default(), Steps::default(), Opening::Strict).is_err());
                rebuild(&bench, Steps::default()).unwrap();
            }
            let store = bench.open();
            assert_eq!((store.cards(), store.references(), store.blobs()), (cards, images, blobs));
            assert_sound(&store);
            if rebuilt.is_ok() {
                return;
            }
        }
        panic!("{STEPS_MAX} steps were not enough");
    });
}

fn rebuild(bench: &Bench, steps: Steps) -> Result<()> {
    let store = bench.try_open(Options::default(), steps, Opening::Repair)?;
    store.fsck(FsckMode::Rebuild(&super::fsck::make_card), NOW, &mut |_| {}).map(drop)
}
