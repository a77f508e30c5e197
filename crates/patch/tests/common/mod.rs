//! Shared by several tests: bytes that look like layers, and patches put together by hand.
#![allow(dead_code)]

use std::ops::ControlFlow;

use lighter_patch::{ApplyError, Header, Method, Moves, Patch, Settings, Source, apply_frame, encode};
use lighter_types::{Bytes, DiffId, ReadAt};

/// Bytes that do not compress, the same for the same seed.
pub fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2) | 1;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

/// Bytes that compress to about a third: words of a small dictionary.
pub fn text(seed: u64, bytes: usize) -> Vec<u8> {
    let words: Vec<Vec<u8>> = (0..256).map(|n| noise(n, 3 + n as usize % 9)).collect();
    let mut out: Vec<u8> = noise(seed, bytes / 3 + 1).iter().flat_map(|&n| words[usize::from(n)].clone()).collect();
    out.truncate(bytes);
    out
}

pub fn name(number: u8) -> DiffId {
    DiffId::new([number; 32])
}

pub fn patch_with(target: &[u8], bases: &[Vec<u8>], settings: &Settings) -> Patch {
    let sources: Vec<Source<'_>> =
        bases.iter().zip(1..).map(|(base, number)| Source { diff_id: name(number), bytes: base }).collect();
    let target = target.to_vec();
    encode(&Source { diff_id: name(0), bytes: &target }, &sources, settings, &|_| ControlFlow::Continue(())).unwrap()
}

/// A patch of VCDIFF and zstd frames.
pub fn vcdiff_patch(target: &[u8], bases: &[Vec<u8>]) -> Patch {
    patch_with(target, bases, &Settings { method: Method::Vcdiff, ..Settings::default() })
}

pub fn patch(target: &[u8], bases: &[Vec<u8>]) -> Patch {
    patch_with(target, bases, &Settings::default())
}

/// Applies every frame. `bases` are those given to [`patch`].
pub fn apply(patch: &Patch, bases: &[Vec<u8>]) -> Vec<u8> {
    let used: Vec<&dyn ReadAt> = patch
        .header
        .bases()
        .iter()
        .map(|base| &bases[usize::from(base.diff_id.as_bytes()[0]) - 1] as &dyn ReadAt)
        .collect();
    let mut target = Vec::new();
    let moves = moves(patch);
    for (payload, index) in patch.payloads.iter().zip(0..) {
        rebuild_onto(&mut target, &patch.header, index, payload, (&used, &moves)).unwrap();
    }
    target
}

/// The moves of a patch.
pub fn moves(patch: &Patch) -> Moves {
    patch.payloads.first().map_or(Moves::default(), |first| Moves::read(&patch.header, first).unwrap())
}

/// The range that a frame stands for, if it copies nothing from the target before it.
pub fn rebuild(header: &Header, index: u32, payload: &[u8], bases: &[&dyn ReadAt]) -> Result<Vec<u8>, ApplyError> {
    let mut out = Vec::new();
    let moves = if index == 0 { Moves::read(header, payload)? } else { Moves::default() };
    rebuild_onto(&mut out, header, index, payload, (bases, &moves)).map(|()| out)
}

/// Adds the range that a frame stands for to the target so far.
pub fn rebuild_onto(
    target: &mut Vec<u8>,
    header: &Header,
    index: u32,
    payload: &[u8],
    (bases, moves): (&[&dyn ReadAt], &Moves),
) -> Result<(), ApplyError> {
    let mut range = apply_frame(header, index, payload, bases, moves)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match range.read(header, bases, target, &mut buffer)? {
            0 => return Ok(()),
            count => target.extend_from_slice(&buffer[..count]),
        }
    }
}

/// A frame's entry as it stands in a header.
pub struct Entry<'a> {
    pub codec: u8,
    pub base: u8,
    pub target_bytes: u32,
    pub payload: &'a [u8],
}

/// A header's bytes, put together from docs/PATCH.md and not by the code under test.
pub fn header_bytes(target_bytes: u64, bases: &[u64], frames: &[Entry<'_>]) -> Vec<u8> {
    let mut out = b"\xB1LIGHTER".to_vec();
    out.extend([2, 0, bases.len() as u8, 0]);
    out.extend((frames.len() as u32).to_le_bytes());
    out.extend(0x0202_001cu32.to_le_bytes());
    out.extend([0; 4]);
    out.extend(target_bytes.to_le_bytes());
    out.extend([0; 32]);
    for (bytes, number) in bases.iter().zip(1..) {
        out.extend([number; 32]);
        out.extend(bytes.to_le_bytes());
    }
    for frame in frames {
        out.extend([frame.codec, frame.base]);
        out.extend(frame.target_bytes.to_le_bytes());
        out.extend((frame.payload.len() as u32).to_le_bytes());
        out.extend(blake3::hash(frame.payload).as_bytes());
    }
    out
}

/// A patch of one frame against a base of that length (none for codecs 0 and 1), with the right hashes.
pub fn one_frame(codec: u8, base_bytes: Option<u64>, target_bytes: u32, payload: &[u8]) -> Header {
    // Delta frames read all bases, and name none.
    let base = if base_bytes.is_some() && codec != 3 { 0 } else { 255 };
    let bases: Vec<u64> = base_bytes.into_iter().collect();
    let entry = Entry { codec, base, target_bytes, payload };
    Header::decode(&header_bytes(target_bytes.into(), &bases, &[entry])).unwrap()
}

/// A base of a stated length that says no to every read: for payloads that must be refused before one.
pub struct Unreadable(pub u64);

impl ReadAt for Unreadable {
    fn len(&self) -> Bytes {
        Bytes(self.0)
    }

    fn read_exact_at(&self, _buf: &mut [u8], _offset: u64) -> std::io::Result<()> {
        Err(std::io::ErrorKind::PermissionDenied.into())
    }
}
