//! Blocks come back, are the same as those of the library, and do no harm if they are damaged.

use super::*;

/// Bytes of several kinds: code-like records, text, letters, runs, noise.
fn input(kind: u32, bytes: usize) -> Vec<u8> {
    let mut state = u64::from(kind) << 32 | 1;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    };
    let mut out: Vec<u8> = Vec::new();
    while out.len() < bytes {
        let number = next();
        match kind % 5 {
            // Instructions of 16 bytes, of which most fields are of few values.
            0 => {
                let fields = [0x4e00_7a02 + number % 3, (number % 64) << 16, 0x0fe2_0000 | (number % 7), number & 1];
                out.extend(fields.iter().flat_map(|field| field.to_le_bytes()));
            }
            1 => out.extend(format!("mov.u{} %r{}, %r{};\n", 32 << (number & 1), number % 97, number % 89).bytes()),
            2 => out.push(b'a' + (number % 2) as u8),
            3 => out.extend(std::iter::repeat_n(number as u8 & 3, number as usize % 700)),
            _ => out.push(number as u8),
        }
        // Bytes that stood somewhere before.
        if number.is_multiple_of(11) && out.len() > 40 {
            let from = number as usize % (out.len() - 40);
            let copied = out[from..(from + number as usize % 3000).min(out.len())].to_vec();
            out.extend(copied);
        }
    }
    out.truncate(bytes);
    out
}

/// The same blocks as lz4 1.9.4 makes at level 2 (Python's `lz4` 4.4.5: `block.compress(plain, mode="high_compression",
/// compression=2, store_size=False)`), by the front of their blake3.
#[test]
fn blocks_are_those_of_the_library() {
    for ((kind, bytes), known) in KINDS.into_iter().zip(KNOWN) {
        let plain = input(kind, bytes);
        let block = compress(&plain);
        assert!(content(&block, bytes).as_ref() == Some(&plain), "kind {kind}, {bytes} bytes");
        assert_eq!(&blake3::hash(&block).to_hex()[..16], known, "kind {kind}, {bytes} bytes");
    }
}

const KINDS: [(u32, usize); 8] =
    [(0, 500_000), (1, 300_000), (2, 100_000), (3, 400_000), (4, 70_000), (5, 1_000), (6, 13), (8, 12)];
const KNOWN: [&str; 8] = [
    "ec2baaa1685313ae",
    "2624e642fea70551",
    "b81eb9432c27c5a2",
    "f9c21a1137bb02ce",
    "fe5930ceebda3b7a",
    "8333c075c12e048a",
    "3d1cd4889ce7ae0e",
    "74a31620b0d35ece",
];

#[test]
fn contents_of_all_lengths_come_back() {
    for kind in 0..5 {
        for bytes in (0..200).chain([65_535, 65_536, 65_548, 131_100]) {
            let plain = input(kind, bytes);
            let block = compress(&plain);
            assert!(content(&block, bytes).as_ref() == Some(&plain), "kind {kind}, {bytes} bytes");
            // The front alone has what it has.
            let front = front(&block, bytes / 2).unwrap();
            assert!(front.len() >= bytes / 2 && plain.starts_with(&front[..bytes / 2]));
        }
    }
}

#[test]
fn damaged_blocks_give_no_more_than_was_asked_for() {
    let plain = input(1, 3_000);
    let block = compress(&plain);
    for at in 0..block.len() {
        for bit in 0..8 {
            let mut damaged = block.clone();
            damaged[at] ^= 1 << bit;
            let found = content(&damaged, plain.len());
            assert!(found.is_none_or(|found| found.len() == plain.len()), "bit {bit} of {at}");
        }
        assert!(content(&block[..at], plain.len()).is_none(), "cut at {at}");
    }
    // A match of 16 MB, of one byte: no more is made than was asked for.
    let mut long = vec![0x1f, 7, 1, 0];
    long.extend([255; 65_000]);
    long.extend([0, 0]);
    assert!(front(&long, 1_000).unwrap().len() < 2_000);
    assert_eq!(content(&long, 1_000), None);
}
