//! Programs that lie: each is refused before it costs anything, and none panics.
//!
//! A payload here has a program and nothing else: it is written by the program's coder, which takes any program, and
//! not by the encoder, which takes none that lies.

use super::*;
use crate::payload::{TIER_LZ4, TIER_XZ};
use crate::program::{INFLATED_MAX, Inflated, STEPS_MAX};
use crate::rebuilt::Piece;

fn decode(payload: &[u8], range: Range<u64>, bases: &[&dyn ReadAt]) -> Result<Rebuilt, CodecError> {
    super::decode(payload, range, bases, &Map::default(), &|| std::ops::ControlFlow::Continue(()))
}

/// A payload of the light tier with this program, and nothing else. Writing is the same walk as reading, and may say no
/// as well; what it had written until then is the payload.
fn payload(program: &Program) -> Vec<u8> {
    let mut coder = AnsEncoder::new();
    let _ = program::code(&mut coder, program);
    let coded = coder.finish();
    let mut payload = vec![TIER_LIGHT | stream_flags(program)];
    for number in [coded.len() as u64, 0, 0, 0] {
        varint::put(&mut payload, number);
    }
    payload.extend(coded);
    payload
}

fn refused(inflated: Vec<Inflated>, steps: Vec<Step>, expected: &str) {
    let base = vec![7u8; 1000];
    let error = decode(&payload(&Program { inflated, steps }), 0..100, &[&base]).unwrap_err();
    assert!(matches!(error, CodecError::Damaged(what) if what.contains(expected)), "{error:?}, not {expected}");
}

#[test]
fn ranges_outside_their_sources_are_refused() {
    let outside = "a range outside its source";
    for (from, bytes) in [(901, 100), (1000, 100), (1101, 100), (1102, 100), (u64::MAX, 100), (u64::MAX - 50, 100)] {
        refused(vec![], vec![Step::Copy { from, bytes }], outside);
        refused(vec![], vec![Step::Match { from, bytes }], outside);
    }
    refused(vec![], vec![Step::Header { from: 600 }], outside);
    refused(vec![], vec![Step::Header { from: u64::MAX }], outside);
    refused(vec![], vec![Step::Copy { from: 0, bytes: 101 }], "more copied bytes");
    refused(vec![], vec![Step::Copy { from: 0, bytes: 1 << 60 }; 40], "");
    refused(vec![], vec![Step::Copy { from: 0, bytes: 99 }], "another length");
    refused(vec![], vec![Step::Copy { from: 0, bytes: 50 }, Step::Copy { from: 0, bytes: 51 }], "more copied bytes");
}

#[test]
fn ranges_do_not_grow_from_one_base_into_the_next() {
    let (one, other) = (vec![1u8; 50], vec![2u8; 50]);
    let bases: [&dyn ReadAt; 2] = [&one, &other];
    let across = Program { inflated: vec![], steps: vec![Step::Copy { from: 10, bytes: 60 }] };
    assert!(decode(&payload(&across), 0..60, &bases).is_err());
    let both = vec![Step::Copy { from: 0, bytes: 50 }, Step::Copy { from: 51, bytes: 50 }];
    let rebuilt = decode(&payload(&Program { inflated: vec![], steps: both }), 0..100, &bases).unwrap();
    assert_eq!(rebuilt.pieces.len(), 2);
    assert!(rebuilt.material.is_empty());
}

/// A frame of 100 bytes at 50 of the target, with a base of 1000 bytes: the target begins at 1001 of the address space.
const TARGET: u64 = 1001;

fn decode_at_50(inflated: Vec<Inflated>, steps: Vec<Step>) -> Result<Rebuilt, CodecError> {
    let base = vec![7u8; 1000];
    decode(&payload(&Program { inflated, steps }), 50..150, &[&base])
}

