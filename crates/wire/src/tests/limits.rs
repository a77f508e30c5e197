//! The limits of messages as numbers, and what messages say of themselves. docs/WIRE.md has the numbers too.

use lighter_types::{Bytes, DiffId, PatchId, PeerId};

use super::{announcement, handover, release};
use crate::{
    Announcement, Answer, BLOB_BYTES_MAX, BlobSource, Bounds, Cosignature, FrameOrder, ImageRecipes, Message, News,
    Offer, PatchReply, PatchRequest, RECIPES_BYTES_MAX, Refusal, Release, Request, Resume, SIGNATURE_BYTES,
    SignedHandover, SignedRelease, Terms, WireError,
};

/// A message may have so many bytes; one more is refused before anything is decoded.
fn check_limit<M: Message>(bytes_max: usize) {
    assert_eq!(M::BYTES_MAX, bytes_max, "{}", M::NAME);
    let refused = |bytes: usize| match M::decode(&vec![0xff; bytes]) {
        Err(WireError::TooLarge { found, limit, .. }) => (found, limit) == (bytes, bytes_max),
        Ok(_) | Err(_) => false,
    };
    assert!(!refused(bytes_max) && refused(bytes_max + 1), "{}", M::NAME);
}

#[test]
fn every_message_has_a_limit_and_one_byte_more_is_refused() {
    check_limit::<Announcement>(60_000);
    check_limit::<Request>(1024);
    check_limit::<Answer>((4 << 20) + (48 << 10));
    check_limit::<PatchRequest>(1024);
    check_limit::<PatchReply>(1024);
    check_limit::<SignedRelease>(6144);
    check_limit::<SignedHandover>(512);
    check_limit::<ImageRecipes>(1 << 20);
}

#[test]
fn a_message_of_exactly_its_limit_is_made_and_read_and_a_longer_one_is_not_made() {
    // One source; its kind; five bytes for the length of the recipe.
    let recipes = |bytes: usize| ImageRecipes(vec![BlobSource::Recipe(vec![7; bytes])]);
    let most = recipes(RECIPES_BYTES_MAX - 7);
    let bytes = most.encode().unwrap();
    assert_eq!(bytes.len(), RECIPES_BYTES_MAX);
    assert_eq!(ImageRecipes::decode(&bytes).unwrap(), most);
    assert!(matches!(recipes(RECIPES_BYTES_MAX - 6).encode(), Err(WireError::TooLarge { .. })));
    // More than any message may have: bincode's own limit.
    let larger = Answer::Blob { bytes: vec![7; Answer::BYTES_MAX], config: None };
    assert!(matches!(larger.encode(), Err(WireError::TooLarge { .. })));
}

#[test]
fn documents_of_exactly_their_limit_are_read() {
    let blob = |bytes: usize| Answer::Blob { bytes: vec![7; bytes], config: None };
    assert_eq!(Answer::decode(&blob(BLOB_BYTES_MAX).encode().unwrap()).unwrap(), blob(BLOB_BYTES_MAX));
    let larger = Answer::decode(&blob(BLOB_BYTES_MAX + 1).encode().unwrap());
    assert!(matches!(larger, Err(WireError::OutOfRange { found: 4_194_305, limit: BLOB_BYTES_MAX, .. })));
}

#[test]
fn an_error_tells_how_many_bytes_are_left() {
    let mut bytes = announcement(News::Heartbeat).encode().unwrap();
    bytes.extend([0; 3]);
    assert!(matches!(Announcement::decode(&bytes), Err(WireError::Trailing { left: 3, .. })));
}

#[test]
fn refusals_and_offers_tell_what_they_are() {
    let refusals = [Refusal::NotHeld, Refusal::Busy { retry_after_ms: 7 }, Refusal::Stopping, Refusal::Failed];
    assert_eq!(refusals.map(Refusal::is_busy), [false, true, false, false]);
    let texts = refusals.map(|refusal| refusal.to_string());
    let expected = ["does not hold the item", "is busy", "is shutting down", "failed to do the work"]
        .map(|text| format!("the peer {text}"));
    assert_eq!(texts, expected);
    let patch = PatchId::new([4; 32]);
    assert_eq!(Offer::Ready { patch, bytes: Bytes(10) }.bytes(), Bytes(10));
    assert_eq!(Offer::Predicted { bytes: Bytes(11) }.bytes(), Bytes(11));
}

#[test]
fn an_order_counts_for_the_patch_that_it_was_asked_for() {
    let (patch, other) = (PatchId::new([2; 32]), PatchId::new([3; 32]));
    let resume = Some(Resume { patch, first_frame: 3, settings: 0, order: FrameOrder::Down });
    let target = DiffId::new([1; 32]);
    let request = PatchRequest { target, bases: vec![], have: None, resume, referable: None, terms: Terms::default() };
    assert_eq!((request.order_of(patch), request.order_of(other)), (FrameOrder::Down, FrameOrder::Up));
}

#[test]
fn a_release_tells_its_end_and_all_who_signed() {
    let bounds = Some(Bounds { tar_bytes: vec![Bytes(9)], expires_s: Some(2048) });
    let cosignatures = vec![Cosignature { publisher: PeerId::new([5; 32]), signature: [6; SIGNATURE_BYTES] }];
    let first = release();
    let signed = SignedRelease { release: Release { bounds, ..first.release.clone() }, cosignatures, ..first.clone() };
    let signatures: Vec<_> = signed.signatures().collect();
    assert_eq!(
        signatures,
        [(PeerId::new([2; 32]), &[3; SIGNATURE_BYTES]), (PeerId::new([5; 32]), &[6; SIGNATURE_BYTES])]
    );
    assert_eq!((signed.release.expires_s(), first.release.expires_s()), (Some(2048), None));
    assert_eq!((first.release.layers_bytes(), first.release.companions_bytes()), (None, None));
    // No companions, no size of theirs.
    assert_eq!(signed.release.companions_bytes(), None);
}

/// A record without its last byte or two stands for an older one only if it has nothing that came later.
#[test]
fn a_record_with_what_came_later_is_not_taken_for_an_older_one() {
    let bounds = Some(Bounds { tar_bytes: vec![Bytes(9)], expires_s: None });
    let first = release();
    let signed = SignedRelease { release: Release { bounds, ..first.release }, ..first };
    let bytes = signed.encode().unwrap();
    assert_eq!(bytes.last(), Some(&0), "no cosignatures");
    for cut in 1..3 {
        assert!(SignedRelease::decode(&bytes[..bytes.len() - cut]).is_err(), "{cut}");
    }
}

#[test]
fn a_handover_is_for_a_repository_and_no_tag() {
    let mut bytes = handover().encode().unwrap();
    assert_eq!(bytes[..2], *b"\x01a");
    for bad in *b":/ A\0" {
        bytes[1] = bad;
        assert!(matches!(SignedHandover::decode(&bytes), Err(WireError::BadText { .. })), "{bad}");
    }
}
