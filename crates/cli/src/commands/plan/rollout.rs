//! `lighter plan rollout`: a running hub tells the layers of both images and the nodes that it knows; the simulator
//! predicts the rollout from that.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lighter_api::{Rollout, RolloutImage, RolloutLayer, RolloutPatch, RolloutSite, paths};
use lighter_sim::{FleetFile, Image, Known, Layer, Patch, Report, ScenarioError, Size, Span, Trace};
use lighter_types::DiffId;
use serde::Serialize;

use crate::args::PlanCommand;
use crate::client::Client;
use crate::commands::sim;
use crate::exit::{Failure, Kind};
use crate::output::{Output, right, short, shorts, table};
use crate::progress::duration;

/// The result of the command.
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
    let fleet = FleetFile::parse(&text).map_err(|error| fleet_failure(path, &error))?;
    let rollout: Rollout = Client::new(socket)?
        .get(&paths::rollout(&from, &to))
        .map_err(|failure: Failure| failure.hint_if(Kind::NotFound, "import or pull both images on this node first"))?;
    let known: BTreeMap<String, Known> = rollout.sites.iter().filter_map(known_site).collect();
    let (from, to) = (rollout.from.reference.as_str(), rollout.to.reference.as_str());
    let scenario = fleet.scenario(from, to, trace(&rollout), &known);
    let scenario = scenario.map_err(|error| fleet_failure(path, &error))?;
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

fn fleet_failure(path: &Path, error: &ScenarioError) -> Failure {
    sim::scenario_failure(path, error, "docs/SIMULATION.md, \"Planning a rollout\", lists every key of a fleet")
}

fn known_site(site: &RolloutSite) -> Option<(String, Known)> {
    Some((site.site.as_ref()?.to_string(), Known { nodes: site.nodes, done: site.hold_to }))
}

/// Both images as the simulator has them.
fn trace(rollout: &Rollout) -> Trace {
    Trace {
        layers: rollout.layers.iter().map(|layer| trace_layer(layer, rollout)).collect(),
        patches: rollout.patches.iter().filter_map(trace_patch).collect(),
        images: vec![trace_image(&rollout.from), trace_image(&rollout.to)],
    }
}

/// A layer belongs to the family of the first base that its patch reads from.
fn trace_layer(layer: &RolloutLayer, rollout: &Rollout) -> Layer {
    let patch = rollout.patches.iter().find(|patch| patch.layer == layer.layer);
    let family = patch.and_then(|patch| patch.bases.first()).unwrap_or(&layer.layer);
    Layer {
        name: layer.layer.to_string(),
        tar: Size(layer.tar_bytes.0),
        gzip: Size(layer.compressed_bytes.0.clamp(1, layer.tar_bytes.0.max(1))),
        family: family.to_string(),
        encode: None,
        apply: None,
        rebuild: None,
    }
}

/// `None` for a whole layer.
fn trace_patch(patch: &RolloutPatch) -> Option<Patch> {
    Some(Patch {
        target: patch.layer.to_string(),
        base: patch.bases.first()?.to_string(),
        bytes: Size(patch.bytes.0),
        encode: Span { millis: patch.encode_ms },
        apply: Span { millis: patch.apply_ms },
        chunks: None,
        frames: Vec::new(),
        predicted: !patch.exact,
    })
}

fn trace_image(image: &RolloutImage) -> Image {
    Image {
        name: image.reference.to_string(),
        layers: image.layers.iter().map(DiffId::to_string).collect(),
        documents: image.documents.map(|bytes| bytes.0),
    }
}

fn needed(rollout: &Rollout) -> String {
    let mut rows = table(&["LAYER", "BASES", "PATCH", "KNOWN BY", "TO MAKE", "TO APPLY"]);
    for patch in &rollout.patches {
        rows.add_row([
            short(patch.layer).into(),
            shorts(&patch.bases, "\n").unwrap_or_else(|| "none".to_owned()).into(),
            right(patch.bytes),
            if patch.exact { "its bytes" } else { "prediction" }.into(),
            right(duration(patch.encode_ms)),
            right(duration(patch.apply_ms)),
        ]);
    }
    let (from, to) = (&rollout.from.reference, &rollout.to.reference);
    let nodes: u64 = rollout.sites.iter().map(|site| site.nodes).sum();
    let old: u64 = rollout.sites.iter().map(|site| site.hold_from).sum();
    let new: u64 = rollout.sites.iter().map(|site| site.hold_to).sum();
    format!("{rows}\nthe hub knows {nodes} nodes: {old} hold {from}, {new} hold {to}")
}
