//! Golden vectors (the byte tables of docs/WIRE.md), round trips, truncations, bit flips, size bombs.
//!
//! `check` holds one message against its bytes: they decode to the message, no truncation decodes, and every flipped
//! bit changes the message or is refused.

mod limits;

use std::fmt::Debug;
use std::time::Duration;

use lighter_types::{
    BASES_MAX, Bytes, BytesPerSecond, Card, DiffId, Effort, OciDigest, Pace, PatchId, PeerId, Prefer, Tlsh,
};
use proptest::prelude::*;

use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `expected` is hexadecimal, with spaces between fields. The message must encode to these bytes and decode from them.
/// Decoding must refuse every truncation, and every flipped bit must change the message or be refused.
fn check<M: Message + PartialEq + Debug>(message: &M, expected: &str) {
    let bytes = message.encode().unwrap();
    assert_eq!(hex(&bytes), expected.replace(' ', ""));
    assert_eq!(&M::decode(&bytes).unwrap(), message);
    for length in 0..bytes.len() {
        assert!(M::decode(&bytes[..length]).is_err(), "{length} bytes of {message:?} were accepted");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(M::decode(&longer).is_err());
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok(other) = M::decode(&flipped) {
            assert_ne!(&other, message, "bit {bit} has no meaning");
        }
    }
}

fn card(seed: u8, tlsh: Option<Tlsh>) -> Card {
    Card { diff_id: DiffId::new([seed; 32]), tar_bytes: Bytes(1000), compressed_bytes: Bytes(250), tlsh }
}

fn h(byte: u8) -> String {
    format!("{byte:02x}").repeat(32)
}

fn digest() -> ListDigest {
    ListDigest::from_bytes([6; 16])
}

fn d() -> String {
    "06".repeat(16)
}

#[test]
fn announcements() {
    let tlsh = Tlsh::new([9; 35]);
    check(
        &announcement(News::Full(vec![card(7, Some(tlsh))])),
        &format!("01 02 03 02 6131 {} 00 01 {} fbe803 fa 01 {}", d(), h(7), "09".repeat(35)),
    );
    check(
        &announcement(News::Difference { added: vec![card(7, None)], removed: vec![DiffId::new([8; 32])] }),
        &format!("01 02 03 02 6131 {} 01 01 {} fbe803 fa 00 01 {}", d(), h(7), h(8)),
    );
    check(&announcement(News::Heartbeat), &format!("01 02 03 02 6131 {} 02", d()));
    check(&Announcement { site: None, ..announcement(News::Leaving) }, &format!("01 02 03 00 {} 03", d()));
}

fn announcement(news: News) -> Announcement {
    Announcement {
        incarnation: Incarnation(1),
        version: 2,
        sequence: 3,
        site: Some("a1".parse().unwrap()),
        digest: digest(),
        news,
    }
}

#[test]
fn requests() {
    check(&Request::Holdings { known: None }, "00 00");
    check(&Request::Holdings { known: Some(digest()) }, &format!("00 01 {}", d()));
    let terms = Terms { applying: Pace::from_part(250).unwrap(), prefer: Prefer::Bytes };
    let quote = Request::Quote { target: DiffId::new([1; 32]), bases: vec![DiffId::new([2; 32])], terms };
    check(&quote, &format!("01 {} 01 {} fa 02", h(1), h(2)));
    let name = ImageName::Reference("a:b".parse().unwrap());
    let request = ImageRequest { name, known: None, documents: false, list: None, terms: Terms::default() };
    check(&Request::Image(request.clone()), "02 00 03 613a62 00 00 00 fb0004 01");
    let known = Some(OciDigest::new([4; 32]));
    check(&Request::Image(ImageRequest { known, ..request }), &format!("02 00 03 613a62 01 {} 00 00 fb0004 01", h(4)));
    let name = ImageName::Manifest(OciDigest::new([3; 32]));
    let list = Some(ListDigest::from_bytes([6; 16]));
    let terms = Terms { prefer: Prefer::Time, ..Terms::default() };
    let request = ImageRequest { name, known: None, documents: true, list, terms };
    check(&Request::Image(request), &format!("02 01 {} 00 01 01 {} fb0004 00", h(3), "06".repeat(16)));
    check(&Request::Blob { digest: OciDigest::new([3; 32]), bytes_max: 250 }, &format!("03 {} fa", h(3)));
    check(&Request::Sketches(vec![DiffId::new([1; 32]), DiffId::new([2; 32])]), &format!("04 02 {} {}", h(1), h(2)));
    check(&Request::Arrival { target: DiffId::new([1; 32]), number: 250 }, &format!("05 {} fa", h(1)));
}

