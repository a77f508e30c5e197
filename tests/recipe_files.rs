//! The command `lighter recipe` on plain files, without a node.
//!
//! The tests run the binary as a user does. Blobs come from the engines of the room `recipe`, whose own tests hold
//! them to the bytes of the real tools. A recipe must rebuild its blob; what has no recipe, does not fit or cannot be
//! written must be refused with the right exit code and leave no output behind.

use std::fs;
use std::io::Write;
use std::num::NonZeroU32;
use std::process::Command;

use lighter_recipe::{Class, Encoder, Start};

use crate::support::{folder, images, run};

/// A folder with a tar and a blob of it.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new(tar: &[u8], blob: &[u8]) -> Self {
        let bench = Self(folder());
        bench.put("tar", tar);
        bench.put("blob", blob);
        bench
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn put(&self, name: &str, bytes: &[u8]) -> String {
        fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    fn get(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    fn has(&self, name: &str) -> bool {
        fs::exists(self.path(name)).unwrap() || fs::exists(self.path(&format!("{name}.partial"))).unwrap()
    }

    /// Runs `recipe find` on the blob. Writes the file `recipe`.
    fn find(&self, more: &[&str]) -> crate::support::Run {
        let (blob, out) = (self.path("blob"), self.path("recipe"));
        let all = [&["-o", "json", "recipe", "find", "--blob", &blob, "--out", &out], more].concat();
        run(&all)
    }

    /// Runs `recipe rebuild` with the tar. Writes the file `out`.
    fn rebuild(&self, out: &str) -> crate::support::Run {
        let (recipe, tar, out) = (self.path("recipe"), self.path("tar"), self.path(out));
        run(&["recipe", "rebuild", "--recipe", &recipe, "--tar", &tar, "--out", &out])
    }
}

const GO: Encoder = Encoder::new(Class::GoFlate1, 6);

/// The stream of an encoder: a frame of zstd, or the compressed data of gzip.
fn stream(encoder: Encoder, tar: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    let mut engine = encoder.open(&Start::BEGINNING).unwrap();
    engine.write(tar, &mut stream);
    engine.finish(&mut stream);
    stream
}

/// A gzip file as an encoder makes it.
fn blob(encoder: Encoder, tar: &[u8]) -> Vec<u8> {
    let mut blob = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    blob.extend(stream(encoder, tar));
    let mut crc = flate2::Crc::new();
    crc.update(tar);
    blob.extend([crc.sum(), crc.amount()].map(u32::to_le_bytes).concat());
    blob
}

fn tar() -> Vec<u8> {
    images::two_releases(5, 6 << 20).0
}

/// A blob of another encoder: zlib-rs.
fn foreign(tar: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
    encoder.write_all(tar).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_recipe_rebuilds_its_blob() {
    let tar = tar();
    let block_bytes = NonZeroU32::new(1 << 20);
    let encoders = [
        GO,
        Encoder { block_bytes, ..Encoder::new(Class::KpFlate2, 5) },
        Encoder::new(Class::Zlib1, 6),
        Encoder { block_bytes: NonZeroU32::new(128 << 10), ..Encoder::new(Class::Pigz1, 9) },
    ];
    for encoder in encoders {
        let blob = blob(encoder, &tar);
        let bench = Bench::new(&tar, &blob);
        let made = bench.find(&[]).ok().json();
        assert_eq!(made["form"], "encoded");
        assert_eq!((&made["class"], &made["level"]), (&encoder.class.name().into(), &encoder.level.into()));
        assert_eq!(made["block_bytes"].as_u64(), encoder.block_bytes.map(|bytes| u64::from(bytes.get())));
        assert_eq!((&made["members"], &made["blob"]), (&1.into(), &images::sha256(&blob).into()));
        assert_eq!(made["recipe_bytes"], bench.get("recipe").len());
        assert!(bench.get("recipe").len() < 512);
        let shown = run(&["-o", "json", "recipe", "show", &bench.path("recipe")]).ok().json();
        for field in ["recipe", "blob", "blob_bytes", "tar_bytes", "class", "checkpoints"] {
            assert_eq!(shown[field], made[field], "{field}");
        }
        let text = run(&["recipe", "show", &bench.path("recipe")]).ok().stdout;
        assert!(text.contains(encoder.class.name()) && text.contains("checkpoints  1"), "{text}");
        bench.rebuild("out").ok();
        assert!(bench.get("out") == blob);
    }
}

#[test]
fn a_recipe_of_zstd_rebuilds_its_blob() {
    let tar = tar();
    let encoder = Encoder { first_write: NonZeroU32::new(8), ..Encoder::new(Class::KpZstd1, 2) };
    let blob = stream(encoder, &tar);
    let bench = Bench::new(&tar, &blob);
    let made = bench.find(&[]).ok().json();
    assert_eq!((&made["class"], &made["level"]), (&"kpzstd-1".into(), &2.into()));
    assert_eq!((&made["first_write"], &made["checkpoints"]), (&8.into(), &0.into()));
    let text = run(&["recipe", "show", &bench.path("recipe")]).ok().stdout;
    assert!(text.contains("kpzstd-1 at level 2, a first write of 8 bytes"), "{text}");
    bench.rebuild("out").ok();
    assert!(bench.get("out") == blob);
}

/// The blob that a tool writes to its standard output. `None` if the tool is not here.
fn by_tool(tool: &str, args: &[&str]) -> Option<Vec<u8>> {
    match Command::new(tool).args(args).output() {
        Ok(output) => {
            assert!(output.status.success(), "{tool} {args:?}: {output:?}");
            Some(output.stdout)
        }
        Err(error) => {
            eprintln!("{tool} is not checked: {error}");
            None
        }
    }
}

/// The blob that skopeo makes of the tar with zstd, at its default level.
fn by_skopeo(bench: &Bench, tar: &[u8]) -> Option<Vec<u8>> {
    let (plain, zstd) = (bench.path("plain"), bench.path("zstd"));
    images::layout_of(&[(tar.to_vec(), images::Media::Plain)]).write_to(plain.as_ref());
    let (from, to) = (format!("oci:{plain}"), format!("dir:{zstd}"));
    let compress = ["--dest-compress", "--dest-compress-format", "zstd"];
    by_tool("skopeo", &[&["--insecure-policy", "copy", "--quiet"][..], &compress, &[&from, &to]].concat())?;
    let manifest: serde_json::Value = serde_json::from_slice(&bench.get("zstd/manifest.json")).unwrap();
    let digest = manifest["layers"][0]["digest"].as_str().unwrap();
    Some(bench.get(&format!("zstd/{}", digest.trim_start_matches("sha256:"))))
}

const PYTHON: &str =
    "import gzip, sys; sys.stdout.buffer.write(gzip.compress(open(sys.argv[1], 'rb').read(), int(sys.argv[2])))";

#[test]
fn blobs_of_real_tools_have_recipes() {
    let tar = tar();
    let bench = Bench::new(&tar, &[]);
    let path = bench.path("tar");
    let mut blobs = vec![("kpzstd", by_skopeo(&bench, &tar))];
    for level in ["1", "6", "9"] {
        blobs.push(("gnugzip-1", by_tool("gzip", &["-c", &format!("-{level}"), &path])));
        blobs.push(("zlib-1", by_tool("python3", &["-c", PYTHON, &path, level])));
        blobs.push(("pigz-1", by_tool("pigz", &["-c", "-p2", &format!("-{level}"), &path])));
    }
    for (class, blob) in blobs.into_iter().filter_map(|(class, blob)| Some((class, blob?))) {
        bench.put("blob", &blob);
        let made = bench.find(&[]).ok().json();
        assert!(made["class"].as_str().unwrap().starts_with(class), "{class}: {made}");
        bench.rebuild("out").ok();
        assert!(bench.get("out") == blob, "{class}");
    }
}

#[test]
fn a_blob_of_an_unknown_encoder_is_refused_or_kept() {
    let tar = tar();
    let blob = foreign(&tar, 7);
    let bench = Bench::new(&tar, &blob);
    let words = ["no known encoder", "the nearest is", "first differs at byte", "--verbatim"];
    bench.find(&[]).fails(3, &words);
    assert!(!bench.has("recipe"));
    let made = bench.find(&["--allow-corrections"]).ok().json();
    assert_eq!((&made["form"], &made["class"]), (&"corrected".into(), &serde_json::Value::Null));
    assert!(bench.get("recipe").len() < blob.len() / 50);
    bench.rebuild("out").ok();
    assert!(bench.get("out") == blob);
    let made = bench.find(&["--verbatim"]).ok().json();
    assert_eq!(made["form"], "verbatim");
    assert!(bench.get("recipe").len() > blob.len());
    bench.rebuild("out").ok();
    assert!(bench.get("out") == blob);
    // Nothing to correct: no gzip.
    let bench = Bench::new(&tar, &tar);
    bench.find(&["--allow-corrections"]).fails(3, &["is neither gzip nor zstd"]);
    bench.find(&["--allow-corrections", "--verbatim"]).ok();
    bench.rebuild("out").ok();
    assert!(bench.get("out") == tar);
}

#[test]
fn damaged_blobs_recipes_and_tars_are_refused() {
    let tar = tar();
    let blob = blob(GO, &tar);
    let bench = Bench::new(&tar, &blob);
    bench.find(&[]).ok();
    let recipe = bench.get("recipe");
    bench.put("recipe", &recipe[..100]);
    bench.rebuild("out").fails(3, &["ends too soon", "get the recipe again"]);
    bench.put("recipe", b"LTRRCP99 and more, as long as a recipe: 0123456789012345678901234567890");
    bench.rebuild("out").fails(3, &["recipe version \"99\"", "update this one"]);
    bench.put("recipe", &[&recipe[..], b"x"].concat());
    bench.rebuild("out").fails(3, &["behind its head"]);
    bench.put("recipe", &recipe);
    let mut other = tar.clone();
    other[4_000_000] ^= 1;
    bench.put("tar", &other);
    bench.rebuild("out").fails(3, &["DiffId"]);
    bench.put("tar", &tar[1..]);
    bench.rebuild("out").fails(3, &["the recipe is for one of"]);
    assert!(!bench.has("out"));
    fs::remove_file(bench.path("tar")).unwrap();
    bench.rebuild("out").fails(4, &["tar"]);
    bench.put("blob", &blob[..blob.len() / 2]);
    bench.find(&[]).fails(3, &["the blob ends within the member at byte 10"]);
}

#[test]
fn an_output_is_no_input_and_a_pipe_stays_a_pipe() {
    let tar = tar();
    let blob = blob(Encoder { level: 1, ..GO }, &tar);
    let bench = Bench::new(&tar, &blob);
    let input = bench.path("blob");
    run(&["recipe", "find", "--blob", &input, "--out", &input]).fails(2, &["is an input"]);
    bench.find(&[]).ok();
    bench.rebuild("tar").fails(2, &["is an input"]);
    bench.rebuild("recipe").fails(2, &["is an input"]);
    assert!(bench.get("tar") == tar && bench.get("blob") == blob);
    let pipe = bench.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let reader = {
        let pipe = pipe.clone();
        std::thread::spawn(move || fs::read(pipe).unwrap())
    };
    bench.rebuild("pipe").ok();
    assert!(reader.join().unwrap() == blob);
    // An input has to be read by position.
    run(&["recipe", "show", "/dev/null"]).fails(2, &["no plain file"]);
    std::os::unix::fs::symlink("named", bench.path("link")).unwrap();
    bench.rebuild("link").ok();
    assert!(fs::symlink_metadata(bench.path("link")).unwrap().is_symlink() && bench.get("named") == blob);
}
