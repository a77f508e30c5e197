//! Releases give way: which, in which order, and never without need.
//!
//! A release here has one layer of a given length and two documents of 500 bytes. Its record is its time. The last test
//! puts random images, pins and leases into a small store, asks for room, and checks what may never happen.

use std::collections::BTreeSet;

use lighter_types::ImageReference;
use proptest::prelude::*;

use super::*;
use crate::{FsckMode, Holder, LayerFacts, Retention, StoreError};

/// A budget, and the newest releases of each repository that stay. The first eight bytes of a record are the time.
pub fn keeping(newest: usize, bytes_max: u64) -> Options {
    Options { retention: Retention::newest(newest, released), ..budget(bytes_max) }
}

fn released(record: &[u8]) -> Option<UnixSeconds> {
    record.first_chunk().map(|bytes| UnixSeconds(u64::from_le_bytes(*bytes)))
}

fn named(store: &Store, reference: &ImageReference, time: u64, layers: Vec<DiffId>) -> Result<()> {
    let image = Image {
        manifest: try_add_blob(store, time * 2)?,
        config: try_add_blob(store, time * 2 + 1)?,
        layers,
        release_record: time.to_le_bytes().to_vec(),
    };
    store.set_reference(reference, image)
}

/// Release `n` of a repository: one layer, released at second `n`.
pub fn try_add_release(store: &Store, n: u64, length: usize) -> Result<DiffId> {
    let layer = try_add(store, n, length, NOW)?;
    named(store, &reference(n), n, vec![layer])?;
    Ok(layer)
}

fn release(store: &Store, n: u64, length: usize) -> DiffId {
    try_add_release(store, n, length).unwrap()
}

fn names(store: &Store) -> Vec<String> {
    store.references().iter().map(|(reference, _)| reference.to_string()).collect()
}

fn gave_way(store: &Store) -> Vec<String> {
    store.take_gave_way().iter().map(|release| release.reference.to_string()).collect()
}

/// Asks for room, and gives it back.
fn reserve(store: &Store, bytes: u64) -> Result<()> {
    let checked = store.check_room(Bytes(bytes)).map_err(|error| error.to_string());
    let reserved = store.create_layer_unnamed(Some(Bytes(bytes))).map(drop);
    assert_eq!(checked, reserved.as_ref().copied().map_err(ToString::to_string));
    reserved
}

#[test]
fn the_oldest_releases_of_all_repositories_give_way() {
    on_both(|bench| {
        let store = bench.open_with(keeping(2, 24_000));
        let other: ImageReference = "demo/other:1".parse().unwrap();
        let layers: Vec<DiffId> = [11, 9, 12, 10].map(|n| release(&store, n, 3_000)).to_vec();
        for (time, tag) in [(1, "1"), (2, "2"), (20, "3")] {
            let layer = add(&store, 100 + time, 500);
            named(&store, &format!("demo/other:{tag}").parse().unwrap(), time, vec![layer]).unwrap();
        }
        let patch = add_patch(&store, key(layers[0], 0), 1, 1_000);
        let unnamed = add(&store, 50, 100);
        let before = store.blobs().len();
        reserve(&store, 400).unwrap();
        assert_eq!(names(&store).len(), 7, "there is room");
        // Layers of releases, documents, and the patch and the layer that go first.
        let used = 13_500 + 7_000 + 1_100;
        assert_eq!(store.stats().unwrap().used_bytes, Bytes(used));
        reserve(&store, 24_000 - used + 1_000).unwrap();
        assert!(store.open_patch(&patch).unwrap().is_none() && gave_way(&store).is_empty());
        reserve(&store, 24_000 - used + 1_101).unwrap();
        assert_eq!(gave_way(&store), ["demo/other:1"]);
        assert!(store.take_gone_layers().contains(&unnamed) && store.reference(&other).is_none());
        assert_eq!(store.blobs().len(), before - 2, "the documents went with it");
        reserve(&store, 24_000 - store.stats().unwrap().used_bytes.0 + 3_500).unwrap();
        assert_eq!(gave_way(&store), ["demo/nginx:9", "demo/nginx:10"]);
        assert_eq!(store.take_gone_layers().len(), 2);
        drop(store);
        let store = bench.open_with(keeping(2, 24_000));
        assert_eq!(names(&store), ["demo/nginx:11", "demo/nginx:12", "demo/other:2", "demo/other:3"]);
        reserve(&store, 13_001).unwrap_err();
        assert_eq!(names(&store).len(), 4, "the newest two of each stay");
        assert_sound(&store);
    });
}

