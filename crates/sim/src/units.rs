//! Quantities with their units, as scenarios write them: `"20 Mbit/s"`, `"16 MiB"`, `"90 s"`, `0.5` percent.

use std::str::FromStr;

use lighter_types::Bytes;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The rate of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub bytes_per_second: u64,
}

/// The packets that a link loses, of a million. Scenarios write percent: `0.5`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    pub ppm: u64,
}

/// Bytes: a number, or a number with a unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// Virtual time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    pub millis: u64,
}

impl Span {
    pub fn micros(self) -> u64 {
        self.millis.saturating_mul(1000)
    }
}

/// Units of rates: name, factor, divisor to bytes a second.
const RATES: [(&str, u64, u64); 7] = [
    ("kbit/s", 1000, 8),
    ("Mbit/s", 1_000_000, 8),
    ("Gbit/s", 1_000_000_000, 8),
    ("kB/s", 1000, 1),
    ("MB/s", 1_000_000, 1),
    ("KiB/s", 1 << 10, 1),
    ("MiB/s", 1 << 20, 1),
];
/// Units of times: name, milliseconds.
const SPANS: [(&str, u64); 5] = [("ms", 1), ("s", 1000), ("min", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{} ms", self.millis))
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_rate(&text).ok_or_else(|| {
            D::Error::custom(format!(
                "{text:?} is not a rate: a whole number and kbit/s, Mbit/s, Gbit/s, kB/s, MB/s, KiB/s or MiB/s, \
                 as in \"20 Mbit/s\""
            ))
        })
    }
}

fn parse_rate(text: &str) -> Option<Rate> {
    let (number, unit) = split(text)?;
    let (_, times, over) = RATES.iter().find(|(name, ..)| *name == unit)?;
    let bytes_per_second = number.checked_mul(*times)? / over;
    (bytes_per_second > 0).then_some(Rate { bytes_per_second })
}

impl<'de> Deserialize<'de> for Loss {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let percent = f64::deserialize(deserializer)?;
        if !(0.0..=50.0).contains(&percent) {
            let text = format!("{percent} is not a loss: a number of percent from 0 to 50, as in 0.5");
            return Err(D::Error::custom(text));
        }
        Ok(Self { ppm: (percent * 10_000.0).round() as u64 })
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u64),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Number(bytes) => Ok(Self(bytes)),
            Written::Text(text) => Bytes::from_str(&text).map(|bytes| Self(bytes.0)).map_err(D::Error::custom),
        }
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_span(&text).ok_or_else(|| {
            D::Error::custom(format!("{text:?} is not a time: a whole number and ms, s, min, h or d, as in \"90 s\""))
        })
    }
}

fn parse_span(text: &str) -> Option<Span> {
    let (number, unit) = split(text)?;
    let (_, times) = SPANS.iter().find(|(name, _)| *name == unit)?;
    // A thousand years are enough, and leave room for sums.
    number.checked_mul(*times).filter(|millis| *millis < 1 << 45).map(|millis| Span { millis })
}

/// A whole number and its unit.
fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    Some((text[..end].parse().ok()?, text[end..].trim()))
}
