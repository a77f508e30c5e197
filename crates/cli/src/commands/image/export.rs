//! `lighter image export`: a layout, which the node writes, or an archive, which comes as a stream and is written here.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use hyper::HeaderMap;
use lighter_api::{
    ARCHIVE_BYTES_HEADER, ARCHIVE_EXACT_HEADER, ARCHIVE_MANIFEST_HEADER, ARCHIVE_WHY_HEADER, ArchiveFormat,
    ArchiveRequest, ExportBlobs, ExportEvent, ExportRequest, Image, paths,
};
use serde::Serialize;

use crate::args::{ExportFormat, ImageExport};
use crate::client::Client;
use crate::commands::config::absolute;
use crate::commands::patch::write_whole;
use crate::exit::{Failure, Kind};
use crate::output::Output;
use crate::progress::Progress;

/// The result of an export.
#[derive(Serialize)]
struct Exported {
    path: String,
    manifest: String,
    /// Whether blobs and manifest are those of the image's registry.
    exact: bool,
    /// Why not, where it was not asked for.
    not_exact: Option<String>,
}

pub fn run(client: &Client, output: &Output, asked: &ImageExport) -> Result<(), Failure> {
    let blobs = match asked {
        ImageExport { exact: true, .. } => ExportBlobs::Exact,
        ImageExport { plain: true, .. } => ExportBlobs::Plain,
        ImageExport { gzip: true, .. } => ExportBlobs::Gzip,
        ImageExport { .. } => ExportBlobs::Auto,
    };
    let Some(path) = asked.path.as_ref().or(asked.out.as_ref()) else {
        return Err(Failure::new(Kind::Usage, "where to export to is not said"));
    };
    let is_stdout = path.as_os_str() == "-";
    let format = match (asked.format, blobs) {
        (ExportFormat::Layout, _) if is_stdout => {
            return Err(Failure::new(Kind::Usage, "a layout is a folder, and cannot be written to stdout")
                .hint("add --format oci-archive"));
        }
        (ExportFormat::Layout, _) => return layout(client, output, asked, path, blobs),
        (ExportFormat::OciArchive | ExportFormat::DockerArchive, ExportBlobs::Gzip) => {
            return Err(Failure::new(Kind::Usage, "--gzip is for a layout: an archive names lengths before contents"));
        }
        (ExportFormat::DockerArchive, ExportBlobs::Exact) => {
            return Err(Failure::new(Kind::Usage, "a docker archive has plain tars as layers, and no manifest")
                .hint("take --format oci-archive"));
        }
        (ExportFormat::OciArchive, _) => ArchiveFormat::OciArchive,
        (ExportFormat::DockerArchive, _) => ArchiveFormat::DockerArchive,
    };
    let request = ArchiveRequest { reference: asked.reference.clone(), format, blobs };
    if is_stdout { to_stdout(client, output, &request) } else { to_file(client, output, &request, path) }
}

fn layout(
    client: &Client,
    output: &Output,
    asked: &ImageExport,
    path: &Path,
    blobs: ExportBlobs,
) -> Result<(), Failure> {
    let request = ExportRequest { reference: asked.reference.clone(), path: absolute(path)?, blobs };
    let image: Image = client.get(&paths::image(&request.reference))?;
    let mut progress = Progress::new(output);
    let exported = client.follow(paths::IMAGES_EXPORT, &request, |event: ExportEvent| {
        output.event(&event)?;
        match event {
            ExportEvent::Progress { tar_bytes } => {
                progress.set("export", tar_bytes.0, image.tar_bytes.0, "");
                Ok(None)
            }
            ExportEvent::Done { manifest, exact, not_exact } => {
                let (path, manifest) = (request.path.clone(), manifest.to_string());
                Ok(Some(Exported { path, manifest, exact, not_exact }))
            }
            ExportEvent::Failed { problem } => {
                Err(Failure::from(problem).hint_if(Kind::Exists, "export to a new folder"))
            }
        }
    })?;
    say_why(output, &exported);
    output.summary(&exported, text)
}

fn to_file(client: &Client, output: &Output, request: &ArchiveRequest, path: &Path) -> Result<(), Failure> {
    let mut head = HeaderMap::new();
    write_whole(path, |file| {
        head = write(client, output, request, path, file)?;
        Ok(())
    })?;
    let exported = exported(path.to_owned(), &head);
    say_why(output, &exported);
    output.value(&exported, text)
}

/// The archive is the result on stdout; what there is to say goes to stderr.
fn to_stdout(client: &Client, output: &Output, request: &ArchiveRequest) -> Result<(), Failure> {
    if io::stdout().is_terminal() {
        return Err(Failure::new(Kind::Usage, "stdout is a terminal, and an archive is no text")
            .hint("name a file, or send it on: `lighter image export ... - | podman load`"));
    }
    let mut stdout = BufWriter::with_capacity(1 << 20, io::stdout());
    let head = write(client, output, request, Path::new("stdout"), &mut stdout)?;
    stdout.flush().map_err(|error| Failure::file("write", Path::new("stdout"), &error))?;
    let exported = exported(PathBuf::from("-"), &head);
    say_why(output, &exported);
    output.say(text(&exported));
    Ok(())
}

fn write(
    client: &Client,
    output: &Output,
    request: &ArchiveRequest,
    path: &Path,
    writer: &mut dyn Write,
) -> Result<HeaderMap, Failure> {
    let mut progress = Progress::new(output);
    let mut bytes = 0;
    client.download(paths::IMAGES_ARCHIVE, request, |head, piece| {
        writer.write_all(piece).map_err(|error| Failure::file("write", path, &error))?;
        bytes += piece.len() as u64;
        progress.set("export", bytes, header(head, ARCHIVE_BYTES_HEADER).parse().unwrap_or(0), "");
        Ok(())
    })
}

fn header<'a>(head: &'a HeaderMap, name: &str) -> &'a str {
    head.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn exported(path: PathBuf, head: &HeaderMap) -> Exported {
    let why = header(head, ARCHIVE_WHY_HEADER);
    Exported {
        path: path.display().to_string(),
        manifest: header(head, ARCHIVE_MANIFEST_HEADER).to_owned(),
        exact: header(head, ARCHIVE_EXACT_HEADER) == "true",
        not_exact: (!why.is_empty()).then(|| why.to_owned()),
    }
}

fn say_why(output: &Output, exported: &Exported) {
    if let Some(why) = &exported.not_exact {
        output.say(format!("not the exact image: {why}"));
    }
}

fn text(exported: &Exported) -> String {
    let form =
        if exported.exact { "the manifest and the blobs of its registry" } else { "the same tars in another form" };
    format!("{} in {}: {form}", exported.manifest, exported.path)
}
