//! `lighter mirror`: makes the container runtimes of this host ask the node, takes that back, and shows how it stands.
//!
//! A change is planned for all files before the first one is written; a runtime that cannot do what is asked changes
//! nothing. `kept` has the files and what was there before, `runtimes` the differences between runtimes, and a module
//! for each format the edit. No runtime is restarted: the output says which step is left.

mod containerd;
mod diff;
mod docker;
mod edit;
mod k3s;
mod kept;
mod podman;
mod proof;
mod runtimes;
mod status;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::args::{Endpoint, MirrorChange, MirrorCommand, MirrorPlace, RegistryHost, Runtime};
use crate::exit::{Failure, Kind};
use crate::format::Format;
use crate::output::{Output, print};
use kept::{Author, KeptFile};

pub fn run(command: MirrorCommand, output: &Output) -> Result<(), Failure> {
    match command {
        MirrorCommand::Install(change) => {
            let limits = change.runtime.limits(&change.place.root, &change.place.endpoint);
            report(&change, output, install(&change)?, limits)
        }
        MirrorCommand::Remove(change) => report(&change, output, remove(&change)?, Vec::new()),
        MirrorCommand::Status { runtime, place, image } => status::run(&runtime, &place, image.as_deref(), output),
    }
}

/// One file and what becomes of it.
struct Change {
    file: KeptFile,
    endpoint: Endpoint,
    registries: BTreeSet<RegistryHost>,
    becomes: Becomes,
}

enum Becomes {
    /// It stays as it is.
    Same,
    Changed(String),
    Restored,
}

/// A file in the result of a command.
#[derive(Serialize)]
struct ChangedFile {
    file: PathBuf,
    /// `none`, `created`, `changed`, `restored` or `removed`.
    action: &'static str,
    registries: Vec<String>,
    /// Where the bytes of before are.
    backup: Option<PathBuf>,
    diff: String,
}

/// The result of `install` and `remove`.
#[derive(Serialize)]
struct Changed {
    runtime: &'static str,
    endpoint: String,
    dry_run: bool,
    files: Vec<ChangedFile>,
    then: &'static str,
    limits: Vec<String>,
}

fn install(change: &MirrorChange) -> Result<Vec<Change>, Failure> {
    let MirrorPlace { endpoint, root } = &change.place;
    let runtime = change.runtime;
    let wanted = runtime.registries(&change.registry, endpoint)?;
    let mut changes = Vec::new();
    for (path, wanted) in runtime.files(root, &wanted) {
        let file = KeptFile::open(path)?;
        let current = file.current.as_deref().unwrap_or_default();
        let pointed = runtime.pointed(&file.path, current, endpoint).unwrap_or_default();
        let is_there = wanted.iter().all(|registry| pointed.contains(registry));
        if is_there && file.author != Author::Lighter {
            changes.push(Change { file, endpoint: endpoint.clone(), registries: wanted, becomes: Becomes::Same });
            continue;
        }
        let registries: BTreeSet<RegistryHost> = match file.author {
            Author::Others => wanted,
            Author::Lighter => file.registries.union(&wanted).cloned().collect(),
            Author::ChangedSince => return Err(file.changed_since()),
        };
        changes.push(edited(runtime, root, file, endpoint, registries)?);
    }
    Ok(changes)
}

fn remove(change: &MirrorChange) -> Result<Vec<Change>, Failure> {
    let MirrorPlace { endpoint, root } = &change.place;
    let runtime = change.runtime;
    let unwanted: BTreeSet<RegistryHost> = change.registry.iter().cloned().collect();
    let mut changes = Vec::new();
    for path in runtime.changed_files(root) {
        let file = KeptFile::open(path)?;
        let left: BTreeSet<RegistryHost> = match unwanted.is_empty() {
            true => BTreeSet::new(),
            false => file.registries.difference(&unwanted).cloned().collect(),
        };
        if !file.registries.is_empty() && left == file.registries {
            continue;
        }
        match file.author {
            Author::ChangedSince => return Err(file.changed_since()),
            Author::Lighter if !left.is_empty() => {
                // The others go on to ask where they were told to.
                let endpoint = file.endpoint.clone().unwrap_or_else(|| endpoint.clone());
                changes.push(edited(runtime, root, file, &endpoint, left)?);
            }
            Author::Lighter | Author::Others => {
                let registries = file.registries.clone();
                changes.push(Change { file, endpoint: endpoint.clone(), registries, becomes: Becomes::Restored });
            }
        }
    }
    Ok(changes)
}

