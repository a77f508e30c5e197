//! `lighter recipe`: how a compressed layer was made, and making it again, on plain files, with no node.
//!
//! The room `recipe` finds and rebuilds. This file opens and writes files, decides what is kept of a blob without an
//! encoder, and says in words what went wrong.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use lighter_node::FileBase;
use lighter_recipe::{
    Class, FindError, Form, Found, Nearest, Reason, Rebuild, RebuildError, Recipe, Unknown, correct, find,
};
use lighter_types::{Blame, Bytes, OciDigest, ReadAt};
use sha2::{Digest, Sha256};

use super::patch::{REPORT_BUG, refuse_input, write_whole};
use crate::args::RecipeCommand;
use crate::exit::{Failure, Kind};
use crate::output::Output;
use crate::progress::{Progress, duration};

/// The hint for a blob that no known encoder makes.
const KEEP_ANYWAY: &str = "--allow-corrections keeps small corrections to what the nearest zlib-like encoder makes, --verbatim the whole blob";
/// The hint for a recipe or a tar that does not fit.
const WHICH_IS_WRONG: &str =
    "compare the sha256 of the tar with the layer's DiffId; if it is right, get another recipe";

/// A recipe, for people and scripts.
#[derive(serde::Serialize)]
struct Shown {
    /// The file.
    recipe: String,
    recipe_bytes: u64,
    blob: String,
    blob_bytes: u64,
    tar_bytes: u64,
    form: &'static str,
    /// Class, level and content of each block, of a recipe with an encoder.
    class: Option<&'static str>,
    level: Option<i8>,
    block_bytes: Option<u32>,
    /// zstd: content of the first write, if the first block ends with it.
    first_write: Option<u32>,
    /// How libzstd was called.
    libzstd_call: Option<String>,
    members: usize,
    checkpoints: usize,
}

/// The result of `recipe find`.
#[derive(serde::Serialize)]
struct Made {
    #[serde(flatten)]
    shown: Shown,
    took_ms: u64,
}

/// The result of `recipe rebuild`.
#[derive(serde::Serialize)]
struct Rebuilt {
    out: String,
    blob: String,
    blob_bytes: u64,
    took_ms: u64,
}

pub fn run(command: RecipeCommand, output: &Output) -> Result<(), Failure> {
    match command {
        RecipeCommand::Find { blob, out, allow_corrections, verbatim } => {
            find_recipe(&blob, &out, Allowed { corrections: allow_corrections, verbatim }, output)
        }
        RecipeCommand::Rebuild { recipe, tar, out, threads } => rebuild(&recipe, &tar, &out, threads, output),
        RecipeCommand::Show { recipe } => {
            let (read, file) = open(&recipe)?;
            output.value(&shown(&recipe, &read, file.whole.len().0), text)
        }
    }
}

fn find_recipe(path: &Path, out: &Path, allowed: Allowed, output: &Output) -> Result<(), Failure> {
    let started = Instant::now();
    refuse_input(out, [path])?;
    let blob = plain_file(path)?;
    let mut progress = Progress::new(output);
    let (recipe, body) = make(path, &blob, allowed, &mut progress)?;
    let bytes = recipe.to_bytes();
    write_whole(out, |file| {
        let mut write = |part: &[u8]| file.write_all(part).map_err(|error| Failure::file("write", out, &error));
        write(&bytes)?;
        match &body {
            Body::Held(body) => write(body),
            Body::Blob => copy(&blob, path, recipe.blob_bytes, &mut write),
        }
    })?;
    let shown = shown(out, &recipe, bytes.len() as u64 + recipe.form.body_bytes(recipe.blob_bytes));
    let note = format!("{} makes {}: {}, {} bytes", shown.recipe, shown.blob, maker(&shown), shown.recipe_bytes);
    let made = Made { shown, took_ms: milliseconds(started.elapsed()) };
    output.done(&made, format!("{note}, {}", duration(made.took_ms)))
}

/// The forms that a recipe may have if no encoder makes the blob.
#[derive(Clone, Copy)]
struct Allowed {
    corrections: bool,
    verbatim: bool,
}

/// The bytes behind the head of a new recipe.
enum Body {
    Held(Vec<u8>),
    /// The blob.
    Blob,
}

