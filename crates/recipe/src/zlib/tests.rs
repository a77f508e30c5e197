//! Vectors of the real tools over the generated content, and what holds between the ways of making a stream.
//!
//! A vector is the sha256 (its first 32 digits) of the raw streams of all [`SIZES`], one after another. For levels 1
//! to 9 in turn the tools made them so, with the content in `F` and a gzip header of 10 bytes and a trailer of 8 cut
//! off:
//!
//! - zlib 1.2.13: `c = zlib.compressobj(LEVEL, zlib.DEFLATED, -15, MEMLEVEL); c.compress(F) + c.flush()` in Python 3;
//! - GNU gzip 1.12: `gzip -n -LEVEL < F`;
//! - pigz 2.6 over zlib 1.2.13: `pigz -n -T -LEVEL [-p1 | -p2] [-i] [-b 50] < F`.

use sha2::{Digest, Sha256};

use super::*;
use content::content;
use pigz::PigzSettings;

mod content;

/// Around the window, its half and the place where it slides; at pigz's block size; several windows.
const SIZES: [usize; 19] = [
    0, 1, 2, 3, 5, 1000, 32_767, 32_768, 65_273, 65_274, 65_275, 65_535, 65_536, 98_303, 98_304, 131_072, 131_073,
    262_144, 3_000_000,
];

/// `MEMLEVEL` 8, the default.
const ZLIB: [&str; 9] = [
    "12b73d33f2b1dccad29a4033c5d19bd8",
    "ac4589b70560c41d7edc9e5995331cdc",
    "752431cd833d522db22cc63de1033db9",
    "647ab1c5a0c0efe45dbd74c76d095ab0",
    "1c3d7357710f4e4bdf25c10af1778bcd",
    "9f651dab6ef39b9af5dde4ba2faf270b",
    "74f93200ea4fb4f679e5b673739f6eeb",
    "652e72df763c06a8f8ac92e1728414de",
    "71dd2d1d96afee8021f79f3479e377ce",
];

/// `MEMLEVEL` 9.
const ZLIB_NINE: [&str; 9] = [
    "8ccfc322a558091dfbc68eac05235077",
    "ca1a0a281d20ae142e115f0c299aafdf",
    "3f82481de17a7916e27fb1207827aabc",
    "f67cc574fa399692055b1e4757131671",
    "b51959a1c8aa3cc2dcc44107db0f9710",
    "28c3445579c7fe6408121772cc08777f",
    "023af5f0db2ae0c79db2f504b394ac3c",
    "6249653c6a17f2dcd56d3d92acc5990a",
    "f0b57b58d084d6b1f6e15c153b9b99db",
];

/// `gzip`.
const GZIP: [&str; 9] = [
    "6d0a9d08e94aea05d2eeee626df6c9e5",
    "fe2c88f00b972e3c19e960ec99036115",
    "e90b35dd4fe4beb9c813bc220d5e70c4",
    "7ac1409d482bec862d0aee20aba182db",
    "0a0efc671dddf79135c9140057676a56",
    "17291ca2d5b900b6e7d03eb8d005c750",
    "ef8a56b27acbfa10e27d901cc5ebb7a6",
    "92a3b59084ed77ace9fbe027637ed30b",
    "a856ff86a4b0002f734a73d5db5cf5c2",
];

/// `-p2`.
const PIGZ: [&str; 9] = [
    "c653f8c066d4e95fbde57d7a3d9ebb1d",
    "507ae3927bca2cbf7ed15cdb2448caaf",
    "ed51b6d27bb2d6c683b4fdbada1cb68c",
    "eb69e71d6535c7ec70035685c3394e72",
    "ba7f9e6554adb886a079ee1ab959ee97",
    "c5fb04349065c86f84def0efa9fd4c5e",
    "27e4e8d3a954b7345ccb9e29b9d0ebfd",
    "0325dbdfdedcb2c4bc783813ff52fc0c",
    "5d61e58c584a1db7ab1f64c9bf844d18",
];

/// `-p1`.
const PIGZ_ONE: [&str; 9] = [
    "f1c1cdb6c1137e44edd96c087b4067a3",
    "49970e2280fa2dd7a14c7f54867c8bc3",
    "ea946c288e2ec918363b77b2d9b921a6",
    "eb69e71d6535c7ec70035685c3394e72",
    "ba7f9e6554adb886a079ee1ab959ee97",
    "c5fb04349065c86f84def0efa9fd4c5e",
    "27e4e8d3a954b7345ccb9e29b9d0ebfd",
    "0325dbdfdedcb2c4bc783813ff52fc0c",
    "5d61e58c584a1db7ab1f64c9bf844d18",
];

