//! Applying stays under its stated memory, for honest patches and for bombs. One test: the counter is the process's.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unsafe_code)]

mod common;

use lighter_types::{Effort, ReadAt};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Unreadable, noise, one_frame, patch_with};
use lighter_patch::{Method, Moves, Settings, apply_frame};

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed to the system's allocator unchanged; counting has no part in what is returned.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Most that `work` had allocated at once, beyond what there was.
fn peak(work: impl FnOnce()) -> usize {
    let before = NOW.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    work();
    PEAK.load(Ordering::Relaxed) - before
}

#[test]
fn applying_takes_at_most_48_mib() {
    let base = noise(1, 40 << 20);
    let mut target = base.clone();
    target[20 << 20..22 << 20].copy_from_slice(&noise(2, 2 << 20));
    // Changes within what is matched, so that the models are at work too.
    (24 << 20..28 << 20).step_by(50).for_each(|at| target[at] ^= 0x55);
    for effort in [Effort::Default, Effort::Max] {
        let settings = Settings { method: Method::Delta(effort), ..Settings::default() };
        let honest = patch_with(&target, std::slice::from_ref(&base), &settings);
        let most = peak(|| {
            for (payload, index) in honest.payloads.iter().zip(0..) {
                let bases: Vec<&dyn ReadAt> = honest.header.bases().iter().map(|_| &base as &dyn ReadAt).collect();
                drop(apply_frame(&honest.header, index, payload, &bases, &Moves::default()).unwrap());
            }
        });
        assert!(most < 48 << 20, "{effort:?}: {most}");
        // The models are what it takes at least: without them, this would have measured nothing.
        assert!(effort != Effort::Max || most > 6 << 20, "{most}");
    }

    // Bombs: the largest frame, the most copies, sections stated at their caps.
    let zeros = zstd::bulk::compress(&vec![0; 16 << 20], 3).unwrap();
    let mut copies = vec![0xa0, 0x80, 0x00];
    for _ in 0..3 {
        copies.extend([1, 0x82, 0xc0, 0x80, 0x00, 0x7f]);
    }
    copies.extend([1, 0x88, 0x80, 0x80, 0x00, 0x7f]);
    copies.extend([0; 127 * 4]);
    for (codec, base, payload) in [(1, None, zeros), (2, Some(1 << 40), copies)] {
        let header = one_frame(codec, base, 16 << 20, &payload);
        let most = peak(|| {
            let unreadable = Unreadable(base.unwrap_or(0));
            let bases: Vec<&dyn ReadAt> = base.iter().map(|_| &unreadable as &dyn ReadAt).collect();
            let _ = apply_frame(&header, 0, &payload, &bases, &Moves::default());
        });
        assert!(most < 48 << 20, "codec {codec}: {most}");
    }
    blocks_of_fatbins_take_at_most_64_mib();
}

/// The longest block of code for a graphics processor, changed in many places: its frame holds the content of the old
/// block and of the new one, and the new block.
fn blocks_of_fatbins_take_at_most_64_mib() {
    let mut plain = noise(5, 10 << 20);
    // Code: most fields are of few values.
    (0..plain.len()).filter(|at| at % 16 >= 9).for_each(|at| plain[at] = at as u8 & 0xf0);
    let base = tar(&executable(&plain));
    (0..plain.len()).step_by(1 << 10).for_each(|at| plain[at] ^= 0x55);
    let target = tar(&executable(&plain));
    for effort in [Effort::Fast, Effort::Max] {
        let settings = Settings { method: Method::Delta(effort), ..Settings::default() };
        let patch = patch_with(&target, std::slice::from_ref(&base), &settings);
        let with_blocks = patch.payloads.iter().filter(|payload| payload[0] & WITH_BLOCKS != 0);
        assert!(with_blocks.count() > 0, "{effort:?}: no block was decompressed");
        let bases: Vec<&dyn ReadAt> = patch.header.bases().iter().map(|_| &base as &dyn ReadAt).collect();
        let moves = Moves::read(&patch.header, &patch.payloads[0]).unwrap();
        let most = peak(|| {
            for (payload, index) in patch.payloads.iter().zip(0..) {
                drop(apply_frame(&patch.header, index, payload, &bases, &moves).unwrap());
            }
        });
        assert!(most < 64 << 20, "{effort:?}: {most}");
        assert!(most > 30 << 20, "{effort:?}: both contents and the block are in memory: {most}");
    }
}

/// The flag of a payload's tier that tells of streams of LZ4 (docs/PATCH.md).
const WITH_BLOCKS: u8 = 64;

/// An executable for x86-64 with one block of code for a graphics processor.
fn executable(plain: &[u8]) -> Vec<u8> {
    let names = b"\0.nv_fatbin\0.shstrtab\0";
    let block = lighter_delta::lz4::compress(plain);
    let mut element = vec![2, 0, 1, 1, 64, 0, 0, 0];
    element.extend((block.len() as u64).to_le_bytes());
    element.extend((block.len() as u32).to_le_bytes());
    element.resize(40, 0);
    element.extend(0x2000u64.to_le_bytes());
    element.resize(56, 0);
    element.extend((plain.len() as u64).to_le_bytes());
    element.extend(block);
    let mut section = vec![0x50, 0xed, 0x55, 0xba, 1, 0, 16, 0];
    section.extend((element.len() as u64).to_le_bytes());
    section.extend(element);
    let names_start = 64 + section.len();
    let table = (names_start + names.len()).next_multiple_of(8);
    let mut out = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0\x01\0\0\0".to_vec();
    out.extend([0u64, 0, table as u64].iter().flat_map(|number| number.to_le_bytes()));
    out.extend([0u16, 0, 64, 56, 0, 64, 3, 2].iter().flat_map(|number| number.to_le_bytes()));
    out.extend(&section);
    out.extend(names);
    out.resize(table + 64, 0);
    for (name, kind, start, bytes) in [(1u32, 1u32, 64, section.len()), (12, 3, names_start, names.len())] {
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
