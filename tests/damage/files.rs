//! Damaged files: truncated, flipped, extended or missing, in layouts and archives.

use std::fs;

use super::{Victim, flipped, held, sample};
use crate::support::images::{self, Media, sha256};

#[test]
fn a_layout_with_a_damaged_file() {
    let mut victim = Victim::new();
    for media in [Media::Plain, Media::Gzip, Media::Zstd] {
        let good = sample(media);
        for (path, bytes) in &good.0 {
            let name = path.rsplit('/').next().unwrap();
            // The import names the blob, or the document that is no JSON after the truncation.
            let words: &[&str] = if path.starts_with("blobs/") { &[name] } else { &[path] };
            for length in [0, 1, bytes.len() / 2, bytes.len() - 1] {
                let mut bad = good.clone();
                bad.0.insert(path.clone(), bytes[..length].to_vec());
                victim.refuses_layout(&format!("{path} cut at {length}"), &bad, 3, words);
            }
            if path.starts_with("blobs/") {
                for place in [0, bytes.len() / 3, bytes.len() / 2, bytes.len() - 1] {
                    let mut bad = good.clone();
                    bad.0.insert(path.clone(), flipped(bytes, place));
                    victim.refuses_layout(&format!("bit of byte {place} of {path}"), &bad, 3, words);
                }
                let mut bad = good.clone();
                bad.0.insert(path.clone(), [&bytes[..], b"more"].concat());
                victim.refuses_layout(&format!("{path} with more bytes"), &bad, 3, words);
            }
            if path == "oci-layout" {
                // The import does not need this file, because some versions of `docker save` do not write it.
                continue;
            }
            let mut bad = good.clone();
            bad.0.remove(path);
            victim.refuses_layout(&format!("no {path}"), &bad, 3, words);
        }
    }
    victim.finish();
}

#[test]
fn a_damaged_archive() {
    let mut victim = Victim::new();
    let tar = images::two_releases(2, 1 << 16).0;
    let docker = images::docker_save(std::slice::from_ref(&tar), "demo/app:1").to_archive();
    for (kind, good) in [("OCI", images::layout(&[tar]).to_archive()), ("docker", docker)] {
        // The last 1024 bytes are the end of the archive. Before them may be padding.
        let content = good.len() - 1024 - 512;
        for length in (0..content).step_by(content / 16) {
            victim.refuses_archive(&format!("{kind} cut at {length}"), &good[..length], 3, &[]);
        }
        let mut refused = 0;
        for place in (0..content).step_by(content / 40) {
            let bad = flipped(&good, place);
            let file = victim.folder("archive.tar");
            fs::write(&file, &bad).unwrap();
            let ended = victim.import(&file);
            assert_ne!(ended.code, 0, "{kind}: the import accepts a changed byte {place}: {ended:?}");
            ended.fails(3, &[]);
            assert_eq!(held(victim.node()), victim.before, "{kind}, byte {place}");
            refused += 1;
        }
        assert!(refused > 30);
    }
    let compressed = images::compress(&sample(Media::Gzip).to_archive(), Media::Gzip);
    victim.refuses_archive("compressed", &compressed, 3, &["gzip"]);
    victim.finish();
}

#[test]
fn a_source_that_is_no_image_is_named() {
    let mut victim = Victim::new();
    let words = ["archive.tar", "neither index.json nor manifest.json"];
    victim.refuses_archive("an archive of nothing", &[0; 1024], 3, &words);
    victim.refuses_archive("noise", &images::noise(3, 4096), 3, &words[..1]);
    victim.refuses_archive("empty", b"", 3, &words[..1]);
    let file = victim.folder("empty");
    fs::create_dir(&file).unwrap();
    victim.refuses("an empty folder", &file, 3, &[file.to_str().unwrap(), words[1]]);
    victim.finish();
}

/// If a later layer is damaged, the import keeps the intact layers before it (docs/IMAGES.md), but not the image.
#[test]
fn damage_in_a_later_layer_leaves_no_image() {
    let victim = Victim::new();
    let tars = [images::tar(&[("one", b"1")]), images::two_releases(5, 1 << 16).0];
    let mut files = images::layout(&tars);
    let path = files.layer_path(1);
    let bad = flipped(&files.0[&path], 5000);
    files.0.insert(path, bad);
    let dir = victim.fleet.folder.path().join("later");
    files.write_to(&dir);
    victim.import(&dir).fails(3, &["layer sha256:"]);
    let node = victim.node();
    let layers = node.cli(&["-o", "json", "layer", "list"]).ok().json();
    let ids: Vec<&str> = layers.as_array().unwrap().iter().map(|layer| layer["diff_id"].as_str().unwrap()).collect();
    assert!(!ids.contains(&sha256(&tars[1]).as_str()), "{ids:?}");
    let images = node.cli(&["-o", "json", "image", "list"]).ok().json();
    assert_eq!(images, victim.before.images, "the old image keeps its name");
    let mut victim = victim;
    victim.before = held(victim.node());
    victim.finish();
}