#[test]
fn the_target_is_copied_from_before_the_place_alone() {
    let copy = |from, bytes| Step::Copy { from: TARGET + from, bytes };
    let good = decode_at_50(vec![], vec![copy(0, 50), copy(50, 50)]).unwrap();
    assert_eq!(good.pieces, [Piece::Target { offset: 0, bytes: 50 }, Piece::Target { offset: 50, bytes: 50 }]);
    assert!(good.material.is_empty());
    let refused = |steps: Vec<Step>, expected: &str| {
        let error = decode_at_50(vec![], steps).unwrap_err();
        assert!(matches!(error, CodecError::Damaged(what) if what.contains(expected)), "{error:?}, not {expected}");
    };
    let later = "its own place or behind it";
    refused(vec![copy(0, 51), copy(0, 49)], later);
    refused(vec![copy(50, 50), copy(0, 50)], later);
    refused(vec![copy(99, 1), copy(0, 99)], later);
    refused(vec![copy(0, 50), copy(51, 50)], later);
    refused(vec![copy(149, 1)], later);
    let outside = "a range outside its source";
    refused(vec![copy(150, 1)], outside);
    refused(vec![copy(100, 51)], outside);
    refused(vec![Step::Copy { from: TARGET - 1, bytes: 2 }], outside);
    refused(vec![Step::Copy { from: u64::MAX - 10, bytes: 20 }], outside);
    refused(vec![copy(0, 50); 3], "more copied bytes");
}

#[test]
fn decoding_does_not_read_the_target() {
    let expected = "needs the target's bytes";
    let from = TARGET;
    let deflate = Step::Stream { compression: Compression::Deflate, plain_bytes: 20, corrections: vec![1, 2, 3] };
    let steps = [
        vec![Step::Match { from, bytes: 20 }],
        vec![deflate.clone(), Step::Copy { from, bytes: 20 }],
        vec![deflate, Step::Match { from, bytes: 20 }],
    ];
    let stream = vec![Inflated { from, bytes: 20, plain_bytes: 30 }];
    let all = steps.map(|steps| (vec![], steps)).into_iter().chain([(stream, vec![])]);
    for (inflated, steps) in all {
        let error = decode_at_50(inflated, steps).unwrap_err();
        assert!(matches!(error, CodecError::Damaged(what) if what.contains(expected)), "{error:?}");
    }
    // The target has less than 512 bytes before this frame.
    assert!(decode_at_50(vec![], vec![Step::Header { from }]).is_err());
}

#[test]
fn blocks_of_fatbins_have_the_models_of_today() {
    let stream = Step::Stream { compression: Compression::Lz4, plain_bytes: 100, corrections: vec![] };
    let steps = vec![stream, Step::Copy { from: 0, bytes: 100 }];
    let mut full = payload(&Program { inflated: vec![], steps });
    full.drain(3..5);
    let base = vec![7u8; 1000];
    let bytes = compressed::lz4::compress(&[7; 100]).len() as u64;
    for (tier, is_refused) in [(TIER_FULL, true), (TIER_FULL | TIER_QUICK, false)] {
        full[0] = tier | TIER_LZ4;
        let error = decode(&full, 0..bytes, &[&base]).err();
        let by_models = matches!(error, Some(CodecError::Damaged(what)) if what.contains("models of earlier programs"));
        assert_eq!(by_models, is_refused, "tier {tier}: {error:?}");
    }
}

/// A patch that makes hardly any bytes can have many frames, each with as much beside its steps as it may have.
#[test]
fn frames_that_make_nothing_are_work_too() {
    let work = |inflated: Vec<Inflated>, steps: Vec<Step>| crate::payload::work(&payload(&Program { inflated, steps }));
    let copy = || vec![Step::Copy { from: 0, bytes: 1 }];
    assert!(work(vec![], copy()) >= 64);
    // Sources that no step reads: 20 ms where a byte takes 1.3 µs.
    let large = Inflated { from: 0, bytes: 30, plain_bytes: MATERIAL_BYTES_MAX };
    assert!(work(vec![large], copy()) >= 15_000);
    let small = Inflated { from: 0, bytes: 5, plain_bytes: 3 };
    assert!(work(vec![small; INFLATED_MAX], copy()) >= 15_000);
    let stream = |compression| Step::Stream { compression, plain_bytes: 1, corrections: vec![20, 4] };
    for (compression, each) in [(Compression::Deflate, 30), (Compression::Xz, 290), (Compression::Lz4, 30)] {
        let steps: Vec<Step> = (0..1000).flat_map(|_| [stream(compression), copy().remove(0)]).collect();
        assert!(work(vec![], steps) >= 1000 * each, "{compression:?}");
    }
    // The models of a frame that codes one byte.
    let mut full = payload(&Program { inflated: vec![], steps: vec![Step::New { bytes: 1 }] });
    full.drain(3..5);
    for (tier, tables) in [(TIER_FULL | TIER_QUICK, 500), (TIER_FULL, 4000)] {
        full[0] = tier;
        assert!(crate::payload::work(&full) >= tables, "tier {tier}");
    }
}

