//! Figures in documents. A table stands between two lines that are comments, `<!-- figures: NAME -->` and
//! `<!-- figures end -->`; a benchmark with `--write` replaces what is between them.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::report::Grid;

const END: &str = "<!-- figures end -->";

/// A file of the repository that this program was built from.
pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

/// Replaces a table, and what is said below it.
///
/// # Errors
/// The document has no place of that name, or cannot be written.
pub fn replace(document: &str, name: &str, grid: &Grid) -> Result<()> {
    let file = path(document);
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let begin = format!("<!-- figures: {name} -->\n");
    let parts = text.split_once(&begin).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = parts.with_context(|| format!("{document} has no place for the figures {name:?}"))?;
    let text = format!("{before}{begin}\n{}\n{END}{after}", grid.markdown());
    std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
}