fn make(
    path: &Path,
    blob: &FileBase<File>,
    allowed: Allowed,
    progress: &mut Progress,
) -> Result<(Recipe, Body), Failure> {
    let total = blob.len().0;
    let found = find(blob, u64::MAX, &mut |done| progress.set("finding", done, total, ""));
    progress.finish("finding", "");
    let failure = match found {
        Ok(Found::Recipe(recipe)) => return Ok((recipe, Body::Held(Vec::new()))),
        Ok(Found::Unknown(unknown)) => unknown_failure(path, &unknown),
        Err(error) => find_failure(path, &error),
    };
    if failure.kind == Kind::BadData && allowed.corrections {
        let corrected = correct(blob, &mut |done| progress.set("correcting", done, total, ""));
        progress.finish("correcting", "");
        if let Some((recipe, body)) = corrected.map_err(|error| find_failure(path, &error))? {
            return Ok((recipe, Body::Held(body)));
        }
    }
    match failure.kind == Kind::BadData && allowed.verbatim {
        true => Ok((verbatim(path, blob)?, Body::Blob)),
        false => Err(failure),
    }
}

/// The recipe that keeps the blob as it is.
fn verbatim(path: &Path, blob: &FileBase<File>) -> Result<Recipe, Failure> {
    let mut hasher = Sha256::new();
    let blob_bytes = blob.len().0;
    copy(blob, path, blob_bytes, &mut |part| {
        hasher.update(part);
        Ok(())
    })?;
    let blob = OciDigest::new(hasher.finalize().into());
    Ok(Recipe { blob, blob_bytes, tar_bytes: 0, form: Form::Verbatim })
}

/// Reads the first bytes of a file in parts.
fn copy(
    file: &FileBase<File>,
    path: &Path,
    bytes: u64,
    sink: &mut dyn FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut buffer = vec![0; 1 << 20];
    let mut at = 0;
    while at < bytes {
        let part = &mut buffer[..usize::try_from(bytes - at).unwrap_or(usize::MAX).min(1 << 20)];
        file.read_exact_at(part, at).map_err(|error| Failure::file("read", path, &error))?;
        sink(part)?;
        at += part.len() as u64;
    }
    Ok(())
}

fn rebuild(recipe: &Path, tar: &Path, out: &Path, threads: Option<u16>, output: &Output) -> Result<(), Failure> {
    let started = Instant::now();
    refuse_input(out, [recipe, tar])?;
    let (read, body) = open(recipe)?;
    let tar = plain_file(tar)?;
    let threads = threads.map_or_else(|| thread::available_parallelism().map_or(1, usize::from), usize::from);
    let mut progress = Progress::new(output);
    write_whole(out, |file| {
        let rebuild = Rebuild::new(&read, &body, &tar).map_err(|error| rebuild_failure(recipe, out, &error))?;
        let mut counted = Counted { file, done: 0, total: read.blob_bytes, progress: &mut progress };
        rebuild.whole(threads, &mut counted).map_err(|error| rebuild_failure(recipe, out, &error))
    })?;
    progress.finish("rebuilding", "");
    let rebuilt = Rebuilt {
        out: out.display().to_string(),
        blob: read.blob.to_string(),
        blob_bytes: read.blob_bytes,
        took_ms: milliseconds(started.elapsed()),
    };
    output.done(&rebuilt, format!("{} is {}, {}", rebuilt.out, rebuilt.blob, duration(rebuilt.took_ms)))
}

/// Shows how much of a file is written.
struct Counted<'a, W> {
    file: W,
    done: u64,
    total: u64,
    progress: &'a mut Progress,
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.done += count as u64;
        self.progress.set("rebuilding", self.done, self.total, "");
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

/// The bytes behind the head of a recipe file.
struct Behind {
    whole: FileBase<File>,
    start: u64,
}

