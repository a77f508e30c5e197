//! A virtual fleet: what a release costs on each link, and how long it takes, before it is rolled out.
//!
//! [`run`] drives the real [`lighter_engine::Engine`] of every node through virtual time, over links with rates,
//! latency and loss. Beside it, over the same links, it runs the strategies that fleets use today ([`Strategy`]). The
//! scenario and its seed decide everything: the same two give the same events, whose hash is in the [`Report`]. There
//! is no clock, no disk and no thread. The tests of the engine run on the same fleet ([`test_fleet`]).
//!
//! docs/SIMULATION.md says what is modelled and how far to trust it.

#![deny(clippy::iter_over_hash_type, clippy::wildcard_enum_match_arm)]

mod baseline;
mod congestion;
mod content;
mod error;
mod expect;
mod faults;
mod fleet;
mod html;
mod links;
mod network;
mod queue;
mod random;
mod report;
mod rollout;
mod scenario;
mod strategy;
pub mod test_fleet;
mod topology;
mod units;

use std::ops::ControlFlow;
use std::rc::Rc;

pub use error::ScenarioError;
pub use expect::{Expect, Missed};
pub use fleet::PROGRESS_EVENTS;
pub use html::page;
pub use report::{Completion, Report, SCHEMA, StrategyReport};
pub use rollout::{FleetFile, FleetSites, Known};
pub use scenario::{Image, Layer, Patch, Scenario, Trace};
pub use strategy::Strategy;
pub use units::{Size, Span};

/// Runs all strategies of a scenario, one after the other. `progress` gets the strategy that runs and the virtual time
/// that passed, in milliseconds. If it breaks, the run ends early and the report says that it is partial.
pub fn run(scenario: &Scenario, seed: u64, progress: &mut dyn FnMut(Strategy, u64) -> ControlFlow<()>) -> Report {
    let topology = Rc::new(topology::Topology::new(scenario, seed));
    let mut report = Report::new(scenario, seed, topology.nodes.len());
    for strategy in Strategy::ALL {
        let mut passed = |millis| progress(strategy, millis);
        let ran = match strategy {
            Strategy::Lighter => Some(fleet::run(scenario, &topology, seed, &mut passed)),
            Strategy::Registry | Strategy::Swarm | Strategy::CentralDelta | Strategy::Chunks => {
                baseline::run(scenario, &topology, strategy, &mut passed)
            }
        };
        match ran {
            Some(ran) => report.strategies.push(ran),
            None => report.skipped.push(strategy),
        }
        if report.strategies.last().is_some_and(|last| last.is_partial) {
            break;
        }
    }
    report.note_missed(&scenario.expect);
    report
}
