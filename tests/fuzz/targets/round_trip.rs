//! Encoding and applying, of whatever two halves of the input are: the first byte picks the effort, the second the cut.
#![no_main]

use std::ops::ControlFlow;

use libfuzzer_sys::fuzz_target;
use lighter_patch::{Method, Moves, Settings, Source, apply_frame, encode};
use lighter_types::{Effort, DiffId, ReadAt};

fuzz_target!(|bytes: &[u8]| {
    let [effort, cut, rest @ ..] = bytes else { return };
    let (base, target) = rest.split_at(rest.len() * usize::from(*cut) / 256);
    let (base, target) = (base.to_vec(), target.to_vec());
    let effort = [Effort::Fast, Effort::Default, Effort::Max][usize::from(effort % 3)];
    let settings = Settings { method: Method::Delta(effort), threads: 1, ..Settings::default() };
    let sources = [Source { diff_id: DiffId::new([1; 32]), bytes: &base }];
    let wanted = Source { diff_id: DiffId::new([0; 32]), bytes: &target };
    let patch = encode(&wanted, &sources, &settings, &|_| ControlFlow::Continue(())).expect("memory is readable");
    let bases: Vec<&dyn ReadAt> = patch.header.bases().iter().map(|_| &base as &dyn ReadAt).collect();
    let first = patch.payloads.first();
    let moves = first.map(|first| Moves::read(&patch.header, first).expect("what was made is read")).unwrap_or_default();
    let mut rebuilt = Vec::new();
    for (payload, index) in patch.payloads.iter().zip(0..) {
        let mut range = apply_frame(&patch.header, index, payload, &bases, &moves).expect("what was made is applied");
        let mut buffer = vec![0; 64 << 10];
        while let count @ 1.. = range.read(&patch.header, &bases, &rebuilt, &mut buffer).expect("memory is readable") {
            rebuilt.extend_from_slice(&buffer[..count]);
        }
    }
    assert!(rebuilt == target);
});
