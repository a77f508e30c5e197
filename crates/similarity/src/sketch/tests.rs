//! The promises of sketches.
//!
//! The tests check the bytes of a sketch (golden bytes, round trips, damage), which parts of a stream count as
//! contents, that cuts and the order of files do not matter, that masked windows survive a move of code, and that small
//! differences are counted.
//! The estimates from sketches have their tests in containment.

use lighter_tar::{BLOCK_BYTES, entry};
use proptest::prelude::*;

use super::*;
use crate::containment::{WHOLE_PARTS, missing, missing_windows};

/// Bytes of xorshift64, a generator that any language can repeat in three lines.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    })
    .take(length)
    .collect()
}

/// A tar of files with these contents, with its end marker.
pub(crate) fn tar<'a>(contents: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let files = contents.into_iter().enumerate();
    let mut tar: Vec<u8> = files.flat_map(|(at, content)| entry(&format!("file{at}"), b'0', content, "")).collect();
    tar.resize(tar.len() + 2 * BLOCK_BYTES as usize, 0);
    tar
}

pub(crate) fn sketch(bytes: &[u8]) -> Sketch {
    let mut builder = SketchBuilder::new();
    builder.push(bytes);
    builder.finish()
}

fn sketch_of_files<'a>(contents: impl IntoIterator<Item = &'a [u8]>) -> Sketch {
    sketch(&tar(contents))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// FNV-1a, a short fingerprint of long bytes.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[test]
fn golden_bytes() {
    let small = sketch_of_files([&b"0123456789abcdef"[..], b""]).to_bytes();
    assert_eq!((&*hex(&small[..49]), small.len(), fnv(&small)), GOLDEN_SMALL);
    let empty = sketch(b"").to_bytes();
    assert_eq!((&*hex(&empty[..49]), empty.len(), fnv(&empty)), GOLDEN_EMPTY);
    let large = sketch_of_files([&noise(1, 3_000_000)[..]]).to_bytes();
    assert_eq!((large.len(), fnv(&large)), GOLDEN_LARGE);
}

const GOLDEN_SMALL: (&str, usize, u64) = (
    "041000000000000000020000000033ff1f0000100031ff7f0000100032ff3f0000000034ff0f0000020034ff0f00000200",
    805,
    16_001_555_753_795_610_317,
);
const GOLDEN_EMPTY: (&str, usize, u64) = (
    "040000000000000000000000000033ff1f0000000031ff7f0000000032ff3f0000000034ff0f0000000034ff0f00000000",
    753,
    18_335_395_066_928_645_851,
);
const GOLDEN_LARGE: (usize, u64) = (1738, 16_908_601_119_080_811_361);

#[test]
fn headers_paths_and_padding_do_not_count() {
    let (one, other) = (noise(1, 100_000), noise(2, 70_001));
    let plain = sketch_of_files([&one[..], &other]);
    assert_eq!((plain.entries(), plain.content_bytes()), (2, 170_001));
    let mut tar = entry("a/very/different/path", b'5', b"", "");
    tar.extend(entry("././@LongLink", b'L', &[b'p'; 300], ""));
    tar.extend(entry("p", b'0', &other, ""));
    tar.extend(entry("pax", b'x', b"30 mtime=1350244992.023960108\n", ""));
    tar.extend(entry("q", b'0', &one, ""));
    tar.extend(entry("link", b'2', b"", "q"));
    let dressed = sketch(&tar);
    assert_eq!(dressed.entries(), 4);
    assert_eq!(dressed.content_bytes(), plain.content_bytes());
    assert_eq!(dressed.windows, plain.windows);
}

#[test]
fn bytes_that_are_no_tar_are_content() {
    let bytes = noise(3, 300_000);
    let whole = sketch(&bytes);
    assert_eq!((whole.entries(), whole.content_bytes()), (0, 300_000));
    assert_eq!(whole.windows, sketch_of_files([&bytes[..]]).windows);
    // A header counts only with the right checksum. The zeros at the end do not count.
    let mut tar = tar([&bytes[..]]);
    tar[0] ^= 1;
    assert_eq!((sketch(&tar).entries(), sketch(&tar).content_bytes()), (0, 300_544));
}

#[test]
fn gzip_files_are_left_out() {
    let packed = [&[0x1f, 0x8b, 8][..], &noise(4, 50_000)].concat();
    let text = noise(5, 20_000);
    let with = sketch_of_files([&packed[..], &text]);
    assert_eq!(with.content_bytes(), 20_000);
    assert_eq!(with.windows, sketch_of_files([&text[..]]).windows);
    assert!(!sketch(&packed).is_empty(), "outside of a tar, gzip counts as content");
    assert!(sketch_of_files([&packed[..]]).is_empty());
}

#[test]
fn moved_code_is_missing_from_the_plain_set_only() {
    let (old, new) = (sketch_of_files([&code(1000)[..]]), sketch_of_files([&code(3333)[..]]));
    assert!(missing(new.plain(), &[old.plain()]).parts > WHOLE_PARTS * 9 / 10);
    // Some masked windows differ, because an address byte that happens to be 00 or ff masks an opcode.
    assert!(missing_windows(new.masked(), &[old.masked()]).parts < WHOLE_PARTS / 8);
}

/// Instructions with an address each. Another offset changes all addresses, as when a function before them has grown.
fn code(offset: u32) -> Vec<u8> {
    let mut code = Vec::new();
    for (opcode, at) in noise(6, 100_000).into_iter().map(|byte| byte & 0x7f | 1).zip(0u32..) {
        let address = (0x12_0000 | (at * 7 + offset) & 0xffff).to_le_bytes();
        code.extend([opcode, opcode ^ 0x55, address[0], address[1], address[2], address[3]]);
    }
    code
}

#[test]
fn moved_code_of_large_executables_is_known() {
    // A distance of 40 MB, whose high byte is no 00; the first bytes of the file name the machine.
    for (machine, call) in [(62, 0xe8_u32), (183, 0x9400_0000)] {
        let executable = |moved: u32| {
            let mut file = [b"\x7fELF\x02\x01\x01", &[0; 11][..], &[machine, 0, 0, 0, 0, 0]].concat();
            for (other, at) in noise(8, 160_000).chunks(8).zip(0u32..) {
                let distance = 0x0260_0000 + at * 40 + moved;
                // Bytes that are no opcodes of calls, nor high bytes.
                file.extend(other.iter().map(|byte| 0x60 | byte & 0x0f));
                if machine == 62 {
                    file.extend([0x48, 0x89, 0xc1, call as u8]);
                    file.extend(distance.to_le_bytes());
                } else {
                    file.extend((call | distance).to_le_bytes());
                }
            }
            file
        };
        let (old, new) = (sketch_of_files([&executable(0)[..]]), sketch_of_files([&executable(4096)[..]]));
        assert!(missing(new.plain(), &[old.plain()]).parts > WHOLE_PARTS / 2);
        assert!(missing_windows(new.masked(), &[old.masked()]).parts < WHOLE_PARTS / 100);
    }
}

#[test]
fn different_windows_are_counted() {
    let bytes = noise(7, 2_000_000);
    for sketch in [sketch(&bytes), sketch_of_files([&bytes[..], &bytes, &bytes])] {
        assert!((1_800_000..2_200_000).contains(&sketch.distinct_windows()));
    }
    assert_eq!(
        sketch(&[b'a'; 100_000]).masked().samples.values().len(),
        16,
        "a run has the windows of its start and one more"
    );
}

/// The share of the entries of `target` whose header, and whose path, `base` lacks, in percent.
fn missing_entries(target: &[u8], base: &[u8]) -> [u64; 2] {
    let (target, base) = (sketch(target), sketch(base));
    let headers = missing(target.headers(), &[base.headers()]);
    [headers, missing(target.paths(), &[base.paths()])].map(|share| (100 * share.parts).div_ceil(WHOLE_PARTS))
}

#[test]
fn an_entry_is_known_by_its_header_and_by_its_path() {
    let long = |n: usize| entry("././@LongLink", b'L', format!("{}/{n}", "folder/".repeat(20)).as_bytes(), "");
    let of = |top: &str, kind: u8, prefix: &dyn Fn(usize) -> Vec<u8>| -> Vec<u8> {
        (0..500).flat_map(|n| [prefix(n), entry(&format!("{top}/{n}"), kind, b"", "to")].concat()).collect()
    };
    let none = |_: usize| Vec::new();
    let old = of("a", b'2', &none);
    assert_eq!(missing_entries(&old, &old), [1, 1]);
    assert_eq!(missing_entries(&of("a", b'1', &none), &old), [100, 1], "another kind, the same path");
    assert_eq!(missing_entries(&of("b", b'2', &none), &old), [100, 100]);
    assert_eq!(missing_entries(&of("a", b'2', &long), &old), [100, 100], "a long name is a part of the path");
    let dated = |n: usize| entry("pax", b'x', format!("{n} mtime=1350244992.02\n").as_bytes(), "");
    assert_eq!(missing_entries(&of("a", b'2', &dated), &old), [100, 1], "pax records are a part of the header alone");
    let half = [&of("b", b'2', &none)[..], &old].concat();
    let [headers, paths] = missing_entries(&half, &old);
    assert!((30..70).contains(&headers) && (30..70).contains(&paths), "{headers} {paths}");
}

/// Executables of 4 MB that differ in `changes` places of 32 bytes.
fn edited(changes: usize) -> [Sketch; 2] {
    let old = noise(16, 4 << 20);
    let mut new = old.clone();
    let changed = noise(21, 32 * changes);
    for change in 0..changes {
        let at = change * ((4 << 20) / changes);
        new[at..at + 32].copy_from_slice(&changed[32 * change..][..32]);
    }
    [sketch_of_files([&old[..]]), sketch_of_files([&new[..]])]
}

#[test]
fn small_changes_are_counted_which_samples_overlook() {
    for changes in [200, 1000, 5000] {
        let [old, new] = edited(changes);
        // Each change is in 32 + 15 windows of 16 bytes, and in 32 + 255 long ones.
        for (kind, bytes) in [(old.masked(), 47), (old.long(), 287)] {
            let other = if bytes == 47 { new.masked() } else { new.long() };
            let expected = (changes * bytes) as f64 / f64::from(4 << 20);
            let found = missing_windows(other, &[kind]);
            let ratio = found.parts as f64 / WHOLE_PARTS as f64 / expected;
            assert!((0.7..1.4).contains(&ratio), "{changes} changes, windows across {bytes}: {ratio}, {found:?}");
            assert!(found.variance_parts < WHOLE_PARTS / 25, "{found:?}");
        }
    }
}

#[test]
fn copies_of_files_are_not_new_for_the_odd_sketch() {
    let (one, other) = (noise(17, 500_000), noise(18, 500_000));
    let [old, new] = [sketch_of_files([&one[..], &other]), sketch_of_files([&one[..], &other, &other])];
    assert!(missing_windows(new.masked(), &[old.masked()]).parts < WHOLE_PARTS / 100);
}

#[test]
fn executables_of_go_are_known_by_their_note() {
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(18, 0);
    elf.extend([62, 0]);
    elf.extend(noise(19, 20_000));
    assert_eq!(sketch_of_files([&elf[..]]).go(), 0);
    elf[4000..4012].copy_from_slice(b"\x53\0\0\0\x04\0\0\0Go\0\0");
    assert_eq!(sketch_of_files([&elf[..]]).go(), 255);
    let half = sketch_of_files([&elf[..], &noise(20, elf.len())]).go();
    assert!((126..=128).contains(&half), "{half}");
    elf[0] = 0;
    assert_eq!(sketch_of_files([&elf[..]]).go(), 0, "a note outside of an executable is text");
}

/// Applies `change` to the bytes of a good sketch. Decoding must fail with the expected message.
fn check_refused(change: impl Fn(&mut Vec<u8>), expected: &str) {
    let mut bytes = sketch(&noise(11, 100_000)).to_bytes();
    change(&mut bytes);
    assert_eq!(Sketch::from_bytes(&bytes).map_err(|error| error.to_string()), Err(expected.to_owned()));
}

#[test]
fn hostile_bytes_are_refused_with_a_reason() {
    check_refused(Vec::clear, "sketch ends early");
    check_refused(|bytes| bytes.truncate(48), "sketch ends early");
    check_refused(|bytes| bytes.truncate(1500), "sketch ends early");
    check_refused(|bytes| bytes[0] = 1, "sketch version 1; this program reads version 4: make the sketch again");
    check_refused(|bytes| bytes.push(0), "sketch has bytes or bits after its last sample");
    check_refused(|bytes| bytes.resize(4096, 0), "sketch of 4096 bytes is over the limit of 2031");
    check_refused(
        |bytes| bytes[14..21].copy_from_slice(&[40, 0, 32, 0, 0, 201, 0]),
        "sketch has a set (plain) of 201 samples in 8192 slots, shifted by 40",
    );
    check_refused(
        |bytes| bytes[21..28].copy_from_slice(&[40, 1, 200, 0, 0, 32, 2]),
        "sketch has a set (masked) of 544 samples in 51201 slots, shifted by 40",
    );
    check_refused(
        |bytes| bytes[14..19].copy_from_slice(&[51, 0, 32, 0, 0]),
        "sketch has a set (plain) of 197 samples in 8192 slots, shifted by 51",
    );
    check_refused(|bytes| bytes[15..19].copy_from_slice(&[0; 4]), "sketch has a sample (plain) beyond its limit of 0");
    check_refused(
        |bytes| bytes[35..42].copy_from_slice(&[40, 0, 8, 0, 0, 65, 0]),
        "sketch has a set (headers) of 65 samples in 2048 slots, shifted by 40",
    );
    check_refused(
        |bytes| bytes[42..49].copy_from_slice(&[40, 1, 16, 0, 0, 64, 0]),
        "sketch has a set (paths) of 64 samples in 4097 slots, shifted by 40",
    );
    check_refused(|bytes| bytes[753..].fill(0xff), "sketch ends early");
}

#[test]
fn no_truncation_is_a_sketch() {
    let bytes = sketch(&noise(12, 100_000)).to_bytes();
    assert!((0..bytes.len()).all(|length| Sketch::from_bytes(&bytes[..length]).is_err()));
}

proptest! {
    #[test]
    fn the_cuts_between_pieces_do_not_matter(pieces in prop::collection::vec(1usize..9000, 1..40), seed in 1u64..9) {
        let tar = tar([&noise(seed, 30_000)[..], b"\x1f\x8b\x08 packed", &noise(seed + 1, 8195), b"", b"x"]);
        let tar = [entry("././@LongLink", b'L', &[b'n'; 700], ""), tar].concat();
        let mut builder = SketchBuilder::new();
        let mut rest = &tar[..];
        for piece in pieces.into_iter().cycle() {
            let (now, later) = rest.split_at(piece.min(rest.len()));
            builder.push(now);
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(builder.finish(), sketch(&tar));
    }

    #[test]
    fn the_order_of_files_does_not_matter(order in Just([1u64, 2, 3, 4, 5, 6]).prop_shuffle()) {
        let [shuffled, sorted] = [order, [1, 2, 3, 4, 5, 6]].map(|seeds| {
            let files = seeds.map(|seed| (format!("file{seed}"), noise(seed, 1000 * seed as usize)));
            sketch(&files.map(|(name, content)| entry(&name, b'0', &content, "")).concat())
        });
        prop_assert_eq!(shuffled, sorted);
    }

    #[test]
    fn bytes_go_round(seed in any::<u64>(), length in 0usize..40_000) {
        let sketch = sketch(&noise(seed | 1, length));
        let bytes = sketch.to_bytes();
        prop_assert!(bytes.len() <= SKETCH_BYTES_MAX);
        prop_assert_eq!(Sketch::from_bytes(&bytes), Ok(sketch));
    }

    /// Bytes that decode must also encode to the same bytes.
    #[test]
    fn flipped_bits_do_no_harm(bit in 0usize..8 * 1700, other in 0usize..8 * 1700) {
        let mut bytes = sketch(&noise(13, 100_000)).to_bytes();
        for bit in [bit, other] {
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        if let Ok(sketch) = Sketch::from_bytes(&bytes) {
            prop_assert_eq!(sketch.to_bytes(), bytes);
        }
    }

    #[test]
    fn any_bytes_do_no_harm(head in any::<[u8; 36]>(), samples in prop::collection::vec(any::<u8>(), 700..1970)) {
        let mut bytes = vec![4; 13];
        bytes.extend(head);
        // Limits of about the right size. Otherwise decoding would refuse most inputs for their limits.
        for limit in [17, 24, 31, 38, 45] {
            bytes[limit..limit + 2].fill(0);
        }
        bytes.extend(samples);
        if let Ok(sketch) = Sketch::from_bytes(&bytes) {
            prop_assert_eq!(sketch.to_bytes(), bytes);
        }
    }

    #[test]
    fn hostile_tars_do_no_harm(at in 0usize..4096, value in any::<u8>(), cut in 0usize..5000) {
        let mut tar = tar([&noise(14, 1500)[..], &noise(15, 600)]);
        let at = at % tar.len();
        tar[at] = value;
        lighter_tar::seal(&mut tar[..512]);
        sketch(&tar[..cut.min(tar.len())]);
    }
}
