//! A decoder rebuilds the bytes that were encoded, and the patch is the same for any number of threads.
//!
//! Bytes that are alike cost little, and a higher effort costs no more than a lower one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{apply, name, noise, patch, patch_with, text};
use lighter_patch::{EncodeError, FRAME_PAYLOAD_BYTES_MAX, Header, Method, Patch, Settings, Source, encode};
use lighter_types::{Bytes, Effort, ReadAt};
use proptest::prelude::*;

fn check(target: &[u8], bases: &[Vec<u8>]) -> Patch {
    let patch = patch(target, bases);
    assert!(apply(&patch, bases) == target, "the target is not rebuilt");
    let mut file = Vec::new();
    patch.write_to(&mut file).unwrap();
    assert_eq!(file.len() as u64, patch.bytes().0);
    let mut rest = file.as_slice();
    let header = Header::read_from(&mut rest).unwrap();
    assert_eq!(header, patch.header);
    assert_eq!(rest.len() as u64, patch.bytes().0 - header.header_bytes().0);
    assert_eq!(header.id(), patch.id());
    for (frame, payload) in header.frames().iter().zip(&patch.payloads) {
        assert!(frame.target_bytes <= frame.codec.target_bytes_max() && frame.payload_bytes <= FRAME_PAYLOAD_BYTES_MAX);
        assert!(file[frame.payload_offset as usize..].starts_with(payload));
    }
    patch
}

fn codecs(patch: &Patch) -> Vec<String> {
    patch.header.frames().iter().map(|frame| frame.codec.to_string()).collect()
}

#[test]
fn an_empty_target_has_no_frames() {
    assert_eq!(check(b"", &[]).header.frames(), []);
    assert_eq!(check(b"", &[noise(1, 1000)]).header.bases(), []);
}

#[test]
fn one_byte_is_rebuilt() {
    assert!(check(b"x", &[]).bytes() < Bytes(180));
    assert!(check(b"x", &[b"x".to_vec()]).bytes() < Bytes(180));
}

#[test]
fn an_equal_target_costs_next_to_nothing() {
    let base = noise(1, 20 << 20);
    let patch = check(&base, std::slice::from_ref(&base));
    assert!(patch.bytes() < Bytes(300), "{:?}", patch.bytes());
}

#[test]
fn random_bytes_cost_themselves() {
    let patch = check(&noise(1, 5 << 20), &[noise(2, 1 << 20)]);
    assert!(patch.bytes() < Bytes((5 << 20) + 2000), "{:?}", patch.bytes());
    assert!(codecs(&patch).len() <= 12, "{}", codecs(&patch).len());
    assert_eq!(patch.header.bases(), []);
}

#[test]
fn without_a_base_the_target_is_compressed() {
    let target = text(1, 4 << 20);
    let patch = check(&target, &[]);
    assert!(patch.bytes().0 < target.len() as u64 / 2);
}

/// Lines that are alike but for two numbers, which grow.
fn log_lines(lines: usize, more_every: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for line in 0..lines {
        let mut add = |sub: usize| {
            let text = format!(
                "2026-11-28T10:{:02}:{:02}.{:03} INFO request id={:08x} served in {} ms\n",
                line / 60_000 % 60,
                line / 1000 % 60,
                line % 1000,
                (line * 8 + sub) as u32 ^ 0x5bd1_e995,
                line % 7 + sub
            );
            out.extend_from_slice(text.as_bytes());
        };
        add(0);
        if more_every > 0 && line % more_every == 1 {
            add(1);
        }
    }
    out
}

#[test]
fn lines_among_others_that_are_alike_cost_little() {
    let (base, target) = (log_lines(60_000, 0), log_lines(60_000, 997));
    for effort in Effort::WITH_BASES {
        let patch = patch_with(&target, std::slice::from_ref(&base), &effort_of(effort));
        assert!(apply(&patch, std::slice::from_ref(&base)) == target);
        assert!(patch.bytes() < Bytes(3000), "{effort:?}: {:?}", patch.bytes());
    }
}

