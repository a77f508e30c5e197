//! The wish of a receiver: fewer bytes, or to have them sooner.

use std::fmt;
use std::str::FromStr;

use crate::ParseError;

/// The preference between fewer bytes and less time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Prefer {
    /// As soon as possible, whatever the bytes.
    Time,
    /// Few bytes, as long as the wait is hardly longer.
    #[default]
    Balanced,
    /// As few bytes as possible, within reason.
    Bytes,
}

impl Prefer {
    /// All preferences, the one that spends the most bytes first.
    pub const ALL: [Self; 3] = [Self::Time, Self::Balanced, Self::Bytes];

    pub fn name(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Balanced => "balanced",
            Self::Bytes => "bytes",
        }
    }
}

impl fmt::Display for Prefer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Prefer {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let found = Self::ALL.into_iter().find(|prefer| prefer.name() == text);
        found.ok_or_else(|| ParseError::new(text, "\"bytes\", \"time\" or \"balanced\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preferences_parse_as_they_print() {
        for prefer in Prefer::ALL {
            assert_eq!(prefer.to_string().parse(), Ok(prefer));
        }
        let error = "speed".parse::<Prefer>().unwrap_err();
        assert_eq!(error.to_string(), "\"speed\" is not \"bytes\", \"time\" or \"balanced\"");
    }
}
