//! `lighter`: starts nodes, gives them orders, and works on patches and stores without one.
//!
//! Results go to stdout, everything else to stderr. A failure says what went wrong, where, and what to do about it; its
//! exit code says which kind it is (docs/CLI.md).

mod args;
mod client;
mod commands;
mod exit;
mod format;
mod interrupt;
mod output;
mod progress;
mod stderr;
mod usage;

use std::path::PathBuf;
use std::process::ExitCode;

use args::{Args, Command};
use clap::Parser;
use exit::Failure;
use output::Output;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return usage::report(&error),
    };
    let output = Output::new(args.output, args.quiet);
    match run(args.command, &output, args.socket) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(output.format),
    }
}

fn run(command: Command, output: &Output, socket: Option<PathBuf>) -> Result<(), Failure> {
    match command {
        Command::Node(command) => commands::node::run(command, output, socket),
        Command::Config(command) => commands::config::run(command, output),
        Command::Image(command) => commands::image::run(command, output, socket),
        Command::Release(command) => commands::release::run(command, output, socket),
        Command::Mirror(command) => commands::mirror::run(command, output),
        Command::Layer(command) => commands::layer::run(command, output, socket),
        Command::Peer(command) => commands::status::peers(command, output, socket),
        Command::Status => commands::status::status(output, socket),
        Command::Plan { rollout: Some(command), .. } => commands::plan::rollout::run(command, output, socket),
        Command::Plan { image, rollout: None } => commands::plan::run(&image.unwrap_or_default(), output, socket),
        Command::Patch(command) => commands::patch::run(command, output),
        Command::Recipe(command) => commands::recipe::run(command, output),
        Command::Bench(command) => commands::bench::run(command, output),
        Command::Sim(command) => commands::sim::run(command, output),
        Command::Store(command) => commands::store::run(command, output, socket),
        Command::Completions { shell } => commands::documents::completions(shell, output),
        Command::Man { dir } => commands::documents::man(&dir, output),
    }
}
