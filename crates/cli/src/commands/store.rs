//! `lighter store`.

use std::io::{self, Read};
use std::path::PathBuf;

use lighter_api::{GcReport, GcRequest, ScrubRequest, ScrubStatus, StoreStatus, paths};
use lighter_node::admin::collect;
use lighter_node::config::Config;
use lighter_node::{UseClock, open_store, store_status};
use lighter_similarity::Sketch;
use lighter_store::{Damage, Finding, FsckMode, FsckReport, GcMode, LayerFacts, Options, Repair, Store, is_store};
use lighter_types::{Bytes, DiffId};

use super::config;
use crate::args::{ConfigSource, StoreCommand};
use crate::client::Client;
use crate::exit::{Failure, Kind};
use crate::output::{Output, table};
use crate::progress::Progress;

pub fn run(command: StoreCommand, output: &Output, socket: Option<PathBuf>) -> Result<(), Failure> {
    match command {
        StoreCommand::Fsck { config, rebuild: false } => fsck(&config, FsckMode::Check, output),
        StoreCommand::Fsck { config, rebuild: true } => fsck(&config, FsckMode::Rebuild(&make_card), output),
        StoreCommand::Gc { config, dry_run } => {
            let client = client(&config, socket.clone())?;
            let report: GcReport = match client.post(paths::STORE_GC, &GcRequest { dry_run }) {
                Err(failure) if failure.kind == Kind::NoNode && socket.is_none() => {
                    let mode = if dry_run { GcMode::DryRun } else { GcMode::Remove };
                    let store = open(&config)?;
                    collect(&store, mode, UseClock::of(&store).now()).map_err(|error| Failure::store(&error))?
                }
                answered => answered?,
            };
            output.value(&report, gc_text)
        }
        StoreCommand::Scrub { config } => {
            let scrub: ScrubStatus = client(&config, socket)?.post(paths::STORE_SCRUB, &ScrubRequest {})?;
            output.value(&scrub, |_| "the scrub is under way; `lighter status` tells of its end".to_owned())
        }
        StoreCommand::Stats { config } => {
            let stats: StoreStatus = match client(&config, socket.clone())?.get(paths::STORE) {
                Err(failure) if failure.kind == Kind::NoNode && socket.is_none() => store_status(&open(&config)?),
                answered => answered?,
            };
            output.value(&stats, stats_text)
        }
    }
}

/// A client of the node at `socket`, or of the node with this configuration.
fn client(source: &ConfigSource, socket: Option<PathBuf>) -> Result<Client, Failure> {
    match socket {
        Some(socket) => Client::new(Some(socket)),
        None => Client::new(Some(config::load(source)?.config.admin_socket())),
    }
}

fn open(source: &ConfigSource) -> Result<Store, Failure> {
    open_store(&config_of_store(source)?).map_err(|error| Failure::store(&error))
}

/// The configuration of a node that has a store: a command that looks at one makes none.
fn config_of_store(source: &ConfigSource) -> Result<Config, Failure> {
    let config = config::load(source)?.config;
    if is_store(&config.data_dir.0) {
        return Ok(config);
    }
    let failure = Failure::new(Kind::NotFound, format!("there is no store in {}", config.data_dir.0.display()));
    match source.config {
        Some(_) => Err(failure),
        None => Err(failure.hint("name the node's configuration with --config")),
    }
}

fn gc_text(report: &GcReport) -> String {
    let verb = if report.dry_run { "would remove" } else { "removed" };
    let mut lines: Vec<String> = report.removed.iter().map(|item| format!("{verb} {item}")).collect();
    lines.push(format!("{verb} {} items, {}", report.removed.len(), report.bytes));
    lines.join("\n")
}

fn stats_text(stats: &StoreStatus) -> String {
    [
        format!("layers    {} in {}", stats.layers, stats.layer_bytes),
        format!("patches   {} in {}, {} unfinished", stats.patches, stats.patch_bytes, stats.partial_patches),
        format!("images    {}, with {} manifests and configs", stats.images, stats.blobs),
        format!("budget    {} of {} used, {} never give way", stats.used_bytes, stats.bytes_max, stats.staying_bytes),
        format!("disk      {} free", stats.disk_free_bytes),
    ]
    .join("\n")
}

