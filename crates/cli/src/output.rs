//! Results on stdout in the format that was asked for, and notes on stderr.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use comfy_table::{Cell, CellAlignment, Table, presets};
use serde::Serialize;

use crate::exit::{Failure, Kind};
use crate::format::Format;
use crate::stderr::note;

/// Prints results and notes.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    pub format: Format,
    quiet: bool,
}

/// A note as JSON.
#[derive(Serialize)]
struct NoteLine {
    note: String,
}

impl Output {
    pub fn new(format: Format, quiet: bool) -> Self {
        Self { format, quiet }
    }

    /// Whether progress bars are drawn: at a terminal, unless `--quiet` was given.
    pub fn draws(&self) -> bool {
        !self.quiet && io::stderr().is_terminal()
    }

    /// Prints a note on stderr.
    pub fn say(&self, text: impl Display) {
        if self.quiet {
            return;
        }
        match self.format {
            Format::Table => note(&text),
            Format::Json | Format::Jsonl => {
                // A text always has a JSON form.
                note(&serde_json::to_string(&NoteLine { note: text.to_string() }).unwrap_or_default());
            }
        }
    }

    /// Prints a list.
    pub fn rows<T: Serialize>(&self, rows: &[T], table: impl FnOnce(&[T]) -> Table) -> Result<(), Failure> {
        match self.format {
            Format::Table => print(&table(rows).to_string()),
            Format::Json => print(&json_pretty(&rows)?),
            Format::Jsonl => rows.iter().try_for_each(|row| print(&json(row)?)),
        }
    }

    /// Prints one value.
    pub fn value<T: Serialize>(&self, value: &T, text: impl FnOnce(&T) -> String) -> Result<(), Failure> {
        match self.format {
            Format::Table => print(&text(value)),
            Format::Json => print(&json_pretty(value)?),
            Format::Jsonl => print(&json(value)?),
        }
    }

    /// Prints what a command did, if it has no other result: for people a note, else a value.
    pub fn done<T: Serialize>(&self, value: &T, note: impl Display) -> Result<(), Failure> {
        match self.format {
            Format::Table => {
                self.say(note);
                Ok(())
            }
            Format::Json => print(&json_pretty(value)?),
            Format::Jsonl => print(&json(value)?),
        }
    }

    /// Prints an event of long work, in JSON lines only.
    pub fn event<T: Serialize>(&self, event: &T) -> Result<(), Failure> {
        match self.format {
            Format::Table | Format::Json => Ok(()),
            Format::Jsonl => print(&json(event)?),
        }
    }

    /// Prints the summary of long work. In JSON lines the events have said it all.
    pub fn summary<T: Serialize>(&self, value: &T, text: impl FnOnce(&T) -> String) -> Result<(), Failure> {
        match self.format {
            Format::Table | Format::Json => self.value(value, text),
            Format::Jsonl => Ok(()),
        }
    }
}

/// A table with these heads and no rows.
pub fn table(heads: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(heads.iter().map(|head| Cell::new(head.to_uppercase())));
    table
}

/// A cell for a number.
pub fn right(text: impl ToString) -> Cell {
    Cell::new(text.to_string()).set_alignment(CellAlignment::Right)
}

/// The first 12 digits of an id: enough to tell a node's layers apart.
pub fn short(id: impl Display) -> String {
    let id = id.to_string();
    let digits = id.rsplit(':').next().unwrap_or(&id);
    digits.chars().take(12).collect()
}

/// The short names of several layers; `None` for none.
pub fn shorts<T: Display>(ids: &[T], separator: &str) -> Option<String> {
    let shorts: Vec<String> = ids.iter().map(short).collect();
    (!ids.is_empty()).then(|| shorts.join(separator))
}

fn json(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| Failure::from_error(Kind::Other, &error))
}

fn json_pretty(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(value).map_err(|error| Failure::from_error(Kind::Other, &error))
}

/// Prints a line on stdout. Ends the program without an error when the reader has gone, as in `lighter ... | head`.
pub fn print(text: &str) -> Result<(), Failure> {
    match writeln!(io::stdout(), "{text}") {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(Failure::new(Kind::Machine, format!("cannot write to stdout: {error}"))),
    }
}
