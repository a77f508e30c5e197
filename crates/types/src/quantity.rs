//! Numbers with a unit: byte counts, rates and moments. The public functions of the crates take these types instead of
//! bare numbers.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::str::FromStr;
use std::time::Duration;

use crate::ParseError;

/// A count of bytes. Arithmetic saturates, so an absurd count from a peer cannot wrap around below a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

impl Bytes {
    pub const ZERO: Self = Self(0);
    pub const KIB: Self = Self(1 << 10);
    pub const MIB: Self = Self(1 << 20);
    pub const GIB: Self = Self(1 << 30);

    pub const fn times(self, factor: u64) -> Self {
        Self(self.0.saturating_mul(factor))
    }

    /// The time that a transfer of these bytes takes at `rate`, rounded up to a millisecond. At rate 0 the longest
    /// duration.
    pub fn at(self, rate: BytesPerSecond) -> Duration {
        match rate.0 {
            0 => Duration::MAX,
            rate => Duration::from_millis(self.0.saturating_mul(1000).div_ceil(rate)),
        }
    }
}

impl Add for Bytes {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Bytes {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Bytes {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl std::iter::Sum for Bytes {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Bytes {
    /// Three significant digits in binary units: `17.6 MiB`.
    #[expect(clippy::float_arithmetic, reason = "a text for people: no machine reads it back")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        let mut value = self.0 as f64 / 1024.0;
        let mut unit = 0;
        while value >= 999.5 && unit + 1 < UNITS.len() {
            value /= 1024.0;
            unit += 1;
        }
        let digits = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
        write!(f, "{value:.digits$} {}", UNITS[unit])
    }
}

impl FromStr for Bytes {
    type Err = ParseError;

    /// A whole number with an optional binary unit: `4096`, `64 MiB`, `20GiB`.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse_size(text).map(Self).ok_or_else(|| {
            ParseError::new(text, "a size: a whole number and B, KiB, MiB, GiB or TiB, as in \"20 GiB\"")
        })
    }
}

fn parse_size(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..end].parse().ok()?;
    let shift = match text[end..].trim() {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

/// A rate of transfer or of work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BytesPerSecond(pub u64);

impl fmt::Display for BytesPerSecond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", Bytes(self.0))
    }
}

/// Milliseconds on a clock that never goes back and has no fixed zero. The engine receives moments; it reads no clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

impl Moment {
    /// Time passed since `earlier`; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;
    fn add(self, duration: Duration) -> Self {
        let millis = duration.as_secs().saturating_mul(1000).saturating_add(duration.subsec_millis().into());
        Self(self.0.saturating_add(millis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_parse_and_print() {
        for (text, bytes) in [("0", 0), ("4096", 4096), ("64 MiB", 64 << 20), ("20GiB", 20 << 30)] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)));
        }
        for text in ["", "-1", "1.5 GiB", "12 parsecs", "99999999999 TiB"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
        for (bytes, text) in [(999, "999 B"), (1024, "1.00 KiB"), (17_592_320, "16.8 MiB"), (1_048_575, "1.00 MiB")] {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }

    #[test]
    fn time_at_a_rate_rounds_up() {
        assert_eq!(Bytes(1).at(BytesPerSecond(125_000)), Duration::from_millis(1));
        assert_eq!(Bytes(125_000).at(BytesPerSecond(125_000)), Duration::from_secs(1));
        assert_eq!(Bytes(1).at(BytesPerSecond(0)), Duration::MAX);
    }
}
