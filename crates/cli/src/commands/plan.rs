//! `lighter plan`.

pub mod rollout;

use std::path::PathBuf;

use lighter_node::api::{ImagePlan, Plan};
use lighter_types::Bytes;

use crate::client::{Client, query};
use crate::exit::Failure;
use crate::output::{Output, right, shorts, table};
use crate::progress::duration;

pub fn run(image: &str, output: &Output, socket: Option<PathBuf>) -> Result<(), Failure> {
    let plan: ImagePlan = Client::new(socket)?.get(&format!("/v1/plan?image={}", query(image)))?;
    output.value(&plan, text)
}

fn text(plan: &ImagePlan) -> String {
    let mut parts = vec![format!("{} is {}", plan.image, plan.manifest)];
    for layer in &plan.layers {
        parts.push(String::new());
        if layer.held {
            parts.push(format!("{}: here already", layer.layer));
            continue;
        }
        if layer.plans.is_empty() {
            parts.push(format!("{}: no connected peer holds it", layer.layer));
            continue;
        }
        parts.push(format!("{}:", layer.layer));
        let mut table =
            table(&["peer", "bases", "tlsh distance", "by tlsh", "by sketch", "counts", "predicted", "time", "why"]);
        for plan in &layer.plans {
            table.add_row([
                plan.peer.clone().into(),
                bases(plan).into(),
                right(plan.tlsh_distance.map(|distance| distance.to_string()).unwrap_or_default()),
                right(Bytes(plan.tlsh_bytes)),
                right(by_sketch(plan)),
                plan.counted.clone().into(),
                right(Bytes(plan.predicted_bytes)),
                right(duration(plan.predicted_ms)),
                plan.why.clone().into(),
            ]);
        }
        parts.push(table.to_string());
    }
    parts.join("\n")
}

/// Of the layers that the peer lacks, it is told the files.
fn bases(plan: &Plan) -> String {
    let held = shorts(&plan.bases, "\n");
    let listed = shorts(&plan.listed, "\n").map(|listed| format!("files of\n{listed}"));
    let all: Vec<String> = held.into_iter().chain(listed).collect();
    if all.is_empty() { "none".to_owned() } else { all.join("\n") }
}

fn by_sketch(plan: &Plan) -> String {
    match (plan.sketch_bytes, plan.sketch_error_percent) {
        (Some(bytes), Some(error)) => format!("{} ±{error} %", Bytes(bytes)),
        _ => String::new(),
    }
}