/// The result of `store fsck`.
#[derive(serde::Serialize)]
struct Checked {
    is_clean: bool,
    layers: u64,
    blobs: u64,
    patches: u64,
    images: u64,
    bytes: u64,
    findings: Vec<Row>,
    findings_left_out: u64,
}

#[derive(serde::Serialize)]
struct Row {
    path: String,
    damage: String,
    repair: String,
}

fn fsck(source: &ConfigSource, mode: FsckMode<'_>, output: &Output) -> Result<(), Failure> {
    let config = config_of_store(source)?;
    let options = Options { bytes_max: config.store.bytes_max.0, ..Options::default() };
    let store = Store::open_repair(&config.data_dir.0, options).map_err(|error| Failure::store(&error))?;
    let is_check = matches!(mode, FsckMode::Check);
    if !is_check {
        // Sketches of another version are made anew with the missing ones.
        store.drop_sketches(&|bytes| Sketch::from_bytes(bytes).is_err()).map_err(|error| Failure::store(&error))?;
    }
    let mut progress = Progress::new(output);
    let report = store
        .fsck(mode, UseClock::of(&store).now(), &mut |step| {
            progress.set("checking", step.bytes_done.0, step.bytes.0, "");
        })
        .map_err(|error| Failure::store(&error))?;
    let checked = checked(&report);
    output.value(&checked, checked_text)?;
    if checked.is_clean {
        return Ok(());
    }
    let failure = Failure::new(Kind::BadData, "the store is damaged");
    let lacks_layer = report.findings.iter().any(|finding| matches!(finding.damage, Damage::NotHeld { .. }));
    Err(match (is_check, lacks_layer) {
        (true, true | false) => failure.hint("`lighter store fsck --rebuild` repairs what can be repaired"),
        (false, true) => failure.hint("`lighter image pull` brings back what an image names and the store lacks"),
        (false, false) => failure,
    })
}

fn checked(report: &FsckReport) -> Checked {
    Checked {
        is_clean: report.is_clean(),
        layers: report.layers,
        blobs: report.blobs,
        patches: report.patches,
        images: report.images,
        bytes: report.bytes.0,
        findings: report.findings.iter().map(row).collect(),
        findings_left_out: report.findings_left_out,
    }
}

fn checked_text(checked: &Checked) -> String {
    let mut table = table(&["damage", "repair", "path"]);
    for row in &checked.findings {
        table.add_row([&row.damage, &row.repair, &row.path]);
    }
    let counts = format!(
        "{} layers, {} blobs, {} patches, {} images, {}: {} findings",
        checked.layers,
        checked.blobs,
        checked.patches,
        checked.images,
        Bytes(checked.bytes),
        checked.findings.len() as u64 + checked.findings_left_out
    );
    if checked.findings.is_empty() { counts } else { format!("{table}\n{counts}") }
}

fn make_card(_: DiffId, tar: &mut dyn Read) -> Result<LayerFacts, Box<dyn std::error::Error + Send + Sync>> {
    let scan =
        lighter_image::scan_tar("the layer", tar, None, &mut lighter_image::Hashed::new(io::sink()), &mut |_| {})?;
    Ok(LayerFacts { card: scan.card, sketch: Some(scan.sketch.to_bytes()) })
}

fn row(finding: &Finding) -> Row {
    let damage = match &finding.damage {
        Damage::WrongBytes { found } => format!("has sha256 {found}"),
        Damage::NoFile => "no file, or one of another length".to_owned(),
        Damage::NoRow => "not in the index".to_owned(),
        Damage::Leftover => "left over".to_owned(),
        Damage::UnknownFile => "not the store's".to_owned(),
        Damage::NotHeld { item } => format!("names {item}, which is not held"),
        Damage::Unreadable { why } => format!("unreadable: {why}"),
    };
    let repair = match &finding.repair {
        Repair::None => "none".to_owned(),
        Repair::Quarantined(path) => format!("moved to {}", path.display()),
        Repair::Removed => "removed".to_owned(),
        Repair::RowDeleted => "row deleted".to_owned(),
        Repair::RowWritten => "row written".to_owned(),
        Repair::FileWritten => "file written".to_owned(),
    };
    Row { path: finding.path.display().to_string(), damage, repair }
}
