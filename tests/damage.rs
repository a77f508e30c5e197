//! The damage matrix of imports: kind of damage x place x kind of source. For each damage, the import must name the
//! damage and its place and end with the right exit code. The node must list and keep nothing of the image, and stay
//! well.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::images::{self, ImageFiles, Media};
use crate::support::{Fleet, NodeProcess, Run, run};

mod files;
mod lies;
mod links;
mod tars;

/// A node that imports damaged images, and its holdings before.
struct Victim {
    fleet: Fleet,
    before: Held,
    next: usize,
}

/// The holdings of a node: its lists and its used bytes.
#[derive(Debug, PartialEq)]
struct Held {
    layers: Value,
    images: Value,
    used_bytes: Value,
    blobs: Value,
}

fn held(node: &NodeProcess) -> Held {
    let stats = node.ask(&["store", "stats"]);
    Held {
        layers: node.ask(&["layer", "list"]),
        images: node.ask(&["image", "list"]),
        used_bytes: stats["used_bytes"].clone(),
        blobs: stats["blobs"].clone(),
    }
}

impl Victim {
    /// A node that holds one good image.
    fn new() -> Self {
        Self::with(&[])
    }

    /// As [`Self::new`], with these settings.
    fn with(settings: &[&str]) -> Self {
        let mut fleet = Fleet::create(1);
        settings.iter().for_each(|setting| fleet.nodes[0].set(*setting));
        fleet.start();
        let mut victim = Self { before: held(&fleet.nodes[0]), fleet, next: 0 };
        let good = victim.folder("good");
        images::layout(&[images::tar(&[("good", b"good")])]).write_to(&good);
        victim.import(&good).ok();
        victim.before = held(victim.node());
        victim
    }

    fn node(&self) -> &NodeProcess {
        &self.fleet.nodes[0]
    }

    /// A new path where no file exists.
    fn folder(&mut self, name: &str) -> PathBuf {
        self.next += 1;
        self.fleet.folder.path().join(format!("{}-{name}", self.next))
    }

    fn import(&self, path: &Path) -> Run {
        self.node().cli(&["image", "import", path.to_str().unwrap(), "--name", "demo/app:1"])
    }

    /// Asserts that the import fails with this code and these words, and changes nothing.
    #[track_caller]
    fn refuses(&self, damage: &str, path: &Path, code: i32, words: &[&str]) {
        let ended = self.import(path);
        assert_eq!(ended.code, code, "{damage}: {ended:?}");
        assert!(ended.stdout.is_empty(), "{damage}: {ended:?}");
        // The message must say more than "error: " and an error of the system.
        assert!(ended.stderr.trim().len() > 30, "{damage}: {ended:?}");
        let ended = ended.fails(code, words);
        assert_eq!(held(self.node()), self.before, "{damage}: {ended:?}");
    }

    #[track_caller]
    fn refuses_layout(&mut self, damage: &str, files: &ImageFiles, code: i32, words: &[&str]) {
        let dir = self.folder("layout");
        files.write_to(&dir);
        self.refuses(damage, &dir, code, words);
        fs::remove_dir_all(dir).unwrap();
    }

    #[track_caller]
    fn refuses_archive(&mut self, damage: &str, bytes: &[u8], code: i32, words: &[&str]) {
        let file = self.folder("archive.tar");
        fs::write(&file, bytes).unwrap();
        self.refuses(damage, &file, code, words);
        fs::remove_file(file).unwrap();
    }

    /// Imports the image as a folder and as an archive. Both must fail.
    #[track_caller]
    fn refuses_both(&mut self, damage: &str, files: &ImageFiles, words: &[&str]) {
        self.refuses_layout(damage, files, 3, words);
        self.refuses_archive(damage, &files.to_archive(), 3, words);
    }

    /// Asserts that the node is well and that its store is intact.
    fn finish(mut self) {
        let node = &mut self.fleet.nodes[0];
        assert_eq!(node.http("/healthz").map(|(status, _)| status), Some(200));
        assert_eq!(node.stop(), 0);
        let config = node.config();
        let fsck = run(&["-o", "json", "store", "fsck", "--config", config.to_str().unwrap()]).ok().json();
        assert_eq!(fsck["is_clean"], true, "{fsck}");
        assert_eq!(fsck["layers"], self.before.layers.as_array().unwrap().len());
        for kind in ["partial", "quarantine"] {
            let left = fs::read_dir(node.data_dir.join(kind)).map_or(0, Iterator::count);
            assert_eq!(left, 0, "{kind} is empty");
        }
        node.start();
    }
}

/// An image with one layer, which has some hundred KB of each kind of content.
fn sample(media: Media) -> ImageFiles {
    images::layout_of(&[(images::two_releases(1, 1 << 18).0, media)])
}

fn flipped(bytes: &[u8], place: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[place] ^= 0x10;
    bytes
}
