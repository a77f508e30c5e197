//! `lighter image`: list, show, pin, remove, import and export; `image/pull.rs` has the pull.
//!
//! Each command is a request to the admin API. An import follows the node's events to its end. `adopt` imports what a
//! runtime exports; `export` has the layouts and archives.

mod adopt;
mod archive;
mod export;
mod pull;

use std::collections::BTreeSet;
use std::path::PathBuf;

use comfy_table::Table;
use lighter_api::{
    CancelRequest, Image, ImagePinRequest, ImportEvent, ImportRequest, ImportedLayer, PullRequest, RemoveRequest, paths,
};
use serde::Serialize;
use tempfile::NamedTempFile;

use super::config::absolute;
use super::plan;
use crate::args::ImageCommand;
use crate::client::Client;
use crate::exit::{Failure, Kind};
use crate::output::{Output, right, short, table};
use crate::progress::Progress;

/// The beginning of an image's name in a registry, as skopeo and podman write it.
const REGISTRY_SCHEME: &str = "docker://";

pub fn run(command: ImageCommand, output: &Output, socket: Option<PathBuf>) -> Result<(), Failure> {
    let client = Client::new(socket.clone())?;
    match command {
        ImageCommand::Import { path, name, from, all, platform, insecure, unsigned, expires } => {
            let is_stdin = path.as_os_str() == "-";
            let archive = if is_stdin { Some(archive::from_stdin(&client, output)?) } else { None };
            let path = match path.to_str().filter(|path| path.starts_with(REGISTRY_SCHEME)) {
                Some(reference) => reference.to_owned(),
                None => absolute(archive.as_ref().map_or(&path, NamedTempFile::path))?,
            };
            let lifetime_s = expires;
            import(&client, output, &ImportRequest { path, name, platform, from, all, insecure, unsigned, lifetime_s })
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
        ImageCommand::Export(asked) => export::run(&client, output, &asked),
        ImageCommand::Adopt(asked) => adopt::run(&client, output, &asked),
        ImageCommand::Cancel { image } => {
            let cancelled: CancelRequest = client.post(paths::IMAGES_CANCEL, &CancelRequest { image })?;
            output.done(&cancelled, format!("gave up the pull of {}", cancelled.image))
        }
        ImageCommand::Pin { reference } => pin(&client, output, &ImagePinRequest { reference, pinned: true }),
        ImageCommand::Unpin { reference } => pin(&client, output, &ImagePinRequest { reference, pinned: false }),
        ImageCommand::Remove { reference } => {
            let removed: Result<RemoveRequest, Failure> =
                client.post(paths::IMAGES_REMOVE, &RemoveRequest { reference });
            let removed =
                removed.map_err(|failure| failure.hint_if(Kind::Usage, "take its pin back: `lighter image unpin`"))?;
            output.done(&removed, format!("removed {}", removed.reference))
        }
    }
}

fn pin(client: &Client, output: &Output, request: &ImagePinRequest) -> Result<(), Failure> {
    let done: ImagePinRequest = client.post(paths::IMAGES_PIN, request)?;
    let action = if done.pinned { "pinned" } else { "unpinned" };
    output.done(&done, format!("{action} {}", done.reference))
}

fn image_table(images: &[Image]) -> Table {
    let mut table = table(&["reference", "manifest", "layers", "size", "pin"]);
    for image in images {
        table.add_row([
            image.reference.to_string().into(),
            short(image.manifest).into(),
            right(image.layers.len()),
            right(image.tar_bytes),
            if image.pinned { "pinned" } else { "" }.into(),
        ]);
    }
    table
}

fn image_text(image: &Image) -> String {
    let publisher = image.publisher.map_or_else(|| "none: pulled by digest".to_owned(), |peer| peer.to_string());
    let mut lines = vec![
        format!("reference  {}", image.reference),
        format!("index      {}", image.index.map_or_else(|| "none".to_owned(), |index| index.to_string())),
        format!("manifest   {}", image.manifest),
        format!("config     {}", image.config),
        format!("platform   {}", image.platform.as_deref().unwrap_or("unknown")),
        format!("size       {}", image.tar_bytes),
        format!("publisher  {publisher}"),
    ];
    for (what, date) in [("released", image.issued_s), ("expires", image.expires_s)] {
        if let Some(date) = date.and_then(|date| i64::try_from(date).ok())
            && let Ok(moment) = jiff::Timestamp::from_second(date)
        {
            lines.push(format!("{what:10} {moment}"));
        }
    }
    lines.extend(image.cosigners.iter().map(|peer| format!("cosigner   {peer}")));
    if image.pinned {
        lines.push("pinned     by the operator".to_owned());
    }
    lines.extend(image.layers.iter().map(|layer| format!("layer      {layer}")));
    lines.extend(image.blobs.iter().map(|blob| {
        let kept = if blob.kept.is_empty() { "nothing".to_owned() } else { blob.kept.join(" and ") };
        let form = blob.at_rest.as_ref().map_or_else(String::new, |form| format!("; at rest: {form}"));
        format!("blob       {}, {}, made by: {}; here: {kept}{form}", blob.blob, blob.bytes, blob.made_by)
    }));
    lines.extend(image.artifacts.iter().map(|artifact| {
        let kind = artifact.kind.as_deref().unwrap_or("of no kind");
        format!("artifact   {}, {}, {kind}", artifact.manifest, artifact.bytes)
    }));
    lines.join("\n")
}

/// The result of an import: its event `done` without the tag.
#[derive(Serialize)]
struct Imported {
    reference: String,
    manifest: String,
    layers: Vec<ImportedLayer>,
    passed_over: Vec<String>,
}

fn import(client: &Client, output: &Output, request: &ImportRequest) -> Result<(), Failure> {
    let all = follow_import(client, output, request, "")?;
    let passed_over: BTreeSet<&String> = all.iter().flat_map(|image| &image.passed_over).collect();
    passed_over.into_iter().for_each(|line| output.say(format!("passed over: {line}")));
    match all.as_slice() {
        [image] if !request.all => output.summary(image, imported_text),
        _ => output.summary(&all, |images| images.iter().map(imported_text).collect::<Vec<_>>().join("\n")),
    }
}

/// Imports, and follows the events to their end. Bars of layers have this prefix.
fn follow_import(
    client: &Client,
    output: &Output,
    request: &ImportRequest,
    prefix: &str,
) -> Result<Vec<Imported>, Failure> {
    let mut progress = Progress::new(output);
    let mut all = Vec::new();
    client.follow(paths::IMAGES_IMPORT, request, |event: ImportEvent| {
        output.event(&event)?;
        match event {
            ImportEvent::Progress { layer, layers, tar_bytes, blob_bytes, blob_bytes_done } => {
                let note = format!("layer {} of {layers}, {tar_bytes} of tar", layer + 1);
                progress.set(&format!("{prefix}layer {}", layer + 1), blob_bytes_done.0, blob_bytes.0, &note);
                Ok(None)
            }
            ImportEvent::Done { reference, manifest, layers, passed_over, left } => {
                let (reference, manifest) = (reference.to_string(), manifest.to_string());
                all.push(Imported { reference, manifest, layers, passed_over });
                Ok((left == 0).then_some(()))
            }
            ImportEvent::Failed { problem } => Err(problem.into()),
        }
    })?;
    Ok(all)
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