fn effort_of(effort: Effort) -> Settings {
    Settings { method: Method::Delta(effort), ..Settings::default() }
}

#[test]
fn no_effort_makes_a_larger_small_patch_than_a_lower_one() {
    let mut edited = text(3, 300_000);
    edited.splice(70_000..70_000, *b"a line that is new here\n");
    let pairs = [
        (text(3, 300_000), edited),
        (log_lines(20_000, 0), log_lines(20_000, 531)),
        (vec![b'x'; 200_000], [vec![b'x'; 90_000], b"y".to_vec(), vec![b'x'; 110_000]].concat()),
        (noise(7, 100_000), [noise(8, 64), noise(7, 100_000)].concat()),
        (Vec::new(), text(5, 50_000)),
    ];
    for (base, target) in pairs {
        let bytes = Effort::WITH_BASES
            .map(|effort| patch_with(&target, std::slice::from_ref(&base), &effort_of(effort)).bytes());
        assert!(bytes.is_sorted_by(|lower, higher| lower >= higher), "{bytes:?}");
    }
}

#[test]
fn shuffled_blocks_are_copied() {
    let base = noise(1, 2 << 20);
    let mut blocks: Vec<&[u8]> = base.chunks(10_000).collect();
    blocks.reverse();
    let patch = check(&blocks.concat(), std::slice::from_ref(&base));
    assert_eq!(codecs(&patch), ["delta"]);
    assert!(patch.bytes() < Bytes(2000), "{:?}", patch.bytes());
}

#[test]
fn frames_read_all_bases_that_serve_and_the_header_names_no_other() {
    let bases: Vec<Vec<u8>> = (1..=4).map(|seed| noise(seed, 6 << 20)).collect();
    let mut target = bases[2].clone();
    target.extend(&bases[0]);
    let patch = check(&target, &bases);
    assert!(patch.bytes() < Bytes(2000), "{:?}", patch.bytes());
    let used: Vec<_> = patch.header.bases().iter().map(|base| base.diff_id).collect();
    assert_eq!(used, [name(1), name(3)]);
}

#[test]
fn large_files_are_matched_in_parts() {
    let base = noise(1, 150 << 20);
    let mut target = base[1000..].to_vec();
    target[100 << 20..][..100].copy_from_slice(&noise(2, 100));
    let settings = Settings { threads: 1, ..Settings::default() };
    let bases = [base];
    let patch = patch_with(&target, &bases, &settings);
    assert!(apply(&patch, &bases) == target);
    assert!(patch.bytes() < Bytes(4000), "{:?}", patch.bytes());
}

#[test]
fn threads_do_not_change_a_patch() {
    let base = text(1, 30 << 20);
    let mut target = base.clone();
    for at in (0..target.len() - 100).step_by(5003) {
        target[at..at + 40].copy_from_slice(&noise(at as u64, 40));
    }
    target.splice(10_000_000..10_000_000, noise(3, 3 << 20));
    let with = |threads| {
        let settings = Settings { threads, ..Settings::default() };
        let patch = patch_with(&target, std::slice::from_ref(&base), &settings);
        (patch.id(), patch.payloads)
    };
    let one = with(1);
    assert!(one == with(2) && one == with(5));
}

#[test]
fn progress_rises_to_the_target_and_can_stop_the_work() {
    let target = text(1, 20 << 20);
    let source = Source { diff_id: name(0), bytes: &target };
    let settings = Settings::default();
    let seen = Mutex::new(Vec::new());
    let result = encode(&source, &[], &settings, &|done| {
        seen.lock().unwrap().push(done);
        ControlFlow::Continue(())
    });
    assert!(result.is_ok());
    let seen = seen.into_inner().unwrap();
    assert!(seen.is_sorted());
    assert_eq!(seen.last(), Some(&Bytes(20 << 20)));
    let result = encode(&source, &[], &settings, &|_| ControlFlow::Break(()));
    assert!(matches!(result, Err(EncodeError::Cancelled)));
}