impl ReadAt for Behind {
    fn len(&self) -> Bytes {
        Bytes(self.whole.len().0.saturating_sub(self.start))
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<()> {
        self.whole.read_exact_at(buf, self.start.saturating_add(offset))
    }
}

/// A recipe file, and what stands behind its head.
fn open(path: &Path) -> Result<(Recipe, Behind), Failure> {
    let whole = plain_file(path)?;
    let bytes = whole.len().0.min(Recipe::BYTES_MAX);
    let mut head = vec![0; usize::try_from(bytes).unwrap_or_default()];
    whole.read_exact_at(&mut head, 0).map_err(|error| Failure::file("read", path, &error))?;
    let (recipe, head_bytes) = Recipe::from_bytes(&head).map_err(|error| {
        let failure = Failure::new(Kind::BadData, format!("{}: {error}", path.display()));
        match error.blame() {
            Blame::Version => failure.hint("a newer lighter made the recipe: update this one"),
            Blame::Peer | Blame::Machine | Blame::Caller | Blame::Bug => failure.hint("get the recipe again"),
        }
    })?;
    Ok((recipe, Behind { whole, start: head_bytes as u64 }))
}

/// A file that can be read by position.
fn plain_file(path: &Path) -> Result<FileBase<File>, Failure> {
    let file = File::open(path).map_err(|error| Failure::file("read", path, &error))?;
    let is_plain = file.metadata().map_err(|error| Failure::file("read", path, &error))?.is_file();
    if !is_plain {
        let message = format!("{} is no plain file, and has to be read by position", path.display());
        return Err(Failure::new(Kind::Usage, message).hint("copy it to a file first"));
    }
    FileBase::new(file).map_err(|error| Failure::file("read", path, &error))
}

fn shown(path: &Path, recipe: &Recipe, recipe_bytes: u64) -> Shown {
    let (form, encoded, framing) = match &recipe.form {
        Form::Encoded(encoded) => ("encoded", Some(encoded), Some(&encoded.framing)),
        Form::Corrected(corrected) => ("corrected", None, Some(&corrected.framing)),
        Form::Verbatim => ("verbatim", None, None),
    };
    Shown {
        recipe: path.display().to_string(),
        recipe_bytes,
        blob: recipe.blob.to_string(),
        blob_bytes: recipe.blob_bytes,
        tar_bytes: recipe.tar_bytes,
        form,
        class: encoded.map(|encoded| encoded.encoder.class.name()),
        level: encoded.map(|encoded| encoded.encoder.level),
        block_bytes: encoded.and_then(|encoded| encoded.encoder.block_bytes).map(u32::from),
        first_write: encoded.and_then(|encoded| encoded.encoder.first_write).map(u32::from),
        libzstd_call: encoded
            .filter(|encoded| encoded.encoder.class == Class::LibZstd1)
            .map(|encoded| encoded.encoder.libzstd.to_string()),
        members: framing.map_or(0, |framing| framing.members.len()),
        checkpoints: encoded.map_or(0, |encoded| encoded.checkpoints.len()),
    }
}

/// How the blob is made, in words.
fn maker(shown: &Shown) -> String {
    let (Some(class), Some(level)) = (shown.class, shown.level) else {
        return match shown.form {
            "corrected" => "corrections",
            _ => "the bytes of the blob",
        }
        .to_owned();
    };
    let blocks = shown.block_bytes.map_or_else(String::new, |bytes| format!(", blocks of {bytes} bytes"));
    let first = shown.first_write.map_or_else(String::new, |bytes| format!(", a first write of {bytes} bytes"));
    let call = shown.libzstd_call.as_ref().map_or_else(String::new, |call| format!(", by {call}"));
    let members = if shown.members == 1 { String::new() } else { format!(", {} members", shown.members) };
    format!("{class} at level {level}{blocks}{first}{call}{members}")
}

fn text(shown: &Shown) -> String {
    let lines = [
        ("recipe", format!("{}, {} bytes", shown.recipe, shown.recipe_bytes)),
        ("blob", format!("{}, {} bytes", shown.blob, shown.blob_bytes)),
        ("tar", format!("{} bytes", shown.tar_bytes)),
        ("made by", maker(shown)),
        ("checkpoints", shown.checkpoints.to_string()),
    ];
    lines.map(|(name, value)| format!("{name:<12} {value}")).join("\n")
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn unknown_failure(path: &Path, unknown: &Unknown) -> Failure {
    let path = path.display();
    let why = match unknown.reason {
        Reason::NotCompressed => "it is neither gzip nor zstd".to_owned(),
        Reason::Limit => "it has more members, or more bytes behind them, than a recipe holds".to_owned(),
        Reason::Encoder => "no known encoder makes it".to_owned(),
    };
    let nearest = unknown.nearest.map_or_else(String::new, |Nearest { encoder, blob_offset, tar_offset }| {
        format!(
            "; the nearest is {encoder}, which first differs at byte {blob_offset}, within {tar_offset} bytes of tar"
        )
    });
    Failure::new(Kind::BadData, format!("{path} has no recipe: {why}{nearest}")).hint(KEEP_ANYWAY)
}

fn find_failure(path: &Path, error: &FindError) -> Failure {
    let message = format!("{}: {}", path.display(), lighter_types::error_chain(error));
    match error.blame() {
        Blame::Machine => Failure::new(Kind::Machine, message),
        Blame::Peer | Blame::Version | Blame::Caller | Blame::Bug => {
            Failure::new(Kind::BadData, message).hint("get the blob again, and compare its sha256")
        }
    }
}

fn rebuild_failure(recipe: &Path, out: &Path, error: &RebuildError) -> Failure {
    if let RebuildError::Output { source } = error {
        return Failure::file("write", out, source);
    }
    let message = format!("{}: {}", recipe.display(), lighter_types::error_chain(error));
    match error.blame() {
        Blame::Machine => Failure::new(Kind::Machine, message),
        Blame::Bug => Failure::new(Kind::Other, message).hint(REPORT_BUG),
        Blame::Peer | Blame::Version | Blame::Caller => Failure::new(Kind::BadData, message).hint(WHICH_IS_WRONG),
    }
}
