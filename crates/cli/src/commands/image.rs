//! `lighter image`: list, show, remove, import and export; `image/pull.rs` has the pull.

mod pull;

use std::path::PathBuf;

use comfy_table::Table;
use lighter_api::{
    CancelRequest, ExportEvent, ExportRequest, Image, ImportEvent, ImportRequest, ImportedLayer, PullRequest,
    RemoveRequest, paths,
};
use lighter_types::{ImageReference, OciDigest};
use serde::Serialize;

use super::config::absolute;
use super::plan;
use crate::args::ImageCommand;
use crate::client::Client;
use crate::exit::{Failure, Kind};
use crate::output::{Output, right, short, table};
use crate::progress::Progress;

pub fn run(command: ImageCommand, output: &Output, socket: Option<PathBuf>) -> Result<(), Failure> {
    let client = Client::new(socket.clone())?;
    match command {
        ImageCommand::Import { path, name, platform } => {
            import(&client, output, &ImportRequest { path: absolute(&path)?, name, platform })
        }
        ImageCommand::List => {
            let images: Vec<Image> = client.get(paths::IMAGES)?;
            output.rows(&images, image_table)
        }
        ImageCommand::Show { reference } => {
            let image: Image = client.get(&paths::image(&reference))?;
            output.value(&image, image_text)
        }
        ImageCommand::Pull { image, dry_run: true } => plan::run(&image, output, socket),
        ImageCommand::Pull { image, dry_run: false } => pull::pull(&client, output, &PullRequest { image }),
        ImageCommand::Export { reference, path, gzip } => {
            export(&client, output, &ExportRequest { reference, path: absolute(&path)?, gzip })
        }
        ImageCommand::Cancel { image } => {
            let cancelled: CancelRequest = client.post(paths::IMAGES_CANCEL, &CancelRequest { image })?;
            output.done(&cancelled, format!("gave up the pull of {}", cancelled.image))
        }
        ImageCommand::Remove { reference } => {
            let removed: RemoveRequest = client.post(paths::IMAGES_REMOVE, &RemoveRequest { reference })?;
            output.done(&removed, format!("removed {}", removed.reference))
        }
    }
}

fn image_table(images: &[Image]) -> Table {
    let mut table = table(&["reference", "manifest", "layers", "size"]);
    for image in images {
        table.add_row([
            image.reference.to_string().into(),
            short(image.manifest).into(),
            right(image.layers.len()),
            right(image.tar_bytes),
        ]);
    }
    table
}

fn image_text(image: &Image) -> String {
    let publisher = image.publisher.map_or_else(|| "none: pulled by digest".to_owned(), |peer| peer.to_string());
    let mut lines = vec![
        format!("reference  {}", image.reference),
        format!("manifest   {}", image.manifest),
        format!("config     {}", image.config),
        format!("platform   {}", image.platform.as_deref().unwrap_or("unknown")),
        format!("size       {}", image.tar_bytes),
        format!("publisher  {publisher}"),
    ];
    if let Some(issued) = image.issued_s.and_then(|issued| i64::try_from(issued).ok())
        && let Ok(moment) = jiff::Timestamp::from_second(issued)
    {
        lines.push(format!("released   {moment}"));
    }
    lines.extend(image.layers.iter().map(|layer| format!("layer      {layer}")));
    lines.join("\n")
}

/// The result of an import: its event `done` without the tag.
#[derive(Serialize)]
struct Imported {
    reference: String,
    manifest: String,
    layers: Vec<ImportedLayer>,
}

fn import(client: &Client, output: &Output, request: &ImportRequest) -> Result<(), Failure> {
    let mut progress = Progress::new(output);
    let imported = client.follow(paths::IMAGES_IMPORT, request, |event: ImportEvent| {
        output.event(&event)?;
        match event {
            ImportEvent::Progress { layer, layers, tar_bytes, blob_bytes, blob_bytes_done } => {
                let note = format!("layer {} of {layers}, {tar_bytes} of tar", layer + 1);
                progress.set(&format!("layer {}", layer + 1), blob_bytes_done.0, blob_bytes.0, &note);
                Ok(None)
            }
            ImportEvent::Done { reference, manifest, layers } => Ok(Some(imported(&reference, manifest, layers))),
            ImportEvent::Failed { problem } => Err(problem.into()),
        }
    })?;
    output.summary(&imported, imported_text)
}

fn imported(reference: &ImageReference, manifest: OciDigest, layers: Vec<ImportedLayer>) -> Imported {
    Imported { reference: reference.to_string(), manifest: manifest.to_string(), layers }
}

fn imported_text(imported: &Imported) -> String {
    let mut table = table(&["layer", "tar", "compressed", ""]);
    for layer in &imported.layers {
        let note = if layer.held_before { "held before" } else { "imported" };
        table.add_row([
            short(layer.diff_id).into(),
            right(layer.tar_bytes),
            right(layer.compressed_bytes),
            note.into(),
        ]);
    }
    format!("{} is {}\n{table}", imported.reference, imported.manifest)
}

/// The result of an export.
#[derive(Serialize)]
struct Exported {
    path: String,
    manifest: String,
}

fn export(client: &Client, output: &Output, request: &ExportRequest) -> Result<(), Failure> {
    let image: Image = client.get(&paths::image(&request.reference))?;
    let mut progress = Progress::new(output);
    let exported = client.follow(paths::IMAGES_EXPORT, request, |event: ExportEvent| {
        output.event(&event)?;
        match event {
            ExportEvent::Progress { tar_bytes } => {
                progress.set("export", tar_bytes.0, image.tar_bytes.0, "");
                Ok(None)
            }
            ExportEvent::Done { manifest } => {
                Ok(Some(Exported { path: request.path.clone(), manifest: manifest.to_string() }))
            }
            ExportEvent::Failed { problem } => {
                Err(Failure::from(problem).hint_if(Kind::Exists, "export to a new folder"))
            }
        }
    })?;
    output.summary(&exported, |exported| format!("{} in {}", exported.manifest, exported.path))
}
