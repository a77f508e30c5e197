//! Content-Range: which bytes of a blob an answer has.

/// Which bytes of how many an answer has (RFC 9110, section 14.4). The last is inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    pub first: u64,
    pub last: u64,
    pub whole: u64,
}

/// Reads `bytes FIRST-LAST/WHOLE`. `None` for another unit, an unknown length, numbers that contradict each other, or
/// anything else around them.
pub fn parse_content_range(header: &[u8]) -> Option<ContentRange> {
    let text = std::str::from_utf8(header).ok()?;
    let (unit, range) = text.split_once(' ')?;
    let (range, whole) = range.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let range = ContentRange { first: number(first)?, last: number(last)?, whole: number(whole)? };
    (unit.eq_ignore_ascii_case("bytes") && range.first <= range.last && range.last < range.whole).then_some(range)
}

/// Digits alone: `u64::from_str` takes a sign, too.
fn number(text: &str) -> Option<u64> {
    let is_digits = (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_are_read_strictly() {
        let range =
            |text: &str| parse_content_range(text.as_bytes()).map(|range| (range.first, range.last, range.whole));
        assert_eq!(range("bytes 0-0/1"), Some((0, 0, 1)));
        assert_eq!(range("BYTES 5-9/10"), Some((5, 9, 10)));
        for text in [
            "",
            "bytes",
            "bytes 0-0",
            "bytes */10",
            "bytes 0-9/*",
            "bytes 5-4/10",
            "bytes 0-10/10",
            "bytes +0-9/10",
            "bytes  0-9/10",
            "bytes 0-9/10 ",
            "bytes 0 -9/10",
            "lines 0-9/10",
            "bytes 0-9/99999999999999999999",
            "bytes 0-9/10/11",
        ] {
            assert_eq!(range(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_range_that_is_read_prints_as_it_was(first in 0..1000u64, more in 0..1000u64, beyond in 1..1000u64) {
            let (last, whole) = (first + more, first + more + beyond);
            let text = format!("bytes {first}-{last}/{whole}");
            prop_assert_eq!(parse_content_range(text.as_bytes()), Some(ContentRange { first, last, whole }));
        }

        #[test]
        fn any_bytes_are_a_range_or_none(header in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Some(range) = parse_content_range(&header) {
                prop_assert!(range.first <= range.last && range.last < range.whole);
            }
        }
    }
}
