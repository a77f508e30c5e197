//! Sizes as a peer claims them: patches far longer than their target are refused by their header alone, and a frame
//! that takes long to decode ends when its caller says so.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::cell::Cell;
use std::ops::ControlFlow;

use common::{Entry, header_bytes, moves, noise, patch_with, text};
use lighter_patch::{ApplyError, Header, HeaderError, Method, Settings, apply_frame_while};
use lighter_types::{Blame, Effort, ReadAt};

const MIB: usize = 1 << 20;

/// A header of so many frames, each with a payload of so many bytes for `target_bytes`.
fn header(frames: usize, target_bytes: u32, payload: &[u8]) -> Header {
    let entries: Vec<Entry<'_>> = (0..frames).map(|_| Entry { codec: 3, base: 255, target_bytes, payload }).collect();
    Header::decode(&header_bytes(frames as u64 * u64::from(target_bytes), &[], &entries)).unwrap()
}

#[test]
fn payloads_that_are_longer_than_the_target_are_refused_from_peers() {
    // A MiB for each byte of the target.
    let lie = header(40, 1, &vec![7; MIB]);
    let error = lie.check_from_peer().unwrap_err();
    assert!(matches!(error, HeaderError::Field { field: "length of all payloads", .. }), "{error}");
    assert_eq!(error.blame(), Blame::Peer);
    // One payload is allowed to whatever target, and what noise grows by.
    assert!(header(1, 1, &vec![7; MIB]).check_from_peer().is_ok());
    assert!(header(33, 1 << 20, &vec![7; MIB]).check_from_peer().is_ok());
    assert!(header(2, 1, &vec![7; MIB]).check_from_peer().is_err());
}

#[test]
fn a_stored_payload_of_another_length_is_no_range_of_the_layer() {
    let stored = |target_bytes: u32| {
        let entries = [Entry { codec: 0, base: 255, target_bytes, payload: &[7; 100] }];
        Header::decode(&header_bytes(target_bytes.into(), &[], &entries)).unwrap().is_stored()
    };
    assert!(stored(100));
    assert!(!stored(99) && !stored(16 << 20));
}

/// The target, a thirty-second of it, and one payload: to the byte.
#[test]
fn the_bound_of_all_payloads_holds_to_the_byte() {
    let target_bytes = 32 * MIB as u32;
    let claim = |payloads: &[&[u8]]| {
        let first_bytes = target_bytes + 1 - payloads.len() as u32;
        let entry = |(index, payload)| Entry {
            codec: 3,
            base: 255,
            target_bytes: if index == 0 { first_bytes } else { 1 },
            payload,
        };
        let entries: Vec<Entry<'_>> = payloads.iter().copied().enumerate().map(entry).collect();
        Header::decode(&header_bytes(target_bytes.into(), &[], &entries)).unwrap().check_from_peer()
    };
    let full = vec![7; MIB];
    let mut payloads = vec![&full[..]; 32 + 1 + 1];
    assert!(claim(&payloads).is_ok());
    payloads.push(&full[..1]);
    assert!(claim(&payloads).is_err());
}

/// The bound has room above what nodes make of the worst content: noise, noise like a base, and many small files.
#[test]
fn noise_stays_far_within_the_bound() {
    let base = noise(1, 700_000);
    let mut near = base.clone();
    near.iter_mut().step_by(3).for_each(|byte| *byte = byte.wrapping_mul(5) ^ 0x55);
    for effort in Effort::ALL {
        let settings = Settings { method: Method::Delta(effort), ..Settings::default() };
        for target in [noise(2, 2 * MIB), near.clone(), noise(3, 1), noise(4, 600)] {
            for bases in [&[][..], std::slice::from_ref(&base)] {
                let header = patch_with(&target, bases, &settings).header;
                let payloads = header.patch_bytes().0 - header.header_bytes().0;
                let most = target.len() as u64 + target.len() as u64 / 128 + 64;
                assert!(payloads <= most, "{effort:?}: {payloads} for {}", target.len());
                assert!(header.check_from_peer().is_ok());
            }
        }
    }
}

#[test]
fn a_frame_is_stopped_while_it_is_decoded() {
    let target = text(1, 2 * MIB);
    let settings = Settings { method: Method::Delta(Effort::Max), ..Settings::default() };
    let patch = patch_with(&target, &[], &settings);
    let moves = moves(&patch);
    let frames = patch.payloads.iter().zip(0..);
    let asked = Cell::new(0);
    let decode = |index, payload: &[u8], most: u32| {
        asked.set(0);
        let going = || {
            asked.set(asked.get() + 1);
            if asked.get() > most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        apply_frame_while(&patch.header, index, payload, (&[] as &[&dyn ReadAt], &moves), &going).map(drop)
    };
    let mut in_all = 0;
    for (payload, index) in frames {
        decode(index, payload, u32::MAX).unwrap();
        let questions = asked.get();
        in_all += questions;
        for most in [0, questions / 2, questions - 1] {
            let error = decode(index, payload, most).unwrap_err();
            assert!(matches!(error, ApplyError::Stopped { .. }), "{error}");
            assert_eq!((asked.get(), error.blame()), (most + 1, Blame::Caller), "it ends at the first no");
        }
    }
    let windows = target.len() / (256 << 10);
    assert!(in_all as usize >= windows, "asked {in_all} times for {windows} windows");
}
