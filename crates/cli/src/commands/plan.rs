//! `lighter plan`.

use std::path::PathBuf;

use lighter_node::api::ImagePlan;
use lighter_types::Bytes;

use crate::client::{Client, query};
use crate::exit::Failure;
use crate::output::{Output, right, short, table};
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
        let mut table = table(&["peer", "base", "tlsh distance", "predicted", "time", "why"]);
        for plan in &layer.plans {
            table.add_row([
                plan.peer.clone().into(),
                plan.bases.first().map_or_else(|| "none".to_owned(), |base| short(base)).into(),
                right(plan.tlsh_distance.map(|distance| distance.to_string()).unwrap_or_default()),
                right(Bytes(plan.predicted_bytes)),
                right(duration(plan.predicted_ms)),
                plan.why.clone().into(),
            ]);
        }
        parts.push(table.to_string());
    }
    parts.join("\n")
}
