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
use lighter_types::{Bytes, BytesPerSecond, Card, DiffId, Effort, ImageReference, Pace};
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
        std::fs::metadata(path).map_err(|error| Failure::file("read", path, &error))?;
        let files = open_files(path).map_err(|error| Failure::from_error(Kind::BadData, &error))?;
        let opened = open_image(files, &Selector::default(), Limits::default());
        let mut opened = opened.map_err(|error| Failure::from_error(Kind::BadData, &error))?;
        let named = opened.image().names.iter().find_map(|name| name.parse::<ImageReference>().ok());
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
        let family = name.clone();
        self.trace.layers.push(Layer { family, name, tar, gzip, encode: None, apply: None, rebuild: None });
        Ok(Read { path, card, sketch: scan.sketch, took: started.elapsed() })
    }

    /// Measures the patches of a layer, one from the best base of each earlier release.
    fn patches(&mut self, target: DiffId, releases: &[Vec<DiffId>], interrupt: &Interrupt) -> Result<(), Failure> {
        let mut bases: Vec<DiffId> = Vec::new();
        for release in releases {
            let others = release.iter().copied().filter(|&base| base != target);
            if let Some(best) = others.min_by_key(|&base| self.predicted_bytes(target, base))
                && self.predicted_bytes(target, best) < self.layers[&target].card.compressed_bytes
                && !bases.contains(&best)
            {
                bases.push(best);
            }
        }
        for base in bases {
            let patch = self.patch(target, base, interrupt)?;
            let base_layer = self.trace.layers.iter().find(|layer| layer.name == patch.base);
            // If the base saves more than half, target and base are releases of one another.
            if let Some(of_base) = base_layer.map(|layer| layer.family.clone())
                && patch.bytes.0 * 2 < self.layers[&target].card.compressed_bytes.0
                && let Some(layer) = self.trace.layers.iter_mut().find(|layer| layer.name == patch.target)
            {
                layer.family = of_base;
            }
            self.trace.patches.push(patch);
        }
        Ok(())
    }

    fn predicted_bytes(&self, target: DiffId, base: DiffId) -> Bytes {
        let (target, base) = (&self.layers[&target], &self.layers[&base]);
        predict(&target.card, Some(&target.sketch), &[(&base.card, Some(&base.sketch))]).bytes
    }

    /// Predicts the patches back to an earlier release. Fleets rarely go back, so these are not measured.
    fn predict_ways_back(&mut self, releases: &[Vec<DiffId>]) {
        for (index, old) in releases.iter().enumerate() {
            for &target in old {
                for &base in releases[index + 1..].iter().flatten() {
                    self.predict_way_back(target, base);
                }
            }
        }
    }

    /// Adds the patch, unless it is known or no smaller than the layer.
    fn predict_way_back(&mut self, target: DiffId, base: DiffId) {
        let bytes = self.predicted_bytes(target, base);
        let of = &self.layers[&target];
        if target == base || bytes >= of.card.compressed_bytes || self.has_patch(target, base) {
            return;
        }
        let undertaking = Undertaking::alone(bytes, Content::Update, of.card.tar_bytes, BytesPerSecond(u64::MAX));
        self.trace.patches.push(Patch {
            target: target.to_string(),
            base: base.to_string(),
            bytes: Size(bytes.0),
            encode: span(undertaking.encoding(Effort::Default, Pace::default())),
            apply: span(undertaking.applying(Effort::Default).max(of.took)),
            chunks: None,
            frames: Vec::new(),
            predicted: true,
        });
    }

    fn has_patch(&self, target: DiffId, base: DiffId) -> bool {
        let [target, base] = [target.to_string(), base.to_string()];
        self.trace.patches.iter().any(|patch| patch.target == target && patch.base == base)
    }

    fn patch(&self, target: DiffId, base: DiffId, interrupt: &Interrupt) -> Result<Patch, Failure> {
        let (from, to) = (&self.layers[&base], &self.layers[&target]);
        let [patch, rebuilt, errors] = ["patch", "rebuilt", "errors"].map(|name| self.folder.path().join(name));
        let program = std::env::current_exe().map_err(|error| Failure::from_error(Kind::Machine, &error))?;
        for old in [&patch, &rebuilt] {
            // The patch before this one usually left them. The first has none.
            let _ = std::fs::remove_file(old);
        }
        let creating: [(&str, &Path); 3] =
            [("create --effort default --target", &to.path), ("--base", &from.path), ("--out", &patch)];
        let encode = run_patch(&program, &creating, &errors, interrupt)?;
        let applying: [(&str, &Path); 3] = [("apply --patch", &patch), ("--base", &from.path), ("--out", &rebuilt)];
        let apply = run_patch(&program, &applying, &errors, interrupt)?.max(to.took);
        let mut made = File::open(&patch).map_err(|error| Failure::file("read", &patch, &error))?;
        let header = Header::read_from(&mut made).map_err(|error| Failure::from_error(Kind::Other, &error))?;
        let frames = header.frames().iter().map(|frame| [frame.payload_bytes, frame.target_bytes].map(u64::from));
        let frames = frames.collect();
        let bytes = header.patch_bytes().0;
        let ids = [target.to_string(), base.to_string()];
        let (encode, apply) = (span(encode), span(apply));
        self.output.say(format!(
            "{} from {}: {} of {}, {} to make",
            short(&ids[0]),
            short(&ids[1]),
            Bytes(bytes),
            to.card.tar_bytes,
            duration(encode.millis)
        ));
        let [target, base] = ids;
        Ok(Patch { target, base, bytes: Size(bytes), encode, apply, chunks: None, frames, predicted: false })
    }
}

/// Runs `lighter patch` with options and their files, and tells how long it took.
fn run_patch(
    program: &Path,
    arguments: &[(&str, &Path)],
    errors: &Path,
    interrupt: &Interrupt,
) -> Result<Duration, Failure> {
    let mut command = Command::new(program);
    command.env_remove("LIGHTER_OUTPUT").args(["--quiet", "patch"]);
    for (name, path) in arguments {
        command.args(name.split(' ')).arg(path);
    }
    let cost = measure(&mut command, errors, interrupt)?;
    cost.map(|cost| Duration::from_secs_f64(cost.seconds)).map_err(|why| Failure::new(Kind::BadData, why.to_string()))
}

fn span(time: Duration) -> Span {
    Span { millis: time.as_millis() as u64 }
}
