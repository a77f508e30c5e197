//! `lighter bench`: measures patches and predictions on the user's files, without a node. Figures go to stdout,
//! progress to stderr. docs/CLI.md describes the figures and how they are computed.

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
        BenchCommand::Patch(options) => patch::run(&options, output),
        BenchCommand::Predict { dir, effort, cache, sets } => {
            predict::run(&dir, effort, cache.as_deref(), sets, output)
        }
    }
}
