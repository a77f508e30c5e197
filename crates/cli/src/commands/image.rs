//! `lighter image`: list, show, pin, remove, import and export; `image/pull.rs` has the pull.
//!
//! Each command is a request to the admin API. An import and an export follow the node's events to their end.

mod pull;

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use comfy_table::Table;
use lighter_api::{
    CancelRequest, ExportEvent, ExportRequest, Image, ImagePinRequest, ImportEvent, ImportRequest, ImportedLayer,
    PullRequest, RemoveRequest, paths,
};
use lighter_types::Bytes;
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
        ImageCommand::Import { path, name, from, all, platform, insecure } => {
            let archive = if path.as_os_str() == "-" { Some(archive_from_stdin(output)?) } else { None };
            let path = match path.to_str().filter(|path| path.starts_with(REGISTRY_SCHEME)) {
                Some(reference) => reference.to_owned(),
                None => absolute(archive.as_ref().map_or(&path, NamedTempFile::path))?,
            };
            import(&client, output, &ImportRequest { path, name, platform, from, all, insecure })
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
    if let Some(issued) = image.issued_s.and_then(|issued| i64::try_from(issued).ok())
        && let Ok(moment) = jiff::Timestamp::from_second(issued)
    {
        lines.push(format!("released   {moment}"));
    }
    if image.pinned {
        lines.push("pinned     by the operator".to_owned());
    }
    lines.extend(image.layers.iter().map(|layer| format!("layer      {layer}")));
    lines.extend(image.blobs.iter().map(|blob| {
        let kept = blob.kept.join(" and ");
        format!("blob       {}, {}, made by: {}; here: {kept}", blob.blob, blob.bytes, blob.made_by)
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

/// Keeps the archive that comes on standard input in a file, as long as the result lives: an archive is read more than
/// once.
fn archive_from_stdin(output: &Output) -> Result<NamedTempFile, Failure> {
    let folder = std::env::temp_dir();
    let mut file = NamedTempFile::new_in(&folder).map_err(|error| Failure::file("write in", &folder, &error))?;
    let mut progress = Progress::new(output);
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        let count = match std::io::stdin().read(&mut buffer) {
            Ok(0) => return Ok(file),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failure::file("read", Path::new("standard input"), &error)),
        };
        file.write_all(&buffer[..count]).map_err(|error| Failure::file("write", file.path(), &error))?;
        bytes += count as u64;
        progress.set("standard input", bytes, 0, &Bytes(bytes).to_string());
    }
}

fn import(client: &Client, output: &Output, request: &ImportRequest) -> Result<(), Failure> {
    let mut progress = Progress::new(output);
    let mut all = Vec::new();
    client.follow(paths::IMAGES_IMPORT, request, |event: ImportEvent| {
        output.event(&event)?;
        match event {
            ImportEvent::Progress { layer, layers, tar_bytes, blob_bytes, blob_bytes_done } => {
                let note = format!("layer {} of {layers}, {tar_bytes} of tar", layer + 1);
                progress.set(&format!("layer {}", layer + 1), blob_bytes_done.0, blob_bytes.0, &note);
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
    let passed_over: BTreeSet<&String> = all.iter().flat_map(|image| &image.passed_over).collect();
    passed_over.into_iter().for_each(|line| output.say(format!("passed over: {line}")));
    match all.as_slice() {
        [image] if !request.all => output.summary(image, imported_text),
        _ => output.summary(&all, |images| images.iter().map(imported_text).collect::<Vec<_>>().join("\n")),
    }
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
