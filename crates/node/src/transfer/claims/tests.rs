//! Sizes by the word of a peer, and what it may displace.

use std::ops::ControlFlow;

use lighter_engine::LocalFailure;
use lighter_patch::{Method, Settings, Source, plain_header};
use lighter_store::Options;
use lighter_types::Effort;

use super::*;

const LAYER: DiffId = DiffId::new([7; 32]);
const HUGE: Bytes = Bytes::GIB.times(39);

/// A header for a target of so many bytes, with payloads of as many.
fn header(target_bytes: usize) -> Header {
    let settings = Settings { method: Method::Delta(Effort::Plain), ..Settings::default() };
    // Nothing compresses them, so that all frames are stored.
    let mut state = 1u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    let bytes: Vec<u8> = std::iter::repeat_with(next).take(target_bytes).collect();
    let target = Source { diff_id: LAYER, bytes: &&bytes[..] };
    plain_header(&target, &settings, &|_| ControlFlow::Continue(())).unwrap()
}

fn store(folder: &tempfile::TempDir, bytes_max: u64) -> Store {
    let options = Options { bytes_max: Bytes(bytes_max), disk_free_min: Bytes::ZERO, ..Options::default() };
    Store::open(folder.path(), options).unwrap()
}

#[test]
fn a_signed_size_is_the_size_whatever_peers_say() {
    let sizes = Sizes::new(Some((LayerMedia::Gzip, Bytes(10))), HUGE, Some(Bytes(1000)));
    assert_eq!(sizes.check(&header(1000)), Ok(()));
    for found in [999, 1001] {
        let lie = Lie::OtherSize { found: Bytes(found as u64), signed: Bytes(1000) };
        assert_eq!(sizes.check(&header(found)), Err(lie));
    }
}

#[test]
fn without_a_signed_size_the_blob_and_the_fleet_bound_the_claim() {
    let check = |media, blob: u64, announced, most: u64| {
        let sizes = Sizes::new(Some((media, Bytes(blob))), announced, None);
        assert_eq!(sizes.check(&header(most as usize)), Ok(()));
        let lie = Lie::TargetTooLarge { found: Bytes(most + 1), max: Bytes(most) };
        assert_eq!(sizes.check(&header(most as usize + 1)), Err(lie));
    };
    check(LayerMedia::Plain, 1000, HUGE, 1000);
    check(LayerMedia::Gzip, 10, HUGE, 10_320);
    check(LayerMedia::Zstd, 10, HUGE, 327_680);
    check(LayerMedia::Gzip, 1000, Bytes(3000), 3000);
    // Companions have no blob.
    let companions = Sizes::new(None, Bytes(3000), None);
    assert_eq!((companions.tar_bytes_max, companions.displacing_max), (Bytes(3000), Bytes(3000)));
    assert_eq!(Sizes::new(None, HUGE, None).displacing_max, BUNDLE_BYTES_MAX);
}

#[test]
fn a_claim_displaces_what_a_usual_layer_of_its_blob_takes() {
    let large = Bytes::MIB.times(50);
    assert_eq!(Sizes::new(Some((LayerMedia::Gzip, large)), HUGE, None).displacing_max, large.times(16));
    assert_eq!(Sizes::new(Some((LayerMedia::Gzip, Bytes(9))), HUGE, None).displacing_max, SMALL_BYTES);
}

/// A number that only the peer says is held against the peer; a signed one is not.
#[test]
fn want_of_room_is_the_peers_unless_the_size_is_signed() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder, 10_000);
    let unsigned = Sizes::new(None, HUGE, None);
    let too_much = unsigned.check_room(&store, &header(9_000)).unwrap_err();
    assert!(matches!(too_much, FetchFailure::NoRoom(LocalFailure::BudgetFull { .. })), "{too_much}");
    // The layer finds room, and the patch beside it does not: another peer may have a smaller patch.
    let signed = Sizes::new(None, HUGE, Some(Bytes(9_000)));
    let beside = signed.check_room(&store, &header(9_000)).unwrap_err();
    assert!(matches!(beside, FetchFailure::NoRoom(_)), "{beside}");
    let signed = Sizes::new(None, HUGE, Some(Bytes(11_000)));
    let own = signed.check_room(&store, &header(11_000)).unwrap_err();
    assert!(matches!(own, FetchFailure::Local(LocalFailure::BudgetFull { .. })), "{own}");
    assert_eq!(unsigned.check_room(&store, &header(4_000)), Ok(()));
}

#[test]
fn a_claimed_layer_reserves_nothing_and_a_signed_one_all() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder, 10_000);
    let reserved = |sizes: Sizes| {
        let writer = sizes.create(&store, &header(9_000)).unwrap();
        let reserved = store.stats().unwrap().reserved_bytes;
        drop(writer);
        assert_eq!(store.stats().unwrap().reserved_bytes, Bytes::ZERO);
        reserved
    };
    assert_eq!(reserved(Sizes::new(None, HUGE, None)), Bytes::ZERO);
    assert_eq!(reserved(Sizes::new(None, HUGE, Some(Bytes(9_000)))), Bytes(9_000));
}

#[test]
fn work_is_bounded_by_the_size_of_the_layer() {
    let mut work = WorkLeft::new(&header(1_000));
    work.take(WORK_MIN).unwrap();
    work.take(16_000).unwrap();
    assert_eq!(work.take(1).unwrap_err().to_string(), format!("it decodes more than {} bytes", WORK_MIN + 16_000));
    // The work of a frame is its maker's number too.
    assert!(WorkLeft::new(&header(1_000)).take(u64::MAX).is_err());
}
