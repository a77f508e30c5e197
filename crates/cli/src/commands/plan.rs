//! `lighter plan`.

pub mod rollout;

use std::path::PathBuf;

use comfy_table::Table;
use lighter_api::{ImagePlan, LayerPlan, Plan, Predictor, paths};

use crate::client::Client;
use crate::exit::Failure;
use crate::output::{Output, right, shorts, table};
use crate::progress::duration;

pub fn run(image: &str, output: &Output, socket: Option<PathBuf>) -> Result<(), Failure> {
    let plan: ImagePlan = Client::new(socket)?.get(&paths::plan(image))?;
    output.value(&plan, text)
}

fn text(plan: &ImagePlan) -> String {
    let mut parts = vec![format!("{} is {}", plan.image, plan.manifest)];
    for layer in &plan.layers {
        parts.push(String::new());
        if layer.held {
            parts.push(format!("{}: here already", layer.layer));
        } else if layer.plans.is_empty() {
            parts.push(format!("{}: no connected peer holds it", layer.layer));
        } else {
            parts.push(format!("{}:\n{}", layer.layer, plan_table(layer)));
        }
    }
    parts.join("\n")
}

fn plan_table(layer: &LayerPlan) -> Table {
    let mut table = table(&[
        "peer",
        "bases",
        "tlsh distance",
        "by tlsh",
        "by sketch",
        "counts",
        "predicted",
        "effort",
        "time",
        "why",
    ]);
    for plan in &layer.plans {
        table.add_row([
            plan.peer.to_string().into(),
            bases(plan).into(),
            right(plan.tlsh_distance.map(|distance| distance.to_string()).unwrap_or_default()),
            right(plan.tlsh_bytes),
            right(by_sketch(plan)),
            predictor(plan.counted).into(),
            right(plan.predicted_bytes),
            plan.effort.clone().into(),
            right(duration(plan.predicted_ms)),
            plan.why.clone().into(),
        ]);
    }
    table
}

fn predictor(predictor: Predictor) -> &'static str {
    match predictor {
        Predictor::Sketch => "sketch",
        Predictor::Tlsh => "tlsh",
        Predictor::Quote => "quote",
    }
}

/// The bases that both ends hold, then the layers that the peer lacks and whose files a have-list names.
fn bases(plan: &Plan) -> String {
    let held = shorts(&plan.bases, "\n");
    let listed = shorts(&plan.listed, "\n").map(|listed| format!("files of\n{listed}"));
    let all: Vec<String> = held.into_iter().chain(listed).collect();
    if all.is_empty() { "none".to_owned() } else { all.join("\n") }
}

fn by_sketch(plan: &Plan) -> String {
    let Some(bytes) = plan.sketch_bytes else { return String::new() };
    let error = plan.sketch_error_percent.map(|error| format!(" ±{error} %")).unwrap_or_default();
    format!("{bytes}{error}")
}
