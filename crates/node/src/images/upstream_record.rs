//! The record of an image that an upstream registry named, in the place of a release record: when it did so.

use lighter_store::UnixSeconds;

/// Begins the record; a space and the seconds follow, in decimal.
const RECORD_VERSION: &str = "upstream/1";

/// When upstream said what the name stands for; `None` for a release.
pub fn checked_at(record: &[u8]) -> Option<UnixSeconds> {
    let seconds = std::str::from_utf8(record).ok()?.strip_prefix(RECORD_VERSION)?.strip_prefix(' ')?;
    seconds.parse().ok().map(UnixSeconds)
}

/// The record of an image that upstream named at this time.
pub fn record(checked: UnixSeconds) -> Vec<u8> {
    format!("{RECORD_VERSION} {}", checked.0).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_have_the_time_and_are_no_releases() {
        let written = record(UnixSeconds(1_796_000_000));
        assert_eq!(written, b"upstream/1 1796000000");
        assert_eq!(checked_at(&written), Some(UnixSeconds(1_796_000_000)));
        assert!(crate::images::released_at(&written).is_some());
        for other in [&b""[..], b"upstream/1 ", b"upstream/1 -1", b"upstream/2 7", b"upstream/1 18446744073709551616"] {
            assert_eq!(checked_at(other), None);
        }
    }
}
