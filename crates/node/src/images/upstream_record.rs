//! The record of an image that an upstream registry named, in the place of a release record: when it did so, and what
//! the registry has beside the image.
//!
//! ```text
//! upstream/2 CHECKED                               nobody looked yet what there is beside the image
//! upstream/2 CHECKED GATHERED TOP                  there is nothing beside it
//! upstream/2 CHECKED GATHERED TOP COMPANIONS       a layer has what there is
//! ```
//!
//! Times are seconds in decimal, digests have the form `sha256:HEX`. `upstream/1 CHECKED` of earlier programs is read
//! too.

use lighter_store::UnixSeconds;
use lighter_types::{DiffId, OciDigest};

/// Begins the record.
const RECORD_VERSION: &str = "upstream/2";
/// Begins a record without anything beside the image.
const RECORD_1: &str = "upstream/1";

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamRecord {
    /// When upstream said what the name stands for.
    pub checked: UnixSeconds,
    pub beside: Option<Beside>,
}

/// The documents that a registry has beside an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beside {
    /// When the registry was asked for them.
    pub gathered: UnixSeconds,
    /// The document that the name stands for: the image's manifest, or an index above it.
    pub top: OciDigest,
    /// The layer with the image's companions.
    pub companions: Option<DiffId>,
}

impl UpstreamRecord {
    /// The record of an image that upstream named; `None` for a release.
    pub fn read(record: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(record).ok()?;
        let words: Vec<&str> = text.split(' ').collect();
        let seconds = |word: &str| word.parse().ok().map(UnixSeconds);
        let beside = |gathered, top: &str, companions| {
            Some(Some(Beside { gathered: seconds(gathered)?, top: top.parse().ok()?, companions }))
        };
        let (checked, beside) = match words[..] {
            [RECORD_1 | RECORD_VERSION, checked] => (checked, None),
            [RECORD_VERSION, checked, gathered, top] => (checked, beside(gathered, top, None)?),
            [RECORD_VERSION, checked, gathered, top, companions] => {
                (checked, beside(gathered, top, Some(companions.parse().ok()?))?)
            }
            _ => return None,
        };
        Some(Self { checked: seconds(checked)?, beside })
    }

    pub fn to_bytes(self) -> Vec<u8> {
        let mut text = format!("{RECORD_VERSION} {}", self.checked.0);
        if let Some(Beside { gathered, top, companions }) = self.beside {
            text.push_str(&format!(" {} {top}", gathered.0));
            companions.iter().for_each(|companions| text.push_str(&format!(" {companions}")));
        }
        text.into_bytes()
    }
}

/// When upstream said what the name stands for; `None` for a release.
pub fn checked_at(record: &[u8]) -> Option<UnixSeconds> {
    UpstreamRecord::read(record).map(|record| record.checked)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECKED: UnixSeconds = UnixSeconds(1_796_000_000);

    fn check(beside: Option<Beside>, expected: &str) {
        let record = UpstreamRecord { checked: CHECKED, beside };
        let written = record.to_bytes();
        assert_eq!(String::from_utf8(written.clone()).unwrap(), expected);
        assert_eq!(UpstreamRecord::read(&written), Some(record));
        assert_eq!(checked_at(&written), Some(CHECKED));
        assert!(crate::images::released_at(&written).is_some());
        for end in 0..written.len() {
            let read = UpstreamRecord::read(&written[..end]);
            assert_ne!(read, Some(record), "{end}");
        }
    }

    #[test]
    fn records_have_the_times_and_the_documents_and_are_no_releases() {
        let (top, companions) = (OciDigest::new([0xab; 32]), DiffId::new([0xcd; 32]));
        let beside = Beside { gathered: UnixSeconds(7), top, companions: None };
        let top = format!("sha256:{}", "ab".repeat(32));
        check(None, "upstream/2 1796000000");
        check(Some(beside), &format!("upstream/2 1796000000 7 {top}"));
        let with = Beside { companions: Some(companions), ..beside };
        check(Some(with), &format!("upstream/2 1796000000 7 {top} sha256:{}", "cd".repeat(32)));
        let earlier = UpstreamRecord { checked: CHECKED, beside: None };
        assert_eq!(UpstreamRecord::read(b"upstream/1 1796000000"), Some(earlier));
    }

    #[test]
    fn other_records_are_none_of_upstream() {
        for other in [
            "",
            "upstream/1 ",
            "upstream/1 -1",
            "upstream/3 7",
            "upstream/2 18446744073709551616",
            "upstream/2 7 8",
            "upstream/2 7 8 sha256:00",
            "upstream/2 7  8",
            &format!("upstream/1 7 8 sha256:{}", "ab".repeat(32)),
        ] {
            assert_eq!(checked_at(other.as_bytes()), None, "{other}");
        }
    }
}
