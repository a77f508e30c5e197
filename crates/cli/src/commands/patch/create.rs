//! `lighter patch create`: a patch of a target from its bases, at an effort that is given or chosen for a link.

use std::fs::File;
use std::io::{self, Seek, Write, sink};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use lighter_engine::{Content, Undertaking};
use lighter_image::{Hashed, TarScan, scan_tar};
use lighter_node::FileBase;
use lighter_patch::{EncodeError, Method, Settings, Source};
use lighter_similarity::predict;
use lighter_types::{Bytes, BytesPerSecond, Effort, Pace, ReadAt};

use super::out::{refuse_input, spool};
use super::{Layer, encode_failure, have, write_whole};
use crate::args::{PatchCreate, PatchEffort};
use crate::exit::{Failure, Kind};
use crate::output::Output;
use crate::progress::{Progress, duration};

/// The result of `patch create`.
#[derive(serde::Serialize)]
struct Created {
    patch: String,
    target: String,
    target_bytes: u64,
    bases: Vec<String>,
    patch_bytes: u64,
    effort: &'static str,
    predicted_bytes: Option<u64>,
    took_ms: u64,
}

pub fn create(args: &PatchCreate, output: &Output) -> Result<(), Failure> {
    let started = Instant::now();
    let inputs = args.base.iter().chain(&args.have).chain([&args.target]);
    refuse_input(&args.out, inputs.map(PathBuf::as_path))?;
    let mut progress = Progress::new(output);
    let (layers, effort, predicted) = match (link(args)?, args.effort) {
        (Some(link), _) => {
            let (layers, scans) = scan_all(args, &mut progress)?;
            let (effort, predicted) = link.choose(&scans);
            output.say(format!("effort {}: {predicted} predicted at the default effort", name_of(effort)));
            (layers, Some(effort), Some(predicted.0))
        }
        (None, _) if args.vcdiff => (open_all(args)?, None, None),
        (None, effort) => (open_all(args)?, Some(always(effort)), None),
    };
    let method = effort.map_or(Method::Vcdiff, Method::Delta);
    let settings = Settings { method, memory_bytes_max: args.memory, threads: args.threads };
    let (target, bases) = layers.split_first().ok_or_else(|| Failure::new(Kind::Usage, "there is no target"))?;
    let list = args.have.as_deref().map(have::read).transpose()?;
    // The maker has only those files of the list that also stand in the target.
    let gathered = list.as_ref().map(|list| list.gather(&[&target.file], args.threads.max(1))).transpose();
    let gathered = gathered.map_err(|error| Failure::file("read", &args.target, &error))?;
    let mut sources: Vec<Source<'_>> = bases.iter().map(Layer::source).collect();
    sources.extend(list.iter().zip(&gathered).map(|(list, files)| Source { diff_id: list.id(), bytes: files }));
    let bar = Mutex::new(progress);
    let progress = |done: Bytes| {
        if let Ok(mut bar) = bar.try_lock() {
            bar.set("encoding", done.0, target.file.len().0, "");
        }
        ControlFlow::Continue(())
    };
    let out = &args.out;
    let unwritable = |error: io::Error| Failure::file("write", out, &error);
    // The header is known last, and stands first.
    let mut payloads = spool(out);
    let header = lighter_patch::encode_to(&target.source(), &sources, &settings, &progress, &mut |payload| {
        payloads.write_all(&payload)
    });
    let header = header.map_err(|error| match error {
        EncodeError::Output(error) => unwritable(error),
        error => encode_failure(&error),
    })?;
    payloads.rewind().map_err(unwritable)?;
    write_whole(out, |file| {
        file.write_all(&header.encode()).and_then(|()| io::copy(&mut payloads, file)).map(drop).map_err(unwritable)
    })?;
    let created = Created {
        patch: header.id().to_string(),
        target: target.diff_id.to_string(),
        target_bytes: target.file.len().0,
        bases: header.bases().iter().map(|base| base.diff_id.to_string()).collect(),
        patch_bytes: header.patch_bytes().0,
        effort: effort.map_or("vcdiff", name_of),
        predicted_bytes: predicted,
        took_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    };
    output.value(&created, |created| {
        let share = 100.0 * created.patch_bytes as f64 / created.target_bytes.max(1) as f64;
        format!(
            "{}\n{} for {} of target ({share:.2} %), {}",
            created.patch,
            Bytes(created.patch_bytes),
            Bytes(created.target_bytes),
            duration(created.took_ms)
        )
    })
}

