//! `lighter plan rollout`: a running hub says what both images are made of and whom it knows; the simulator says what that
//! comes to.

use std::collections::BTreeMap;
use std::path::PathBuf;

use lighter_node::api::{Rollout, RolloutImage};
use lighter_sim::{FleetFile, Image, Known, Layer, Patch, Report, ScenarioError, Size, Span, Trace};
use lighter_types::Bytes;
use serde::Serialize;

use crate::args::PlanCommand;
use crate::client::{Client, query};
use crate::commands::sim;
use crate::exit::{Code, Failure};
use crate::output::{Output, right, short, shorts, table};
use crate::progress::duration;

/// What is printed.
#[derive(Serialize)]
struct Answer {
    rollout: Rollout,
    /// Absent if no node needs anything.
    report: Option<Report>,
}

pub fn run(command: PlanCommand, output: &Output, socket: Option<PathBuf>) -> Result<(), Failure> {
    let PlanCommand::Rollout { fleet: path, from, to, seed, html } = command;
    let path = &path;
    let text = std::fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error))?;
    let wrong = |error: ScenarioError| {
        let failure = Failure::new(Code::Config, format!("{}: {error}", path.display()));
        failure.hint("docs/SIMULATION.md, \"Planning a rollout\", lists every key of a fleet")
    };
    let fleet = FleetFile::parse(&text).map_err(wrong)?;
    let at = format!("/v1/rollout?from={}&to={}", query(&from), query(&to));
    let rollout: Rollout = Client::new(socket)?.get(&at)?;
    let known = rollout
        .sites
        .iter()
        .filter_map(|site| Some((site.site.clone()?, Known { nodes: site.nodes, done: site.hold_to })));
    let known: BTreeMap<String, Known> = known.collect();
    let (from, to) = (&rollout.from.reference, &rollout.to.reference);
    let scenario = fleet.scenario(from, to, trace(&rollout), &known).map_err(wrong)?;
    let Some(scenario) = scenario.filter(|_| !rollout.patches.is_empty()) else {
        let answer = Answer { rollout, report: None };
        return output.value(&answer, |answer| format!("{}\nno node needs anything", needed(&answer.rollout)));
    };
    let report = sim::ran(&scenario, seed.unwrap_or(scenario.seed), output)?;
    if let Some(html) = &html {
        sim::write_page(html, &report, output)?;
    }
    let answer = Answer { rollout, report: Some(report.clone()) };
    output.value(&answer, |answer| format!("{}\n{}", needed(&answer.rollout), sim::summary(&report)))?;
    sim::check(&report, None)
}

/// Both images as the simulator has them. A layer is of the family of the base that its patch reads from first.
fn trace(rollout: &Rollout) -> Trace {
    let base_of = |layer: &str| {
        let patch = rollout.patches.iter().find(|patch| patch.layer == layer);
        patch.and_then(|patch| patch.bases.first().cloned())
    };
    let layer = |layer: &lighter_node::api::RolloutLayer| Layer {
        name: layer.layer.clone(),
        tar: Size(layer.tar_bytes),
        gzip: Size(layer.compressed_bytes.clamp(1, layer.tar_bytes.max(1))),
        family: base_of(&layer.layer).unwrap_or_else(|| layer.layer.clone()),
    };
    let patch = |patch: &lighter_node::api::RolloutPatch| {
        Some(Patch {
            target: patch.layer.clone(),
            base: patch.bases.first()?.clone(),
            bytes: Size(patch.bytes),
            encode: Span { millis: patch.encode_ms },
            apply: Span { millis: patch.apply_ms },
            chunks: None,
            frames: Vec::new(),
            predicted: !patch.exact,
        })
    };
    let image = |image: &RolloutImage| Image {
        name: image.reference.clone(),
        layers: image.layers.clone(),
        documents: image.documents,
    };
    Trace {
        layers: rollout.layers.iter().map(layer).collect(),
        patches: rollout.patches.iter().filter_map(patch).collect(),
        images: vec![image(&rollout.from), image(&rollout.to)],
    }
}

fn needed(rollout: &Rollout) -> String {
    let mut rows = table(&["LAYER", "BASES", "PATCH", "KNOWN BY", "TO MAKE", "TO APPLY"]);
    for patch in &rollout.patches {
        rows.add_row([
            short(&patch.layer).into(),
            shorts(&patch.bases, "\n").unwrap_or_else(|| "none".to_owned()).into(),
            right(Bytes(patch.bytes)),
            if patch.exact { "its bytes" } else { "prediction" }.into(),
            right(duration(patch.encode_ms)),
            right(duration(patch.apply_ms)),
        ]);
    }
    let sum = |of: fn(&lighter_node::api::RolloutSite) -> u64| rollout.sites.iter().map(of).sum::<u64>();
    let (from, to) = (&rollout.from.reference, &rollout.to.reference);
    let [nodes, old, new] = [sum(|site| site.nodes), sum(|site| site.hold_from), sum(|site| site.hold_to)];
    format!("{rows}\nthe hub knows {nodes} nodes: {old} hold {from}, {new} hold {to}")
}
