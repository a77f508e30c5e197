//! Layers that come as they are: their download becomes the layer.

use super::crash::check;
use super::*;
use crate::{FsckMode, GcMode, LayerPartReader, PatchWriter, StoreError};

const LENGTH: usize = 3_000;
const HEADER: &[u8] = b"a header";

fn create(store: &Store, target: DiffId) -> PatchWriter {
    store.create_layer_part(key(target, 0), patch_id(7), HEADER, Bytes(LENGTH as u64)).unwrap()
}

fn read(writer: &PatchWriter, bytes: usize) -> LayerPartReader {
    let mut reader = LayerPartReader::new(writer.file().try_clone().unwrap());
    reader.read_exact(&mut vec![0; bytes]).unwrap();
    reader
}

/// Takes up the download where it is, or begins it, and commits the layer.
fn bring(store: &Store) -> Result<()> {
    let (tar, card) = layer(1, LENGTH);
    if store.card(&card.diff_id).is_some() {
        return Ok(());
    }
    let mut writer = match store.resume_patch(&patch_id(7))? {
        Some(writer) => writer,
        None => store.create_layer_part(key(card.diff_id, 0), patch_id(7), HEADER, card.tar_bytes)?,
    };
    for part in tar[writer.written().0 as usize..].chunks(1_000) {
        writer.append(part)?;
        writer.sync()?;
    }
    let read = read(&writer, LENGTH);
    writer.finish_layer(&read, card, sketch_of(&tar), NOW)
}

#[test]
fn a_download_becomes_its_layer() {
    on_both(|bench| {
        let store = bench.open();
        let (tar, card) = layer(1, LENGTH);
        bring(&store).unwrap();
        assert_eq!(store.cards(), [card]);
        assert_eq!(store.sketch(&card.diff_id).unwrap(), Some(sketch_of(&tar)));
        assert_eq!(store.stats().unwrap().used_bytes, card.tar_bytes, "each byte is there once");
        assert!(std::fs::read_dir(bench.path().join("partial")).unwrap().next().is_none());
        // Once more, with the layer there: it stays as it is.
        let mut writer = create(&store, card.diff_id);
        writer.append(&tar).unwrap();
        let read = read(&writer, LENGTH);
        writer.finish_layer(&read, card, sketch_of(&tar), NOW).unwrap();
        assert!(store.partial_patches().is_empty());
        assert_sound(&store);
    });
}

#[test]
fn other_bytes_than_the_layers_are_no_layer() {
    on_both(|bench| {
        let store = bench.open();
        let (tar, card) = layer(1, LENGTH);
        let finish = |tar: &[u8], bytes: usize, card: Card| {
            let mut writer = create(&store, layer(1, LENGTH).1.diff_id);
            writer.append(tar).unwrap();
            let read = read(&writer, bytes);
            writer.finish_layer(&read, card, Vec::new(), NOW)
        };
        let other = content(2, LENGTH);
        for (tar, bytes, card) in [
            (&other, LENGTH, card),
            (&other, LENGTH, card_of(&other)),
            (&tar, LENGTH - 1, card),
            (&tar[..LENGTH - 1].to_vec(), LENGTH - 1, card),
        ] {
            let refused = finish(tar, bytes, card);
            assert!(matches!(refused, Err(StoreError::Mismatch { .. })), "{refused:?}");
            assert!(store.cards().is_empty());
            assert_eq!(store.partial_patches().len(), 1, "the download stays");
        }
    });
}

#[test]
fn a_download_that_becomes_a_layer_survives_a_crash() {
    check(
        Options::default(),
        |store| {
            let (tar, card) = layer(1, LENGTH);
            let mut writer = create(store, card.diff_id);
            writer.append(&tar[..2_000]).unwrap();
            writer.sync().unwrap();
        },
        bring,
        |store, acknowledged| {
            let (_, card) = layer(1, LENGTH);
            let is_held = store.card(&card.diff_id).is_some();
            let partial = store.partial_patch_for(&card.diff_id);
            assert!(is_held || !acknowledged);
            assert_ne!(is_held, partial.is_some(), "what was synced is never lost");
            assert!(partial.is_none_or(|partial| partial.synced_bytes >= Bytes(2_000)));
            let header = store.layer_part_header(&patch_id(7)).unwrap();
            assert_eq!(header.as_deref(), (!is_held).then_some(HEADER));
        },
    );
}

#[test]
fn a_header_goes_with_its_download() {
    on_both(|bench| {
        let store = bench.open();
        let target = layer(1, LENGTH).1.diff_id;
        drop(create(&store, target));
        assert_eq!(store.layer_part_header(&patch_id(7)).unwrap().as_deref(), Some(HEADER));
        let report = store.fsck(FsckMode::Check, NOW, &mut |_| {}).unwrap();
        assert!(report.findings.is_empty(), "{report:?}");
        store.discard_patch(&patch_id(7)).unwrap();
        assert_eq!(store.layer_part_header(&patch_id(7)).unwrap(), None);
        // A header without a download is what a crash left.
        let path = bench.path().join("partial").join(format!("{}.header", patch_id(8).to_hex()));
        std::fs::write(&path, HEADER).unwrap();
        store.gc(GcMode::Remove, NOW).unwrap();
        assert!(!path.exists());
    });
}
