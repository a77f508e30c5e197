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
}