#[test]
fn programs_that_would_cost_too_much_are_refused() {
    refused(vec![], vec![Step::Match { from: 0, bytes: MATERIAL_BYTES_MAX + 1 }], "more decoded bytes");
    refused(vec![], vec![Step::New { bytes: MATERIAL_BYTES_MAX }, Step::New { bytes: 1 }], "more decoded bytes");
    refused(vec![], vec![Step::Raw { bytes: 1 << 62 }], "more decoded bytes");
    refused(vec![], vec![Step::NewHeader; STEPS_MAX + 1], "more steps");
    refused(vec![], vec![Step::NewHeader; STEPS_MAX], "more decoded bytes");
    let inflated = |from, bytes, plain_bytes| vec![Inflated { from, bytes, plain_bytes }];
    refused(inflated(0, 10, MATERIAL_BYTES_MAX + 1), vec![], "more inflated content");
    refused(inflated(0, MATERIAL_BYTES_MAX + 1, 10), vec![], "more inflated content");
    refused(inflated(0, 10, 1 << 62).repeat(4), vec![], "more inflated content");
    refused(inflated(999, 10, 10), vec![], "a range outside its source");
    refused(inflated(0, 10, 10), vec![], "does not inflate");
}

/// The bytes that a frame holds have a bound of three times what its steps may make. Copies of inflated content, and
/// streams that are compressed again, come as far as that and no further.
#[test]
fn copies_of_inflated_content_and_compressed_streams_have_a_bound() {
    const PLAIN_BYTES: u64 = 1 << 20;
    let most = 3 * MATERIAL_BYTES_MAX;
    let mut deflate = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut deflate, &vec![7; PLAIN_BYTES as usize]).unwrap();
    let base = deflate.finish().unwrap();
    let stream = xz_of(&[7; 100]);
    let run = |copied: u64, has_stream: bool| {
        let end = copied + if has_stream { stream.len() as u64 } else { 0 };
        let from = base.len() as u64 + 1 + end + 1;
        let mut steps: Vec<Step> = (0..copied / PLAIN_BYTES).map(|_| Step::Copy { from, bytes: PLAIN_BYTES }).collect();
        steps.push(Step::Copy { from, bytes: copied % PLAIN_BYTES });
        steps.retain(|step| step.bytes() > 0);
        if has_stream {
            steps.push(Step::Stream { compression: Compression::Xz, plain_bytes: 100, corrections: vec![0, 0] });
            steps.push(Step::Copy { from, bytes: 100 });
        }
        let inflated = vec![Inflated { from: 0, bytes: base.len() as u64, plain_bytes: PLAIN_BYTES }];
        decode(&payload(&Program { inflated, steps }), 0..end, &[&base]).map(|rebuilt| rebuilt.material.len() as u64)
    };
    let damaged = |what| format!("{:?}", CodecError::Damaged(what));
    let error = |run: Result<u64, CodecError>| format!("{:?}", run.unwrap_err());
    assert_eq!(run(most, false).unwrap(), most);
    assert_eq!(error(run(most + 1, false)), damaged("more decoded bytes than allowed"));
    let beside = 100 + stream.len() as u64;
    assert_eq!(run(most - beside, true).unwrap(), most);
    assert_eq!(error(run(most - beside + 1, true)), damaged("more compressed bytes than allowed"));
}

#[test]
fn streams_that_lie_are_refused() {
    let copy = |bytes| Step::Copy { from: 0, bytes };
    for compression in [Compression::Deflate, Compression::Xz] {
        let stream = |plain_bytes| Step::Stream { compression, plain_bytes, corrections: vec![1, 2, 3] };
        refused(vec![], vec![stream(100), stream(10)], "a stream within another");
        refused(vec![], vec![stream(100), copy(99)], "without its end");
        refused(vec![], vec![stream(100), copy(101)], "across the end");
        refused(vec![], vec![stream(100), Step::Trailer], "a trailer within");
        refused(vec![], vec![stream(1 << 62), Step::New { bytes: 1 << 62 }], "more decoded bytes");
        refused(vec![], vec![stream(100), copy(100)], "corrections that do not fit");
    }
}