#[test]
fn answers() {
    let all = Holdings::all(Incarnation(1), 2, None, vec![card(7, None)]);
    check(&Answer::Holdings(all.clone()), &format!("00 01 02 00 {} 02 01 {} fbe803 fa 00", "07".repeat(16), h(7)));
    let difference = Listed::Difference { added: vec![card(7, None)], removed: vec![DiffId::new([8; 32])] };
    check(
        &Answer::Holdings(Holdings { digest: digest(), list: difference, ..all.clone() }),
        &format!("00 01 02 00 {} 01 01 {} fbe803 fa 00 01 {}", d(), h(7), h(8)),
    );
    let unchanged = Holdings { digest: digest(), list: Listed::Unchanged, ..all };
    check(&Answer::Holdings(unchanged), &format!("00 01 02 00 {} 00", d()));
    let ready = Quote {
        offer: Offer::Ready { patch: PatchId::new([4; 32]), bytes: Bytes(10) },
        bases: vec![],
        wait: Duration::from_millis(5),
        effort: None,
    };
    check(&Answer::Quote(ready), &format!("01 01 {} 0a 00 05 00", h(4)));
    let predicted = Quote {
        offer: Offer::Predicted { bytes: Bytes(10) },
        bases: vec![DiffId::new([5; 32])],
        wait: Duration::ZERO,
        effort: Some(Effort::Max),
    };
    check(&Answer::Quote(predicted.clone()), &format!("01 00 0a 01 {} 00 01 02", h(5)));
    check(&image(ImageAnswer::default()), "02 00 00 00 00");
    check(
        &image(ImageAnswer { release: Some(release()), ..ImageAnswer::default() }),
        &format!("02 01 03 613a62 {} fb0004 {} {} 00 00 00 00 00 00", h(1), h(2), "03".repeat(SIGNATURE_BYTES)),
    );
    let documents = Some(Documents { manifest: vec![1, 2], config: Some(vec![3]), recipes: Some(vec![4]) });
    let offer = LayerOffer { layer: 251, quote: predicted };
    check(
        &image(ImageAnswer { documents, offers: vec![offer], ..ImageAnswer::default() }),
        &format!("02 00 01 02 0102 01 01 03 01 01 04 01 fbfb00 00 0a 01 {} 00 01 02 00", h(5)),
    );
    let handovers = vec![handover()];
    check(
        &image(ImageAnswer { handovers, ..ImageAnswer::default() }),
        &format!("02 00 00 00 01 01 61 {} {} 07 {}", h(8), h(9), "0a".repeat(SIGNATURE_BYTES)),
    );
    check(&Answer::Blob { bytes: vec![1, 2], config: None }, "03 02 0102 00");
    check(&Answer::Blob { bytes: vec![1, 2], config: Some(vec![3]) }, "03 02 0102 01 01 03");
    check(&Answer::Refused(Refusal::BUSY), "04 01 00");
    check(&Answer::Refused(Refusal::Busy { retry_after_ms: 1000 }), "04 01 fbe803");
    check(&Answer::Sketches(vec![Some(vec![7, 8]), None]), "05 02 01 02 0708 00");
    check(&Answer::Arrival(Arrival::No), "06 00");
    check(&Answer::Arrival(Arrival::Coming { received: Bytes(1024) }), "06 01 fb0004");
    check(&Answer::Arrival(Arrival::Held), "06 02");
}

