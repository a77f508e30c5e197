//! References of each kind, and coded maps, honest and not.
//!
//! An honest map comes back as it was. A map over a limit is cut off where the limit is, and does not come back; bytes
//! that are no map are refused, or are a map that does no harm.

use super::coding::{decode, encode, fits};
use super::*;

/// Numbers without a pattern.
fn numbers(seed: u64) -> impl Iterator<Item = u64> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 20
    })
}

/// An image whose file offsets are its addresses less 0x1000, and of which everything behind 0x2000 moved by 0x40.
fn moved(kind: Kind) -> Moved {
    let load = Load { offset: 0, bytes: 1 << 20, address: 0x1000 };
    let mut moves = Moves::default();
    moves.push(0x1000, 0);
    moves.push(0x2000, 0x40);
    let part = Part { range: 0..1 << 20, kind, base: 0x1000, by: 0, base_by: 0 };
    Moved {
        target: 5000..5000 + (1 << 20),
        old: 700..700 + (1 << 20),
        old_loads: vec![load],
        new_loads: vec![load],
        parts: vec![part],
        image_end: 0x1000 + (1 << 20),
        moves,
    }
}

/// Old bytes that begin at 0x1100 and did not move, rewritten.
fn rewritten(kind: Kind, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    moved(kind).rewrite(0x100, 0x100, &mut bytes, 0);
    bytes
}

#[test]
fn references_follow_what_they_lead_to() {
    // call 0x1106 + 0x1000; call 0x1105 + 0x100, which did not move; lea rax, [rip + 0x2000].
    let code = [0x90, 0x90, 0xe8, 0, 0x10, 0, 0, 0xe8, 0, 1, 0, 0, 0x48, 0x8d, 0x05, 0, 0x20, 0, 0];
    let expected = [0x90, 0x90, 0xe8, 0x40, 0x10, 0, 0, 0xe8, 0, 1, 0, 0, 0x48, 0x8d, 0x05, 0x40, 0x20, 0, 0];
    assert_eq!(rewritten(Kind::X86_64, &code), expected);
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    // bl +0x1000; adrp x0, +0x2000 and add x0, x0, 0x123; ret.
    let arm = words(&[0x9400_0400, 0xd000_0000, 0x9104_8c00, 0xd65f_03c0]);
    let expected = words(&[0x9400_0410, 0xd000_0000, 0x9105_8c00, 0xd65f_03c0]);
    assert_eq!(rewritten(Kind::Aarch64, &arm), expected);
    let quads = |quads: &[u64]| quads.iter().flat_map(|quad| quad.to_le_bytes()).collect::<Vec<u8>>();
    assert_eq!(rewritten(Kind::Pointers, &quads(&[0x2008, 0x1ff8, 7, 1 << 40])), quads(&[0x2048, 0x1ff8, 7, 1 << 40]));
    assert_eq!(rewritten(Kind::Table, &words(&[0x1000, 0x0fff, 0xffff_ff00])), words(&[0x1040, 0x0fff, 0xffff_ff00]));
    // From 0x9000 back to 0x4000, and to 0x1ffc.
    let mut jumps = words(&[0x5000u32.wrapping_neg(), 0x7008u32.wrapping_neg(), 0x5000]);
    moved(Kind::Jumps).rewrite(0x8000, 0x8000, &mut jumps, 0);
    assert_eq!(jumps, words(&[0x4fc0u32.wrapping_neg(), 0x7008u32.wrapping_neg(), 0x5000]));
    // Length, 0x104 back to what is common, and 0x1000 ahead to the function.
    let frames = words(&[0x14, 0x104, 0x1000, 0x30, 0]);
    assert_eq!(rewritten(Kind::Frames, &frames), words(&[0x14, 0x104, 0x1040, 0x30, 0]));
}

#[test]
fn records_have_references_in_some_of_their_fields() {
    let mut file = moved(Kind::Symbols);
    file.parts[0].base = 0x1800;
    let mut symbol: Vec<u8> = 0x900u32.to_le_bytes().into_iter().chain([0x12, 0, 7, 0]).collect();
    symbol.extend([0x3000u64, 0x2008].iter().flat_map(|quad| quad.to_le_bytes()));
    let mut bytes = symbol.repeat(2);
    file.rewrite(0, 0, &mut bytes, 0);
    symbol[0] = 0x40;
    symbol[8] = 0x40;
    assert_eq!(bytes, symbol.repeat(2), "the name and the address, and not the size");
    file.parts[0].kind = Kind::Relocations;
    let relocation = |fields: [u64; 3]| fields.iter().flat_map(|field| field.to_le_bytes()).collect::<Vec<u8>>();
    let mut bytes = relocation([0x2100, 0x60 << 32 | 6, 0x3000]);
    file.rewrite(0, 0, &mut bytes, 0);
    // Symbol 0x60 is at 0x1800 + 0x900; 0x40 more are two symbols and a half.
    assert_eq!(bytes, relocation([0x2140, 0x62 << 32 | 6, 0x3040]));
}

