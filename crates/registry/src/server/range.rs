//! The `Range` header: RFC 9110, section 14.2. A single range of bytes counts. Anything else is left out, which the RFC
//! allows: the client gets the whole.

use axum::http::HeaderValue;

/// The part of a blob that a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    All,
    /// At least one byte.
    Part {
        start: u64,
        bytes: u64,
    },
    /// No byte of the blob.
    Outside,
}

impl Range {
    /// Reads a header for a blob of so many bytes.
    pub fn parse(header: &HeaderValue, total: u64) -> Self {
        let text = header.to_str().unwrap_or_default();
        let Some(range) = text.strip_prefix("bytes=").filter(|range| !range.contains(',')) else { return Self::All };
        let Some((first, last)) = range.trim().split_once('-') else { return Self::All };
        let number = |text: &str| {
            let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            // A number that does not fit lies behind every blob.
            is_number.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
        };
        let (start, end) = match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => (first, last.saturating_add(1).min(total)),
            (Some(first), None) if last.is_empty() => (first, total),
            (None, Some(0)) if first.is_empty() => return Self::Outside,
            (None, Some(count)) if first.is_empty() => (total.saturating_sub(count), total),
            _ => return Self::All,
        };
        if start < end { Self::Part { start, bytes: end - start } } else { Self::Outside }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: &str, total: u64, expected: Range) {
        assert_eq!(Range::parse(&HeaderValue::from_str(header).unwrap(), total), expected, "{header} of {total}");
    }

    #[test]
    fn ranges_are_read() {
        check("bytes=0-0", 10, Range::Part { start: 0, bytes: 1 });
        check("bytes=2-4", 10, Range::Part { start: 2, bytes: 3 });
        check("bytes=2-400", 10, Range::Part { start: 2, bytes: 8 });
        check("bytes=9-", 10, Range::Part { start: 9, bytes: 1 });
        check("bytes=-3", 10, Range::Part { start: 7, bytes: 3 });
        check("bytes=-300", 10, Range::Part { start: 0, bytes: 10 });
        check("bytes=0-18446744073709551615", 10, Range::Part { start: 0, bytes: 10 });
        check("bytes=0-99999999999999999999999", 10, Range::Part { start: 0, bytes: 10 });
    }

    #[test]
    fn ranges_outside_are_told() {
        for header in ["bytes=10-", "bytes=10-20", "bytes=99999999999999999999999-", "bytes=-0"] {
            check(header, 10, Range::Outside);
        }
        check("bytes=0-", 0, Range::Outside);
        check("bytes=-5", 0, Range::Outside);
    }

    #[test]
    fn anything_else_means_the_whole() {
        for header in ["bytes=", "bytes=-", "bytes=4-2", "bytes=1-2,4-5", "lines=1-2", "bytes=a-b", "bytes=+1-2", "x"] {
            check(header, 10, Range::All);
        }
    }
}
