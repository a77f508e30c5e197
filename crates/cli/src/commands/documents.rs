//! Completions and man pages, made from the grammar.

use std::path::Path;

use clap::CommandFactory;

use crate::args::Args;
use crate::exit::Failure;
use crate::output::Output;

/// The result of `completions`.
#[derive(serde::Serialize)]
struct Completions {
    shell: String,
    script: String,
}

/// The result of `man`.
#[derive(serde::Serialize)]
struct ManPages {
    dir: String,
}

pub fn completions(shell: clap_complete::Shell, output: &Output) -> Result<(), Failure> {
    // clap_complete panics when a write fails, as under `| head`.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "lighter", &mut script);
    let script = String::from_utf8_lossy(&script).trim_end().to_owned();
    output.value(&Completions { shell: shell.to_string(), script }, |completions| completions.script.clone())
}

/// Writes `lighter.1` and a page for each command into `dir`.
pub fn man(dir: &Path, output: &Output) -> Result<(), Failure> {
    std::fs::create_dir_all(dir).map_err(|error| Failure::file("create", dir, &error))?;
    clap_mangen::generate_to(Args::command(), dir).map_err(|error| Failure::file("write man pages to", dir, &error))?;
    let dir = dir.display().to_string();
    output.done(&ManPages { dir: dir.clone() }, format!("wrote man pages to {dir}"))
}
