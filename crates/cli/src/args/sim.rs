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
        /// The image that the fleet is to get. The hub holds it.
        #[arg(long, value_name = "IMAGE")]
        to: ImageReference,
        /// A seed in place of the fleet's own.
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
        /// A seed in place of the scenario's own.
        #[arg(long, value_name = "N")]
        seed: Option<u64>,
        /// Also writes the report as a page with plots.
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
    },
    /// Measure the cost of releases as patches of each other, for the `trace` of a scenario.
    ///
    /// The images come in the order of their release. For each layer that is new in an image, the command makes a patch
    /// from the best layer of each earlier image, at the effort default, and applies and checks it.
    Measure {
        /// OCI layouts, OCI archives or `docker save` archives, the oldest first.
        #[arg(value_name = "IMAGE", required = true, num_args = 2..)]
        images: Vec<PathBuf>,
        /// The file for the trace. Default: stdout.
        #[arg(long, value_name = "TRACE.JSON")]
        out: Option<PathBuf>,
    },
    /// Compare two reports that `sim run --output json` printed.
    Compare {
        #[arg(value_name = "A.JSON")]
        a: PathBuf,
        #[arg(value_name = "B.JSON")]
        b: PathBuf,
    },
    /// Run a scenario with the seed of a report, and check that the same events happen.
    Replay {
        #[arg(value_name = "SCENARIO.TOML")]
        scenario: PathBuf,
        #[arg(value_name = "REPORT.JSON")]
        report: PathBuf,
    },
}
