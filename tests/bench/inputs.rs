//! Real layers to measure with: the corpus if it exists, else the repository's fixture.
//!
//! The fixture has two releases of nginx as OCI layouts, and is always unpacked. The corpus has tars of more layers,
//! possibly packed with a script that unpacks them. Benchmarks of whole images compress tars of the corpus to gzip
//! layers, once for each run of the program.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::process;

/// The layers to measure with.
pub struct Inputs {
    layers: PathBuf,
    corpus: Option<PathBuf>,
    /// OCI layouts of the old and the new nginx release, from the fixture.
    pub nginx: [PathBuf; 2],
    work: PathBuf,
}

/// An old and a new release of a layer.
pub struct Pair {
    pub name: &'static str,
    pub old: PathBuf,
    pub new: PathBuf,
}

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/nginx.tar.zst");
const SHARED_CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/corpus");
/// The layers of the corpus that the benchmarks use.
const LAYERS: [&str; 6] = ["nginx-r1", "nginx-r2", "debian12-r1", "debian12-r2", "python-r1", "python-r2"];

/// The layers of which the corpus has two releases.
const NAMES: [&str; 13] = [
    "nginx",
    "debian12",
    "python",
    "django",
    "typescript",
    "ruff",
    "ruffarm",
    "onnx",
    "onnxarm",
    "duckdb",
    "esbuild",
    "esbuildarm",
    "lefthook",
];

impl Inputs {
    pub fn find(corpus: Option<PathBuf>, work: &Path) -> Result<Self> {
        let nginx = unpack_fixture(work)?;
        let shared = PathBuf::from(SHARED_CORPUS);
        let corpus = corpus.or_else(|| shared.is_dir().then_some(shared));
        let layers = match &corpus {
            Some(corpus) => unpacked(corpus, &LAYERS)?,
            None => work.join("layers"),
        };
        if corpus.is_none() {
            std::fs::create_dir(&layers)?;
            for (layout, name) in nginx.iter().zip(&LAYERS) {
                std::fs::hard_link(largest_blob(layout)?, layers.join(format!("{name}.tar")))?;
            }
        }
        Ok(Self { layers, corpus, nginx, work: work.to_owned() })
    }

    pub fn describe(&self) -> String {
        if self.corpus.is_some() { format!("corpus in {}", self.layers.display()) } else { "fixture alone".to_owned() }
    }

    pub fn pairs(&self) -> Vec<Pair> {
        let names = if self.corpus.is_some() { &["nginx", "debian12"][..] } else { &["nginx"] };
        let pair = |name| Pair {
            name,
            old: self.layers.join(format!("{name}-r1.tar")),
            new: self.layers.join(format!("{name}-r2.tar")),
        };
        names.iter().copied().map(pair).collect()
    }

    /// The old release of every layer that there is.
    pub fn olds(&self) -> Result<Vec<PathBuf>> {
        let releases = NAMES.iter().map(|name| self.releases(name)).collect::<Result<Vec<_>>>()?;
        Ok(releases.into_iter().flatten().map(|[old, _]| old).collect())
    }

    /// Two releases of a layer of the corpus, the older first. Unpacks them on the first call. `None` for a layer that
    /// is not there.
    pub fn releases(&self, layer: &str) -> Result<Option<[PathBuf; 2]>> {
        let names = ["r1", "r2"].map(|release| format!("{layer}-{release}"));
        if let Some(corpus) = self.corpus.as_ref().filter(|corpus| corpus.join("unpack").is_file()) {
            unpacked(corpus, &names.each_ref().map(String::as_str))?;
        }
        let tars = names.map(|name| self.layers.join(format!("{name}.tar")));
        Ok(tars.iter().all(|tar| tar.is_file()).then_some(tars))
    }

    /// The whole nginx image with its base layer, as gzip layouts: the old and the new release. `None` without the
    /// corpus.
    pub fn whole_nginx(&self) -> Result<Option<[PathBuf; 2]>> {
        if self.corpus.is_none() {
            return Ok(None);
        }
        let release = |name: &str| {
            let layers = ["debian12", "nginx"].map(|layer| self.layers.join(format!("{layer}-{name}.tar")));
            self.layout(&format!("whole-{name}"), &layers)
        };
        Ok(Some([release("r1")?, release("r2")?]))
    }

    /// A Python release and the next one, as gzip layouts. Their patch has more than a MiB. `None` without the corpus.
    pub fn python(&self) -> Result<Option<[PathBuf; 2]>> {
        if self.corpus.is_none() {
            return Ok(None);
        }
        let release = |name: &str| self.layout(name, &[self.layers.join(format!("{name}.tar"))]);
        Ok(Some([release("python-r1")?, release("python-r2")?]))
    }

    /// An OCI layout of gzip layers of level 6, which docker and buildkit use. Makes it on the first call.
    pub fn layout(&self, name: &str, tars: &[PathBuf]) -> Result<PathBuf> {
        let layout = self.work.join("layouts").join(name);
        if !layout.is_dir() {
            eprintln!("bench: compressing the layers of {name}");
            write_layout(&layout, tars).with_context(|| format!("cannot make {}", layout.display()))?;
        }
        Ok(layout)
    }

    /// An OCI layout of a tar as it is.
    pub fn plain_layout(&self, name: &str, tar: &Path) -> Result<PathBuf> {
        let layout = self.work.join("layouts").join(name);
        let blobs = layout.join("blobs/sha256");
        std::fs::create_dir_all(&blobs)?;
        let (bytes, digest) = hash(tar)?;
        std::fs::hard_link(tar, blobs.join(digest.trim_start_matches("sha256:")))?;
        let media_type = "application/vnd.oci.image.layer.v1.tar";
        let layer = json!({ "mediaType": media_type, "digest": digest, "size": bytes });
        write_documents(&layout, &blobs, vec![layer], vec![digest])?;
        Ok(layout)
    }
}