/// The link for which `--effort auto` chooses the effort.
struct Link {
    rate: BytesPerSecond,
    receivers: u64,
}

/// The link, if the command is to choose the effort.
fn link(args: &PatchCreate) -> Result<Option<Link>, Failure> {
    let Some(rate) = &args.rate else { return Ok(None) };
    if args.effort != PatchEffort::Auto {
        return Err(
            Failure::new(Kind::Usage, "--rate says nothing without --effort auto").hint("leave out one of them")
        );
    }
    // On a link without a limit, only making and applying take time.
    let rate = rate.0.unwrap_or(BytesPerSecond(u64::MAX));
    Ok(Some(Link { rate, receivers: args.receivers.unwrap_or(1) }))
}

impl Link {
    /// The effort for the first of these layers out of the others, and the bytes of the patch at the default effort.
    fn choose(&self, layers: &[TarScan]) -> (Effort, Bytes) {
        let Some((target, bases)) = layers.split_first() else { return (Effort::Default, Bytes::ZERO) };
        let content = if bases.is_empty() { Content::Layer } else { Content::Update };
        let bases: Vec<_> = bases.iter().map(|base| (&base.card, Some(&base.sketch))).collect();
        let bytes = predict(&target.card, Some(&target.sketch), &bases).bytes;
        let alone = Undertaking::alone(bytes, content, target.card.tar_bytes, self.rate);
        let undertaking = Undertaking { copies: self.receivers, ..alone };
        (undertaking.best(content.efforts(), Pace::default()), bytes)
    }
}

fn always(effort: PatchEffort) -> Effort {
    match effort {
        PatchEffort::Fast => Effort::Fast,
        // The grammar refuses `auto` without a rate.
        PatchEffort::Auto | PatchEffort::Default => Effort::Default,
        PatchEffort::Max => Effort::Max,
    }
}

fn name_of(effort: Effort) -> &'static str {
    match effort {
        Effort::Plain => "plain",
        Effort::Fast => "fast",
        Effort::Default => "default",
        Effort::Max => "max",
    }
}

/// The target and the bases.
fn paths(args: &PatchCreate) -> Vec<&Path> {
    std::iter::once(args.target.as_path()).chain(args.base.iter().map(PathBuf::as_path)).collect()
}

fn open_all(args: &PatchCreate) -> Result<Vec<Layer>, Failure> {
    Layer::open_all(&paths(args))
}

/// Opens all of them, and scans each for its card and its sketch.
fn scan_all(args: &PatchCreate, progress: &mut Progress) -> Result<(Vec<Layer>, Vec<TarScan>), Failure> {
    let scanned: Result<Vec<_>, Failure> = paths(args).into_iter().map(|path| scan(path, progress)).collect();
    Ok(scanned?.into_iter().unzip())
}

fn scan(path: &Path, progress: &mut Progress) -> Result<(Layer, TarScan), Failure> {
    let opened = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
    let (whole, mut file) = opened.map_err(|error| Failure::file("read", path, &error))?;
    let scan = scan_tar(&path.display().to_string(), &mut file, None, &mut Hashed::new(sink()), &mut |seen| {
        progress.set("reading", seen.tar_bytes.0, whole, "");
    });
    let scan = scan.map_err(|error| Failure::from_error(Kind::Machine, &error))?;
    let file = FileBase::new(file).map_err(|error| Failure::file("read", path, &error))?;
    Ok((Layer { diff_id: scan.card.diff_id, file }, scan))
}
