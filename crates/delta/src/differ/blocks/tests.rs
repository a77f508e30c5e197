//! Executables with fatbins: patches of blocks that changed, and of damaged ones, are applied.
//!
//! The executables are made here: one section, one container, and an element for each content. Whatever happens to
//! their bytes, a patch between two of them rebuilds the second; only what is matched decompressed may differ.

use std::ops::ControlFlow;

use lighter_types::Effort;

use super::super::steps::Kind;
use super::super::tests::noise;
use super::super::{Drafted, Files, cut, encode_frames, plan, style};
use super::*;
use crate::compressed::{Compression, lz4};
use crate::rebuilt::Piece;

/// A function for a graphics processor: instructions of 16 bytes, of which `seed` makes the operands.
fn code(seed: u64, instructions: usize) -> Vec<u8> {
    let operands = noise(seed, instructions * 3);
    let instruction = |n: usize| {
        let [a, b, c] = [0, 1, 2].map(|index| operands[3 * n + index]);
        [0x10, 0x7a, a & 0x3f, b & 0x3f, c, a >> 6, b >> 6, 0, 0, 0xe4, 0x0f, 0, 0, 0xca, 0x4f, 0]
    };
    (0..instructions).flat_map(instruction).collect()
}

fn block_of(name: &str, code: &[u8]) -> Vec<u8> {
    [b"\x7fELF\0.shstrtab\0.text.", name.as_bytes(), b"\0.nv.info\0", code].concat()
}

/// An element of a fatbin.
fn element(plain: &[u8]) -> Vec<u8> {
    let block = lz4::compress(plain);
    let mut out = vec![2, 0, 1, 1, 64, 0, 0, 0];
    out.extend((block.len() as u64).next_multiple_of(8).to_le_bytes());
    out.extend((block.len() as u32).to_le_bytes());
    out.resize(28, 0);
    out.extend(90u32.to_le_bytes());
    out.resize(40, 0);
    out.extend(0x2011u64.to_le_bytes());
    out.resize(56, 0);
    out.extend((plain.len() as u64).to_le_bytes());
    out.extend(block);
    out.resize(out.len().next_multiple_of(8), 0);
    out
}

/// An executable with one container of such contents.
fn executable(plains: &[Vec<u8>]) -> Vec<u8> {
    let elements: Vec<u8> = plains.iter().flat_map(|plain| element(plain)).collect();
    let names = b"\0.nv_fatbin\0.shstrtab\0";
    let mut fatbin = vec![0x50, 0xed, 0x55, 0xba, 1, 0, 16, 0];
    fatbin.extend((elements.len() as u64).to_le_bytes());
    fatbin.extend(elements);
    let quads = |quads: &[u64]| quads.iter().flat_map(|quad| quad.to_le_bytes()).collect::<Vec<u8>>();
    let names_at = 4096 + fatbin.len() as u64;
    let sections_at = (names_at + names.len() as u64).next_multiple_of(8);
    let mut out = b"\x7fELF\x02\x01\x01".to_vec();
    out.resize(16, 0);
    out.extend([3, 0, 62, 0, 1, 0, 0, 0]);
    out.extend(quads(&[0, 0, sections_at]));
    out.extend([0, 0, 0, 0, 64, 0, 56, 0, 0, 0, 64, 0, 3, 0, 2, 0]);
    out.resize(4096, 0);
    out.extend(&fatbin);
    out.extend(names);
    out.resize(sections_at as usize, 0);
    for (name, kind, at, bytes) in [(0u32, 0u32, 0, 0), (1, 1, 4096, fatbin.len()), (12, 3, names_at, names.len())] {
        out.extend(name.to_le_bytes());
        out.extend(kind.to_le_bytes());
        out.extend(quads(&[2, 0, at, bytes as u64, 0, 8, 0]));
    }
    out
}

/// The steps of a target, and the bytes of its patch, which was applied.
fn patch(base: &[u8], target: &[u8], effort: Effort) -> (Vec<Planned>, usize) {
    let (base, target) = (base.to_vec(), target.to_vec());
    let mut layers = Layers::new(&target, vec![&base]);
    let files = Files::of(&layers, 2).unwrap();
    let drafted = Drafted::new(&layers, &files, 2).unwrap();
    let steps = plan(&mut layers, drafted, &Search::new(effort, 64 << 20, 2)).unwrap();
    let (mut made, mut bytes, mut is_first) = (Vec::<u8>::new(), 0, true);
    for frame in cut(steps.clone()) {
        for frame in encode_frames(&layers, &frame, is_first, style(effort)).unwrap() {
            let range = made.len() as u64..made.len() as u64 + frame.target_bytes;
            let going = || ControlFlow::Continue(());
            let rebuilt = crate::frame::decode(&frame.payload, range, &layers.bases, &layers.map, &going).unwrap();
            for piece in rebuilt.pieces {
                match piece {
                    Piece::Base { offset, bytes, .. } => made.extend(&base[offset as usize..(offset + bytes) as usize]),
                    Piece::Target { offset, bytes } => {
                        made.extend_from_within(offset as usize..(offset + bytes) as usize);
                    }
                    Piece::Material(range) => made.extend(&rebuilt.material[range]),
                }
            }
            bytes += frame.payload.len();
            is_first = false;
        }
    }
    assert!(made == target, "{effort:?}");
    (steps, bytes)
}

fn streams(steps: &[Planned]) -> usize {
    let is_block =
        |step: &&Planned| matches!(&step.kind, Kind::Stream(stream) if stream.compression == Compression::Lz4);
    steps.iter().filter(is_block).count()
}

