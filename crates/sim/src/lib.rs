//! A virtual fleet: what a release costs on which link, and for how long, before it is rolled out.
//!
//! [`run`] drives the real [`lighter_engine::Engine`] of every node through virtual time, over links with rates, latency
//! and loss, and beside it, over the same links, what fleets use today ([`Strategy`]). Everything is decided by the
//! scenario and its seed: the same two give the same events, whose hash is in the [`Report`]. No clock, no disk, no thread.
//!
//! What is modelled, and how far to trust it, is in docs/SIMULATION.md.

#![deny(clippy::iter_over_hash_type)]

mod baseline;
mod content;
mod expect;
mod fleet;
mod html;
mod network;
mod queue;
mod random;
mod report;
mod rollout;
mod scenario;
mod topology;

pub use expect::{Expect, Missed};
pub use fleet::PROGRESS_EVENTS;
pub use html::page;
pub use report::{Completion, Report, SCHEMA, StrategyReport};
pub use rollout::{FleetFile, FleetSites, Known};
pub use scenario::{Image, Layer, Patch, Scenario, ScenarioError, Size, Span, Trace};

/// How images get to nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// Every node pulls compressed layers from the registry.
    Registry,
    /// The first node of a site pulls them, the others have them from it.
    Swarm,
    /// Every node pulls patches that a central server makes.
    CentralDelta,
    /// Every node pulls the content-defined chunks that it lacks.
    Chunks,
    /// The engine of this project.
    Lighter,
}

impl Strategy {
    pub const ALL: [Self; 5] = [Self::Registry, Self::Swarm, Self::CentralDelta, Self::Chunks, Self::Lighter];

    /// As reports call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Registry => "registry",
            Self::Swarm => "swarm",
            Self::CentralDelta => "central-delta",
            Self::Chunks => "chunks",
            Self::Lighter => "lighter",
        }
    }
}

/// Runs all strategies of a scenario, one after the other. `progress` is told which one runs and how much virtual time
/// passed, in milliseconds; if it says so, the run ends early and the report says that it is partial.
pub fn run(
    scenario: &Scenario,
    seed: u64,
    progress: &mut dyn FnMut(Strategy, u64) -> std::ops::ControlFlow<()>,
) -> Report {
    let topology = topology::Topology::new(scenario, seed);
    let mut report = Report::new(scenario, seed, topology.nodes.len());
    for strategy in Strategy::ALL {
        let mut told = |millis| progress(strategy, millis);
        let ran = match strategy {
            Strategy::Lighter => Some(fleet::run(scenario, &topology, seed, &mut told)),
            other => baseline::run(scenario, &topology, other, &mut told),
        };
        match ran {
            Some(ran) => report.strategies.push(ran),
            None => report.skipped.push(strategy),
        }
        if report.strategies.last().is_some_and(|last| last.is_partial) {
            break;
        }
    }
    report.hold_against(&scenario.expect);
    report
}
