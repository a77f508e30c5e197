//! `lighter layer`.

use std::path::PathBuf;

use comfy_table::Table;
use lighter_api::{Layer, PinRequest, paths};

use crate::args::LayerCommand;
use crate::client::Client;
use crate::exit::Failure;
use crate::output::{Output, right, table};

pub fn run(command: LayerCommand, output: &Output, socket: Option<PathBuf>) -> Result<(), Failure> {
    let client = Client::new(socket)?;
    match command {
        LayerCommand::Pin { diff_id } => pin(&client, output, &PinRequest { diff_id, pinned: true }),
        LayerCommand::Unpin { diff_id } => pin(&client, output, &PinRequest { diff_id, pinned: false }),
        LayerCommand::List => {
            let layers: Vec<Layer> = client.get(paths::LAYERS)?;
            output.rows(&layers, layer_table)
        }
        LayerCommand::Show { diff_id } => {
            let layer: Layer = client.get(&paths::layer(diff_id))?;
            output.value(&layer, layer_text)
        }
    }
}

fn layer_table(layers: &[Layer]) -> Table {
    let mut table = table(&["layer", "tar", "compressed", "images"]);
    for layer in layers {
        let images: Vec<&str> = layer.images.iter().map(lighter_types::ImageReference::as_str).collect();
        table.add_row([
            layer.diff_id.to_string().into(),
            right(layer.tar_bytes),
            right(layer.compressed_bytes),
            images.join(", ").into(),
        ]);
    }
    table
}

fn layer_text(layer: &Layer) -> String {
    let mut lines = vec![
        format!("layer       {}", layer.diff_id),
        format!("tar         {} bytes", layer.tar_bytes.0),
        format!("compressed  {} bytes", layer.compressed_bytes.0),
        format!("tlsh        {}", layer.tlsh.map_or_else(|| "none".to_owned(), |tlsh| tlsh.to_string())),
    ];
    if layer.pinned {
        lines.push("pinned      by the operator".to_owned());
    }
    lines.extend(layer.images.iter().map(|image| format!("image       {image}")));
    lines.extend(layer.holders.iter().map(|peer| format!("held by     {peer}")));
    lines.join("\n")
}

fn pin(client: &Client, output: &Output, request: &PinRequest) -> Result<(), Failure> {
    let done: PinRequest = client.post(paths::LAYERS_PIN, request)?;
    let action = if done.pinned { "pinned" } else { "unpinned" };
    output.done(&done, format!("{action} {}", done.diff_id))
}