fn image(answer: ImageAnswer) -> Answer {
    Answer::Image(Box::new(answer))
}

fn handover() -> SignedHandover {
    let (from, to) = (PeerId::new([8; 32]), PeerId::new([9; 32]));
    SignedHandover {
        handover: Handover { repository: "a".to_owned(), from, to, issued_s: 7 },
        signature: [10; SIGNATURE_BYTES],
    }
}

#[test]
fn handovers() {
    check(&handover(), &format!("01 61 {} {} 07 {}", h(8), h(9), "0a".repeat(SIGNATURE_BYTES)));
    let signed = format!("6c6967687465722068616e646f766572203100 01000000 61 {} {} 0700000000000000", h(8), h(9));
    assert_eq!(hex(&handover().handover.signed_bytes()), signed.replace(' ', ""));
    let more = ImageAnswer { handovers: vec![handover(); HANDOVERS_MAX + 1], ..ImageAnswer::default() };
    assert!(matches!(Answer::decode(&image(more).encode().unwrap()), Err(WireError::OutOfRange { .. })));
}

fn release() -> SignedRelease {
    let (reference, manifest) = ("a:b".parse().unwrap(), OciDigest::new([1; 32]));
    let release = Release { reference, manifest, issued_s: 1024, companions: None, bounds: None };
    SignedRelease { release, publisher: PeerId::new([2; 32]), signature: [3; SIGNATURE_BYTES], cosignatures: vec![] }
}

#[test]
fn releases() {
    let fields = format!("03 613a62 {} fb0004 {} {}", h(1), h(2), "03".repeat(SIGNATURE_BYTES));
    let signed = |version, rest: &str| {
        format!("6c6967687465722072656c6561736520{version}00{}613a62{}0004000000000000{rest}", "03000000", h(1))
    };
    let with_companions =
        SignedRelease { release: Release { companions: Some(DiffId::new([4; 32])), ..release().release }, ..release() };
    assert_eq!(hex(&with_companions.release.signed_bytes()), signed("32", &h(4)));
    let bytes = with_companions.encode().unwrap();
    assert_eq!(hex(&bytes), format!("{fields} 01 {} 00 00", h(4)).replace(' ', ""));
    check_release(&bytes, &with_companions, &[bytes.len() - 2]);
    // Without companions, it is a release of version 1.
    assert_eq!(hex(&release().release.signed_bytes()), signed("31", ""));
    let bytes = release().encode().unwrap();
    assert_eq!(hex(&bytes), format!("{fields} 00 00 00").replace(' ', ""));
    check_release(&bytes, &release(), &[bytes.len() - 2, bytes.len() - 3]);
    // With bounds, of version 3: one layer, and the companions.
    let bounds = Some(Bounds { tar_bytes: vec![Bytes(251), Bytes(9)], expires_s: Some(2048) });
    let with_bounds = SignedRelease {
        release: Release { bounds, ..with_companions.release },
        cosignatures: vec![Cosignature { publisher: PeerId::new([5; 32]), signature: [6; SIGNATURE_BYTES] }],
        ..with_companions
    };
    let rest = format!("01{}02000000fb000000000000000900000000000000010008000000000000", h(4));
    assert_eq!(hex(&with_bounds.release.signed_bytes()), signed("33", &rest));
    let further = format!("01 {} {}", h(5), "06".repeat(SIGNATURE_BYTES));
    let bytes = with_bounds.encode().unwrap();
    assert_eq!(hex(&bytes), format!("{fields} 01 {} 01 02 fbfb00 09 01 fb0008 {further}", h(4)).replace(' ', ""));
    check_release(&bytes, &with_bounds, &[]);
    assert_eq!(with_bounds.release.layers_bytes(), Some(&[Bytes(251)][..]));
    assert_eq!(with_bounds.release.companions_bytes(), Some(Bytes(9)));
}

