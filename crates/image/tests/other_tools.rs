//! Lighter imports images of other tools, and other tools read its exports: umoci, skopeo and GNU tar, on small layers.
//! `make test` installs the tools. If one is missing, its test prints that and passes.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a test with other tools goes through files")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use lighter_image::{
    ArchiveFiles, Files, Hashed, ImportedImage, LayerFormat, LayoutWriter, Limits, OpenFile, Selector, export_image,
    open_image,
};
use lighter_tar::{EntryKind, TarReader};

type TestResult = Result<(), Box<dyn Error>>;
type Imported = Result<(ImportedImage, Vec<Vec<u8>>), Box<dyn Error>>;

struct Folder(PathBuf);

impl Files for Folder {
    fn open(&mut self, path: &str) -> io::Result<Option<OpenFile<'_>>> {
        match File::open(self.0.join(path)) {
            Ok(file) => Ok(Some(OpenFile { bytes: file.metadata()?.len(), reader: Box::new(file) })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl LayoutWriter for Folder {
    fn create(&mut self, path: &str) -> io::Result<Box<dyn Write + '_>> {
        let path = self.0.join(path);
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        Ok(Box::new(File::create(path)?))
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let to = self.0.join(to);
        to.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::rename(self.0.join(from), to)
    }
}

/// Runs a command that must succeed. Returns its output.
fn run(folder: &Path, command: &str) -> Result<String, Box<dyn Error>> {
    let output = Command::new("sh").arg("-ec").arg(command).current_dir(folder).output()?;
    if !output.status.success() {
        return Err(format!("{command}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn are_there(tools: &[&str]) -> bool {
    tools.iter().all(|tool| {
        let found = Command::new(tool).arg("--version").output().is_ok();
        if !found {
            eprintln!("skipped: {tool} is not on PATH");
        }
        found
    })
}

/// A folder with one.tar, two.tar, and the OCI layout L of both with the tag 1.0.
fn make_layout() -> Result<tempfile::TempDir, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    run(
        folder.path(),
        "mkdir -p a/etc b/etc && seq 5000 > a/etc/one && ln -s one a/etc/link && seq 9000 > b/etc/two
         tar -C a -cf one.tar etc && tar -C b -cf two.tar etc
         umoci init --layout L && umoci new --image L:1.0
         umoci raw add-layer --image L:1.0 one.tar && umoci raw add-layer --image L:1.0 two.tar && umoci gc --layout L",
    )?;
    Ok(folder)
}

/// Reads an image's layers.
fn import(files: impl Files) -> Imported {
    let mut opened = open_image(files, &Selector::default(), Limits::default())?;
    let mut tars = Vec::new();
    for index in 0..opened.image().layers.len() {
        let mut tar = Vec::new();
        opened.scan_layer(index, &mut Hashed::new(&mut tar), &mut |_| {})?;
        tars.push(tar);
    }
    Ok((opened.image().clone(), tars))
}

#[test]
fn images_of_umoci_and_skopeo_are_read() -> TestResult {
    if !are_there(&["umoci", "skopeo", "tar"]) {
        return Ok(());
    }
    let folder = make_layout()?;
    let at = folder.path();
    run(
        at,
        "skopeo copy -q oci:L:1.0 oci-archive:oci.tar:1.0 && skopeo copy -q oci:L:1.0 docker-archive:docker.tar:demo/app:1
         skopeo copy -q --dest-compress-format zstd oci:L:1.0 oci:Z:1.0",
    )?;
    let expected = [fs::read(at.join("one.tar"))?, fs::read(at.join("two.tar"))?];
    let (original, tars) = import(Folder(at.join("L")))?;
    assert!(tars == expected);
    let (recompressed, tars) = import(Folder(at.join("Z")))?;
    assert!(tars == expected && recompressed.config_digest == original.config_digest);
    for name in ["oci.tar", "docker.tar"] {
        let (image, tars) = import(ArchiveFiles::open(name, File::open(at.join(name))?)?)?;
        assert!(tars == expected, "{name}");
        assert_eq!(image.config_digest, original.config_digest, "{name}");
    }
    Ok(())
}

#[test]
fn umoci_and_skopeo_read_exports() -> TestResult {
    if !are_there(&["umoci", "skopeo", "tar"]) {
        return Ok(());
    }
    let folder = make_layout()?;
    let at = folder.path();
    let (image, tars) = import(Folder(at.join("L")))?;
    for (name, format) in [("plain", LayerFormat::Plain), ("gzip", LayerFormat::Gzip)] {
        let mut open =
            |index: usize, _: &_| -> io::Result<Box<dyn Read>> { Ok(Box::new(Cursor::new(tars[index].clone()))) };
        let mut writer = Folder(at.join(name));
        let exported = export_image(&mut writer, &image, None, "1.0", format, &mut open, &mut |_| {})?;
        assert_eq!(import(Folder(at.join(name)))?.1, tars);
        let inspected = run(at, &format!("skopeo inspect oci:{name}:1.0"))?;
        assert!(inspected.contains(&exported.manifest_digest.to_string()), "{inspected}");
        run(at, &format!("umoci stat --image {name}:1.0"))?;
        run(at, &format!("umoci unpack --rootless --image {name}:1.0 {name}.bundle"))?;
        run(at, &format!("cmp a/etc/one {name}.bundle/rootfs/etc/one && cmp b/etc/two {name}.bundle/rootfs/etc/two"))?;
        run(at, &format!("skopeo copy -q oci:{name}:1.0 docker-archive:{name}.docker.tar:demo/app:1"))?;
        let archive = format!("{name}.docker.tar");
        let (imported, imported_tars) = import(ArchiveFiles::open(&archive, File::open(at.join(&archive))?)?)?;
        assert!(imported_tars == tars && imported.config_digest == image.config_digest);
    }
    Ok(())
}

/// Long names, sparse files, hard links and devices from GNU tar, in its own format and in pax.
#[test]
fn entries_of_gnu_tar_are_read() -> TestResult {
    if !are_there(&["tar"]) {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let at = folder.path();
    let long = "n".repeat(200);
    run(at, &format!("mkdir d && echo text > d/{long} && ln d/{long} d/hard && ln -s {long} d/soft && mkfifo d/fifo"))?;
    run(at, "truncate -s 1M d/sparse && printf x | dd of=d/sparse bs=1 seek=500000 conv=notrunc status=none")?;
    for format in ["gnu", "posix"] {
        run(at, &format!("tar --format={format} --sparse --sort=name -cf {format}.tar d"))?;
        let mut reader = TarReader::new(File::open(at.join(format!("{format}.tar")))?);
        let mut kinds = Vec::new();
        while let Some(entry) = reader.next_entry()? {
            kinds.push((String::from_utf8(entry.path)?, entry.kind, String::from_utf8(entry.link)?));
        }
        let expected = [
            ("d/".to_owned(), EntryKind::Folder, String::new()),
            ("d/fifo".to_owned(), EntryKind::Fifo, String::new()),
            ("d/hard".to_owned(), EntryKind::File, String::new()),
            (format!("d/{long}"), EntryKind::HardLink, "d/hard".to_owned()),
            ("d/soft".to_owned(), EntryKind::SymbolicLink, long.clone()),
            ("d/sparse".to_owned(), EntryKind::SparseFile, String::new()),
        ];
        assert_eq!(kinds, expected, "{format}");
    }
    Ok(())
}