/// A layer that counts how often it is read.
struct Counted<'a>(&'a [u8], &'a AtomicUsize);

impl ReadAt for Counted<'_> {
    fn len(&self) -> Bytes {
        Bytes(self.0.len() as u64)
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<()> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.read_exact_at(buf, offset)
    }
}

/// Whatever the encoder is at, it reads no more of the layers once the caller said no.
#[test]
fn an_encode_ends_at_a_read_of_a_layer() {
    let base = text(1, 600_000);
    let mut target = [&base[..], &text(2, 200_000)].concat();
    (0..target.len()).step_by(5000).for_each(|at| target[at] ^= 1);
    for effort in [Effort::Default, Effort::Max] {
        let settings = Settings { method: Method::Delta(effort), threads: 2, ..Settings::default() };
        // Says no at a question; the questions, and the reads after the first no.
        let encode_until = |most: usize| {
            let (reads, asked, at_no) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(usize::MAX));
            let (target, base) = (Counted(&target, &reads), Counted(&base, &reads));
            let target = Source { diff_id: name(0), bytes: &target };
            let base = [Source { diff_id: name(1), bytes: &base }];
            let result = encode(&target, &base, &settings, &|_| {
                if asked.fetch_add(1, Ordering::SeqCst) < most {
                    return ControlFlow::Continue(());
                }
                at_no.fetch_min(reads.load(Ordering::SeqCst), Ordering::SeqCst);
                ControlFlow::Break(())
            });
            let after = reads.into_inner().saturating_sub(at_no.into_inner());
            (result.map(drop), asked.into_inner(), after)
        };
        let (result, asked, _) = encode_until(usize::MAX);
        assert!(result.is_ok() && asked > 100, "{effort:?}: asked {asked} times");
        for most in (0..asked).step_by(asked / 20) {
            let (result, _, after) = encode_until(most);
            assert!(matches!(result, Err(EncodeError::Cancelled)), "{effort:?}, {most} of {asked}: {result:?}");
            assert!(after <= settings.threads, "{effort:?}, {most} of {asked}: {after} reads after the no");
        }
    }
}

#[test]
fn wrong_arguments_and_unreadable_layers_are_told() {
    let bytes = noise(1, 100);
    let source = |number| Source { diff_id: name(number), bytes: &bytes };
    let go = |target: &Source<'_>, bases: &[Source<'_>]| {
        encode(target, bases, &Settings::default(), &|_| ControlFlow::Continue(()))
    };
    let nine: Vec<Source<'_>> = (1..10).map(source).collect();
    assert!(matches!(go(&source(0), &nine), Err(EncodeError::TooManyBases { found: 9 })));
    assert!(matches!(go(&source(0), &[source(1), source(1)]), Err(EncodeError::RepeatedBase(_))));
    let bad = Source { diff_id: name(7), bytes: &common::Unreadable(50) };
    for result in [go(&source(0), &[bad]), go(&bad, &[])] {
        assert!(matches!(result, Err(EncodeError::Read { layer, .. }) if layer == name(7)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Targets stitched together from pieces of up to three bases and noise.
    #[test]
    fn stitched_targets_are_rebuilt(
        pieces in prop::collection::vec((0usize..4, 0usize..60_000, 0usize..5_000), 0..40),
    ) {
        let bases: Vec<Vec<u8>> = (1..4).map(|seed| text(seed, 60_000)).collect();
        let mut target = Vec::new();
        for (from, at, bytes) in pieces {
            match bases.get(from) {
                Some(base) => target.extend_from_slice(&base[at..(at + bytes).min(base.len())]),
                None => target.extend(noise(at as u64, bytes)),
            }
        }
        check(&target, &bases);
    }
}
