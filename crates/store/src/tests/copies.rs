//! Copies give way before layers, with their names.

use super::crash::check;
use super::releases::keeping;
use super::*;
use crate::{FsckMode, LayerCopy, StoreError};

const TAR: (u64, usize) = (1, 3_000);
const BLOB: (u64, usize) = (2, 2_000);
const KEY: &[u8] = b"recipe/2";

fn id((seed, length): (u64, usize)) -> DiffId {
    layer(seed, length).1.diff_id
}

fn copy_of(copy: DiffId, of: DiffId) -> LayerCopy {
    LayerCopy { copy, of, gave_way: (KEY.to_vec(), b"gone".to_vec()) }
}

/// An image of a tar and of a copy of it, and a second name of the same.
fn set_up(store: &Store) {
    let layers = vec![add(store, TAR.0, TAR.1), add(store, BLOB.0, BLOB.1)];
    store.put_state(KEY, b"verbatim").unwrap();
    let image = image(store, 1, layers);
    store.set_reference(&reference(1), image.clone()).unwrap();
    store.set_reference(&reference(2), image).unwrap();
}

fn is_held(store: &Store, what: (u64, usize)) -> bool {
    store.card(&id(what)).is_some()
}

/// Whether both images name the copy; they agree.
fn is_named(store: &Store) -> bool {
    let named = [1, 2].map(|tag| store.reference(&reference(tag)).unwrap().layers.contains(&id(BLOB)));
    assert_eq!(named[0], named[1]);
    named[0]
}

fn reserve(store: &Store, bytes: u64) -> Result<()> {
    store.create_layer_unnamed(Some(Bytes(bytes))).map(drop)
}

#[test]
fn a_copy_gives_way_before_any_layer_and_its_image_lacks_nothing() {
    on_both(|bench| {
        let store = bench.open_with(budget(10_000));
        set_up(&store);
        let unnamed = add(&store, 3, 1_000);
        assert!(matches!(reserve(&store, 5_000), Err(StoreError::BudgetFull { .. })));
        store.add_copies(vec![copy_of(id(BLOB), id(TAR))]).unwrap();
        let staying = store.stats().unwrap().staying_bytes;
        assert_eq!(staying, Bytes(3_000 + 2 * 500), "a copy may give way");
        reserve(&store, 4_000).unwrap();
        assert!(!is_held(&store, BLOB) && is_held(&store, TAR) && store.card(&unnamed).is_some());
        assert!(!is_named(&store));
        assert_eq!(store.state(KEY).unwrap().as_deref(), Some(&b"gone"[..]));
        assert_eq!(store.take_copies_gone(), [copy_of(id(BLOB), id(TAR))]);
        assert_eq!(store.take_gone_layers(), [id(BLOB)]);
        assert!(store.take_copies_gone().is_empty());
        drop(store);
        let store = bench.open_with(budget(10_000));
        assert!(!is_named(&store) && !is_held(&store, BLOB) && is_held(&store, TAR));
        let report = store.fsck(FsckMode::Check, NOW, &mut |_| {}).unwrap();
        assert!(report.findings.is_empty(), "{report:?}");
    });
}

#[test]
fn a_copy_in_use_stays() {
    on_both(|bench| {
        let store = bench.open_with(budget(8_000));
        set_up(&store);
        store.add_copies(vec![copy_of(id(BLOB), id(TAR))]).unwrap();
        let stays = |why: &str| {
            assert!(matches!(reserve(&store, 2_500), Err(StoreError::BudgetFull { .. })), "{why}");
            assert!(is_held(&store, BLOB) && is_named(&store), "{why}");
        };
        let reader = store.open_layer(&id(BLOB)).unwrap();
        stays("it is read");
        drop(reader);
        store.pin(&id(BLOB)).unwrap();
        stays("it is pinned");
        store.unpin(&id(BLOB)).unwrap();
        store.pin_image(&reference(2)).unwrap();
        stays("an image of it is pinned");
        store.unpin_image(&reference(2)).unwrap();
        store.quarantine_layer(&id(TAR)).unwrap();
        let error = reserve(&store, 5_500);
        assert!(matches!(error, Err(StoreError::BudgetFull { .. })), "its source is not held");
        assert!(is_held(&store, BLOB) && is_named(&store));
    });
}

#[test]
fn copies_give_way_before_releases_and_count_once() {
    on_both(|bench| {
        let store = bench.open_with(keeping(1, 10_000));
        let released = |tag: u64, time: u64, layers: Vec<DiffId>| {
            let image = Image { release_record: time.to_le_bytes().to_vec(), ..image(&store, tag, layers) };
            store.set_reference(&reference(tag), image).unwrap();
        };
        let (tar, blob) = (add(&store, TAR.0, TAR.1), add(&store, BLOB.0, BLOB.1));
        released(1, 1, vec![tar, blob]);
        released(2, 2, vec![add(&store, 4, 1_000)]);
        store.add_copies(vec![copy_of(blob, tar)]).unwrap();
        // 8,000 bytes are used. The copy is enough for 4,000, and the copy and the old release for 7,000.
        reserve(&store, 4_000).unwrap();
        assert!(store.take_gave_way().is_empty() && store.reference(&reference(1)).unwrap().layers == [tar]);
        add(&store, BLOB.0, BLOB.1);
        released(1, 1, vec![tar, blob]);
        store.add_copies(vec![copy_of(blob, tar)]).unwrap();
        assert!(matches!(reserve(&store, 8_000), Err(StoreError::BudgetFull { .. })), "the copy counts once");
        reserve(&store, 7_000).unwrap();
        assert_eq!(store.take_gave_way().len(), 1);
        assert!(!is_held(&store, TAR) && !is_held(&store, BLOB));
    });
}

#[test]
fn a_copy_is_known_while_it_is_held() {
    on_both(|bench| {
        let store = bench.open_with(budget(10_000));
        store.add_copies(vec![copy_of(id(BLOB), id(TAR))]).unwrap();
        set_up(&store);
        assert!(reserve(&store, 5_000).is_err(), "it was not held when it was named");
        let too_long = LayerCopy { gave_way: (vec![0; 300], Vec::new()), ..copy_of(id(BLOB), id(TAR)) };
        assert!(matches!(store.add_copies(vec![too_long]), Err(StoreError::OverLimit { .. })));
        store.add_copies(vec![copy_of(id(BLOB), id(BLOB))]).unwrap();
        assert!(reserve(&store, 5_000).is_err(), "a layer is no copy of itself");
    });
}

#[test]
fn a_copy_is_gone_with_its_names_or_stays() {
    check(
        budget(10_000),
        set_up,
        |store| {
            store.add_copies(vec![copy_of(id(BLOB), id(TAR))])?;
            try_add(store, 5, 5_000, NOW).map(drop)
        },
        |store, acknowledged| {
            assert!(is_held(store, TAR));
            // Each reference has its file. In between, one of them may name the copy alone.
            let named = [1, 2].map(|tag| store.reference(&reference(tag)).unwrap().layers.contains(&id(BLOB)));
            assert!(is_held(store, BLOB) || named == [false; 2]);
            assert!(!is_held(store, BLOB) || store.state(KEY).unwrap().as_deref() == Some(b"verbatim"));
            assert!(!acknowledged || !is_held(store, BLOB));
        },
    );
}
