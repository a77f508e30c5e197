//! Layers that are unusual or harmful tars. A node never unpacks a layer, so it must return each of them unchanged.

use std::fs;

use super::{Victim, held};
use crate::support::images::{self, Media, blob_path, sha256, tar_entry};

/// A pax record with its length in front.
fn pax(record: &str) -> Vec<u8> {
    let length = record.len() + 4;
    format!("{length:03} {record}").into_bytes()
}

/// Tars that would do harm if a program unpacked them.
fn nasty_tars() -> Vec<(&'static str, Vec<u8>)> {
    let end = [0u8; 1024];
    let long = format!("{}\0", "d/".repeat(300));
    let mut no_end = tar_entry("file", b'0', b"content", "");
    no_end.truncate(no_end.len() - 100);
    let mut broken_sum = tar_entry("file", b'0', b"content", "");
    broken_sum[148] ^= 1;
    vec![
        ("traversal", [&tar_entry("../../../etc/passwd", b'0', b"root", "")[..], &end].concat()),
        ("absolute", [&tar_entry("/etc/passwd", b'0', b"root", "")[..], &end].concat()),
        ("links", [&tar_entry("l", b'2', b"", "/etc")[..], &tar_entry("l/passwd", b'0', b"x", ""), &end].concat()),
        ("hard link", [&tar_entry("h", b'1', b"", "../../etc/shadow")[..], &end].concat()),
        ("devices", [&tar_entry("dev", b'3', b"", "")[..], &tar_entry("fifo", b'6', b"", ""), &end].concat()),
        ("sparse", [&tar_entry("s", b'S', &[7; 600], "")[..], &end].concat()),
        (
            "long name",
            [&tar_entry("././@LongLink", b'L', long.as_bytes(), "")[..], &tar_entry("x", b'0', b"y", ""), &end]
                .concat(),
        ),
        (
            "pax",
            [&tar_entry("p", b'x', &pax("path=../../x\n"), "")[..], &tar_entry("x", b'0', b"y", ""), &end].concat(),
        ),
        (
            "pax size",
            [&tar_entry("p", b'x', &pax("size=99999999999\n"), "")[..], &tar_entry("x", b'0', b"y", ""), &end].concat(),
        ),
        ("trailing garbage", [&tar_entry("x", b'0', b"y", "")[..], &end, &images::noise(1, 5000)].concat()),
        ("no end", no_end),
        ("broken checksum", [&broken_sum[..], &end].concat()),
        ("no tar at all", images::noise(2, 10_000)),
        ("nothing", Vec::new()),
        ("one byte", vec![0]),
        ("zeros", vec![0; 100_000]),
    ]
}

#[test]
fn any_tar_is_exported_as_it_was_imported() {
    let mut victim = Victim::new();
    let tars = nasty_tars();
    for (index, (name, tar)) in tars.iter().enumerate() {
        let media = [Media::Plain, Media::Gzip, Media::Zstd][index % 3];
        let dir = victim.folder("image");
        images::layout_of(&[(tar.clone(), media)]).write_to(&dir);
        let reference = format!("nasty/tar:{index}");
        let (node, out) = (victim.node(), dir.with_extension("out"));
        node.cli(&["image", "import", dir.to_str().unwrap(), "--name", &reference]).ok();
        node.cli(&["image", "export", "--plain", &reference, out.to_str().unwrap()]).ok();
        assert!(fs::read(out.join(blob_path(&sha256(tar)))).unwrap() == *tar, "{name}");
        let recompressed = dir.with_extension("gzip");
        node.cli(&["image", "export", "--gzip", &reference, recompressed.to_str().unwrap()]).ok();
        node.cli(&["image", "import", recompressed.to_str().unwrap(), "--name", "recompressed/tar:1"]).ok();
    }
    let dir = victim.folder("all");
    let all: Vec<Vec<u8>> = tars.into_iter().map(|(_, tar)| tar).collect();
    fs::write(&dir, images::docker_save(&all, "nasty/all:1").to_archive()).unwrap();
    victim.node().cli(&["image", "import", dir.to_str().unwrap()]).ok();
    let out = victim.folder("out");
    victim.node().cli(&["image", "export", "nasty/all:1", out.to_str().unwrap()]).ok();
    for tar in &all {
        assert!(fs::read(out.join(blob_path(&sha256(tar)))).unwrap() == *tar);
    }
    victim.before = held(victim.node());
    victim.finish();
}
