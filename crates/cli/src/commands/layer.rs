//! `lighter layer`.

use std::path::PathBuf;

use lighter_node::api::{Layer, PinRequest};
use lighter_types::Bytes;

use crate::args::LayerCommand;
use crate::client::{Client, query};
use crate::exit::Failure;
use crate::output::{Output, right, table};

pub fn run(command: LayerCommand, output: &Output, socket: Option<PathBuf>) -> Result<(), Failure> {
    let client = Client::new(socket)?;
    match command {
        LayerCommand::Pin { diff_id } => pin(&client, output, PinRequest { diff_id, pinned: true }),
        LayerCommand::Unpin { diff_id } => pin(&client, output, PinRequest { diff_id, pinned: false }),
        LayerCommand::List => {
            let layers: Vec<Layer> = client.get("/v1/layers")?;
            output.rows(&layers, |layers| {
                let mut table = table(&["layer", "tar", "compressed", "images"]);
                for layer in layers {
                    table.add_row([
                        layer.diff_id.clone().into(),
                        right(Bytes(layer.tar_bytes)),
                        right(Bytes(layer.compressed_bytes)),
                        layer.images.join(", ").into(),
                    ]);
                }
                table
            })
        }
        LayerCommand::Show { diff_id } => {
            let layer: Layer = client.get(&format!("/v1/layers/{}", query(&diff_id)))?;
            output.value(&layer, |layer| {
                let mut lines = vec![
                    format!("layer       {}", layer.diff_id),
                    format!("tar         {} bytes", layer.tar_bytes),
                    format!("compressed  {} bytes", layer.compressed_bytes),
                    format!("tlsh        {}", layer.tlsh.clone().unwrap_or_else(|| "none".to_owned())),
                ];
                if layer.pinned {
                    lines.push("pinned      by the operator".to_owned());
                }
                lines.extend(layer.images.iter().map(|image| format!("image       {image}")));
                lines.extend(layer.holders.iter().map(|peer| format!("held by     {peer}")));
                lines.join("\n")
            })
        }
    }
}

fn pin(client: &Client, output: &Output, request: PinRequest) -> Result<(), Failure> {
    let done: PinRequest = client.post("/v1/layers/pin", &request)?;
    output.say(format!("{} {}", if done.pinned { "pinned" } else { "unpinned" }, done.diff_id));
    Ok(())
}
