//! Golden digests are XXH64 of what the real encoders make of [`generate`]'s content, by a Go program over klauspost's
//! `zstd` 1.15.12 (Debian 12, Go 1.19), 1.16.7, 1.17.2, 1.17.3, 1.17.7 and 1.19.1 (their tags, Go 1.24), with
//! `NewWriter(&buffer, WithEncoderLevel(level), WithEncoderConcurrency(2))`: `Write` of all; `Write` of each slice of
//! [`SIZES`] and of zeros; `Write` of 8 bytes and `ReadFrom` of the rest (as skopeo does), `Flush` after every 30,000
//! bytes, and `ReadFrom` a reader that says `EOF` with its last bytes.

use super::checksum::Checksum;
use super::{Class, Ending, Level, Zstd};
use crate::Engine;

const CONTENT_BYTES: usize = 13 << 20;
const CLASSES: [Class; 6] = [
    Class::CodedLiterals,
    Class::RawLiterals,
    Class::ShortLiterals,
    Class::MoreEntries,
    Class::SmallWindow,
    Class::Runs,
];
const SIZES: [usize; 31] = [
    0, 1, 9, 10, 15, 16, 17, 31, 32, 33, 64, 255, 256, 1023, 1024, 1025, 4000, 16383, 32767, 32768, 65535, 65536,
    65537, 65792, 131_071, 131_072, 131_073, 196_608, 262_143, 262_144, 300_000,
];

/// Content of many kinds: words, runs, noise, copies of what was before, records, and bytes whose frequencies halve, so
/// that codes would be longer than a frame allows.
fn generate(bytes: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % below
    };
    let words: Vec<Vec<u8>> = (0..3000)
        .map(|_| {
            let letters = 2 + random(9);
            (0..letters).map(|_| b'a' + (random(26) * random(26) / 26) as u8).collect()
        })
        .collect();
    let mut content = Vec::with_capacity(bytes + (1 << 18));
    while content.len() < bytes {
        let scale = 4 + random(14);
        let length = 1 + random(1 << scale);
        match random(8) {
            0..=2 => {
                for _ in 0..=length / 8 {
                    content.extend_from_slice(&words[random(3000) * random(3000) / 3000]);
                    content.push(b' ');
                }
            }
            3 => content.resize(content.len() + length, random(3) as u8 * 32),
            4 => content.extend((0..length / 4).map(|_| random(256) as u8)),
            5 => {
                for _ in 0..length / 600 + 1 {
                    let from = random(content.len() + 1);
                    let to = (from + random(1200)).min(content.len());
                    content.extend_from_within(from..to);
                }
            }
            6 => {
                for index in 0..length / 16 {
                    content.extend_from_slice(&(index as u32 * 24).to_le_bytes());
                    content.extend_from_slice(&(random(1 << 10) as u32).to_le_bytes());
                }
            }
            _ => content.extend((0..length).map(|_| (random(1 << 40) as u64 | 1 << 40).trailing_zeros() as u8)),
        }
    }
    content.truncate(bytes);
    content
}

fn digest(bytes: &[u8]) -> u64 {
    let mut checksum = Checksum::new();
    checksum.update(bytes);
    checksum.finish()
}

fn frame(encoder: &mut Zstd, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.write(content, &mut out);
    encoder.finish(&mut out);
    out
}

fn many_sizes(class: Class, level: Level, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = Zstd::new(class, level, Ending::Separate);
    for (index, &size) in SIZES.iter().enumerate() {
        for slice in 0..8 {
            let start = index * 30_000 + slice * 1_500_000;
            out.extend(frame(&mut encoder, &content[start..start + size]));
        }
    }
    for size in [1, 20, 300, 2000, 131_072, 400_000] {
        out.extend(frame(&mut encoder, &vec![0; size]));
    }
    out
}

fn many_splits(class: Class, level: Level, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = Zstd::new(class, level, Ending::Separate);
    encoder.write(&content[..8], &mut out);
    encoder.split(&mut out);
    encoder.write(&content[8..3_000_000], &mut out);
    encoder.finish(&mut out);
    for part in content[..1_000_000].chunks(30_000) {
        encoder.write(part, &mut out);
        encoder.split(&mut out);
    }
    encoder.finish(&mut out);
    let mut encoder = Zstd::new(class, level, Ending::WithContent);
    for size in [65_536, 131_072, 262_144, 300_000] {
        out.extend(frame(&mut encoder, &content[..size]));
    }
    out
}

/// Digests of all content, of the sizes and of the splits, by class. All content is made only by the newest class and
/// by those that differ there from the one before, to save time.
fn check(level: Level, expected: [[u64; 3]; 6]) {
    let content = generate(CONTENT_BYTES);
    let mut whole_before = None;
    for (class, [whole, sizes, splits]) in CLASSES.into_iter().zip(expected) {
        if whole_before != Some(whole) || class == Class::Runs {
            let mut encoder = Zstd::new(class, level, Ending::Separate);
            assert_eq!(digest(&frame(&mut encoder, &content)), whole, "all of it, {class:?} {level:?}");
        }
        whole_before = Some(whole);
        assert_eq!(digest(&many_sizes(class, level, &content)), sizes, "sizes, {class:?} {level:?}");
        assert_eq!(digest(&many_splits(class, level, &content)), splits, "splits, {class:?} {level:?}");
    }
}

