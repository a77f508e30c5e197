//! The choice of `--output`.

/// How results, notes and errors are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Tables and sentences, for people.
    Table,
    /// The result as one JSON value.
    Json,
    /// One JSON value a line: rows of a list, events of long work.
    Jsonl,
}