#[test]
fn changed_blocks_are_made_from_the_contents_of_old_ones() {
    let old: Vec<Vec<u8>> = (0..8).map(|n| block_of(&format!("kernel_{n}"), &code(n, 4000))).collect();
    let mut new = old.clone();
    // One operand in a hundred instructions changed: so did the block, from the first of them on.
    for at in (100..new[2].len()).step_by(1600) {
        new[2][at] ^= 4;
    }
    new[5].drain(9_000..9_160);
    // A new function that has half of the code of each of two that are gone.
    let halves = [&old[6][..30_000], &old[7][20_000..]].concat();
    new.truncate(6);
    new.push(block_of("kernel_of_halves", &halves));
    let (base, target) = (executable(&old), executable(&new));
    let compressed: usize = [2, 5, 6].map(|index| element(&new[index]).len()).into_iter().sum();
    for effort in Effort::WITH_BASES {
        let (steps, bytes) = patch(&base, &target, effort);
        assert_eq!(streams(&steps), 3, "{effort:?}");
        assert!(bytes * 20 < compressed, "{effort:?}: {bytes} bytes, of {compressed}");
    }
}

#[test]
fn blocks_of_other_encoders_and_damaged_ones_are_bytes_like_others() {
    let old: Vec<Vec<u8>> = (0..3).map(|n| block_of(&format!("kernel_{n}"), &code(n, 500))).collect();
    let mut new = old.clone();
    new[1][3_000] ^= 1;
    let (base, target) = (executable(&old), executable(&new));
    assert_eq!(streams(&patch(&base, &target, Effort::Default).0), 1);
    let places = noise(1, 300);
    for round in 0..100 {
        // Headers of the container and of its elements, and what is in them.
        let first = 4096 + 16;
        let second = first + element(&new[0]).len();
        let start = [4096, first, second, second + 64][round % 4];
        let mut damaged = target.clone();
        damaged[start + usize::from(places[3 * round]) % 64] = places[3 * round + 1];
        let mut damaged_base = base.clone();
        damaged_base[start + usize::from(places[3 * round + 2]) % 64] ^= 1 << (round % 8);
        patch(&base, &damaged, Effort::Fast);
        patch(&damaged_base, &target, Effort::Fast);
    }
}

/// Lengths are their maker's words: some end at the last number that there is.
#[test]
fn containers_and_elements_without_an_end_are_bytes_like_others() {
    let old: Vec<Vec<u8>> = (0..3).map(|n| block_of(&format!("kernel_{n}"), &code(n, 500))).collect();
    let mut new = old.clone();
    new[1][3_000] ^= 1;
    let (base, target) = (executable(&old), executable(&new));
    let first = 4096 + 16;
    let second = first + element(&new[0]).len();
    // The elements of the container, the payload of an element, the content of a block.
    for place in [4096 + 8, first + 8, second + 8, second + 56] {
        for short_of_it in [0, 15, 16, 63, 64, 1087, 1 << 20, 1 << 63] {
            let without_end = |file: &[u8]| {
                let mut file = file.to_vec();
                file[place..place + 8].copy_from_slice(&(u64::MAX - short_of_it).to_le_bytes());
                file
            };
            patch(&base, &without_end(&target), Effort::Fast);
            patch(&without_end(&base), &target, Effort::Fast);
        }
    }
}

#[test]
fn a_block_takes_the_place_of_steps_that_cost_more() {
    let step = |at, bytes, cost| Planned { kind: Kind::New, at, bytes, cost };
    let all = [step(0, 100, 50), step(100, 100, 50), step(200, 100, 50)];
    let of = |block: Planned| {
        replace(all.to_vec(), [block]).iter().map(|step| (step.at, step.bytes, step.cost)).collect::<Vec<_>>()
    };
    // 50 of the first, 100 of the second, 20 of the third would cost 85.
    assert_eq!(of(step(50, 170, 85)), all.each_ref().map(|step| (step.at, step.bytes, step.cost)));
    assert_eq!(of(step(50, 170, 84)), [(0, 50, 25), (50, 170, 84), (220, 80, 40)]);
    assert_eq!(of(step(100, 100, 49)), [(0, 100, 50), (100, 100, 49), (200, 100, 50)]);
    assert_eq!(of(step(120, 30, 1)), [(0, 100, 50), (100, 20, 10), (120, 30, 1), (150, 50, 25), (200, 100, 50)]);
    // Several in one step, one of them too dear.
    let blocks = [step(110, 10, 1), step(130, 10, 9), step(150, 10, 1), step(190, 110, 1)];
    let placed: Vec<_> = replace(all.to_vec(), blocks).iter().map(|step| (step.at, step.bytes)).collect();
    let expected = [(0, 100), (100, 10), (110, 10), (120, 30), (150, 10), (160, 30), (190, 110)];
    assert_eq!(placed, expected);
}

#[test]
fn old_blocks_that_do_not_fit_the_memory_are_left_out() {
    // Small blocks that were made from long ones, of which the window has room for one at a time, or for none.
    let long = |n: u64| block_of(&format!("kernel_{n}"), &[&code(n, 500)[..], &vec![0; 3 << 20]].concat());
    let short = |n: u64| block_of(&format!("kernel_{n}"), &code(n, 400));
    let (base, target) = (executable(&(0..6).map(long).collect::<Vec<_>>()), executable(&[0, 1, 2].map(short)));
    for (window, expected) in [(64 << 20, 3), (7 << 20, 3), (5 << 20, 0)] {
        let mut layers = Layers::new(&target, vec![&base]);
        let files = Files::of(&layers, 1).unwrap();
        let drafted = Drafted::new(&layers, &files, 1).unwrap();
        let steps = plan(&mut layers, drafted, &Search::new(Effort::Fast, window, 1)).unwrap();
        assert_eq!(streams(&steps), expected, "a window of {window}");
    }
}
