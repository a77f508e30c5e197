//! `lighter sim measure`: the cost of releases as patches of each other, measured with `lighter patch` of this program.
//!
//! Reads the images one after the other, in the order of their release. For each layer that is new it predicts the best
//! base of each earlier release, makes a patch from it in a child process, and applies the patch, whose result `patch
//! apply` checks. The way back to earlier releases is predicted only. The result is the `trace` of a scenario.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use lighter_engine::{Content, Undertaking};
use lighter_image::{Hashed, Limits, OpenedImage, Selector, open_image};
use lighter_node::images::{AnyFiles, open_files};
use lighter_patch::Header;
use lighter_sim::{Image, Layer, Patch, Size, Span, Trace};
use lighter_similarity::{Sketch, predict};
use lighter_types::{BytesPerSecond, Card, DiffId, Effort, ImageReference, Pace};
use tempfile::TempDir;

use crate::commands::bench::process::measure;
use crate::exit::{Failure, Kind};
use crate::interrupt::Interrupt;
use crate::output::{Output, print, short};
use crate::progress::duration;

/// The result of `sim measure --out`.
#[derive(serde::Serialize)]
struct Measured {
    out: String,
    patches: usize,
}

pub fn run(images: &[PathBuf], out: Option<&Path>, output: &Output) -> Result<(), Failure> {
    let folder = tempfile::Builder::new().prefix("lighter-measure-").tempdir();
    let folder = folder.map_err(|error| Failure::file("make a folder in", &std::env::temp_dir(), &error))?;
    let mut measuring = Measuring { folder, layers: BTreeMap::new(), trace: Trace::default(), output };
    let interrupt = Interrupt::watch()?;
    let mut releases: Vec<Vec<DiffId>> = Vec::new();
    for path in images {
        let layers = measuring.read(path, releases.len(), &interrupt)?;
        let new: Vec<DiffId> =
            layers.iter().copied().filter(|layer| !releases.iter().any(|before| before.contains(layer))).collect();
        for target in new {
            measuring.patches(target, &releases, &interrupt)?;
        }
        releases.push(layers);
    }
    measuring.predict_ways_back(&releases);
    let text =
        serde_json::to_string_pretty(&measuring.trace).map_err(|error| Failure::from_error(Kind::Other, &error))?;
    match out {
        None => print(&text),
        Some(path) => {
            std::fs::write(path, text + "\n").map_err(|error| Failure::file("write", path, &error))?;
            let measured = Measured { out: path.display().to_string(), patches: measuring.trace.patches.len() };
            let note = format!("{}: {} patches; a scenario names it as its `trace`", measured.out, measured.patches);
            output.done(&measured, note)
        }
    }
}

/// A layer as a file.
struct Read {
    path: PathBuf,
    card: Card,
    sketch: Sketch,
    /// How long reading took with all digests: a node that applies a patch does no less.
    took: Duration,
}

struct Measuring<'a> {
    folder: TempDir,
    layers: BTreeMap<DiffId, Read>,
    trace: Trace,
    output: &'a Output,
}