/// `-p2 -i`.
const PIGZ_INDEPENDENT: [&str; 9] = [
    "3bc52ed4a87fa970506ea8d1c4d88acd",
    "ab71c110958d616d1cce3afbb47d39d6",
    "5e29b7cce992fdd79cc064dd88cb2cf1",
    "b5cd18512421be6aea1ce84f7f6fdd24",
    "22da695d3bc613a752ecec7953aa98a6",
    "53752944a10fbdc371f1409046772aa4",
    "29b1f39b34982e8add02ef905a0726ab",
    "e890c070a388ef91fb4435a45276a138",
    "77dadd27ff2d340ad012e5d0f549d731",
];

/// `-p2 -b 50`.
const PIGZ_BLOCKS_50: [&str; 9] = [
    "1a97bab5ebb59006f75151ac79fbe80c",
    "231cd63f71d37a2ab0944bd969e9bca7",
    "97b5c10813253f1257bd1f6669a5c8ca",
    "f078f3055fc29e574484b45d3881de6e",
    "c88e13088b4f82b166c05a0b7f4531f2",
    "e7179e4f6733850b7f5c84e6d2310606",
    "541db32856a535f3dcefa6cc3e701a7b",
    "03d3efda6a9773771eeacf89e50ff2d2",
    "6b8ed3bfb1cab5a84acb04fda8bd392e",
];

/// pigz with no option but the level, on a machine of several processors.
fn pigz_at(level: ZlibLevel) -> PigzSettings {
    PigzSettings { level, block_bytes: 131_072, blocks: PigzBlocks::Dependent, threads: PigzThreads::Several }
}

fn levels() -> impl Iterator<Item = ZlibLevel> {
    (1..=9).map(|level| ZlibLevel::new(level).unwrap())
}

fn whole(mut engine: impl Engine, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    engine.write(content, &mut out);
    engine.finish(&mut out);
    out
}

