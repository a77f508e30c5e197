//! The headers of registries: challenges and ranges. The two files are built as they stand in `lighter_registry`,
//! without that crate's network and TLS.

#![no_main]
#![allow(dead_code)]

use libfuzzer_sys::fuzz_target;

#[path = "../../../crates/registry/src/client/challenge.rs"]
mod challenge;
#[path = "../../../crates/registry/src/client/content_range.rs"]
mod content_range;

fuzz_target!(|header: &[u8]| {
    if let Some(challenges) = challenge::parse_challenges(header) {
        assert!(challenges.len() <= challenge::CHALLENGES_MAX && header.len() <= challenge::HEADER_BYTES_MAX);
        for challenge in &challenges {
            assert!(challenge.parameters.len() <= challenge::PARAMETERS_MAX);
            let quoted = |value: &str| format!("\"{}\"", value.replace('\\', r"\\").replace('"', "\\\""));
            let parameters: Vec<String> =
                challenge.parameters.iter().map(|(name, value)| format!("{name}={}", quoted(value))).collect();
            let printed = format!("{} {}", challenge.scheme, parameters.join(","));
            if printed.len() <= challenge::HEADER_BYTES_MAX {
                assert_eq!(challenge::parse_challenges(printed.as_bytes()).as_deref(), Some(std::slice::from_ref(challenge)));
            }
        }
    }
    if let Some(range) = content_range::parse_content_range(header) {
        let printed = format!("bytes {}-{}/{}", range.first, range.last, range.whole);
        assert_eq!(content_range::parse_content_range(printed.as_bytes()), Some(range));
    }
});