#[test]
fn images_that_are_pinned_in_use_or_without_a_release_stay() {
    on_both(|bench| {
        let store = bench.open_with(keeping(1, 16_000));
        let layers: Vec<DiffId> = (1..=4).map(|n| release(&store, n, 2_000)).collect();
        let digest: ImageReference = "sha256/abc:latest".parse().unwrap();
        let image = Image { release_record: vec![], ..store.reference(&reference(1)).unwrap() };
        store.set_reference(&digest, Image { layers: vec![add(&store, 60, 2_000)], ..image }).unwrap();
        store.pin_image(&reference(1)).unwrap();
        let lease = store.lease_layer(&layers[1]).unwrap();
        assert_eq!(store.stats().unwrap().image_bytes_max, Bytes(2_000));
        // 14,000 bytes are used; only release 3 may give way, with 3,000 bytes of layer and documents.
        let error = reserve(&store, 4_001).unwrap_err();
        assert!(matches!(error, StoreError::BudgetFull { available: Bytes(4_000), .. }), "{error}");
        assert_eq!((names(&store).len(), gave_way(&store).len()), (5, 0), "a refusal takes nothing");
        reserve(&store, 4_000).unwrap();
        assert_eq!(gave_way(&store), ["demo/nginx:3"]);
        drop(lease);
        reserve(&store, 6_000).unwrap();
        assert_eq!(gave_way(&store), ["demo/nginx:2"]);
        reserve(&store, 8_001).unwrap_err();
        store.unpin_image(&reference(1)).unwrap();
        reserve(&store, 8_001).unwrap();
        assert_eq!(names(&store), ["demo/nginx:4", "sha256/abc:latest"]);
        assert_sound(&store);
    });
}

#[test]
fn a_release_of_which_nothing_would_go_stays() {
    on_both(|bench| {
        let store = bench.open_with(keeping(1, 10_000));
        let (base, own, shared) = (add(&store, 1, 1_000), add(&store, 2, 1_000), add(&store, 3, 1_000));
        let layers = [vec![base], vec![base, shared], vec![base, own], vec![shared], vec![base]];
        for (n, layers) in (1..).zip(layers) {
            named(&store, &reference(n), n, layers).unwrap();
        }
        let lease = store.lease_layer(&base).unwrap();
        // 8,000 bytes are used. The first has nothing to give, and the second nothing as long as the fourth stays.
        reserve(&store, 3_000).unwrap();
        assert_eq!((gave_way(&store), store.take_gone_layers()), (vec!["demo/nginx:3".to_owned()], vec![own]));
        reserve(&store, 5_000).unwrap();
        assert_eq!(gave_way(&store), ["demo/nginx:2", "demo/nginx:4"]);
        assert_eq!(store.take_gone_layers(), [shared]);
        drop(lease);
        reserve(&store, 8_000).unwrap_err();
        assert_eq!(names(&store), ["demo/nginx:1", "demo/nginx:5"]);
        assert_sound(&store);
    });
}

/// A layer of unknown size reserves in steps of 16 MiB. No release gives way for a step that is not needed.
#[test]
fn no_release_gives_way_for_a_larger_reservation_than_needed() {
    on_both(|bench| {
        let store = bench.open_with(keeping(1, 24 << 20));
        (1..=3).for_each(|n| _ = release(&store, n, 5 << 20));
        let mut writer = store.create_layer_unnamed(None).unwrap();
        let part = content(9, 1 << 20);
        (0..8).for_each(|_| writer.append(&part).unwrap());
        assert_eq!(names(&store).len(), 3);
        (0..2).for_each(|_| writer.append(&part).unwrap());
        assert_eq!(gave_way(&store), ["demo/nginx:1"]);
    });
}

#[test]
fn by_default_every_release_stays() {
    on_both(|bench| {
        let store = bench.open_with(budget(8_000));
        (1..=3).for_each(|n| _ = release(&store, n, 1_000));
        reserve(&store, 3_000).unwrap_err();
        assert_eq!(names(&store).len(), 3);
        assert_eq!(store.stats().unwrap().staying_bytes, store.stats().unwrap().used_bytes);
        drop(store);
        let store = bench.open_with(keeping(1, 8_000));
        assert_eq!(store.stats().unwrap().staying_bytes, Bytes(1_000 + 6 * 500));
        store.pin_image(&reference(1)).unwrap();
        assert_eq!(store.stats().unwrap().staying_bytes, Bytes(2_000 + 6 * 500));
    });
}

#[test]
fn a_pin_of_an_image_outlives_restarts_and_a_lost_index() {
    on_both(|bench| {
        let store = bench.open();
        release(&store, 1, 1_000);
        assert!(matches!(store.pin_image(&reference(2)), Err(StoreError::NotHeld { .. })));
        store.pin_image(&reference(1)).unwrap();
        store.pin_image(&reference(1)).unwrap();
        drop(store);
        bench.lose_index();
        let repaired = bench.try_open(Options::default(), Steps::default(), Opening::Repair).unwrap();
        let card = |_, tar: &mut dyn std::io::Read| {
            let mut bytes = Vec::new();
            tar.read_to_end(&mut bytes)?;
            Ok(LayerFacts { card: card_of(&bytes), sketch: Some(sketch_of(&bytes)) })
        };
        repaired.fsck(FsckMode::Rebuild(&card), NOW, &mut |_| {}).unwrap();
        drop(repaired);
        let store = bench.open();
        assert!(store.is_image_pinned(&reference(1)) && !store.is_image_pinned(&reference(2)));
        assert!(matches!(store.remove_reference(&reference(1)), Err(StoreError::InUse { by: Holder::Pin, .. })));
        // The pin is of the name: the next image of that name has it too.
        named(&store, &reference(1), 7, vec![]).unwrap();
        assert!(store.is_image_pinned(&reference(1)));
        store.unpin_image(&reference(1)).unwrap();
        store.unpin_image(&reference(1)).unwrap();
        drop(store);
        let store = bench.open();
        assert!(!store.is_image_pinned(&reference(1)));
        store.remove_reference(&reference(1)).unwrap();
    });
}