fn digest(streams: &[Vec<u8>]) -> String {
    let hash = Sha256::digest(streams.concat());
    hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn check<E: Engine>(expected: &[&str; 9], create: impl Fn(ZlibLevel) -> E) {
    let full = content(3_000_000);
    for (level, expected) in levels().zip(expected) {
        let streams: Vec<Vec<u8>> = SIZES.iter().map(|size| whole(create(level), &full[..*size])).collect();
        assert_eq!(digest(&streams), *expected, "{level:?}");
    }
}

#[test]
fn zlib_is_the_real_one_at_all_levels() {
    check(&ZLIB, |level| Zlib::new(level, ZlibMemory::Eight));
}

#[test]
fn zlib_with_more_memory_is_the_real_one_at_all_levels() {
    check(&ZLIB_NINE, |level| Zlib::new(level, ZlibMemory::Nine));
}

#[test]
fn gnu_gzip_is_the_real_one_at_all_levels() {
    check(&GZIP, gnu_gzip::new);
}

#[test]
fn pigz_is_the_real_one_at_all_levels() {
    check(&PIGZ, |level| Pigz::new(pigz_at(level)));
}

#[test]
fn pigz_with_one_thread_is_the_real_one_at_all_levels() {
    check(&PIGZ_ONE, |level| Pigz::new(PigzSettings { threads: PigzThreads::One, ..pigz_at(level) }));
}

#[test]
fn pigz_with_independent_blocks_is_the_real_one_at_all_levels() {
    check(&PIGZ_INDEPENDENT, |level| Pigz::new(PigzSettings { blocks: PigzBlocks::Independent, ..pigz_at(level) }));
}

#[test]
fn pigz_with_blocks_of_another_size_is_the_real_one_at_all_levels() {
    check(&PIGZ_BLOCKS_50, |level| Pigz::new(PigzSettings { block_bytes: 51_200, ..pigz_at(level) }));
}

/// Each stream was made by zlib 1.2.13 in Python 3, as above but with `zdict`, and `c.flush` after each `c.compress`.
#[test]
fn flushes_and_dictionaries_are_those_of_the_real_one() {
    let expected = [
        (1, "22dc3962eac1c32a50949602224b2830"),
        (6, "800f612bf4f688d8d3a24c19081d6272"),
        (9, "58914c9e5b35c23d8c151b64681abfbc"),
    ];
    let full = content(3_000_000);
    let flushes = [ZlibFlush::Block, ZlibFlush::Partial, ZlibFlush::Sync, ZlibFlush::Full];
    let sizes = [0, 1, 2, 3, 261, 262, 40_000, 65_274, 70_000, 5, 100_000, 1];
    for (level, expected) in expected {
        let mut streams = Vec::new();
        for dictionary in [0..0, 5..7, 100_000..140_000] {
            let level = ZlibLevel::new(level).unwrap();
            let mut zlib = Zlib::with_dictionary(level, ZlibMemory::Eight, &full[dictionary]);
            let mut out = Vec::new();
            let mut rest = &full[..];
            for (size, flush) in sizes.into_iter().zip(flushes.into_iter().cycle()) {
                zlib.write(&rest[..size], &mut out);
                rest = &rest[size..];
                zlib.flush(flush, &mut out);
            }
            zlib.finish(&mut out);
            streams.push(out);
        }
        assert_eq!(digest(&streams), expected, "level {level}");
    }
}

/// Two far words that match, and between them so many strings with the hash of their first four bytes that the search
/// gives up the long chain and goes zlib's way. The digest is that of zlib 1.2.13 at levels 6 and 7, made as above.
#[test]
fn content_made_to_fill_a_long_chain_is_compressed_as_by_the_real_one() {
    let hash = |string: u32| long_chains::place::<4>(u64::from(string));
    let many = u32::from_le_bytes(*b"many");
    let same_hash = (0..u32::MAX).filter(|string| hash(*string) == hash(many) && *string != many);
    let between: Vec<u8> = same_hash.take(700).flat_map(u32::to_le_bytes).collect();
    let part = [&b"see many words"[..], b"manx", &between, b"many words"].concat();
    let content = part.repeat(3);
    let levels = [6, 7].map(|level| ZlibLevel::new(level).unwrap());
    let streams = levels.map(|level| whole(Zlib::new(level, ZlibMemory::Eight), &content));
    assert_eq!(digest(&streams), "6cb7c7fa7f08bdaaf494c44f023c12ca");
}

/// Writes in pieces, of sizes at which zlib itself would differ too.
fn in_pieces(mut engine: impl Engine, content: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in content.chunks(size) {
        engine.write(piece, &mut out);
    }
    engine.finish(&mut out);
    out
}

#[test]
fn sizes_of_writes_change_nothing() {
    let full = content(300_000);
    for level in [1, 6].map(|level| ZlibLevel::new(level).unwrap()) {
        let zlib = whole(Zlib::new(level, ZlibMemory::Eight), &full);
        let gzip = whole(gnu_gzip::new(level), &full);
        let pigz = whole(Pigz::new(pigz_at(level)), &full);
        for size in [1, 261, 32_767, 65_535, 131_071] {
            assert!(in_pieces(Zlib::new(level, ZlibMemory::Eight), &full, size) == zlib, "{level:?}, {size}");
            assert!(in_pieces(gnu_gzip::new(level), &full, size) == gzip, "{level:?}, {size}");
            assert!(in_pieces(Pigz::new(pigz_at(level)), &full, size) == pigz, "{level:?}, {size}");
        }
    }
}

/// The stream's bytes from a boundary up to the next one, made apart: from the byte that has the first bit to the byte
/// that has the first bit of the next.
fn segment(mut engine: impl Engine, at: &ZlibBoundary, end_bits: Option<u64>, content: &[u8]) -> Vec<u8> {
    let length = end_bits.map_or(usize::MAX, |bits| (bits / 8 - at.bits / 8) as usize);
    let mut out = Vec::new();
    for piece in content[at.content as usize..].chunks(20_000) {
        engine.write(piece, &mut out);
        if out.len() >= length {
            break;
        }
    }
    if out.len() < length {
        engine.finish(&mut out);
    }
    out.truncate(length);
    out
}

fn check_restarts<E: Engine>(
    mut engine: E,
    boundary: impl Fn(&E) -> Option<ZlibBoundary>,
    restart: impl Fn(&ZlibBoundary, &[u8]) -> Option<E>,
) {
    let full = content(1_500_000);
    let mut expected = Vec::new();
    let mut boundaries: Vec<ZlibBoundary> = boundary(&engine).into_iter().collect();
    for piece in full.chunks(20_000) {
        engine.write(piece, &mut expected);
        boundaries.extend(boundary(&engine));
    }
    engine.finish(&mut expected);
    boundaries.dedup();
    assert!(boundaries.len() > 10, "{} blocks", boundaries.len());
    let ends = boundaries[1..].iter().map(|next| Some(next.bits)).chain([None]);
    let mut made = Vec::new();
    for (at, end_bits) in boundaries.iter().zip(ends) {
        let before = at.content as usize;
        let engine = restart(at, &full[before.saturating_sub(32_768)..before]).unwrap();
        made.extend(segment(engine, at, end_bits, &full));
    }
    assert!(made == expected);
}

#[test]
fn segments_made_apart_are_the_whole_stream() {
    for level in levels().filter(|level| level.is_lazy()) {
        for memory in [ZlibMemory::Eight, ZlibMemory::Nine] {
            let restart = |at: &ZlibBoundary, history: &[u8]| Zlib::restart(level, memory, at, history);
            check_restarts(Zlib::new(level, memory), Zlib::boundary, restart);
        }
        let restart = |at: &ZlibBoundary, history: &[u8]| gnu_gzip::restart(level, at, history);
        check_restarts(gnu_gzip::new(level), Zlib::boundary, restart);
    }
}

#[test]
fn levels_that_skip_positions_have_no_boundary() {
    for level in levels().filter(|level| !level.is_lazy()) {
        let zlib = Zlib::new(level, ZlibMemory::Eight);
        assert_eq!((zlib.boundary(), gnu_gzip::new(level).boundary()), (None, None));
        let at = ZlibBoundary { content: 0, bits: 0, partial: 0, previous_length: 2 };
        assert!(Zlib::restart(level, ZlibMemory::Eight, &at, &[]).is_none());
        assert!(gnu_gzip::restart(level, &at, &[]).is_none());
    }
}

/// All calls of pigz with blocks of 50 and of 128 KiB.
fn pigz_settings() -> Vec<PigzSettings> {
    let mut all = Vec::new();
    for level in levels() {
        for blocks in [PigzBlocks::Dependent, PigzBlocks::Independent] {
            for threads in [PigzThreads::One, PigzThreads::Several] {
                all.push(PigzSettings { level, block_bytes: 51_200, blocks, threads });
            }
        }
        all.push(pigz_at(level));
    }
    all
}

#[test]
fn blocks_of_pigz_made_apart_are_the_whole_stream() {
    let full = content(400_000);
    for settings in pigz_settings().into_iter().filter(|settings| !settings.has_lasting_state()) {
        let mut made = Vec::new();
        for (block, content) in full.chunks(settings.block_bytes as usize).enumerate() {
            let start = block * settings.block_bytes as usize;
            let history = &full[start.saturating_sub(32_768)..start];
            let mut pigz = Pigz::restart(settings, start as u64, history).unwrap();
            pigz.write(content, &mut made);
            if let Some(next) = full.get(start + content.len()) {
                // One byte more ends the block. zlib holds it back, so nothing of it is written.
                pigz.write(&[*next], &mut made);
            } else {
                pigz.finish(&mut made);
            }
        }
        assert!(made == whole(Pigz::new(settings), &full), "{settings:?}");
    }
}

#[test]
fn pigz_with_a_state_that_lives_on_is_not_restarted() {
    for settings in pigz_settings().iter().filter(|settings| settings.has_lasting_state()) {
        assert!(Pigz::restart(*settings, 0, &[]).is_none());
    }
}

#[test]
fn false_boundaries_do_no_harm() {
    let full = content(200_000);
    for content in [0, 1, 32_768, 65_274, 65_275, u64::MAX - 65_536, u64::MAX] {
        for previous_length in [0, 2, 3, 257, u16::MAX] {
            for history in [0, 1, 2, 3, 32_768, 40_000] {
                let at = ZlibBoundary { content, bits: u64::MAX, partial: 255, previous_length };
                let zlib = Zlib::restart(ZlibLevel::new(6).unwrap(), ZlibMemory::Nine, &at, &full[..history]);
                assert!(!whole(zlib.unwrap(), &full[..70_000]).is_empty());
                let gzip = gnu_gzip::restart(ZlibLevel::new(6).unwrap(), &at, &full[..history]);
                assert!(!whole(gzip.unwrap(), &full[..70_000]).is_empty());
            }
        }
    }
}

#[test]
fn levels_are_one_to_nine() {
    let valid: Vec<u8> = (0..=255).filter(|level| ZlibLevel::new(*level).is_some()).collect();
    assert_eq!(valid, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
}
