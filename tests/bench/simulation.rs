//! The cost of an event of the simulator in small and large fleets: the scenario *fleet-100k*, and the same scenario
//! with fewer sites and hubs.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use lighter_sim::{PROGRESS_EVENTS, Scenario, Strategy};

use crate::Bencher;
use crate::report::{Row, Section, median};

const SCENARIOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../simulations");
/// The number of sites (of five nodes each) and of hubs.
const FLEETS: [(u64, u64); 4] = [(200, 1), (1_000, 1), (4_000, 2), (20_000, 10)];
/// The least number of simulated sites for a figure. Small fleets run several times to reach it.
const SITES_MIN: u64 = 4_000;

pub fn run(bencher: &Bencher, section: &mut Section) -> Result<()> {
    let text = std::fs::read_to_string(Path::new(SCENARIOS).join("fleet-100k.toml")).context("fleet-100k.toml")?;
    let mut costs = FLEETS.map(|_| Vec::new());
    let mut events_a_node = FLEETS.map(|_| 0);
    for _ in 0..bencher.runs {
        for (place, (sites, hubs)) in FLEETS.into_iter().enumerate() {
            let scenario = scenario(&text, sites, hubs)?;
            let (mut seconds, mut events) = (0.0, 0);
            for seed in 1..=(SITES_MIN / sites).max(1) {
                let (all, counted, took) = simulate(&scenario, seed)?;
                events_a_node[place] = all / (sites * 5);
                events += counted;
                seconds += took;
            }
            costs[place].push(seconds * 1e6 / events as f64);
        }
    }
    let [smallest, ..] = costs.each_ref().map(|costs| median(costs.iter().copied()));
    for (place, (sites, _)) in FLEETS.into_iter().enumerate() {
        let cost = median(costs[place].iter().copied());
        let row = Row::new(format!("an event, {} nodes", sites * 5), cost, "us");
        let row = row.note(format!("{} events a node", events_a_node[place]));
        section.add(if place == 0 { row } else { row.beside("1000 nodes", smallest, cost / smallest) });
    }
    Ok(())
}

fn scenario(text: &str, sites: u64, hubs: u64) -> Result<Scenario> {
    let fewer = text.replace("count = 20000", &format!("count = {sites}"));
    let fewer = fewer.replace("count = 10\n", &format!("count = {hubs}\n"));
    let read = |trace: &str| std::fs::read_to_string(Path::new(SCENARIOS).join(trace));
    Scenario::parse(&fewer, read).map_err(|error| anyhow::anyhow!("fleet-100k.toml: {error}"))
}

/// Returns the number of all events of the engines, the number of timed events, and the seconds for the timed events.
fn simulate(scenario: &Scenario, seed: u64) -> Result<(u64, u64, f64)> {
    let mut began = None;
    let report = lighter_sim::run(scenario, seed, &mut |strategy, _| {
        if strategy == Strategy::Lighter {
            began.get_or_insert_with(Instant::now);
        }
        ControlFlow::Continue(())
    });
    let began = began.context("too few events to be timed")?;
    let ours = report.strategies.iter().find(|ran| ran.strategy == Strategy::Lighter).context("no engine ran")?;
    ensure!(ours.unfinished == 0 && ours.violations.is_empty(), "the fleet did not end well: {:?}", ours.violations);
    Ok((ours.events, ours.events - PROGRESS_EVENTS, began.elapsed().as_secs_f64()))
}
