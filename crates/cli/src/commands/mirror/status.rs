//! `lighter mirror status`: whether the runtimes ask the node, whether it answers, and a pull that proves it.

use std::env;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::kept::{Author, KeptFile};
use super::not_met;
use super::proof::{self, Pulled};
use crate::args::Endpoint;
use crate::args::{MirrorPlace, Runtime};
use crate::exit::Failure;
use crate::output::{Output, table};
use lighter_types::Bytes;

/// The folders of programs below a root that is not this machine's.
const FOLDERS: [&str; 6] = ["usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin"];

#[derive(Serialize)]
struct Status {
    endpoint: String,
    /// Whether a registry answers there.
    answers: bool,
    runtimes: Vec<RuntimeStatus>,
    /// The proof, if an image was named and came.
    pull: Option<Pulled>,
}

#[derive(Serialize)]
struct RuntimeStatus {
    runtime: &'static str,
    is_installed: bool,
    /// The registries for whose images it asks the endpoint; `*` for all.
    registries: Vec<String>,
    files: Vec<FileStatus>,
    limits: Vec<String>,
}

#[derive(Serialize)]
struct FileStatus {
    file: PathBuf,
    /// `lighter` if `mirror install` wrote it, `lighter, changed since`, or `others`.
    written_by: &'static str,
    registries: Vec<String>,
    /// Why it cannot be read.
    problem: Option<String>,
}

pub fn run(runtimes: &[Runtime], place: &MirrorPlace, image: Option<&str>, output: &Output) -> Result<(), Failure> {
    let all = if runtimes.is_empty() { &Runtime::ALL[..] } else { runtimes };
    let answered = proof::answers(&place.endpoint);
    let pulled = match (&answered, image) {
        (Ok(()), Some(image)) => Some(proof::pull(&place.endpoint, image)),
        (Ok(()), None) | (Err(_), _) => None,
    };
    let (pull, failed) = match pulled {
        Some(Ok(pulled)) => (Some(pulled), None),
        Some(Err(failure)) => (None, Some(failure)),
        None => (None, None),
    };
    let status = Status {
        endpoint: place.endpoint.to_string(),
        answers: answered.is_ok(),
        runtimes: all.iter().map(|runtime| runtime_status(*runtime, place)).collect(),
        pull,
    };
    output.value(&status, text)?;
    answered?;
    failed.map_or(Ok(()), Err)?;
    let asked_for = status.runtimes.iter().take(runtimes.len());
    let idle: Vec<&str> =
        asked_for.filter(|status| status.registries.is_empty()).map(|status| status.runtime).collect();
    if idle.is_empty() {
        return Ok(());
    }
    Err(not_met(format!("the configuration of {} does not name {}", idle.join(" and "), place.endpoint)))
}

fn runtime_status(runtime: Runtime, place: &MirrorPlace) -> RuntimeStatus {
    let MirrorPlace { endpoint, root } = place;
    let files = runtime.found_files(root).into_iter().filter(|path| path.symlink_metadata().is_ok());
    let mut files: Vec<FileStatus> = files.map(|path| file_status(runtime, path, endpoint)).collect();
    files.sort_by(|one, other| one.file.cmp(&other.file));
    RuntimeStatus {
        runtime: runtime.name(),
        is_installed: runtime.programs().iter().any(|program| is_installed(root, program)),
        registries: files.iter().flat_map(|file| file.registries.clone()).collect(),
        files,
        limits: runtime.limits(root, endpoint),
    }
}

fn file_status(runtime: Runtime, path: PathBuf, endpoint: &Endpoint) -> FileStatus {
    let opened = KeptFile::open(path.clone());
    let text = opened.as_ref().ok().and_then(|file| file.current.as_deref()).unwrap_or_default();
    let pointed = runtime.pointed(&path, text, endpoint);
    let problem = match (&opened, &pointed) {
        (Err(failure), _) => Some(failure.message().to_owned()),
        (Ok(_), Err(error)) => Some(error.problem.clone()),
        (Ok(_), Ok(_)) => None,
    };
    let written_by = match opened.map(|file| file.author) {
        Ok(Author::Lighter) => "lighter",
        Ok(Author::ChangedSince) => "lighter, changed since",
        Ok(Author::Others) | Err(_) => "others",
    };
    let registries = pointed.unwrap_or_default().iter().map(ToString::to_string).collect();
    FileStatus { file: path, written_by, registries, problem }
}

fn is_installed(root: &Path, program: &str) -> bool {
    if root == Path::new("/") {
        let path = env::var_os("PATH").unwrap_or_default();
        let more = FOLDERS.iter().map(|folder| root.join(folder));
        return env::split_paths(&path).chain(more).any(|folder| folder.join(program).is_file());
    }
    FOLDERS.iter().any(|folder| root.join(folder).join(program).is_file())
}

fn text(status: &Status) -> String {
    let mut rows = table(&["runtime", "installed", "asks the node for", "file", "written by"]);
    for runtime in &status.runtimes {
        let installed = if runtime.is_installed { "yes" } else { "no" };
        if runtime.files.is_empty() {
            rows.add_row([runtime.runtime, installed, "nothing", "", ""]);
        }
        for file in &runtime.files {
            let registries = match (&file.problem, file.registries.as_slice()) {
                (Some(problem), _) => problem.clone(),
                (None, []) => "nothing".to_owned(),
                (None, registries) => registries.join(", ").replace('*', "all registries"),
            };
            let path = file.file.display().to_string();
            rows.add_row([runtime.runtime, installed, &registries, &path, file.written_by]);
        }
    }
    let answers = if status.answers { "a registry answers" } else { "nothing answers" };
    let mut lines = vec![format!("{}: {answers}", status.endpoint), rows.to_string()];
    if let Some(pulled) = &status.pull {
        lines.push(format!(
            "{} is {}: {} blobs, {}, every digest is right, {} ms",
            pulled.image,
            pulled.manifest,
            pulled.blobs,
            Bytes(pulled.bytes),
            pulled.took_ms
        ));
    }
    lines.join("\n")
}
