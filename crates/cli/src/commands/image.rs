//! `lighter image`.

use std::path::PathBuf;

use lighter_node::api::{
    CancelRequest, ExportEvent, ExportRequest, Image, ImportEvent, ImportRequest, ImportedLayer, PullEvent,
    PullRequest, RemoveRequest,
};
use lighter_types::Bytes;

use super::config::absolute;
use super::plan;
use crate::args::ImageCommand;
use crate::client::{Client, query};
use crate::exit::Failure;
use crate::output::{Output, right, short, shorts, table};
use crate::progress::{Progress, duration, saved};

pub fn run(command: ImageCommand, output: &Output, socket: Option<PathBuf>) -> Result<(), Failure> {
    let client = Client::new(socket.clone())?;
    match command {
        ImageCommand::Import { path, name, platform } => {
            import(&client, output, &ImportRequest { path: absolute(&path)?, name, platform })
        }
        ImageCommand::List => list(&client, output),
        ImageCommand::Show { reference } => show(&client, output, &reference),
        ImageCommand::Pull { image, dry_run: true } => plan::run(&image, output, socket),
        ImageCommand::Pull { image, dry_run: false } => pull(&client, output, &PullRequest { image }),
        ImageCommand::Export { reference, path, gzip } => {
            export(&client, output, &ExportRequest { reference, path: absolute(&path)?, gzip })
        }
        ImageCommand::Cancel { image } => {
            let cancelled: CancelRequest = client.post("/v1/images/cancel", &CancelRequest { image })?;
            output.say(format!("gave up the pull of {}", cancelled.image));
            Ok(())
        }
        ImageCommand::Remove { reference } => {
            let removed: RemoveRequest = client.post("/v1/images/remove", &RemoveRequest { reference })?;
            output.say(format!("removed {}", removed.reference));
            Ok(())
        }
    }
}

/// What an import prints at its end.
#[derive(serde::Serialize)]
struct Imported {
    reference: String,
    manifest: String,
    layers: Vec<ImportedLayer>,
}

fn import(client: &Client, output: &Output, request: &ImportRequest) -> Result<(), Failure> {
    let mut progress = Progress::new(output);
    let imported = client.follow("/v1/images/import", request, |event: ImportEvent| {
        output.event(&event)?;
        match event {
            ImportEvent::Progress { layer, layers, tar_bytes, blob_bytes, blob_bytes_done } => {
                let note = format!("layer {} of {layers}, {} of tar", layer + 1, Bytes(tar_bytes));
                progress.set(&format!("layer {}", layer + 1), blob_bytes_done, blob_bytes, &note);
                Ok(None)
            }
            ImportEvent::Done { reference, manifest, layers } => Ok(Some(Imported { reference, manifest, layers })),
            ImportEvent::Failed { problem } => Err(problem.into()),
        }
    })?;
    if output.format == crate::output::Format::Jsonl {
        return Ok(());
    }
    output.value(&imported, |imported| {
        let mut table = table(&["layer", "tar", "compressed", ""]);
        for layer in &imported.layers {
            let note = if layer.held_before { "held before" } else { "imported" };
            table.add_row([
                short(&layer.diff_id).into(),
                right(Bytes(layer.tar_bytes)),
                right(Bytes(layer.compressed_bytes)),
                note.into(),
            ]);
        }
        format!("{} is {}\n{table}", imported.reference, imported.manifest)
    })
}

fn list(client: &Client, output: &Output) -> Result<(), Failure> {
    let images: Vec<Image> = client.get("/v1/images")?;
    output.rows(&images, |images| {
        let mut table = table(&["reference", "manifest", "layers", "size"]);
        for image in images {
            table.add_row([
                image.reference.clone().into(),
                short(&image.manifest).into(),
                right(image.layers.len()),
                right(Bytes(image.tar_bytes)),
            ]);
        }
        table
    })
}

fn show(client: &Client, output: &Output, reference: &str) -> Result<(), Failure> {
    let image: Image = client.get(&format!("/v1/images/show?reference={}", query(reference)))?;
    output.value(&image, |image| {
        let unknown = || "unknown".to_owned();
        let mut lines = vec![
            format!("reference  {}", image.reference),
            format!("manifest   {}", image.manifest),
            format!("config     {}", image.config),
            format!("platform   {}", image.platform.clone().unwrap_or_else(unknown)),
            format!("size       {}", Bytes(image.tar_bytes)),
            format!("publisher  {}", image.publisher.clone().unwrap_or_else(|| "none: pulled by digest".to_owned())),
        ];
        if let Some(issued) = image.issued_s.and_then(|issued| i64::try_from(issued).ok())
            && let Ok(moment) = jiff::Timestamp::from_second(issued)
        {
            lines.push(format!("released   {moment}"));
        }
        lines.extend(image.layers.iter().map(|layer| format!("layer      {layer}")));
        lines.join("\n")
    })
}

/// A layer that a pull brought.
#[derive(serde::Serialize)]
struct PulledLayer {
    layer: String,
    from: String,
    bases: Vec<String>,
    tar_bytes: u64,
    compressed_bytes: u64,
    patch_bytes: u64,
    received_bytes: u64,
    took_ms: u64,
}

