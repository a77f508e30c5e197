//! VCDIFF files of other tools, applied to a fixed base: within the limits, whatever they say.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lighter_types::Bytes;
use lighter_vcdiff::{Limits, decode_vcdiff};

const LIMITS: Limits = Limits {
    target_bytes_max: Bytes(1 << 20),
    window_bytes_max: Bytes(1 << 18),
    history_bytes_max: Bytes(1 << 18),
};

fuzz_target!(|file: &[u8]| {
    let base: Vec<u8> = (0..4096u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let mut target = Vec::new();
    let decoded = decode_vcdiff(&mut &*file, &base, &mut target, LIMITS);
    assert!(target.len() as u64 <= LIMITS.target_bytes_max.0);
    if let Ok(bytes) = decoded {
        assert_eq!(bytes, Bytes(target.len() as u64));
    }
});