impl Measuring<'_> {
    /// Reads an image and the layers that are not known yet.
    fn read(&mut self, path: &Path, index: usize, interrupt: &Interrupt) -> Result<Vec<DiffId>, Failure> {
        let failed = |error: &dyn std::error::Error| Failure::from_error(Kind::BadData, error);
        std::fs::metadata(path).map_err(|error| Failure::file("read", path, &error))?;
        let files = open_files(path).map_err(|error| failed(&error))?;
        let mut opened = open_image(files, &Selector::default(), Limits::default()).map_err(|error| failed(&error))?;
        let named = opened.image().ref_name.as_ref().and_then(|name| name.parse::<ImageReference>().ok());
        let name = named.map_or_else(|| format!("measured/image:{}", index + 1), |name| name.to_string());
        let layers: Vec<DiffId> = opened.image().layers.iter().map(|layer| layer.diff_id).collect();
        self.output.say(format!("{}: {name}, {} layers", path.display(), layers.len()));
        for (index, &layer) in layers.iter().enumerate() {
            interrupt.check()?;
            if !self.layers.contains_key(&layer) {
                let read = self.read_layer(&mut opened, index, layer)?;
                self.layers.insert(layer, read);
            }
        }
        let image = opened.image();
        let documents = [image.manifest_bytes.len() as u64, image.config_bytes.len() as u64];
        let layer_names = layers.iter().map(DiffId::to_string).collect();
        self.trace.images.push(Image { name, layers: layer_names, documents });
        Ok(layers)
    }

    fn read_layer(&mut self, opened: &mut OpenedImage<AnyFiles>, index: usize, layer: DiffId) -> Result<Read, Failure> {
        let path = self.folder.path().join(format!("layer{}", self.layers.len()));
        let file = File::create(&path).map_err(|error| Failure::file("write", &path, &error))?;
        let started = Instant::now();
        let scanned = opened.scan_layer(index, &mut Hashed::new(BufWriter::new(file)), &mut |_| {});
        let scan = scanned.map_err(|error| Failure::from_error(Kind::BadData, &error))?;
        let card = scan.card;
        let (tar, gzip) = (Size(card.tar_bytes.0), Size(card.compressed_bytes.0.max(1)));
        let name = layer.to_string();
        self.trace.layers.push(Layer { family: name.clone(), name, tar, gzip });
        Ok(Read { path, card, sketch: scan.sketch, took: started.elapsed() })
    }

    /// Measures the patches of a layer, one from the best base of each earlier release.
    fn patches(&mut self, target: DiffId, releases: &[Vec<DiffId>], interrupt: &Interrupt) -> Result<(), Failure> {
        let mut bases: Vec<DiffId> = Vec::new();
        for release in releases {
            let predicted = |base: &DiffId| {
                let (target, base) = (&self.layers[&target], &self.layers[base]);
                predict(&target.card, Some(&target.sketch), &[(&base.card, Some(&base.sketch))]).bytes
            };
            if let Some(&best) = release.iter().filter(|&&base| base != target).min_by_key(|base| predicted(base))
                && predicted(&best) < self.layers[&target].card.compressed_bytes
                && !bases.contains(&best)
            {
                bases.push(best);
            }
        }
        for base in bases {
            let patch = self.patch(target, base, interrupt)?;
            let family = |trace: &Trace, name: &str| {
                trace.layers.iter().find(|layer| layer.name == name).map(|layer| layer.family.clone())
            };
            // If the base saves more than half, target and base are releases of one another.
            if let Some(of_base) = family(&self.trace, &patch.base)
                && patch.bytes.0 * 2 < self.layers[&target].card.compressed_bytes.0
                && let Some(layer) = self.trace.layers.iter_mut().find(|layer| layer.name == patch.target)
            {
                layer.family = of_base;
            }
            self.trace.patches.push(patch);
        }
        Ok(())
    }

    /// Predicts the patches back to an earlier release. Fleets rarely go back, so these are not measured.
    fn predict_ways_back(&mut self, releases: &[Vec<DiffId>]) {
        let known = |trace: &Trace, target: &DiffId, base: &DiffId| {
            let [target, base] = [target.to_string(), base.to_string()];
            trace.patches.iter().any(|patch| patch.target == target && patch.base == base)
        };
        let later = |index: usize| releases[index + 1..].iter().flatten();
        for (target, base) in releases
            .iter()
            .enumerate()
            .flat_map(|(index, old)| old.iter().flat_map(move |target| later(index).map(move |base| (target, base))))
        {
            let (of, from) = (&self.layers[target], &self.layers[base]);
            let bytes = predict(&of.card, Some(&of.sketch), &[(&from.card, Some(&from.sketch))]).bytes;
            if target == base || bytes >= of.card.compressed_bytes || known(&self.trace, target, base) {
                continue;
            }
            let undertaking = Undertaking::alone(bytes, Content::Update, of.card.tar_bytes, BytesPerSecond(u64::MAX));
            let span = |time: Duration| Span { millis: time.as_millis() as u64 };
            let encode = span(undertaking.encoding(Effort::Default, Pace::default()));
            let apply = span(undertaking.applying(Effort::Default).max(of.took));
            let [target, base] = [target, base].map(DiffId::to_string);
            let bytes = Size(bytes.0);
            self.trace.patches.push(Patch {
                target,
                base,
                bytes,
                encode,
                apply,
                chunks: None,
                frames: Vec::new(),
                predicted: true,
            });
        }
    }

    fn patch(&self, target: DiffId, base: DiffId, interrupt: &Interrupt) -> Result<Patch, Failure> {
        let (from, to) = (&self.layers[&base], &self.layers[&target]);
        let file = |name: &str| self.folder.path().join(name);
        let (patch, rebuilt, errors) = (file("patch"), file("rebuilt"), file("errors"));
        let program = std::env::current_exe().map_err(|error| Failure::from_error(Kind::Machine, &error))?;
        let run = |arguments: &[(&str, &Path)]| {
            let mut command = Command::new(&program);
            command.env_remove("LIGHTER_OUTPUT").args(["--quiet", "patch"]);
            for (name, path) in arguments {
                command.args(name.split(' ')).arg(path);
            }
            let cost = measure(&mut command, &errors, interrupt)?;
            cost.map(|cost| Duration::from_secs_f64(cost.seconds)).map_err(|why| Failure::new(Kind::BadData, why))
        };
        for old in [&patch, &rebuilt] {
            // The patch before this one usually left them. The first has none.
            let _ = std::fs::remove_file(old);
        }
        let encode = run(&[("create --effort default --target", &to.path), ("--base", &from.path), ("--out", &patch)])?;
        let apply = run(&[("apply --patch", &patch), ("--base", &from.path), ("--out", &rebuilt)])?.max(to.took);
        let mut made = File::open(&patch).map_err(|error| Failure::file("read", &patch, &error))?;
        let header = Header::read_from(&mut made).map_err(|error| Failure::from_error(Kind::Other, &error))?;
        let frames = header.frames().iter().map(|frame| [frame.payload_bytes, frame.target_bytes].map(u64::from));
        let frames = frames.collect();
        let bytes = header.patch_bytes().0;
        let (ids, millis) = ([target.to_string(), base.to_string()], |time: Duration| time.as_millis() as u64);
        self.output.say(format!(
            "{} from {}: {} of {}, {} to make",
            short(&ids[0]),
            short(&ids[1]),
            lighter_types::Bytes(bytes),
            to.card.tar_bytes,
            duration(millis(encode))
        ));
        let [target, base] = ids;
        let span = |time| Span { millis: millis(time) };
        Ok(Patch {
            target,
            base,
            bytes: Size(bytes),
            encode: span(encode),
            apply: span(apply),
            chunks: None,
            frames,
            predicted: false,
        })
    }
}