#[test]
fn the_default_level_makes_the_bytes_of_klauspost() {
    check(
        Level::Default,
        [
            [0xAB1B_1AE1_DC16_63A4, 0x6A00_28EA_22AD_06DE, 0x7FDA_2614_47CA_E29B],
            [0xAB1B_1AE1_DC16_63A4, 0x8CB7_D919_AFA5_E52D, 0x7FDA_2614_47CA_E29B],
            [0xAB1B_1AE1_DC16_63A4, 0x8CB7_D919_AFA5_E52D, 0x7FDA_2614_47CA_E29B],
            [0xAB1B_1AE1_DC16_63A4, 0x8CB7_D919_AFA5_E52D, 0x7FDA_2614_47CA_E29B],
            [0xAB1B_1AE1_DC16_63A4, 0x8CB7_D919_AFA5_E52D, 0x7FDA_2614_47CA_E29B],
            [0xAB1B_1AE1_DC16_63A4, 0xA18D_3B0A_69DB_CF4C, 0x7FDA_2614_47CA_E29B],
        ],
    );
}

#[test]
fn the_fastest_level_makes_the_bytes_of_klauspost() {
    check(
        Level::Fastest,
        [
            [0x7B6C_DFE4_293C_F761, 0x9F25_E0B4_420F_F64A, 0x2A4E_FAAF_966E_B8D6],
            [0x7B6C_DFE4_293C_F761, 0x81CB_2C1A_0E69_5A43, 0x2A4E_FAAF_966E_B8D6],
            [0x7B6C_DFE4_293C_F761, 0x2849_1280_7052_3815, 0x2A4E_FAAF_966E_B8D6],
            [0x7B6C_DFE4_293C_F761, 0x2849_1280_7052_3815, 0x2A4E_FAAF_966E_B8D6],
            [0x7B6C_DFE4_293C_F761, 0x2849_1280_7052_3815, 0x2A4E_FAAF_966E_B8D6],
            [0x7B6C_DFE4_293C_F761, 0x2CED_B348_5B08_9537, 0x2A4E_FAAF_966E_B8D6],
        ],
    );
}

#[test]
fn the_better_level_makes_the_bytes_of_klauspost() {
    check(
        Level::Better,
        [
            [0x1C8C_5003_C13A_910E, 0xE226_6568_DED5_C52B, 0x796C_C5F9_99EA_3428],
            [0x1C8C_5003_C13A_910E, 0xE0CC_627B_F1C6_6A05, 0x796C_C5F9_99EA_3428],
            [0x1C8C_5003_C13A_910E, 0xAC4F_7C88_0A84_6DD3, 0x796C_C5F9_99EA_3428],
            [0xEFFC_357A_7F58_719D, 0x4337_2FF0_F497_4D39, 0x88C5_E609_8860_1C59],
            [0x4F51_1897_B2C2_49A9, 0xC3C0_5319_F931_4AC2, 0x8621_62CE_519D_09E8],
            [0x4F51_1897_B2C2_49A9, 0xCB3F_AE18_3EC0_D653, 0xC3BC_1938_34A6_0027],
        ],
    );
}

#[test]
fn sizes_of_writes_change_nothing() {
    let content = &generate(CONTENT_BYTES)[..1_500_000];
    for ending in [Ending::Separate, Ending::WithContent] {
        let mut encoder = Zstd::new(Class::Runs, Level::Default, ending);
        let expected = frame(&mut encoder, content);
        for size in [997, 65_536, 131_072, 1_000_000] {
            let mut out = Vec::new();
            for part in content.chunks(size) {
                encoder.write(part, &mut out);
            }
            encoder.finish(&mut out);
            assert!(out == expected, "{ending:?}, writes of {size} bytes");
        }
    }
}

#[test]
fn a_split_at_the_start_of_a_block_changes_nothing() {
    let content = &generate(CONTENT_BYTES)[..500_000];
    let mut encoder = Zstd::new(Class::Runs, Level::Default, Ending::Separate);
    let expected = frame(&mut encoder, content);
    let mut out = Vec::new();
    encoder.split(&mut out);
    encoder.write(&content[..131_072], &mut out);
    encoder.split(&mut out);
    encoder.split(&mut out);
    encoder.write(&content[131_072..], &mut out);
    encoder.finish(&mut out);
    assert!(out == expected);
}

#[test]
fn frames_of_one_encoder_do_not_depend_on_each_other() {
    let content = generate(CONTENT_BYTES);
    let (first, second) = content.split_at(9_000_000);
    for level in [Level::Fastest, Level::Default, Level::Better] {
        let mut encoder = Zstd::new(Class::Runs, level, Ending::Separate);
        frame(&mut encoder, first);
        let expected = frame(&mut Zstd::new(Class::Runs, level, Ending::Separate), second);
        assert!(frame(&mut encoder, second) == expected, "{level:?}");
    }
}
