//! Executables whose functions moved: references are predicted. A layer that is no tar is one file.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::iter;

use lighter_patch::{Method, Moves, Settings, apply_frame};
use lighter_types::{Effort, ReadAt};

use common::{apply, noise, patch_with};

const X86_64: u16 = 62;
const AARCH64: u16 = 183;
/// An architecture that the encoder does not know.
const RISCV: u16 = 243;

const FUNCTIONS: usize = 3000;
const HEADERS_BYTES: u64 = 0x1000;

/// An ELF file of functions that call each other. One of so many is longer than in another file with `longer` 0.
fn executable(machine: u16, longer: usize) -> Vec<u8> {
    let mut seeds = noise(7, 9 * FUNCTIONS).into_iter();
    let mut next = || usize::from(seeds.next().unwrap());
    let mut code = Vec::new();
    let mut starts = Vec::new();
    let mut calls = Vec::new();
    for function in 0..FUNCTIONS {
        starts.push(code.len());
        code.extend(noise(function as u64, 16));
        for _ in 0..3 {
            calls.push((code.len(), (next() << 8 | next()) % FUNCTIONS));
            code.extend([0; 8]);
            code.extend(noise((function % 50) as u64, 8 + next() % 4 * 8));
        }
        if function % 20 == 3 {
            code.extend(iter::repeat_n(0x90, longer));
        }
        code.resize(code.len().next_multiple_of(16), 0xcc);
    }
    for (at, to) in calls {
        let distance = starts[to] as i64 - at as i64;
        let call = match machine {
            AARCH64 => (0x9400_0000 | (distance >> 2) as u32 & 0x03ff_ffff).to_le_bytes().to_vec(),
            _ => iter::once(0xe8).chain((distance as i32 - 5).to_le_bytes()).collect(),
        };
        code[at..at + call.len()].copy_from_slice(&call);
    }
    file(machine, &code)
}

fn file(machine: u16, code: &[u8]) -> Vec<u8> {
    let names = b"\0.text\0.names\0";
    let quads = |quads: &[u64]| quads.iter().flat_map(|quad| quad.to_le_bytes()).collect::<Vec<u8>>();
    let code_bytes = code.len() as u64;
    let names_at = HEADERS_BYTES + code_bytes;
    let sections_at = (names_at + names.len() as u64).next_multiple_of(8);
    let mut out = b"\x7fELF\x02\x01\x01".to_vec();
    out.resize(16, 0);
    out.extend([3, 0]);
    out.extend(machine.to_le_bytes());
    out.extend(1u32.to_le_bytes());
    out.extend(quads(&[0, 64, sections_at]));
    out.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 3, 0, 2, 0]);
    // One segment: everything up to the end of the code, at 0x10000.
    out.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    out.extend(quads(&[0, 0x1_0000, 0x1_0000, names_at, names_at, 0x1000]));
    out.resize(HEADERS_BYTES as usize, 0);
    out.extend(code);
    out.extend(names);
    out.resize(sections_at as usize, 0);
    let mut section = |name: u32, kind: u32, numbers: [u64; 4]| {
        out.extend(name.to_le_bytes());
        out.extend(kind.to_le_bytes());
        out.extend(quads(&numbers));
        out.extend(quads(&[0, 16, 0]));
    };
    section(0, 0, [0; 4]);
    section(1, 1, [6, 0x1_0000 + HEADERS_BYTES, HEADERS_BYTES, code_bytes]);
    section(7, 3, [0, 0, names_at, names.len() as u64]);
    out
}

fn settings(effort: Effort, threads: usize) -> Settings {
    Settings { method: Method::Delta(effort), threads, ..Settings::default() }
}

#[test]
fn references_to_functions_that_moved_cost_little() {
    for effort in Effort::WITH_BASES {
        let bytes = |machine| {
            let (old, new) = (executable(machine, 0), executable(machine, 48));
            let patch = patch_with(&new, std::slice::from_ref(&old), &settings(effort, 2));
            assert!(apply(&patch, std::slice::from_ref(&old)) == new, "{effort:?} {machine}");
            let alone = patch_with(&new, std::slice::from_ref(&old), &settings(effort, 1));
            assert_eq!(alone.id(), patch.id());
            patch.bytes().0
        };
        let unknown = bytes(RISCV);
        for machine in [X86_64, AARCH64] {
            let known = bytes(machine);
            assert!(known * 3 < unknown, "{effort:?}: {machine} in {known} bytes, an unknown machine in {unknown}");
        }
    }
}

#[test]
fn known_executables_make_known_patches() {
    let ids = [X86_64, AARCH64].map(|machine| {
        let (old, new) = (executable(machine, 0), executable(machine, 48));
        Effort::WITH_BASES.map(|effort| {
            let patch = patch_with(&new, std::slice::from_ref(&old), &settings(effort, 2));
            patch.id().to_hex()[..16].to_owned()
        })
    });
    let known = [
        ["f8c024a0b428f285", "97d2457f70e39caa", "ef4dd49bc2218261"],
        ["12a899277300e096", "1d7606b2bf1561db", "68a990fa3ccdb2fe"],
    ];
    assert_eq!(ids, known.map(|ids| ids.map(str::to_owned)), "see golden.rs");
}

#[test]
fn damaged_executables_are_files_like_others() {
    let (old, new) = (executable(X86_64, 0), executable(X86_64, 48));
    let numbers = noise(3, 4000);
    for round in 0..40 {
        let damaged = |file: &[u8], seed: usize| {
            let mut file = file.to_vec();
            // The headers, and the table of sections at the end.
            for index in 0..4 {
                let number = usize::from(numbers[(seed * 16 + index * 2) % 4000]);
                let at = if index % 2 == 0 { 16 + number % 104 } else { file.len() - 1 - number % 192 };
                file[at] = numbers[(seed * 16 + index * 2 + 1) % 4000];
            }
            file
        };
        let (old, new) = (damaged(&old, round), damaged(&new, round + 100));
        let patch = patch_with(&new, std::slice::from_ref(&old), &settings(Effort::Fast, 2));
        assert!(apply(&patch, &[old]) == new, "{round}");
    }
}

#[test]
fn frames_need_the_moves_of_the_first() {
    let (old, new) = (executable(X86_64, 0), executable(X86_64, 48));
    // Bytes behind the executable do not compress, and take frames of their own.
    let new = [new, noise(9, 2 << 20)].concat();
    let patch = patch_with(&new, std::slice::from_ref(&old), &settings(Effort::Default, 1));
    assert!(patch.payloads.len() > 1);
    let bases: Vec<&dyn ReadAt> = patch.header.bases().iter().map(|_| &old as &dyn ReadAt).collect();
    let frame = |moves: &Moves| apply_frame(&patch.header, 0, &patch.payloads[0], &bases, moves);
    let moves = Moves::read(&patch.header, &patch.payloads[0]).unwrap();
    assert!(frame(&moves).is_ok());
    // Without them it is other bytes, or an error: the sha256 of the target tells.
    assert!(Moves::read(&patch.header, &patch.payloads[1]).is_err());
    let _ = frame(&Moves::default()).map(|range| range.held_bytes());
}
