//! Data on stdout, in the form that was asked for.

use std::io::{self, IsTerminal, Write};

use comfy_table::{Cell, CellAlignment, Table, presets};
use serde::Serialize;

use crate::exit::{Code, Failure};

/// How data is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// One JSON value.
    Json,
    /// One JSON value a line: rows of a list, events of long work.
    Jsonl,
}

/// Where data and talk go.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    pub format: Format,
    quiet: bool,
}

impl Output {
    pub fn new(format: Format, quiet: bool) -> Self {
        Self { format, quiet }
    }

    /// Whether progress is drawn: to a person at a terminal who did not ask for silence.
    pub fn draws(&self) -> bool {
        !self.quiet && io::stderr().is_terminal()
    }

    /// Talk.
    pub fn say(&self, text: impl std::fmt::Display) {
        if !self.quiet {
            eprintln!("{text}");
        }
    }

    /// A list.
    pub fn rows<T: Serialize>(&self, rows: &[T], table: impl FnOnce(&[T]) -> Table) -> Result<(), Failure> {
        match self.format {
            Format::Table => print(&table(rows).to_string()),
            Format::Json => print(&json_pretty(&rows)?),
            Format::Jsonl => rows.iter().try_for_each(|row| print(&json(row)?)),
        }
    }

    /// One thing.
    pub fn value<T: Serialize>(&self, value: &T, text: impl FnOnce(&T) -> String) -> Result<(), Failure> {
        match self.format {
            Format::Table => print(&text(value)),
            Format::Json => print(&json_pretty(value)?),
            Format::Jsonl => print(&json(value)?),
        }
    }

    /// An event of long work: printed as it happens, in JSON lines only.
    pub fn event<T: Serialize>(&self, event: &T) -> Result<(), Failure> {
        if self.format == Format::Jsonl { print(&json(event)?) } else { Ok(()) }
    }
}

/// A table with these heads and nothing else.
pub fn table(heads: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(heads.iter().map(|head| Cell::new(head.to_uppercase())));
    table
}

/// A number's cell.
pub fn right(text: impl ToString) -> Cell {
    Cell::new(text.to_string()).set_alignment(CellAlignment::Right)
}

/// The first 12 digits of an id, enough to tell a node's layers apart.
pub fn short(id: &str) -> String {
    let digits = id.rsplit(':').next().unwrap_or(id);
    digits.chars().take(12).collect()
}

/// The short names of several layers; `None` for none.
pub fn shorts(ids: &[String], separator: &str) -> Option<String> {
    let shorts: Vec<String> = ids.iter().map(|id| short(id)).collect();
    (!ids.is_empty()).then(|| shorts.join(separator))
}

fn json(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| Failure::from_error(Code::Other, &error))
}

fn json_pretty(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(value).map_err(|error| Failure::from_error(Code::Other, &error))
}

/// Ends quietly when the reader has gone, as `lighter ... | head` does.
pub fn print(text: &str) -> Result<(), Failure> {
    match writeln!(io::stdout(), "{text}") {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(Failure::new(Code::Machine, format!("cannot write to stdout: {error}"))),
    }
}
