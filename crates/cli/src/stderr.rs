//! Lines on stderr.

use std::fmt::Display;
use std::io::{self, Write};

/// Prints a line on stderr. A reader that is gone is no failure of the command.
pub fn note(text: &dyn Display) {
    let _ = writeln!(io::stderr(), "{text}");
}
