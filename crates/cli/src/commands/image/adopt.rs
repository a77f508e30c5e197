//! `lighter image adopt`: takes the images of a runtime on this host into the node.
//!
//! The runtime's own client exports each image as an archive, which is imported like any other, but unsigned. The
//! layers count: their DiffIds are the same whatever the client does to their compression, so they are bases
//! of the next release. An image that cannot be taken is named with the reason, and the others are taken all the same.

mod runtimes;

use lighter_api::ImportRequest;
use lighter_types::Bytes;
use serde::Serialize;

use super::archive;
use super::follow_import;
use crate::args::ImageAdopt;
use crate::client::Client;
use crate::exit::{Failure, Kind};
use crate::format::Format;
use crate::output::{Output, right, short, table};
use runtimes::{Exporter, Found};

/// An image of the runtime, and what became of it.
#[derive(Serialize)]
struct Adopted {
    /// As the runtime names it.
    name: String,
    /// Its name at the node, and the digest of its manifest there.
    reference: Option<String>,
    manifest: Option<String>,
    layers: usize,
    layers_held_before: usize,
    /// The tars that the node did not have.
    new_bytes: u64,
    /// Why it could not be taken.
    problem: Option<String>,
}

pub fn run(client: &Client, output: &Output, asked: &ImageAdopt) -> Result<(), Failure> {
    let exporter = Exporter::new(asked)?;
    let mut rows = Vec::new();
    let mut first = None;
    for found in exporter.images(&asked.images)? {
        let row = match found.and_then(|found| adopt(client, output, &exporter, &found, asked.release)) {
            Ok(row) => row,
            Err((name, failure)) => {
                let problem = failure.message().to_owned();
                output.say(format!("{name} is left out: {problem}"));
                first.get_or_insert(failure.kind);
                Adopted::left_out(name, problem)
            }
        };
        if output.format == Format::Jsonl {
            output.event(&row)?;
        }
        rows.push(row);
    }
    if output.format != Format::Jsonl {
        output.rows(&rows, row_table)?;
    }
    let Some(kind) = first else { return Ok(()) };
    let left_out: Vec<&str> = rows.iter().filter(|row| row.problem.is_some()).map(|row| row.name.as_str()).collect();
    let message = format!("{} of {} images could not be taken: {}", left_out.len(), rows.len(), left_out.join(", "));
    Err(Failure::new(kind, message).hint("the notes above have the reasons; the others are here"))
}

impl Adopted {
    fn left_out(name: String, problem: String) -> Self {
        let (reference, manifest, problem) = (None, None, Some(problem));
        Self { name, reference, manifest, layers: 0, layers_held_before: 0, new_bytes: 0, problem }
    }
}

/// Exports an image and imports it. A failure comes with the image's name.
fn adopt(
    client: &Client,
    output: &Output,
    exporter: &Exporter,
    found: &Found,
    release: bool,
) -> Result<Adopted, (String, Failure)> {
    let name = found.name.clone();
    let imported = exporter.export(found, |stream| archive::keep(client, output, &name, stream)).and_then(|file| {
        let path = file.path().display().to_string();
        // The runtime's name decides, not one in the archive.
        let released = if release { Some(parse_name(&name)?) } else { None };
        let unsigned = !release;
        let request = ImportRequest {
            path,
            name: released,
            platform: None,
            from: None,
            all: false,
            insecure: false,
            unsigned,
            lifetime_s: None,
        };
        // The events of one import among several say less than the row of its image.
        let quiet = Output::new(Format::Table, !output.draws());
        let mut imported = follow_import(client, &quiet, &request, &format!("{name} "))?;
        imported.pop().ok_or_else(|| Failure::new(Kind::Other, "the import brought no image"))
    });
    let imported = imported.map_err(|failure| (name.clone(), failure))?;
    let (held, new): (Vec<_>, Vec<_>) = imported.layers.iter().partition(|layer| layer.held_before);
    Ok(Adopted {
        name,
        reference: Some(imported.reference),
        manifest: Some(imported.manifest),
        layers: imported.layers.len(),
        layers_held_before: held.len(),
        new_bytes: new.iter().map(|layer| layer.tar_bytes).sum::<Bytes>().0,
        problem: None,
    })
}

fn parse_name(name: &str) -> Result<lighter_types::ImageReference, Failure> {
    name.parse().map_err(|error: lighter_types::ParseError| {
        Failure::new(Kind::NoName, format!("{name} is no name for a release: {error}"))
    })
}

fn row_table(rows: &[Adopted]) -> comfy_table::Table {
    let mut table = table(&["image", "manifest", "layers", "held before", "new", ""]);
    for row in rows {
        table.add_row([
            row.name.clone().into(),
            row.manifest.as_ref().map(short).unwrap_or_default().into(),
            right(row.layers),
            right(row.layers_held_before),
            right(Bytes(row.new_bytes)),
            if row.problem.is_some() { "left out" } else { "" }.into(),
        ]);
    }
    table
}
