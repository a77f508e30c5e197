//! The grammar of `plan rollout` and `sim`.

use std::path::PathBuf;

use clap::Subcommand;
use lighter_types::ImageReference;

#[derive(Subcommand)]
pub enum PlanCommand {
    /// Simulate the rollout of an image to a fleet, with the sizes and the nodes that a running hub knows.
    Rollout {
        /// The fleet: hub, registry and sites in TOML (docs/SIMULATION.md).
        #[arg(long, value_name = "FILE")]
        fleet: PathBuf,
        /// The image that the fleet holds. The hub holds it too.
        #[arg(long, value_name = "IMAGE")]
        from: ImageReference,
        /// The image that it is to get. The hub holds it.
        #[arg(long, value_name = "IMAGE")]
        to: ImageReference,
        /// In place of the fleet's own.
        #[arg(long)]
        seed: Option<u64>,
        /// Also write the report as a page with plots.
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
    },
}

#[derive(Subcommand)]
pub enum SimCommand {
    /// Run a scenario: this project's engine beside what fleets use today, over the same links.
    ///
    /// Ends with 10 if an expectation of the scenario is not met.
    Run {
        #[arg(value_name = "SCENARIO.TOML")]
        scenario: PathBuf,
        /// Another seed than the scenario's.
        #[arg(long, value_name = "N")]
        seed: Option<u64>,
        /// Also writes the report as a page with plots.
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
    },
    /// What releases of an image cost as patches of each other, for the `trace` of a scenario.
    ///
    /// The images come in the order of their release. Each layer that an image has and those before it lack is patched
    /// from the best layer of each image before, at the effort default, and the patch applied and checked.
    Measure {
        /// OCI layouts, OCI archives or `docker save` archives, the oldest first.
        #[arg(value_name = "IMAGE", required = true, num_args = 2..)]
        images: Vec<PathBuf>,
        /// Where the trace goes; without it, to stdout.
        #[arg(long, value_name = "TRACE.JSON")]
        out: Option<PathBuf>,
    },
    /// Two reports side by side, as `sim run --output json` printed them.
    Compare {
        #[arg(value_name = "A.JSON")]
        a: PathBuf,
        #[arg(value_name = "B.JSON")]
        b: PathBuf,
    },
    /// Run a scenario as a report says that it ran, and check that the same happens.
    Replay {
        #[arg(value_name = "SCENARIO.TOML")]
        scenario: PathBuf,
        #[arg(value_name = "REPORT.JSON")]
        report: PathBuf,
    },
}
