//! Headers with numbers: Content-Range and Retry-After.

use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::{DATE, RETRY_AFTER};

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

/// How long a registry asks to wait (RFC 9110, section 10.2.3). A date counts from the answer's own `Date`, so that no
/// clock of this machine decides.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Some(seconds) = number(text) {
        return Some(Duration::from_secs(seconds));
    }
    let then = httpdate::parse_http_date(text).ok()?;
    let now = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
    Some(then.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_are_read_strictly() {
        let range = |text: &str| parse_content_range(text.as_bytes()).map(|range| (range.first, range.last, range.whole));
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

    #[test]
    fn waits_are_seconds_or_dates() {
        let wait = |retry: &str, date: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, retry.parse().unwrap());
            if let Some(date) = date {
                headers.insert(DATE, date.parse().unwrap());
            }
            retry_after(&headers).map(|wait| wait.as_secs())
        };
        let (date, later) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:50:07 GMT");
        assert_eq!(wait("7", None), Some(7));
        assert_eq!(wait(later, Some(date)), Some(30));
        assert_eq!(wait(date, Some(later)), Some(0));
        for (retry, date) in [(later, None), ("-7", None), ("soon", Some(date)), ("99999999999999999999999", None)] {
            assert_eq!(wait(retry, date), None, "{retry}");
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