/// What a pull prints at its end.
#[derive(serde::Serialize)]
struct Pulled {
    image: String,
    manifest: String,
    layers: Vec<PulledLayer>,
    layers_held_before: usize,
    /// All traffic of the node during the pull.
    sent_bytes: u64,
    received_bytes: u64,
    took_ms: u64,
}

fn pull(client: &Client, output: &Output, request: &PullRequest) -> Result<(), Failure> {
    let mut progress = Progress::new(output);
    let mut layers = Vec::new();
    let mut held = 0;
    let pulled = client.follow("/v1/images/pull", request, |event: PullEvent| {
        output.event(&event)?;
        match event {
            PullEvent::Resolved { manifest } => progress.say(output, &format!("{} is {manifest}", request.image)),
            PullEvent::Layers { layers, held: here } => {
                held = here.len();
                progress.say(output, &format!("{} layers, {held} of them here", layers.len()));
            }
            PullEvent::Fetching { layer, from, bases, bytes, exact } => {
                let about = if exact { "" } else { "about " };
                let how = match shorts(&bases, " and ") {
                    Some(bases) => format!("as a patch to {bases}"),
                    None => "whole".to_owned(),
                };
                let text = format!("{}: {about}{} {how} from {from}", short(&layer), Bytes(bytes));
                progress.say(output, &text);
            }
            PullEvent::Progress { layer, received_bytes, total_bytes } => {
                progress.set(&layer, received_bytes, total_bytes, "");
            }
            PullEvent::Retrying { layer, from, why } => {
                progress.say(output, &format!("{}: {from} failed: {why}; going on elsewhere", short(&layer)));
            }
            PullEvent::Layer {
                layer,
                from,
                bases,
                tar_bytes,
                compressed_bytes,
                patch_bytes,
                received_bytes,
                took_ms,
            } => {
                progress.finish(&layer, &saved(received_bytes, compressed_bytes));
                layers.push(PulledLayer {
                    layer,
                    from,
                    bases,
                    tar_bytes,
                    compressed_bytes,
                    patch_bytes,
                    received_bytes,
                    took_ms,
                });
            }
            PullEvent::Done { manifest, sent_bytes, received_bytes, took_ms } => {
                return Ok(Some(Pulled {
                    image: request.image.clone(),
                    manifest,
                    layers: std::mem::take(&mut layers),
                    layers_held_before: held,
                    sent_bytes,
                    received_bytes,
                    took_ms,
                }));
            }
            PullEvent::Failed { problem } => return Err(problem.into()),
        }
        Ok(None)
    })?;
    if output.format == crate::output::Format::Jsonl {
        return Ok(());
    }
    output.value(&pulled, pulled_text)
}

fn pulled_text(pulled: &Pulled) -> String {
    let mut rows = table(&["layer", "tar", "gzip", "received", "of gzip", "time", "how"]);
    for layer in &pulled.layers {
        let how = match shorts(&layer.bases, " and ") {
            Some(bases) => format!("patch to {bases}"),
            None => "whole".to_owned(),
        };
        let share = 100.0 * layer.received_bytes as f64 / layer.compressed_bytes.max(1) as f64;
        rows.add_row([
            short(&layer.layer).into(),
            right(Bytes(layer.tar_bytes)),
            right(Bytes(layer.compressed_bytes)),
            right(Bytes(layer.received_bytes)),
            right(format!("{share:.1} %")),
            right(duration(layer.took_ms)),
            how.into(),
        ]);
    }
    let layers = if pulled.layers.is_empty() { String::new() } else { format!("\n{rows}") };
    format!(
        "{} is {}: {} layers were here, {} received{layers}\nall traffic: {} received, {} sent, {}",
        pulled.image,
        pulled.manifest,
        pulled.layers_held_before,
        pulled.layers.len(),
        Bytes(pulled.received_bytes),
        Bytes(pulled.sent_bytes),
        duration(pulled.took_ms),
    )
}

/// What an export prints at its end.
#[derive(serde::Serialize)]
struct Exported {
    path: String,
    manifest: String,
}

fn export(client: &Client, output: &Output, request: &ExportRequest) -> Result<(), Failure> {
    let image: Image = client.get(&format!("/v1/images/show?reference={}", query(&request.reference)))?;
    let mut progress = Progress::new(output);
    let exported = client.follow("/v1/images/export", request, |event: ExportEvent| {
        output.event(&event)?;
        match event {
            ExportEvent::Progress { tar_bytes } => {
                progress.set("export", tar_bytes, image.tar_bytes, "");
                Ok(None)
            }
            ExportEvent::Done { manifest } => Ok(Some(Exported { path: request.path.clone(), manifest })),
            ExportEvent::Failed { problem } => Err(problem.into()),
        }
    })?;
    if output.format == crate::output::Format::Jsonl {
        return Ok(());
    }
    output.value(&exported, |exported| format!("{} in {}", exported.manifest, exported.path))
}
