//! Why a scenario cannot be run, and the check of one number.

/// Why a scenario cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// Names line, column and key.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    #[error("trace {path:?}: {why}")]
    Trace { path: String, why: String },
    #[error("{place} names {what} {name:?}, which the scenario does not have; it has {known}")]
    Unknown { place: String, what: &'static str, name: String, known: String },
    #[error("{place} is {found}, and must be {expected}")]
    Range { place: String, found: String, expected: &'static str },
    #[error("two {what} are called {name:?}; names are given once")]
    Twice { what: &'static str, name: String },
}

/// Refuses a number outside of `least..=most`; `place` and `expected` go into the error.
pub fn in_range(place: &str, found: u64, least: u64, most: u64, expected: &'static str) -> Result<(), ScenarioError> {
    if (least..=most).contains(&found) {
        return Ok(());
    }
    Err(ScenarioError::Range { place: place.to_owned(), found: found.to_string(), expected })
}
