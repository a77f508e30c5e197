//! The other texts of registries and peers: image configs, references, digests, tags of artifacts. A text that is read,
//! is printed and read again as the same.
#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use libfuzzer_sys::fuzz_target;
use lighter_image::{Platform, parse_config, subject_of_tag};
use lighter_types::{DiffId, ImageReference, OciDigest, PatchId, PeerId, SiteName};

fn check<T: FromStr + Display + PartialEq + Debug>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string().parse::<T>().ok(), Some(value));
    }
}

fuzz_target!(|bytes: &[u8]| {
    let _ = parse_config(bytes, &OciDigest::new([0; 32]));
    let _ = PeerId::from_multihash(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    check::<ImageReference>(text);
    check::<OciDigest>(text);
    check::<DiffId>(text);
    check::<PatchId>(text);
    check::<PeerId>(text);
    check::<SiteName>(text);
    check::<Platform>(text);
    let _ = subject_of_tag(text);
});
