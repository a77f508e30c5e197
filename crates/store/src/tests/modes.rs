//! The modes of the data folder: other users of the machine read nothing, whatever mode the folder had.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::*;
use crate::FsckMode;

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

/// Everything below a folder.
fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { [vec![path.clone()], below(&path)].concat() } else { vec![path] })
        .collect()
}

/// Every folder is closed to other users, and so is every file but RocksDB's own, which lie in a closed folder.
#[track_caller]
fn check_closed(root: &Path) {
    assert_eq!(mode(root), 0o700);
    let index = root.join("index");
    for path in below(root).iter().filter(|path| path.is_dir() || !path.starts_with(&index)) {
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(path), expected, "{}", path.display());
    }
}

/// A store with an item of each kind.
fn fill(store: &Store) {
    let diff_id = add(store, 1, 5000);
    add_patch(store, key(diff_id, 0), 2, 100);
    let image = image(store, 3, vec![diff_id]);
    store.set_reference(&reference(1), image).unwrap();
    store.pin(&diff_id).unwrap();
    store.pin_image(&reference(1)).unwrap();
    drop(store.create_patch(key(diff_id, 1), patch_id(9), Bytes(10)).unwrap());
}

#[test]
fn other_users_of_the_machine_read_nothing() {
    let bench = Bench::new(None);
    let root = bench.path().join("data");
    let store = Store::open(&root, Options::default()).unwrap();
    fill(&store);
    assert!(store.open_report().was_exposed.is_empty());
    drop(store);
    check_closed(&root);
    assert!(below(&root).len() > 20, "{:?}", below(&root));
}

#[test]
fn a_folder_that_others_could_enter_is_closed_to_them() {
    let bench = Bench::new(None);
    fill(&bench.open());
    for path in [bench.path().to_owned(), bench.path().join("index"), bench.path().join("pins")] {
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    }
    let store = bench.open();
    let exposed: Vec<u32> = store.open_report().was_exposed.iter().map(|(_, mode)| *mode).collect();
    assert_eq!(exposed, [0o755; 3]);
    drop(store);
    check_closed(bench.path());
    assert!(bench.open().open_report().was_exposed.is_empty());
}

/// A rebuild sets a damaged index aside and begins a new one.
#[test]
fn a_new_index_is_closed_to_others() {
    let bench = Bench::new(None);
    fill(&bench.open());
    fs::write(bench.path().join("index/CURRENT"), b"damage").unwrap();
    let store = bench.try_open(Options::default(), Steps::default(), Opening::Repair).unwrap();
    store.fsck(FsckMode::Rebuild(&super::fsck::make_card), NOW, &mut |_| {}).unwrap();
    drop(store);
    check_closed_but_for_quarantine(bench.path());
}

#[track_caller]
fn check_closed_but_for_quarantine(root: &Path) {
    fs::remove_dir_all(root.join("quarantine/index.0")).unwrap();
    check_closed(root);
}
