//! An error of a lower room on its way through types that are copied and compared.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// The error behind a failure. It stays the error that it is: [`Cause::get`] gives it back. It becomes a text only
/// where somebody reads it. Two causes are equal if their texts are.
#[derive(Clone)]
pub struct Cause(Arc<dyn Error + Send + Sync>);

impl Cause {
    pub fn new(error: impl Error + Send + Sync + 'static) -> Self {
        Self(Arc::new(error))
    }

    pub fn get<E: Error + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }
}

/// The error and its own causes in one line.
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&error_chain(&*self.0))
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl PartialEq for Cause {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for Cause {}

/// An error and its causes in one line. A cause that the text before it names already is left out.
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read the list")]
    struct Outer(#[source] io::Error);

    #[test]
    fn a_cause_keeps_its_type_and_names_its_own_causes() {
        let cause = Cause::new(Outer(io::Error::other("the disk is gone")));
        assert_eq!(cause.to_string(), "cannot read the list: the disk is gone");
        assert_eq!(cause.get::<Outer>().map(|outer| outer.0.kind()), Some(io::ErrorKind::Other));
        assert!(cause.get::<io::Error>().is_none());
        assert_eq!(cause, Cause::new(Outer(io::Error::other("the disk is gone"))));
        assert_ne!(cause, Cause::new(Outer(io::Error::other("the disk is full"))));
    }
}
