//! Executables: two of them, whatever they are, and a patch from the one to the other. The first byte tells whether the
//! input has them whole, or the sections of fatbins in executables that are sound; the second, where the old one ends.
#![no_main]

use std::ops::ControlFlow;

use libfuzzer_sys::fuzz_target;
use lighter_patch::{Method, Moves, Settings, Source, apply_frame, encode};
use lighter_types::{DiffId, Effort, ReadAt};

/// Where the section begins in the executable.
const SECTION_START: usize = 64;
const NAMES: &[u8] = b"\0.nv_fatbin\0.shstrtab\0";

fuzz_target!(|bytes: &[u8]| {
    let [kind, cut, rest @ ..] = bytes else { return };
    let (base, target) = rest.split_at(rest.len() * usize::from(*cut) / 256);
    let [base, target] = match kind % 2 {
        0 => [base, target].map(|section| tar(&executable(section))),
        _ => [base, target].map(tar),
    };
    let settings = Settings { method: Method::Delta(Effort::Fast), threads: 1, ..Settings::default() };
    let sources = [Source { diff_id: DiffId::new([1; 32]), bytes: &base }];
    let wanted = Source { diff_id: DiffId::new([0; 32]), bytes: &target };
    let patch = encode(&wanted, &sources, &settings, &|_| ControlFlow::Continue(())).expect("memory is readable");
    let bases: Vec<&dyn ReadAt> = patch.header.bases().iter().map(|_| &base as &dyn ReadAt).collect();
    let first = patch.payloads.first();
    let moves =
        first.map(|first| Moves::read(&patch.header, first).expect("what was made is read")).unwrap_or_default();
    let mut rebuilt = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    for (payload, index) in patch.payloads.iter().zip(0..) {
        let mut range = apply_frame(&patch.header, index, payload, &bases, &moves).expect("what was made is applied");
        while let count @ 1.. = range.read(&patch.header, &bases, &rebuilt, &mut buffer).expect("memory is readable") {
            rebuilt.extend_from_slice(&buffer[..count]);
        }
    }
    assert!(rebuilt == target);
});

/// An executable for x86-64 with one section `.nv_fatbin`.
fn executable(section: &[u8]) -> Vec<u8> {
    let names_start = SECTION_START + section.len();
    let table_start = (names_start + NAMES.len()).next_multiple_of(8);
    let mut out = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0\x01\0\0\0".to_vec();
    out.extend([0u64, 0, table_start as u64].iter().flat_map(|number| number.to_le_bytes()));
    out.extend([0u16, 0, 64, 56, 0, 64, 3, 2].iter().flat_map(|number| number.to_le_bytes()));
    out.extend(section);
    out.extend(NAMES);
    out.resize(table_start + 64, 0);
    for (name, kind, start, bytes) in [(1u32, 1u32, SECTION_START, section.len()), (12, 3, names_start, NAMES.len())] {
        out.extend([name, kind].iter().flat_map(|number| number.to_le_bytes()));
        let numbers = [0u64, 0, start as u64, bytes as u64, 0, 1, 0];
        out.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    }
    out
}

/// A tar with one file.
fn tar(content: &[u8]) -> Vec<u8> {
    let mut header = [0; 512];
    header[..6].copy_from_slice(b"lib.so");
    header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut out = [header.as_slice(), content].concat();
    out.resize(out.len().next_multiple_of(512) + 1024, 0);
    out
}
