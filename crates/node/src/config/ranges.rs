//! The checks that a value is in its range. A failure is the key and what the value must be.

use lighter_types::Bytes;

use super::Size;

pub fn check_range(key: &'static str, value: u64, low: u64, high: u64) -> Result<(), (&'static str, String)> {
    if (low..=high).contains(&value) { Ok(()) } else { Err((key, format!("must be from {low} to {high}"))) }
}

pub fn check_size(key: &'static str, value: &Size, low: Bytes) -> Result<(), (&'static str, String)> {
    if value.0 >= low { Ok(()) } else { Err((key, format!("must be at least {low}"))) }
}
