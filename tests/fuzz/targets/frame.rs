//! Every codec's decoder, behind a header whose hashes are right: a byte for the codec, one for the range's length, the
//! payload. A range that is rebuilt has the length that the header says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lighter_patch::{Header, Moves, apply_frame};
use lighter_types::ReadAt;

fn header(codec: u8, target_bytes: u32, base_bytes: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = b"\xB1LIGHTER".to_vec();
    out.extend([2, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    out.extend(u64::from(target_bytes).to_le_bytes());
    out.extend([0; 32]);
    out.extend([1; 32]);
    out.extend(base_bytes.to_le_bytes());
    out.extend([codec, if codec == 2 { 0 } else { 255 }]);
    out.extend(target_bytes.to_le_bytes());
    out.extend((payload.len() as u32).to_le_bytes());
    out.extend(blake3::hash(payload).as_bytes());
    out
}

fuzz_target!(|bytes: &[u8]| {
    let [codec, length, payload @ ..] = bytes else { return };
    let base: Vec<u8> = (0..4096u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let target_bytes = u32::from(*length) * 64 + 1;
    let Ok(header) = Header::decode(&header(codec % 4, target_bytes, base.len() as u64, payload)) else { return };
    let bases: [&dyn ReadAt; 1] = [&base];
    let Ok(moves) = Moves::read(&header, payload) else { return };
    let Ok(mut range) = apply_frame(&header, 0, payload, &bases, &moves) else { return };
    let mut buffer = vec![0; 64 << 10];
    let mut target = Vec::new();
    while let count @ 1.. = range.read(&header, &bases, &target, &mut buffer).expect("all of it is in memory") {
        target.extend_from_slice(&buffer[..count]);
    }
    assert_eq!(target.len(), target_bytes as usize);
});
