//! Completions and man pages, made from the grammar.

use std::path::Path;

use clap::CommandFactory;

use crate::args::Args;
use crate::exit::Failure;

pub fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    // clap_complete panics when a write fails, as under `| head`.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "lighter", &mut script);
    crate::output::print(String::from_utf8_lossy(&script).trim_end())
}

/// Writes lighter.1 and a page for each command into `dir`.
pub fn man(dir: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(dir).map_err(|error| Failure::file("create", dir, &error))?;
    clap_mangen::generate_to(Args::command(), dir).map_err(|error| Failure::file("write man pages to", dir, &error))
}
