//! Counts of bytes as JSON numbers: for `#[serde(with = "number")]`.

use lighter_types::{Bytes, BytesPerSecond};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A quantity that is one number.
pub trait Quantity {
    fn from_number(number: u64) -> Self;
    fn number(&self) -> u64;
}

impl Quantity for Bytes {
    fn from_number(number: u64) -> Self {
        Self(number)
    }

    fn number(&self) -> u64 {
        self.0
    }
}

impl Quantity for BytesPerSecond {
    fn from_number(number: u64) -> Self {
        Self(number)
    }

    fn number(&self) -> u64 {
        self.0
    }
}

pub fn serialize<T: Quantity, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(value.number())
}

pub fn deserialize<'de, T: Quantity, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    u64::deserialize(deserializer).map(T::from_number)
}

/// A number or null. A field that uses it needs `default` too if it may be left out.
pub mod option {
    use super::{Deserialize, Deserializer, Quantity, Serialize, Serializer};

    pub fn serialize<T: Quantity, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
        value.as_ref().map(T::number).serialize(serializer)
    }

    pub fn deserialize<'de, T: Quantity, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(T::from_number))
    }
}

/// Two numbers.
pub mod pair {
    use super::{Deserialize, Deserializer, Quantity, Serialize, Serializer};

    pub fn serialize<T: Quantity, S: Serializer>(values: &[T; 2], serializer: S) -> Result<S::Ok, S::Error> {
        values.each_ref().map(T::number).serialize(serializer)
    }

    pub fn deserialize<'de, T: Quantity, D: Deserializer<'de>>(deserializer: D) -> Result<[T; 2], D::Error> {
        Ok(<[u64; 2]>::deserialize(deserializer)?.map(T::from_number))
    }
}