/// The release is read from its bytes, and from what an earlier program kept of them. No other part says the same,
/// and no bit is without a meaning.
fn check_release(bytes: &[u8], release: &SignedRelease, kept: &[usize]) {
    assert_eq!(SignedRelease::decode(bytes).unwrap(), *release);
    for length in 0..bytes.len() {
        let read = SignedRelease::decode(&bytes[..length]).ok();
        if kept.contains(&length) {
            assert_eq!(read.as_ref(), Some(release), "{length}");
        }
        // A record of an earlier version may end here: what its publisher would have signed is something else.
        let is_other = |read: &SignedRelease| read.release.signed_bytes() != release.release.signed_bytes();
        assert!(kept.contains(&length) || read.as_ref().is_none_or(is_other), "{length}");
    }
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(!SignedRelease::decode(&flipped).is_ok_and(|other| other == *release), "bit {bit} has no meaning");
    }
}

#[test]
fn a_release_has_room_for_512_layers_and_no_more() {
    let largest = |layers: usize, cosigners: usize| SignedRelease {
        release: Release {
            reference: format!("{}:{}", "a".repeat(255), "t".repeat(128)).parse().unwrap(),
            issued_s: u64::MAX,
            companions: Some(DiffId::new([4; 32])),
            bounds: Some(Bounds { tar_bytes: vec![Bytes(u64::MAX); layers], expires_s: Some(u64::MAX) }),
            ..release().release
        },
        cosignatures: vec![Cosignature { publisher: PeerId::new([5; 32]), signature: [6; SIGNATURE_BYTES] }; cosigners],
        ..release()
    };
    let most = largest(RELEASE_LAYERS_MAX + 1, COSIGNATURES_MAX);
    assert_eq!(SignedRelease::decode(&most.encode().unwrap()).unwrap(), most);
    for (layers, cosigners) in [(RELEASE_LAYERS_MAX + 2, 0), (0, COSIGNATURES_MAX + 1)] {
        let bytes = largest(layers, cosigners).encode().unwrap();
        assert!(matches!(SignedRelease::decode(&bytes), Err(WireError::OutOfRange { .. })));
    }
    let endless = vec![0; SignedRelease::BYTES_MAX + 1];
    assert!(matches!(SignedRelease::decode(&endless), Err(WireError::TooLarge { .. })));
}

#[test]
fn patch_stream() {
    let request = PatchRequest {
        target: DiffId::new([1; 32]),
        bases: vec![],
        have: None,
        resume: None,
        referable: None,
        terms: Terms::default(),
    };
    check(&request, &format!("{} 00 00 00 00 fb0004 01", h(1)));
    for (order, byte) in [(FrameOrder::Up, "00"), (FrameOrder::Down, "01")] {
        let resume = Some(Resume { patch: PatchId::new([2; 32]), first_frame: 3, settings: 0x0202_001c, order });
        check(
            &PatchRequest { resume, ..request.clone() },
            &format!("{} 00 00 01 {} 03 fc1c000202 {byte} 00 fb0004 01", h(1), h(2)),
        );
    }
    let have = Some(DiffId::new([5; 32]));
    check(&PatchRequest { have, ..request.clone() }, &format!("{} 00 01 {} 00 00 fb0004 01", h(1), h(5)));
    let referable = Some(Referable { uplink: BytesPerSecond(251), passes_on: true });
    check(&PatchRequest { referable, ..request }, &format!("{} 00 00 00 01 fbfb00 01 fb0004 01", h(1)));
    check(&PatchReply::Working { done: Bytes(251) }, "00 fbfb00");
    let start = PatchReply::Start { patch: PatchId::new([2; 32]), header_bytes: 4, first_frame: 5 };
    check(&start, &format!("01 {} 04 05", h(2)));
    check(&PatchReply::Refused(Refusal::NotHeld), "02 00");
    check(&PatchReply::Refused(Refusal::Busy { retry_after_ms: 600_000 }), "02 01 fcc0270900");
    assert!(PatchReply::decode(&[2, 1, 0xfc, 0xc1, 0x27, 9, 0]).is_err());
    assert!(Answer::decode(&[4, 1, 0xfc, 0xc1, 0x27, 9, 0]).is_err());
    check(&referred(vec![vec![4, 1], vec![9]]), &format!("03 {} {} 07 02 02 0401 01 09", h(6), h(2)));
    check(&PatchReply::Frame, "04");
    let largest = referred(vec![vec![4; ADDRESS_BYTES_MAX]; ADDRESSES_MAX]);
    assert_eq!(PatchReply::decode(&largest.encode().unwrap()).unwrap(), largest);
    for addresses in [vec![vec![4; ADDRESS_BYTES_MAX + 1]], vec![vec![4]; ADDRESSES_MAX + 1]] {
        assert!(PatchReply::decode(&referred(addresses).encode().unwrap()).is_err());
    }
}