/// A file as it must be for these registries.
fn edited(
    runtime: Runtime,
    root: &Path,
    file: KeptFile,
    endpoint: &Endpoint,
    registries: BTreeSet<RegistryHost>,
) -> Result<Change, Failure> {
    let text = runtime.edit(root, &file, endpoint, &registries)?;
    let becomes = if file.current.as_ref() == Some(&text) { Becomes::Same } else { Becomes::Changed(text) };
    Ok(Change { file, endpoint: endpoint.clone(), registries, becomes })
}

/// Writes the changes, unless it is a dry run, and tells of them.
fn report(asked: &MirrorChange, output: &Output, changes: Vec<Change>, limits: Vec<String>) -> Result<(), Failure> {
    let mut files = Vec::new();
    for change in changes {
        files.push(described(&change));
        if asked.dry_run {
            continue;
        }
        match &change.becomes {
            Becomes::Same => {}
            Becomes::Changed(text) => {
                change.file.change(text, &change.endpoint, &change.registries)?;
            }
            Becomes::Restored => change.file.restore()?,
        }
    }
    let changed = Changed {
        runtime: asked.runtime.name(),
        endpoint: asked.place.endpoint.to_string(),
        dry_run: asked.dry_run,
        files,
        then: asked.runtime.then(),
        limits,
    };
    if asked.dry_run && output.format == Format::Table {
        let diffs: String = changed.files.iter().map(|file| file.diff.as_str()).collect();
        return if diffs.is_empty() { Ok(()) } else { print(diffs.trim_end_matches('\n')) };
    }
    output.value(&changed, text)
}

fn described(change: &Change) -> ChangedFile {
    let KeptFile { path, current, original, .. } = &change.file;
    let (action, new) = match &change.becomes {
        Becomes::Same => ("none", current.as_deref()),
        Becomes::Changed(text) if current.is_none() => ("created", Some(text.as_str())),
        Becomes::Changed(text) => ("changed", Some(text.as_str())),
        Becomes::Restored if original.is_none() => ("removed", None),
        Becomes::Restored => ("restored", original.as_deref()),
    };
    let is_kept = matches!(change.becomes, Becomes::Changed(_)) || change.file.author == Author::Lighter;
    ChangedFile {
        file: path.clone(),
        action,
        registries: change.registries.iter().map(ToString::to_string).collect(),
        backup: change.file.backup().filter(|_| is_kept && !matches!(change.becomes, Becomes::Restored)),
        diff: diff::unified(path, current.as_deref(), new),
    }
}

fn text(changed: &Changed) -> String {
    let mut lines = Vec::new();
    for file in &changed.files {
        let path = file.file.display();
        let registries = file.registries.join(", ").replace(RegistryHost::all().as_str(), "all registries");
        lines.push(match file.action {
            "none" => format!("{path} is as it should be for {registries}"),
            action => format!("{action} {path} for {registries}"),
        });
        if let Some(backup) = &file.backup {
            lines.push(format!("  what was there before: {}", backup.display()));
        }
    }
    if changed.files.is_empty() {
        lines.push(format!("no file of {} was changed by `lighter mirror`", changed.runtime));
        return lines.join("\n");
    }
    lines.push(format!("then: {}", changed.then));
    lines.extend(changed.limits.iter().map(|limit| format!("note: {limit}")));
    lines.join("\n")
}

/// The failure of a status that is not as it was asked for.
fn not_met(message: String) -> Failure {
    Failure::new(Kind::NotMet, message).hint("`lighter mirror install --runtime RUNTIME` changes its configuration")
}
