//! Golden bytes of every row, as in docs/STORE.md, and the rows that decoding must refuse.

use proptest::prelude::*;

use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn key() -> PatchKey {
    PatchKey { target: DiffId::new([0xaa; 32]), bases: vec![DiffId::new([0xbb; 32])], settings: 7 }
}

fn a_card(tlsh: Option<Tlsh>) -> Card {
    Card { diff_id: DiffId::new([0xdd; 32]), tar_bytes: Bytes(0x1122), compressed_bytes: Bytes(0x33), tlsh }
}

fn an_image() -> (ImageReference, Image) {
    let image = Image {
        manifest: OciDigest::new([0x11; 32]),
        config: OciDigest::new([0x22; 32]),
        layers: vec![DiffId::new([0x33; 32])],
        release_record: vec![0x44, 0x55],
    };
    ("a:1".parse().unwrap(), image)
}

#[test]
fn rows_have_the_bytes_that_the_docs_show() {
    let key_row = format!("{}07000000{}{}", digest("aa"), "0100000000000000", digest("bb"));
    assert_eq!(hex(&layer(&a_card(None))), "22110000000000003300000000000000".to_owned() + "00");
    let tlsh = Tlsh::new([0xcc; TLSH_BYTES]);
    let with_tlsh = format!("22110000000000003300000000000000{}{}", "01", "cc".repeat(35));
    assert_eq!(hex(&layer(&a_card(Some(tlsh)))), with_tlsh);
    assert_eq!(hex(&number(0x0102)), "0201000000000000");
    assert_eq!(hex(&patch(&key(), Bytes(9), [0xee; 32])), format!("0900000000000000{}{key_row}", digest("ee")));
    assert_eq!(hex(&partial(&key(), Bytes(9), Bytes(4))), format!("09000000000000000400000000000000{key_row}"));
    let (reference, image_) = an_image();
    let row = image(&reference, &image_);
    let expected = [
        "0300000000000000613a31",
        &digest("11"),
        &digest("22"),
        "0100000000000000",
        &digest("33"),
        "02000000000000004455",
    ];
    assert_eq!(hex(&row), expected.concat());
    let sha256 = hex(&Sha256::digest(&row));
    assert_eq!(hex(&image_file(&row)), format!("4c54525245463031{sha256}{}", hex(&row)));
    let item = Item::Blob(OciDigest::new([0x66; 32]));
    assert_eq!(hex(&use_key(&item).unwrap()), format!("03{}", digest("66")));
}

fn digest(digits: &str) -> String {
    digits.repeat(32)
}

#[test]
fn rows_decode_to_what_was_encoded() {
    for card in [a_card(None), a_card(Some(Tlsh::new([3; TLSH_BYTES])))] {
        assert_eq!(read_layer(card.diff_id.as_bytes(), &layer(&card)).unwrap(), card);
    }
    let id = [5; 32];
    let read = read_patch(&id, &patch(&key(), Bytes(9), [8; 32])).unwrap();
    assert_eq!(read, (PatchId::new(id), key(), Bytes(9), [8; 32]));
    let read = read_partial(&id, &partial(&key(), Bytes(9), Bytes(4))).unwrap();
    assert_eq!(read, (PatchId::new(id), key(), Bytes(9), Bytes(4)));
    let (reference, named) = an_image();
    let file = image_file(&image(&reference, &named));
    assert_eq!(read_image(read_image_file(&file).unwrap()).unwrap(), (reference, named));
    for item in [Item::Layer(DiffId::new(id)), Item::Blob(OciDigest::new(id)), Item::Patch(PatchId::new(id))] {
        let key = use_key(&item).unwrap();
        assert_eq!(read_use(&key, &number(77)).unwrap(), (item, UnixSeconds(77)));
    }
}

/// The longest values that the store accepts fit in a row and in their columns.
#[test]
fn the_longest_rows_fit() {
    let reference: ImageReference = format!("{}:{}", "a".repeat(255), "b".repeat(128)).parse().unwrap();
    let longest = Image {
        layers: vec![DiffId::new([1; 32]); crate::IMAGE_LAYERS_MAX],
        release_record: vec![1; crate::RELEASE_RECORD_BYTES_MAX],
        ..an_image().1
    };
    let row = image(&reference, &longest);
    assert!(!row.is_empty() && row.len() <= crate::Column::Images.value_bytes_max());
    assert_eq!(read_image(&row).unwrap(), (reference.clone(), longest));
    assert!(reference.as_str().len() <= crate::Column::Images.key_bytes_max());
    let longest = PatchKey { bases: vec![DiffId::new([1; 32]); crate::PATCH_BASES_MAX], ..key() };
    let row = patch(&longest, Bytes(1), [0; 32]);
    assert!(row.len() <= crate::Column::Patches.value_bytes_max());
    assert_eq!(read_patch(&[0; 32], &row).unwrap().1, longest);
}

#[test]
fn every_truncation_and_every_tail_is_refused() {
    let (reference, named) = an_image();
    let row = image(&reference, &named);
    let file = image_file(&row);
    let patch_row = patch(&key(), Bytes(9), [0; 32]);
    let layer_row = layer(&a_card(Some(Tlsh::new([3; TLSH_BYTES]))));
    for length in 0..row.len() {
        assert!(read_image(&row[..length]).is_err());
    }
    for length in 0..file.len() {
        assert!(read_image_file(&file[..length]).is_err());
    }
    for length in 0..patch_row.len() {
        assert!(read_patch(&[0; 32], &patch_row[..length]).is_err());
    }
    for length in 0..layer_row.len() {
        assert!(read_layer(&[0; 32], &layer_row[..length]).is_err());
    }
    assert!(read_image(&[&row[..], &[0]].concat()).is_err());
    assert!(read_layer(&[0; 32], &[&layer_row[..], &[0]].concat()).is_err());
    assert!(read_layer(&[0; 31], &layer_row).is_err());
    assert!(read_use(&[], &number(1)).is_err() && read_use(&[4; 33], &number(1)).is_err());
}

/// Decoding refuses a count that exceeds the row before it allocates anything for it.
#[test]
fn a_size_bomb_is_refused() {
    let mut row = patch(&key(), Bytes(9), [0; 32]);
    let count = row.len() - 32 - 8;
    row[count..count + 8].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(read_patch(&[0; 32], &row).is_err());
    row[count..count + 8].copy_from_slice(&(1u64 << 20).to_le_bytes());
    assert!(read_patch(&[0; 32], &row).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(key in prop::collection::vec(any::<u8>(), 0..40), value: Vec<u8>) {
        let _ = read_layer(&key, &value);
        let _ = read_patch(&key, &value);
        let _ = read_partial(&key, &value);
        let _ = read_image(&value);
        let _ = read_image_file(&value);
        let _ = read_use(&key, &value);
    }

    #[test]
    fn a_flipped_bit_in_a_reference_file_is_refused(bit in 0usize..1100) {
        let (reference, named) = an_image();
        let mut file = image_file(&image(&reference, &named));
        let bit = bit % (file.len() * 8);
        file[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(read_image_file(&file).is_err());
    }
}