#[test]
fn a_tier_tells_of_streams_as_they_are() {
    let base = vec![7u8; 1000];
    let copy = Step::Copy { from: 0, bytes: 100 };
    let xz = Step::Stream { compression: Compression::Xz, plain_bytes: 100, corrections: vec![0, 0] };
    let with_xz = payload(&Program { inflated: vec![], steps: vec![xz, copy.clone()] });
    let stream = xz_of(&[7; 100]);
    let rebuilt = decode(&with_xz, 0..stream.len() as u64, &[&base]).unwrap();
    assert_eq!(rebuilt.pieces, [Piece::Material(100..100 + stream.len())]);
    assert!(rebuilt.material.ends_with(&stream));
    let without = payload(&Program { inflated: vec![], steps: vec![copy] });
    for (mut payload, tier) in [(with_xz, TIER_LIGHT), (without, TIER_LIGHT | TIER_XZ)] {
        payload[0] = tier;
        let error = decode(&payload, 0..100, &[&base]).unwrap_err();
        assert!(matches!(error, CodecError::Damaged(what) if what.contains("tier")), "{error:?}");
    }
}

#[test]
fn a_frame_with_a_block_of_a_fatbin_may_be_longer() {
    let program = |compression, bytes| {
        let stream = Step::Stream { compression, plain_bytes: bytes, corrections: vec![] };
        Program { inflated: vec![], steps: vec![stream, Step::Raw { bytes }] }
    };
    let (deflate, lz4) = (Compression::Deflate, Compression::Lz4);
    for (compression, most) in [(deflate, MATERIAL_BYTES_MAX), (lz4, LARGE_BYTES_MAX)] {
        for (bytes, expected) in [(most, "a part that is cut off"), (most + 1, "more decoded bytes")] {
            let error = decode(&payload(&program(compression, bytes)), 0..100, &[]).unwrap_err();
            assert!(
                matches!(error, CodecError::Damaged(what) if what.contains(expected)),
                "{compression:?}: {error:?}"
            );
        }
    }
    // A block has no corrections.
    let stream = Step::Stream { compression: lz4, plain_bytes: 100, corrections: vec![2] };
    refused(vec![], vec![stream, Step::Copy { from: 0, bytes: 100 }], "corrections");
    let stream = Step::Stream { compression: lz4, plain_bytes: 100, corrections: vec![] };
    let payload = payload(&Program { inflated: vec![], steps: vec![stream, Step::Copy { from: 0, bytes: 100 }] });
    let block = compressed::lz4::compress(&[7; 100]);
    let rebuilt = decode(&payload, 0..block.len() as u64, &[&vec![7u8; 1000]]).unwrap();
    assert!(rebuilt.material.ends_with(&block));
}

fn xz_of(plain: &[u8]) -> Vec<u8> {
    compressed::recompress(Compression::Xz, plain, &[0, 0]).unwrap()
}

#[test]
fn contents_that_are_not_there_are_refused() {
    refused(vec![], vec![Step::New { bytes: 100 }], "a part that is cut off");
    refused(vec![], vec![Step::Raw { bytes: 100 }], "a part that is cut off");
    let base = vec![7u8; 1000];
    for unknown in [0, 1, 2, 3, 8] {
        assert!(matches!(decode(&[unknown, 0, 0, 0, 0], 0..100, &[&base]), Err(CodecError::Unsupported)));
    }
    assert!(decode(&[], 0..100, &[&base]).is_err());
    let good = payload(&Program { inflated: vec![], steps: vec![Step::Copy { from: 0, bytes: 100 }] });
    assert!(decode(&good, 0..100, &[&base]).is_ok());
    for end in 0..good.len() {
        assert!(decode(&good[..end], 0..100, &[&base]).is_err(), "{end}");
    }
    let longer = [good.as_slice(), &[0]].concat();
    assert!(decode(&longer, 0..100, &[&base]).is_err());
}