fn referred(addresses: Vec<Vec<u8>>) -> PatchReply {
    PatchReply::Referred { peer: PeerId::new([6; 32]), patch: PatchId::new([2; 32]), settings: 7, addresses }
}

#[test]
fn a_length_of_gigabytes_is_refused_before_allocation() {
    // A full announcement of 2^32 cards in 28 bytes.
    let bomb = [&[1, 2, 3, 0][..], &[0; 16], &[0, 252, 255, 255, 255, 255, 0, 0]].concat();
    assert!(matches!(Announcement::decode(&bomb), Err(WireError::Malformed { .. })));
    let blob = [3, 253, 255, 255, 255, 255, 255, 255, 255, 127];
    assert!(Answer::decode(&blob).is_err());
    // 2^32 sketches, and one sketch of 2^32 bytes.
    for bomb in [&[5, 252, 255, 255, 255, 255, 0][..], &[5, 1, 1, 252, 255, 255, 255, 255, 0]] {
        assert!(Answer::decode(bomb).is_err());
    }
}

#[test]
fn the_limits_hold_in_both_directions() {
    let cards = vec![card(1, Some(Tlsh::new([0; 35]))); 1000];
    let announcement = Announcement {
        incarnation: Incarnation(0),
        version: 0,
        sequence: 0,
        site: None,
        digest: digest(),
        news: News::Full(cards.clone()),
    };
    assert!(matches!(announcement.encode(), Err(WireError::TooLarge { .. })));
    assert!(matches!(Announcement::decode(&vec![0; Announcement::BYTES_MAX + 1]), Err(WireError::TooLarge { .. })));
    let bases = vec![DiffId::new([0; 32]); BASES_MAX + 1];
    let terms = Terms::default();
    let bytes = Request::Quote { target: DiffId::new([0; 32]), bases, terms }.encode().unwrap();
    assert!(matches!(Request::decode(&bytes), Err(WireError::OutOfRange { .. })));
    let layers = vec![DiffId::new([0; 32]); SKETCHES_MAX];
    assert!(Request::decode(&Request::Sketches(layers.clone()).encode().unwrap()).is_ok());
    let bytes = Request::Sketches([layers, vec![DiffId::new([0; 32])]].concat()).encode().unwrap();
    assert!(matches!(Request::decode(&bytes), Err(WireError::OutOfRange { .. })));
    assert!(Answer::decode(&sketches(SKETCHES_MAX, SKETCH_BYTES_MAX)).is_ok());
    for bytes in [sketches(SKETCHES_MAX + 1, 0), sketches(1, SKETCH_BYTES_MAX + 1)] {
        assert!(matches!(Answer::decode(&bytes), Err(WireError::OutOfRange { .. })));
    }
    let most = vec![card(1, Some(Tlsh::new([0; 35]))); HOLDINGS_MAX];
    let most = Holdings::all(Incarnation(u64::MAX), u64::MAX, None, most);
    assert!(Answer::Holdings(most).encode().is_ok());
}

