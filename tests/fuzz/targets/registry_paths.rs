//! Paths and queries of the registry endpoint. The file is built as it stands in `lighter_registry`, without that
//! crate's network and TLS. A repository that is read has the name of a valid reference.

#![no_main]
#![allow(dead_code)]

use libfuzzer_sys::fuzz_target;
use lighter_types::ImageReference;

mod errors {
    /// As in the crate, without the answers.
    #[derive(Debug, PartialEq, Eq)]
    pub enum Refusal {
        NoPath,
        ReadOnly,
        Digest,
        Name,
        Tag,
    }
}

#[path = "../../../crates/registry/src/server/path.rs"]
mod path;

use path::{Path, Target};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (path, query) = text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
    let Ok(read) = Path::parse(path, query) else { return };
    if read.target == Target::Base {
        return;
    }
    let name = &read.repository.name;
    assert!(format!("{name}:latest").parse::<ImageReference>().is_ok(), "{name:?} of {text:?}");
    assert!(read.repository.names().len() <= 3);
});
