//! The scrub: every kind of damage is found, set aside, and can be committed again; whole items are left alone.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::packing::{add_text, pack};
use super::*;
use crate::Scrubbed;
use crate::error::Item;

/// A store with two layers, one of them packed, an image of them, and a patch: and all its items in their order.
fn filled(bench: &Bench) -> (Store, Vec<Item>) {
    let store = bench.open();
    let layers = vec![add(&store, 1, 600_000), add_text(&store, 2)];
    pack(&store, layers[1]).unwrap();
    add_patch(&store, key(layers[0], 0), 4, 1000);
    let image = image(&store, 5, layers);
    store.set_reference(&reference(1), image).unwrap();
    let items = items(&store);
    assert_eq!(items.len(), 6);
    (store, items)
}

fn items(store: &Store) -> Vec<Item> {
    let mut items = Vec::new();
    while let Some(item) = store.next_item(items.last()) {
        items.push(item);
    }
    items
}

fn scrub(store: &Store, item: &Item) -> Scrubbed {
    store.scrub(item, &mut |_| true).unwrap()
}

fn path_of(store: &Store, item: &Item) -> PathBuf {
    store.inner.path(item)
}

/// Flips a bit of a file, this part of its length behind its beginning.
fn flip(path: &std::path::Path, part: u64) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let place = file.metadata().unwrap().len() * part / 8;
    let mut byte = [0];
    file.read_exact_at(&mut byte, place).unwrap();
    file.write_all_at(&[byte[0] ^ 4], place).unwrap();
}

#[test]
fn whole_items_are_left_alone_and_every_byte_is_read() {
    let bench = Bench::new(None);
    let (store, items) = filled(&bench);
    let mut read = Bytes::ZERO;
    for item in &items {
        let scrubbed = store.scrub(item, &mut |bytes| {
            read += bytes;
            true
        });
        assert_eq!(scrubbed.unwrap(), Scrubbed::Whole, "{item}");
    }
    let tars: Bytes = store.cards().iter().map(|card| card.tar_bytes).sum();
    assert_eq!(read, tars + Bytes(2 * 500 + 1000));
    assert!(store.scrub_index().unwrap() >= items.len() as u64);
    assert_eq!(super::scrub::items(&store), items);
}

/// A bit in the first, middle or last part of the file of each kind of item.
#[test]
fn a_flipped_bit_is_found_in_every_kind_of_item() {
    for part in [0, 4, 7] {
        let bench = Bench::new(None);
        let (store, items) = filled(&bench);
        for item in &items {
            flip(&path_of(&store, item), part);
            let Scrubbed::Damaged { moved_to, .. } = scrub(&store, item) else { panic!("{item} seems whole") };
            match item {
                Item::Image(_) => {
                    assert_eq!(moved_to, None);
                    assert_eq!(scrub(&store, item), Scrubbed::Whole, "its file was written again");
                }
                Item::Layer(_) | Item::Blob(_) | Item::Patch(_) => {
                    assert!(moved_to.unwrap().starts_with(bench.path().join("quarantine")));
                    assert_eq!(scrub(&store, item), Scrubbed::Gone);
                }
            }
        }
        assert_eq!(store.take_gone_layers().len(), 2);
        assert_eq!((store.cards().len(), store.blobs().len(), store.patches().len()), (0, 0, 0));
        // All that went can be committed again, and nothing of it takes room.
        assert_eq!(store.stats().unwrap().used_bytes, Bytes::ZERO);
        add(&store, 1, 600_000);
        assert_sound(&store);
        drop(store);
        assert_eq!(bench.open().cards().len(), 1);
    }
}

#[test]
fn a_missing_or_shorter_file_is_found() {
    let bench = Bench::new(None);
    let (store, items) = filled(&bench);
    fs::remove_file(path_of(&store, &items[0])).unwrap();
    let short = File::options().write(true).open(path_of(&store, &items[1])).unwrap();
    short.set_len(10).unwrap();
    for item in &items[..2] {
        assert!(matches!(scrub(&store, item), Scrubbed::Damaged { moved_to: None, .. }), "{item}");
        assert_eq!(scrub(&store, item), Scrubbed::Gone);
    }
    assert_eq!(store.take_gone_layers().len(), 2);
}

#[test]
fn a_scrub_that_is_stopped_changes_nothing() {
    let bench = Bench::new(None);
    let (store, items) = filled(&bench);
    flip(&path_of(&store, &items[0]), 4);
    assert_eq!(store.scrub(&items[0], &mut |_| false).unwrap(), Scrubbed::Stopped);
    assert_eq!(store.cards().len(), 2);
}

/// A reader keeps the bytes that it has open; the layer is no longer offered to others.
#[test]
fn a_damaged_layer_that_is_being_read_is_set_aside() {
    let bench = Bench::new(None);
    let (store, items) = filled(&bench);
    let Item::Layer(id) = &items[0] else { panic!("layers come first") };
    let reader = store.open_layer(id).unwrap();
    flip(&path_of(&store, &items[0]), 4);
    assert!(matches!(scrub(&store, &items[0]), Scrubbed::Damaged { moved_to: Some(_), .. }));
    assert!(store.open_layer(id).unwrap().is_none());
    drop(reader);
}