/// An answer of so many sketches of this length.
fn sketches(count: usize, bytes: usize) -> Vec<u8> {
    Answer::Sketches(vec![Some(vec![0; bytes]); count]).encode().unwrap()
}

proptest! {
    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Announcement::decode(&bytes);
        let _ = Request::decode(&bytes);
        let _ = Answer::decode(&bytes);
        let _ = PatchRequest::decode(&bytes);
        let _ = PatchReply::decode(&bytes);
        let _ = SignedRelease::decode(&bytes);
        let _ = ImageRecipes::decode(&bytes);
    }
}

#[test]
fn recipes_have_limits_of_their_own() {
    let sources = vec![BlobSource::Unknown, BlobSource::Plain, BlobSource::Recipe(vec![1, 2, 3]), BlobSource::Verbatim];
    let recipes = ImageRecipes(sources);
    let bytes = recipes.encode().unwrap();
    assert_eq!(bytes, [4, 0, 1, 2, 3, 1, 2, 3, 3]);
    assert_eq!(ImageRecipes::decode(&bytes).unwrap(), recipes);
    let bytes = ImageRecipes(vec![BlobSource::Plain; RECIPES_MAX + 1]).encode().unwrap();
    assert!(matches!(ImageRecipes::decode(&bytes), Err(WireError::OutOfRange { .. })));
    let bytes = ImageRecipes(vec![BlobSource::Recipe(vec![0; RECIPES_BYTES_MAX])]).encode();
    assert!(matches!(bytes, Err(WireError::TooLarge { .. })));
    let documents = Some(Documents { manifest: vec![], config: None, recipes: Some(vec![0; RECIPES_BYTES_MAX + 1]) });
    let bytes = image(ImageAnswer { documents, ..ImageAnswer::default() }).encode().unwrap();
    assert!(matches!(Answer::decode(&bytes), Err(WireError::OutOfRange { .. })));
}

#[test]
fn the_largest_answer_about_an_image_fits_and_one_offer_more_does_not() {
    let quote = Quote {
        offer: Offer::Ready { patch: PatchId::new([4; 32]), bytes: Bytes(u64::MAX) },
        bases: vec![DiffId::new([5; 32]); BASES_MAX],
        wait: Duration::from_millis(u32::MAX.into()),
        effort: Some(Effort::Max),
    };
    let offer = LayerOffer { layer: u16::MAX, quote };
    let documents =
        Some(Documents { manifest: vec![1; BLOB_BYTES_MAX - 2], config: Some(vec![2]), recipes: Some(vec![3]) });
    let (release, offers) = (Some(release()), vec![offer.clone(); LAYER_OFFERS_MAX]);
    let answer = ImageAnswer { release, documents, offers, handovers: vec![handover(); HANDOVERS_MAX] };
    let sent = image(answer.clone());
    assert_eq!(Answer::decode(&sent.encode().unwrap()).unwrap(), sent);
    let more = ImageAnswer { offers: vec![offer; LAYER_OFFERS_MAX + 1], documents: None, ..answer.clone() };
    assert!(matches!(Answer::decode(&image(more).encode().unwrap()), Err(WireError::OutOfRange { .. })));
    let documents = Some(Documents { manifest: vec![1; BLOB_BYTES_MAX], config: Some(vec![2]), recipes: None });
    let larger = ImageAnswer { documents, offers: Vec::new(), ..answer };
    assert!(matches!(Answer::decode(&image(larger).encode().unwrap()), Err(WireError::OutOfRange { .. })));
}