#[test]
fn references_are_found_where_they_were_written() {
    for (kind, seed) in Kind::ALL.into_iter().zip(1..) {
        let file = moved(kind);
        let mut bytes: Vec<u8> = numbers(seed).take(3000).flat_map(|number| (number as u32).to_le_bytes()).collect();
        // Small numbers too, so that records and tables have some.
        bytes.extend(numbers(seed).take(3000).flat_map(|number| (number as u32 & 0xffff).to_le_bytes()));
        bytes.extend(numbers(seed).take(3000).flat_map(|number| [0xe8, number as u8, (number >> 8) as u8, 0, 0]));
        bytes.extend(numbers(seed).take(3000).flat_map(|number| (number & 0xf_ffff).to_le_bytes()));
        bytes.extend(numbers(seed).take(3000).flat_map(|number| (number as u32 | 0xffff_0000).to_le_bytes()));
        let old = bytes.clone();
        let mut found = 0;
        file.each(0, 0, &mut bytes, 0, &mut |site, bytes, at, to| {
            assert_eq!(site.find_new(&old, at), Some(to), "nothing moved: both sides find the same");
            found += usize::from(file.has(to));
            let before = bytes.to_vec();
            site.put(bytes, at, to);
            assert!(*bytes == before, "{kind:?} at {at}");
            file.has(to)
        });
        assert!(found > 10, "{kind:?}: {found}");
    }
}

#[test]
fn a_margin_before_the_bytes_has_the_opcode_and_is_not_changed() {
    let file = moved(Kind::X86_64);
    let rewritten = |bytes: &[u8], before| {
        let mut bytes = bytes.to_vec();
        file.rewrite(0x102, 0x102, &mut bytes, before);
        bytes
    };
    assert_eq!(rewritten(&[0, 0x10, 0, 0], 0), [0, 0x10, 0, 0]);
    assert_eq!(rewritten(&[0x90, 0xe8, 0, 0x10, 0, 0], 2), [0x90, 0xe8, 0x40, 0x10, 0, 0]);
}

#[test]
fn maps_come_back() {
    let mut files: Vec<Moved> = Kind::ALL.into_iter().map(moved).collect();
    for (index, file) in (0..).zip(&mut files) {
        file.target = index << 21..(index << 21) + (1 << 20);
        file.old = 900 - index..(1 << 20) + 7;
        let mut at = 0;
        for number in numbers(index).take(500) {
            at += number % 5000;
            let start = if number % 3 == 0 { at } else { at.next_multiple_of(16) };
            file.moves.push(0x10_0000 + start.max(at), (number % 11).wrapping_mul(16).wrapping_sub(64));
            at = start;
        }
    }
    let map = Map { files };
    assert!(fits(&map));
    assert_eq!(decode(&encode(&map)).unwrap(), map);
    assert_eq!(map.file(1 << 21).map(|file| file.parts[0].kind), Some(Kind::Aarch64));
    assert_eq!(map.file((1 << 21) - 1), None);
    assert!(fits(&Map::default()));
}

#[test]
fn maps_over_the_limits_do_not_fit() {
    let many = |count: u64| {
        let mut file = moved(Kind::Pointers);
        (0..count).for_each(|index| file.moves.push(0x3000 + index, index % 2));
        Map { files: vec![file] }
    };
    assert!(fits(&many(1000)));
    assert!(!fits(&many(1 << 18)));
    let mut beyond = moved(Kind::Pointers);
    beyond.old_loads[0].bytes = 1 << 63;
    assert!(!fits(&Map { files: vec![beyond] }));
    let mut overlapping = moved(Kind::Pointers);
    overlapping.old_loads = vec![overlapping.old_loads[0]; 2];
    assert!(!fits(&Map { files: vec![overlapping] }));
}

/// A map may have so many loads, parts and moves in all its files together, and not in each.
#[test]
fn files_share_the_limits_of_a_map() {
    type Fill = fn(&mut Moved, u64);
    let loads: Fill =
        |file, count| file.new_loads = (0..count).map(|n| Load { offset: 16 * n, bytes: 8, address: 16 * n }).collect();
    let parts: Fill = |file, count| {
        let part = |n: u64| Part { range: 16 * n..16 * n + 8, kind: Kind::Pointers, base: 0, by: 0, base_by: 0 };
        file.parts = (0..count).map(part).collect();
    };
    let moves: Fill = |file, count| {
        file.moves = Moves::default();
        (0..count).for_each(|n| file.moves.push(16 * n, 16 * (n % 2)));
    };
    for (fill, most) in [(loads, 1 << 14), (parts, 1 << 14), (moves, 1 << 18)] {
        let map = |counts: [u64; 2]| {
            let file = |(index, count): (u64, u64)| {
                let mut file = Moved { old_loads: vec![], new_loads: vec![], ..moved(Kind::Pointers) };
                (file.parts, file.moves) = (vec![], Moves::default());
                file.target = index << 21..(index << 21) + 9;
                fill(&mut file, count);
                file
            };
            decode(&encode(&Map { files: (0..).zip(counts).map(file).collect() }))
        };
        assert!(map([most / 2, most / 2]).is_ok());
        assert_eq!(map([most / 2, most / 2 + 1]).unwrap_err(), "more of something in a map than allowed");
        assert!(map([most, 0]).is_ok() && map([most + 1, 0]).is_err());
    }
}

#[test]
fn hostile_maps_are_refused_or_harmless() {
    let good = encode(&Map { files: Kind::ALL.into_iter().map(moved).take(1).collect() });
    for end in 0..good.len() {
        assert!(decode(&good[..end]).is_err(), "{end}");
    }
    let mut read = 0;
    for seed in 0..2000 {
        let mut bytes: Vec<u8> = numbers(seed).take(200).map(|number| number as u8).collect();
        let kept = seed as usize % (good.len() + 1);
        bytes.splice(..kept.min(good.len()), good[..kept].iter().copied());
        let Ok(map) = decode(&bytes) else { continue };
        read += 1;
        for file in &map.files {
            file.rewrite(0, 0, &mut vec![0xe8; 5000], 2);
            file.rewrite(u64::MAX >> 3, 1 << 60, &mut vec![0x05; 500], 2);
        }
    }
    // Most are damaged; some may be read, and do no harm.
    assert!(read < 2000);
}
