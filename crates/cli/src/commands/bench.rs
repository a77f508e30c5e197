//! `lighter bench`: patches and predictions measured on files of the user's own, with no node. Figures go to stdout,
//! what is going on to stderr. What is printed, and how it is reckoned, is in docs/CLI.md.

mod pairs;
mod patch;
mod predict;
pub(super) mod process;
mod releases;
mod statistics;
mod tools;
mod workspace;

use crate::args::BenchCommand;
use crate::exit::Failure;
use crate::output::Output;

pub fn run(command: BenchCommand, output: &Output) -> Result<(), Failure> {
    match command {
        BenchCommand::Patch { source, effort, no_peers, runs } => {
            let peers = if no_peers { tools::Peers::none() } else { tools::Peers::find() };
            patch::run(&source, &effort, &peers, runs, output)
        }
        BenchCommand::Predict { dir, effort, cache } => predict::run(&dir, effort, cache.as_deref(), output),
    }
}