const LAYERS: u64 = 8;
const TAGS: u64 = 9;

/// Tag, and for each layer whether the image has it; pins; leases; what is asked for.
type Case = (Vec<(u64, Vec<bool>)>, Vec<u64>, Vec<u64>, Vec<u64>);

fn case() -> impl Strategy<Value = Case> {
    (
        prop::collection::vec((0..TAGS, prop::collection::vec(any::<bool>(), LAYERS as usize)), 0..12),
        prop::collection::vec(0..TAGS, 0..3),
        prop::collection::vec(0..LAYERS, 0..3),
        prop::collection::vec(1..9_000_u64, 1..4),
    )
}

/// Tags of three repositories.
fn tag(n: u64) -> ImageReference {
    format!("demo/app{}:{n}", n % 3).parse().unwrap()
}

/// The tags of a repository that may not give way, whatever is asked for.
fn newest_two(store: &Store, repository: u64) -> BTreeSet<ImageReference> {
    let all = store.references().into_iter().filter(|(name, _)| name.repository().ends_with(&repository.to_string()));
    let mut all: Vec<_> = all.map(|(name, image)| (released(&image.release_record), name)).collect();
    all.sort();
    all.into_iter().rev().take(2).map(|(_, name)| name).collect()
}

fn check_case((images, pins, leases, requests): Case) {
    let bench = Bench::new(Some(MemoryIndex::new()));
    let store = bench.open_with(keeping(2, 20_000));
    let layers: Vec<DiffId> = (0..LAYERS).map(|n| add(&store, n, 1_000)).collect();
    for (time, (n, has)) in (1..).zip(images) {
        let layers = layers.iter().zip(has).filter(|(_, has)| *has).map(|(layer, _)| *layer).collect();
        let image = Image {
            manifest: try_add_blob(&store, 1).unwrap(),
            config: try_add_blob(&store, 2).unwrap(),
            layers,
            release_record: u64::to_le_bytes(time).to_vec(),
        };
        store.set_reference(&tag(n), image).unwrap();
    }
    let pins: BTreeSet<_> = pins.into_iter().map(tag).filter(|name| store.pin_image(name).is_ok()).collect();
    let leased: Vec<DiffId> = leases.into_iter().map(|n| layers[n as usize]).collect();
    let leases: Vec<_> = leased.iter().map(|layer| store.lease_layer(layer).unwrap()).collect();
    for bytes in requests {
        let (before, held) = (store.references(), store.cards());
        let unnamed = held.iter().filter(|card| !before.iter().any(|(_, image)| image.layers.contains(&card.diff_id)));
        let unnamed: u64 = unnamed.map(|card| card.tar_bytes.0).sum();
        let used = store.stats().unwrap().used_bytes.0;
        let newest: BTreeSet<_> = (0..3).flat_map(|repository| newest_two(&store, repository)).collect();
        let reserved = reserve(&store, bytes);
        let gone = store.take_gone_layers();
        let gave_way: BTreeSet<_> = store.take_gave_way().into_iter().map(|release| release.reference).collect();
        assert!(reserved.is_ok() || (gone.is_empty() && gave_way.is_empty()), "a refusal takes nothing");
        assert!(gave_way.is_disjoint(&pins) && gave_way.is_disjoint(&newest));
        // Leases held nothing back where there are none; else the unnamed layers may be leased.
        let is_needed = used + bytes > 20_000 + if leases.is_empty() { unnamed } else { 0 };
        assert!(gave_way.is_empty() || is_needed, "{gave_way:?} without need");
        for (name, image) in before {
            let is_here = store.reference(&name).is_some();
            assert_eq!(is_here, !gave_way.contains(&name));
            assert!(!is_here || image.layers.iter().all(|layer| store.card(layer).is_some()), "{name} is whole");
            assert!(is_here || image.layers.iter().any(|layer| gone.contains(layer)), "{name} gave nothing");
        }
    }
    assert!(leased.iter().all(|layer| store.card(layer).is_some()), "a leased layer went");
    drop(leases);
    assert_sound(&store);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_pinned_in_use_or_new_gives_way_and_nothing_without_need(case in case()) {
        check_case(case);
    }
}
