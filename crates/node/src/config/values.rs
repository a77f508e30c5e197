//! Values with units as a configuration writes them.

use std::fmt;
use std::str::FromStr;

use lighter_types::{Bytes, BytesPerSecond, ParseError, Prefer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A size such as `"20 GiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub Bytes);

impl fmt::Display for Size {
    /// The largest unit that keeps it whole: what is printed reads back as the same size.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB"), (0, "B")];
        let whole = units.into_iter().find(|(shift, _)| self.0.0.trailing_zeros() >= *shift && self.0.0 > 0);
        let (shift, unit) = whole.unwrap_or((0, "B"));
        write!(f, "{} {unit}", self.0.0 >> shift)
    }
}

impl FromStr for Size {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        text.parse().map(Self)
    }
}

/// A rate such as `"10 Mbit/s"` or `"2 MiB/s"`, or `"unlimited"`. At least one byte a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(pub Option<BytesPerSecond>);

impl Rate {
    pub const UNLIMITED: Self = Self(None);
}

/// Unit, and bits a second of one.
const RATE_UNITS: [(&str, u64); 8] = [
    ("Gbit/s", 1_000_000_000),
    ("Mbit/s", 1_000_000),
    ("kbit/s", 1000),
    ("bit/s", 1),
    ("GiB/s", 8 << 30),
    ("MiB/s", 8 << 20),
    ("KiB/s", 8 << 10),
    ("B/s", 8),
];

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(BytesPerSecond(rate)) = self.0 else { return f.write_str("unlimited") };
        let bits = u128::from(rate) * 8;
        let whole = RATE_UNITS.into_iter().find(|(_, unit)| bits.is_multiple_of(u128::from(*unit)));
        let (name, unit) = whole.unwrap_or(("bit/s", 1));
        write!(f, "{} {name}", bits / u128::from(unit))
    }
}

impl FromStr for Rate {
    type Err = ParseErrorOfRate;

    fn from_str(text: &str) -> Result<Self, ParseErrorOfRate> {
        if text == "unlimited" {
            return Ok(Self::UNLIMITED);
        }
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let number: u64 = text[..end].parse().map_err(|_| ParseErrorOfRate::new(text))?;
        let unit = text[end..].trim();
        let unit = RATE_UNITS.into_iter().find(|(name, _)| *name == unit);
        let (_, bits) = unit.ok_or_else(|| ParseErrorOfRate::new(text))?;
        let rate = number.checked_mul(bits).ok_or_else(|| ParseErrorOfRate::new(text))? / 8;
        if rate == 0 {
            return Err(ParseErrorOfRate::new(text));
        }
        Ok(Self(Some(BytesPerSecond(rate))))
    }
}

/// The text is no rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a rate: \"unlimited\", or a whole number and kbit/s, Mbit/s, KiB/s or MiB/s, as in \"20 Mbit/s\""
)]
pub struct ParseErrorOfRate(String);

impl ParseErrorOfRate {
    fn new(text: &str) -> Self {
        Self(text.chars().take(80).collect())
    }
}

/// A preference between bytes and time, such as `"balanced"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Preference(pub Prefer);

impl fmt::Display for Preference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Preference {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        text.parse().map(Self)
    }
}

/// How many releases of a repository stay when the store is full: a number, or `"all"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleasesKept {
    All,
    Newest(u32),
}

/// More releases than anybody keeps by number: `"all"` is for those.
const RELEASES_KEPT_MAX: u32 = 1000;

impl Serialize for ReleasesKept {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => serializer.serialize_str("all"),
            Self::Newest(count) => serializer.serialize_u32(*count),
        }
    }
}

impl<'de> Deserialize<'de> for ReleasesKept {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Given {
            Count(u32),
            Text(String),
        }
        match Given::deserialize(deserializer) {
            Ok(Given::Count(count)) if (1..=RELEASES_KEPT_MAX).contains(&count) => Ok(Self::Newest(count)),
            Ok(Given::Text(text)) if text == "all" => Ok(Self::All),
            Ok(Given::Count(_) | Given::Text(_)) | Err(_) => {
                let why = format!("must be a number from 1 to {RELEASES_KEPT_MAX}, or \"all\"");
                Err(serde::de::Error::custom(why))
            }
        }
    }
}

macro_rules! as_text {
    ($($name:ty),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
as_text!(Size, Rate, Preference);

/// Lists of values that are written as text.
pub mod text_list {
    use super::{Deserialize, Deserializer, FromStr, Serializer, fmt};

    pub fn serialize<T: fmt::Display, S: Serializer>(values: &[T], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(ToString::to_string))
    }

    pub fn deserialize<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
    where
        T: FromStr<Err: fmt::Display>,
        D: Deserializer<'de>,
    {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let values = texts.iter().map(|text| text.parse::<T>().map_err(|error| format!("{text:?}: {error}")));
        values.collect::<Result<_, String>>().map_err(serde::de::Error::custom)
    }
}