/// The layer's blob in a layout with one layer.
pub fn largest_blob(layout: &Path) -> Result<PathBuf> {
    let mut largest = (0, PathBuf::new());
    for entry in std::fs::read_dir(layout.join("blobs/sha256"))? {
        let entry = entry?;
        largest = largest.max((entry.metadata()?.len(), entry.path()));
    }
    Ok(largest.1)
}

fn unpack_fixture(work: &Path) -> Result<[PathBuf; 2]> {
    let file = File::open(FIXTURE).with_context(|| format!("cannot open {FIXTURE}"))?;
    let mut decoder = zstd::stream::read::Decoder::new(file)?;
    decoder.window_log_max(27)?;
    let mut tar = Command::new("tar").args(["-x", "-C"]).arg(work).stdin(Stdio::piped()).spawn().context("tar")?;
    let mut pipe = tar.stdin.take().context("tar takes no input")?;
    io::copy(&mut decoder, &mut pipe)?;
    drop(pipe);
    ensure!(tar.wait()?.success(), "tar could not unpack {FIXTURE}");
    Ok(["nginx-1.22.1-9", "nginx-1.22.1-11"].map(|name| work.join(name)))
}

/// The folder with these tars of the corpus: the corpus itself, or the folder where its script unpacks them.
fn unpacked(corpus: &Path, layers: &[&str]) -> Result<PathBuf> {
    let script = corpus.join("unpack");
    if !script.is_file() {
        let missing: Vec<_> = layers.iter().filter(|name| !corpus.join(format!("{name}.tar")).is_file()).collect();
        ensure!(missing.is_empty(), "{} has no {missing:?}", corpus.display());
        return Ok(corpus.to_owned());
    }
    eprintln!("bench: unpacking the corpus");
    let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
    let cache = std::env::var_os("CORPUS_DIR").map_or_else(|| home.join(".cache/lighter/corpus"), PathBuf::from);
    process::output(Command::new(&script).arg(&cache).args(layers))?;
    Ok(cache)
}

fn write_layout(layout: &Path, tars: &[PathBuf]) -> Result<()> {
    let blobs = layout.join("blobs/sha256");
    std::fs::create_dir_all(&blobs)?;
    let (mut layers, mut diff_ids) = (Vec::new(), Vec::new());
    for tar in tars {
        let (layer, diff_id) = write_layer(&blobs, tar)?;
        layers.push(layer);
        diff_ids.push(diff_id);
    }
    write_documents(layout, &blobs, layers, diff_ids)
}

fn write_documents(layout: &Path, blobs: &Path, layers: Vec<Value>, diff_ids: Vec<String>) -> Result<()> {
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let rootfs = json!({ "type": "layers", "diff_ids": diff_ids });
    let config = json!({ "architecture": architecture, "os": "linux", "config": {}, "rootfs": rootfs });
    let config = write_document(blobs, "application/vnd.oci.image.config.v1+json", &config)?;
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({ "schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers });
    let manifest = write_document(blobs, media_type, &manifest)?;
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    std::fs::write(layout.join("index.json"), index.to_string())?;
    Ok(std::fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?)
}

/// Compresses a tar into a blob. Returns its descriptor and DiffId. GNU gzip makes it where that is there: unlike the
/// blobs of the encoder in this program, its blobs have recipes.
fn write_layer(blobs: &Path, tar: &Path) -> Result<(Value, String)> {
    let unnamed = blobs.join("unnamed");
    if process::is_there("gzip") {
        let script = r#"gzip -6nc < "$0" > "$1""#;
        process::output(Command::new("sh").args(["-c", script]).arg(tar).arg(&unnamed))?;
    } else {
        let mut encoder = GzEncoder::new(File::create(&unnamed)?, Compression::new(6));
        io::copy(&mut File::open(tar)?, &mut encoder)?;
        encoder.finish()?;
    }
    let (bytes, digest) = hash(&unnamed)?;
    std::fs::rename(unnamed, blobs.join(digest.trim_start_matches("sha256:")))?;
    let media_type = "application/vnd.oci.image.layer.v1.tar+gzip";
    Ok((json!({ "mediaType": media_type, "digest": digest, "size": bytes }), hash(tar)?.1))
}

/// The length and the digest of a file.
fn hash(path: &Path) -> Result<(u64, String)> {
    let mut hashing = Hashing::new(io::sink());
    let bytes = io::copy(&mut File::open(path)?, &mut hashing)?;
    Ok((bytes, hashing.digest()))
}

fn write_document(blobs: &Path, media_type: &str, document: &Value) -> Result<Value> {
    let bytes = document.to_string().into_bytes();
    let mut hashing = Hashing::new(io::sink());
    hashing.write_all(&bytes)?;
    let digest = hashing.digest();
    std::fs::write(blobs.join(digest.trim_start_matches("sha256:")), &bytes)?;
    Ok(json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() }))
}

/// A writer that hashes the bytes.
struct Hashing<W> {
    inner: W,
    hasher: Sha256,
}

impl<W> Hashing<W> {
    fn new(inner: W) -> Self {
        Self { inner, hasher: Sha256::new() }
    }

    fn digest(self) -> String {
        let hex: String = self.hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{hex}")
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(buf)?;
        self.hasher.update(&buf[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
